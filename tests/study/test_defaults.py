"""Runs that were made with other defaults are other runs: none is mixed with those of now."""

from __future__ import annotations

import inspect
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

import tamcl.training.cell
from tamcl.engines.inline import Inline
from tamcl.errors import InputError
from tamcl.optim import OPTIMIZERS
from tamcl.optim.defaults import CHANGED, changed_defaults
from tamcl.registry import lookup
from tamcl.scenario.load import load_scenario
from tamcl.study.confirm import confirm
from tamcl.study.train import say_other_defaults
from tamcl.training.cell import Cell, failed, write_cell


@pytest.mark.parametrize("name", CHANGED)
def test_they_are_the_defaults(name: str) -> None:
    parameters = inspect.signature(lookup(OPTIMIZERS, name)).parameters
    assert {key: parameters[key].default for key in CHANGED[name]} == CHANGED[name]


@pytest.mark.parametrize(
    ("optimizer", "options", "expected"),
    [
        ("tam", {"start": "zero"}, {"cosine_on", "granularity"}),
        ("tamcl.optim.tam:TAM", {}, {"start", "cosine_on", "granularity"}),
        ("lookahead", {"base": "adatamw"}, {"start", "granularity"}),
        ("switch", {}, {"first", "carry", "start", "cosine_on", "granularity"}),
        ("switch", {"first": "adam", "then": "sgd"}, {"carry"}),
        ("my.module:TAM", {"k": 3}, set()),
        ("sgd", {"momentum": 0.9}, set()),
    ],
)
def test_those_of_optimizers_that_others_wrap_count(optimizer: str, options: dict, expected: set[str]) -> None:
    assert set(changed_defaults(optimizer, options)) == expected


@pytest.fixture
def cells(tiny: Path) -> dict[str, Cell]:
    scenario = load_scenario(str(tiny))
    return {arm: Cell(scenario, arm, 0.1, 0, "report") for arm in ("tam", "sgdm")}


def test_a_run_of_before_is_another_run_which_is_said(
    cells: dict[str, Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = {arm: cell.id for arm, cell in cells.items()}
    with monkeypatch.context() as before:
        before.setattr(tamcl.training.cell, "changed_defaults", lambda optimizer, options: {})
        for cell in cells.values():
            write_cell(tmp_path / "cells", cell, failed(cell, ValueError("no")))
        assert cells["sgdm"].id == now["sgdm"]
        assert cells["tam"].id != now["tam"]
    say_other_defaults([*cells.values()], tmp_path / "cells")
    assert capsys.readouterr().err == (
        f"tamcl: the defaults of optimizers changed, so 1 report runs of tam in '{tmp_path}' are trained anew\n"
    )
    write_cell(tmp_path / "new", cells["tam"], failed(cells["tam"], ValueError("no")))
    say_other_defaults([*cells.values()], tmp_path / "new")
    assert capsys.readouterr().err == ""


def test_claims_of_before_are_not_repeated_with_the_defaults_of_now(without_oracles: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(without_oracles, tmp_path / "study")
    runs = pd.read_parquet(folder / "runs.parquet")
    for column in ("optimizer", "config"):
        values = [json.loads(text) for text in runs[column]]
        for value in values:
            options = value if column == "optimizer" else value["optimizer"]
            for key in ("start", "cosine_on", "granularity"):
                options.pop(key, None)
        runs[column] = [json.dumps(value) for value in values]
    runs.to_parquet(folder / "runs.parquet")
    message = r"^arms.tam: by now tam has the defaults start = 'gradient', granularity = 'group', cosine_on = "
    with pytest.raises(InputError, match=message):
        confirm(folder, engine=Inline())
