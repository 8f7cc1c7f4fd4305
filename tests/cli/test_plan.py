"""What a study will take, as the command line says it."""

from __future__ import annotations

from math import nan
from pathlib import Path

import pytest

from tamcl.cli.display import show_plan
from tamcl.cli.main import main
from tamcl.study.estimate import ArmPlan, Plan
from tests.oracles import ARMS, SETTINGS


def test_display(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    arms = {
        "sgdm": ArmPlan((15, 15), 10, (5, 15, 5), "", 0.1234, (35.0, 35.0)),
        "mine": ArmPlan((5, 8), 10, (1,) * 18, "the model lenet is not faster stacked", 14.2, (65.0, 4980.0)),
        "bad": ArmPlan((0, 0), 10, (), "", nan, (0.0, 0.0), "SystemExit: bye"),
    }
    plan = Plan("x", arms, 200, 2, (100.0, 2000.0), (5e6, 1.26e9), 7)
    monkeypatch.setenv("COLUMNS", "100")
    show_plan(plan, tmp_path)
    printed = capsys.readouterr().out.splitlines()
    rows = [[word.strip() for word in line.split("  ") if word.strip()] for line in printed]
    assert rows[0] == ["arm", "cells", "stacks (tasks x cells)", "steps", "ms a step", "CPU time"]
    assert rows[1] == ["sgdm", "15 + 10", "1 x 15, 2 x 5", "200", "0.12", "35 s"]
    assert rows[2] == ["mine", "5 to 8 + 10", "one by one", "200", "14", "1 min 5 s to 1 h 23 min"]
    assert rows[3] == ["bad", "0 + 10", "-", "200", "-", "not measured"]
    assert printed[-6:] == [
        "bad: not measured, and left out of the time: SystemExit: bye",
        "one by one: mine: the model lenet is not faster stacked",
        "50 to 53 cells: 20 to 23 to choose learning rates, 30 reported",
        "about 1 min 40 s to 33 min 20 s with 2 processes on an idle machine, start included, then the report",
        "about 5 MB to 1.3 GB of disk",
        f"7 of 50 to 53 cells are finished already in {tmp_path}, and not in the times",
    ]
    show_plan(plan, tmp_path / "none")
    assert "finished" not in capsys.readouterr().out


def test_nothing_is_trained_or_written(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def train(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("tamcl.engines.local.Local.train", train)
    monkeypatch.setattr("tamcl.engines.local.Local.kept", train)
    monkeypatch.chdir(tmp_path)
    answers = []
    for command in (["plan", str(tiny)], ["compare", str(tiny), "--dry-run"]):
        assert main([*command, "--arms", "tam", "--seeds", "2", "--set", "protocol.tune_seeds=1", "--jobs", "2"]) == 0
        output, errors = capsys.readouterr()
        assert errors == ""
        answers.append(output.splitlines()[1].split()[:8] + output.splitlines()[2:3])
        assert output.splitlines()[1].split()[:7] == ["tam", "2", "+", "2", "4", "x", "1"]
    assert answers[0] == answers[1]
    assert "4 cells: 2 to choose learning rates, 2 reported" in output
    assert not list(tmp_path.iterdir())


def test_what_is_finished_is_said(tiny: Path, without_oracles: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(without_oracles.rglob("*"))
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    command = ["compare", str(tiny), "--arms", ",".join(ARMS), *settings, "--dry-run", "--out", str(without_oracles)]
    assert main(command) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"8 of 8 cells are finished already in {without_oracles}, and not in the times"
    assert sorted(without_oracles.rglob("*")) == before
