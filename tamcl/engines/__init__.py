"""Where tasks are trained: an engine takes tasks and says how each of their cells ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol, runtime_checkable

from tamcl.arguments import whole_number
from tamcl.errors import InputError, shown
from tamcl.registry import Table
from tamcl.training.cell import Cell, Task
from tamcl.training.resources import Resources


@runtime_checkable
class Engine(Protocol):
    """Trains tasks, each in one process, and writes the tables of every cell as soon as it is finished.

    A study calls ``train`` several times. An engine that has to start something may keep it from one call to the next:
    if it has a method ``kept()``, which returns a context manager, a study uses the engine that this gives. If that has
    a method ``call(name, make)``, the study is checked by it before anything is trained, and not in this process, which
    then need not import torch. One that trains several tasks at once says by ``jobs`` how many, for a study to cut its
    cells into so many at least. One that trains in the process that calls it says so by ``is_here = True``: somebody's
    own code is then let into this process from the first check on. One that may train on other machines says so by
    ``is_elsewhere = True``: the check is then made on the CPU, since their GPUs are not here. If it has a method
    ``watched(on_steps)``, a study uses the engine that this returns, which calls ``on_steps`` about twice a second
    while it trains, with a pair for each task: the steps that are done, and all of them.
    """

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


def kept(engine: Engine) -> AbstractContextManager[Engine]:
    """Return a context in which an engine keeps what it has started, if it can."""
    keep = getattr(engine, "kept", None)
    found: AbstractContextManager[Engine] = nullcontext(engine) if keep is None else keep()
    return found


def watched(engine: Engine, on_steps: Callable[[Sequence[tuple[int, int]]], object]) -> Engine:
    """Return an engine that says how far its runs are, if it can."""
    watch = getattr(engine, "watched", None)
    found: Engine = engine if watch is None else watch(on_steps)
    return found


def is_here(engine: Engine) -> bool:
    """Return whether an engine trains in this process."""
    return bool(getattr(engine, "is_here", False))


def jobs_of(engine: Engine) -> int:
    """Return how many tasks an engine trains at once; 1 if it does not say."""
    return int(getattr(engine, "jobs", 1))


def engine_of(engine: Engine | None, jobs: int | None) -> Engine:
    """Return the engine that is given, or one of so many jobs on this machine: one job is trained in this process.

    Raises
    ------
    InputError
        If both are given, or there are too few jobs.
    """
    if engine is not None:
        if jobs is not None:
            raise InputError(f"jobs = {jobs}: is for processes of this machine; give either jobs or engine")
        if isinstance(engine, type) or not isinstance(engine, Engine):
            raise InputError(f"engine = {shown(engine)}: must be one of tamcl.engines, as Local(jobs=4)")
        return engine
    from tamcl.engines import inline, local

    jobs = 1 if jobs is None else whole_number("jobs =", jobs, 1)
    return inline.Inline() if jobs == 1 else local.Local(jobs)


ENGINES = Table(
    "engine",
    {
        "inline": "tamcl.engines.inline:Inline",
        "local": "tamcl.engines.local:Local",
    },
    kind="tamcl.engines:Engine",
)
"""Engines by name: ``local``, processes of this machine, is the one that commands use; in Python a single job is
``inline``, trained by the process that asks."""

EXECUTORS = Table(
    "executor", {"dask": "tamcl.engines.dask:executor_of", "submitit": "tamcl.engines.submitit:executor_of"}
)
"""Executors by name, for ``tamcl.engines.executor``; any ``package.module:callable`` that returns one is a name too."""

__all__ = ["ENGINES", "EXECUTORS", "Engine", "engine_of", "is_here", "jobs_of", "kept", "watched"]
