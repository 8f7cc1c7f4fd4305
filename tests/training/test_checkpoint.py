"""A run that is killed and goes on, again and again, has bit by bit the tables of one that was never broken."""

from __future__ import annotations

import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pandas.testing import assert_frame_equal

from tamcl.diagnostics import DIAGNOSTICS, Diagnostic
from tamcl.engines.local import Local
from tamcl.interventions import Intervention
from tamcl.models import MODELS
from tamcl.optim import OPTIMIZERS
from tamcl.registry import lookup
from tamcl.results import OF_CELLS
from tamcl.scenario.load import add_arm, load_scenario
from tamcl.scenario.schema import Scenario
from tamcl.strategies import STRATEGIES, Naive
from tamcl.strategies.state import load_model_state, model_state, optimizer_state
from tamcl.study.compare import compare
from tamcl.training import checkpoint, running
from tamcl.training.cell import CHECKPOINT, Cell, Outcome
from tamcl.training.checkpoint import Checkpoint, Pace
from tamcl.training.logs import Log
from tamcl.training.resources import Resources
from tamcl.training.run import run_cell
from tamcl.training.state_file import to_bytes
from tests.helpers import in_this_process, train_here
from tests.models.test_language import OPTIONS

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


class Untold(Intervention):
    """Says nothing of what changes in it."""


class Careful(torch.optim.SGD):
    """Has of everything that an attribute may be, and a state in other precisions than the parameters."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, lr=lr)
        self.params = [param for group in self.param_groups for param in group["params"]]
        self.first = self.params[0]
        self.generator = torch.Generator().manual_seed(7)
        self.numpy = np.random.default_rng(8)
        self.seen: dict[str, Any] = {"shapes": {tuple(param.shape) for param in self.params}, "norms": []}
        self.mean = torch.zeros((), dtype=torch.float64)

    def step(self, closure: Any = None) -> None:
        noise = 1 + torch.rand((), generator=self.generator).item() + self.numpy.random()
        self.mean = self.mean.lerp(torch.tensor(noise, dtype=torch.float64), 0.1)
        self.seen["norms"] = [*self.seen["norms"][-3:], self.first.detach().norm().item()]
        with torch.no_grad():
            for param in self.params:
                state = self.state[param]
                state.setdefault("exact", torch.zeros_like(param, dtype=torch.float64)).add_(param.grad)
                state["count"] = state.get("count", torch.tensor(0)) + 1
                scale = self.mean.item() / (1 + sum(self.seen["norms"])) / state["count"].item()
                param.sub_(state["exact"].float(), alpha=0.05 * scale)


class Unpicklable(torch.optim.SGD):
    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, lr=lr)
        self.rate = lambda: lr


class ById(torch.optim.SGD):
    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, lr=lr)
        self.updates = {"of": [{id(param) for group in self.param_groups for param in group["params"]}]}


class Sharing(torch.optim.SGD):
    """One counter for all parameters, which each of them would have its own of."""

    def step(self, closure: Any = None) -> None:
        count = torch.zeros(())
        for group in self.param_groups:
            for param in group["params"]:
                self.state[param].setdefault("count", count).add_(1)


class Aliasing(torch.optim.SGD):
    """A second way to the weights, which would lead to copies of them."""

    def step(self, closure: Any = None) -> None:
        self.weights = [param.data for group in self.param_groups for param in group["params"]]


class Forgetful(torch.optim.SGD):
    """Does not load what it saves."""

    def step(self, closure: Any = None) -> None:
        self.param_groups[0]["lr"] *= 0.9
        super().step()

    def load_state_dict(self, state: Any) -> None:
        pass


class Exploding(Noisy):
    def step(self, closure: Any = None) -> Any:
        if self.steps == 14:
            self.param_groups[0]["lr"] = 1e30
        return super().step(closure)


class Slow(torch.optim.SGD):
    def step(self, closure: Any = None) -> Any:
        time.sleep(0.005)
        return super().step(closure)


class Silent(Naive):
    """Does not say what it has."""

    def __init__(self, **common: Any) -> None:
        super().__init__(**common)
        self.losses: list[float] = []


class Telling(Silent):
    """Draws nearer to the loss that it has noted before."""

    def objective(self) -> Any:
        self.losses.append(self.loss.item())
        return self.loss * (1 + sum(self.losses[-3:]))

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"losses": self.losses}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.losses = list(state["losses"])


class Own(Naive):
    """Has its own loop, which tells nobody of its steps."""

    def training_epoch(self, **kwargs: Any) -> None:
        after_step, self.after_step = self.after_step, None
        super().training_epoch(**kwargs)
        self.after_step = after_step


class Killed(BaseException):
    """What ends a run in these tests."""


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was said yet in this process."""
    monkeypatch.setattr(checkpoint, "_SAID", set())


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a checkpoint after every step."""
    monkeypatch.setattr(checkpoint, "EVERY_S", 0.0)
    monkeypatch.setattr(checkpoint, "SHARE", float("inf"))


def make(*settings: str, arm: str = "tam,lr=0.05", scenario: str = "label_flip_digits") -> Cell:
    chosen, label = add_arm(load_scenario(scenario, [*SHORT, *settings]), f"mine={arm}")
    return Cell(chosen, label, chosen.arms[label].lr[0], 0, "report")


@contextmanager
def due_at(step: int) -> Iterator[list[int]]:
    """Let it be time for a checkpoint at one step alone; gives the steps that were asked for."""
    steps: list[int] = []

    def is_due(pace: Pace) -> bool:
        steps.append(len(steps) + 1)
        return steps[-1] == step

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pace, "is_due", property(is_due))
        yield steps


@contextmanager
def killed_after_writing() -> Iterator[None]:
    """End the run, as a kill would, once its checkpoint has its name."""
    write = Checkpoint._write

    def write_and_die(kept: Checkpoint, temporary: Path, state: Any) -> None:
        write(kept, temporary, state)
        assert kept._path is not None
        temporary.rename(kept._path)
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "_write", write_and_die)
        with pytest.raises(Killed):
            yield


def disturb(seed: int) -> None:
    """Let the global generators be others, as in a new process."""
    for each in (torch.manual_seed, np.random.seed, random.seed):
        each(seed)


@contextmanager
def begun() -> Iterator[list[Any]]:
    """Give the runs that are begun."""
    trainings: list[Any] = []
    begin = running.begin

    def begin_and_note(*arguments: Any) -> Any:
        trainings.append(begin(*arguments))
        return trainings[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "begin", begin_and_note)
        yield trainings


def weights(training: Any) -> bytes:
    """All of model and optimizer, to the last bit."""
    return to_bytes([model_state(training.strategy.model), optimizer_state(training.strategy.optimizer)])


def assert_same_tables(first: Any, second: Any) -> None:
    for name in set(OF_CELLS) - {"runs"}:
        assert_frame_equal(getattr(first, name), getattr(second, name), check_exact=True)


STEPS = (1, 3, 2, 6, 1, 4)
"""Of 18, each counted from the one before: the first, in the middle and at the end of experiences."""


def assert_goes_on(cell: Cell, path: Path, steps: Sequence[int] = STEPS) -> Outcome:
    """Kill a run at some steps, and hold the rest of it, and its end, against one that was never broken."""
    with begun() as trainings:
        whole = run_cell(cell)
        for step in steps:
            disturb(step)
            with due_at(step), killed_after_writing():
                run_cell(cell, checkpoint=path)
        disturb(0)
        with due_at(-1) as left:
            outcome = run_cell(cell, checkpoint=path)
    if whole.runs["status"].item() == "ok":
        assert len(left) == trainings[0].strategy.clock.train_iterations - sum(steps)
    assert_same_tables(outcome, whole)
    assert weights(trainings[0]) == weights(trainings[-1])
    assert len(outcome.online) > 0
    timeless = [column for column in whole.runs if column not in ("wall_s", "ms_per_step", "evaluation_s")]
    assert_frame_equal(outcome.runs[timeless], whole.runs[timeless], check_exact=True)
    return outcome


@pytest.mark.parametrize("stacked", ["true", "false"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_goes_on_and_all_that_is_measured_with_it(optimizer: str, stacked: str, tmp_path: Path) -> None:
    at = ",at=9" if optimizer == "switch" else ""
    if optimizer == "sam" and stacked == "true":
        return
    assert_goes_on(
        make(*MEASURED, f"strategy.stacked={stacked}", arm=f"{optimizer},lr=0.01{at}"), tmp_path / "checkpoint"
    )


@pytest.mark.parametrize(
    "intervention",
    [
        '{name = "weight_clipping", kappa = 0.5}',
        '{name = "l2_init", strength = 0.1}',
        '{name = "shrink_and_perturb", sigma = 1}',
        '{name = "shrink_and_perturb", sigma = 0.1, when = "shift"}',
        '{name = "continual_backprop", replacement_rate = 0.2, maturity = 1}',
        '{name = "redo", tau = 0.6, every = 2}',
        '{name = "self_normalized_resets", threshold = 20, every = 3, longest = 60}',
    ],
)
@pytest.mark.parametrize("state", ["keep", "reset_moments", "reset_clock"])
def test_every_intervention_goes_on_whatever_begins_anew(intervention: str, state: str, tmp_path: Path) -> None:
    settings = [f"interventions=[{intervention}]", f"strategy.optimizer_state={state}"]
    assert_goes_on(make(*settings, "stream.epochs=2", arm="adam,lr=0.01"), tmp_path / "checkpoint", (1, 4, 3, 4, 2, 9))


def test_an_intervention_that_does_not_say_what_it_keeps_is_trained_without_checkpoints(
    tmp_path: Path, always: None, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = make('interventions=[{name = "tests.training.test_checkpoint:Untold"}]')
    assert run_cell(cell, checkpoint=tmp_path / "checkpoint").runs["status"].item() == "ok"
    assert not [*tmp_path.iterdir()]
    assert "Untold has no attribute 'kept', which says what changes in it" in capsys.readouterr().err


BOUNDARIES = ["stream.epochs=2", "strategy.optimizer_state=reset", "stream.oracle=restart"]
ANCHORED = ["ewc", "si", "mas"]
"""They refuse to restart: there would be nothing to pull new weights back to."""


@pytest.mark.parametrize(
    ("strategy", "setting"), sorted(set(product(STRATEGIES, BOUNDARIES)) - set(product(ANCHORED, BOUNDARIES[2:])))
)
def test_every_strategy_goes_on(strategy: str, setting: str, tmp_path: Path) -> None:
    alone = ["strategy.stacked=false", "evaluation.every=3", "stream.augmentation=crop_flip"]
    steps = (1, 4, 3, 4, 2, 9, 6) if "epochs" in setting else STEPS
    assert_goes_on(
        make(setting, *alone, f"strategy.name={strategy}", arm="adam_cm,lr=0.01"), tmp_path / "checkpoint", steps
    )


@pytest.mark.parametrize(
    ("settings", "arm"),
    [
        ([], "tests.training.test_checkpoint:Noisy,lr=0.01"),
        (["strategy.stacked=true"], "tests.training.test_checkpoint:Noisy,lr=0.01"),
        (["strategy.optimizer_state=reset"], "tests.training.test_checkpoint:Noisy,lr=0.01"),
        ([], "tests.training.test_checkpoint:Careful,lr=0.01"),
        (["strategy.stacked=true"], "tests.training.test_checkpoint:Careful,lr=0.01"),
        ([], "torch.optim:LBFGS,lr=0.01"),
        (["strategy.optimizer_state=reset"], "tam,lr=0.05,damping=shuffled"),  # takes its seed from torch's generator
        ([], "sam,lr=0.05,base=tam"),
        ([], "sam,lr=0.05,base=tests.training.test_checkpoint:Noisy"),
        ([], "lookahead,lr=0.01,base=adam_cm"),
        (["strategy.schedule=cosine", "strategy.clip=0.5"], "tam,lr=0.05"),
        (['strategy.schedule={ name = "step", over = "stream" }', "strategy.stacked=false"], "switch,lr=0.05,at=9"),
        (["strategy.schedule=cosine"], 'adamw,lr=0.01,groups=[{match="bias",weight_decay=0.5,lr_scale=0.3}]'),
        ([], 'switch,lr=0.05,at=9,granularity=global,groups=[{match="bias",weight_decay=0.5}]'),
        ([], "tests.optim.test_groups:NamedSGD,lr=0.05,slow=bias"),
    ],
)
def test_what_draws_or_wraps_or_is_somebodys_own_goes_on(settings: list[str], arm: str, tmp_path: Path) -> None:
    assert_goes_on(make(*settings, arm=arm), tmp_path / "checkpoint")


def test_image_classification_goes_on(tmp_path: Path) -> None:
    """At and between the ends of epochs, each of which is followed by a test."""
    short = ["stream.experiences=1", "stream.validation=30", "stream.epochs=9", "diagnostics.every=2"]
    for way in ("true", "false"):
        settings = [*short, f"strategy.stacked={way}"]
        assert_goes_on(make(*settings, arm="tam,lr=0.05", scenario="classification_digits"), tmp_path / way)


def test_rows_over_several_mini_batches_stay_whole(tmp_path: Path) -> None:
    assert_goes_on(make("evaluation.batches=4", "strategy.stacked=false"), tmp_path / "alone")
    assert_goes_on(make("evaluation.batches=4"), tmp_path / "stacked")


def test_blocks_of_mini_batches_that_are_made_ready_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tamcl.strategies.loader._BLOCK_BYTES", 4 * 64 * 10 * 4)  # four mini-batches
    assert_goes_on(make("stream.augmentation=crop_flip"), tmp_path / "checkpoint")


def test_strategies_of_ones_own_that_say_what_they_have_go_on(tmp_path: Path) -> None:
    cell = make("strategy.name=tests.training.test_checkpoint:Telling")
    assert_goes_on(cell, tmp_path / "checkpoint")


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("Unpicklable", "is of the type builtins.function, which no file can hold"),
        ("ById", "ById keeps addresses of parameters"),
        ("Sharing", "it keeps tensors that share memory"),
        ("Aliasing", "it keeps tensors that share memory"),
        ("Forgetful", "another one that takes its state over has another state"),
        ("Silent", "Silent has no state_dict and load_state_dict of its own"),
        ("Own", "its steps are not told of"),
    ],
)
def test_what_would_not_be_found_again_is_trained_without_checkpoints_which_is_said_once(
    what: str, why: str, tmp_path: Path, always: None, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"tests.training.test_checkpoint:{what}"
    is_strategy = issubclass(globals()[what], Naive)
    cell = make(f"strategy.name={name}") if is_strategy else make(arm=f"{name},lr=0.01")
    for _ in range(2):
        assert run_cell(cell, checkpoint=tmp_path / "checkpoint").runs["status"].item() == "ok"
    assert not [*tmp_path.iterdir()]
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("tamcl: runs of ")
    assert "are trained without checkpoints: " in said
    assert why in said


def test_a_full_disk_is_no_reason_to_stop(tmp_path: Path, always: None, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "checkpoint").mkdir()  # in whose place no file can be put
    assert run_cell(make(), checkpoint=tmp_path / "checkpoint").runs["status"].item() == "ok"
    assert "trained without" not in capsys.readouterr().err


@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_what_its_state_says(model: str) -> None:
    is_text = model in OPTIONS
    images = torch.randint(9, (2, 7)) if is_text else torch.randn(2, 3, 32, 32)
    given = {"tokens": 9} if is_text else {}
    first, second = (lookup(MODELS, model)(tuple(images.shape[1:]), **given) for _ in range(2))
    first.train()(images)  # batch norms note what they saw
    assert to_bytes(model_state(first)) != to_bytes(model_state(second))
    load_model_state(second, model_state(first))
    assert to_bytes(model_state(first)) == to_bytes(model_state(second))
    assert torch.equal(first.eval()(images), second.eval()(images))


def test_a_model_keeps_what_is_no_parameter() -> None:
    class Counting(torch.nn.Linear):
        def __init__(self) -> None:
            super().__init__(2, 2)
            self.calls = 0
            self.register_buffer("mean", torch.zeros(2), persistent=False)

    first, second = Counting(), Counting()
    first.calls, first.mean[:] = 3, torch.tensor([1.0, 2.0])
    load_model_state(second, model_state(first))
    assert second.calls == 3
    assert second.mean.tolist() == [1.0, 2.0]
    first.hidden = torch.zeros(2)
    with pytest.raises(TypeError, match=r"Counting\.hidden holds a tensor that is no buffer"):
        model_state(first)


def test_tasks_with_heads_of_their_own_go_on(tmp_path: Path) -> None:
    settings = ["stream.setting=task_incremental", "model.head=multi", "stream.experiences=5"]
    for name, more in {"lwf": [], "naive": [], "alone": ["strategy.stacked=false"]}.items():
        strategy = "lwf" if name == "lwf" else "naive"
        cell = make(f"strategy.name={strategy}", *settings, *more, scenario="task_shift_digits")
        assert_goes_on(cell, tmp_path / name, (1, 40, 3))


def test_a_number_that_is_learnt_goes_on(tmp_path: Path) -> None:
    scenario = load_scenario("slowly_changing_regression", ["stream.experiences=2", "stream.samples=300"])
    for number, arm in enumerate(["sgd", next(arm for arm in scenario.arms if arm != "sgd")]):
        assert_goes_on(Cell(scenario, arm, 0.01, 0, "report"), tmp_path / str(number), (130, 1, 150))


@pytest.mark.parametrize(("scenario", "arm"), [("language_domains", "adamw_cm"), ("language_characters", "tam")])
def test_a_language_model_goes_on(scenario: str, arm: str, tmp_path: Path) -> None:
    short = ["stream.experiences=2", "stream.samples=9", "stream.batch_size=2", "evaluation.samples=5"]
    cell = Cell(load_scenario(scenario, short), arm, 0.01, 0, "report")
    assert_goes_on(cell, tmp_path / "run", (7, 1, 4))


def test_a_run_that_diverges_after_it_went_on_is_the_same(tmp_path: Path) -> None:
    cell = make("strategy.stacked=true", arm="tests.training.test_checkpoint:Exploding,lr=0.01")
    for settings in ([], ["strategy.stacked=true"]):
        cell = make(*settings, arm="tests.training.test_checkpoint:Exploding,lr=0.01")
        outcome = assert_goes_on(cell, tmp_path / f"{cell.is_stacked}", (3, 9))
        assert outcome.runs["status"].item() == "diverged"


@pytest.mark.parametrize("call", [1, 2, 4, 5])
def test_a_run_that_is_killed_while_it_is_tested_goes_on_from_before(call: int, tmp_path: Path) -> None:
    """Inside an experience, or between two; the tests that it had made since are made again, and counted once."""
    cell, calls = make("evaluation.every=4", "strategy.stacked=false"), 0
    test = Naive.test

    def test_or_die(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            raise Killed
        return test(*arguments)

    path = tmp_path / "checkpoint"
    with due_at(3 if call < 5 else 6), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Naive, "test", test_or_die)
        with pytest.raises(Killed):
            run_cell(cell, checkpoint=path)
    assert path.exists() == (call > 2)  # after the test of the new model, and that after the first step
    assert_same_tables(run_cell(cell, checkpoint=path), run_cell(cell))


def test_times_are_those_of_the_whole_run_without_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Checkpoint._write
    for stacked in ("true", "false"):
        slow = "tests.training.test_checkpoint:Slow,lr=0.01"
        cell, path = make(*MEASURED, f"strategy.stacked={stacked}", arm=slow), tmp_path / stacked
        for step in (5, 8):
            with due_at(step), killed_after_writing():
                run_cell(cell, checkpoint=path)
        with due_at(2), monkeypatch.context() as patch:
            patch.setattr(Checkpoint, "_write", lambda *arguments: time.sleep(1) or write(*arguments))
            runs = run_cell(cell, checkpoint=path).runs
        assert 5 <= runs["ms_per_step"].item() < 50, "18 steps of 5 ms, and none of the second"
        assert runs["wall_s"].item() >= 1 + 0.005 * 18 + runs["evaluation_s"].item()


@pytest.fixture
def stopped(tmp_path: Path) -> tuple[Cell, Path]:
    """A cell and a checkpoint of its end."""
    cell = make()
    path = tmp_path / "checkpoint"
    with due_at(17):
        run_cell(cell, checkpoint=path)
    return cell, path


def starts_anew(cell: Cell, path: Path) -> bool:
    whole = run_cell(cell)
    with due_at(-1) as steps:
        assert_same_tables(run_cell(cell, checkpoint=path), whole)
    return len(steps) > 1


def test_a_damaged_file_counts_as_none_which_is_said(
    stopped: tuple[Cell, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    cell, path = stopped
    whole = path.read_bytes()
    assert not starts_anew(cell, path)
    for damaged in (b"", b"damaged", whole[:200], whole[: len(whole) // 2], whole[:-10]):
        path.write_bytes(damaged)
        assert starts_anew(cell, path)
        assert capsys.readouterr().err == (
            f"tamcl: '{path}' is not used, and the run trained anew: it is damaged, or of another version\n"
        )


def test_a_flipped_bit_is_damage_wherever_it_is(tmp_path: Path) -> None:
    kept = Checkpoint(tmp_path / "file", {"seed": 1})
    state = {"weights": torch.arange(50.0), "position": 3}
    kept._write(tmp_path / "file", state)
    assert kept.load()["position"] == 3
    whole = (tmp_path / "file").read_bytes()
    for turn in range(100):
        content = bytearray(whole)
        content[turn * (len(whole) - 1) // 99] ^= 1 << turn % 8
        (tmp_path / "file").write_bytes(content)
        assert kept.load() is None


class Runs:
    """What runs code where a pickle is read."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("ran"),)


def test_a_pickle_as_older_versions_wrote_it_is_not_read(
    stopped: tuple[Cell, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cell, path = stopped
    monkeypatch.chdir(tmp_path)
    with path.open("w+b") as file:
        checkpoint.write_after_digest(file)
        pickle.dump(Runs(), file)
        checkpoint.write_digest(file)
    assert starts_anew(cell, path)
    assert not (tmp_path / "ran").exists()
    assert "is not used, and the run trained anew: it is of another version, or no" in capsys.readouterr().err
    path.write_bytes(pickle.dumps(Runs()))
    assert starts_anew(cell, path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("change", ["position", "strategy", "clock", "shape", "rows", "nothing"])
def test_a_whole_file_that_does_not_fit_counts_as_none(
    change: str, stopped: tuple[Cell, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """As nobody but an attacker would write it: with a digest, and the right mark."""
    cell, path = stopped
    kept = Checkpoint(path, running._mark(cell, running.lay_ground(cell.scenario, Resources(), 0).digest, "cpu"))
    state = kept.load()
    if change == "position":
        state["position"] = 99
    elif change == "strategy":
        del state["strategy"]["model"]
    elif change == "clock":
        state["strategy"]["clock"]["train_iterations"] = "many"
    elif change == "shape":
        state["strategy"]["model"]["saved"]["head.linear.bias"] = torch.zeros(3)
    elif change == "rows":
        state["strategy"]["plugins"][0] = ["rows"]
    kept._write(path, state)
    capsys.readouterr()
    assert starts_anew(cell, path) == (change != "nothing")
    assert ("is not used" in capsys.readouterr().err) == (change != "nothing")


def test_a_file_of_another_run_or_another_version_counts_as_none(
    stopped: tuple[Cell, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, path = stopped
    whole = path.read_bytes()
    for other in (make(arm="tam,lr=0.1"), make("stream.fraction=0.4"), make(*MEASURED[1:])):
        path.write_bytes(whole)
        assert starts_anew(other, path)
    path.write_bytes(whole)
    monkeypatch.setattr("tamcl.training.running.versions", lambda: {"torch": "0.1"})
    assert starts_anew(cell, path)


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


def test_when_it_is_time_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now, cost, written = [0.0], 0.1, []
    monkeypatch.setattr(checkpoint.time, "perf_counter", lambda: now[0])
    pace = Pace()

    def look(*seconds: float) -> None:
        for now[0] in seconds:
            if pace.is_due:
                written.append(now[0])
                with pace.measured():
                    now[0] += cost

    look(10, 59.9, 60, 90, 120, 121)
    assert written == [60, 121]
    cost = 2.0
    look(182)
    look(250, 283.9, 284)  # 2 % of 100 seconds are the 2 that it took
    assert written[2:] == [182, 284]
    assert pace.spent == pytest.approx(4.2)


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
    assert trained() == [*range(20, 33)]
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
    assert trained() == [1, 2, *range(1, 21)]  # two steps were tried before
    assert len([*tmp_path.glob(f"out/cells/mortal*/{CHECKPOINT}")]) == 1
    found = compare(mortal, "out", engine=Local())
    assert trained() == [1, 2, *range(20, 33)]
    assert not [*tmp_path.rglob(CHECKPOINT)]
    monkeypatch.setattr("tamcl.engines.local.Local", in_this_process)
    assert_same_tables(found, compare(mortal, "whole"))
