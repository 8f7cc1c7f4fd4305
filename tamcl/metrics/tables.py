"""From a study's ``online`` and ``eval`` tables to its ``metrics`` table, and to what happened at each shift."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tamcl.errors import InputError
from tamcl.metrics import METRICS
from tamcl.metrics.adaptation import BEFORE, WINDOW, Shifts, after_shifts, shortened, smoothed, split
from tamcl.metrics.metric import Metric
from tamcl.metrics.retention import Missing
from tamcl.results import conform

CELL = {"scenario": "str", "arm": "str", "lr": "float64", "seed": "int64"}

Array = NDArray[np.float64]
Cell = tuple[str, str, float, int]
Arrays = tuple[Array, ...]


def measure(
    online: pd.DataFrame,
    eval: pd.DataFrame,
    runs: pd.DataFrame | None = None,
    *,
    metrics: Iterable[Metric] | None = None,
) -> pd.DataFrame:
    """Return every metric of every cell: the ``metrics`` table.

    Parameters
    ----------
    online, eval : pandas.DataFrame
        Tables of ``tamcl.results``, rows in any order. A scenario of which one table has no rows gets the metrics of
        the other only.
    runs : pandas.DataFrame, optional
        Table of ``tamcl.results``. With it only cells whose status is "ok" are measured: one that diverged left only
        a part of its rows, which without ``runs`` is an error.
    metrics : iterable of Metric, optional
        All of ``METRICS`` if absent.

    Returns
    -------
    pandas.DataFrame
        Columns scenario, arm, lr, seed, metric, value; nan where a metric has no value, as forgetting after a single
        experience, or where no cell of the scenario has the accuracies that it needs.

    Raises
    ------
    InputError
        If rows of a cell are missing that others have: the cell and the first missing row are named, nothing is filled
        in.

    Examples
    --------
    >>> cell = {"scenario": "flips", "arm": "sgd", "lr": 0.1, "seed": 0}
    >>> online = pd.DataFrame([cell | {"experience": 0, "step": 0, "n": 10, "loss": 1.0, "correct": 7}])
    >>> eval = pd.DataFrame([cell | {"trained_on": 0, "evaluated_on": 0, "n": 50, "accuracy": 0.8, "loss": 0.9}])
    >>> measure(online, eval).dropna()[["metric", "value"]]
                  metric  value
    1   average_accuracy    0.8
    5  learning_accuracy    0.8
    6    online_accuracy    0.7
    7        online_loss    1.0
    """
    if runs is not None:
        finished = runs.loc[runs["status"] == "ok", list(CELL)]
        online, eval = online.merge(finished, on=list(CELL)), eval.merge(finished, on=list(CELL))
    _same_cells(online, eval)
    cells: dict[str, list[tuple[Cell, Arrays]]] = {
        "online": list(_online_cells(online, complete=True)),
        "loss": list(_online_cells(online, "loss", complete=True)),
        "matrix": list(_matrices(eval)),
    }
    values = [
        (*cell, metric.name, _value(metric, cell, arrays))
        for metric in (METRICS.values() if metrics is None else metrics)
        for cell, arrays in cells[metric.on]
    ]
    return conform("metrics", _table(values, CELL | {"metric": "str", "value": "float64"}))


def accuracy_matrix(eval: pd.DataFrame, experiences: int | None = None) -> Array:
    """Return the accuracy matrix R of one cell, nan where nothing was measured.

    Parameters
    ----------
    eval : pandas.DataFrame
        ``eval`` rows of one cell; those of the untrained model (``trained_on = -1``) are left out.
    experiences : int, optional
        T, the largest experience of the rows plus one if absent.

    Returns
    -------
    array, (T, T)
        ``R[i, j]``, accuracy on experience j after training on experience i.

    Examples
    --------
    >>> eval = pd.DataFrame({"trained_on": [0, 1, 1], "evaluated_on": [0, 0, 1], "accuracy": [0.9, 0.6, 0.8]})
    >>> accuracy_matrix(eval)
    array([[0.9, nan],
           [0.6, 0.8]])
    """
    trained = eval[eval["trained_on"] >= 0]
    i, j = trained["trained_on"].to_numpy(dtype=int), trained["evaluated_on"].to_numpy(dtype=int)
    size = experiences if experiences is not None else int(max(i.max(initial=-1), j.max(initial=-1))) + 1
    twice = trained.duplicated(["trained_on", "evaluated_on"]).to_numpy()
    if twice.any():
        raise InputError(f"eval has several accuracies for R[{i[twice][0]}, {j[twice][0]}]: give the rows of one cell")
    R = np.full((size, size), np.nan)
    R[i, j] = trained["accuracy"].to_numpy(dtype=np.float64)
    return R


def shifts(online: pd.DataFrame, **windows: Any) -> pd.DataFrame:
    """Return what happened at each shift of each cell, a row a shift.

    Parameters
    ----------
    online : pandas.DataFrame
        Table of ``tamcl.results``. A run that broke off counts as far as it came.
    **windows
        ``before``, ``window`` and ``recovered`` of ``tamcl.metrics.adaptation.after_shifts``.

    Returns
    -------
    pandas.DataFrame
        Columns scenario, arm, lr, seed, experience (the one that begins), step (its first), level_before, drop,
        recovery_steps (mini-batches), censored, area_lost (accuracy-steps).
    """
    columns = CELL | {"experience": "int64", "step": "int64"}
    columns |= dict.fromkeys(Shifts._fields, "float64") | {"censored": "bool"}
    rows: list[tuple[Any, ...]] = []
    for cell, (correct, n, experience) in _online_cells(online.dropna(subset="correct")):
        step = np.flatnonzero(np.diff(experience)) + 1
        found = after_shifts(correct, n, experience, **windows)
        rows += [(*cell, *shift) for shift in zip(experience[step], step, *found, strict=True)]
    return _table(rows, columns)


def recovery_curves(online: pd.DataFrame, *, before: int = BEFORE, window: int = WINDOW) -> pd.DataFrame:
    """Return the smoothed accuracy around a shift, all shifts of a cell laid over each other at 0.

    Parameters
    ----------
    online : pandas.DataFrame
        Table of ``tamcl.results``. A run that broke off counts as far as it came.
    before : int
        Mini-batches shown before the shift.
    window : int
        Mini-batches of the smoothed accuracy, counted from each one on. No window reaches over a shift, so the last
        ``window - 1`` mini-batches before a shift begin none.

    Returns
    -------
    pandas.DataFrame
        Columns scenario, arm, lr, seed, since_shift (mini-batches; negative before it), accuracy (mean over the
        shifts of the cell that have this mini-batch) and n_shifts (how many have).
    """
    rows: list[tuple[Any, ...]] = []
    for cell, arrays in _online_cells(online.dropna(subset="correct")):
        rows += [(*cell, *point) for point in _recovery_curve(split(*arrays), before, window)]
    return _table(rows, CELL | {"since_shift": "int64", "accuracy": "float64", "n_shifts": "int64"})


def _recovery_curve(parts: list[tuple[Array, Array]], before: int, window: int) -> Iterator[tuple[int, float, int]]:
    since, accuracy = [np.zeros(0, dtype=int)], [np.zeros(0)]
    for (old_correct, old_n), (new_correct, new_n) in pairwise(parts):
        shown = min(before, len(old_n))
        end = slice(len(old_n) - shown, None)
        tail = smoothed(old_correct[end], old_n[end], shortened(window, len(old_n)))
        head = smoothed(new_correct, new_n, shortened(window, len(new_n)))
        since += [np.arange(len(tail)) - shown, np.arange(len(head))]
        accuracy += [tail, head]
    steps, place, count = np.unique(np.concatenate(since), return_inverse=True, return_counts=True)
    mean = np.bincount(place, weights=np.concatenate(accuracy), minlength=len(steps)) / count
    return zip(steps, mean, count, strict=True)


def _online_cells(
    online: pd.DataFrame, what: str = "correct", *, complete: bool = False
) -> Iterator[tuple[Cell, Arrays]]:
    """Yield each cell's ``(correct, n, experience)`` in the order of the stream; no step may be missing.

    ``complete`` asks for as many steps as the longest cell of the scenario and seed has; with another seed an
    experience may bring other classes, and so another number of images.
    """
    columns = [online[name].to_numpy() for name in ("step", what, "n", "experience")]
    longest = (online.groupby(["scenario", "seed"])["step"].max() + 1).to_dict()
    for cell, where in _cells(online):
        step, values, n, experience = (column[where] for column in columns)
        times = np.bincount(step, minlength=longest[cell[0], cell[3]] if complete else 0)
        if (times != 1).any():
            t = np.flatnonzero(times != 1)[0]
            raise InputError(f"online rows of {_name(cell)}: step {t} stands there {times[t]} times, not once")
        order = np.argsort(step)
        yield cell, (values[order], n[order], experience[order])


def _matrices(eval: pd.DataFrame) -> Iterator[tuple[Cell, Arrays]]:
    """Yield each cell's accuracy matrix; what one cell of a scenario has, the others must have too."""
    sizes = eval.groupby("scenario")[["trained_on", "evaluated_on"]].max().max(axis=1) + 1
    matrices = [(cell, accuracy_matrix(eval.iloc[where], sizes[cell[0]])) for cell, where in _cells(eval)]
    planned: dict[str, NDArray[np.bool_]] = {}
    for cell, R in matrices:
        planned[cell[0]] = planned.get(cell[0], False) | ~np.isnan(R)
    for cell, R in matrices:
        missing = np.argwhere(planned[cell[0]] & np.isnan(R))
        if len(missing):
            i, j = missing[0]
            raise InputError(f"eval rows of {_name(cell)}: R[{i}, {j}] is missing, which other cells have")
        yield cell, (R,)


def _cells(table: pd.DataFrame) -> list[tuple[Cell, NDArray[np.intp]]]:
    """Return each cell with the positions of its rows."""
    return sorted(table.groupby(list(CELL)).indices.items())  # type: ignore[arg-type]


def _same_cells(online: pd.DataFrame, eval: pd.DataFrame) -> None:
    scenarios = set(online["scenario"]) & set(eval["scenario"])
    names = {"online": online, "eval": eval}
    cells = {name: {cell for cell, _ in _cells(table) if cell[0] in scenarios} for name, table in names.items()}
    for name, other in (("online", "eval"), ("eval", "online")):
        if missing := sorted(cells[other] - cells[name]):
            raise InputError(f"{_name(missing[0])} has {other} rows but no {name} rows")


def _value(metric: Metric, cell: Cell, arrays: Arrays) -> float:
    if metric.on != "matrix" and len(arrays[0]) and np.isnan(arrays[0]).all():
        return float("nan")  # numbers to be learnt are neither right nor wrong
    try:
        return metric.function(*arrays)
    except Missing:
        return float("nan")  # not measured in any cell
    except ValueError as error:
        raise InputError(f"{metric.name} of {_name(cell)}: {error}") from error


def _name(cell: Cell) -> str:
    scenario, arm, lr, seed = cell
    return f"{scenario}, {arm}, lr {lr:g}, seed {seed}"


def _table(rows: list[tuple[Any, ...]], columns: dict[str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)
