"""A sweep as the command line runs it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tamcl.cli.main import main
from tamcl.report.page import write_report
from tamcl.training.cell import Outcome, Task, failed
from tamcl.training.run import run_cells
from tests.helpers import in_this_process, refusal

SETTINGS = ["--seeds", "1", "--arms", "sgdm,tam", "--set", "arms.sgdm.lr=[0.1]", "--set", "arms.tam.lr=[0.2]"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tamcl.engines.local.Local", in_this_process)
    monkeypatch.setattr("tamcl.report.page.draw_pictures", lambda study: [])
    monkeypatch.setattr("tamcl.report.page.draw_tuning_pictures", lambda study: [])
    monkeypatch.setattr("tamcl.report.sweep.draw_sweep", lambda sweep: [])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_reports_of_the_sweep_and_of_each_study(
    tiny: Path, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def write(folder: Path) -> Any:
        made.append(folder.name)
        return write_report(folder)

    monkeypatch.setattr("tamcl.report.write_report", write)
    call = ["sweep", str(tiny), *SETTINGS]
    assert main([*call, "--over", "stream.fraction=0.2,1"]) == 0
    output, errors = capsys.readouterr()
    assert made == ["stream.fraction=0.2", "stream.fraction=1"]
    assert output.splitlines()[-1] == "report: out/tiny-sweep/report.html"
    assert "As the mean over 2 values: tam minus sgdm is" in output
    assert re.findall(r"^.*\(study.*$", errors, re.MULTILINE) == [
        "stream.fraction = 0.2 (study 1 of 2)",
        "stream.fraction = 1 (study 2 of 2)",
    ]
    page = (here / "out/tiny-sweep/report.html").read_text()
    assert "tamcl sweep" in page
    assert (here / "out/tiny-sweep/studies/stream.fraction=1/report.html").is_file()
    assert main([*call, "--over", "stream.fraction=0.2,1,0.6"]) == 0
    assert made[2:] == ["stream.fraction=0.6"]
    assert "As the mean over 3 values" in capsys.readouterr().out


def test_dry_run_trains_nothing(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", str(tiny), *SETTINGS, "--over", "stream.fraction=0.2,1", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["study", "cells", "finished", "time"]
    assert lines[1].split()[:5] == ["stream.fraction", "=", "0.2", "2", "0"]
    assert lines[3].startswith("2 studies in out/tiny-sweep: about ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("over", "message"),
    [
        (["stream.fractoin=0.2"], "did you mean 'fraction'?"),
        (["stream.fraction=0.2,2"], "--over stream.fraction = 2: scenario 'tiny': stream.fraction = 2: must be less"),
        (["stream.fraction=0.2,0.20"], "--over: names stream.fraction = 0.2 twice"),
        (["stream.fraction=0.2", "stream.fraction=0.4"], "is swept by another --over"),
        (["model.hiden=[2],[3]"], "did you mean 'hidden'?"),
    ],
)
def test_refused_in_one_line(
    tiny: Path, here: Path, over: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [part for each in over for part in ("--over", each)]
    assert message in refusal(["sweep", str(tiny), *given], capsys)
    assert not (here / "out").exists()


def test_a_study_without_results_gives_status_3(
    tiny: Path, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_or_fail(task: Task, *arguments: Any) -> list[Outcome]:
        if task[0].scenario.stream.batch_size == 5:
            return [failed(cell, RuntimeError("no")) for cell in task]
        return run_cells(task, *arguments)

    monkeypatch.setattr("tamcl.engines.inline.run_cells", run_or_fail)
    assert main(["sweep", str(tiny), *SETTINGS, "--over", "stream.batch_size=5,10"]) == 3
    output, _ = capsys.readouterr()
    assert "stream.batch_size = 5: no results, left out of everything here: all 2 runs failed" in output
    assert "No results: all 2 runs failed" in (here / "out/tiny-sweep/report.html").read_text()
