"""Two arms as independent samples, for runs that share no streams: the comparison, its interval and its p-value."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from math import comb

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from tamcl.metrics import find
from tamcl.stats.p_values import holm
from tamcl.stats.paired import probability_better
from tamcl.stats.reported import Pair, asked
from tamcl.stats.resampling import RESAMPLES, rng

Array = NDArray[np.float64]

UNPAIRED = {
    **{"scenario": "str", "metric": "str", "arm_a": "str", "arm_b": "str", "n_a": "int64", "n_b": "int64"},
    **{"mean_a": "float64", "mean_b": "float64", "diff": "float64", "ci_low": "float64", "ci_high": "float64"},
    **{"p_value": "float64", "p_adjusted": "float64", "prob_a_better": "float64"},
}
"""Columns of what ``compare_unpaired`` returns."""


def compare_unpaired(
    metrics: pd.DataFrame,
    runs: pd.DataFrame | None = None,
    *,
    pairs: Iterable[Pair] | None = None,
    confidence: float = 0.95,
) -> pd.DataFrame:
    r"""Return the comparison of arms as independent samples: for runs that share no streams, and only for those.

    ``compare`` refuses to pair runs whose streams differ. Whoever wants them compared all the same asks for it here and
    pays for it: what seeds share is no longer taken out, so that the intervals are wider.

    Parameters
    ----------
    metrics, runs, pairs, confidence
        As for ``compare``; fingerprints do not matter, and the two arms may have different seeds.

    Returns
    -------
    pandas.DataFrame
        A row for each scenario, metric and pair: n_a, n_b (seeds), mean_a, mean_b, diff, ci_low and ci_high
        (``welch_interval``), p_value (``permutation_p``), p_adjusted (``holm`` over the pairs of a scenario and metric)
        and prob_a_better (share of all pairs of a seed of one and a seed of the other in which arm_a is better, ties
        counting half).

    Examples
    --------
    >>> rows = [("flips", "tam", 0.1, seed, "online_accuracy", 0.7 + 0.01 * seed) for seed in range(8)]
    >>> rows += [("flips", "sgdm", 0.1, seed, "online_accuracy", 0.6 + 0.001 * seed) for seed in range(20, 26)]
    >>> metrics = pd.DataFrame(rows, columns=["scenario", "arm", "lr", "seed", "metric", "value"])
    >>> compare_unpaired(metrics, pairs=[("tam", "sgdm")])[["n_a", "n_b", "diff", "prob_a_better"]].round(4)
       n_a  n_b    diff  prob_a_better
    0    8    6  0.1125            1.0
    """
    reported, chosen = asked(metrics, runs, pairs, confidence)
    families = []
    for (scenario, metric), rows in reported.groupby(["scenario", "metric"]):
        values = {arm: own["value"].dropna().to_numpy(dtype=np.float64) for arm, own in rows.groupby("arm")}
        sign = find(str(metric)).sign
        family = []
        for arm_a, arm_b in chosen:
            a, b = (values.get(arm, np.empty(0)) for arm in (arm_a, arm_b))
            mean_a, mean_b = (float(each.mean()) if len(each) else float("nan") for each in (a, b))
            low, high = welch_interval(a, b, confidence=confidence)
            wins = np.sign(sign * (a[:, None] - b)).ravel()
            family.append(
                {"scenario": scenario, "metric": metric, "arm_a": arm_a, "arm_b": arm_b, "n_a": len(a), "n_b": len(b)}
                | {"mean_a": mean_a, "mean_b": mean_b, "diff": mean_a - mean_b, "ci_low": low, "ci_high": high}
                | {"p_value": permutation_p(a, b), "prob_a_better": probability_better(wins)}
            )
        table = pd.DataFrame(family, columns=[column for column in UNPAIRED if column != "p_adjusted"])
        families.append(table.assign(p_adjusted=holm(table["p_value"])))
    found = pd.concat(families, ignore_index=True) if families else pd.DataFrame(columns=list(UNPAIRED))
    return found[list(UNPAIRED)].astype(UNPAIRED)


def welch_interval(a: ArrayLike, b: ArrayLike, *, confidence: float = 0.95) -> tuple[float, float]:
    r"""Return Welch's confidence interval of the difference of two means; nan twice for fewer than 2 values in one.

    .. math:: \bar a - \bar b \pm t_{\nu,\, 1 - \alpha/2} \sqrt{\frac{s_a^2}{n_a} + \frac{s_b^2}{n_b}}

    with the degrees of freedom :math:`\nu` of Welch and Satterthwaite. The two may differ in spread and in number; both
    are taken for normal.

    References
    ----------
    The generalization of Student's problem when several different population variances are involved, 1947,
    https://doi.org/10.2307/2332510

    Examples
    --------
    >>> low, high = welch_interval([3.0, 4.0, 5.0], [1.0, 2.0, 3.0])
    >>> round(low, 2), round(high, 2)
    (-0.27, 4.27)
    """
    a, b = (np.asarray(values, dtype=np.float64) for values in (a, b))
    if min(len(a), len(b)) < 2:
        return float("nan"), float("nan")
    diff = float(a.mean() - b.mean())
    parts = [values.var(ddof=1) / len(values) for values in (a, b)]
    if sum(parts) == 0:
        return diff, diff
    freedom = sum(parts) ** 2 / sum(part**2 / (len(values) - 1) for part, values in zip(parts, (a, b), strict=True))
    half = float(stats.t.ppf((1 + confidence) / 2, freedom) * np.sqrt(sum(parts)))
    return diff - half, diff + half


def permutation_p(a: ArrayLike, b: ArrayLike) -> float:
    r"""Return the two-sided p-value of the permutation test on two independent samples.

    If the two did not differ, every split of all values into groups of these sizes would be as likely. p is the share
    of splits with at least so large a difference, measured in its own standard error (Welch's t), so that it stays
    nearly right where the two differ in spread but not in mean: 5 seeds with three times the spread of 8 others give
    p <= 0.05 in 8 % of the cases. Exact up to 9999 splits (7 against
    7 seeds), else from 9999 drawn ones. nan without a value in each.

    References
    ----------
    Studentized permutation tests for non-i.i.d. hypotheses and the generalized Behrens-Fisher problem, 1997,
    https://doi.org/10.1016/S0167-7152(97)00043-6

    Examples
    --------
    Two of the 20 splits are as far apart.

    >>> permutation_p([4.0, 5.0, 6.0], [1.0, 2.0, 3.0])
    0.1
    """
    a, b = (np.asarray(values, dtype=np.float64) for values in (a, b))
    if min(len(a), len(b)) == 0:
        return float("nan")
    pooled = np.concatenate([a, b])
    own = np.arange(len(pooled)) < len(a)
    exact = comb(len(pooled), len(a)) <= RESAMPLES
    if exact:
        splits = np.zeros((comb(len(pooled), len(a)), len(pooled)), dtype=bool)
        chosen = np.array(list(combinations(range(len(pooled)), len(a))))
        np.put_along_axis(splits, chosen, True, axis=1)
    else:
        splits = rng().permuted(np.tile(own, (RESAMPLES, 1)), axis=1)
    null, observed = (_welch_t(pooled, which) for which in (splits, own[None]))
    extreme = np.count_nonzero(null >= observed * (1 - 1e-9))
    return float(extreme / len(null) if exact else (extreme + 1) / (len(null) + 1))


def _welch_t(values: Array, first: NDArray[np.bool_]) -> Array:
    """Return the size of Welch's t of each split; the bare difference where a group has a single value."""
    x = values - values.mean()
    scale = np.abs(x).max() or 1.0
    x = x / scale
    n = np.stack([first.sum(axis=1), (~first).sum(axis=1)])
    means = np.stack([first @ x, ~first @ x]) / n
    diff = np.abs(means[0] - means[1])
    if n.min() < 2:
        return np.asarray(diff)
    spread = (np.stack([first @ x**2, ~first @ x**2]) - n * means**2) / (n - 1) / n
    # Groups without any spread: infinitely far apart, or the same. Rounding leaves a trace of spread, hence the floor.
    return np.asarray(diff / np.sqrt(np.maximum(spread.sum(axis=0), 1e-24)))
