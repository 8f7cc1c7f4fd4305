"""Is one arm better than another, by how much, and how sure is that: paired statistics over seeds.

Two arms that share a seed share the stream, its order and the initial weights, so what is analysed is their difference
on each seed. The seed is the unit: mini-batches and experiences of one run are not independent observations.

``compare`` is the comparison that a study reports. Beside it stand ``centers`` (median and interquartile mean beside
the mean), ``seeds_for`` (how many seeds an effect of this size needs), ``compare_unpaired`` for runs whose streams
differ, and ``average_ranks`` over many scenarios.
"""

from __future__ import annotations

from tamcl.stats.intervals import centers, interval, iqm, iqm_interval, median_interval
from tamcl.stats.p_values import fewest_seeds, holm, sign_flip_p, smallest_p
from tamcl.stats.paired import ALPHA, PAIR, Row, between, compare, differences, is_shown, probability_better
from tamcl.stats.power import seeds_for, seeds_needed
from tamcl.stats.ranks import average_ranks
from tamcl.stats.reported import Pair
from tamcl.stats.resampling import RESAMPLES
from tamcl.stats.unpaired import UNPAIRED, compare_unpaired, permutation_p, welch_interval

__all__ = [
    "ALPHA",
    "PAIR",
    "RESAMPLES",
    "UNPAIRED",
    "Pair",
    "Row",
    "average_ranks",
    "between",
    "centers",
    "compare",
    "compare_unpaired",
    "differences",
    "fewest_seeds",
    "holm",
    "interval",
    "iqm",
    "iqm_interval",
    "is_shown",
    "median_interval",
    "permutation_p",
    "probability_better",
    "seeds_for",
    "seeds_needed",
    "sign_flip_p",
    "smallest_p",
    "welch_interval",
]
