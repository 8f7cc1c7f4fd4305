"""Worker processes: imports are paid once a worker, one that dies takes one call with it, and none outlives tamcl.

Somebody's own code may change what is global in its process: patch a function, register a hook, set a default, start
a thread. So that this changes no other run, whatever names a class of neither tamcl nor torch has a process of its own,
which is gone afterwards: a fork of a worker that has imported everything and trained nothing, where processes can be
forked safely, and a worker that is used once elsewhere.
"""

from __future__ import annotations

import ctypes
import importlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from math import inf
from mmap import mmap
from multiprocessing.connection import Connection, wait
from struct import Struct
from typing import Any

from tamcl.errors import InputError, said
from tamcl.files.paths import user_path

CAN_FORK = sys.platform == "linux"
"""Whether a process that has imported torch, and done nothing with it, may be forked."""

_spawn = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
_LOOK_S = 0.5
"""Seconds from one look at the workers to the next, when they say nothing."""
_LEAVE_S = 5.0
"""Seconds that a process that was asked to leave has before it is killed."""
IMPORTED = ["tamcl.training.checkpoint", "tamcl.training.collectors"]
IMPORTED += ["tamcl.diagnostics.collector", "tamcl.models.classifier", "tamcl.strategies.naive"]
IMPORTED += ["tamcl.streams.benchmark", "pyarrow.parquet"]
"""What every cell needs, and with it torch and Avalanche."""


OnSteps = Callable[[Sequence[tuple[int, int]]], object]
"""What is told how far runs are that are trained: of each, or of those that are trained together, the steps that are
done, and all of them, as ``tamcl.strategies.heartbeat.Steps``."""


class WorkerDied(Exception):
    """A worker process ended in the middle of a run, as when memory ran out, or was ended because it took too long."""


class Raised(Exception):
    """Somebody's code raised an exception, which stays in the process where it was raised; this says what it was."""


def call_apart(calls: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    """Make calls that may run somebody's own code, each in a process of its own, and return their values.

    Parameters
    ----------
    calls : mapping of str to callable
        By what they are about, for the error.

    Raises
    ------
    InputError
        Also if a call ends its process, or raises anything else but an ``OSError``.
    """
    answers = run_calls(list(calls.values()), apart=range(len(calls)))
    return {name: check_answer(name, answer) for name, (_, answer) in zip(calls, answers, strict=True)}


def check_answer(name: str, answer: Any) -> Any:
    """Return the value of a call, or raise an ``InputError`` that names the call if there is none."""
    if isinstance(answer, WorkerDied | Raised):
        raise InputError(f"{name}: {answer}")
    return answer


def run_calls(
    calls: Sequence[Callable[[], Any]],
    jobs: int = 1,
    *,
    apart: Collection[int] = (),
    timeout: float | None = None,
    warm_up: Callable[[], object] | None = None,
    on_steps: OnSteps = lambda running: None,
) -> Iterator[tuple[int, Any]]:
    """Make calls in worker processes that end with the last of them, as ``Workers.run`` does.

    About twice a second it is told how far the runs are that are trained.
    """
    with Workers(jobs, timeout) as workers:
        yield from workers.run(calls, apart=apart, warm_up=warm_up, on_look=lambda: on_steps(workers.steps))


class Workers:
    """Worker processes that stay for the next calls until the ``with`` block ends: each takes seconds to start.

    Parameters
    ----------
    jobs : int
        Number of processes. No more are started than there are calls for.
    timeout : float, optional
        Seconds without a sign of life (``tamcl.strategies.heartbeat``) after which a call is given up.
    begin : callable, optional
        Called first of all in every process, as to say where it works and what it writes to.
    first : int
        The place of the first process among all that train, by which GPUs are dealt out.
    """

    def __init__(
        self,
        jobs: int = 1,
        timeout: float | None = None,
        begin: Callable[[], object] | None = None,
        first: int = 0,
    ) -> None:
        self.jobs, self.timeout, self.begin, self.first = jobs, timeout, begin, first
        self._workers: list[_Worker] = []
        self._started_for: tuple[bool, bytes] | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        self._end(self._workers)

    def run(
        self,
        calls: Sequence[Callable[[], Any]],
        *,
        apart: Collection[int] = (),
        warm_up: Callable[[], object] | None = None,
        limited: bool = True,
        on_look: Callable[[], object] = lambda: None,
    ) -> Iterator[tuple[int, Any]]:
        """Make calls.

        Parameters
        ----------
        calls : sequence of callable
            Functions without arguments that can be pickled, as are their values.
        apart : collection of int
            Places of the calls that run somebody's own code: each has a process of its own.
        warm_up : callable, optional
            Called in every worker before anything else, for what all calls share.
        limited : bool
            Whether the timeout is for these calls; it always is for those of somebody's own code.
        on_look : callable
            Called about twice a second; what it raises ends the calls.

        Yields
        ------
        int, object
            The place of a call and its value, in the order of finishing; a ``WorkerDied`` where the process ended or
            was given up, and a ``Raised`` where the call raised any other exception than the two below.

        Raises
        ------
        InputError, OSError
            What a call raised. Also an ``InputError`` if processes end as soon as they are started.
        """
        refuse_in_import()
        forks, failures = CAN_FORK and bool(apart), 0
        self._end_unfit(forks, warm_up)
        waiting = list(reversed([*enumerate(calls)]))
        try:
            while waiting or self._busy():
                for worker in self._idle(len(waiting), forks, warm_up):
                    worker.send(*waiting.pop(), limited=limited)
                wait([worker.connection for worker in self._busy()], _LOOK_S)
                on_look()
                for worker in self._busy():
                    answer = worker.look()
                    if answer is _NOTHING:
                        continue
                    assert worker.place is not None
                    place, worker.place = worker.place, None
                    if worker.gone:
                        self._workers.remove(worker)
                        if not worker.ready:  # its call was not even begun
                            failures += 1
                            if failures > 1:
                                why = f"no worker process can be started: {answer}; what it said is above"
                                raise InputError(why)
                            waiting.append((place, calls[place]))
                            continue
                    elif place in apart and not forks:
                        self._end([worker])
                    elif waiting:
                        worker.send(*waiting.pop(), limited=limited)
                    if isinstance(answer, InputError | OSError):
                        raise answer
                    failures = 0
                    yield place, answer
        finally:
            self._end(self._busy())

    @property
    def steps(self) -> list[tuple[int, int]]:
        """How far the runs are that are trained now, as far as that is known: steps that are done, and all of them."""
        return [worker.steps for worker in self._busy() if worker.steps is not None and worker.steps[1]]

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.place is not None]

    def _idle(self, wanted: int, forks: bool, warm_up: Callable[[], object] | None) -> list[_Worker]:
        """Return up to so many workers that have nothing to do, started if there are none."""
        idle = [worker for worker in self._workers if worker.place is None][:wanted]
        while len(idle) < wanted and len(self._workers) < self.jobs:
            seat = free_place([worker.seat for worker in self._workers], self.first)
            self._workers.append(_Worker(forks, self.timeout, warm_up, self.begin, seat))
            idle.append(self._workers[-1])
        return idle

    def _end_unfit(self, forks: bool, warm_up: Callable[[], object] | None) -> None:
        """End the workers that were started for other calls, and forget those that died since the last one."""
        needed = forks, pickle.dumps(warm_up)
        self._end([worker for worker in self._workers if needed != self._started_for or not worker.process.is_alive()])
        self._started_for = needed

    def _end(self, workers: Sequence[_Worker]) -> None:
        ended = list(workers)
        self._workers = [worker for worker in self._workers if worker not in ended]
        _stop(ended)


def free_place(taken: Collection[int], first: int = 0) -> int:
    """Return the first place, counted from one on, that no process has: of those that live each has another.

    Examples
    --------
    >>> free_place([0, 2]), free_place([], 3)
    (1, 3)
    """
    return next(place for place in count(first) if place not in taken)


def refuse_in_import(of: str = "") -> None:
    """End this process if it is a worker that imports the script which has started it: a script without a guard.

    Every worker imports that script, so what calls tamcl must not be called when it is imported. The process that runs
    the script says so.

    Parameters
    ----------
    of : str
        What the process must be called for it; any if empty.
    """
    process = multiprocessing.current_process()
    if getattr(process, "_inheriting", False) and of in ("", process.name):
        os._exit(_NO_GUARD)


def allow_children() -> None:
    """Let this process start others, which multiprocessing forbids one that is to end with its parent."""
    vars(multiprocessing.current_process())["_config"]["daemon"] = False


_NOTHING = object()
_NO_GUARD = 87
WORKER = "tamcl worker"
"""What a worker is called: what is trained in the calling process is not trained in a worker that imports a script."""
_GUARD = 'if __name__ == "__main__":'


class _Worker:
    """One process and the pipe to it."""

    def __init__(
        self,
        forks: bool,
        timeout: float | None,
        warm_up: Callable[[], object] | None,
        begin: Callable[[], object] | None,
        seat: int,
    ) -> None:
        self.connection, theirs = _spawn.Pipe()
        self.seat = seat
        """Its place among those that train."""
        given = theirs, forks, timeout, warm_up, begin, seat
        self.process = _spawn.Process(target=_serve, args=given, daemon=True, name=WORKER)
        with _interrupts_ignored():  # what a new process inherits: the parent alone answers Ctrl-C
            self.process.start()
        theirs.close()
        self.place: int | None = None
        """Of the call that it makes."""
        self.steps: tuple[int, int] | None = None
        """How far the run is that it trains, as it said last."""
        self.ready = False
        """Whether it has imported what it needs."""
        self.gone = False
        """Whether it has ended, or was ended."""
        self._since = time.monotonic()
        self.timeout = timeout
        self._limited = True
        self._patience = inf if timeout is None else timeout + (_LEAVE_S if forks else 0)  # one that forks looks itself

    def send(self, place: int, call: Callable[[], Any], *, limited: bool = True) -> None:
        """Let it make a call, for which the timeout is, or not."""
        self.place, self._since, self._limited, self.steps = place, time.monotonic(), limited, None
        with suppress(OSError):  # a worker that is dead already is noticed when its answer is looked for
            self.connection.send((place, pickle.dumps(call)))

    def look(self) -> Any:
        """Return what came of the call, a ``WorkerDied`` if that can come no more, and ``_NOTHING`` as long as it may.

        Processes that somebody's code has started may hold the pipe open, and write to it: the process itself is looked
        at too, and an answer must be its own, to this very call.
        """
        alive = self.process.is_alive()  # before its last words are read
        try:
            while self.connection.poll():
                process, place, answer = self.connection.recv()
                if process == self.process.pid and place is None:
                    self.ready, self._since, self.steps = True, time.monotonic(), answer
                elif process == self.process.pid and place == self.place:
                    return answer
        except Exception:  # the end of the pipe, or what is no answer
            alive = False
        late = self.ready and self._limited and time.monotonic() - self._since > self._patience
        if alive and not late:
            return _NOTHING
        self.gone = True
        if not late:  # the end of a pipe is seen a moment before that of its process
            self.process.join(_LEAVE_S)
        ended = self.process.exitcode
        _stop([self])
        if alive and late:
            return _too_long(self.timeout)
        if ended == _NO_GUARD:
            script = getattr(sys.modules["__main__"], "__file__", "the script")
            cure = f"train with jobs=1, or put it below {_GUARD}"
            raise InputError(f"'{script}': calls tamcl when it is imported; {cure}")
        return WorkerDied("the process closed its pipe" if ended is None else f"the process {_how_it_ended(ended)}")


def _stop(workers: Sequence[_Worker]) -> None:
    """End processes: those that do not leave when they are asked to, as one that is stopped cannot, are killed."""
    try:
        for worker in workers:
            worker.connection.close()
            worker.process.terminate()
        limit = time.monotonic() + _LEAVE_S
        for worker in workers:
            worker.process.join(max(0.0, limit - time.monotonic()))
    finally:  # Ctrl-C again
        for worker in workers:
            worker.process.kill()
            worker.process.join()


def _too_long(timeout: float | None) -> WorkerDied:
    return WorkerDied(f"the run made no step for {timeout:g} s and was ended")


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended with status {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:  # a real-time signal has no name
        return f"was killed by signal {-code}"


def _serve(
    connection: Connection,
    forks: bool,
    timeout: float | None,
    warm_up: Callable[[], object] | None,
    begin: Callable[[], object] | None,
    seat: int,
) -> None:
    """Make the calls that come through the pipe until it closes or the parent process is gone."""
    if begin is not None:
        begin()
    here = os.getcwd()
    if here not in sys.path:  # where own modules are, whatever folder is changed to
        sys.path.append(here)
    if cache := os.environ.get("TAMCL_CACHE_DIR"):
        os.environ["TAMCL_CACHE_DIR"] = str(user_path(cache).absolute())
    if not forks:  # a process that forks has no thread but this one, and looks at the pipe
        threading.Thread(target=_leave_with_parent, daemon=True).start()
    prepare()
    importlib.import_module("tamcl.training.resources").take_place(seat)
    if warm_up is not None:
        with suppress(Exception):  # whatever is wrong with it, a call says
            warm_up()
    make = partial(_answer_of_a_fork, connection, inf if timeout is None else timeout) if forks else _answer
    process = os.getpid()

    heartbeat = importlib.import_module("tamcl.strategies.heartbeat")

    def say_alive() -> None:
        if os.getpid() == process:  # a process that somebody's code has forked says nothing
            with suppress(OSError):
                connection.send((process, None, tuple(heartbeat.steps())))

    if not forks:
        heartbeat.listen(say_alive)
    say_alive()
    while True:
        try:
            place, call = connection.recv()
        except EOFError:
            return
        answer = make(call)
        if os.getpid() != process:
            os._exit(0)
        try:
            connection.send((process, place, answer))
        except OSError:  # nobody waits for it any more
            return


def prepare() -> None:
    """Import what every run needs, and no more: each process that is started for runs waits for it."""
    for name in IMPORTED:
        importlib.import_module(name)
    importlib.import_module("tamcl.training.compiler").put_off_compiler()


def _answer(call: bytes) -> Any:
    """Make a call, and return its value or what it raised, in words of tamcl's own: nobody else's need be known."""
    try:
        return pickle.loads(call)()
    except InputError as error:
        return InputError(str(error))
    except OSError as error:
        return OSError(error.errno, error.strerror, error.filename)
    except BaseException as error:
        return Raised(said(error))


def _answer_of_a_fork(connection: Connection, timeout: float, call: bytes) -> Any:
    """Make a call in a fork of this process, and end whatever it has started with it."""
    parent, limit, late = os.getpid(), time.monotonic() + timeout, False
    beats, heard = mmap(-1, _SIGN.size), 0  # of both processes
    file = os.memfd_create("answer")  # and no pipe, which a process that the call started could hold
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _be_the_fork(parent, connection, file, call, beats)
    with suppress(OSError):
        os.setpgid(child, child)

    def leave(*signal_and_frame: object) -> None:
        _kill_group(child)
        os._exit(1)

    before = signal.getsignal(signal.SIGTERM)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGTERM, leave)
    try:
        while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if connection.poll(0.01):  # closed: the main process is gone
                leave()
            number, *steps = _SIGN.unpack(beats[:])
            if number != heard:
                heard, limit = number, time.monotonic() + timeout
                with suppress(OSError):  # the main process is gone, which is noticed above
                    connection.send((parent, None, tuple(steps)))
            if not late and time.monotonic() > limit:
                late = True
                _kill_group(child)
        _kill_group(child)  # which has this number as long as nobody has waited for the process
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code == _ANSWERED:
            with open(file, "rb", closefd=False) as answer:
                answer.seek(0)
                return pickle.load(answer)
        return _too_long(timeout) if late else WorkerDied(f"the process {_how_it_ended(code)}")
    finally:
        signal.signal(signal.SIGTERM, before)
        os.close(file)


_SIGN = Struct("qqq")
"""A sign of life of a fork: which it is, and how far its run is."""

_ANSWERED = 86
"""Status of a fork that has written its answer; no other is likely to end so."""


def _be_the_fork(parent: int, connection: Connection, file: int, call: bytes, beats: mmap) -> None:
    code, numbers = 1, count(1)
    heartbeat = importlib.import_module("tamcl.strategies.heartbeat")

    def say_alive() -> None:
        beats[:] = _SIGN.pack(next(numbers), *heartbeat.steps())

    try:
        os.setpgid(0, 0)
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it dies with the worker, even when it is stopped
        if os.getppid() == parent:
            connection.close()
            allow_children()  # as data loaders' workers
            process = os.getpid()
            heartbeat.listen(say_alive)
            answer = pickle.dumps(_answer(call))
            if os.getpid() == process:
                with open(file, "wb", closefd=False) as written:
                    written.write(answer)
                sys.stdout.flush()
                sys.stderr.flush()
                code = _ANSWERED
    finally:
        os._exit(code)


def _kill_group(process: int) -> None:
    for kill in (os.killpg, os.kill):  # by its own number, too: it may have left its group
        with suppress(ProcessLookupError, PermissionError):
            kill(process, signal.SIGKILL)


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
