"""The report of a study whose arms tune options together with the learning rate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from tamcl.engines.inline import Inline
from tamcl.findings.study import Study
from tamcl.findings.sweep import tunes_options
from tamcl.report import paper_table, write_figures, write_report
from tamcl.results import Results, load_results
from tamcl.scenario.load import load_scenario
from tamcl.study.compare import compare
from tests.report.helpers import Page


@pytest.fixture(scope="module")
def study(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Two arms of four trials each, one of them with two options."""
    options = ["arms.tam.weight_decay=[0, 0.05]", "arms.tam.momentum=[0.8, 0.9]", "arms.tam.lr=[0.1]"]
    options += ["arms.sgdm.momentum=[0.5, 0.9]", "protocol.seeds=2", "protocol.tune_seeds=1"]
    scenario = load_scenario(str(tiny), options, ["sgdm", "tam"])
    return compare(scenario, tmp_path_factory.mktemp("options") / "study", engine=Inline())


@pytest.fixture(scope="module")
def page(study: Results) -> Page:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tamcl.report.page.draw_pictures", lambda study: [])
        return Page(write_report(study.directory).read_text(encoding="utf-8"))


def test_every_trial_has_a_row_with_its_options(study: Results, page: Page) -> None:
    table, tuning = page.table("tuning"), Study(study).tuning
    assert list(table)[:3] == ["Arm", "Learning rate", "Options"]
    shown = {(row["Arm"], row["Learning rate"], row["Options"]): row for row in table.to_dict("records")}
    assert len(shown) == len(table) == 8
    for row in tuning.to_dict("records"):
        found = shown[row["arm"], row["lr"], row["options"]]
        assert found["Online accuracy (%)"] == pytest.approx(100 * row["score"])
        assert ("chosen" in found["Note"]) == row["chosen"]
        for name in filter(None, row["options_on_edge"].split(", ")):
            assert name in found["Note"]


def test_arms_say_what_they_could_choose_and_what_they_took(study: Results, page: Page) -> None:
    arms = page.table("arms").set_index("Arm")
    assert arms.loc["tam", "Optimizer"] == "tam, weight_decay of 0, 0.05, momentum of 0.8, 0.9"
    assert arms.loc["sgdm", "Optimizer"] == "sgd, momentum of 0.5, 0.9"
    for arm, trial in Study(study).trials.items():
        assert arms.loc[arm, "Chosen"] == trial.lr
        assert trial.options in page.text
    assert (
        "Each arm was tried at 4 combinations of a learning rate with values of the options that are tuned with it"
        " (momentum of sgdm; momentum, weight_decay of tam) on seeds that serve for nothing else" in page.text
    )
    assert "Best value on the edge of the grid" in page.text
    assert "Every trial (8 rows)" in page.text
    assert "of so many trials is on average" in page.text
    assert "with each arm at its own learning rate and options, and at shared learning rates" in page.text
    assert "each arm at its own learning rate and options." in " ".join(paper_table(study.directory).split())
    assert tunes_options(SimpleNamespace(finished=[(None, study)]))  # type: ignore[arg-type]


def test_every_option_of_every_arm_has_a_map(study: Results, page: Page) -> None:
    assert (study.directory / "figures" / "options.png").is_file()
    assert "Score over learning rate and options" in page.text
    written = write_figures(study.directory, format="svg", width=3.3)
    drawn = "".join(path.read_text(encoding="utf-8") for path in written if path.stem.startswith("options"))
    assert drawn.count("<!-- weight decay -->") == 1
    assert drawn.count("<!-- momentum -->") == 2


def test_a_report_of_learning_rates_alone_has_neither(report: Callable[..., Page], tmp_path: Path) -> None:
    page = report()
    assert "Options" not in page.table("tuning")
    assert "trials" not in page.text
    assert "Every learning rate that was tried" in page.text
    assert "each arm at its own learning rate." in " ".join(paper_table(tmp_path / "study").split())
    assert not tunes_options(SimpleNamespace(finished=[(None, load_results(tmp_path / "study"))]))  # type: ignore[arg-type]


def test_what_failed_names_its_options(study: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tamcl.report.page.draw_pictures", lambda study: [])
    monkeypatch.setattr("tamcl.report.page.draw_tuning_pictures", lambda study: [])
    folder = tmp_path / "study"
    folder.mkdir()
    for path in study.directory.glob("*.*"):
        (folder / path.name).write_bytes(path.read_bytes())
    for path in folder.glob("*.parquet"):  # so that it is not of the others
        pd.read_parquet(path).to_parquet(path)
    runs = load_results(folder).runs
    failed = (runs["phase"] == "tune") & (runs["options"] == "momentum=0.5") & (runs["lr"] == 0.05)
    runs.assign(status=runs["status"].mask(failed, "diverged")).to_parquet(folder / "runs.parquet")
    table = Page(write_report(folder).read_text(encoding="utf-8")).table("failures")
    assert table[["Arm", "Learning rate", "Options"]].to_numpy().tolist() == [["sgdm", 0.05, "momentum=0.5"]]
