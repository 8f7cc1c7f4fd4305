"""Where tasks are trained: an engine takes tasks and says how each of their cells ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from tamcl.registry import Table
from tamcl.training.cell import Cell, Task
from tamcl.training.resources import Resources


@runtime_checkable
class Engine(Protocol):
    """Trains tasks, each in one process, and writes the tables of every cell as soon as it is finished."""

    def train(self, tasks: Sequence[Task], directory: Path, resources: Resources) -> Iterator[tuple[Cell, str]]:
        """Train tasks, and yield each cell with its status, "ok", "diverged" or "failed", in the order of finishing.

        Parameters
        ----------
        tasks : sequence of tuple of Cell
        directory : Path
            Each cell gets a folder of its own here.
        resources : Resources

        Raises
        ------
        OSError
            If the tables of a cell cannot be written, with the path.
        """
        ...


ENGINES = Table(
    "engine",
    {
        "inline": "tamcl.engines.inline:Inline",
        "local": "tamcl.engines.local:Local",
    },
    kind="tamcl.engines:Engine",
)
"""Engines by name: ``local``, processes of this machine, is the one that commands use."""

__all__ = ["ENGINES", "Engine"]
