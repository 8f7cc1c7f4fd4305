"""UPGD's plasticity from the losses of a short training written out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tamcl.scenario.load import load_scenario
from tamcl.strategies.loader import BatchLoader
from tamcl.streams.benchmark import build_benchmark
from tamcl.training.build import build_model, load_data, plan
from tamcl.training.cell import Cell
from tamcl.training.resources import Resources
from tamcl.training.run import run_cell


@pytest.mark.parametrize("lr", [0.01, 0.5])
def test_share_of_the_loss_that_an_update_removes(tiny: Path, lr: float) -> None:
    scenario = load_scenario(
        str(tiny),
        ["stream.experiences=1", 'diagnostics={names=["sample_plasticity"],every=1}', "arms.sgdm.momentum=0.0"],
    )
    found = run_cell(Cell(scenario, "sgdm", lr, 0, "report")).diagnostics["value"].to_numpy()
    data = load_data("digits", Resources())
    segments = plan(scenario, data, 0)
    model = build_model(scenario, data, segments, 0)
    experience = build_benchmark(data, segments).train_stream[0]
    before, after = [], []
    for x, y, _ in BatchLoader(experience, 10, 0, 0, torch.device("cpu")):
        losses = []
        for _ in range(2):
            loss = torch.nn.functional.cross_entropy(model(x, 0), y)
            losses.append(loss.item())
            if len(losses) == 1:
                gradients = torch.autograd.grad(loss, list(model.parameters()))
                with torch.no_grad():
                    for weight, gradient in zip(model.parameters(), gradients, strict=True):
                        weight -= lr * gradient
        before.append(losses[0])
        after.append(losses[1])
    assert np.allclose(found, np.clip(1 - np.array(after) / np.array(before), 0, 1), atol=1e-5)
    assert ((found >= 0) & (found <= 1)).all()
    assert found.max() > 0
