"""One training run: what is tested and when, what makes a row, and that neither changes the training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from tamcl.errors import InputError
from tamcl.metrics import measure
from tamcl.scenario.load import load_scenario
from tamcl.training.build import load_data, plan
from tamcl.training.cell import Cell, Outcome
from tamcl.training.resources import Resources
from tamcl.training.run import run_cell

ROWS = ["experience", "step", "n", "loss", "correct"]


def run(tiny: Path, *settings: str, arm: str = "tam", seed: int = 0) -> Outcome:
    scenario = load_scenario(str(tiny), ["stream.experiences=4", *settings])
    return run_cell(Cell(scenario, arm, 0.1, seed, "report"))


@pytest.mark.parametrize(
    ("on", "rows"),
    [
        ("all", [(i, j) for i in range(-1, 4) for j in range(4)]),
        ("seen", [(i, j) for i in range(4) for j in range(i + 1)]),
        ("current", [(0, 0), (1, 1), (2, 2), (3, 0), (3, 1), (3, 2), (3, 3)]),
    ],
)
def test_what_is_tested_and_that_it_changes_nothing(tiny: Path, on: str, rows: list[tuple[int, int]]) -> None:
    everything, outcome = run(tiny), run(tiny, f"evaluation.on={on}")
    assert list(zip(outcome.eval["trained_on"], outcome.eval["evaluated_on"], strict=True)) == rows
    assert_frame_equal(outcome.online[ROWS], everything.online[ROWS], check_exact=True)
    keys = ["trained_on", "evaluated_on"]
    same = everything.eval.merge(outcome.eval[keys], on=keys)
    assert_frame_equal(same, outcome.eval, check_exact=True)
    assert outcome.runs["evaluation_s"].item() > 0


def test_tests_inside_experiences_change_nothing_and_end_where_the_experience_ends(tiny: Path) -> None:
    plain, often, seldom = run(tiny), run(tiny, "evaluation.every=1"), run(tiny, "evaluation.every=3")
    assert plain.continual.empty
    for outcome in (often, seldom):
        assert_frame_equal(outcome.online, plain.online, check_exact=True)
        assert_frame_equal(outcome.eval, plain.eval, check_exact=True)
    rows = often.continual
    assert rows.groupby("experience")["step"].agg(["min", "max"]).to_numpy().tolist() == [
        [0, 7],
        [8, 15],
        [16, 23],
        [24, 31],
    ]
    assert (
        rows.groupby(["experience", "step"])["evaluated_on"].agg(list).map(len).tolist()
        == [1] * 8 + [2] * 8 + [3] * 8 + [4] * 8
    )
    last = rows[rows["step"] % 8 == 7].rename(columns={"experience": "trained_on"})
    ends = last.merge(plain.eval, on=["trained_on", "evaluated_on"], suffixes=("", "_end"))
    assert len(ends) == 1 + 2 + 3 + 4
    assert ends["accuracy"].equals(ends["accuracy_end"])
    assert ends["loss"].equals(ends["loss_end"])
    kept = rows[rows["step"] % 8 % 3 == 0].reset_index(drop=True)
    assert_frame_equal(seldom.continual, kept, check_exact=True)


def test_tuning_runs_are_not_tested_inside_experiences(tiny: Path) -> None:
    scenario = load_scenario(str(tiny), ["evaluation.every=1"])
    assert run_cell(Cell(scenario, "tam", 0.1, 1000, "tune")).continual.empty
    with pytest.raises(InputError, match=r"'stability_gap' is measured inside experiences, in reported runs alone"):
        load_scenario(str(tiny), ["evaluation.every=1", "protocol.tune_by=stability_gap"])


def test_only_the_current_experience_is_tested_inside_it_where_asked(tiny: Path) -> None:
    rows = run(tiny, "evaluation.every=4", "evaluation.on=current").continual
    assert rows["evaluated_on"].tolist() == rows["experience"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_time_of_diagnostics_and_of_tests_is_no_training_time(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {"diagnostics": 2000.0, "continual": 1000.0}
    monkeypatch.setattr("tamcl.training.running.Training.seconds", lambda training, table: seconds[table])
    row = run(tiny).runs.iloc[0]
    trained = row["ms_per_step"] * 4 * 8 / 1000 + sum(seconds.values())
    tested = row["evaluation_s"] - seconds["continual"]
    assert 0 < trained + tested < row["wall_s"]


def test_all_experiences_are_tested_on_the_same_images(tiny: Path) -> None:
    scenario = load_scenario(str(tiny), ["stream.experiences=3"])
    tested = [
        [tuple(segment.test_index) for segment in plan(scenario, load_data("digits", Resources(tiny.parent)), seed)]
        for seed in (0, 1)
    ]
    assert [len(set(each)) for each in tested] == [1, 1]
    assert len(set(tested[0][0])) == 50
    assert tested[0] != tested[1]


def test_rows_of_several_mini_batches_are_their_sums_and_means(tiny: Path) -> None:
    single, blocks = (
        run(tiny, "stream.samples=75").online,
        run(tiny, "stream.samples=75", "evaluation.batches=3").online,
    )
    assert single.groupby("experience").size().tolist() == [8] * 4
    assert blocks.groupby("experience").size().tolist() == [3] * 4
    assert blocks["step"].tolist() == list(range(12))
    assert blocks.loc[blocks["experience"] == 1, "n"].tolist() == [30, 30, 15]
    block = single.groupby("experience").cumcount() // 3
    groups = single.assign(total=single["loss"] * single["n"]).groupby([single["experience"], block])
    expected = groups[["n", "correct", "total"]].sum().reset_index(drop=True)
    assert blocks["correct"].tolist() == expected["correct"].tolist()
    assert np.allclose(blocks["loss"], expected["total"] / expected["n"], rtol=1e-12)


def test_a_number_is_learnt_with_a_loss_and_no_accuracy() -> None:
    settings = ["stream.experiences=3", "stream.samples=500", "evaluation.batches=50"]
    outcome = run_cell(Cell(load_scenario("slowly_changing_regression", settings), "sgd", 0.01, 0, "report"))
    assert outcome.runs["status"].item() == "ok"
    assert outcome.online["correct"].isna().all()
    assert outcome.online["n"].tolist() == [50] * 30
    values = measure(outcome.online, outcome.eval, outcome.runs).dropna(subset="value")
    assert values["metric"].tolist() == ["online_loss"]
    assert values["value"].item() == pytest.approx(outcome.online["loss"].mean())
    assert outcome.eval["n"].eq(32).all()


def test_restart_begins_every_experience_with_the_weights_of_the_first(tiny: Path) -> None:
    losses = {}
    for oracle in ("none", "restart"):
        outcome = run(tiny, f"stream.oracle={oracle}", "stream.fraction=0", "stream.samples=400")
        losses[oracle] = outcome.online.groupby("experience")["loss"].first()
        losses[f"{oracle} fingerprint"] = outcome.runs["fingerprint"].item()
    assert losses["none fingerprint"] == losses["restart fingerprint"]
    assert (losses["restart"].iloc[1:] > 1.5).all()  # about log 10, as before any training
    assert losses["none"].iloc[1:].mean() < losses["restart"].iloc[1:].mean() - 0.5


def test_without_a_shift_labels_stay(tiny: Path) -> None:
    shifting, still = run(tiny, "stream.samples=300"), run(tiny, "stream.samples=300", "stream.oracle=no_shift")
    accuracy = [table.online.groupby("experience")["correct"].sum().iloc[-1] for table in (shifting, still)]
    assert accuracy[1] > accuracy[0] + 50
    assert shifting.runs["fingerprint"].item() != still.runs["fingerprint"].item()


def test_a_strategy_takes_its_options_from_the_scenario(tiny: Path) -> None:
    settings = ["strategy.name=replay", "strategy.memory=50"]
    outcomes = [run(tiny, *each) for each in (["strategy.stacked=false"], settings)]
    assert len(outcomes[0].online) == len(outcomes[1].online)
    first, second = (outcome.online.query("experience > 0")["loss"].reset_index(drop=True) for outcome in outcomes)
    assert not np.allclose(first, second)
    pd.testing.assert_series_equal(
        *(outcome.online.query("experience == 0")["loss"] for outcome in outcomes), check_exact=True
    )
    with pytest.raises(InputError, match=r"strategy.memry: unknown key 'memry': did you mean 'memory'\?"):
        load_scenario(str(tiny), ["strategy.name=replay", "strategy.memry=50"])
    with pytest.raises(InputError, match="strategy.memory"):
        load_scenario(str(tiny), ["strategy.memory=50"])


def test_a_number_cannot_be_tuned_by_accuracy() -> None:
    with pytest.raises(InputError, match="'online_accuracy' needs classes; 'online_loss' does not"):
        load_scenario("slowly_changing_regression", ["protocol.tune_by=online_accuracy"])
