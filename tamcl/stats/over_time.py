r"""Whether two quantities of a run go together over time: their rank correlation, and what it would be by chance.

What is measured every few updates is no sample of independent pairs: each value is close to the one before it, and all
runs of a stream meet a shift at the same updates. So what counts as chance has to be said, and there are three answers:

``"shuffled"``
    One series in random order. It takes neighbours for independent, which they are not, and so finds almost anything
    significant: of two independent series, each with a correlation of 0.9 from one value to the next, it calls half
    related at a level of 5 %. It stands here to be compared with.
``"circular"``
    One series turned: begun at another place, its start put behind its end. Both keep all that each is by itself, so
    this is the null of the question *are the two related in time?* Series that both follow the shifts are.
``"experiences"``
    The experiences of one series in another order. Both keep what they do after every shift on average, so this is the
    null of *are they related by more than that both follow the shifts?* It needs experiences of the same length and
    kind: leave out the first, in which a model learns from nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from tamcl.errors import InputError
from tamcl.results import CELL, with_options
from tamcl.stats.intervals import interval
from tamcl.stats.resampling import rng

Array = NDArray[np.float64]

NULLS = ("shuffled", "circular", "experiences")
"""What may count as chance."""

DRAWS = 1999
"""Of a null distribution, where it is not enumerated."""


def rank_correlation(first: ArrayLike, second: ArrayLike) -> float:
    """Return Spearman's rank correlation, ties with their mean rank; nan where one of the two does not vary.

    Examples
    --------
    >>> round(rank_correlation([0.5, 0.6, 0.9, 0.7], [1.0, 2.0, 30.0, 40.0]), 6)
    0.8
    """
    return float(_standard(first) @ _standard(second))


def null_correlations(first: ArrayLike, second: ArrayLike, null: str, experience: ArrayLike | None = None) -> Array:
    """Return the rank correlations that two series may have by chance.

    Parameters
    ----------
    first, second : array, (n,)
        Values at the same updates, in the order of time.
    null : {"shuffled", "circular", "experiences"}
        What counts as chance. Turned series are enumerated, the others are drawn.
    experience : array of int, (n,), optional
        The experience of each value, needed by "experiences".

    Returns
    -------
    array
        Empty where the null cannot be had: with a single experience, or some of other lengths.

    Examples
    --------
    >>> null_correlations([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], "circular").round(6).tolist()
    [-0.5, -0.5]
    """
    if null not in NULLS:
        raise InputError(f"null = '{null}': must be one of {', '.join(NULLS)}")
    x, y = _standard(first), _standard(second)
    if null == "circular":
        turned = np.fft.irfft(np.fft.rfft(y) * np.fft.rfft(x).conj(), n=len(x))  # the sum of x[t] y[t + k] for every k
        return np.asarray(turned[1:], dtype=np.float64)
    generator = rng()
    if null == "shuffled":
        return np.array([x @ generator.permutation(y) for _ in range(DRAWS)])
    blocks = _blocks(y, np.zeros(len(y)) if experience is None else np.asarray(experience))
    if len(blocks) < 2:
        return np.empty(0)
    orders = (generator.permutation(len(blocks)) for _ in range(DRAWS))
    return np.array([x @ blocks[order].ravel() for order in orders])


def correlation_over_time(diagnostics: pd.DataFrame, first: str, second: str, *, tensor: str = "") -> pd.DataFrame:
    """Return for each run the rank correlation of two diagnostics over time, held against each null.

    Parameters
    ----------
    diagnostics : pandas.DataFrame
        Rows of the table ``diagnostics``. Left out are updates at which one of the two has no finite value, their like
        in all other experiences, so that these have the same number, and runs in which one of the two does not vary.
    first, second : str
        Diagnostics.
    tensor : str
        The tensor that they are about; all together if "".

    Returns
    -------
    pandas.DataFrame
        Columns scenario, arm, lr, options, seed, null, n (updates), correlation, null_mean, null_low and null_high
        (which hold 95 % of the null distribution) and p_value (two-sided, of this null).
    """
    rows = [
        (*cell, null, n, *_held(correlation, chance))
        for cell, n, correlation, nulls in _runs(diagnostics, first, second, tensor)
        for null, chance in nulls.items()
    ]
    return pd.DataFrame(rows, columns=[*CELL, "null", "n", *_HELD])


def mean_correlation_over_time(
    diagnostics: pd.DataFrame, first: str, second: str, *, tensor: str = "", confidence: float = 0.95
) -> pd.DataFrame:
    """Return for each arm the mean over seeds of the rank correlation of two diagnostics, held against each null.

    Parameters
    ----------
    diagnostics, first, second, tensor
        As of ``correlation_over_time``.
    confidence : float
        Nominal coverage of the interval.

    Returns
    -------
    pandas.DataFrame
        Columns scenario, arm, lr, options, null, n_seeds, ci_low and ci_high (``interval`` of the mean), and
        correlation, null_mean, null_low, null_high and p_value: of the mean, where the null of each seed is drawn by
        itself.
    """
    by_arm: dict[tuple[Any, ...], list[tuple[float, dict[str, Array]]]] = {}
    for cell, _, correlation, nulls in _runs(diagnostics, first, second, tensor):
        by_arm.setdefault(cell[:4], []).append((correlation, nulls))
    rows = []
    for arm, runs in by_arm.items():
        correlations = np.array([correlation for correlation, _ in runs])
        for null in NULLS:
            generator = rng()
            chances = [nulls[null] for _, nulls in runs]
            drawn = [generator.choice(chance, DRAWS) for chance in chances if len(chance)]
            chance = np.mean(drawn, axis=0) if len(drawn) == len(runs) else np.empty(0)
            ends = interval(correlations, confidence=confidence)
            rows.append((*arm, null, len(runs), *ends, *_held(float(correlations.mean()), chance)))
    return pd.DataFrame(rows, columns=[*list(CELL)[:4], "null", "n_seeds", "ci_low", "ci_high", *_HELD])


_HELD = ["correlation", "null_mean", "null_low", "null_high", "p_value"]


def _held(correlation: float, chance: Array) -> tuple[float, ...]:
    """Return a correlation with the mean and 95 % of its null distribution, and its p-value."""
    if not len(chance) or not np.isfinite(correlation):
        return correlation, *[float("nan")] * 4
    room = 1e-9  # that of rounding, where a draw is the series itself
    tails = (chance >= correlation - room).sum(), (chance <= correlation + room).sum()
    p = min(1.0, 2 * (1 + min(tails)) / (1 + len(chance)))
    return correlation, float(chance.mean()), *map(float, np.quantile(chance, [0.025, 0.975])), p


def _runs(
    diagnostics: pd.DataFrame, first: str, second: str, tensor: str
) -> Iterator[tuple[tuple[Any, ...], int, float, dict[str, Array]]]:
    """Yield each run with its number of updates, its correlation, and the correlations of every null."""
    diagnostics = with_options(diagnostics)
    known = diagnostics[(diagnostics["tensor"] == tensor) & np.isfinite(diagnostics["value"])]
    for name in (first, second):
        if name not in set(known["diagnostic"]):
            raise InputError(f"the table has no finite value of '{name}'" + (f" of '{tensor}'" if tensor else ""))
    of_experience = [*CELL, "experience"]
    known = known.assign(since=known["step"] - diagnostics.groupby(of_experience)["step"].transform("min"))
    at = [*of_experience, "step", "since"]
    both = known[known["diagnostic"] == first].merge(known[known["diagnostic"] == second], on=at)
    experiences = both.groupby(list(CELL))["experience"].transform("nunique")
    everywhere = both.groupby([*CELL, "since"])["experience"].transform("nunique") == experiences
    for cell, run in both[everywhere].sort_values(at).groupby(list(CELL), sort=False):
        x, y = run["value_x"].to_numpy(), run["value_y"].to_numpy()
        correlation = rank_correlation(x, y)
        if np.isfinite(correlation):
            nulls = {null: null_correlations(x, y, null, run["experience"].to_numpy()) for null in NULLS}
            yield cell, len(run), correlation, nulls


def _standard(values: ArrayLike) -> Array:
    """Return the ranks of values with mean 0 and norm 1; nan where they do not vary."""
    ranks = pd.Series(np.asarray(values, dtype=np.float64)).rank().to_numpy(dtype=np.float64)
    centred = ranks - ranks.mean()
    norm = float(np.linalg.norm(centred))
    return centred / norm if norm else np.full(len(centred), np.nan)


def _blocks(values: Array, experience: NDArray[Any]) -> Array:
    """Return the values of each experience as a row; none where they are of different lengths."""
    starts = np.flatnonzero(np.append(True, experience[1:] != experience[:-1]))
    lengths = np.diff(np.append(starts, len(values)))
    return values.reshape(len(starts), -1) if len(set(lengths)) == 1 else np.empty((0, 0))
