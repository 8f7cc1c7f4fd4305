"""Several GPUs; skipped with fewer than two of a kind."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

from tamcl.engines.local import Local
from tamcl.scenario.load import load_scenario
from tamcl.training.cell import Cell
from tamcl.training.resources import Resources, gpus
from tamcl.training.run import run_cell
from tests.training.test_checkpoint import due_at, killed_after_writing

pytestmark = pytest.mark.skipif(
    torch.cuda.device_count() < 2 or len(set(gpus()[:2])) > 1, reason="needs two GPUs of a kind"
)

SHORT = ["stream.experiences=2", "stream.samples=200", "evaluation.samples=100"]


def test_a_run_goes_on_on_the_other_gpu_bit_by_bit(tmp_path: Path) -> None:
    cell = Cell(load_scenario("label_flip_digits", SHORT), "tam", 0.05, 0, "report")
    whole = run_cell(cell, Resources(device="cuda:0"))
    with due_at(7), killed_after_writing():
        run_cell(cell, Resources(device="cuda:0"), tmp_path / "checkpoint")
    gone_on = run_cell(cell, Resources(device="cuda:1"), tmp_path / "checkpoint")
    pd.testing.assert_frame_equal(gone_on.online, whole.online, check_exact=True)


def test_two_workers_have_a_gpu_each_and_the_numbers_of_one(tmp_path: Path) -> None:
    scenario = load_scenario("label_flip_digits", [*SHORT, "strategy.stacked=false"])
    tasks = [(Cell(scenario, "tam", 0.05, seed, "report"),) for seed in range(4)]
    for jobs in (1, 2):
        assert {status for _, status in Local(jobs).train(tasks, tmp_path / str(jobs), Resources())} == {"ok"}
    for (cell,) in tasks:
        one, two = (pd.read_parquet(tmp_path / str(jobs) / cell.id / "online.parquet") for jobs in (1, 2))
        pd.testing.assert_frame_equal(one, two, check_exact=True)
