"""Executors: the tables are those of one process, whatever trains them, dies, hangs, is cut off or stopped."""

from __future__ import annotations

import errno
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pandas.testing import assert_frame_equal

from tamcl import __version__
from tamcl.engines import job as jobs
from tamcl.engines import processes, submitit
from tamcl.engines.executor import OnExecutor, named_executor, read_options
from tamcl.engines.job import Job, Unwanted, always, train_job
from tamcl.engines.processes import WorkerDied
from tamcl.errors import InputError
from tamcl.results import read_table
from tamcl.scenario.load import add_arm, load_scenario
from tamcl.training.cell import Cell
from tamcl.training.resources import Resources
from tamcl.training.run import run_cell, run_cells
from tests.helpers import refusal

OWN = """
import os, signal, sys, time
import torch

def nothing():
    return 3

def fails():
    raise KeyError("no queue")

number = 3

class Own(torch.optim.SGD):
    def __init__(self, params, lr):
        super().__init__(params, lr=lr)

class Fine(Own):
    pass

class Killed(Own):
    def step(self, closure=None):
        print("so much memory", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

class Stopped(Own):
    def step(self, closure=None):
        os.kill(os.getpid(), signal.SIGSTOP)

class Hangs(Own):
    def step(self, closure=None):
        print("step begins")
        sys.stdout.flush()
        time.sleep(10_000)
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder where somebody is, with a module of theirs."""
    folder = tmp_path / "own"
    folder.mkdir()
    page = (Path(__file__).parents[2] / "docs" / "clusters.md").read_text()
    [example] = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    (folder / "mine.py").write_text(f"{example}\n{OWN}")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    yield folder
    sys.modules.pop("mine", None)


def cells_of(tiny: Path, *arms: str, seeds: int = 1) -> list[Cell]:
    """Cells of arms, those of somebody's own among them, that all take a moment."""
    scenario = load_scenario(str(tiny), ["stream.samples=40", "protocol.tune_seeds=1"])
    for arm in arms:
        if arm not in scenario.arms:
            scenario, _ = add_arm(scenario, f"{arm}=mine:{arm},lr=0.1")
    return [Cell(scenario, arm, 0.1, seed, "report") for arm in arms for seed in range(seeds)]


def assert_trained(cells: list[Cell], directory: Path) -> None:
    """Compare the tables with those of this process."""
    for cell in cells:
        for name, expected in run_cell(cell).tables.items():
            if name != "runs":
                assert_frame_equal(
                    read_table(directory / cell.id, name), expected.reset_index(drop=True), check_exact=True
                )


def errors(cells: list[Cell], directory: Path) -> dict[str, str]:
    return {cell.arm: read_table(directory / cell.id, "runs")["error"].item() for cell in cells}


def processes_in(folder: Path) -> list[str]:
    """What the processes are, but this one, that work in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if Path(os.readlink(process / "cwd")) == folder and int(process.name) != os.getpid():
                found.append((process / "cmdline").read_text())
        except OSError:
            continue
    return [each for each in found if "resource_tracker" not in each]


def wait_for(what: Callable[[], Any], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it never came to that"
        time.sleep(0.05)


# With child processes.


def test_an_executor_by_its_import_path_trains_the_same_tables(tiny: Path, own: Path, tmp_path: Path) -> None:
    cells = cells_of(tiny, "sgdm", "tam")
    broken = Cell(cells[0].scenario, "sgdm", -1.0, 0, "report")
    engine = named_executor("mine:threads", {"workers": 2}, jobs=2)
    with engine.kept() as started:
        assert started.jobs == 2
        tasks = [(cells[0], broken, cells[1])]
        ended = {cell.id: status for cell, status in started.train(tasks, tmp_path / "cells", Resources())}
    assert ended == {cells[0].id: "ok", cells[1].id: "ok", broken.id: "failed"}
    assert_trained(cells, tmp_path / "cells")
    assert {path.name for path in tmp_path.iterdir()} == {"cells", "own"}  # a log that says nothing is not kept
    assert processes_in(own) == []


@pytest.mark.skipif(not processes.CAN_FORK, reason="without forks it takes minutes")
def test_a_crash_and_a_hang_are_rows_with_their_reasons(
    tiny: Path, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_LEAVE_S", 0.5)
    cells = cells_of(tiny, "Killed", "Stopped", "Hangs")
    engine = OnExecutor(partial(ThreadPoolExecutor, 3), timeout=4)
    ended = engine.train([(cell,) for cell in cells], tmp_path / "cells", Resources())
    assert {status for _, status in ended} == {"failed"}
    said, here = errors(cells, tmp_path / "cells"), os.uname().nodename
    assert said["Killed"] == f"WorkerDied: the process was killed by SIGKILL, on {here}; it said last: so much memory"
    late = f"WorkerDied: the run made no step for 4 s and was ended, on {here}"
    assert said["Stopped"] == late
    assert said["Hangs"] == f"{late}; it said last: step begins"
    logs = {path.name.split("-")[0]: path.read_text() for path in (tmp_path / "logs").iterdir()}
    assert set(logs) == {"Killed", "Hangs"}
    assert logs["Killed"].splitlines() == [f"{here}: {cells[0].id}", "so much memory"]
    assert processes_in(own) == []


def test_a_study_that_is_stopped_ends_what_runs(tiny: Path, own: Path, tmp_path: Path) -> None:
    cells = cells_of(tiny, "sgdm", "Hangs")
    ended = OnExecutor(partial(ThreadPoolExecutor, 2)).train(
        [(cell,) for cell in cells], tmp_path / "cells", Resources()
    )
    assert next(ended) == (cells[0], "ok")
    wait_for(lambda: "step begins" in "".join(path.read_text() for path in (tmp_path / "logs").glob("Hangs*")))
    ended.close()  # as Ctrl-C does
    assert processes_in(own) == []
    assert [path.name for path in (tmp_path / "logs").glob(".*")] == []
    assert not (tmp_path / "cells" / cells[1].id).exists()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[Path, list[subprocess.Popen[bytes]]]]:
    """A scheduler of dask in a process of its own, the file with its address, and two workers in theirs."""
    pytest.importorskip("distributed", reason="needs tamcl[cluster]")
    folder = tmp_path / "cluster"
    folder.mkdir()
    file = folder / "scheduler.json"

    def start(*command: str) -> subprocess.Popen[bytes]:
        call = [sys.executable, "-m", *command, "--scheduler-file", str(file), "--no-dashboard"]
        log = (folder / f"{command[0]}.log").open("ab")
        with log:
            return subprocess.Popen(call, cwd=folder, stdout=log, stderr=log)

    one = "distributed.cli.dask_worker", "--nthreads", "1", "--no-nanny", "--local-directory", str(folder)
    started = [start("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"), start(*one), start(*one)]
    yield file, started[1:]
    for process in started:
        process.kill()
        process.wait()


def test_nothing_is_lost_when_a_worker_of_dask_is_killed(
    cluster: tuple[Path, list[subprocess.Popen[bytes]]], tiny: Path, own: Path, tmp_path: Path
) -> None:
    file, (killed, _) = cluster
    cells = [*cells_of(tiny, "sgdm", "tam", seeds=2), *cells_of(tiny, "Fine")]
    logs = tmp_path / "logs"

    def kill() -> None:
        wait_for(lambda: len([*logs.glob("*.txt")]) == 2)  # so both are at work
        killed.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with named_executor(f"dask:file={file}").kept() as started:
        tasks = [tuple(cells[:2]), tuple(cells[2:4]), (cells[4],)]
        ended = [*started.train(tasks, tmp_path / "cells", Resources())]
    killer.join()
    assert killed.wait() == -signal.SIGKILL
    assert {cell.id: status for cell, status in ended} == {cell.id: "ok" for cell in cells}
    assert len(ended) == len(cells)
    assert_trained(cells, tmp_path / "cells")
    wait_for(lambda: processes_in(own) == [])


SLURM = {
    "sbatch": """
export SLURM_JOB_ID=$$ SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1 SLURM_NODEID=0 SLURM_PROCID=0 SLURM_LOCALID=0
setsid bash "$1" > "$QUEUE/$$.log" 2>&1 < /dev/null &
echo $! > "$QUEUE/$$.pid"
cp "$1" "$QUEUE/$$.sbatch"
echo "Submitted batch job $$"
""",
    "srun": """
while [[ "$1" == -* ]]; do case "$1" in --output|--error) shift 2;; *) shift;; esac; done
exec "$@"
""",
    "sacct": """
echo "JobID|State|NodeList"
for file in "$QUEUE"/*.pid; do
    kill -0 $(cat "$file") 2> /dev/null && state=RUNNING || state=FAILED
    echo "$(basename "$file" .pid)|$state|here"
done
""",
    "scancel": 'kill -KILL -- -$(cat "$QUEUE/$1.pid")',
}
"""Commands of a Slurm that has one machine, this one, and starts every job at once."""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of Slurm's queue."""
    pytest.importorskip("submitit", reason="needs tamcl[cluster]")
    programs, queue = tmp_path / "bin", tmp_path / "queue"
    for folder in (programs, queue):
        folder.mkdir()
    for name, lines in SLURM.items():
        (programs / name).write_text(f"#!/bin/bash\n{lines}")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("QUEUE", str(queue))
    return queue


def test_each_task_is_a_job_of_slurm(slurm: Path, tiny: Path, own: Path, tmp_path: Path) -> None:
    cells = cells_of(tiny, "sgdm", "tam")
    (tmp_path / "mine.toml").write_text(
        f'[executor]\nfolder = "{tmp_path / "jobs"}"\nslurm_partition = "gpu"\ntimeout_min = 90\ngpus_per_node = 1\n'
    )
    engine = named_executor("submitit", read_options(tmp_path / "mine.toml"))
    assert [status for _, status in engine.train([tuple(cells)], tmp_path / "cells", Resources())] == ["ok", "ok"]
    assert_trained(cells, tmp_path / "cells")
    [job] = slurm.glob("*.sbatch")
    lines = job.read_text().splitlines()
    assert {"#SBATCH --partition=gpu", "#SBATCH --time=90", "#SBATCH --gpus-per-node=1"} <= set(lines)
    assert [*(tmp_path / "jobs").glob("*.pkl")] == []  # they hold the tables once more


# Without.


class Here(Executor):
    """Trains in this process, at once, unless told what becomes of a call by its number."""

    jobs = 2

    def __init__(self, **becomes: Callable[[Future[bytes]], object]) -> None:
        self.becomes = becomes
        self.futures: list[Future[bytes]] = []
        self.given: list[Job] = []
        self.is_shut = False

    def submit(self, fn: Callable[..., bytes], /, *args: Any, **kwargs: Any) -> Future[bytes]:
        assert fn is train_job
        version, job = args
        future: Future[bytes] = Future()
        self.futures.append(future)
        self.given.append(pickle.loads(job))
        become = self.becomes.get(f"call{len(self.futures)}")
        if become is None:
            future.set_result(fn(version, job))
        else:
            become(future)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.is_shut = True


def cancel(future: Future[bytes]) -> None:
    future.cancel()
    future.set_running_or_notify_cancel()


def raising(error: Exception) -> Callable[[Future[bytes]], object]:
    return lambda future: future.set_exception(error)


def answering(answer: Any) -> Callable[[Future[bytes]], object]:
    return lambda future: future.set_result(pickle.dumps(answer))


@pytest.fixture
def without_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tamcl.engines.job._train", lambda job: run_cells(job.task, job.resources))


@pytest.mark.parametrize(
    ("become", "why"),
    [
        (cancel, "the connection was lost, or somebody cancelled the runs"),
        (raising(BrokenExecutor("no job can be queued: invalid partition")), "no job can be queued: invalid partition"),
    ],
)
@pytest.mark.usefixtures("without_children")
def test_an_executor_that_is_lost_ends_the_study_in_one_line_and_what_is_finished_is_kept(
    become: Callable[[Future[bytes]], object], why: str, tiny: Path, tmp_path: Path
) -> None:
    cells = cells_of(tiny, "sgdm", seeds=3)
    executor = Here(call2=become, call3=lambda future: None)
    ended = OnExecutor(lambda: executor, name="mine").train(
        [(cell,) for cell in cells], tmp_path / "cells", Resources()
    )
    assert next(ended) == (cells[0], "ok")
    with pytest.raises(InputError) as caught:
        next(ended)
    assert str(caught.value) == f"mine: {why}; what is finished is kept, and the same command goes on from there"
    assert executor.futures[2].cancelled()
    assert executor.is_shut
    assert_trained(cells[:1], tmp_path / "cells")
    assert [path.name for path in tmp_path.iterdir()] == ["cells"]


@pytest.mark.usefixtures("without_children")
def test_the_cells_of_a_task_whose_worker_dies_are_tried_again_each_by_itself(tiny: Path, tmp_path: Path) -> None:
    cells = cells_of(tiny, "sgdm", seeds=3)
    died = raising(RuntimeError("the worker\nis gone"))
    executor = Here(call1=died, call4=died)
    ended = {
        cell.seed: status
        for cell, status in OnExecutor(lambda: executor).train([tuple(cells)], tmp_path / "cells", Resources())
    }
    assert [len(job.task) for job in executor.given] == [3, 1, 1, 1]
    assert ended == {0: "ok", 1: "ok", 2: "failed"}
    why = read_table(tmp_path / "cells" / cells[2].id, "runs")["error"].item()
    assert why == "WorkerDied: executor: RuntimeError: the worker is gone"
    assert_trained(cells[:2], tmp_path / "cells")


@pytest.mark.usefixtures("without_children")
def test_with_a_limit_of_time_each_run_is_a_task(tiny: Path, tmp_path: Path) -> None:
    executor = Here()
    cells = cells_of(tiny, "sgdm", seeds=2)
    assert len([*OnExecutor(lambda: executor, timeout=60).train([tuple(cells)], tmp_path / "cells", Resources())]) == 2
    assert [(len(job.task), job.timeout) for job in executor.given] == [(1, 60), (1, 60)]


@pytest.mark.usefixtures("without_children")
def test_a_disk_that_is_full_ends_the_study_and_cancels_the_rest(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = cells_of(tiny, "sgdm", seeds=3)
    executor = Here(call3=lambda future: None)
    ended = OnExecutor(lambda: executor).train([(cell,) for cell in cells], tmp_path / "cells", Resources())
    next(ended)

    def write(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tamcl.training.cell.write_tables", write)
    with pytest.raises(OSError, match="No space left on device") as caught:
        next(ended)
    assert caught.value.filename == str(tmp_path / "cells" / cells[1].id)
    assert executor.futures[2].cancelled()
    assert [path.name for path in (tmp_path / "cells").iterdir()] == [cells[0].id]


class Children:
    """In place of `Workers`: what a job asks of its child."""

    def __init__(self, jobs: int, timeout: float | None, begin: partial[None], first: int) -> None:
        self.timeout, self.begin = timeout, begin

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def run(
        self, calls: list[partial[Any]], *, on_look: Callable[[], None], **options: Any
    ) -> Iterator[tuple[int, Any]]:
        on_look()
        log = self.begin.args[1]
        log.write_text(log.read_text() + "".join(f"line {number}\n\n" for number in range(9)))
        yield 0, (calls[0].keywords["directory"], log)


def job_of(cells: list[Cell], folder: Path, is_wanted: Callable[[], bool] = always) -> Job:
    return Job(tuple(cells), folder / "cells", Resources(), None, folder / "logs" / ".wanted-a", is_wanted, str(folder))


def test_checkpoints_and_logs_are_in_the_folder_only_where_it_is_shared(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "Workers", Children)
    monkeypatch.setattr(jobs, "_with_log", lambda answer, log: [*answer, log.read_text()])
    cells = cells_of(tiny, "sgdm", seeds=2)
    job = job_of(cells, tmp_path)
    job.marker.parent.mkdir()  # as of another study that is on the machine
    directory, log, _ = jobs._train(job)
    assert directory is None
    assert not log.exists()
    assert [*job.marker.parent.iterdir()] == []
    job.marker.touch()
    directory, log, written = jobs._train(job)
    assert (directory, log) == (tmp_path / "cells", tmp_path / "logs" / f"{cells[0].id}.txt")
    assert written == log.read_text()
    assert written.startswith(f"{os.uname().nodename}: {cells[0].id}, {cells[1].id}\nline 0\n")


def test_of_a_log_its_last_lines_are_read_whatever_it_has(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    died = WorkerDied("it died")
    for written, last in {"": "", "\n \n": "", "a\n\nb\nc\nd": "; it said last: b | c | d"}.items():
        log.write_text(f"header\n{written}")
        assert str(jobs._with_log(died, log)) == f"it died, on {os.uname().nodename}{last}"
    log.write_bytes(b"header\n" + b"\xff" * 10**6 + b"\nend")
    assert str(jobs._with_log(died, log)).endswith("\ufffd | end")
    assert len(str(jobs._with_log(died, log))) < 600


def test_a_job_ends_when_its_study_has(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "Workers", Children)
    cells = cells_of(tiny, "sgdm")
    unwanted = pickle.dumps(job_of(cells, tmp_path, is_wanted=never))
    with pytest.raises(Unwanted):
        train_job(__version__, unwanted)
    (tmp_path / "marker").touch()
    jobs._check_wanted(always, tmp_path / "marker")
    (tmp_path / "marker").unlink()
    with pytest.raises(Unwanted):
        jobs._check_wanted(always, tmp_path / "marker")
    (tmp_path / "a").touch()
    jobs._check_wanted(always, tmp_path / "a" / "b")  # an error that is not that it is gone


def never() -> bool:
    return False


def test_what_a_worker_lacks_is_said(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = os.uname().nodename
    answer = pickle.loads(train_job("0.0.0", b"not even read"))
    assert str(answer) == f"{here} has tamcl {__version__}, and the study 0.0.0"
    answer = pickle.loads(train_job(__version__, b"cnowhere\nThing\n."))
    assert str(answer) == f"{here}: ModuleNotFoundError: No module named 'nowhere'"


class Jobs:
    """In place of an executor of submitit and its jobs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.started, self.cancelled, self.refuses = folder, [], [], False
        self.is_free = threading.Event()

    def submit(self, call: Callable[[], Any]) -> Any:
        if self.refuses:
            raise RuntimeError("sbatch: error:\ninvalid partition")
        number = len(self.started)
        paths = SimpleNamespace(
            submitted_pickle=self.folder / f"{number}.pkl", result_pickle=self.folder / f"{number}_.pkl"
        )
        for path in vars(paths).values():
            path.touch()
        job = SimpleNamespace(paths=paths, done=self.is_free.is_set, result=call)
        job.cancel = lambda check: self.cancelled.append(number)
        wrapped = _Hashable(job)
        self.started.append(wrapped)
        return wrapped


class _Hashable:
    def __init__(self, job: SimpleNamespace) -> None:
        vars(self).update(vars(job))


def test_jobs_of_slurm_are_queued_some_at_a_time_and_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitit, "PAUSE_S", 0.01)
    slurm = Jobs(tmp_path)
    executor = submitit.SubmititExecutor(slurm, 2)
    futures = [executor.submit(pow, 2, exponent) for exponent in range(3)] + [executor.submit(divmod, 1, 0)]
    wait_for(lambda: len(slurm.started) == 2)
    time.sleep(0.1)
    assert len(slurm.started) == 2
    futures[1].cancel()
    wait_for(lambda: slurm.cancelled == [1])
    slurm.is_free.set()
    assert (futures[0].result(9), futures[2].result(9)) == (1, 4)
    with pytest.raises(ZeroDivisionError):
        futures[3].result(9)
    slurm.refuses = True
    with pytest.raises(BrokenExecutor, match="^no job can be queued: RuntimeError: sbatch: error: invalid partition$"):
        executor.submit(pow, 2, 3).result(9)
    executor.shutdown()
    assert [*tmp_path.iterdir()] == []
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(pow, 2, 3)


def test_a_job_that_slurm_cuts_off_is_queued_again() -> None:
    pytest.importorskip("submitit", reason="needs tamcl[cluster]")
    call = pickle.loads(pickle.dumps(submitit._Call(partial(pow, 2, 3))))
    assert call() == 8
    again = call.checkpoint()
    assert again.function is call  # so that it can be cut off once more
    assert again.result() == 8


# What is named wrongly.

NEEDS = pytest.mark.skipif(
    find_spec("distributed") is None or find_spec("submitit") is None, reason="needs tamcl[cluster]"
)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("dasc:tcp://a:1", "unknown executor 'dasc': did you mean 'dask'? Known: dask, submitit."),
        ("slurm", "unknown executor 'slurm': Known: dask, submitit."),
        ("mine:thread", "unknown executor in mine 'thread': did you mean 'threads'?"),
        ("theirs:threads", "executor 'theirs:threads': there is no module 'theirs'"),
        ("mine:number", "--executor mine:number: is no function but a int"),
        ("mine:nothing", "--executor mine:nothing: gave a int, which is no concurrent.futures.Executor"),
        ("mine:fails", "--executor mine:fails: KeyError: 'no queue'"),
        pytest.param(
            "submitit:there", "submitit takes no address; name the partition in --executor-options", marks=NEEDS
        ),
        pytest.param("submitit", "--executor submitit: there is no Slurm here: no sbatch on the PATH", marks=NEEDS),
        pytest.param("dask:127.0.0.1:1", "dask:127.0.0.1:1: no scheduler of dask is reached: ", marks=NEEDS),
        pytest.param("dask:localhost", "no scheduler of dask is reached: missing port number", marks=NEEDS),
        pytest.param("dask:tpc://here:1", "no scheduler of dask is reached: unknown address scheme", marks=NEEDS),
        pytest.param("dask:file=no.json", "no scheduler of dask is reached: there is no file 'no.json'", marks=NEEDS),
    ],
)
def test_an_executor_that_is_none_is_one_line(
    given: str, message: str, tiny: Path, own: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tamcl.engines.dask.CONNECT_S", 0.5)
    before = time.monotonic()
    assert message in refusal(["compare", str(tiny), "--executor", given, "--out", "out"], capsys)
    assert time.monotonic() - before < 20  # dask alone would try for 30 s, or for ever
    assert not Path("out").exists()


@pytest.mark.parametrize("name", ["dask", "submitit"])
def test_what_is_not_installed_is_said_with_what_installs_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tamcl.engines.executor.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"is not installed; pip install 'tamcl\[cluster\]'$"):
        named_executor(name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("partition = 3", "unknown table of --executor-options o.toml 'partition'"),
        ("executor = 3", "--executor-options o.toml: must have a table [executor]"),
        ("[executor", "--executor-options 'o.toml': "),
        pytest.param(
            "[executor]\nresource = 1",
            "unknown option of --executor dask 'resource': did you mean 'resources'?",
            marks=NEEDS,
        ),
        pytest.param(
            "[executor]\nresources = { GPU = -1 }", "resources = {'GPU': -1}: must be a table of numbers", marks=NEEDS
        ),
    ],
)
def test_options_that_are_none_are_one_line(
    content: str, message: str, tiny: Path, own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("o.toml").write_text(content)
    arguments = ["compare", str(tiny), "--executor", "dask", "--executor-options", "o.toml", "--out", "out"]
    assert message in refusal(arguments, capsys)
    without = [each for each in arguments if each not in ("--executor", "dask")]
    assert "--executor-options o.toml: needs --executor" in refusal(without, capsys)


@NEEDS
def test_options_of_slurm_that_are_none_are_one_line(slurm: Path, own: Path) -> None:
    for option, why in (("partition", "Use 'slurm_partition' instead"), ("tim", "'tim' need to be prefixed")):
        engine = named_executor("submitit", {option: 3})
        with pytest.raises(InputError, match=f"--executor submitit: .*{why}") as caught, engine.kept():
            pass
        assert "\n" not in str(caught.value)


def test_limits_that_are_none_are_refused() -> None:
    for number, timeout in ((0, None), (None, 0.0)):
        with pytest.raises(InputError, match="must be"):
            OnExecutor(Here, number, timeout)


def test_executors_are_imported_when_they_are_named_and_not_before() -> None:
    code = "import sys, tamcl.engines.executor; print(*{'distributed', 'submitit', 'torch'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
