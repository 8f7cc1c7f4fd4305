"""Ranks of many arms over many scenarios."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tamcl.errors import InputError
from tamcl.metrics import find
from tamcl.stats.reported import values_and_pairs
from tamcl.stats.resampling import RESAMPLES, rng

Array = NDArray[np.float64]


def average_ranks(
    metrics: pd.DataFrame, metric: str, runs: pd.DataFrame | None = None, *, alpha: float = 0.05
) -> pd.DataFrame:
    r"""Return the rank of every arm on a metric, averaged over scenarios, and how far ranks must lie apart to matter.

    .. math:: CD = q_\alpha \sqrt{\frac{k (k + 1)}{6 N}}

    In each of the N scenarios the k arms are ranked by their mean over the seeds on which all of them have a value, 1
    for the best, equal ones sharing their ranks. A seed that one arm lacks counts for none: an arm that diverged on a
    hard seed would else be ranked by the easy ones alone. Friedman's test asks whether any arm differs. By Nemenyi's
    test two arms differ if their average ranks lie at least CD apart, with :math:`q_\alpha` from the studentized range,
    divided by :math:`\sqrt 2`. The scenario is the unit here: many seeds in few scenarios say nothing about scenarios
    in general, and below 10 scenarios CD is rough.

    Parameters
    ----------
    metrics, runs : pandas.DataFrame
        As for ``compare``, of several scenarios.
    metric : str
        The metric to rank by, in its direction.
    alpha : float
        Level of the critical difference.

    Returns
    -------
    pandas.DataFrame
        A row an arm, the best first: arm, rank, n_scenarios, and, the same in every row, critical_difference and
        p_value (Friedman's statistic with correction for ties, against 9999 random orders in each scenario).

    Raises
    ------
    InputError
        If there are fewer than two arms or scenarios, or no seed of a scenario has a value of every arm.

    References
    ----------
    Statistical Comparisons of Classifiers over Multiple Data Sets, 2006,
    https://www.jmlr.org/papers/v7/demsar06a.html

    Examples
    --------
    >>> values = {"tam": [0.7, 0.6, 0.9], "sgdm": [0.6, 0.5, 0.95]}
    >>> rows = [(str(i), arm, 0.1, 0, "online_accuracy", v) for arm, each in values.items() for i, v in enumerate(each)]
    >>> table = pd.DataFrame(rows, columns=["scenario", "arm", "lr", "seed", "metric", "value"])
    >>> average_ranks(table, "online_accuracy")[["arm", "rank", "critical_difference"]].round(3)
        arm   rank  critical_difference
    0   tam  1.333                1.132
    1  sgdm  1.667                1.132
    """
    known = find(metric)
    reported, _ = values_and_pairs(metrics, runs, ())
    rows = reported[reported["metric"] == metric]
    seeds = rows.groupby(["scenario", "seed", "arm"])["value"].mean().unstack("arm")
    counts = seeds.groupby("scenario").count()
    if min(counts.shape) < 2:
        raise InputError(f"'{metric}' of {counts.shape[1]} arms in {counts.shape[0]} scenarios: two of each are needed")
    means = seeds.dropna().groupby("scenario").mean()
    for scenario in counts.index.difference(means.index):
        arm, fewest = counts.loc[scenario].idxmin(), counts.loc[scenario].min()
        where = f"in {scenario} on a seed on which every arm has one" if fewest else f"in {scenario}"
        raise InputError(f"arm '{arm}' has no value of '{metric}' {where}: ranks need every arm in every scenario")
    ranks = (-known.sign * means.round(12)).rank(axis=1).to_numpy()
    n, k = ranks.shape
    from scipy.stats import studentized_range  # half a second, and for ranks alone

    q = studentized_range.ppf(1 - alpha, k, np.inf) / np.sqrt(2)
    table = pd.DataFrame({"arm": means.columns, "rank": ranks.mean(axis=0), "n_scenarios": n})
    table = table.assign(critical_difference=q * np.sqrt(k * (k + 1) / (6 * n)), p_value=_friedman_p(ranks))
    return table.sort_values("rank", ignore_index=True, kind="stable")


def _friedman_p(ranks: Array) -> float:
    """Return the share of random orders in which the rank sums of the arms (columns) lie as far apart."""

    def statistic(orders: Array) -> Array:
        return np.asarray(((orders.sum(axis=-2) - ranks.sum() / ranks.shape[1]) ** 2).sum(axis=-1))

    null = statistic(rng().permuted(np.broadcast_to(ranks, (RESAMPLES, *ranks.shape)).copy(), axis=2))
    return float((np.count_nonzero(null >= statistic(ranks) - 1e-9) + 1) / (RESAMPLES + 1))
