"""Tasks trained one after another in this process: without the seconds that a process takes to start."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tamcl.training.cell import Cell, Task, write_cell
from tamcl.training.resources import Resources
from tamcl.training.run import run_cells


@dataclass(frozen=True)
class Inline:
    """Trains in the process that calls it, for tests and debuggers.

    Nothing protects a run here from what somebody's code in another changes, ends or keeps waiting: ``Local`` does.
    """

    def train(self, tasks: Sequence[Task], directory: Path, resources: Resources) -> Iterator[tuple[Cell, str]]:
        """Train tasks, as ``Engine.train`` says."""
        for task in tasks:
            for cell, outcome in zip(task, run_cells(task, resources, directory), strict=True):
                write_cell(directory, cell, outcome)
                yield cell, str(outcome.runs["status"].item())
