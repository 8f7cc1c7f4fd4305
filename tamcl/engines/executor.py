"""Tasks trained through any executor of ``concurrent.futures``: of a cluster, of a queue, of your own."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from tempfile import mkstemp
from typing import Any, ClassVar

from tamcl import __version__
from tamcl.engines import EXECUTORS, Engine
from tamcl.engines.job import Job, always, train_job
from tamcl.engines.local import Local, record
from tamcl.engines.processes import WorkerDied, call_apart
from tamcl.errors import InputError, reason, said, shortened, unknown_name
from tamcl.registry import load
from tamcl.scenario.load import read_toml
from tamcl.training.cell import Cell, Outcome, Task, failed
from tamcl.training.resources import Resources
from tamcl.user_code import module_of

LOGS = "logs"
"""Folder beside the cells, where the processes of an executor write what they have to say."""

MARKER = ".wanted-"
"""With some letters the name of the file that says to all who share the folder that a study is being trained."""


NEEDED = {"dask": "distributed", "submitit": "submitit"}
"""The package that an executor of the table needs."""


@dataclass(frozen=True)
class OnExecutor:
    """Trains through a ``concurrent.futures.Executor``, and writes what comes back.

    A task is one call. What runs it starts a child process for it, so that no run can hurt what runs it, or another. If
    that dies all the same, the cells of the task are tried again, each by itself.

    Parameters
    ----------
    make : callable
        Returns the executor; called when training starts. It is shut down in the end.
    jobs : int, optional
        How many tasks there should be at least; the executor's ``jobs`` if absent, or 1 if it has none. The tables do
        not depend on it.
    timeout : float, optional
        Seconds after which a run is given up, as of ``Local``.
    name : str
        Of the executor, for errors.

    Raises
    ------
    InputError
        As ``Local``. Also, in training, if the executor breaks or is cut off.

    Examples
    --------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> from functools import partial
    >>> engine = OnExecutor(partial(ThreadPoolExecutor, 2), jobs=2)
    """

    make: Callable[[], Any]
    is_elsewhere: ClassVar[bool] = True

    jobs: int | None = None
    timeout: float | None = None
    name: str = "executor"

    def __post_init__(self) -> None:
        Local(1 if self.jobs is None else self.jobs, self.timeout)  # refuses what cannot be

    def train(self, tasks: Sequence[Task], directory: Path, resources: Resources) -> Iterator[tuple[Cell, str]]:
        """Train tasks, as ``Engine.train`` says."""
        with self.kept() as started:
            yield from started.train(tasks, directory, resources)

    @contextmanager
    def kept(self) -> Iterator[Engine]:
        """Give an engine whose executor stays from one call of ``train`` to the next, until the ``with`` block ends."""
        try:
            executor = self.make()
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"{self.name}: {said(error)}") from error
        if not isinstance(executor, Executor):
            kind = type(executor).__name__
            raise InputError(f"{self.name}: gave a {kind}, which is no concurrent.futures.Executor")
        try:
            yield _Started(executor, self.jobs or int(getattr(executor, "jobs", 1)), self.timeout, self.name)
        finally:
            executor.shutdown()


@dataclass(frozen=True)
class _Started:
    """``OnExecutor`` with its executor."""

    is_elsewhere: ClassVar[bool] = True

    executor: Executor
    jobs: int
    timeout: float | None
    name: str

    def call(self, name: str, make: Callable[[], Any]) -> Any:
        """Return what a call returns in a process of this machine: what a study names must be there, too."""
        return call_apart({name: make})[name]

    def train(self, tasks: Sequence[Task], directory: Path, resources: Resources) -> Iterator[tuple[Cell, str]]:
        if self.timeout is not None:  # which is a run's
            tasks = [(cell,) for task in tasks for cell in task]
        directory = directory.absolute()
        waiting: dict[Future[bytes], Task] = {}
        ended: SimpleQueue[Future[bytes]] = SimpleQueue()
        is_wanted, places = getattr(self.executor, "is_wanted", always), count()
        with _marked(directory.parent / LOGS) as marker:

            def submit(task: Task) -> None:
                job = Job(task, directory, resources, self.timeout, marker, is_wanted, os.getcwd(), next(places))
                future = self._submit(pickle.dumps(job))
                waiting[future] = task
                future.add_done_callback(ended.put)

            try:
                for task in tasks:
                    submit(task)
                while waiting:
                    future = ended.get()
                    task, answer = waiting.pop(future), self._answer(future)
                    if isinstance(answer, WorkerDied) and len(task) > 1:
                        for cell in task:  # one of them may have ended what ran all
                            submit((cell,))
                    else:
                        yield from _written(task, answer, directory)
            finally:
                for future in list(waiting):
                    future.cancel()

    def _submit(self, job: bytes) -> Future[bytes]:
        try:
            return self.executor.submit(train_job, __version__, job)
        except Exception as error:
            raise self._broken(said(error)) from error

    def _answer(self, future: Future[bytes]) -> list[Outcome] | WorkerDied:
        """Return what came of a task; raise an ``InputError`` if nothing can come of any task any more."""
        try:
            answer: list[Outcome] | WorkerDied = pickle.loads(future.result())
        except CancelledError as error:
            raise self._broken("the connection was lost, or somebody cancelled the runs") from error
        except BrokenExecutor as error:
            raise self._broken(reason(error)) from error
        except Exception as error:
            return WorkerDied(f"{self.name}: {shortened(said(error))}")
        return answer

    def _broken(self, why: str) -> InputError:
        return InputError(f"{self.name}: {why}; what is finished is kept, and the same command goes on from there")


def _written(task: Task, answer: list[Outcome] | WorkerDied, directory: Path) -> Iterator[tuple[Cell, str]]:
    """Write the tables of a task's cells, and yield how each ended."""
    if isinstance(answer, WorkerDied):
        for cell in task:
            yield cell, record(directory, cell, failed(cell, answer), keep_checkpoint=True)
    else:
        for cell, outcome in zip(task, answer, strict=True):
            yield cell, record(directory, cell, outcome)


@contextmanager
def _marked(logs: Path) -> Iterator[Path]:
    """Mark the folder of the logs while a study is trained; what a killed study left ends with its mark."""
    logs.mkdir(parents=True, exist_ok=True)
    for left in logs.glob(f"{MARKER}*"):
        left.unlink(missing_ok=True)
    descriptor, name = mkstemp(prefix=MARKER, dir=logs)
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        with suppress(OSError):
            os.unlink(name)
        with suppress(OSError):  # there are logs
            logs.rmdir()


def named_executor(
    name: str, options: Mapping[str, Any] | None = None, *, jobs: int | None = None, timeout: float | None = None
) -> OnExecutor:
    """Return the engine of an executor that is named as on the command line.

    Parameters
    ----------
    name : str
        ``dask``, ``dask:ADDRESS``, ``dask:file=SCHEDULER.json``, ``submitit``, or ``package.module:callable``, which is
        called with the options and returns a ``concurrent.futures.Executor``.
    options : mapping, optional
        Those of the executor.
    jobs, timeout
        As of ``OnExecutor``.

    Raises
    ------
    InputError
        If there is no such executor, or what it needs is not installed.
    """
    kind, _, where = name.partition(":")
    what, options = f"--executor {name}", dict(options or {})
    if kind not in EXECUTORS:
        if module_of(name) is None:
            raise unknown_name(EXECUTORS.noun, kind, EXECUTORS)
        make = load(name, EXECUTORS.noun)
        if not callable(make):
            raise InputError(f"{what}: is no function but a {type(make).__name__}")
        return OnExecutor(partial(make, **options), jobs, timeout, what)
    if find_spec(NEEDED[kind]) is None:
        raise InputError(f"{what}: {NEEDED[kind]} is not installed; pip install 'tamcl[cluster]'")
    return OnExecutor(partial(load(EXECUTORS[kind]), where, options, jobs, what), jobs, timeout, what)


def read_options(path: Path) -> dict[str, Any]:
    """Return the options of an executor: the table ``[executor]`` of a TOML file.

    Raises
    ------
    InputError
        If the file cannot be read, or holds something else.
    """
    what = "--executor-options"
    values = read_toml(path, what)
    for table in values:
        if table != "executor":
            raise unknown_name(f"table of {what} {path}", table, ["executor"])
    options = values.get("executor")
    if not isinstance(options, dict):
        raise InputError(f"{what} {path}: must have a table [executor]")
    return options
