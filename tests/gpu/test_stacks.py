"""Stacks on a GPU: the numbers of the CPU, the same bits in every grouping, and how fast; skipped without one.

``python -m pytest -s tests/gpu`` takes some minutes and prints the speeds.
"""

from __future__ import annotations

import time

import pandas as pd
import pytest
import torch

from tamcl.scenario.load import load_scenario
from tamcl.training.cell import Cell
from tamcl.training.resources import Resources
from tamcl.training.run import run_cells

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

ARMS = ["sgdm", "tam", "adam", "adatam", "adam_cm"]


def cells_of(arm: str, count: int, *settings: str) -> list[Cell]:
    scenario = load_scenario("label_flip_digits", ["evaluation.samples=100", *settings])
    lr = scenario.arms[arm].lr[2]
    return [Cell(scenario, arm, lr * (1 + seed % 2), seed // 2, "tune") for seed in range(count)]


@pytest.mark.parametrize("arm", ARMS)
def test_numbers_are_those_of_the_cpu(float64: None, arm: str) -> None:
    cells = tuple(cells_of(arm, 4, "stream.experiences=2"))
    there, here = (run_cells(cells, Resources(device=device)) for device in ("cuda", "cpu"))
    for ours, theirs in zip(there, here, strict=True):
        assert ours.runs["error"].item() == ""
        for name in ("online", "eval"):
            pd.testing.assert_frame_equal(ours.tables[name], theirs.tables[name], check_exact=False, rtol=1e-9)


@pytest.mark.parametrize("arm", ARMS)
def test_every_grouping_gives_the_same_bits(arm: str) -> None:
    cells = cells_of(arm, 6, "stream.experiences=2")
    together = run_cells(tuple(cells), Resources(device="cuda"))
    alone = [run_cells((cell,), Resources(device="cuda"))[0] for cell in cells[:2]]
    for one, other in zip(alone, together, strict=False):
        pd.testing.assert_frame_equal(one.online, other.online, check_exact=True)


@pytest.mark.parametrize("arm", ARMS)
def test_compiled_numbers_are_those_of_the_cpu(float64: None, arm: str) -> None:
    """As one CUDA graph a step."""
    cells = cells_of(arm, 4, "stream.experiences=2", "strategy.compiled=true")
    there = run_cells(tuple(cells), Resources(device="cuda"))
    here = run_cells(tuple(cells_of(arm, 4, "stream.experiences=2")), Resources(device="cpu"))
    for ours, theirs in zip(there, here, strict=True):
        assert ours.runs["error"].item() == ""
        for name in ("online", "eval"):
            pd.testing.assert_frame_equal(ours.tables[name], theirs.tables[name], check_exact=False, rtol=1e-9)


@pytest.mark.parametrize("arm", ARMS)
def test_every_grouping_of_compiled_runs_gives_the_same_bits(arm: str) -> None:
    cells = cells_of(arm, 6, "stream.experiences=2", "strategy.compiled=true")
    together = run_cells(tuple(cells), Resources(device="cuda"))
    alone = [run_cells((cell,), Resources(device="cuda"))[0] for cell in cells[:2]]
    for one, other in zip(alone, together, strict=False):
        pd.testing.assert_frame_equal(one.online, other.online, check_exact=True)


@pytest.mark.parametrize("compiled", ["false", "true"])
def test_speed_by_size_of_stack(compiled: str) -> None:
    for arm in ARMS:
        for count in (1, 8, 16):
            cells = tuple(cells_of(arm, count, "stream.experiences=2", f"strategy.compiled={compiled}"))
            run_cells(cells, Resources(device="cuda"))
            before = time.perf_counter()
            outcomes = run_cells(cells, Resources(device="cuda"))
            samples = sum(int(outcome.online["n"].sum()) for outcome in outcomes)
            speed = samples / (time.perf_counter() - before) / 1000
            words = "compiled " if compiled == "true" else ""
            print(f"{arm:8} {words}R = {count:2}: {speed:7.1f} thousand samples/s")
