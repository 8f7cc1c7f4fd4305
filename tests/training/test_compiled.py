"""Cells whose steps are compiled: the numbers of stacks that are not, and of every grouping."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from tamcl.cli.display import show_plan
from tamcl.cli.main import main
from tamcl.optim import OPTIMIZERS
from tamcl.optim.stacked import STEPS
from tamcl.registry import signature
from tamcl.results import read_table
from tamcl.scenario.load import parse
from tamcl.scenario.schema import Scenario
from tamcl.scenario.stacking import why_not_compiled
from tamcl.strategies import compiled
from tamcl.study.estimate import ArmPlan, Plan
from tamcl.training.cell import Cell
from tamcl.training.checkpoint import Pace
from tamcl.training.measure import measure
from tamcl.training.resources import Resources
from tamcl.training.run import run_cell, run_cells
from tests.training.test_stack import Killed, assert_close, assert_equal, run_all, scenario_of

SMALL = ["model.hidden=[16]", "stream.experiences=3"]


def compiled_of(*settings: str, **arms: dict[str, Any]) -> Scenario:
    return scenario_of("strategy.compiled=true", *SMALL, *settings, **arms)


def eager(scenario: Scenario) -> Scenario:
    """The same scenario, without the compiler."""
    values = scenario.dump()
    values["strategy"]["compiled"] = None
    return parse(values)


ARMS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 1e-3, "nesterov": True},
    "adam": {"optimizer": "adam", "lr": [0.002], "weight_decay": 1e-3},
    "adamw": {"optimizer": "adamw", "lr": [0.002]},
    "rmsprop": {"optimizer": "rmsprop", "lr": [0.001], "momentum": 0.5},
    "tam": {"optimizer": "tam", "weight_decay": 1e-3},
    "tam_null": {"optimizer": "tam", "damping": 0.5, "weight_decay": 1e-3, "decoupled_weight_decay": True},
    "tam_average": {"optimizer": "tam", "damping": "average", "damping_function": "quadratic"},
    "adatam": {"optimizer": "adatam", "lr": [0.001], "bias_correction": "both"},
    "adatamw": {"optimizer": "adatamw", "lr": [0.001]},
    "adam_cm": {"optimizer": "adam_cm", "lr": [0.001]},
    "adamw_cm": {"optimizer": "adamw_cm", "lr": [0.001], "variant": "paper", "capacity": 3},
}


@pytest.mark.parametrize("arm", ARMS)
def test_is_the_stack_that_is_not_compiled_in_double_precision(float64: None, arm: str) -> None:
    scenario = compiled_of(**{arm: ARMS[arm]})
    lr = ARMS[arm].get("lr", [0.01])[0]
    cells = [Cell(scenario, arm, lr * factor, seed, "report") for factor, seed in [(1.0, 0), (0.5, 0), (1.0, 1)]]
    assert all(cell.is_compiled for cell in cells)
    others = [Cell(eager(scenario), arm, cell.lr, cell.seed, "report") for cell in cells]
    for one, other in zip(run_all(cells), run_all(others), strict=True):
        assert len(one.online) > 300
        assert_close(one, other)


def test_is_that_stack_with_another_activation(float64: None) -> None:
    """Which asks for a graph of its own: that of the test before has the same shapes."""
    scenario = compiled_of("model.activation=leaky_relu", sgd=ARMS["sgd"])
    cell, other = (Cell(each, "sgd", 0.01, 0, "report") for each in (scenario, eager(scenario)))
    assert_close(run_cell(cell), run_cell(other))


SETTINGS = {
    "reset": ["strategy.optimizer_state=reset"],
    "restarted oracle": ["stream.oracle=restart"],
    "several epochs, the last mini-batch smaller": ["stream.epochs=2", "stream.samples=205"],
    "tests after epochs": ["evaluation.every=epoch", "stream.epochs=2"],
    "scheduled": ['strategy.schedule={ name = "cosine", over = "stream", warmup = 0.1 }', "stream.epochs=2"],
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_is_that_stack_whatever_becomes_of_the_optimizer(float64: None, settings: list[str]) -> None:
    """With a graph for all of them: that of the test before."""
    scenario = compiled_of(*settings, adam_cm=ARMS["adam_cm"])
    cells = [Cell(scenario, "adam_cm", 0.001 * factor, 0, "report") for factor in (1.0, 0.5)]
    before = len(compiled.COMPILING)
    found = run_all(cells)
    assert len(compiled.COMPILING) <= max(1, before)
    others = [Cell(eager(scenario), "adam_cm", cell.lr, 0, "report") for cell in cells]
    for one, other in zip(found, run_all(others), strict=True):
        assert_close(one, other)


def test_what_acts_between_steps_or_counts_anew_is_not_compiled_which_is_said() -> None:
    clipped = compiled_of('interventions=[{name = "weight_clipping"}]', sgd=ARMS["sgd"]).dump()
    assert why_not_compiled(clipped, "sgd") == "the intervention weight_clipping acts between steps"
    clipped["arms"]["sgd"]["interventions"] = []
    assert not why_not_compiled(clipped, "sgd")
    for state in ("reset_moments", "reset_clock"):
        anew = compiled_of(f"arms.adam.optimizer_state={state}", name="label_flip_digits").dump()
        assert why_not_compiled(anew, "adam") == f"optimizer_state = '{state}': a graph knows a first step by its count"


def test_a_pass_may_be_one_step(float64: None) -> None:
    """Which asks for no other graph than longer ones."""
    scenario = compiled_of("stream.samples=10", "stream.experiences=4", sgd=ARMS["sgd"])
    cell = Cell(scenario, "sgd", 0.01, 0, "report")
    longer = Cell(compiled_of(sgd=ARMS["sgd"]), "sgd", 0.01, 0, "report")
    before = len(compiled.COMPILING)
    assert run_cell(longer).runs["status"].item() == "ok"
    assert_close(run_cell(cell), run_cell(Cell(eager(scenario), "sgd", 0.01, 0, "report")))
    assert len(compiled.COMPILING) <= before + 1


def test_runs_may_be_of_different_lengths(float64: None) -> None:
    """Experiences of this stream are: a run that is over its pass stays as it is while momentum would move it."""
    asked = ["model.head=masked", "stream.experiences=5"]
    scenario = scenario_of("strategy.compiled=true", "model.hidden=[16]", *asked, name="task_shift_digits")
    cells = [Cell(scenario, "sgdm", 0.01, seed, "report") for seed in range(3)]
    assert all(cell.is_compiled for cell in cells)
    found = run_all(cells)
    assert len({len(outcome.online) for outcome in found}) > 1
    others = [Cell(eager(scenario), "sgdm", 0.01, seed, "report") for seed in range(3)]
    for one, other in zip(found, run_all(others), strict=True):
        assert_close(one, other)


@pytest.fixture(scope="module")
def shared() -> Scenario:
    """In single precision, for which one graph is made here."""
    return compiled_of("stream.samples=205", adam_cm=ARMS["adam_cm"])


def test_every_grouping_gives_the_same_bits(shared: Scenario) -> None:
    """Of one to sixteen runs, in any place, and beside a run that diverges."""
    cells = [Cell(shared, "adam_cm", 0.001 * (1 + place), place % 3, "report") for place in range(15)]
    wild = Cell(shared, "adam_cm", 1e30, 0, "report")
    before = len(compiled.COMPILING)
    together = run_all([*cells[:3], wild, *cells[3:]])
    assert together.pop(3).runs["status"].item() == "diverged"
    assert {outcome.runs["status"].item() for outcome in together} == {"ok"}
    for count in (1, 2, 3, 5, 7):
        picked = range(14, 14 - 2 * count, -2)
        for place, outcome in zip(picked, run_all([cells[place] for place in picked]), strict=True):
            assert_equal(outcome, together[place])
    assert len(compiled.COMPILING) == before + 1, "one graph, whatever is trained with it"


def test_is_close_to_single_precision_that_is_not_compiled(shared: Scenario) -> None:
    one = run_cell(Cell(shared, "adam_cm", 0.001, 0, "report"))
    other = run_cell(Cell(eager(shared), "adam_cm", 0.001, 0, "report"))
    assert torch.allclose(*(torch.tensor(each.online["loss"].iloc[:20].to_numpy()) for each in (one, other)), rtol=1e-3)
    assert not one.online["loss"].equals(other.online["loss"]), "or it was not compiled at all"


def test_a_killed_stack_goes_on_bit_by_bit(shared: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a checkpoint holds in the middle of a pass is what the stack would have gone on with."""
    values = shared.dump()
    values["strategy"]["schedule"] = {"name": "cosine", "over": "stream"}
    cells = [Cell(parse(values), "adam_cm", lr, 0, "report") for lr in (0.001, 0.002)]
    whole = run_all(cells)
    for at in (2, 5, 1):  # each counted from where the one before was written
        steps = 0

        def is_due(pace: Pace, at: int = at) -> bool:
            nonlocal steps
            steps += 1
            if steps > at:
                raise Killed
            return steps == at

        with monkeypatch.context() as patch:
            patch.setattr(Pace, "is_due", property(is_due))
            with pytest.raises(Killed):
                run_cells(tuple(cells), Resources(), tmp_path)
    for one, other in zip(run_cells(tuple(cells), Resources(), tmp_path), whole, strict=True):
        assert_equal(one, other)


def test_a_plan_says_what_compiling_takes(
    shared: Scenario, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compiled, "_GRAPHS", {})
    cells = tuple(Cell(shared, "adam_cm", 0.001, seed, "report") for seed in range(2))
    first, second = (measure(cells, Resources(), 0.1) for _ in range(2))
    assert first.compile_s > second.compile_s == 0.0
    assert first.step_s < 0.1, "which compiling is no part of"
    arm = ArmPlan((0, 0), 2, (2,), "", 0.1, (70.0, 70.0), compile_s=62.0)
    other = ArmPlan((0, 0), 2, (2,), "", 0.1, (5.0, 5.0), why_not_compiled="the optimizer sgd_cg is not compiled")
    show_plan(Plan("x", {"adam_cm": arm, "cg": other}, 200, 1, (80.0, 80.0), (5e6, 5e6), 0))
    lines = capsys.readouterr().out.splitlines()
    assert "not compiled: cg: the optimizer sgd_cg is not compiled" in lines
    assert "to compile, once in every process, less if it was done before on this machine: adam_cm 1 min 2 s" in lines


@pytest.mark.parametrize(
    ("settings", "arm", "why"),
    [
        ([], {"optimizer": "tam"}, ""),
        ([], {"optimizer": "sgd_cg"}, "the optimizer sgd_cg is not compiled"),
        ([], {"optimizer": "tam", "damping": "shuffled"}, "the option damping = 'shuffled' of tam is not compiled"),
        ([], {"optimizer": "adam_cm", "replacement": "fifo"}, "the option replacement = 'fifo' of adam_cm"),
        (["strategy.stacked=false"], {"optimizer": "tam"}, "not stacked, since strategy.stacked is false"),
        (["strategy.clip=1.0"], {"optimizer": "tam"}, "strategy.clip looks inside of steps"),
        (["evaluation.every=10"], {"optimizer": "tam"}, "evaluation.every tests inside of experiences"),
        (['diagnostics.names=["damping"]'], {"optimizer": "tam"}, "diagnostics look inside of steps"),
    ],
)
def test_why_runs_are_not_compiled(settings: list[str], arm: dict[str, Any], why: str) -> None:
    scenario = scenario_of("strategy.compiled=true", *settings, x=arm)
    found = why_not_compiled(scenario.dump(), "x")
    assert found.startswith(why)
    assert bool(found) == bool(why)
    cell, other = (Cell(each, "x", 0.01, 0, "report") for each in (scenario, eager(scenario)))
    assert cell.is_compiled == cell.config.get("compiled", False) == (not why)
    assert (cell.id == other.id) == bool(why), "what is trained alike is the same cell"


def test_heads_of_single_tasks_are_not_compiled() -> None:
    scenario = scenario_of("model.head=multi", "strategy.compiled=true", name="task_shift_digits")
    assert why_not_compiled(scenario.dump(), "tam") == "the head multi leaves weights without a gradient"


@pytest.mark.parametrize("name", STEPS)
def test_every_option_of_a_step_is_one_of_the_optimizer(name: str) -> None:
    assert STEPS[name].options <= set(signature(OPTIMIZERS.path(name)).parameters or ())


def test_a_missing_compiler_is_one_line_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.chdir(tmp_path)
    scenario = "label_flip_digits"
    for command in (["compare", scenario], ["plan", scenario], ["run", scenario, "--arm", "tam,lr=0.1"]):
        assert main([*command, "--compile"]) == 2
        errors = capsys.readouterr().err
        assert errors.count("\n") == 1
        assert "strategy.compiled = true: needs a compiler of C++, and 'no-such-compiler' is not to be found" in errors
    assert not list(tmp_path.iterdir())


def test_a_compiler_that_fails_fails_the_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """And trains nothing in another way."""

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no space left")

    monkeypatch.setattr(compiled.torch, "compile", lambda *_, **__: fail)
    monkeypatch.setattr(compiled, "_GRAPHS", {})
    cells = [Cell(compiled_of(tam=ARMS["tam"]), "tam", lr, 0, "report") for lr in (0.01, 0.02)]
    for outcome in run_all(cells):
        assert outcome.runs["status"].item() == "failed"
        assert "strategy.compiled = true: the step cannot be compiled" in outcome.runs["error"].item()


def test_a_logger_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["run", "label_flip_digits", "--arm", "tam,lr=0.1", "--compile", "--log", "csv"]
    assert main([*command, "--out", str(tmp_path / "run")]) == 2
    assert "--log csv: looks inside of steps, which strategy.compiled = true makes one graph" in capsys.readouterr().err


def test_a_study_with_two_jobs_is_what_one_process_trains(tmp_path: Path) -> None:
    """From the command line, with an arm that is not compiled, beside one stack an arm here."""
    settings = ["stream.experiences=2", "model.hidden=[16]", "evaluation.samples=50"]
    given = [part for setting in [*settings, "arms.tam.lr=[0.05, 0.1]"] for part in ("--set", setting)]
    options = ["--arms", "tam", "--arm", "own=sgd_cg,lr=0.01", "--seeds", "3", "--tune-seeds", "1", "--jobs", "2"]
    assert main(["compare", "label_flip_digits", "--compile", *given, *options, "--out", str(tmp_path)]) == 0
    assert "Compiled runs" in (tmp_path / "report.html").read_text()
    runs = read_table(tmp_path, "runs")
    assert runs.groupby("arm")["compiled"].all().to_dict() == {"own": False, "tam": True}
    scenario = compiled_of(*settings, tam={"optimizer": "tam"}, own={"optimizer": "sgd_cg"})
    for _, rows in runs.groupby("arm"):
        cells = [Cell(scenario, row.arm, row.lr, row.seed, row.phase) for row in rows.itertuples()]
        for cell, outcome in zip(cells, run_all(cells), strict=True):
            for name in ("online", "eval"):
                found, expected = read_table(tmp_path / "cells" / cell.id, name), outcome.tables[name]
                pd.testing.assert_frame_equal(found, expected.reset_index(drop=True), check_exact=True)
