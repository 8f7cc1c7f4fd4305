"""Every engine of the table: found by name, trains every cell of every task, and leaves the same tables."""

from __future__ import annotations

from pathlib import Path

import pytest
from pandas.testing import assert_frame_equal

from tamcl.engines import ENGINES, Engine
from tamcl.errors import InputError
from tamcl.registry import lookup
from tamcl.results import read_table
from tamcl.scenario import load_scenario
from tamcl.training.cell import Cell
from tamcl.training.resources import Resources
from tamcl.training.run import run_cell


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_trains_all_cells_of_its_tasks_and_tells_how_each_ended(
    name: str, tiny: Path, tmp_path: Path
) -> None:
    scenario = load_scenario(str(tiny))
    cells = [Cell(scenario, arm, 0.1, seed, "report") for arm, seed in (("tam", 0), ("sgdm", 0), ("tam", 1))]
    broken = Cell(scenario, "sgdm", -1.0, 0, "report")
    engine: Engine = lookup(ENGINES, name)()
    ended = list(engine.train([(cells[0], broken, cells[1]), (cells[2],)], tmp_path, Resources()))
    assert len(ended) == 4
    assert {(cell.arm, cell.lr, cell.seed): status for cell, status in ended} == {
        **{(cell.arm, 0.1, cell.seed): "ok" for cell in cells},
        ("sgdm", -1.0, 0): "failed",
    }
    for cell in cells:
        expected = run_cell(cell).online.reset_index(drop=True)
        assert_frame_equal(read_table(tmp_path / cell.id, "online"), expected, check_exact=True)
    assert "lr" in read_table(tmp_path / broken.id, "runs")["error"].item()


def test_what_is_no_engine_is_refused() -> None:
    with pytest.raises(InputError, match="is no tamcl.engines.Engine"):
        lookup(ENGINES, "tamcl.training.cell:Cell")
