"""Image classification: what is held out chooses learning rates and is tested after every epoch, nothing else is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tamcl.cli.main import main
from tamcl.errors import InputError
from tamcl.results import load_results
from tamcl.scenario.load import load_scenario, parse
from tamcl.scenario.schema import Scenario
from tamcl.training import running
from tamcl.training.build import load_data, plan
from tamcl.training.cell import Cell, Outcome
from tamcl.training.resources import Resources
from tamcl.training.run import run_cell, run_cells
from tests.helpers import in_this_process
from tests.training.test_stack import alone, assert_close, assert_equal

SHORT = ["stream.samples=90", "stream.validation=40", "stream.epochs=3", "model.hidden=[16]", "evaluation.samples=50"]


def scenario_of(*settings: str) -> Scenario:
    return load_scenario("classification_digits", [*SHORT, *settings])


def run(monkeypatch: pytest.MonkeyPatch, cell: Cell) -> tuple[Outcome, Any]:
    """Train a cell, and return its tables and its strategy."""
    trainings: list[Any] = []
    begin = running.begin

    def noted(*arguments: Any) -> Any:
        trainings.append(begin(*arguments))
        return trainings[-1]

    with monkeypatch.context() as patch:
        patch.setattr(running, "begin", noted)
        outcome = run_cell(cell)
    return outcome, trainings[0].strategy


def accuracy(model: Any, images: np.ndarray, labels: np.ndarray) -> float:
    """The share of right answers, with images normalised by NumPy."""
    everything = load_data("digits", Resources()).train_x
    inputs = (images - everything.mean()) / everything.std()
    with torch.no_grad():
        answers = model.eval()(torch.tensor(inputs, dtype=torch.float32), 0).argmax(1).numpy()
    return float((answers == labels).mean())


def test_tests_are_of_the_images_that_they_are_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario, data = scenario_of(), load_data("digits", Resources())
    (segment,) = plan(scenario, data, 0)
    held, test = segment.validation_index, segment.test_index
    assert held is not None
    assert (len(segment.train_index), len(held), len(test)) == (90, 40, 50)
    outcome, strategy = run(monkeypatch, Cell(scenario, "sgdm", 0.1, 0, "report"))
    inside = outcome.continual
    assert inside["step"].tolist() == [2, 5, 8], "three mini-batches of up to 32 in each of three epochs"
    assert (inside["n"] == 40).all()
    assert inside["accuracy"].iloc[-1] == accuracy(strategy.model, data.train_x[held], data.train_y[held])
    tested = outcome.eval.set_index("trained_on")
    assert tested["n"].tolist() == [50, 50]
    assert tested["accuracy"][0] == accuracy(strategy.model, data.test_x[test], data.test_y[test])
    tuned, strategy = run(monkeypatch, Cell(scenario, "sgdm", 0.1, 0, "tune"))
    assert tuned.eval["n"].tolist() == [40, 40]
    assert tuned.eval["accuracy"].iloc[-1] == inside["accuracy"].iloc[-1], "the same run, tested on other images"
    assert tuned.continual.empty
    assert tuned.online.equals(outcome.online)


@pytest.mark.parametrize("stacked", ["true", "false"])
def test_tests_after_epochs_change_nothing(stacked: str) -> None:
    """Not of an optimizer either that is tested at other weights than it trains."""
    settings = [f"strategy.stacked={stacked}", "strategy.schedule=constant"]
    tested, plain = (
        Cell(scenario_of(*settings, f"evaluation.every={every}"), "sgdm", 0.1, 0, "report")
        for every in ('"epoch"', 100)
    )
    assert run_cell(tested).online.equals(run_cell(plain).online)


@pytest.mark.parametrize("optimizer", ["tam", "schedule_free"])
def test_a_stack_tests_what_a_single_run_does(float64: None, optimizer: str) -> None:
    values = scenario_of("strategy.schedule=constant").dump()
    values["arms"] = {"mine": {"optimizer": optimizer, "lr": [0.01]}}
    values["protocol"]["pairs"] = []
    scenario = parse(values)
    cells = [Cell(scenario, "mine", 0.01 * factor, seed, "report") for factor, seed in ((1, 0), (0.5, 0), (1, 1))]
    for outcome, cell in zip(run_cells(tuple(cells), Resources()), cells, strict=True):
        assert len(outcome.continual) == 3
        assert_close(outcome, run_cell(Cell(alone(scenario), "mine", cell.lr, cell.seed, "report")))
        assert_equal(outcome, run_cell(cell))


def test_all_arms_of_a_seed_see_the_same_images() -> None:
    scenario = scenario_of("stream.augmentation=crop_flip")
    first, other, third = (
        run_cell(Cell(scenario, arm, 0.1, seed, "report")) for arm, seed in (("sgdm", 0), ("tam", 0), ("tam", 1))
    )
    for column in ("fingerprint", "order"):
        assert first.runs[column].item() == other.runs[column].item() != third.runs[column].item()
    assert first.online["loss"][0] == other.online["loss"][0] != third.online["loss"][0], "before any update"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["evaluation.every=epcoh"], "evaluation.every: must be a whole number of updates, or 'epoch', got 'epcoh'"),
        (["evaluation.every=0"], "evaluation.every = 0: must be greater than or equal to 1"),
        (["stream.experiences=2"], "stream.experiences = 2: must be 1"),
        (["stream.validation=0"], "stream.validation = 0: must be greater than or equal to 1"),
        (["protocol.tune_by=best_accuracy"], "protocol.tune_by: 'best_accuracy' is measured inside experiences"),
    ],
)
def test_what_does_not_fit_is_refused(settings: list[str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        scenario_of(*settings)
    assert str(caught.value).startswith(f"scenario 'classification_digits': {message}")


@pytest.mark.parametrize(("samples", "said"), [("1430", "13 and stream.samples = 1430"), ("", "1442")])
def test_more_images_than_there_are_are_refused(samples: str, said: str) -> None:
    data = load_data("digits", Resources())
    asked = [f"stream.samples={samples}", "stream.validation=13"] if samples else ["stream.validation=1442"]
    scenario = load_scenario("classification_digits", asked)
    with pytest.raises(InputError, match=f"^stream.validation = {said}: the training set has 1442 images$"):
        plan(scenario, data, 0)


def test_a_study_has_a_figure_of_its_epochs_and_speaks_of_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tamcl.engines.local.Local", in_this_process)
    settings = [part for setting in SHORT for part in ("--set", setting)]
    seeds = ["--seeds", "2", "--tune-seeds", "1", "--arms", "sgdm,tam_then_sgdm", "--out", str(tmp_path / "study")]
    few = ["--arm", "sgdm,lr=[0.1,0.05]", "--arm", "tam_then_sgdm,lr=[0.1,0.05],at=3"]
    assert main(["compare", "classification_digits", *settings, *seeds, *few]) == 0
    results = load_results(tmp_path / "study")
    assert (tmp_path / "study" / "figures" / "over_epochs.png").is_file()
    page = (tmp_path / "study" / "report.html").read_text()
    assert "Accuracy on the validation images of the experience after each epoch" in page
    assert "where nothing shifts" in page
    assert "when the data distribution shifts" not in page
    assert "cosine over each experience" in page
    best = results.metrics[results.metrics["metric"] == "best_accuracy"]
    assert len(best) == 4
    for row in best.itertuples():
        own = results.continual[(results.continual["arm"] == row.arm) & (results.continual["seed"] == row.seed)]
        assert row.value == own["accuracy"].max()
    assert "best_accuracy" in set(results.comparisons["metric"])
