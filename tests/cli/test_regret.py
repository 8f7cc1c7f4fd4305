"""The command regret: what it trains and says, and every mistake in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tamcl.cli.main import main
from tamcl.scenario.load import load_scenario
from tamcl.training import running
from tamcl.training.cell import Cell
from tests.helpers import in_this_process, refusal
from tests.oracles import said

pytestmark = pytest.mark.usefixtures("oracles_in_this_process")


@pytest.fixture
def study(without_oracles: Path, tmp_path: Path) -> Path:
    return shutil.copytree(without_oracles, tmp_path / "study")


def test_the_command_trains_both_and_says_what_it_found(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["regret", str(study), "--oracles", "no_shift"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in printed[2:]] == ["report"]
    assert printed[:2] == said(study, "no_shift")
    assert not (study / "oracles" / "restart").exists()
    assert main(["regret", str(study)]) == 0
    output, errors = capsys.readouterr()
    assert output.splitlines()[:-1] == [*said(study, "restart"), *said(study, "no_shift")]
    assert "restart oracle 4/4 cells" in errors
    assert "no_shift oracle 4/4 cells" in errors
    held = json.loads((study / "oracles" / "restart" / "study.json").read_text())
    assert held["command"] == f"tamcl regret {study}"


def test_an_oracle_that_failed_is_named_and_the_status_is_3(
    study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin(cell: Cell, *rest: Any) -> Any:
        if cell.arm == "tam":
            raise RuntimeError("no memory")
        return present(cell, *rest)

    present = running.begin
    monkeypatch.setattr("tamcl.engines.local.Local", in_this_process)
    monkeypatch.setattr(running, "begin", begin)
    assert main(["regret", str(study), "--oracles", "restart"]) == 3
    output, errors = capsys.readouterr()
    assert "failed: tam lr 0.04 seed 1: RuntimeError: no memory" in errors
    assert "tam and its restart oracle share no seed with a value of online accuracy." in output


def numbers_learnt(study: dict[str, Any]) -> None:
    study["scenario"] = load_scenario("slowly_changing_regression").dump()


def oracle_already(study: dict[str, Any]) -> None:
    study["scenario"]["stream"]["oracle"] = "no_shift"


def no_shift(study: dict[str, Any]) -> None:
    study["scenario"]["stream"]["experiences"] = 1


def pulled_back(study: dict[str, Any]) -> None:
    study["scenario"]["strategy"] |= {"name": "ewc", "strength": 1.0}


def other_data(study: dict[str, Any]) -> None:
    study["data"]["checksum"] = "0123456789abcdef"


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (numbers_learnt, [], "stream 'slowly_changing_regression' learns numbers, and regret counts right answers"),
        (oracle_already, [], "is an oracle itself (stream.oracle = 'no_shift'): name the study it is for"),
        (no_shift, [], "has a single experience, and so no shift that an oracle could know of"),
        (pulled_back, ["--oracles", "restart"], "EWC has nothing to pull new weights back to"),
        (other_data, [], "was trained on other data: 01234567 there, not those here"),
        (lambda study: None, ["--jobs", "0"], "jobs = 0: must be at least 1"),
        (lambda study: None, ["--oracles", "restart,noshift"], "unknown oracle 'noshift': did you mean 'no_shift'?"),
    ],
)
def test_each_mistake_is_one_line_and_status_2(
    study: Path,
    change: Callable[[dict[str, Any]], None],
    options: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    values = json.loads((study / "study.json").read_text())
    change(values)
    (study / "study.json").write_text(json.dumps(values))
    assert message in refusal(["regret", str(study), *options], capsys)
    assert not (study / "oracles").exists()
