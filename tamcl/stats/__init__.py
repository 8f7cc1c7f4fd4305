"""Is one arm better than another, by how much, and how sure is that: paired statistics over seeds.

Two arms that share a seed share the stream, its order and the initial weights, so what is analysed is their difference
on each seed. The seed is the unit: mini-batches and experiences of one run are not independent observations.

``compare`` is the comparison that a study reports. Beside it stand ``centers`` (median and interquartile mean beside
the mean), ``seeds_for`` (how many seeds an effect of this size needs), and ``average_ranks`` over many scenarios. Runs
whose streams differ share nothing on a seed and are not paired: ``scipy.stats.ttest_ind(a, b, equal_var=False)`` takes
two arms as independent samples, and its ``confidence_interval()`` is the one of their difference.
"""

from __future__ import annotations

from tamcl.stats.intervals import centers, interval, iqm, iqm_interval, median_interval
from tamcl.stats.p_values import fewest_seeds, holm, sign_flip_p, smallest_p
from tamcl.stats.paired import ALPHA, PAIR, Row, between, compare, differences, is_shown, probability_better
from tamcl.stats.power import seeds_for, seeds_needed
from tamcl.stats.ranks import average_ranks
from tamcl.stats.reported import Pair
from tamcl.stats.resampling import RESAMPLES
from tamcl.stats.swept import across, over_all, spacing

__all__ = [
    "ALPHA",
    "PAIR",
    "RESAMPLES",
    "Pair",
    "Row",
    "across",
    "average_ranks",
    "between",
    "centers",
    "compare",
    "differences",
    "fewest_seeds",
    "holm",
    "interval",
    "iqm",
    "iqm_interval",
    "is_shown",
    "median_interval",
    "over_all",
    "probability_better",
    "seeds_for",
    "seeds_needed",
    "sign_flip_p",
    "smallest_p",
    "spacing",
]
