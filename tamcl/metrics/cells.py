"""A study's tables cut into cells: one run of an optimizer at one learning rate and seed, its rows complete."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tamcl.errors import InputError
from tamcl.results import CELL

Array = NDArray[np.float64]
Cell = tuple[str, str, float, int]
Arrays = tuple[Array, ...]


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


def untrained_accuracies(eval: pd.DataFrame, experiences: int) -> Array:
    """Return the accuracy of the untrained model (``trained_on = -1``) on each experience, nan where not measured."""
    rows = eval[eval["trained_on"] == -1]
    start = np.full(experiences, np.nan)
    start[rows["evaluated_on"].to_numpy(dtype=int)] = rows["accuracy"].to_numpy(dtype=np.float64)
    return start


def online_cells(
    online: pd.DataFrame, what: str = "correct", *, complete: bool = False
) -> Iterator[tuple[Cell, Arrays]]:
    """Yield each cell's ``(correct, n, experience)`` in the order of the stream; no step may be missing.

    ``complete`` asks for as many steps as the longest cell of the scenario and seed has; with another seed an
    experience may bring other classes, and so another number of images.
    """
    columns = [online[name].to_numpy() for name in ("step", what, "n", "experience")]
    longest = (online.groupby(["scenario", "seed"])["step"].max() + 1).to_dict()
    for cell, where in cells(online):
        step, values, n, experience = (column[where] for column in columns)
        times = np.bincount(step, minlength=longest[cell[0], cell[3]] if complete else 0)
        if (times != 1).any():
            t = np.flatnonzero(times != 1)[0]
            raise InputError(f"online rows of {describe(cell)}: step {t} stands there {times[t]} times, not once")
        order = np.argsort(step)
        yield cell, (values[order], n[order], experience[order])


def matrices(eval: pd.DataFrame) -> Iterator[tuple[Cell, Arrays]]:
    """Yield each cell's ``(R, start)``; what one cell of a scenario has, the others must have too."""
    sizes = eval.groupby("scenario")[["trained_on", "evaluated_on"]].max().max(axis=1) + 1
    rows = [(cell, eval.iloc[where], sizes[cell[0]]) for cell, where in cells(eval)]
    found = [
        (cell, np.vstack([accuracy_matrix(table, size), untrained_accuracies(table, size)]))
        for cell, table, size in rows
    ]
    planned: dict[str, NDArray[np.bool_]] = {}
    for cell, R in found:
        planned[cell[0]] = planned.get(cell[0], False) | ~np.isnan(R)
    for cell, R in found:
        missing = np.argwhere(planned[cell[0]] & np.isnan(R))
        if len(missing):
            i, j = missing[0]
            entry = f"R[{i}, {j}]" if i < len(R) - 1 else f"the accuracy of the untrained model on experience {j}"
            raise InputError(f"eval rows of {describe(cell)}: {entry} is missing, which other cells have")
        yield cell, (R[:-1], R[-1])


def lowest_inside(eval: pd.DataFrame, continual: pd.DataFrame) -> Iterator[tuple[Cell, Arrays]]:
    """Yield ``(R, lowest)`` of each cell that was tested inside experiences.

    ``lowest[i, j]`` is the lowest accuracy on experience j from the first test inside experience i to its end; nan
    where it was not tested at both.
    """
    inside = dict(cells(continual))
    for cell, (R, _) in matrices(eval):
        if cell not in inside:
            continue
        rows = continual.iloc[inside[cell]]
        lowest = np.full(R.shape, np.inf)
        places = rows["experience"].to_numpy(dtype=int), rows["evaluated_on"].to_numpy(dtype=int)
        np.minimum.at(lowest, places, rows["accuracy"].to_numpy(dtype=np.float64))
        lowest[np.isinf(lowest)] = np.nan
        yield cell, (R, np.minimum(R, lowest))


def cells(table: pd.DataFrame) -> list[tuple[Cell, NDArray[np.intp]]]:
    """Return each cell with the positions of its rows."""
    return sorted(table.groupby(list(CELL)).indices.items())  # type: ignore[arg-type]


def describe(cell: Cell) -> str:
    """Return how an error calls a cell."""
    scenario, arm, lr, seed = cell
    return f"{scenario}, {arm}, lr {lr:g}, seed {seed}"


def as_table(rows: list[tuple[Any, ...]], columns: dict[str, str]) -> pd.DataFrame:
    """Return rows as a table with these columns and types."""
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)
