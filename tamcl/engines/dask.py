"""Workers of dask: of a scheduler that runs somewhere, or of one that is started here."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tamcl.errors import InputError, reason, shown, unknown_name
from tamcl.files.paths import user_path

CONNECT_S = 20.0
"""Seconds until a scheduler must have answered."""

OPTIONS = ("resources",)


class DaskExecutor(Executor):
    """A client of dask as an executor that closes what it has opened.

    Parameters
    ----------
    where : str
        A scheduler's address, or ``file=`` and the file in which it says it; workers are started here if empty.
    resources : mapping of str to float
        What each task takes of a worker's resources.
    jobs : int, optional
        How many workers are started here; one if absent.
    name : str
        For what is said.

    Attributes
    ----------
    jobs : int
        How many tasks the workers that are there now train at once.
    """

    def __init__(self, where: str, resources: Mapping[str, float], jobs: int | None, name: str) -> None:
        import distributed

        for logger in ("distributed", "distributed.client"):  # a lost connection is said by tamcl, once
            logging.getLogger(logger).setLevel(logging.CRITICAL + 1)
        with ExitStack() as opened:
            try:
                if not where:
                    start = {"n_workers": jobs or 1, "threads_per_worker": 1, "dashboard_address": None}
                    start["silence_logs"] = logging.CRITICAL
                    to = {"address": opened.enter_context(distributed.LocalCluster(**start))}
                elif where.startswith("file="):
                    to = {"scheduler_file": str(_written(user_path(where.removeprefix("file="))))}
                else:
                    to = {"address": _checked(where)}
                client = distributed.Client(**to, timeout=CONNECT_S, set_as_default=False, name="tamcl")
                opened.enter_context(client)
            except Exception as error:
                raise InputError(f"{name}: no scheduler of dask is reached: {reason(error)}") from error
            workers = client.scheduler_info(n_workers=-1)["workers"].values()
            fit = [worker for worker in workers if _has(worker["resources"], resources)]
            if not fit:
                what = f" with {dict(resources)}" if resources else ""
                print(f"tamcl: {name}: no worker{what} is there yet; runs begin when one is", file=sys.stderr)
            self.jobs = max(1, sum(worker["nthreads"] for worker in fit))
            self._executor: Executor = client.get_executor(resources=dict(resources), pure=False)
            self._opened = opened.pop_all()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have a worker call a function."""
        return self._executor.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Close the connection, and end workers that were started here."""
        self._executor.shutdown(wait=wait and not cancel_futures)
        self._opened.close()

    @staticmethod
    def is_wanted() -> bool:
        """Tell in a worker whether the scheduler still wants what this thread does; it cannot end it itself."""
        from distributed.worker import get_worker, thread_state

        task = get_worker().state.tasks.get(thread_state.key)
        return task is not None and task.state == "executing"


def executor_of(where: str, options: Mapping[str, Any], jobs: int | None, name: str) -> DaskExecutor:
    """Return the executor of an address with the options of a file."""
    for option in options:
        if option not in OPTIONS:
            raise unknown_name(f"option of {name}", option, OPTIONS)
    resources = options.get("resources", {})
    if not isinstance(resources, dict) or not all(_is_amount(value) for value in resources.values()):
        raise InputError(
            f"{name}: resources = {shown(resources)}: must be a table of numbers above 0, as {{ GPU = 1 }}"
        )
    return DaskExecutor(where, resources, jobs, name)


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


def _has(there: Mapping[str, float], wanted: Mapping[str, float]) -> bool:
    return all(there.get(resource, 0) >= amount for resource, amount in wanted.items())


def _checked(address: str) -> str:
    """Return an address if it can be one; a client that is given another ends in 40 s, with a traceback."""
    from distributed.comm.addressing import parse_address, parse_host_port
    from distributed.comm.registry import get_backend

    scheme, place = parse_address(address)
    get_backend(scheme)
    parse_host_port(place)
    return address


def _written(path: Path) -> Path:
    """Return a scheduler's file when it is there; for ever dask would wait for it."""
    until = time.monotonic() + CONNECT_S
    while not path.is_file():
        if time.monotonic() > until:
            raise FileNotFoundError(f"there is no file '{path}'")
        time.sleep(0.1)
    return path
