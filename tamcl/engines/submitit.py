"""Jobs of Slurm, one a task, through submitit: for runs that take hours, each with its own time, memory and GPUs."""

from __future__ import annotations

import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from warnings import catch_warnings

from tamcl.errors import InputError, reason, said, shortened
from tamcl.files.paths import user_path

PAUSE_S = 1.0
"""Seconds from one look at the jobs to the next."""

FOLDER = Path("out") / "submitit"
"""Where submitit keeps the jobs and what they print, if no other folder is named; all machines must share it."""

JOBS = 16
"""That are queued or running at most, if no other number is named."""


TOLD: dict[str, Any] = {"name": "tamcl", "timeout_min": 60}
"""What submitit is told unless a file says otherwise; it would end jobs after five minutes."""


class SubmititExecutor(Executor):
    """Jobs of submitit as an executor: what is too much at a time waits here, and not in the queue.

    Parameters
    ----------
    executor : submitit.Executor
    jobs : int
        Queued or running, at most.
    """

    def __init__(self, executor: Any, jobs: int) -> None:
        self.jobs = jobs
        self._executor = executor
        self._waiting: deque[tuple[Future[Any], _Call]] = deque()
        self._running: dict[Any, Future[Any]] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have a job call a function."""
        if self._closed.is_set():
            raise RuntimeError("cannot schedule new futures after shutdown")
        future: Future[Any] = Future()
        self._waiting.append((future, _Call(partial(fn, *args, **kwargs))))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; jobs whose futures are cancelled are cancelled."""
        if cancel_futures:
            for future in [*(future for future, _ in list(self._waiting)), *list(self._running.values())]:
                future.cancel()
        self._closed.set()
        if wait:
            self._thread.join()

    def _serve(self) -> None:
        try:
            while self._waiting or self._running or not self._closed.is_set():
                self._look()
                time.sleep(PAUSE_S)
        except Exception as error:  # so that nobody waits for ever
            self._closed.set()
            for future in [*self._running.values(), *(future for future, _ in self._waiting)]:
                if future.set_running_or_notify_cancel():
                    future.set_exception(BrokenExecutor(f"jobs cannot be looked after: {shortened(said(error))}"))

    def _look(self) -> None:
        """Queue what may be queued, and hand on what has ended."""
        while self._waiting and len(self._running) < self.jobs:
            self._queue(*self._waiting.popleft())
        for job, future in list(self._running.items()):
            if future.cancelled() or job.done():
                self._end(job, future)
                del self._running[job]

    def _queue(self, future: Future[Any], call: _Call) -> None:
        if future.cancelled():
            future.set_running_or_notify_cancel()
            return
        try:
            self._running[self._executor.submit(call)] = future
        except Exception as error:  # what Slurm refuses once it refuses always
            if future.set_running_or_notify_cancel():
                future.set_exception(BrokenExecutor(f"no job can be queued: {shortened(said(error))}"))

    def _end(self, job: Any, future: Future[Any]) -> None:
        """Hand on what came of a job, and remove the files that hold it."""
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(job.result())
            except Exception as error:
                future.set_exception(error)
        else:
            with suppress(OSError):
                job.cancel(check=False)
        for path in (job.paths.submitted_pickle, job.paths.result_pickle):
            with suppress(OSError):
                path.unlink()


@dataclass(frozen=True)
class _Call:
    """A call that submitit queues again where Slurm ends its job for another's, or because its time is over."""

    call: Callable[[], Any]

    def __call__(self) -> Any:
        return self.call()

    def checkpoint(self) -> Any:
        """Return what is queued: the runs go on from their checkpoints."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def executor_of(where: str, options: Mapping[str, Any], jobs: int | None, name: str) -> SubmititExecutor:
    """Return the executor of options as ``submitit.AutoExecutor.update_parameters`` takes them.

    Two are tamcl's: ``folder``, where submitit keeps its files, and ``cluster``, which is ``slurm`` if absent.
    """
    import submitit

    if where:
        raise InputError(f"{name}: submitit takes no address; name the partition in --executor-options")
    parameters = dict(options)
    folder, cluster = parameters.pop("folder", str(FOLDER)), parameters.pop("cluster", "slurm")
    if cluster == "slurm" and shutil.which("sbatch") is None:
        raise InputError(f"{name}: there is no Slurm here: no sbatch on the PATH")
    try:
        with catch_warnings(action="error"):  # of names that are old
            executor = submitit.AutoExecutor(user_path(folder).absolute(), cluster=cluster)
            executor.update_parameters(**TOLD | parameters)
    except Exception as error:
        raise InputError(f"{name}: {shortened(reason(error))}") from error
    return SubmititExecutor(executor, jobs or JOBS)
