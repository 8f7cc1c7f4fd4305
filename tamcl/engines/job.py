"""A task that is trained where an executor has it run: in a child process of whatever process that is."""

from __future__ import annotations

import os
import pickle
import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from tamcl import __version__
from tamcl.engines.local import run_task, train_in
from tamcl.engines.processes import WorkerDied, Workers, allow_children
from tamcl.errors import MOST_SHOWN, said
from tamcl.training.cell import Outcome, Task
from tamcl.training.resources import Resources

LAST_LINES = 3
"""Of its log, that stand in the row of a run whose process died."""

LAST_BYTES = 4096
"""Of its log, that are read for them."""


class Unwanted(Exception):
    """The study that asked for a run has ended."""


class Job(NamedTuple):
    """A task, and what is known of it where it is wanted."""

    task: Task
    directory: Path
    """Of the study's cells."""
    resources: Resources
    timeout: float | None
    marker: Path
    """A file in the folder of the logs. Where it is seen, the study's folder is shared: runs have logs and checkpoints
    there, and end when it is gone. Where it is not, they have none; tables go back through the executor in any case."""
    is_wanted: Callable[[], bool]
    """Called where the job runs: whether somebody waits for it, as far as the executor knows."""
    folder: str
    """Where the study was started, and somebody's own modules are; the job goes there if there is such a folder."""
    place: int = 0
    """Its place among the jobs, by which GPUs are dealt out where it runs."""


def train_job(version: str, job: bytes) -> bytes:
    """Train a task in a child of this process, whose crash, end or delay is what this returns and hurts nobody.

    Everything goes through an executor as bytes, since each has its own idea of how to pickle.

    Parameters
    ----------
    version : str
        Of the tamcl that asks for it.
    job : bytes
        A pickled ``Job``.

    Returns
    -------
    bytes
        Pickled: the outcome of each cell, or a ``WorkerDied``.

    Raises
    ------
    Unwanted
        If the study has ended.
    """
    if version != __version__:
        return pickle.dumps(WorkerDied(f"{socket.gethostname()} has tamcl {__version__}, and the study {version}"))
    allow_children()  # workers of dask are to end with their nanny
    try:
        answer = _train(pickle.loads(job))
    except Unwanted:
        raise
    except Exception as error:  # as a module or a folder that is not there
        answer = WorkerDied(f"{socket.gethostname()}: {said(error)}")
    return pickle.dumps(answer)


def _train(job: Job) -> list[Outcome] | WorkerDied:
    with ExitStack() as opened:
        is_shared = _is_seen(job.marker)
        logs = job.marker.parent if is_shared else Path(opened.enter_context(TemporaryDirectory(prefix="tamcl-")))
        log = logs / f"{job.task[0].id}.txt"
        log.write_text(f"{socket.gethostname()}: {', '.join(cell.id for cell in job.task)}\n")
        opened.callback(_remove_if_silent, log)
        train = partial(run_task, resources=job.resources, directory=job.directory if is_shared else None)
        on_look = partial(_check_wanted, job.is_wanted, job.marker if is_shared else None)
        workers = opened.enter_context(Workers(1, job.timeout, partial(_settle, job.folder, log), job.place))
        [(_, answer)] = train_in(workers, [job.task], train, job.resources, on_look)
        return _with_log(answer, log)


def _with_log(answer: Any, log: Path) -> list[Outcome] | WorkerDied:
    """Return an answer; if there are no tables, with where that was, and what the log says last."""
    if isinstance(answer, list):
        return answer
    error = answer if isinstance(answer, WorkerDied) else f"the run was not begun: {answer}"
    last = " | ".join(line.strip() for line in _lines(log)[-LAST_LINES:])
    return WorkerDied(f"{error}, on {socket.gethostname()}{last and '; it said last: '}{last[-MOST_SHOWN:]}")


def _lines(log: Path) -> list[str]:
    """Return the last of what a child wrote to its log, but blank lines; it may have written without end."""
    with log.open("rb") as file:
        header = len(file.readline())
        file.seek(max(header, log.stat().st_size - LAST_BYTES))
        text = file.read(LAST_BYTES).decode(errors="replace")
    return [line for line in text.splitlines() if line.strip()]


def _remove_if_silent(log: Path) -> None:
    with suppress(OSError):
        if not _lines(log):
            log.unlink()


def _is_seen(marker: Path) -> bool:
    try:
        return marker.is_file()
    except OSError:
        return False


def _check_wanted(is_wanted: Callable[[], bool], marker: Path | None) -> None:
    try:
        if is_wanted():
            if marker is not None:
                marker.stat()
            return
    except FileNotFoundError:
        pass
    except OSError:  # a network's file system may be away for a moment
        return
    raise Unwanted("the study has ended")


def always() -> bool:
    """Say that a job is wanted, for executors that do not know."""
    return True


def _settle(folder: str, log: Path) -> None:
    """Let a child work where the study was started and write to its log; signals are left to its parent."""
    with suppress(OSError):
        os.chdir(folder)
    file = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    for name in ("SIGINT", "SIGTERM", "SIGUSR2"):  # as Slurm sends to all processes of a job whose time is nearly over
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
