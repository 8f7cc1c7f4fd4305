"""Paired comparisons over the values of a sweep: the same question asked of several streams, models or options."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from tamcl.metrics import find
from tamcl.stats.intervals import interval
from tamcl.stats.p_values import holm, sign_flip_p
from tamcl.stats.paired import probability_better

Spacing = Literal["linear", "log", "names"]
"""How values lie beside one another."""


def spacing(values: ArrayLike) -> Spacing:
    """Return how values are best laid out: in proportion, by their ratios, or in equal steps as names are.

    By ratios where the largest is ten times the smallest or more (of two values 100 times), and steps are more even
    so. Numbers from 0 on whose others are of that kind, and what is no number, are names.

    Examples
    --------
    >>> spacing([0, 0.2, 0.4, 1]), spacing([8, 16, 32, 128]), spacing([0, 1e-4, 1e-3, 1e-2]), spacing(["relu", "tanh"])
    ('linear', 'log', 'names', 'names')
    """
    found = pd.unique(pd.Series(values))
    if not pd.api.types.is_numeric_dtype(found) or pd.api.types.is_bool_dtype(found):
        return "names"
    numbers = np.sort(np.asarray(found, dtype=np.float64))
    positive = numbers[numbers > 0]
    far = 10 if len(positive) > 2 else 100
    if len(positive) < 2 or positive[-1] < far * positive[0] or numbers[0] < 0:
        return "linear"
    if _unevenness(np.log(positive)) > _unevenness(positive):
        return "linear"
    return "log" if len(positive) == len(numbers) else "names"


def _unevenness(numbers: NDArray[np.float64]) -> float:
    steps = np.diff(numbers)
    return float(steps.max() / steps.min())


def over_all(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Return comparisons of several studies with ``p_adjusted`` by Holm over all of them on a metric.

    A reader looks at all values of a sweep for one at which an arm wins: of 20 comparisons without a difference one has
    p < 0.05. So the family is every pair at every value on the metric.
    """
    families = comparisons.groupby(["scenario", "metric"])["p_value"]
    return comparisons.assign(p_adjusted=families.transform(lambda p: holm(p)) if len(comparisons) else np.nan)


ACROSS = ["scenario", "metric", "arm_a", "arm_b", "effect"]
"""Columns that name a row of ``across``."""


def across(metrics: pd.DataFrame, comparisons: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Return what the pairs of a sweep do over all of its values.

    The seed is the unit here as well: runs of a seed at several values are not independent of one another. So on each
    seed that both arms have at all values their differences become one number, and the test is of those numbers.

    Parameters
    ----------
    metrics : pandas.DataFrame
        Rows of the ``metrics`` tables of all studies, with the swept keys as columns; one learning rate an arm and
        study.
    comparisons : pandas.DataFrame
        Those of all studies, for the pairs.
    keys : sequence of str
        The swept keys.

    Returns
    -------
    pandas.DataFrame
        For each scenario, metric and pair a row with ``effect`` "mean", the difference between the arms as the mean
        over all values; and for each key of numbers a row with that key as ``effect``: by how much the difference
        (arm_a minus arm_b) is higher at the key's largest value than at its least, on the straight line through all (by
        the logarithm of the value where ``spacing`` is "log"). Columns n_pairs (seeds), diff, ci_low,
        ci_high, p_value, p_adjusted (by Holm over all rows of a metric) and prob_a_better, the share of seeds on which
        the number is better in the metric's direction.

    Examples
    --------
    >>> rows = [(x, "flips", arm, 0.1, seed, "online_accuracy", 0.5 + (0.1 * x + 0.01 * seed) * (arm == "tam"))
    ...         for x in (0.0, 0.5, 1.0) for arm in ("tam", "sgdm") for seed in range(3)]
    >>> metrics = pd.DataFrame(rows, columns=["fraction", "scenario", "arm", "lr", "seed", "metric", "value"])
    >>> pairs = pd.DataFrame([("flips", "online_accuracy", "tam", "sgdm")], columns=ACROSS[:4])
    >>> across(metrics, pairs, ["fraction"])[["effect", "n_pairs", "diff", "p_value"]].round(3)
         effect  n_pairs  diff  p_value
    0      mean        3  0.06     0.25
    1  fraction        3  0.10     0.25
    """
    rows: list[dict[str, Any]] = []
    by_metric = dict(iter(metrics.groupby(["scenario", "metric"])))
    for named in comparisons[ACROSS[:4]].drop_duplicates().itertuples(index=False):
        scenario, metric, a, b = named
        values = by_metric.get((scenario, metric))
        if values is None:
            continue
        wide = values[values["arm"].isin([a, b])].pivot(index=["seed", *keys], columns="arm", values="value")
        both = wide.reindex(columns=[a, b])
        differences = (both[a] - both[b]).unstack(keys).dropna()
        differences.columns = pd.MultiIndex.from_frame(differences.columns.to_frame(index=False), names=[*keys])
        key = dict(zip(ACROSS, named, strict=False))
        sign = find(metric).sign
        rows += [{**key, "effect": effect, **_effect(each, sign)} for effect, each in _effects(differences, keys)]
    columns = [*ACROSS, "n_pairs", "diff", "ci_low", "ci_high", "p_value", "prob_a_better"]
    table = pd.DataFrame(rows, columns=columns)
    return over_all(table)


def _effects(differences: pd.DataFrame, keys: Sequence[str]) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield what each effect of a pair is on every seed; ``differences`` has a row a seed and a column a study."""
    n_values = differences.shape[1]
    if n_values < 2 or differences.empty:
        return
    yield "mean", differences.mean(axis=1).to_numpy()
    levels = [differences.columns.unique(key) for key in keys]
    if n_values != np.prod([len(level) for level in levels]):  # of a ragged grid a key cannot be told from another
        return
    for key, level in zip(keys, levels, strict=True):
        kind = spacing(level)
        if len(level) < 2 or kind == "names":
            continue
        x = differences.columns.get_level_values(key).to_numpy(dtype=np.float64)
        x = np.log(x) if kind == "log" else x
        x = x - x.mean()
        slopes = differences.to_numpy() @ x / (x @ x)
        yield key, slopes * np.ptp(x)


def _effect(by_seed: NDArray[np.float64], sign: int) -> dict[str, Any]:
    low, high = interval(by_seed)
    row = {"n_pairs": len(by_seed), "diff": float(by_seed.mean()), "ci_low": low, "ci_high": high}
    return row | {"p_value": sign_flip_p(by_seed), "prob_a_better": probability_better(sign * by_seed)}
