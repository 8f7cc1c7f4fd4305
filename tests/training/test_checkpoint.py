"""A run that is killed and goes on, again and again, has bit by bit the tables of one that was never broken."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pandas.testing import assert_frame_equal

from tamcl.diagnostics import DIAGNOSTICS, Diagnostic
from tamcl.engines.local import Local
from tamcl.optim import OPTIMIZERS
from tamcl.results import OF_CELLS
from tamcl.scenario.load import add_arm, load_scenario
from tamcl.scenario.schema import Scenario
from tamcl.strategies import STRATEGIES
from tamcl.streams.benchmark import build_benchmark
from tamcl.study.compare import compare
from tamcl.training import checkpoint
from tamcl.training.cell import CHECKPOINT, Cell, Outcome
from tamcl.training.checkpoint import Checkpoint
from tamcl.training.logs import Log
from tamcl.training.resources import Resources
from tamcl.training.run import run_cell
from tests.helpers import in_this_process, noise_data, noise_segments, train_here

SHORT = ["stream.experiences=3", "stream.samples=60", "model.hidden=[8]", "evaluation.samples=20"]
NAMES = str([*DIAGNOSTICS, "tests.training.test_checkpoint:Counting"]).replace("'", '"')
MEASURED = ["evaluation.every=3", "diagnostics.every=4", f"diagnostics.names={NAMES}"]


class Counting(Diagnostic):
    """Somebody's own, with a state of its own."""

    def __init__(self) -> None:
        self.updates = 0

    def observe(self, strategy: Any) -> None:
        self.updates += 1

    def measure(self, update: Any) -> Any:
        return [("", self.updates)]


class Noisy(torch.optim.SGD):
    """Draws from the global generators, and has a counter that torch would leave out."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, lr=lr, momentum=0.9)
        self.steps = 0

    def step(self, closure: Any = None) -> Any:
        self.steps += 1
        scale = 1 + random.random() + np.random.rand() / self.steps  # noqa: NPY002
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    param.grad.add_(torch.randn_like(param), alpha=0.01 * scale)
        return super().step(closure)


class Unpicklable(torch.optim.SGD):
    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, lr=lr)
        self.rate = lambda: lr


class ById(torch.optim.SGD):
    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, lr=lr)
        self.updates = {id(param): 0 for group in self.param_groups for param in group["params"]}


class Exploding(Noisy):
    def step(self, closure: Any = None) -> Any:
        if self.steps == 14:
            self.param_groups[0]["lr"] = 1e30
        return super().step(closure)


class Slow(torch.optim.SGD):
    def step(self, closure: Any = None) -> Any:
        time.sleep(0.005)
        return super().step(closure)


class Killed(BaseException):
    """What ends a run in these tests."""


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a checkpoint after every experience."""
    monkeypatch.setattr(checkpoint, "EVERY_S", 0.0)
    monkeypatch.setattr(checkpoint, "SHARE", float("inf"))


def make(*settings: str, arm: str = "tam,lr=0.05", scenario: str = "label_flip_digits") -> Cell:
    chosen, label = add_arm(load_scenario(scenario, [*SHORT, *settings]), f"mine={arm}")
    return Cell(chosen, label, chosen.arms[label].lr[0], 0, "report")


def broken(cell: Cell, path: Path) -> tuple[Outcome, int]:
    """Train a cell that is killed after every checkpoint, and say how often that was."""
    write = Checkpoint._write

    def write_and_die(kept: Checkpoint, temporary: Path, training: Any) -> None:
        write(kept, temporary, training)
        temporary.rename(path)
        raise Killed

    kills = 0
    while True:
        for seed in (torch.manual_seed, np.random.seed, random.seed):  # in a new process they are others
            seed(kills)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Checkpoint, "_write", write_and_die)
            try:
                return run_cell(cell, checkpoint=path), kills
            except Killed:
                kills += 1


def assert_same_tables(first: Any, second: Any) -> None:
    for name in set(OF_CELLS) - {"runs"}:
        assert_frame_equal(getattr(first, name), getattr(second, name), check_exact=True)


def assert_goes_on(cell: Cell, path: Path) -> None:
    outcome, kills = broken(cell, path)
    assert kills == 1 + cell.scenario.stream.experiences  # before the first, and after each
    whole = run_cell(cell)
    assert_same_tables(outcome, whole)
    assert len(outcome.online) > 0
    timeless = [column for column in whole.runs if column not in ("wall_s", "ms_per_step", "evaluation_s")]
    assert_frame_equal(outcome.runs[timeless], whole.runs[timeless])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_goes_on_and_all_that_is_measured_with_it(optimizer: str, tmp_path: Path, always: None) -> None:
    at = ",at=9" if optimizer == "switch" else ""
    assert_goes_on(make(*MEASURED, arm=f"{optimizer},lr=0.01{at}"), tmp_path / "checkpoint")


BOUNDARIES = ["stream.epochs=2", "strategy.optimizer_state=reset", "stream.oracle=restart"]
ANCHORED = ["ewc", "si", "mas"]
"""They refuse to restart: there would be nothing to pull new weights back to."""


@pytest.mark.parametrize(
    ("strategy", "setting"), sorted(set(product(STRATEGIES, BOUNDARIES)) - set(product(ANCHORED, BOUNDARIES[2:])))
)
def test_every_strategy_goes_on(strategy: str, setting: str, tmp_path: Path, always: None) -> None:
    cell = make(setting, f"strategy.name={strategy}", "evaluation.every=3", arm="adam_cm,lr=0.01")
    assert_goes_on(cell, tmp_path / "checkpoint")


@pytest.mark.parametrize(
    ("settings", "arm"),
    [
        ([], "tests.training.test_checkpoint:Noisy,lr=0.01"),
        (["strategy.optimizer_state=reset"], "tests.training.test_checkpoint:Noisy,lr=0.01"),
        (["strategy.optimizer_state=reset"], "tam,lr=0.05,damping=shuffled"),  # takes its seed from torch's generator
        ([], "sam,lr=0.05,base=tam"),
        ([], "lookahead,lr=0.01,base=adam_cm"),
    ],
)
def test_what_draws_or_wraps_goes_on(settings: list[str], arm: str, tmp_path: Path, always: None) -> None:
    assert_goes_on(make(*settings, arm=arm), tmp_path / "checkpoint")


@pytest.mark.parametrize("optimizer", ["Unpicklable", "ById"])
def test_what_would_not_be_found_again_is_trained_without_checkpoints_and_without_a_word(
    optimizer: str, tmp_path: Path, always: None
) -> None:
    outcome = run_cell(
        make(arm=f"tests.training.test_checkpoint:{optimizer},lr=0.01"), checkpoint=tmp_path / "checkpoint"
    )
    assert outcome.runs["status"].item() == "ok"
    assert not [*tmp_path.iterdir()]


def test_tasks_with_heads_of_their_own_go_on(tmp_path: Path, always: None) -> None:
    settings = ["strategy.name=lwf", "stream.setting=task_incremental", "model.head=multi", "stream.experiences=5"]
    assert_goes_on(make(*settings, scenario="task_shift_digits"), tmp_path / "checkpoint")


def test_a_run_that_diverges_after_it_went_on_is_the_same(tmp_path: Path, always: None) -> None:
    cell = make(arm="tests.training.test_checkpoint:Exploding,lr=0.01")
    outcome, kills = broken(cell, tmp_path / "checkpoint")
    assert kills == 3
    assert outcome.runs["status"].item() == "diverged"
    assert_same_tables(outcome, run_cell(cell))


def test_times_are_those_of_the_whole_run(tmp_path: Path, always: None) -> None:
    outcome, _ = broken(make(*MEASURED, arm="tests.training.test_checkpoint:Slow,lr=0.01"), tmp_path / "checkpoint")
    assert outcome.runs["ms_per_step"].item() >= 5
    assert outcome.runs["wall_s"].item() >= 0.005 * len(outcome.online) + outcome.runs["evaluation_s"].item()


@pytest.fixture
def stopped(tmp_path: Path, always: None) -> tuple[Cell, Path]:
    """A cell and the checkpoint of its end."""
    cell = make()
    path = tmp_path / "checkpoint"
    run_cell(cell, checkpoint=path)
    return cell, path


def starts_anew(cell: Cell, path: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    begun = []
    begin = sys.modules["tamcl.training.running"].begin
    with monkeypatch.context() as patch:
        patch.setattr("tamcl.training.running.begin", lambda *arguments: begun.append(1) or begin(*arguments))
        assert_same_tables(run_cell(cell, checkpoint=path), run_cell(cell))
    return len(begun) == 2  # one of them that of the run without a checkpoint


def test_a_damaged_file_counts_as_none(stopped: tuple[Cell, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    cell, path = stopped
    whole = path.read_bytes()
    assert not starts_anew(cell, path, monkeypatch)
    for damaged in (b"", b"damaged", whole[:200], whole[: len(whole) // 2], whole[:-10]):
        path.write_bytes(damaged)
        assert starts_anew(cell, path, monkeypatch)


def test_a_flipped_bit_is_damage_wherever_it_is(tmp_path: Path, always: None) -> None:
    data = noise_data()
    kept = Checkpoint(tmp_path / "file", {"seed": 1}, build_benchmark(data, noise_segments(data)))
    kept.save({"weights": torch.arange(50.0), "position": 3})
    assert kept.load()["position"] == 3
    whole = (tmp_path / "file").read_bytes()
    for turn in range(100):
        content = bytearray(whole)
        content[turn * (len(whole) - 1) // 99] ^= 1 << turn % 8
        (tmp_path / "file").write_bytes(content)
        assert kept.load() is None


def test_a_file_of_another_run_or_another_version_counts_as_none(
    stopped: tuple[Cell, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, path = stopped
    whole = path.read_bytes()
    for other in (make(arm="tam,lr=0.1"), make("stream.fraction=0.4"), make(*MEASURED[1:])):
        path.write_bytes(whole)
        assert starts_anew(other, path, monkeypatch)
    path.write_bytes(whole)
    monkeypatch.setattr("tamcl.training.running.versions", lambda: {"torch": "0.1"})
    assert starts_anew(cell, path, monkeypatch)


def test_a_run_that_is_logged_starts_anew_and_writes_none(stopped: tuple[Cell, Path], tmp_path: Path) -> None:
    cell, path = stopped
    before = path.read_bytes()
    run_cell(cell, Resources(log=Log("csv", tmp_path / "logs")), path)
    assert path.read_bytes() == before
    log = (tmp_path / "logs" / cell.id / "training_results.csv").read_text()
    assert log.count("\n") == 1 + 3


def test_a_short_run_writes_none(tmp_path: Path) -> None:
    run_cell(make(), checkpoint=tmp_path / "below" / "checkpoint")
    assert not [*tmp_path.iterdir()]


def test_when_it_is_time_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, cost, written = [0.0], [0.1], []

    def write(kept: Checkpoint, path: Path, training: Any) -> None:
        written.append(now[0])
        now[0] += cost[0]
        path.touch()

    monkeypatch.setattr(checkpoint.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(Checkpoint, "_write", write)
    data = noise_data()
    kept = Checkpoint(tmp_path / "checkpoint", {}, build_benchmark(data, noise_segments(data)))
    for second in (10, 29.9, 30, 45, 60, 61):
        now[0] = second
        kept.save("run")
    assert written == [30, 61]
    cost[0] = 2.0  # so that the next is 100 seconds later
    for second in (92, 150, 193.9, 194):
        now[0] = second
        kept.save("run")
    assert written[2:] == [92, 194]


def test_an_experience_is_its_place_in_the_benchmark(tmp_path: Path, always: None) -> None:
    data = noise_data(samples=5000)
    first, second = (build_benchmark(data, noise_segments(data)) for _ in range(2))
    Checkpoint(tmp_path / "file", {}, first).save([first.train_stream[1], first.test_stream[0], first.test_stream])
    assert (tmp_path / "file").stat().st_size < 20_000  # most of it the states of the generators
    train, test, stream = Checkpoint(tmp_path / "file", {}, second).load()
    assert stream is second.test_stream
    assert train.images is second.train_stream[1].images
    assert test.images is second.test_stream[0].images
    assert (train.current_experience, test.current_experience) == (1, 0)


OWN = '''
"""An optimizer that tells of its steps and dies at one of them, if files beside it say so."""
import os, signal, time
from pathlib import Path

import torch
from tamcl.training import checkpoint

checkpoint.EVERY_S, checkpoint.SHARE = 0.0, float("inf")
HERE = Path(__file__).parent

class Mortal(torch.optim.SGD):
    def __init__(self, params, lr):
        super().__init__(params, lr=lr, momentum=0.9)
        self.steps = 0

    def step(self, closure=None):
        self.steps += 1
        with (HERE / "steps.txt").open("a") as file:
            file.write(f"{self.steps}\\n")
        if self.steps == 20 and (HERE / "dies").exists():
            (HERE / "dies").unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        while self.steps == 20 and (HERE / "hangs").exists():
            time.sleep(0.05)
        return super().step(closure)
'''


@pytest.fixture
def mortal(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Scenario:
    """One run of 4 experiences of 8 steps, by an optimizer in the present folder."""
    (tmp_path / "mortal.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    scenario = load_scenario(str(tiny), ["stream.experiences=4", "protocol.seeds=1", "arms.sgdm.lr=[0.1]"], ["sgdm"])
    return add_arm(scenario, "mortal=mortal:Mortal,lr=0.1")[0]


def trained() -> list[int]:
    """The steps that were made, and forget them."""
    path = Path("steps.txt")
    steps = [int(line) for line in path.read_text().split()]
    path.unlink()
    return steps


def train_apart(cell: Cell, directory: Path) -> str:
    """How a cell ended that was trained in a process of its own."""
    [(_, status)] = Local().train([(cell,)], directory, Resources())
    return status


def test_a_run_whose_worker_was_killed_goes_on_when_it_is_tried_again(mortal: Scenario, tmp_path: Path) -> None:
    cell = Cell(mortal, "mortal", 0.1, 0, "report")
    place = tmp_path / "cells" / cell.id
    (tmp_path / "dies").touch()
    assert train_apart(cell, tmp_path / "cells") == "failed"
    assert trained() == [*range(1, 21)]
    assert {path.name for path in place.iterdir()} == {"online.parquet", "eval.parquet", "runs.parquet", CHECKPOINT}
    assert train_apart(cell, tmp_path / "cells") == "ok"
    assert trained() == [*range(17, 33)]
    assert {path.name for path in place.iterdir()} == {"online.parquet", "eval.parquet", "runs.parquet"}
    train_here([cell], tmp_path / "whole")
    for name in ("online", "eval"):
        first, second = (tmp_path / folder / cell.id / f"{name}.parquet" for folder in ("cells", "whole"))
        assert first.read_bytes() == second.read_bytes()


def test_a_study_that_was_killed_in_the_middle_of_a_run_goes_on_there(
    mortal: Scenario, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ["--set=stream.experiences=4", "--set=arms.sgdm.lr=[0.1]", "--seeds=1", "--arms=sgdm"]
    settings += ["--arm=mortal=mortal:Mortal,lr=0.1"]
    command = [sys.executable, "-m", "tamcl.cli", "compare", str(tiny), *settings, "--out", "out"]
    (tmp_path / "hangs").touch()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    while not (tmp_path / "steps.txt").exists() or "20\n" not in (tmp_path / "steps.txt").read_text():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    (tmp_path / "hangs").unlink()
    assert trained() == [*range(1, 21)]
    assert len([*tmp_path.glob(f"out/cells/mortal*/{CHECKPOINT}")]) == 1
    found = compare(mortal, "out")
    assert trained() == [*range(17, 33)]
    assert not [*tmp_path.rglob(CHECKPOINT)]
    monkeypatch.setattr("tamcl.engines.local.Local", in_this_process)
    assert_same_tables(found, compare(mortal, "whole"))
