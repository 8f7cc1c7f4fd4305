"""SAM's sharpness against NumPy, with a gradient by finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tamcl.diagnostics import SAMSharpness
from tamcl.models import Classifier
from tests.diagnostics.helpers import update
from tests.diagnostics.test_hessian import Head

SHAPES = [(5, 4), (5,), (3, 5), (3,)]


def loss(vector: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    ends = np.cumsum([int(np.prod(shape)) for shape in SHAPES])
    parts = np.split(vector, ends[:-1])
    w1, b1, w2, b2 = (part.reshape(shape) for part, shape in zip(parts, SHAPES, strict=True))
    logits = np.tanh(x @ w1.T + b1) @ w2.T + b2
    log_sum = np.log(np.exp(logits).sum(1))
    return float((log_sum - logits[np.arange(len(y)), y]).mean())


@pytest.mark.parametrize("rho", [0.0, 0.05, 0.5])
def test_the_rise_along_the_gradient(rho: float) -> None:
    torch.manual_seed(0)
    network = Classifier(nn.Sequential(nn.Linear(4, 5), nn.Tanh()), Head(5, 3)).double()
    x, y = torch.randn(30, 4, dtype=torch.float64), torch.arange(30) % 3
    before = [param.detach().clone() for param in network.parameters()]
    [(name, found)] = SAMSharpness(rho=rho).measure(update(network, x, y))
    at = np.concatenate([param.detach().numpy().ravel() for param in network.parameters()])
    data, labels = x.numpy(), y.numpy()
    steps = 1e-6 * np.eye(len(at))
    gradient = np.array([loss(at + step, data, labels) - loss(at - step, data, labels) for step in steps]) / 2e-6
    worst = at + rho * gradient / np.linalg.norm(gradient)
    assert name == ""
    assert float(found) == pytest.approx(loss(worst, data, labels) - loss(at, data, labels), abs=1e-9)
    assert all(map(torch.equal, before, network.parameters()))
    assert all(param.grad is None for param in network.parameters())


def test_no_gradient_no_rise() -> None:
    network = Classifier(nn.Sequential(nn.Linear(4, 5), nn.Tanh()), Head(5, 1)).double()
    [(_, found)] = SAMSharpness().measure(update(network, torch.ones(2, 4).double(), torch.zeros(2).long()))
    assert float(found) == 0
