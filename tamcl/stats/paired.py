"""Two arms on the same seeds: their differences, and what a study says of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from tamcl.metrics import Metric, find
from tamcl.results import conform, empty
from tamcl.stats.intervals import interval
from tamcl.stats.p_values import holm, sign_flip_p
from tamcl.stats.reported import Pair, require_same_streams, values_and_pairs

Row: TypeAlias = "Mapping[str, Any] | pd.Series[Any]"

PAIR = ["scenario", "metric", "arm_a", "arm_b"]
"""Columns that name a comparison."""

ALPHA = 0.05
"""Level of the tests."""


def is_shown(row: Row, *, alpha: float = ALPHA) -> bool:
    """Tell whether a comparison shows a difference: its p, by Holm over all pairs, is at most ``alpha``.

    What a report says, counts and draws as a difference follows this rule alone. The interval is of one pair by itself,
    so that it can leave out 0 where nothing is shown.

    Parameters
    ----------
    row : mapping or pandas.Series
        A row of the ``comparisons`` table.
    alpha : float
        Level of the test.

    Examples
    --------
    >>> row = {"n_pairs": 10, "ci_low": 0.014, "ci_high": 0.028, "p_value": 0.02, "p_adjusted": 0.06}
    >>> is_shown(row), is_shown(row | {"p_adjusted": 0.04})
    (False, True)
    """
    return bool(row["n_pairs"] > 1 and row["p_adjusted"] <= alpha)


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
    reported, chosen = values_and_pairs(metrics, runs, pairs, confidence)
    if runs is not None:
        require_same_streams(reported, chosen)
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


def probability_better(gains: ArrayLike) -> float:
    """Return the share of seeds with a gain, ties counting half; nan without any.

    Examples
    --------
    >>> probability_better([0.2, 0.1, 0.0, -0.3])
    0.625
    """
    g = np.asarray(gains, dtype=np.float64)
    return float((np.sign(g) + 1).mean() / 2) if len(g) else float("nan")


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
    reported, chosen = values_and_pairs(metrics, runs, pairs)
    if runs is not None:
        require_same_streams(reported, chosen)
    rows = []
    for (scenario, metric), of_metric in reported.groupby(["scenario", "metric"]):
        values = of_metric.pivot(index="seed", columns="arm", values="value")
        for a, b in chosen:
            both = values.reindex(columns=[a, b]).dropna()
            rows += [(scenario, metric, a, b, *row) for row in (both[a] - both[b]).items()]
    columns = {**dict.fromkeys(PAIR, "str"), "seed": "int64", "diff": "float64"}
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)
