"""What a run takes: counted as its tables count it, and measured without a trace."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tamcl.errors import InputError
from tamcl.scenario.load import load_scenario
from tamcl.scenario.schema import Scenario
from tamcl.training import measure as measuring
from tamcl.training.cell import Cell, Outcome, write_cell
from tamcl.training.measure import Amount, EvaluationTime, Taken, count, measure, measure_evaluation, tried
from tamcl.training.resources import Resources
from tamcl.training.run import run_cell
from tamcl.training.running import Run, Training


def scenario_of(tiny: Path, *settings: str) -> Scenario:
    return load_scenario(str(tiny), settings, ["tam"])


def test_counts_by_hand(tiny: Path) -> None:
    assert count(scenario_of(tiny), Resources(), 0) == Amount(16, 16, 3, 6, 0, 0, 0)
    settings = ["stream.epochs=2", "evaluation.batches=3", "evaluation.on=seen", "evaluation.every=5"]
    settings += ['diagnostics.names=["damping"]', "diagnostics.every=3"]
    # 16 steps in each of two experiences: 6 blocks of 3, 4 tests inside, 6 measurements
    assert count(scenario_of(tiny, *settings), Resources(), 0) == Amount(32, 12, 2, 3, 8, 12, 12)


@pytest.mark.parametrize(
    "settings",
    [
        [],
        ["stream.samples=75", "stream.batch_size=20", "stream.experiences=3", "evaluation.on=current"],
        [
            "stream.epochs=2",
            "evaluation.batches=7",
            "evaluation.every=5",
            "evaluation.on=seen",
        ],
        ["evaluation.every=1", "strategy.stacked=false", 'diagnostics.names=["damping"]', "diagnostics.every=7"],
        ["evaluation.every=16", "evaluation.on=current", "stream.experiences=4"],
        ["stream.experiences=1"],
    ],
    ids=["plain", "current", "blocks", "diagnosed", "inside", "one experience"],
)
def test_counts_are_the_rows_of_a_run(settings: list[str], tiny: Path) -> None:
    scenario = scenario_of(tiny, *settings)
    amount, tables = count(scenario, Resources(), 0), run_cell(Cell(scenario, "tam", 0.1, 0, "report")).tables
    assert amount.blocks == len(tables["online"])
    assert amount.tested == len(tables["eval"])
    assert amount.tests == tables["eval"]["trained_on"].nunique()
    assert amount.tested_inside == len(tables["continual"])
    assert amount.tests_inside == len(tables["continual"].drop_duplicates(["experience", "step"]))
    assert amount.diagnoses == len(tables["diagnostics"].drop_duplicates(["experience", "step"]))
    if scenario.evaluation.batches == 1:
        assert amount.steps == len(tables["online"])


@pytest.mark.parametrize("stacked", ["true", "false"])
def test_bytes_are_those_of_a_run(stacked: str, tiny: Path, tmp_path: Path) -> None:
    scenario = scenario_of(
        tiny,
        "stream.experiences=40",
        f"strategy.stacked={stacked}",
        'diagnostics.names=["damping"]',
        "diagnostics.every=4",
    )
    cell = Cell(scenario, "tam", 0.1, 0, "report")
    amount, taken = count(scenario, Resources(), 0), measure((cell,), Resources(), 0.5)
    outcome = run_cell(cell)
    write_cell(tmp_path, cell, outcome)
    rows = amount.blocks + amount.tested + amount.diagnoses * taken.diagnosis_rows
    assert amount.diagnoses * taken.diagnosis_rows == len(outcome.diagnostics)
    written = sum(path.stat().st_size for path in (tmp_path / cell.id).iterdir())
    assert taken.bytes_at_least + rows * taken.bytes_a_row == pytest.approx(written, rel=0.35)


@pytest.mark.parametrize("stacked", ["true", "false"])
def test_a_measurement_is_of_some_steps_and_leaves_no_trace(
    stacked: str, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[int] = []
    take = measuring._take

    def take_and_note(cells: list[Cell], *given: Any) -> Taken:
        trained.append(given[-1])
        assert cells[0].scenario.evaluation.every is None
        return take(cells, *given)

    monkeypatch.setattr(measuring, "_take", take_and_note)
    scenario = scenario_of(tiny, f"strategy.stacked={stacked}", "stream.samples=1000", "evaluation.every=1")
    random.seed(3)
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002 - what an optimizer may draw from
    before = random.getstate(), torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    taken = measure((Cell(scenario, "tam", 0.1, 0, "report"),), Resources(), 5.0)
    assert 0 < taken.step_s < 0.1
    assert 0 < taken.setup_s < 10
    assert trained == [1, 4, 100]
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    assert (np.random.get_state()[1] == before[2]).all()  # type: ignore[index]  # noqa: NPY002
    del trained[:]
    measure((Cell(scenario, "tam", 0.1, 0, "tune"),), Resources(), 0.0)
    assert trained == [1, 4]


def test_time_of_steps_and_of_one_diagnosis(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Watch:
        seconds, share = 3.0, 0.5

    ended: list[float] = []
    outcome = Run.outcome

    def noted(run: Run) -> Outcome:
        found = outcome(run)
        ended.append(found.runs["ms_per_step"].item())
        return found

    monkeypatch.setattr(measuring, "_Watch", Watch)
    monkeypatch.setattr(Training, "seconds", lambda *_: 1e-6)
    monkeypatch.setattr(Run, "outcome", noted)
    scenario = scenario_of(tiny, "stream.samples=1000", 'diagnostics.names=["damping"]', "diagnostics.every=7")
    cells = tuple(Cell(scenario, "tam", 0.1, seed, "report") for seed in range(3))
    taken = measure(cells, Resources(), 1000.0)
    assert taken.step_s == pytest.approx(0.5 * ended[-1] / 1000)
    assert taken.diagnosis_s == pytest.approx(0.5 * 1e-6 / 15)  # at the steps 0, 7, ..., 98 of 100
    assert taken.setup_s == pytest.approx(3.0 / 3 + 3.0)


def test_time_of_others_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring.time, "perf_counter", iter([100.0, 110.0, 110.0]).__next__)
    monkeypatch.setattr(measuring.time, "process_time", iter([7.0, 9.0]).__next__)
    watch = measuring._Watch()
    assert watch.share == pytest.approx(0.2)
    monkeypatch.setattr(measuring.time, "perf_counter", iter([100.0, 110.0]).__next__)
    monkeypatch.setattr(measuring.time, "process_time", iter([7.0, 37.0]).__next__)  # three threads
    assert measuring._Watch().seconds == 10


def test_time_of_tests_goes_by_their_images(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert EvaluationTime(2.0, 0.5).seconds(tests=3, tested=7) == 3 * 2.0 + 4 * 0.5
    tested: list[tuple[int, int]] = []

    class Watch:
        @property
        def seconds(self) -> float:
            """A tenth of a second for the first image of an experience, and 2 s for each call."""
            experiences, images = tested[-1]
            return 2.0 * images + 0.1 * experiences * images

    def evaluate(model: object, stream: object, device: object, only: range) -> None:
        tested.append((len(only), len(stream[0].index)))  # type: ignore[index]

    monkeypatch.setattr(measuring, "_Watch", Watch)
    monkeypatch.setattr("tamcl.strategies.evaluation.evaluate", evaluate)
    scenario = scenario_of(tiny, "stream.experiences=4")  # of 50 test images
    whole = measure_evaluation(scenario, Resources(), 0, 1e6)
    assert tested[-1] == (4, 50)
    assert whole == pytest.approx((2.0 * 50 + 0.1 * 50, 0.1 * 50))
    part = measure_evaluation(scenario, Resources(), 0, 84.0)  # 8.4 s for four images: ten in each of four experiences
    assert tested[-1] == (4, 10)
    assert part == pytest.approx(whole)


def test_whatever_cannot_be_measured_is_said() -> None:
    def leave() -> None:
        raise SystemExit("bye")

    def refuse() -> None:
        raise InputError("no")

    assert tried(partial(round, 1.2)) == 1
    assert tried(leave) == "SystemExit: bye"
    assert tried(refuse) == "InputError: no"
