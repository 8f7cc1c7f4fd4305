"""Is one arm better than another, by how much, and how sure is that: paired statistics over seeds.

Two arms that share a seed share the stream, its order and the initial weights, so what is analysed is their difference
on each seed. The seed is the unit: mini-batches and experiences of one run are not independent observations.

``compare`` is the comparison that a study reports. Beside it stand ``centers`` (median and interquartile mean beside
the mean), ``seeds_for`` (how many seeds an effect of this size needs), ``compare_unpaired`` for runs whose streams
differ, and ``average_ranks`` over many scenarios.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations, count
from math import comb
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from tamcl.errors import InputError, unknown_name
from tamcl.metrics import Metric, find
from tamcl.results import conform, empty
from tamcl.seeding import derive_seed

Array = NDArray[np.float64]
Pair = tuple[str, str]
Row: TypeAlias = "Mapping[str, Any] | pd.Series[Any]"

RESAMPLES = 9999
"""Bootstrap resamples, and sign flips drawn where all 2^n of them are more (from 14 seeds on)."""


def compare(
    metrics: pd.DataFrame,
    runs: pd.DataFrame | None = None,
    *,
    pairs: Iterable[Pair] | None = None,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Return the paired comparison of arms on every metric: the ``comparisons`` table.

    Parameters
    ----------
    metrics : pandas.DataFrame
        Table of ``tamcl.results``, one learning rate an arm. A seed that only one arm of a pair has a value for is
        left out of that pair; ``n_pairs`` counts the others.
    runs : pandas.DataFrame, optional
        Table of ``tamcl.results``. With it only finished runs of the phase "report" are compared, never those that
        chose the learning rate, and runs of a seed are paired only if their streams have the same fingerprint.
        Without it every row of ``metrics`` is used and nothing is known of the streams.
    pairs : iterable of (str, str), optional
        The arms to compare, as (arm_a, arm_b); each two arms once if absent. p-values are adjusted for the number of
        pairs, so fewer pairs show more.
    confidence : float
        Nominal coverage of the intervals.

    Returns
    -------
    pandas.DataFrame
        A row for each scenario, metric and pair: n_pairs, mean_a, mean_b, diff (mean_a - mean_b), ci_low and ci_high
        (``interval``), p_value (``sign_flip_p``), p_adjusted (``holm`` over the pairs of a scenario and metric) and
        prob_a_better (share of seeds on which arm_a is better in the metric's direction, ties counting half).

    Raises
    ------
    InputError
        If an arm has several learning rates, a pair names an unknown arm, or the streams of a pair differ.

    Examples
    --------
    >>> rows = [("flips", arm, 0.1, seed, "online_accuracy", 0.7 + gain + 0.01 * seed)
    ...         for arm, gain in [("sgdm", 0.0), ("tam", 0.02)] for seed in range(8)]
    >>> metrics = pd.DataFrame(rows, columns=["scenario", "arm", "lr", "seed", "metric", "value"])
    >>> compare(metrics, pairs=[("tam", "sgdm")])[["n_pairs", "diff", "p_value", "prob_a_better"]].round(4)
       n_pairs  diff  p_value  prob_a_better
    0        8  0.02   0.0078            1.0
    """
    reported, chosen = _asked(metrics, runs, pairs, confidence)
    if runs is not None:
        _same_streams(reported, chosen)
    if reported.empty or not chosen:
        return empty("comparisons")
    families = []
    for (scenario, name), rows in reported.groupby(["scenario", "metric"]):
        values = rows.pivot(index="seed", columns="arm", values="value")
        families.append(_family(str(scenario), find(str(name)), values, chosen, confidence))
    return conform("comparisons", pd.concat(families))


def _family(scenario: str, metric: Metric, values: pd.DataFrame, pairs: list[Pair], confidence: float) -> pd.DataFrame:
    """Compare all pairs on one metric of one scenario; ``values`` has a row a seed and a column an arm."""
    rows = []
    for a, b in pairs:
        both = values.reindex(columns=[a, b]).dropna()
        d = (both[a] - both[b]).to_numpy(dtype=np.float64)
        mean_a, mean_b = (float(both[arm].mean()) for arm in (a, b))
        low, high = interval(d, confidence=confidence)
        rows.append(
            {"scenario": scenario, "metric": metric.name, "arm_a": a, "arm_b": b, "n_pairs": len(d)}
            | {"mean_a": mean_a, "mean_b": mean_b, "diff": mean_a - mean_b, "ci_low": low, "ci_high": high}
            | {"p_value": sign_flip_p(d), "prob_a_better": probability_better(metric.sign * d)}
        )
    table = pd.DataFrame(rows)
    return table.assign(p_adjusted=holm(table["p_value"]))


def interval(differences: ArrayLike, *, confidence: float = 0.95) -> tuple[float, float]:
    r"""Return a confidence interval of the mean of paired differences.

    From 6 differences on (for 95 %) it is the BCa bootstrap interval with 9999 resamples, expanded for few
    observations: its level is raised to the one at which a normal interval with the maximum-likelihood standard
    deviation equals Student's, :math:`\alpha' / 2 = \Phi(-\sqrt{n / (n - 1)}\; t_{n-1,\,\alpha/2})`. Without that it
    is too narrow: of 10 normal differences it holds the true mean in 90 % of the cases, with it in 94 % (of 6
    differences in 92 %, of 20 in 95 %). Skewed differences are covered less: of 10 and 20 in 93 and 94 % where the
    skewness is 1, in 92 and 93 % where it is 2 (exponential), in 88 and 91 % where it is 6 (log-normal); heavy tails
    (Student's t with 3 degrees of freedom) in 91 and 92 %. ``median_interval`` holds its median in 94 to 96 % of all
    these cases.

    Fewer differences are too few for any resampling, which cannot leave their range: of 3 differences the range itself
    holds the true mean in only 75 % of the cases. There Student's interval is returned. It takes the differences for
    normal and is wide, as it should be. The limit lies where ``smallest_p`` exceeds ``1 - confidence``.

    Differences that are all equal give that value twice; a single one, or none, gives nan twice.

    Parameters
    ----------
    differences : array, (n,)
        One difference a seed.
    confidence : float
        Nominal coverage.

    References
    ----------
    Better bootstrap confidence intervals, 1987, https://doi.org/10.1080/01621459.1987.10478410;
    What Teachers Should Know About the Bootstrap, 2015, https://arxiv.org/abs/1411.5279

    Examples
    --------
    >>> low, high = interval([0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5])
    >>> round(low, 1), round(high, 1)
    (1.0, 3.0)
    """
    d = np.asarray(differences, dtype=np.float64)
    n = len(d)
    if n < 2:
        return float("nan"), float("nan")
    if np.ptp(d) <= 1e-12 * np.abs(d).max():
        return float(d.mean()), float(d.mean())
    t = stats.t.ppf((1 + confidence) / 2, n - 1)
    if smallest_p(n) > 1 - confidence:
        half = t * d.std(ddof=1) / np.sqrt(n)
        return float(d.mean() - half), float(d.mean() + half)
    expanded = 1 - 2 * stats.norm.sf(t * np.sqrt(n / (n - 1)))
    found = stats.bootstrap((d,), np.mean, confidence_level=expanded, n_resamples=RESAMPLES, method="BCa", rng=_rng())
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def sign_flip_p(differences: ArrayLike) -> float:
    """Return the two-sided p-value of the sign-flip permutation test on paired differences.

    If the two arms did not differ, each difference could as well have had the other sign. p is the share of the 2^n
    patterns of signs whose mean is at least as far from 0 as the observed one: exact up to 13 differences, from 9999
    drawn patterns beyond. It assumes symmetry about 0, not normality. None gives nan, a single one 1.

    Examples
    --------
    >>> sign_flip_p([1.0, 2.0, 1.5, 0.5])
    0.125
    """
    d = np.asarray(differences, dtype=np.float64)
    if len(d) == 0:
        return float("nan")
    exact = 2 ** len(d) <= RESAMPLES
    null = np.abs((_all_signs(len(d)) if exact else _rng().choice([-1.0, 1.0], size=(RESAMPLES, len(d)))) @ d)
    # Patterns with the same mean differ by rounding; they are ties and count.
    extreme = np.count_nonzero(null >= abs(d.sum()) - 1e-12 * np.abs(d).sum())
    return float(extreme / len(null) if exact else (extreme + 1) / (len(null) + 1))


def _all_signs(n: int) -> Array:
    bits = np.arange(2**n)[:, None] >> np.arange(n) & 1
    return np.where(bits, -1.0, 1.0)


def holm(p_values: ArrayLike) -> Array:
    """Return p-values adjusted for their number by Holm's step-down method; nan is left out of the number.

    Declaring the pairs with an adjusted p of at most 0.05 different is wrong about any of them in at most 5 % of
    studies.

    References
    ----------
    A simple sequentially rejective multiple test procedure, 1979, https://www.jstor.org/stable/4615733

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]  # argsort puts nan last
    adjusted = np.full(p.shape, np.nan)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return adjusted


def probability_better(gains: ArrayLike) -> float:
    """Return the share of seeds with a gain, ties counting half; nan without any.

    Examples
    --------
    >>> probability_better([0.2, 0.1, 0.0, -0.3])
    0.625
    """
    g = np.asarray(gains, dtype=np.float64)
    return float((np.sign(g) + 1).mean() / 2) if len(g) else float("nan")


def smallest_p(n_seeds: int, n_comparisons: int = 1) -> float:
    """Return the smallest p-value that so many seeds can give, by Holm over so many comparisons.

    All differences of one sign are the most extreme outcome, and 2 of the 2^n patterns of signs show it. Below 6 seeds
    no effect, however large, reaches p = 0.05.

    Examples
    --------
    >>> [smallest_p(n) for n in (3, 5, 6, 10)]
    [0.25, 0.0625, 0.03125, 0.001953125]
    >>> smallest_p(8, n_comparisons=15)
    0.1171875
    """
    return min(1.0, n_comparisons * 2.0 ** (1 - n_seeds))


def between(comparisons: pd.DataFrame, arm_a: str, arm_b: str) -> pd.DataFrame:
    """Return the rows on two arms, turned round where they are stored the other way.

    Examples
    --------
    >>> rows = [("flips", arm, 0.1, seed, "forgetting", value)
    ...         for arm, value in [("sgdm", 0.25), ("tam", 0.5)] for seed in range(3)]
    >>> table = compare(pd.DataFrame(rows, columns=["scenario", "arm", "lr", "seed", "metric", "value"]))
    >>> between(table, "tam", "sgdm")[["arm_a", "arm_b", "diff", "prob_a_better"]]
      arm_a arm_b  diff  prob_a_better
    0   tam  sgdm  0.25            0.0
    """
    other_side = {"arm_a": "arm_b", "arm_b": "arm_a", "mean_a": "mean_b", "mean_b": "mean_a"}
    turned = comparisons.rename(columns=other_side | {"ci_low": "ci_high", "ci_high": "ci_low"})
    turned[["diff", "ci_low", "ci_high"]] *= -1
    turned["prob_a_better"] = 1 - turned["prob_a_better"]
    both = pd.concat([comparisons, turned])
    return conform("comparisons", both[(both["arm_a"] == arm_a) & (both["arm_b"] == arm_b)])


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
    reported, chosen = _asked(metrics, runs, pairs, confidence)
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


UNPAIRED = {
    **{"scenario": "str", "metric": "str", "arm_a": "str", "arm_b": "str", "n_a": "int64", "n_b": "int64"},
    **{"mean_a": "float64", "mean_b": "float64", "diff": "float64", "ci_low": "float64", "ci_high": "float64"},
    **{"p_value": "float64", "p_adjusted": "float64", "prob_a_better": "float64"},
}
"""Columns of what ``compare_unpaired`` returns."""


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
        splits = _rng().permuted(np.tile(own, (RESAMPLES, 1)), axis=1)
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


def differences(
    metrics: pd.DataFrame, runs: pd.DataFrame | None = None, *, pairs: Iterable[Pair] | None = None
) -> pd.DataFrame:
    """Return the paired differences themselves, a row a seed.

    Parameters
    ----------
    metrics, runs, pairs
        As for ``compare``, with the same refusals.

    Returns
    -------
    pandas.DataFrame
        Columns scenario, metric, arm_a, arm_b, seed, diff (value of arm_a minus value of arm_b).

    Examples
    --------
    >>> rows = [("flips", arm, 0.1, seed, "forgetting", value)
    ...         for arm, value in [("sgdm", 0.25), ("tam", 0.5)] for seed in range(2)]
    >>> table = pd.DataFrame(rows, columns=["scenario", "arm", "lr", "seed", "metric", "value"])
    >>> differences(table, pairs=[("tam", "sgdm")])[["arm_a", "arm_b", "seed", "diff"]]
      arm_a arm_b  seed  diff
    0   tam  sgdm     0  0.25
    1   tam  sgdm     1  0.25
    """
    reported, chosen = _asked(metrics, runs, pairs)
    if runs is not None:
        _same_streams(reported, chosen)
    rows = []
    for (scenario, metric), own in reported.groupby(["scenario", "metric"]):
        values = own.pivot(index="seed", columns="arm", values="value")
        for a, b in chosen:
            both = values.reindex(columns=[a, b]).dropna()
            rows += [(scenario, metric, a, b, *row) for row in (both[a] - both[b]).items()]
    columns = {**dict.fromkeys(PAIR, "str"), "seed": "int64", "diff": "float64"}
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)


PAIR = ["scenario", "metric", "arm_a", "arm_b"]
"""Columns that name a comparison."""


def centers(table: pd.DataFrame, *, by: list[str], column: str, confidence: float = 0.95) -> pd.DataFrame:
    """Return mean, median and interquartile mean of a column over seeds, each with its interval.

    Where the three disagree, a few seeds make the mean. Those that diverged are in none of them.

    Parameters
    ----------
    table : pandas.DataFrame
        One row a seed within each group: what ``differences`` returns, or a ``metrics`` table.
    by : list of str
        Columns that make the groups.
    column : str
        What is summarised; nan is left out.
    confidence : float
        Nominal coverage of the intervals.

    Returns
    -------
    pandas.DataFrame
        The columns of ``by``, n, and for mean (``interval``), median (``median_interval``) and iqm (``iqm_interval``)
        the value, ``_low`` and ``_high``.

    Examples
    --------
    >>> table = pd.DataFrame({"arm": "tam", "value": [0.50, 0.51, 0.52, 0.53, 0.54, 0.55, 0.56, 0.20]})
    >>> centers(table, by=["arm"], column="value")[["n", "mean", "median", "iqm"]].round(3)
       n   mean  median    iqm
    0  8  0.489   0.525  0.525
    """
    rows = []
    for group, own in table.dropna(subset=column).groupby(by):
        values = own[column].to_numpy(dtype=np.float64)
        found = [
            (float(values.mean()), *interval(values, confidence=confidence)),
            (float(np.median(values)), *median_interval(values, confidence=confidence)),
            (iqm(values), *iqm_interval(values, confidence=confidence)),
        ]
        rows.append((*group, len(values), *(number for three in found for number in three)))
    names = [f"{name}{end}" for name in ("mean", "median", "iqm") for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=[*by, "n", *names])


def median_interval(values: ArrayLike, *, confidence: float = 0.95) -> tuple[float, float]:
    r"""Return a confidence interval of the median that assumes nothing of the distribution's shape.

    The d-th smallest and d-th largest of n values hold the median in a share
    :math:`\gamma_d = 1 - 2 P(\mathrm{Bin}(n, 1/2) < d)` of the cases. Of two neighbouring d the interval lies between,
    so that its coverage is close to the nominal one; exactly there it depends on the shape, though little. Fewer than 6
    values are too few for 95 %: nan twice.

    References
    ----------
    Confidence intervals based on interpolated order statistics, 1986, https://doi.org/10.1016/0167-7152(86)90021-0

    Examples
    --------
    >>> low, high = median_interval(range(1, 11))
    >>> round(low, 2), round(high, 2)
    (2.66, 8.34)
    """
    x = np.sort(np.asarray(values, dtype=np.float64))
    n = len(x)
    held = 1 - 2 * stats.binom.cdf(np.arange(n // 2 + 1) - 1, n, 0.5)  # held[d], of the d-th smallest and largest
    enough = np.flatnonzero(held[1:] >= confidence) + 1
    if len(enough) == 0:
        return float("nan"), float("nan")
    d = int(enough[-1])
    if d == n // 2:  # the two next to the middle already hold so much
        return float(x[d - 1]), float(x[n - d])
    share = (held[d] - confidence) / (held[d] - held[d + 1])
    weight = (n - d) * share / (d + (n - 2 * d) * share)
    return (
        float((1 - weight) * x[d - 1] + weight * x[d]),
        float((1 - weight) * x[n - d] + weight * x[n - d - 1]),
    )


def iqm(values: ArrayLike) -> float:
    """Return the interquartile mean: a quarter of the values is cut off at each end, rounded down; nan of none.

    References
    ----------
    Deep Reinforcement Learning at the Edge of the Statistical Precipice, 2021, https://arxiv.org/abs/2108.13264

    Examples
    --------
    >>> iqm([0.0, 1.0, 2.0, 3.0, 4.0, 100.0, 3.0, 2.0])
    2.5
    """
    x = np.asarray(values, dtype=np.float64)
    return float(stats.trim_mean(x, 0.25)) if len(x) else float("nan")


def iqm_interval(values: ArrayLike, *, confidence: float = 0.95) -> tuple[float, float]:
    r"""Return a confidence interval of the interquartile mean, by Tukey and McLaughlin.

    .. math:: \mathrm{IQM} \pm t_{h-1,\, 1 - \alpha/2}\, \frac{s_w}{(1 - 2g/n) \sqrt n}, \qquad h = n - 2g,\;
        g = \lfloor n / 4 \rfloor

    with :math:`s_w` the standard deviation after the g smallest and g largest values are replaced by their neighbours.
    Assumption: the share that is cut off in fact, g / n, stands where the textbooks have 1/4. Fewer than 4 values lose
    none and get Student's interval of the mean; a single one, or none, gets nan twice.

    References
    ----------
    Less vulnerable confidence and significance procedures for location based on a single sample, 1963,
    https://www.jstor.org/stable/25049278

    Examples
    --------
    >>> low, high = iqm_interval([0.0, 1.0, 2.0, 3.0, 4.0, 100.0, 3.0, 2.0])
    >>> round(low, 2), round(high, 2)
    (1.3, 3.7)
    """
    x = np.sort(np.asarray(values, dtype=np.float64))
    n = len(x)
    if n < 2:
        return float("nan"), float("nan")
    g = n // 4
    spread = np.clip(x, x[g], x[n - g - 1]).std(ddof=1)
    half = float(stats.t.ppf((1 + confidence) / 2, n - 2 * g - 1) * spread / ((1 - 2 * g / n) * np.sqrt(n)))
    return iqm(x) - half, iqm(x) + half


def seeds_needed(differences: ArrayLike, *, power: float = 0.8, alpha: float = 0.05) -> float:
    r"""Return how many seeds a study needs to see an effect of the size of this one.

    The smallest n at which a paired t-test (two-sided, at level ``alpha``) finds a true effect of
    :math:`\delta = |\bar d| / s_d` with probability ``power``, from the noncentral t distribution with noncentrality
    :math:`\delta \sqrt n`; and not fewer than the sign-flip test needs to reach ``alpha`` at all. Assumption: the
    differences are normal, for which the two tests differ little.

    Effects that were chosen because they looked large are smaller in truth: plan for more. It is a plan for fresh
    seeds, and no reason to add seeds to the present ones until p is small enough.

    Returns
    -------
    float
        A whole number; inf where the mean difference is 0, nan for fewer than 2 differences.

    Examples
    --------
    The mean is 0.48 standard deviations.

    >>> seeds_needed([-2.0, 3.0, 3.0, 1.0, -1.0, 2.0, -1.0, 3.0])
    36.0
    """
    d = np.asarray(differences, dtype=np.float64)
    if not 0 < power < 1 or not 0 < alpha < 1:
        raise InputError(f"{power=}, {alpha=}: shares between 0 and 1 are needed")
    if len(d) < 2:
        return float("nan")
    least = next(n for n in count(2) if smallest_p(n) <= alpha)
    spread, mean = d.std(ddof=1), abs(d.mean())
    if mean <= 1e-12 * np.abs(d).max():
        return float("inf")
    if spread <= 1e-12 * mean:
        return float(least)
    effect = float(mean / spread)
    rough = ((stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power)) / effect) ** 2  # below the answer, by 2 or so
    if rough > 1e5:
        return float(np.ceil(rough))
    return float(next(n for n in count(max(least, int(rough))) if _power(effect, n, alpha) >= power))


def _power(effect: float, n: int, alpha: float) -> float:
    edge = stats.t.ppf(1 - alpha / 2, n - 1)
    tails = stats.nct.sf(edge, n - 1, effect * np.sqrt(n)), stats.nct.cdf(-edge, n - 1, effect * np.sqrt(n))
    return float(np.nansum(tails))  # scipy gives nan for the far tail of a large effect, which is as good as 0


def seeds_for(differences: pd.DataFrame, *, power: float = 0.8, alpha: float = 0.05) -> pd.DataFrame:
    """Return the seeds that each comparison needs to see the effect it has shown.

    Parameters
    ----------
    differences : pandas.DataFrame
        What ``differences`` returns.
    power, alpha : float
        As for ``seeds_needed``. For several comparisons give an ``alpha`` divided by their number.

    Returns
    -------
    pandas.DataFrame
        Columns scenario, metric, arm_a, arm_b, n_pairs, diff, sd (of the differences) and seeds.
    """
    rows = []
    for pair, own in differences.groupby(PAIR):
        d = own["diff"].to_numpy(dtype=np.float64)
        sd = float(d.std(ddof=1)) if len(d) > 1 else float("nan")
        rows.append((*pair, len(d), float(d.mean()), sd, seeds_needed(d, power=power, alpha=alpha)))
    return pd.DataFrame(rows, columns=[*PAIR, "n_pairs", "diff", "sd", "seeds"])


def average_ranks(
    metrics: pd.DataFrame, metric: str, runs: pd.DataFrame | None = None, *, alpha: float = 0.05
) -> pd.DataFrame:
    r"""Return the rank of every arm on a metric, averaged over scenarios, and how far ranks must lie apart to matter.

    .. math:: CD = q_\alpha \sqrt{\frac{k (k + 1)}{6 N}}

    In each of the N scenarios the k arms are ranked by their mean over seeds, 1 for the best, equal ones sharing their
    ranks. Friedman's test asks whether any arm differs. By Nemenyi's test two arms differ if their average ranks lie at
    least CD apart, with :math:`q_\alpha` from the studentized range, divided by :math:`\sqrt 2`. The scenario is the
    unit here: many seeds in few scenarios say nothing about scenarios in general, and below 10 scenarios CD is rough.

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
        If there are fewer than two arms or scenarios, or an arm lacks a value in one.

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
    reported, _ = _asked(metrics, runs, ())
    rows = reported[reported["metric"] == metric]
    means = rows.groupby(["scenario", "arm"])["value"].mean().unstack("arm")
    if min(means.shape) < 2:
        raise InputError(f"'{metric}' of {means.shape[1]} arms in {means.shape[0]} scenarios: two of each are needed")
    missing = np.argwhere(means.isna().to_numpy())
    if len(missing):
        scenario, arm = means.index[missing[0][0]], means.columns[missing[0][1]]
        raise InputError(
            f"arm '{arm}' has no value of '{metric}' in {scenario}: ranks need every arm in every scenario"
        )
    ranks = (-known.sign * means.round(12)).rank(axis=1).to_numpy()
    n, k = ranks.shape
    q = stats.studentized_range.ppf(1 - alpha, k, np.inf) / np.sqrt(2)
    table = pd.DataFrame({"arm": means.columns, "rank": ranks.mean(axis=0), "n_scenarios": n})
    table = table.assign(critical_difference=q * np.sqrt(k * (k + 1) / (6 * n)), p_value=_friedman_p(ranks))
    return table.sort_values("rank", ignore_index=True, kind="stable")


def _friedman_p(ranks: Array) -> float:
    """Return the share of random orders in which the rank sums of the arms (columns) lie as far apart."""

    def statistic(orders: Array) -> Array:
        return np.asarray(((orders.sum(axis=-2) - ranks.sum() / ranks.shape[1]) ** 2).sum(axis=-1))

    null = statistic(_rng().permuted(np.broadcast_to(ranks, (RESAMPLES, *ranks.shape)).copy(), axis=2))
    return float((np.count_nonzero(null >= statistic(ranks) - 1e-9) + 1) / (RESAMPLES + 1))


def _asked(
    metrics: pd.DataFrame, runs: pd.DataFrame | None, pairs: Iterable[Pair] | None, confidence: float = 0.95
) -> tuple[pd.DataFrame, list[Pair]]:
    """Return the values to compare and the pairs, after checking what was asked for."""
    if not 0 < confidence < 1:
        raise InputError(f"confidence = {confidence}: a share between 0 and 1 is needed")
    reported = metrics if runs is None else _reported(metrics, runs)
    _one_lr_an_arm(reported)
    arms = set(metrics["arm"]) | set(() if runs is None else runs["arm"])
    return reported, list(combinations(sorted(set(reported["arm"])), 2)) if pairs is None else _checked(pairs, arms)


def _reported(metrics: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the values of finished runs of the phase "report", with the fingerprint of their stream."""
    cell = ["scenario", "arm", "lr", "seed"]
    known = runs[[*cell, "phase", "status", "fingerprint"]]
    rows = metrics.merge(known, on=cell, how="left")
    orphans = rows[rows["phase"].isna()]
    if len(orphans):
        names = ", ".join(f"{name} {value}" for name, value in orphans.iloc[0][cell].items())
        raise InputError(f"metrics has values of a run that runs does not have: {names}")
    return rows[(rows["phase"] == "report") & (rows["status"] == "ok")]


def _one_lr_an_arm(metrics: pd.DataFrame) -> None:
    for (scenario, arm), rates in metrics.groupby(["scenario", "arm"])["lr"]:
        several = sorted(set(rates))
        if len(several) > 1:
            listed = ", ".join(f"{lr:g}" for lr in several)
            raise InputError(f"arm '{arm}' of {scenario} has several learning rates ({listed}): compare one an arm")


def _checked(pairs: Iterable[Pair], arms: set[str]) -> list[Pair]:
    chosen = [(a, b) for a, b in pairs]
    for a, b in chosen:
        for arm in (a, b):
            if arm not in arms:
                raise unknown_name("arm", arm, arms)
        if a == b or chosen.count((a, b)) + chosen.count((b, a)) > 1:
            raise InputError(f"pair ('{a}', '{b}'): two different arms are needed, each two of them once")
    return chosen


def _same_streams(rows: pd.DataFrame, pairs: list[Pair]) -> None:
    for scenario, of_scenario in rows.drop_duplicates(["scenario", "arm", "seed"]).groupby("scenario"):
        prints = of_scenario.pivot(index="seed", columns="arm", values="fingerprint")
        for a, b in pairs:
            both = prints.reindex(columns=[a, b]).dropna()
            for seed, first, second in both[both[a] != both[b]].itertuples():
                raise InputError(
                    f"'{a}' and '{b}' cannot be paired on seed {seed} of {scenario}: "
                    f"their streams differ (fingerprints {first} and {second})"
                )


def _rng() -> np.random.Generator:
    """Return a generator that starts afresh, so that a pair's numbers do not depend on the pairs beside it."""
    return np.random.default_rng(derive_seed(0, "resampling"))
