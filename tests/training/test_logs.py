"""Avalanche's loggers on a run: what they hold is what the tables hold, and the tables do not change."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tamcl.cli.main import main
from tamcl.engines.local import Local
from tamcl.errors import InputError
from tamcl.results import read_table
from tamcl.scenario.load import load_scenario
from tamcl.training.cell import Cell, Outcome
from tamcl.training.logs import Log, check_logger
from tamcl.training.resources import Resources
from tamcl.training.run import run_cell


@pytest.fixture(scope="module")
def cell(tiny: Path) -> Cell:
    return Cell(load_scenario(str(tiny)), "tam", 0.1, 0, "report")


@pytest.fixture(scope="module")
def silent(cell: Cell) -> Outcome:
    return run_cell(cell)


def same(one: Outcome, other: Outcome) -> None:
    pd.testing.assert_frame_equal(one.online, other.online, check_exact=True)
    pd.testing.assert_frame_equal(one.eval, other.eval, check_exact=True)


def test_tensorboard_holds_what_the_tables_hold(cell: Cell, silent: Outcome, tmp_path: Path) -> None:
    same(run_cell(cell, Resources(log=Log("tensorboard", tmp_path))), silent)
    events = EventAccumulator(str(tmp_path / cell.id)).Reload()

    def scalars(name: str) -> dict[int, float]:
        return {event.step: event.value for event in events.Scalars(name)}

    online = silent.online
    assert scalars("Loss_MB/train_phase/train_stream/Task000") == pytest.approx(
        dict(enumerate(online["loss"])), rel=1e-6
    )
    accuracy = online["correct"] / online["n"]
    assert scalars("Top1_Acc_MB/train_phase/train_stream/Task000") == pytest.approx(dict(enumerate(accuracy)), rel=1e-6)
    for j in (0, 1):
        rows = silent.eval[silent.eval["evaluated_on"] == j].set_index("trained_on")
        seen = {-1: 0, 0: 8, 1: 16}  # mini-batches of 10 of 80 images an experience
        tested = {seen[i]: value for i, value in rows["accuracy"].items()}
        assert scalars(f"Top1_Acc_Exp/eval_phase/test_stream/Task000/Exp00{j}") == pytest.approx(tested, rel=1e-6)
        losses = {seen[i]: value for i, value in rows["loss"].items()}
        assert scalars(f"Loss_Exp/eval_phase/test_stream/Task000/Exp00{j}") == pytest.approx(losses, rel=1e-6)
    R = silent.eval.pivot(index="trained_on", columns="evaluated_on", values="accuracy").to_numpy()[1:]
    forgetting = scalars("ExperienceForgetting/eval_phase/test_stream/Task000/Exp000")
    assert forgetting == pytest.approx({8: 0, 16: R[0, 0] - R[1, 0]}, rel=1e-6)


def test_csv_files_hold_epochs_and_tests(cell: Cell, silent: Outcome, tmp_path: Path) -> None:
    resources = Resources(log=Log("csv", tmp_path))
    same(run_cell(cell, resources), silent)
    same(run_cell(cell, resources), silent)  # a second try writes over the first
    trained, tested = (pd.read_csv(tmp_path / cell.id / f"{name}_results.csv") for name in ("training", "eval"))
    sums = silent.online.groupby("experience")[["correct", "n"]].sum()
    np.testing.assert_allclose(trained["training_accuracy"], sums["correct"] / sums["n"], atol=5e-5)
    np.testing.assert_allclose(tested["eval_accuracy"], silent.eval["accuracy"], atol=5e-5)
    np.testing.assert_allclose(tested["eval_loss"], silent.eval["loss"], atol=5e-5)


def test_numbers_to_be_learnt_have_no_accuracy(tmp_path: Path) -> None:
    settings = ["stream.experiences=2", "stream.samples=20", "evaluation.samples=10", "evaluation.batches=1"]
    scenario = load_scenario("slowly_changing_regression", settings)
    arm = next(iter(scenario.arms))
    regression = Cell(scenario, arm, scenario.arms[arm].lr[0], 0, "report")
    run_cell(regression, Resources(log=Log("tensorboard", tmp_path)))
    tags = EventAccumulator(str(tmp_path / regression.id)).Reload().Tags()["scalars"]
    assert {tag.split("/")[0] for tag in tags} == {"Loss_MB", "Loss_Epoch", "Loss_Exp"}


def test_workers_log_their_cells(cell: Cell, silent: Outcome, tmp_path: Path) -> None:
    trained = Local().train([(cell,)], tmp_path / "cells", Resources(log=Log("csv", tmp_path / "logs")))
    assert [status for _, status in trained] == ["ok"]
    assert (tmp_path / "logs" / cell.id / "eval_results.csv").is_file()
    pd.testing.assert_frame_equal(
        read_table(tmp_path / "cells" / cell.id, "online")["loss"].to_frame(), silent.online[["loss"]], check_exact=True
    )


@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is not installed")
def test_wandb_stays_offline_and_in_its_folder(cell: Cell, silent: Outcome, tmp_path: Path) -> None:
    same(run_cell(cell, Resources(log=Log("wandb", tmp_path))), silent)
    assert len(list((tmp_path / cell.id / "wandb").glob("offline-run-*/*.wandb"))) == 1


def test_unknown_and_missing_loggers_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="unknown logger 'tensorbord': did you mean 'tensorboard'"):
        check_logger("tensorbord")
    monkeypatch.setattr("tamcl.training.logs.find_spec", lambda name: None)
    check_logger("csv")
    with pytest.raises(InputError, match="--log wandb: wandb is not installed"):
        Log("wandb", Path("x"))


def test_run_writes_its_logs_beside_its_tables(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], cell: Cell
) -> None:
    call = ["run", str(tiny), "--arm", "tam,lr=0.1", "--log", "csv"]
    assert main(call) == 2
    assert capsys.readouterr().err == "tamcl: --log csv: needs --out, the folder that gets the logs\n"
    assert main([*call, "--out", str(tmp_path / "one")]) == 0
    assert (tmp_path / "one" / "logs" / cell.id / "training_results.csv").is_file()
