"""Worker processes that train cells: imports are paid once a worker, and a worker that dies takes one cell with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path

from tamcl.logs import Log, logged, present
from tamcl.run import CHECKPOINT, Cell, failed, run_cell, write_cell

_spawn = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork


class WorkerDied(Exception):
    """A worker process ended in the middle of a cell, as when memory ran out."""


class _Worker:
    """One process and the pipe to it."""

    def __init__(self, directory: Path, data_dir: Path | None, allow_subset: bool, log: Log | None) -> None:
        self.connection, theirs = _spawn.Pipe()
        given = theirs, directory, data_dir, allow_subset, log
        self.process = _spawn.Process(target=_serve, args=given, daemon=True)
        with _interrupts_ignored():  # what a new process inherits: the parent alone answers Ctrl-C
            self.process.start()
        theirs.close()
        self.cell: Cell | None = None

    def send(self, cell: Cell) -> None:
        self.cell = cell
        with suppress(OSError):  # a worker that is dead already is noticed when its answer is read
            self.connection.send(cell)

    def stop(self) -> None:
        self.connection.close()
        self.process.terminate()
        self.process.join()


def train_cells(
    cells: Sequence[Cell], directory: Path, data_dir: Path | None = None, allow_subset: bool = False, jobs: int = 1
) -> Iterator[tuple[Cell, str]]:
    """Train cells in ``jobs`` processes of one thread each, writing each cell's tables to ``directory``.

    They are logged if this is called inside ``tamcl.logs.logged``. A cell that was being trained when everything was
    killed goes on from its checkpoint, if it was long enough to write one.

    Parameters
    ----------
    cells : sequence of Cell
    directory : Path
        Each cell gets a folder of its own here.
    data_dir : Path, optional
    allow_subset : bool
    jobs : int
        Number of processes. The tables do not depend on it.

    Yields
    ------
    Cell, str
        A finished cell and its status, in the order of finishing.
    """
    waiting = list(reversed(cells))
    log = present()
    workers = [_Worker(directory, data_dir, allow_subset, log) for _ in range(min(jobs, len(cells)))]
    busy = {}
    try:
        for worker in workers:
            worker.send(waiting.pop())
            busy[worker.connection] = worker
        while busy:
            for connection in wait(list(busy)):
                assert isinstance(connection, Connection)
                worker = busy.pop(connection)
                assert worker.cell is not None
                cell = worker.cell
                try:
                    status = connection.recv()
                except (EOFError, OSError):
                    status = _died(worker, directory)
                    workers.remove(worker)
                    if waiting:
                        worker = _Worker(directory, data_dir, allow_subset, log)
                        workers.append(worker)
                if waiting:
                    worker.send(waiting.pop())
                    busy[worker.connection] = worker
                yield cell, status
    finally:
        for worker in workers:
            worker.stop()


def _died(worker: _Worker, directory: Path) -> str:
    """Record the cell of a worker that died, and say so; with its checkpoint, to go on from when it is tried again."""
    assert worker.cell is not None
    worker.process.join()
    code = worker.process.exitcode or 0
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
    worker.connection.close()
    outcome = failed(worker.cell, WorkerDied(f"the process {how}"))
    write_cell(directory, worker.cell, outcome, keep_checkpoint=True)
    return "failed"


def _serve(connection: Connection, directory: Path, data_dir: Path | None, allow_subset: bool, log: Log | None) -> None:
    """Train the cells that come through the pipe until it closes or the parent process is gone."""
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    with logged(log):
        while True:
            try:
                cell: Cell = connection.recv()
            except EOFError:
                return
            connection.send(_train(cell, directory, data_dir, allow_subset))


def _train(cell: Cell, directory: Path, data_dir: Path | None, allow_subset: bool) -> str:
    try:
        outcome = run_cell(cell, data_dir, allow_subset, directory / cell.id / CHECKPOINT)
    except Exception as error:  # one cell's fault is a row of the table and must not end the study
        outcome = failed(cell, error)
    write_cell(directory, cell, outcome)
    return str(outcome.runs["status"].item())


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only the main thread may change handlers
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    print("tamcl: the main process is gone, so this worker ends", file=sys.stderr)
    os._exit(1)
