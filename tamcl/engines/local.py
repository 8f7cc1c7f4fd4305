"""Cells trained in processes of this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tamcl.arguments import whole_number
from tamcl.data import DATASETS
from tamcl.engines import Engine
from tamcl.engines.processes import OnSteps, WorkerDied, Workers, check_answer, run_calls
from tamcl.errors import InputError, shown
from tamcl.scenario.schema import Scenario
from tamcl.training.build import load_data
from tamcl.training.cell import Cell, Outcome, Task, failed, write_cell
from tamcl.training.resources import Resources
from tamcl.training.run import run_cells
from tamcl.user_code import module_of

_TRUSTED = {"tamcl", "torch", "torchvision"}


def is_user_code(values: Any) -> bool:
    """Tell whether nested values name a class that comes neither with tamcl nor with torch.

    Examples
    --------
    >>> is_user_code({"optimizer": "tam", "base": "torch.optim:SGD"})
    False
    >>> is_user_code({"names": ["curvature", "my.own:Diagnostic"]})
    True
    """
    if isinstance(values, str):
        module = module_of(values)
        return module is not None and module.split(".")[0] not in _TRUSTED
    if isinstance(values, Mapping):
        return any(is_user_code(value) for pair in values.items() for value in pair)
    return isinstance(values, Iterable) and any(map(is_user_code, values))


def names_user_code(scenario: Scenario, arms: Iterable[str] | None = None) -> bool:
    """Tell whether a run of some of a scenario's arms, or of any of them, uses somebody's own code."""
    values = scenario.dump()
    chosen = values["arms"] if arms is None else {arm: values["arms"][arm] for arm in arms}
    return is_user_code(values | {"arms": chosen})


@dataclass(frozen=True)
class Local:
    """Trains in processes of this machine; somebody's own code in processes of its own.

    A cell that was being trained when everything was killed goes on from its checkpoint, if it was long enough to
    write one.

    Parameters
    ----------
    jobs : int
        Number of processes. The tables do not depend on it.
    timeout : float, optional
        Seconds without a step or a test after which a run is given up and counted as failed; it may take any time if
        absent. With it each run is a task of its own, so that none hurts another.

    Raises
    ------
    InputError
        If there are too few processes or too little time to train anything.
    """

    jobs: int = 1
    timeout: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "jobs", whole_number("jobs =", self.jobs, 1))
        if self.timeout is not None and not (isinstance(self.timeout, int | float) and self.timeout > 0):
            raise InputError(f"timeout = {shown(self.timeout)}: must be above 0, in seconds")

    def train(self, tasks: Sequence[Task], directory: Path, resources: Resources) -> Iterator[tuple[Cell, str]]:
        """Train tasks, as ``Engine.train`` says."""
        with self.kept() as started:
            yield from started.train(tasks, directory, resources)

    @contextmanager
    def kept(self) -> Iterator[Engine]:
        """Give an engine whose processes stay from one call of ``train`` to the next, until the ``with`` block ends."""
        with Workers(self.jobs, self.timeout) as workers:
            yield _Started(workers)


@dataclass(frozen=True)
class _Started:
    """``Local`` with its processes."""

    workers: Workers
    on_steps: OnSteps = lambda running: None

    @property
    def jobs(self) -> int:
        return self.workers.jobs

    def watched(self, on_steps: OnSteps) -> _Started:
        """Return the same engine, which says how far its runs are."""
        return replace(self, on_steps=on_steps)

    def call(self, name: str, make: Callable[[], Any]) -> Any:
        """Return what a call returns in one of the processes, which may take any time; ``check_answer`` raises."""
        [(_, answer)] = self.workers.run([make], limited=False)
        return check_answer(name, answer)

    def train(self, tasks: Sequence[Task], directory: Path, resources: Resources) -> Iterator[tuple[Cell, str]]:
        if self.workers.timeout is not None:  # which is a run's
            tasks = [(cell,) for task in tasks for cell in task]
        directory = directory.absolute()
        alone: list[Task] = []
        train = partial(_train, directory=directory, resources=resources)
        tell = partial(_tell, self.workers, self.on_steps)
        for place, statuses in train_in(self.workers, tasks, train, resources, tell):
            if isinstance(statuses, WorkerDied) and len(tasks[place]) > 1:
                alone += [(cell,) for cell in tasks[place]]
            else:
                yield from _ended(tasks[place], statuses, directory)
        if alone:  # one of them ended the process of all: which one is seen when each has its own
            yield from self.train(alone, directory, resources)


def _tell(workers: Workers, on_steps: OnSteps) -> None:
    on_steps(workers.steps)


def train_in(
    workers: Workers,
    tasks: Sequence[Task],
    train: Callable[[Task], Any],
    resources: Resources,
    on_look: Callable[[], object] = lambda: None,
) -> Iterator[tuple[int, Any]]:
    """Yield what ``train`` returns for tasks in worker processes, as ``Workers.run`` does.

    Those with somebody's own code have each a process of their own.
    """
    foreign = [any(names_user_code(cell.scenario, [cell.arm]) for cell in task) for task in tasks]
    apart = {place for place, is_foreign in enumerate(foreign) if is_foreign}
    warm_up = partial(_load, tasks[0][0].scenario.stream.dataset, resources) if apart else None
    calls = [partial(train, task) for task in tasks]
    return workers.run(calls, apart=apart, warm_up=warm_up, on_look=on_look)


def _ended(task: Task, statuses: Any, directory: Path) -> Iterator[tuple[Cell, str]]:
    """Yield how the cells of a task ended, and record those of which no tables are there."""
    if not isinstance(statuses, list):
        error = statuses if isinstance(statuses, WorkerDied) else WorkerDied(f"the run was not begun: {statuses}")
        for cell in task:
            yield cell, record(directory, cell, failed(cell, error), keep_checkpoint=True)
        return
    for cell, status in zip(task, statuses, strict=True):
        if not (directory / cell.id / "runs.parquet").is_file():
            status = record(directory, cell, failed(cell, WorkerDied("the tables that were written are gone")))
        yield cell, status


def run_apart(
    cell: Cell,
    checks: Mapping[str, Callable[[], Any]],
    resources: Resources,
    on_steps: OnSteps = lambda running: None,
) -> Outcome:
    """Make checks and train a cell, each in a process of its own, and return the cell's tables.

    Raises
    ------
    InputError
        As ``call_apart``, if a check fails.
    """
    calls: list[Callable[[], Any]] = [*checks.values()]
    calls.append(partial(run_task, (cell,), resources))
    apart = range(len(calls)) if names_user_code(cell.scenario, [cell.arm]) else ()
    answers = (answer for _, answer in run_calls(calls, apart=apart, on_steps=on_steps))
    for name in checks:
        check_answer(name, next(answers))
    (outcomes,) = answers
    return outcomes[0] if isinstance(outcomes, list) else failed(cell, outcomes)


def record(directory: Path, cell: Cell, outcome: Outcome, *, keep_checkpoint: bool = False) -> str:
    """Write a cell's tables and return its status."""
    write_cell(directory, cell, outcome, keep_checkpoint=keep_checkpoint)
    return str(outcome.runs["status"].item())


# What follows runs in worker processes.


def _load(dataset: str, resources: Resources) -> None:
    """Load the data once for all processes that are forked from this one; somebody's own code is not let in."""
    if dataset in DATASETS:
        load_data(dataset, resources)


def _train(task: Task, directory: Path, resources: Resources) -> list[str]:
    return [
        record(directory, cell, outcome)
        for cell, outcome in zip(task, run_task(task, resources, directory), strict=True)
    ]


def run_task(task: Task, resources: Resources, directory: Path | None = None) -> list[Outcome]:
    """Train a task in this process, whatever somebody's code raises in it."""
    process = os.getpid()
    try:
        outcomes = run_cells(task, resources, directory)
    except BaseException as error:  # Ctrl-C does not come here, so it is somebody's code that raised it
        outcomes = [failed(cell, error) for cell in task]
    if os.getpid() != process:  # a copy that somebody's code has forked: tables and answer are the original's
        os._exit(0)
    return outcomes
