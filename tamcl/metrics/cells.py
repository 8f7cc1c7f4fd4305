"""A study's tables cut into cells: one run of an optimizer at one learning rate and seed, its rows complete."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tamcl.errors import InputError
from tamcl.results import CELL, with_options
from tamcl.trial import Trial

Array = NDArray[np.float64]
Cell = tuple[str, str, float, str, int]
"""Scenario, arm, learning rate, options that were tuned with it, and seed."""
Arrays = tuple[Array, ...]

MOST_EXPERIENCES = 10_000
"""Of a matrix: its memory grows with the square."""


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


def online_cells(online: pd.DataFrame, what: str = "correct") -> Iterator[tuple[Cell, Arrays]]:
    """Yield each cell's ``(correct, n, experience)`` in the order of the stream; no step may be missing."""
    columns = [online[name].to_numpy() for name in ("step", what, "n", "experience")]
    for cell, where in cells(online):
        step, values, n, experience = (column[where] for column in columns)
        order = np.argsort(step)
        places = np.flatnonzero(step[order] != np.arange(len(step)))
        if len(places):
            t = min(places[0], step[order][places[0]])
            times = (step == t).sum()
            raise InputError(f"online rows of {describe(cell)}: step {t} stands there {times} times, not once")
        yield cell, (values[order], n[order], experience[order])


def own_matrices(eval: pd.DataFrame, what: str = "accuracy") -> Iterator[tuple[Cell, Arrays]]:
    """Yield each cell's ``(R, start)``, of accuracies or of losses, as far as its own rows go."""
    columns = [eval[name].to_numpy() for name in ("trained_on", "evaluated_on", what)]
    for cell, where in cells(eval):
        i, j, values = (column[where] for column in columns)
        size = int(max(i.max(), j.max())) + 1
        if min(i.min() + 1, j.min()) < 0 or size > MOST_EXPERIENCES:
            raise InputError(f"eval rows of {describe(cell)}: experiences from {min(i.min(), j.min())} to {size - 1}")
        _, first, times = np.unique((i + 1) * size + j, return_index=True, return_counts=True)
        for place in first[times > 1][:1]:
            raise InputError(f"eval rows of {describe(cell)}: R[{i[place]}, {j[place]}] stands there several times")
        table = np.full((size + 1, size), np.nan)
        table[i, j] = values  # the last row is that of trained_on = -1
        yield cell, (table[:-1], table[-1])


def matrices(eval: pd.DataFrame) -> Iterator[tuple[Cell, Arrays]]:
    """Yield each cell's ``(R, start)``; what one cell of a scenario has, the others must have too."""
    complete, found = Complete(), list(own_matrices(eval))
    for cell, arrays in found:
        complete.add_tests(cell, *arrays)
    complete.check()
    yield from found


class Complete:
    """Whether cells have all the rows that others of their scenario have; they may come a few at a time."""

    def __init__(self) -> None:
        self._steps: dict[tuple[str, int], dict[int, Cell]] = {}
        self._tests: dict[str, dict[tuple[bytes, int], Cell]] = {}  # the first cell that has these, and no other tests

    def add_steps(self, cell: Cell, number: int) -> None:
        """Take note of how many steps a cell has.

        Cells of other seeds may have another number: an experience may bring other classes there, and so more images.
        """
        self._steps.setdefault((cell[0], cell[4]), {}).setdefault(number, cell)

    def add_tests(self, cell: Cell, R: Array, start: Array) -> None:
        """Take note of which accuracies a cell has."""
        tested = ~np.isnan(np.vstack([start, R]))
        self._tests.setdefault(cell[0], {}).setdefault((tested.tobytes(), len(start)), cell)

    def check(self) -> None:
        """Raise an ``InputError`` that names a cell and the first row that it lacks, if there is one."""
        for lengths in self._steps.values():
            fewest = min(lengths)
            if fewest < max(lengths):
                lacking = describe(lengths[fewest])
                raise InputError(f"online rows of {lacking}: step {fewest} stands there 0 times, not once")
        for kinds in self._tests.values():
            size = max(size for _, size in kinds)
            padded = {cell: _unpacked(tested, own, size) for (tested, own), cell in kinds.items()}
            planned = np.logical_or.reduce(list(padded.values()))
            for cell, tested in padded.items():
                missing = np.argwhere(np.roll(planned & ~tested, -1, axis=0))  # the untrained model last
                if len(missing):
                    i, j = missing[0]
                    entry = f"R[{i}, {j}]" if i < size else f"the accuracy of the untrained model on experience {j}"
                    raise InputError(f"eval rows of {describe(cell)}: {entry} is missing, which other cells have")


def _unpacked(tested: bytes, own: int, size: int) -> NDArray[np.bool_]:
    """Return which accuracies a cell of ``own`` experiences has, of as many as the cell that has most."""
    table = np.zeros((size + 1, size), dtype=bool)
    table[: own + 1, :own] = np.frombuffer(tested, dtype=bool).reshape(own + 1, own)
    return table


def lowest_inside(eval: pd.DataFrame, continual: pd.DataFrame) -> Iterator[tuple[Cell, Arrays]]:
    """Yield ``(R, lowest)`` of each cell that was tested inside experiences.

    ``lowest[i, j]`` is the lowest accuracy on experience j from the first test inside experience i to its end; nan
    where it was not tested at both.
    """
    inside = dict(cells(continual))
    for cell, (R, _) in own_matrices(eval) if inside else ():
        if cell not in inside:
            continue
        rows = continual.iloc[inside[cell]]
        lowest = np.full(R.shape, np.inf)
        places = rows["experience"].to_numpy(dtype=int), rows["evaluated_on"].to_numpy(dtype=int)
        np.minimum.at(lowest, places, rows["accuracy"].to_numpy(dtype=np.float64))
        lowest[np.isinf(lowest)] = np.nan
        yield cell, (R, np.minimum(R, lowest))


def tests_inside(continual: pd.DataFrame) -> Iterator[tuple[Cell, Arrays]]:
    """Yield ``(accuracy, experience)`` of each cell: of the tests inside experiences those on the one in training."""
    own = continual[continual["evaluated_on"] == continual["experience"]].dropna(subset="accuracy")
    accuracy, experience, step = (own[name].to_numpy() for name in ("accuracy", "experience", "step"))
    for cell, where in cells(own):
        order = where[np.argsort(step[where], kind="stable")]
        yield cell, (accuracy[order], experience[order])


def cells(table: pd.DataFrame) -> list[tuple[Cell, NDArray[np.intp]]]:
    """Return each cell with the positions of its rows."""
    return sorted(with_options(table).groupby(list(CELL)).indices.items())  # type: ignore[arg-type]


def describe(cell: Cell) -> str:
    """Return how an error calls a cell."""
    scenario, arm, lr, options, seed = cell
    return f"{scenario}, {arm}, {Trial(lr, options)}, seed {seed}"


def as_table(rows: list[tuple[Any, ...]], columns: dict[str, str]) -> pd.DataFrame:
    """Return rows as a table with these columns and types."""
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)
