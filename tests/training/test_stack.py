"""Cells trained stacked: the numbers of single runs, and of every grouping."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch.optim import SGD

from tamcl.errors import InputError
from tamcl.scenario.load import load_scenario, parse
from tamcl.scenario.schema import Scenario
from tamcl.scenario.stacking import why_alone
from tamcl.training import running
from tamcl.training.cell import Cell, Outcome
from tamcl.training.checkpoint import Checkpoint, Pace
from tamcl.training.resources import Resources
from tamcl.training.run import run_cell, run_cells

DIGITS = ["stream.experiences=3", "evaluation.samples=100"]
MEASURED = ["online", "eval", "continual", "diagnostics"]


def scenario_of(*settings: str, name: str = "label_flip_digits", **arms: dict[str, Any]) -> Scenario:
    scenario = load_scenario(name, [*DIGITS, *settings])
    if not arms:
        return scenario
    values = scenario.dump() | {"arms": {arm: {"lr": [0.01]} | options for arm, options in arms.items()}}
    values["protocol"] |= {"pairs": []}
    return parse(values)


def alone(scenario: Scenario) -> Scenario:
    """The same scenario, run by run."""
    values = scenario.dump()
    values["strategy"]["stacked"] = False
    return parse(values)


def run_all(cells: list[Cell]) -> list[Outcome]:
    return run_cells(tuple(cells), Resources())


def assert_equal(one: Outcome, other: Outcome) -> None:
    """To the last bit."""
    for name in MEASURED:
        left, right = (each.tables[name].reset_index(drop=True) for each in (one, other))
        pd.testing.assert_frame_equal(left, right, check_exact=True)
    columns = ["status", "error", "fingerprint", "final_weights"]
    assert one.runs[columns].equals(other.runs[columns])


def assert_close(one: Outcome, other: Outcome) -> None:
    """To 1e-10, and the answers the same."""
    assert one.runs["error"].item() == other.runs["error"].item()
    for name in MEASURED:
        left, right = (each.tables[name].reset_index(drop=True) for each in (one, other))
        pd.testing.assert_frame_equal(left, right, check_exact=False, rtol=1e-10, atol=1e-10)


ARMS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 1e-3},
    "adam": {"optimizer": "adam", "lr": [0.002]},
    "adamw": {"optimizer": "adamw", "lr": [0.002]},
    "rmsprop": {"optimizer": "rmsprop", "lr": [0.001]},
    "tam": {"optimizer": "tam"},
    "tam_null": {"optimizer": "tam", "damping": 0.5},
    "tam_shuffled": {"optimizer": "tam", "damping": "shuffled"},
    "adatam": {"optimizer": "adatam", "lr": [0.001]},
    "adatamw": {"optimizer": "adatamw", "lr": [0.001]},
    "adam_cm": {"optimizer": "adam_cm", "lr": [0.001]},
    "adamw_cm": {"optimizer": "adamw_cm", "lr": [0.001], "replacement": "random"},
    "sgd_cg": {"optimizer": "sgd_cg", "lr": [0.001]},
    "hgm": {"optimizer": "hgm", "lr": [0.002]},
    "hgm_tensor": {"optimizer": "hgm", "lr": [0.002], "granularity": "tensor"},
    "adam_rel": {"optimizer": "adam_rel", "lr": [0.002], "weight_decay": 0.01},
    "lion": {"optimizer": "lion", "lr": [0.0005]},
    "ademamix": {"optimizer": "ademamix", "lr": [0.001], "warmup": 100},
    "muon": {"optimizer": "muon", "lr": [0.002], "weight_decay": 0.01},
    "schedule_free": {"optimizer": "schedule_free", "lr": [0.002], "weight_decay": 0.01},
    "upgd": {"optimizer": "upgd", "lr": [0.02], "sigma": 0.01, "weight_decay": 0.01},
    "lookahead": {"optimizer": "lookahead", "base": "adam", "lr": [0.002]},
    "cautious": {"optimizer": "cautious", "base": "adamw", "lr": [0.002]},
}

SETTINGS = {
    "kept": [],
    "reset": ["strategy.optimizer_state=reset"],
    "several epochs": ["stream.epochs=2"],
    "restarted oracle": ["stream.oracle=restart"],
    "tests inside experiences": ["evaluation.every=20", "evaluation.on=seen"],
    "tests after epochs": ["evaluation.every=epoch", "stream.epochs=2", "stream.samples=45"],
    "rows of several mini-batches": ["evaluation.batches=7", "stream.batch_size=4"],
    "rows over the end of a pass": ["stream.epochs=2", "evaluation.batches=7"],
    "augmented": ["stream.augmentation=crop_flip"],
    "scheduled and clipped": ["strategy.schedule=cosine", "strategy.clip=0.5", "stream.epochs=2"],
}


@pytest.mark.parametrize("arm", ARMS)
def test_is_the_single_run_in_double_precision(float64: None, arm: str) -> None:
    scenario = scenario_of(**{arm: ARMS[arm]})
    cells = [Cell(scenario, arm, ARMS[arm].get("lr", [0.01])[0] * factor, seed, "report") for factor, seed in PAIRS]
    assert all(cell.is_stacked for cell in cells)
    single = [run_cell(Cell(alone(scenario), arm, cell.lr, cell.seed, "report")) for cell in cells]
    for stacked, one in zip(run_all(cells), single, strict=True):
        assert len(stacked.online) > 300
        assert_close(stacked, one)


PAIRS = [(1.0, 0), (0.5, 0), (1.0, 1)]


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_is_the_single_run_whatever_the_scenario_asks_for(float64: None, settings: list[str]) -> None:
    scenario = scenario_of(*settings)
    cells = [Cell(scenario, "tam", 0.01 * factor, seed, "report") for factor, seed in PAIRS]
    single = [run_cell(Cell(alone(scenario), "tam", cell.lr, cell.seed, "report")) for cell in cells]
    for stacked, one in zip(run_all(cells), single, strict=True):
        assert_close(stacked, one)


INTERVENTIONS = {
    "weight_clipping": '[{name = "weight_clipping", kappa = 0.5}]',
    "l2_init": '[{name = "l2_init", strength = 0.1}]',
    "shrink, perturb and clip": '[{name = "shrink_and_perturb", sigma = 1}, {name = "weight_clipping"}]',
    "shrink and perturb at shifts": '[{name = "shrink_and_perturb", decay = 0.5, when = "shift"}]',
}


@pytest.mark.parametrize("interventions", INTERVENTIONS.values(), ids=INTERVENTIONS)
@pytest.mark.parametrize("state", ["keep", "reset", "reset_moments", "reset_clock"])
def test_is_the_single_run_with_interventions_and_whatever_begins_anew(
    float64: None, interventions: str, state: str
) -> None:
    scenario = scenario_of(f"interventions={interventions}", f"strategy.optimizer_state={state}", adam=ARMS["adam"])
    cells = [Cell(scenario, "adam", 0.002 * factor, seed, "report") for factor, seed in PAIRS]
    assert all(cell.is_stacked for cell in cells)
    single = [run_cell(Cell(alone(scenario), "adam", cell.lr, cell.seed, "report")) for cell in cells]
    plain = run_cell(Cell(scenario_of(adam=ARMS["adam"]), "adam", 0.002, 0, "report"))
    assert not single[0].online["loss"].equals(plain.online["loss"]), "or it does nothing"
    for stacked, one in zip(run_all(cells), single, strict=True):
        assert_close(stacked, one)


@pytest.mark.parametrize("arm", ["sgd", "tam", "adam_cm", "muon"])
def test_moments_begin_anew_as_in_the_single_run(float64: None, arm: str) -> None:
    """Of a kernel, of ours in a row, of one with buffers, and of one that is stepped by itself."""
    scenario = scenario_of("strategy.optimizer_state=reset_moments", **{arm: ARMS[arm]})
    lr = ARMS[arm].get("lr", [0.01])[0]
    found = run_cell(Cell(scenario, arm, lr, 0, "report"))
    assert_close(found, run_cell(Cell(alone(scenario), arm, lr, 0, "report")))
    kept = run_cell(Cell(scenario_of(**{arm: ARMS[arm]}), arm, lr, 0, "report"))
    assert not kept.online["loss"].equals(found.online["loss"])


def test_every_grouping_gives_the_same_bits_with_interventions() -> None:
    """Also beside an arm that has others."""
    scenario = scenario_of(
        f"interventions={INTERVENTIONS['shrink, perturb and clip']}",
        "arms.sgdm.interventions=[]",
        "strategy.optimizer_state=reset_moments",
    )
    cells = [Cell(scenario, "tam", 0.05, seed, "report") for seed in range(4)]
    together = run_all([*cells, Cell(scenario, "sgdm", 0.02, 4, "report")])
    for cell, outcome in zip(cells, together, strict=False):
        assert_equal(run_cell(cell), outcome)


@pytest.mark.parametrize("name", ["continual_backprop", "redo", "self_normalized_resets"])
def test_what_looks_at_units_is_trained_alone_which_is_said(name: str) -> None:
    scenario = scenario_of(f'arms.tam.interventions=[{{name = "{name}"}}]')
    assert (
        why_alone(scenario.dump(), "tam") == f"the intervention {name} looks at what units give out in a forward pass"
    )
    assert not why_alone(scenario.dump(), "sgdm")


@pytest.mark.parametrize("head", ["masked", "multi"])
def test_is_the_single_run_with_every_head(float64: None, head: str) -> None:
    """Experiences of this stream are of different lengths for each seed."""
    scenario = scenario_of(f"model.head={head}", "stream.experiences=5", name="task_shift_digits")
    cells = [Cell(scenario, "sgdm", 0.01, seed, "report") for seed in range(3)]
    single = [run_cell(Cell(alone(scenario), "sgdm", 0.01, seed, "report")) for seed in range(3)]
    assert len({len(one.online) for one in single}) >= 1
    for stacked, one in zip(run_all(cells), single, strict=True):
        assert_close(stacked, one)


def test_is_the_single_run_where_a_number_is_learnt(float64: None) -> None:
    scenario = load_scenario("slowly_changing_regression", ["stream.experiences=2", "stream.samples=500"])
    cells = [Cell(scenario, "sgd", 0.01, seed, "report") for seed in range(2)]
    single = [run_cell(Cell(alone(scenario), "sgd", 0.01, seed, "report")) for seed in range(2)]
    for stacked, one in zip(run_all(cells), single, strict=True):
        assert_close(stacked, one)


@pytest.mark.parametrize(
    ("name", "arm", "settings"),
    [
        ("label_flip_digits", "tam", ["stream.batch_size=7", "evaluation.every=10"]),
        ("label_flip_digits", "adam", ["stream.batch_size=1", "stream.samples=100"]),
        ("label_flip_digits", "adam_cm", ["model.hidden=[33]"]),
        ("task_shift_digits", "adatam", ["stream.experiences=5", "stream.epochs=2"]),
    ],
)
def test_every_grouping_gives_the_same_bits(name: str, arm: str, settings: list[str]) -> None:
    """Alone, in any place of any stack, and beside arms and runs that are no longer there."""
    scenario = scenario_of(*settings, name=name)
    rates = scenario.arms[arm].lr[1:3]
    cells = [Cell(scenario, arm, lr, seed, "report") for seed in range(3) for lr in rates]
    together = run_all(cells)
    assert [outcome.runs["status"].item() for outcome in together] == ["ok"] * 6
    for cell, outcome in zip(cells, together, strict=True):
        assert_equal(run_cell(cell), outcome)
    others = run_all([Cell(scenario, "sgdm", 0.02, 4, "report"), cells[3], cells[1]])
    assert_equal(others[1], together[3])
    assert_equal(others[2], together[1])


def test_a_run_that_diverges_ends_as_alone_and_leaves_the_others_as_they_are(float64: None) -> None:
    scenario = scenario_of(wild={"optimizer": "sgd", "momentum": 0.9})
    cells = [Cell(scenario, "wild", lr, 0, "report") for lr in (0.01, 1e6, 0.02)]
    first, wild, last = run_all(cells)
    assert wild.runs["status"].item() == "diverged"
    one = run_cell(Cell(alone(scenario), "wild", 1e6, 0, "report"))
    assert wild.runs["error"].item() == one.runs["error"].item()
    assert len(wild.online) == len(one.online) < len(first.online)
    for cell, outcome in zip(cells[::2], (first, last), strict=True):
        assert outcome.runs["status"].item() == "ok"
        assert_equal(run_cell(cell), outcome)


class Noisy(SGD):
    """Adds noise from torch's generator to every step, and notes what it drew."""

    drawn: list[float]

    def step(self, closure: Any = None) -> None:
        super().step(closure)
        noise = torch.randn(1, dtype=torch.float64).item()
        self.drawn = [*getattr(self, "drawn", []), noise]
        with torch.no_grad():
            for group in self.param_groups:
                for param in group["params"]:
                    param.add_(1e-3 * noise)


class Failing(SGD):
    """Raises an exception in its 20th step, if its learning rate is 0.5."""

    def step(self, closure: Any = None) -> None:
        self.steps = getattr(self, "steps", 0) + 1
        if self.steps == 20 and self.param_groups[0]["lr"] == 0.5:
            raise ArithmeticError("no more")
        super().step(closure)


class Replacing(SGD):
    """Puts a new tensor in the place of its parameters' own."""

    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for param in group["params"]:
                param.data = param.data - group["lr"] * param.grad


class Hooked(SGD):
    """Waits for autograd to compute each gradient."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, lr)
        for param in self.param_groups[0]["params"]:
            param.register_post_accumulate_grad_hook(lambda param: None)


def own(optimizer: type, *settings: str, **options: Any) -> Scenario:
    arm = {"optimizer": f"{__name__}:{optimizer.__name__}"} | options
    return scenario_of("strategy.stacked=true", *settings, own=arm)


def test_an_optimizer_of_ones_own_draws_what_it_draws_alone(float64: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """In 60 runs, which make several stacks."""
    drawn: list[dict[float, list[float]]] = []
    begin = running.begin
    monkeypatch.setattr(running, "begin", lambda *arguments: begun(begin(*arguments)))
    optimizers: list[Any] = []

    def begun(training: Any) -> Any:
        optimizers.append(training.strategy.optimizer)
        return training

    scenario = own(Noisy, "stream.samples=60", "model.hidden=[8]")
    cells = [Cell(scenario, "own", lr, seed, "report") for seed in range(20) for lr in (0.01, 0.02, 0.03)]
    stacked = run_all(cells)
    drawn = [optimizer.drawn for optimizer in optimizers]
    optimizers.clear()
    single = [run_cell(Cell(alone(scenario), "own", cell.lr, cell.seed, "report")) for cell in cells]
    assert [optimizer.drawn for optimizer in optimizers] == drawn
    assert [len(draws) for draws in drawn] == [3 * 60 / 10] * 60, "one in each step"
    assert len({draws[0] for draws in drawn}) == 20, "one for each seed"
    for one, other in zip(stacked, single, strict=True):
        assert_close(one, other)


def test_an_exception_ends_its_own_run_alone() -> None:
    scenario = own(Failing)
    cells = [Cell(scenario, "own", lr, 0, "report") for lr in (0.01, 0.5)]
    well, failed = run_all(cells)
    assert failed.runs["status"].item() == "failed"
    assert failed.runs["error"].item() == "ArithmeticError: no more"
    assert_equal(run_cell(cells[0]), well)


def test_weights_may_be_replaced(float64: None) -> None:
    scenario = own(Replacing)
    cells = [Cell(scenario, "own", lr, 0, "report") for lr in (0.01, 0.02)]
    for outcome, cell in zip(run_all(cells), cells, strict=True):
        assert_close(outcome, run_cell(Cell(alone(scenario), "own", cell.lr, 0, "report")))


def test_what_waits_for_autograd_is_refused() -> None:
    with pytest.raises(InputError, match="has a hook on the gradient of head.linear.weight"):
        run_cell(Cell(own(Hooked), "own", 0.01, 0, "report"))


@pytest.mark.parametrize(
    ("settings", "arm", "why"),
    [
        ([], {"optimizer": "sam", "base": "sgd"}, "sam needs a closure"),
        ([], {"optimizer": "lookahead", "base": "sam"}, "lookahead needs a closure"),
        ([], {"optimizer": "fade"}, "fade looks at what the last layer is given in a forward pass of its own"),
        ([], {"optimizer": f"{__name__}:Noisy"}, "is not one of tamcl's, and strategy.stacked = true was not set"),
        (["strategy.stacked=false"], {"optimizer": "tam"}, "strategy.stacked is false"),
        (["strategy.name=ewc"], {"optimizer": "tam"}, "the strategy ewc cannot be stacked"),
        (["strategy.name=replay"], {"optimizer": "tam"}, "the strategy replay cannot be stacked"),
        ([], {"optimizer": "tam"}, ""),
    ],
)
def test_why_runs_are_trained_alone(settings: list[str], arm: dict[str, Any], why: str) -> None:
    scenario = scenario_of(*settings, x=arm)
    found = why_alone(scenario.dump(), "x")
    assert found.endswith(why)
    assert bool(found) == bool(why)
    assert Cell(scenario, "x", 0.01, 0, "report").config.get("stacked", False) == (not why)


def test_stacked_and_single_runs_have_other_folders() -> None:
    scenario = scenario_of()
    assert Cell(scenario, "tam", 0.1, 0, "report").id != Cell(alone(scenario), "tam", 0.1, 0, "report").id


class Killed(BaseException):
    """What ends a process here."""


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_stack_that_was_killed_goes_on_in_any_grouping(
    settings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed as checkpoints are written, some of the runs have one and others none, or that of before."""
    scenario = scenario_of(*settings, "stream.samples=60")
    arms = ("adam_cm", 0.001), ("tam", 0.02)
    cells = [Cell(scenario, arm, lr, seed, "report") for arm, lr in arms for seed in (0, 1)]
    whole = run_all(cells)
    write, written, steps, kills = Checkpoint._write, 0, 0, 0

    def write_and_die(kept: Checkpoint, temporary: Path, state: Any) -> None:
        nonlocal written, kills
        write(kept, temporary, state)
        assert kept._path is not None
        temporary.rename(kept._path)
        written += 1
        if written % 3 == 0:
            kills += 1
            raise Killed
        write(kept, temporary, state)

    def is_due(pace: Pace) -> bool:
        nonlocal steps
        steps += 1
        return steps % 4 == 0

    outcomes: dict[int, Outcome] = {}
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "_write", write_and_die)
        patch.setattr(Pace, "is_due", property(is_due))
        while todo := [place for place in range(4) if place not in outcomes]:
            group = todo[kills % 2 :: 1 + kills % 3] or todo
            with contextlib.suppress(Killed):
                found = run_cells(tuple(cells[place] for place in group), Resources(), tmp_path)
                outcomes |= dict(zip(group, found, strict=True))
    assert kills >= 4
    for place, outcome in outcomes.items():
        assert_equal(outcome, whole[place])


def test_a_stack_whose_passes_are_of_different_lengths_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one run's pass is over and that of another is not, each goes on from its own place."""
    scenario = scenario_of("stream.experiences=5", "stream.epochs=2", name="task_shift_digits")
    cells = [Cell(scenario, "adatam", 0.01, seed, "report") for seed in range(3)]
    whole = run_all(cells)
    lengths = [outcome.online.groupby("experience").size()[0] // 2 for outcome in whole]
    assert len({*lengths}) > 1
    steps = 0

    def is_due(pace: Pace) -> bool:
        nonlocal steps
        steps += 1
        if steps > max(lengths):
            raise Killed
        return steps == max(lengths)

    with monkeypatch.context() as patch:
        patch.setattr(Pace, "is_due", property(is_due))
        with pytest.raises(Killed):
            run_cells(tuple(cells), Resources(), tmp_path)
    for one, other in zip(run_cells(tuple(cells), Resources(), tmp_path), whole, strict=True):
        assert_equal(one, other)
