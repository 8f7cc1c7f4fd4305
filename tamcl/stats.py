"""Is one arm better than another, by how much, and how sure is that: paired statistics over seeds.

Two arms that share a seed share the stream, its order and the initial weights, so what is analysed is their difference
on each seed. The seed is the unit: mini-batches and experiences of one run are not independent observations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations
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
    if not 0 < confidence < 1:
        raise InputError(f"confidence = {confidence}: a share between 0 and 1 is needed")
    reported = metrics if runs is None else _reported(metrics, runs)
    _one_lr_an_arm(reported)
    arms = set(metrics["arm"]) | set(() if runs is None else runs["arm"])
    chosen = list(combinations(sorted(set(reported["arm"])), 2)) if pairs is None else _checked(pairs, arms)
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
    differences in 92 %, of 20 in 95 %; less for skewed ones).

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
