"""Is one arm better than another, by how much, and how sure is that: paired statistics over seeds.

Two arms that share a seed share the stream, its order and the initial weights, so what is analysed is their difference
on each seed. The seed is the unit: mini-batches and experiences of one run are not independent observations.

``compare`` is the comparison that a study reports. Beside it stand ``centers`` (median and interquartile mean beside
the mean), ``seeds_for`` (how many seeds an effect of this size needs), ``average_ranks`` over many scenarios, and
``mean_correlation_over_time`` of two diagnostics. Runs whose streams differ share nothing on a seed and are not paired:
``scipy.stats.ttest_ind(a, b, equal_var=False)`` takes two arms as independent samples, and its
``confidence_interval()`` is the one of their difference.
"""

from __future__ import annotations

from tamcl.stats.intervals import centers, interval, iqm, iqm_interval, median_interval
from tamcl.stats.over_time import (
    NULLS,
    correlation_over_time,
    mean_correlation_over_time,
    null_correlations,
    rank_correlation,
)
from tamcl.stats.p_values import fewest_seeds, holm, sign_flip_p, smallest_p
from tamcl.stats.paired import ALPHA, PAIR, Row, between, compare, differences, is_shown, probability_better
from tamcl.stats.power import seeds_for, seeds_needed
from tamcl.stats.ranks import average_ranks
from tamcl.stats.reported import Pair
from tamcl.stats.resampling import RESAMPLES
from tamcl.stats.swept import across, over_all, spacing

__all__ = [
    "ALPHA",
    "NULLS",
    "PAIR",
    "RESAMPLES",
    "Pair",
    "Row",
    "across",
    "average_ranks",
    "between",
    "centers",
    "compare",
    "correlation_over_time",
    "differences",
    "fewest_seeds",
    "holm",
    "interval",
    "iqm",
    "iqm_interval",
    "is_shown",
    "mean_correlation_over_time",
    "median_interval",
    "null_correlations",
    "over_all",
    "probability_better",
    "rank_correlation",
    "seeds_for",
    "seeds_needed",
    "sign_flip_p",
    "smallest_p",
    "spacing",
]
