"""Cells trained in this process."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from typing import Any

from tamcl.training.cell import CHECKPOINT, Cell, Outcome, Task, failed
from tamcl.training.resources import Resources
from tamcl.training.running import Run, attempt, lay_ground
from tamcl.training.stack import train_stacked


def run_cells(task: Task, resources: Resources, directory: Path | None = None) -> list[Outcome]:
    """Train the cells of a task in this process; what goes wrong with one is its outcome and hurts no other.

    Those of a scenario that are trained stacked are trained together, unless they are logged, and the others one after
    another. No cell's tables depend on what else is in the task.

    Parameters
    ----------
    task : tuple of Cell
    resources : Resources
    directory : Path, optional
        Where each cell has, or gets, a folder with its checkpoint; none are kept if absent.
    """
    groups: dict[Any, list[int]] = {}
    for place, cell in enumerate(task):
        is_alone = resources.log or not cell.is_stacked
        groups.setdefault(place if is_alone else cell.ground, []).append(place)
    found: dict[int, Outcome | BaseException] = {}
    for places in groups.values():
        cells = [task[place] for place in places]
        checkpoints = [None if directory is None else directory / cell.id / CHECKPOINT for cell in cells]
        found |= zip(places, _run(cells, resources, checkpoints), strict=True)
    return [
        failed(cell, each) if isinstance(each := found[place], BaseException) else each
        for place, cell in enumerate(task)
    ]


def run_cell(cell: Cell, resources: Resources | None = None, checkpoint: Path | None = None) -> Outcome:
    """Train and evaluate one cell in this process.

    The global generators of torch, NumPy and Python are seeded for the optimizer alone: stream, order and initial
    weights have generators of their own. Torch keeps to the resources' number of threads from here on.

    Parameters
    ----------
    cell : Cell
    resources : Resources, optional
        Those of ``Resources()`` if absent.
    checkpoint : Path, optional
        File that the run goes on from, if it was killed, and in which it notes now and then how far it is, as
        ``tamcl.training.checkpoint`` says. It is left to the caller to remove. A run that is logged starts anew,
        since its log would begin in the middle.

    Returns
    -------
    Outcome
        A loss that is not finite ends the run with status ``diverged``; its rows up to there are kept. Tables and times
        are those of the whole run, whether it went on or not.

    Raises
    ------
    InputError
        If the data, the model or the optimizer cannot be built from the description.
    """
    (found,) = _run([cell], resources or Resources(), [checkpoint])
    if isinstance(found, BaseException):
        raise found
    return found


def _run(
    cells: Sequence[Cell], resources: Resources, checkpoints: Sequence[Path | None]
) -> list[Outcome | BaseException]:
    """Train a cell, or several together, and return the tables of each, or why it has none."""
    import torch

    torch.set_num_threads(resources.threads)
    ground = cache(partial(lay_ground, cells[0].scenario, resources))
    with ExitStack() as opened:

        def begin(cell: Cell, path: Path | None) -> Run:
            return Run(cell, ground(cell.seed), resources, path, opened)

        runs = [attempt(partial(begin, *each)) for each in zip(cells, checkpoints, strict=True)]
        begun = [run for run in runs if isinstance(run, Run)]
        if cells[0].is_stacked:
            train_stacked(begun)
        else:
            for run in begun:
                run.error = attempt(run.train)
    return [attempt(run.outcome) if isinstance(run, Run) else run for run in runs]
