"""Workers: somebody's own code changes no other run, nothing outlives a run, and every end of a process is told."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import matplotlib
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from tamcl.engines import local, processes
from tamcl.engines.local import Local, is_user_code
from tamcl.engines.processes import WorkerDied, Workers, run_calls
from tamcl.errors import InputError
from tamcl.results import read_table
from tamcl.scenario.load import add_arm, load_scenario
from tamcl.scenario.schema import Scenario
from tamcl.strategies import heartbeat
from tamcl.study.checks import check
from tamcl.study.compare import compare
from tamcl.study.plan import report_cells
from tamcl.training.build import make_optimizer
from tamcl.training.cell import Cell
from tamcl.training.resources import Resources
from tamcl.training.run import run_cell
from tests.helpers import train_here

OWN = """
import os, random, signal, sys, threading, time
import numpy as np
import torch
import torch.nn.functional as F
from torch.optim.optimizer import register_optimizer_step_post_hook

class Own(torch.optim.SGD):
    def __init__(self, params, lr):
        super().__init__(params, lr=lr)
        self.leak()
    def leak(self):
        pass

class Fine(Own):
    pass

# Each changes what is global in its process, once more with every run.

class OptimizerHook(Own):
    def leak(self):
        def shrink(optimizer, *_):
            for group in optimizer.param_groups:
                for param in group["params"]:
                    param.data.mul_(0.9)
        register_optimizer_step_post_hook(shrink)

class ModuleHook(Own):
    def leak(self):
        torch.nn.modules.module.register_module_forward_hook(lambda module, given, value: value * 1.1)

class Loss(Own):
    def leak(self):
        real = F.cross_entropy
        F.cross_entropy = lambda *a, **k: 2 * real(*a, **k)
        torch.nn.functional.cross_entropy = F.cross_entropy

class Activation(Own):
    def leak(self):
        real = torch.nn.ReLU.forward
        torch.nn.ReLU.forward = lambda self, x: real(self, x) * 0.5
        F.relu = torch.relu = lambda x, inplace=False: torch.tanh(x)

class OthersStep(Own):
    def leak(self):
        for cls in (torch.optim.Adam, torch.optim.SGD):
            real = cls.step
            cls.step = lambda self, closure=None, real=real: (real(self, closure), real(self, closure))[0]

class TensorMethod(Own):
    def leak(self):
        real = torch.Tensor.add_
        torch.Tensor.add_ = lambda self, *a, **k: real(self, *a, **k).mul_(0.99)

class Numpy(Own):
    def leak(self):
        real = np.random.default_rng
        np.random.default_rng = lambda seed=None: real(0)
        np.mean = lambda *a, **k: 0.0

class Seeding(Own):
    def leak(self):
        import tamcl.seeding, tamcl.streams.benchmark, tamcl.training.run
        tamcl.training.run.derive_seed = lambda seed, name, *indices: 7 + seed

class Dtype(Own):
    def leak(self):
        torch.set_default_dtype(torch.float64)

class GradMode(Own):
    def leak(self):
        self.kept = torch.no_grad().__enter__() or torch.set_grad_enabled(False)
    def step(self, closure=None):
        torch.set_grad_enabled(False)

class Denormal(Own):
    def leak(self):
        torch.set_flush_denormal(True)
        torch.set_float32_matmul_precision("medium")
        torch.use_deterministic_algorithms(True)
        torch.set_num_threads(2)

class Autocast(Own):
    def leak(self):
        torch.autocast("cpu", dtype=torch.bfloat16).__enter__()

class Place(Own):
    def leak(self):
        os.environ["TAMCL_CACHE_DIR"] = "/proc/nowhere"
        os.chdir("/")
        sys.path.insert(0, "/nowhere")
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

class Reseeds(Own):
    def leak(self):
        def reseed():
            while True:
                torch.manual_seed(0); np.random.seed(0); random.seed(0); time.sleep(0.01)
        threading.Thread(target=reseed, daemon=True).start()

class Waits(Own):
    def leak(self):
        threading.Thread(target=time.sleep, args=(10_000,)).start()

class StartsProcesses(Own):
    def leak(self):
        assert len(list(torch.utils.data.DataLoader([1, 2], num_workers=1))) == 2
        torch.multiprocessing.Process(target=time.sleep, args=(10_000,)).start()

# Each ends, or has its run ended.

class Exits(Own):
    def step(self, closure=None):
        sys.exit(0)

class Leaves(Own):
    def step(self, closure=None):
        os._exit(0)

class Interrupts(Own):
    def step(self, closure=None):
        raise KeyboardInterrupt

class Silent(BaseException):
    def __str__(self):
        raise ValueError

class Raises(Own):
    def step(self, closure=None):
        raise Silent

class KillsWorker(Own):
    def step(self, closure=None):
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(10_000)

# Each forks: both copies go on, one holds what is open and stays, one stays when the other has died.

class Forks(Own):
    def leak(self):
        os.fork()

class LeavesChild(Own):
    def leak(self):
        if os.fork() == 0:
            time.sleep(10_000)

class DiesBeforeChild(Own):
    def leak(self):
        if os.fork() == 0:
            time.sleep(10_000)
        os._exit(3)

class LeavesWhenBuilt(Own):
    def leak(self):
        os._exit(0)
"""

LEAKS = ["OptimizerHook", "ModuleHook", "Loss", "Activation", "OthersStep", "TensorMethod", "Numpy", "Seeding", "Dtype"]
LEAKS += ["GradMode", "Denormal", "Autocast", "Place", "Reseeds", "Waits", "Forks", "LeavesChild", "StartsProcesses"]
ENDS = {
    "Exits": "SystemExit: 0",
    "Leaves": "WorkerDied: the process ended with status 0",
    "Interrupts": "KeyboardInterrupt",
    "Raises": "Silent",
    "KillsWorker": "WorkerDied: the process was killed by SIGKILL",
    "DiesBeforeChild": "WorkerDied: the process ended with status 3",
}
INNOCENT = ["sgdm", "tam", "adam", "Fine"]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with somebody's module."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "hostile.py").write_text(OWN)
    return folder


@pytest.fixture(scope="module")
def mixed(tiny: Path, own: Path) -> Scenario:
    """Innocent arms, and one of every kind that is none."""
    settings = ["stream.samples=40", "protocol.seeds=2", "arms.sgdm.lr=[0.1]", "arms.tam.lr=[0.1]"]
    scenario = load_scenario(str(tiny), settings, ["sgdm", "tam"])
    scenario, _ = add_arm(scenario, "adam,lr=0.01")
    for name in ["Fine", *LEAKS, *ENDS]:
        scenario, _ = add_arm(scenario, f"{name}=hostile:{name},lr=0.1")
    return scenario


def cells_of(scenario: Scenario, arms: list[str]) -> list[Cell]:
    return report_cells(scenario, {arm: scenario.arms[arm].trials[0] for arm in arms})


def assert_same_cells(cells: list[Cell], one: Path, other: Path) -> None:
    for cell in cells:
        for name in ("online", "eval", "diagnostics", "continual"):
            first, second = (read_table(folder / cell.id, name) for folder in (one, other))
            assert_frame_equal(first, second, check_exact=True, obj=f"{name} of {cell.arm}, seed {cell.seed}")


def alone(cells: list[Cell], own: Path, directory: Path) -> Path:
    """Train cells in this process, where nothing is leaked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(own)
        train_here(cells, directory)
    return directory


def processes_in(folder: Path) -> list[int]:
    """The processes that work in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            is_there = Path(os.readlink(process / "cwd")) == folder and int(process.name) != os.getpid()
            if is_there and b"resource_tracker" not in (process / "cmdline").read_bytes():  # multiprocessing's own
                found.append(int(process.name))
        except OSError:
            continue
    return found


@pytest.fixture(scope="module")
def trained(mixed: Scenario, own: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The cells of all arms, trained with 1 and with 2 jobs in folders that are named relative to where we are."""
    cells = cells_of(mixed, [*INNOCENT, *LEAKS])
    ending = cells_of(mixed, list(ENDS))[: len(ENDS)]
    scratch = tmp_path_factory.mktemp("scratch")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(own)
        patch.setenv("TMPDIR", str(scratch))
        for jobs, all_cells in ((1, cells), (2, [*cells[:9], *ending, *cells[9:]])):
            tasks = [(cell,) for cell in all_cells]
            ended = Local(jobs, timeout=120).train(tasks, Path(f"jobs{jobs}"), Resources())
            assert sorted(cell.id for cell, _ in ended) == sorted(cell.id for cell in all_cells)
    left = {path.name for path in scratch.iterdir() if not path.name.startswith("torchinductor")}  # torch's own cache
    assert left == set()
    assert processes_in(own) == []
    return {jobs: own / f"jobs{jobs}" for jobs in (1, 2)}


@pytest.mark.skipif(not processes.CAN_FORK, reason="processes are not forked here")
@pytest.mark.parametrize("jobs", [1, 2])
def test_somebodys_user_code_changes_no_other_run(
    trained: dict[int, Path], mixed: Scenario, own: Path, tmp_path: Path, jobs: int
) -> None:
    cells = cells_of(mixed, INNOCENT)
    assert_same_cells(cells, trained[jobs], alone(cells, own, tmp_path))


@pytest.mark.skipif(not processes.CAN_FORK, reason="processes are not forked here")
def test_its_own_runs_do_not_depend_on_the_number_of_jobs(trained: dict[int, Path], mixed: Scenario) -> None:
    cells = cells_of(mixed, [arm for arm in LEAKS if arm != "Reseeds"])  # which is at no certain place when it seeds
    for cell in cells:
        assert read_table(trained[1] / cell.id, "runs")["status"].item() == "ok" or cell.arm == "GradMode", cell.arm
    assert_same_cells(cells, trained[1], trained[2])


@pytest.mark.skipif(not processes.CAN_FORK, reason="processes are not forked here")
def test_every_end_is_a_failed_run_that_names_it(trained: dict[int, Path], mixed: Scenario) -> None:
    rows = pd.concat([read_table(trained[2] / cell.id, "runs") for cell in cells_of(mixed, list(ENDS))[: len(ENDS)]])
    assert set(rows["status"]) == {"failed"}
    assert dict(zip(rows["arm"], rows["error"], strict=True)) == ENDS


def test_where_nothing_is_forked_a_worker_that_ran_somebodys_user_code_is_not_used_again(
    mixed: Scenario, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "CAN_FORK", False)
    monkeypatch.chdir(own)
    cells = [cells_of(mixed, ["OthersStep"])[0], *cells_of(mixed, ["sgdm"])]
    ended = Local().train([(cell,) for cell in cells], tmp_path / "there", Resources())
    assert [status for _, status in ended] == ["ok", "ok", "ok"]
    assert_same_cells(cells[1:], tmp_path / "there", alone(cells[1:], own, tmp_path / "alone"))


def refuse(why: str) -> None:
    raise InputError(why)


def ignore_and_wait() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(10_000)


def stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def step_on(seconds: float) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.05)
        heartbeat.beat()
    return "done"


def step_and_hang() -> None:
    step_on(0.3)
    time.sleep(10_000)


def fill(path: str) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", path)


@pytest.mark.parametrize("apart", [(), (0, 1)])
def test_what_takes_too_long_is_ended_though_it_ignores_that_or_is_stopped(
    monkeypatch: pytest.MonkeyPatch, apart: tuple[int, ...]
) -> None:
    monkeypatch.setattr(processes, "_LEAVE_S", 0.5)
    answers = dict(run_calls([ignore_and_wait, stop], 2, apart=apart, timeout=0.5))
    late = "the run made no step for 0.5 s and was ended"
    assert [str(answers[place]) for place in (0, 1)] == [late, late]


@pytest.mark.parametrize("apart", [(), (0, 1)])
def test_what_makes_steps_may_take_any_time_until_it_makes_none(
    monkeypatch: pytest.MonkeyPatch, apart: tuple[int, ...]
) -> None:
    monkeypatch.setattr(processes, "_LEAVE_S", 0.5)
    answers = dict(run_calls([partial(step_on, 5.0), step_and_hang], 2, apart=apart, timeout=4.0))
    assert answers[0] == "done"
    assert str(answers[1]) == "the run made no step for 4 s and was ended"


def test_steps_and_tests_are_signs_of_life(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "EVERY_S", 0.0)
    for stacked in ("true", "false"):
        heard: list[int] = []
        heartbeat.listen(lambda heard=heard: heard.append(1))  # type: ignore[misc]
        scenario = load_scenario(str(tiny), [f"strategy.stacked={stacked}"])
        try:
            outcome = run_cell(Cell(scenario, "tam", 0.1, 0, "report"))
        finally:
            heartbeat.listen(None)
        tests = outcome.eval["trained_on"].nunique()
        assert len(heard) == len(outcome.online) + tests, "one image block a test"


def test_workers_stay_for_the_next_calls_unless_they_died_or_are_of_another_kind() -> None:
    with Workers(2) as workers:
        first = {process for _, process in workers.run([os.getpid] * 3)}
        assert {process for _, process in workers.run([os.getpid] * 3)} <= first
        kept = [worker.process for worker in workers._workers]
        assert {process.pid for process in kept} >= first
        for process in kept:
            process.kill()
            process.join()
        [(_, replacement)] = workers.run([os.getpid])
        assert replacement not in first
        [worker] = workers._workers
        [(_, apart)] = workers.run([os.getpid], apart=(0,))
        assert apart not in {replacement, *(each.process.pid for each in workers._workers)} or not processes.CAN_FORK
        assert not worker.process.is_alive()
        with pytest.raises(InputError, match="full"):
            [*workers.run([partial(refuse, "full")])]
        left = [each.process for each in workers._workers]
    assert not any(process.is_alive() for process in left)


def test_ctrl_c_ends_a_worker_that_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_LEAVE_S", 0.5)
    started: list[processes._Worker] = []

    def look(worker: processes._Worker) -> object:
        started.append(worker)
        if worker.ready:
            raise KeyboardInterrupt
        return real(worker)

    real = processes._Worker.look
    monkeypatch.setattr(processes._Worker, "look", look)
    with pytest.raises(KeyboardInterrupt):
        next(run_calls([stop]))
    assert started[0].process.exitcode is not None


def die(*arguments: object) -> None:
    os._exit(9)


def test_workers_that_cannot_be_started_are_not_started_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_serve", die)
    with pytest.raises(InputError, match="no worker process can be started: the process ended with status 9"):
        next(run_calls([partial(fill, "a")]))


def test_a_script_without_a_guard_is_named(tiny: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from tamcl.engines.local import Local\nfrom tamcl.scenario import load_scenario\n"
        "from tamcl.study import compare\n"
        f"compare(load_scenario({str(tiny)!r}), {str(tmp_path / 'out')!r}, engine=Local(2))\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1
    assert done.stderr.splitlines()[-1].endswith(
        f"InputError: '{script}': calls tamcl when it is imported; train with jobs=1, or "
        'put it below if __name__ == "__main__":'
    )


def test_what_a_script_without_a_guard_trains_itself_is_not_trained_again_by_its_workers(
    tiny: Path, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import tamcl\n"
        f"tamcl.run({str(tiny)!r}, 'tam', lr=0.1, directory={str(tmp_path / 'run')!r})\n"
        f"tamcl.compare({str(tiny)!r}, {str(tmp_path / 'out')!r}, jobs=2)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path)
    assert done.stderr.count("Traceback") == 1, done.stderr  # the folder of the run is there already
    assert f"InputError: '{script}': calls tamcl when it is imported" in done.stderr.splitlines()[-1]


def test_a_full_disk_ends_the_study_in_one_line_with_the_path(
    mixed: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OSError, match=r"No space left on device: '/full/table'"):
        [*run_calls([partial(fill, "/full/table")])]

    def write(*arguments: object, **options: object) -> None:
        raise OSError(errno.EFBIG, "File too large")  # as pyarrow does, without the path

    monkeypatch.setattr("tamcl.training.cell.write_tables", write)
    (cell, *_) = cells_of(mixed, ["sgdm"])
    with pytest.raises(OSError, match="File too large") as caught:
        local._train((cell,), tmp_path, Resources())
    assert caught.value.filename == str(tmp_path / cell.id)


def test_ending_the_process_that_builds_an_arm_ends_the_study_before_it_starts(
    mixed: Scenario, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(own)
    both, _ = add_arm(mixed.only(["sgdm", "Fine"]), "bad=hostile:LeavesWhenBuilt,lr=0.1")
    with pytest.raises(InputError, match="arms.bad: the process ended with status 0"):
        compare(both, tmp_path / "out", engine=Local())
    assert not (tmp_path / "out").exists()


def test_leaving_python_while_an_optimizer_is_built_is_a_refusal(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Leaves:
        def __iter__(self) -> None:
            raise SystemExit(0)

    with pytest.raises(InputError, match="arms.a: sgd refuses .*: SystemExit: 0"):
        make_optimizer("sgd", Leaves(), {"lr": 0.1}, "arms.a")


def test_checks_of_user_code_leave_this_process_alone(
    mixed: Scenario, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(own)
    before = set(sys.modules)
    assert check(mixed.only(["sgdm", "Loss"]), Resources())["name"] == "digits"
    assert "hostile" not in set(sys.modules) - before


def test_limits_of_time_must_be_above_0() -> None:
    for timeout in (0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match=f"timeout = {timeout}: must be above 0, in seconds"):
            Local(timeout=timeout)


def test_user_code_is_whatever_comes_neither_with_tamcl_nor_with_torch() -> None:
    for values in ("mine:A", {"options": {"x": {"base": "a.b:C"}}}, [("tam", "my_torch:Tam")], {"torchy:X": 1}):
        assert is_user_code(values)
    for values in ("tam", "torch.optim:SGD", "tamcl.optim.tam:TAM", "https://a:b", "12:30", 3, None, ["a", {"b": 1.0}]):
        assert not is_user_code(values)


def test_importing_avalanche_leaves_nothing_behind_however_it_ends(tmp_path: Path) -> None:
    home, scratch = tmp_path / "home", tmp_path / "scratch"
    home.mkdir()
    scratch.mkdir()
    places = {"HOME": str(home), "TMPDIR": str(scratch), "MPLCONFIGDIR": matplotlib.get_cachedir()}
    code = "import os, tamcl.avalanche; os.kill(os.getpid(), 9)"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | places, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (-signal.SIGKILL, "")
    assert {path.name for path in home.iterdir()} == set()
    assert {path.name for path in scratch.iterdir() if not path.name.startswith("torchinductor")} == set()


def test_a_worker_that_died_is_no_value() -> None:
    with pytest.raises(InputError, match="check: the process ended with status 1"):
        processes.check_answer("check", WorkerDied("the process ended with status 1"))
