"""From a study's ``online`` and ``eval`` tables to its ``metrics`` table, and to curves over its stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tamcl.errors import InputError, reason, shown
from tamcl.metrics import METRICS
from tamcl.metrics.adaptation import (
    BEFORE,
    SHARES,
    WINDOW,
    Shifts,
    accuracy_at,
    after_shifts,
    shortened,
    smoothed,
    split,
)
from tamcl.metrics.cells import (
    Arrays,
    Cell,
    Complete,
    as_table,
    describe,
    lowest_inside,
    online_cells,
    own_matrices,
    tests_inside,
)
from tamcl.metrics.metric import Metric
from tamcl.metrics.plasticity import end_accuracies
from tamcl.metrics.retention import Missing
from tamcl.results import CELL, complete_runs, conform, empty, with_options

Array = NDArray[np.float64]


def measure(
    online: pd.DataFrame,
    eval: pd.DataFrame,
    runs: pd.DataFrame | None = None,
    *,
    continual: pd.DataFrame | None = None,
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
        a part of its rows, which without ``runs`` is an error. Its column ``batches`` tells where a row of ``online``
        is a block of mini-batches (``evaluation.batches`` above 1): metrics that count single ones have no value there.
        Its column ``data`` tells which cells are of text, and so have a perplexity. Without ``runs`` neither can be
        known: every row counts as one mini-batch, and no cell is of text.
    continual : pandas.DataFrame, optional
        Table of ``tamcl.results``; cells that have no rows there have no metrics of what happened inside experiences.
    metrics : iterable of Metric, optional
        All of ``METRICS`` if absent.

    Returns
    -------
    pandas.DataFrame
        Columns scenario, arm, lr, options, seed, metric, value; nan where a metric has no value, as forgetting after a
        single experience, where no cell of the scenario has the accuracies that it needs, or where it counts
        mini-batches (``Metric.per_batch``) and rows are blocks of them.

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
    >>> measure(online, eval).dropna().set_index("metric")["value"].loc[["average_accuracy", "online_accuracy"]]
    metric
    average_accuracy    0.8
    online_accuracy     0.7
    Name: value, dtype: float64
    """
    measuring = Measuring(metrics)
    measuring.add(online, eval, runs, continual=continual)
    return measuring.table()


ROUNDING = 1e-9
"""How far beyond its range a metric of one's own may be; further out it is another number than it says."""


class Measuring:
    """Metrics of cells that come a few at a time, so that the rows of all need not be in memory at once.

    Parameters
    ----------
    metrics : iterable of Metric, optional
        All of ``METRICS`` if absent.
    """

    def __init__(self, metrics: Iterable[Metric] | None = None) -> None:
        self._metrics = list(METRICS.values() if metrics is None else metrics)
        self._values: list[tuple[Any, ...]] = []
        self._cells: dict[str, set[Cell]] = {"online": set(), "eval": set()}
        self._complete = Complete()
        self._errors: list[InputError] = []

    def add(
        self,
        online: pd.DataFrame,
        eval: pd.DataFrame,
        runs: pd.DataFrame | None = None,
        *,
        continual: pd.DataFrame | None = None,
    ) -> None:
        """Measure cells, all rows of which are given; the tables are as of ``measure``.

        Raises
        ------
        InputError
            If rows of a cell are missing between others.
        """
        online, eval = with_options(online), with_options(eval)
        runs = None if runs is None else with_options(runs)
        in_blocks = set() if runs is None else _cells_in_blocks(runs)
        if runs is not None:
            finished = runs.loc[runs["status"] == "ok", list(CELL)]
            online, eval = online.merge(finished, on=list(CELL)), eval.merge(finished, on=list(CELL))
        within = empty("continual") if continual is None else with_options(continual)
        if runs is not None:
            within = within.merge(finished, on=list(CELL))
        inputs: dict[str, list[tuple[Cell, Arrays]]] = {
            "online": list(online_cells(online)),
            "loss": list(online_cells(online, "loss")),
            "matrix_and_start": list(own_matrices(eval)),
            "matrix_and_lowest": list(lowest_inside(eval, within)),
            "inside": list(tests_inside(within)),
        }
        of_text = set() if runs is None else _cells_of_text(runs)
        inputs["text_loss"] = [(cell, (L,)) for cell, (L, _) in own_matrices(eval, "loss") if cell in of_text]
        inputs["matrix"] = [(cell, (R,)) for cell, (R, _) in inputs["matrix_and_start"]]
        for cell, arrays in inputs["online"]:
            self._cells["online"].add(cell)
            self._complete.add_steps(cell, len(arrays[0]))
        for cell, arrays in inputs["matrix_and_start"]:
            self._cells["eval"].add(cell)
            self._complete.add_tests(cell, *arrays)
        for metric in self._metrics:
            for cell, arrays in inputs[metric.on]:
                value = np.nan if metric.per_batch and cell in in_blocks else self._value(metric, cell, arrays)
                self._values.append((*cell, metric.name, value))

    def table(self) -> pd.DataFrame:
        """Return what ``measure`` returns for all cells, or raise what it raises."""
        scenarios = {cell[0] for cell in self._cells["online"]} & {cell[0] for cell in self._cells["eval"]}
        for kind, other in (("online", "eval"), ("eval", "online")):
            missing = sorted(cell for cell in self._cells[other] - self._cells[kind] if cell[0] in scenarios)
            if missing:
                raise InputError(f"{describe(missing[0])} has {other} rows but no {kind} rows")
        self._complete.check()
        for error in self._errors[:1]:
            raise error
        return conform("metrics", as_table(self._values, CELL | {"metric": "str", "value": "float64"}))

    def _value(self, metric: Metric, cell: Cell, arrays: Arrays) -> float:
        try:
            value = _value(metric, cell, arrays)
            if metric.name not in METRICS and (value < metric.low - ROUNDING or value > metric.high + ROUNDING):
                raise InputError(
                    f"metric {shown(metric.name)}: is {value:g} on {describe(cell)}, outside of its range from "
                    f"{metric.low:g} to {metric.high:g}"
                )
            return value
        except InputError as error:  # which rows that are missing may be behind, so these are named first
            self._errors.append(error)
        except Exception as error:
            if metric.name in METRICS:
                raise
            self._errors.append(InputError(f"metric {shown(metric.name)}: fails on {describe(cell)}: {reason(error)}"))
        return float("nan")


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
        Columns scenario, arm, lr, options, seed, experience (the one that begins), step (its first), level_before,
        drop, recovery_steps (mini-batches), censored, area_lost (accuracy-steps).
    """
    columns = CELL | {"experience": "int64", "step": "int64"}
    columns |= dict.fromkeys(Shifts._fields, "float64") | {"censored": "bool"}
    rows: list[tuple[Any, ...]] = []
    for cell, (correct, n, experience) in online_cells(online.dropna(subset="correct")):
        step = np.flatnonzero(np.diff(experience)) + 1
        found = after_shifts(correct, n, experience, **windows)
        rows += [(*cell, *shift) for shift in zip(experience[step], step, *found, strict=True)]
    return as_table(rows, columns)


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
        Columns scenario, arm, lr, options, seed, since_shift (mini-batches; negative before it), accuracy (mean over
        the shifts of the cell that have this mini-batch) and n_shifts (how many have).
    """
    rows: list[tuple[Any, ...]] = []
    for cell, arrays in online_cells(online.dropna(subset="correct")):
        rows += [(*cell, *point) for point in _recovery_curve(split(*arrays), before, window)]
    return as_table(rows, CELL | {"since_shift": "int64", "accuracy": "float64", "n_shifts": "int64"})


def stability_curves(continual: pd.DataFrame, eval: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracy on earlier experiences inside a later one, all shifts of a cell laid over each other at 0.

    Parameters
    ----------
    continual, eval : pandas.DataFrame
        Tables of ``tamcl.results``.

    Returns
    -------
    pandas.DataFrame
        Columns scenario, arm, lr, options, seed, since_shift (updates), change (accuracy less that right before the
        shift, mean over the earlier experiences and then over the shifts of the cell that were tested there) and
        n_shifts (how many were).
    """
    continual, eval = with_options(continual), with_options(eval)
    shift = [*CELL, "experience"]
    before = eval.assign(experience=eval["trained_on"] + 1, before=eval["accuracy"])
    earlier = continual[continual["evaluated_on"] < continual["experience"]]
    rows = earlier.merge(before[[*shift, "evaluated_on", "before"]])
    since_shift = rows["step"] - rows.groupby(shift)["step"].transform("min") + 1
    rows = rows.assign(since_shift=since_shift, change=rows["accuracy"] - rows["before"])
    changes = rows.groupby([*shift, "since_shift"])["change"].mean()
    curves = changes.groupby([*CELL, "since_shift"]).agg(change="mean", n_shifts="size").reset_index()
    return curves.astype(CELL | {"since_shift": "int64", "change": "float64", "n_shifts": "int64"})


def diagnostic_curves(diagnostics: pd.DataFrame) -> pd.DataFrame:
    """Return diagnostics after a shift, all shifts of a cell laid over each other at 0.

    Parameters
    ----------
    diagnostics : pandas.DataFrame
        Table of ``tamcl.results``.

    Returns
    -------
    pandas.DataFrame
        Columns scenario, arm, lr, options, seed, diagnostic, tensor, since_shift (mini-batches; 0 is the first one
        after the shift), value (mean over the shifts of the cell that have a finite one there) and n_shifts (how many
        have).
    """
    diagnostics = with_options(diagnostics)
    since_shift = diagnostics["step"] - diagnostics.groupby([*CELL, "experience"])["step"].transform("min")
    later = (diagnostics["experience"] > 0) & np.isfinite(diagnostics["value"])
    rows = diagnostics.assign(since_shift=since_shift)[later]
    curves: pd.DataFrame = rows.groupby([*CELL, "diagnostic", "tensor", "since_shift"])["value"].agg(
        value="mean", n_shifts="size"
    )
    columns = CELL | {"diagnostic": "str", "tensor": "str", "since_shift": "int64"}
    return curves.reset_index().astype(columns | {"value": "float64", "n_shifts": "int64"})


def by_experience(online: pd.DataFrame, *, window: int = BEFORE) -> pd.DataFrame:
    """Return how each experience went, a row an experience of a cell: is the tenth learnt as well as the first?

    Parameters
    ----------
    online : pandas.DataFrame
        Table of ``tamcl.results``. A run that broke off counts as far as it came.
    window : int
        Mini-batches at the end of an experience that ``end_accuracy`` is taken over; half of a short one.

    Returns
    -------
    pandas.DataFrame
        Columns scenario, arm, lr, options, seed, experience, step (its first), n (examples), accuracy (all of the
        experience), end_accuracy, and accuracy_10 to accuracy_100: that when 10, 25, 50, 75 and 100 % of it are over
        (``tamcl.metrics.adaptation.accuracy_at``).
    """
    at = {f"accuracy_{share:.0%}".rstrip("%"): "float64" for share in SHARES}
    columns = CELL | {"experience": "int64", "step": "int64", "n": "int64"}
    columns |= {"accuracy": "float64", "end_accuracy": "float64"} | at
    rows: list[tuple[Any, ...]] = []
    for cell, arrays in online_cells(online.dropna(subset="correct")):
        step = np.flatnonzero(np.diff(arrays[2], prepend=-1))
        ends, shares = end_accuracies(*arrays, window=window), accuracy_at(*arrays)
        parts = zip(arrays[2][step], step, split(*arrays), ends, shares, strict=True)
        rows += [
            (*cell, e, first, seen.sum(), right.sum() / seen.sum(), end, *points)
            for e, first, (right, seen), end, points in parts
        ]
    return as_table(rows, columns)


def by_epoch(continual: pd.DataFrame, diagnostics: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return how each epoch went, a row an epoch of a cell and a quantity: accuracy, loss, and what was diagnosed.

    Parameters
    ----------
    continual : pandas.DataFrame
        Table of ``tamcl.results``, of tests after every epoch (``evaluation.every = "epoch"``).
    diagnostics : pandas.DataFrame, optional
        The same study's, of which values of the whole are taken.

    Returns
    -------
    pandas.DataFrame
        Columns scenario, arm, lr, options, seed, experience, epoch (from 1), step (its last), quantity ("accuracy",
        "loss", or the name of a diagnostic) and value: that of the test on the experience after the epoch, or the mean
        over the updates of the epoch that were diagnosed and have a finite one.

    Examples
    --------
    >>> cell = {"scenario": "s", "arm": "tam", "lr": 0.1, "seed": 0, "experience": 0}
    >>> tested = {"step": [4, 9], "evaluated_on": 0, "n": 10, "accuracy": [0.5, 0.8], "loss": [1.0, 0.5]}
    >>> norms = {"step": [0, 2, 5], "diagnostic": "gradient_norm", "tensor": "", "value": [1.0, 3.0, 4.0]}
    >>> table = by_epoch(pd.DataFrame(cell | tested), pd.DataFrame(cell | norms))
    >>> table.pivot(index="epoch", columns="quantity", values="value").to_dict("index")
    {1: {'accuracy': 0.5, 'gradient_norm': 2.0, 'loss': 1.0}, 2: {'accuracy': 0.8, 'gradient_norm': 4.0, 'loss': 0.5}}
    """
    within, continual = [*CELL, "experience"], with_options(continual)
    own = continual[continual["evaluated_on"] == continual["experience"]].sort_values([*within, "step"])
    ends = own[[*within, "step"]].assign(epoch=own.groupby(within).cumcount() + 1)
    tested = own.melt([*within, "step"], ["accuracy", "loss"], "quantity")
    parts = [tested.merge(ends, on=[*within, "step"])]
    if diagnostics is not None and len(diagnostics):
        diagnostics = with_options(diagnostics)
        whole = diagnostics[(diagnostics["tensor"] == "") & np.isfinite(diagnostics["value"])].sort_values("step")
        placed = pd.merge_asof(
            whole, ends.assign(end=ends["step"]).sort_values("step"), on="step", by=within, direction="forward"
        ).dropna(subset="epoch")
        means = placed.groupby([*within, "epoch", "end", "diagnostic"])["value"].mean().reset_index()
        parts.append(means.rename(columns={"diagnostic": "quantity", "end": "step"}))
    columns = CELL | {"experience": "int64", "epoch": "int64", "step": "int64", "quantity": "str", "value": "float64"}
    table = pd.concat(parts)[list(columns)].astype(columns)
    return table.sort_values([*within, "epoch", "quantity"], ignore_index=True)


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


def _cells_in_blocks(runs: pd.DataFrame) -> set[Cell]:
    """Return the cells whose online rows are blocks of mini-batches."""
    runs = complete_runs(runs)
    if "batches" not in runs:
        return set()
    return set(runs.loc[runs["batches"] > 1, list(CELL)].itertuples(index=False, name=None))


def _cells_of_text(runs: pd.DataFrame) -> set[Cell]:
    """Return the cells whose data are text."""
    if "data" not in runs:
        return set()
    described = runs["data"].map(lambda text: '"vocabulary": ' in text)
    return set(runs.loc[described, list(CELL)].itertuples(index=False, name=None))


def _value(metric: Metric, cell: Cell, arrays: Arrays) -> float:
    if metric.on in {"online", "loss"} and len(arrays[0]) and np.isnan(arrays[0]).all():
        return float("nan")  # numbers to be learnt are neither right nor wrong
    try:
        return metric.function(*arrays)
    except Missing:
        return float("nan")  # not measured in any cell
    except ValueError as error:
        raise InputError(f"{metric.name} of {describe(cell)}: {error}") from error
