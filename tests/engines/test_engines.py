"""Every engine of the table: found by name, trains every cell of every task, and leaves the same tables."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pandas.testing import assert_frame_equal

from tamcl.engines import ENGINES, Engine, engine_of, is_here
from tamcl.engines.inline import Inline
from tamcl.engines.local import Local
from tamcl.errors import InputError
from tamcl.registry import lookup
from tamcl.results import read_table
from tamcl.scenario import load_scenario
from tamcl.study import compare, estimate, estimate_sweep, sweep, verify
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


def test_one_job_is_trained_here_and_more_in_processes() -> None:
    assert engine_of(None, None) == engine_of(None, 1) == Inline()
    assert engine_of(None, 3) == Local(3)
    assert is_here(Inline())
    assert not is_here(Local())
    with pytest.raises(InputError, match="jobs = 0: must be at least 1"):
        engine_of(None, 0)
    with pytest.raises(InputError, match="jobs = 2: is for processes of this machine; give either jobs or engine"):
        engine_of(Local(), 2)


OWN = """
import torch

TOLD = []


class Told(torch.optim.SGD):
    def step(self, closure=None):
        TOLD.append(1)
        return super().step(closure)
"""


def test_with_one_job_everything_that_trains_does_so_here(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "told_here.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("tamcl.engines.processes.Workers", lambda *_: pytest.fail("a process was started"))
    monkeypatch.setattr("tamcl.engines.local.Workers", lambda *_: pytest.fail("a process was started"))
    scenario = load_scenario(tiny, ["protocol.seeds=1", "protocol.tune_seeds=1"], ["sgdm"])
    own = scenario.with_arm("told_here:Told", lr=[0.1, 0.05]).only(["Told"])
    over, folder = {"stream.fraction": [0.5]}, tmp_path / "study"
    compare(own, folder, progress=False)
    told = importlib.import_module("told_here").TOLD
    calls: list[Callable[[], object]] = [
        lambda: estimate(own),
        lambda: estimate_sweep(own, over, tmp_path / "sweep", jobs=1),
        lambda: sweep(own, over, tmp_path / "sweep"),
        lambda: verify(folder, cells=1, code=["told_here"], jobs=1),
    ]
    for call in calls:
        del told[:]
        call()
        assert told
    assert [check.agreement for check in verify(folder, cells=1, code=["told_here"]).checks] == ["bit by bit"]
    with pytest.raises(InputError, match="jobs = 2: is for processes of this machine; give either jobs or engine"):
        verify(folder, jobs=2, engine=Inline())


def set_otherwise() -> None:
    torch.set_default_dtype(torch.float64)
    torch.set_flush_denormal(True)
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_float32_matmul_precision("medium")
    torch.manual_seed(7)


def settings() -> list[object]:
    flushes = (torch.tensor(1e-310, dtype=torch.float64) * 1).item() == 0
    numbers = torch.get_num_threads(), torch.get_float32_matmul_precision(), torch.initial_seed()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    return [torch.get_default_dtype(), flushes, warns, torch.is_grad_enabled(), *numbers, *torch.get_rng_state()[:40]]


def test_what_is_set_in_this_process_neither_changes_a_run_nor_is_changed_by_it(tiny: Path, tmp_path: Path) -> None:
    cell = Cell(load_scenario(str(tiny)), "sgdm", 0.1, 0, "report")
    threads = torch.get_num_threads()
    try:
        set_otherwise()
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            before = settings()
            [(_, status)] = Inline().train([(cell,)], tmp_path, Resources())
            after = settings()
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_flush_denormal(False)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(False)
        torch.set_float32_matmul_precision("highest")
    assert (status, after) == ("ok", before)
    expected = run_cell(cell).online.reset_index(drop=True)
    assert_frame_equal(read_table(tmp_path / cell.id, "online"), expected, check_exact=True)
