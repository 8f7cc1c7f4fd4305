"""The top eigenvalue against dense matrices."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tamcl.diagnostics import HessianTop
from tamcl.diagnostics.hessian import top_eigenvalue
from tamcl.models import Classifier
from tests.diagnostics.helpers import update


@pytest.mark.parametrize("seed", range(5))
def test_lanczos_finds_the_top_of_a_dense_matrix(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(40, 40))
    matrix = matrix + matrix.T - 8 * np.eye(40)  # the largest in magnitude is negative
    spectrum = np.linalg.eigvalsh(matrix)
    assert spectrum[0] < -spectrum[-1]
    dense = torch.from_numpy(matrix)
    start = torch.from_numpy(rng.normal(size=40))
    found = top_eigenvalue(lambda vector: dense @ vector, start, iterations=40, tolerance=0)
    assert found == pytest.approx(spectrum[-1], rel=1e-10)
    loose = top_eigenvalue(lambda vector: dense @ vector, start, iterations=40, tolerance=1e-3)
    assert loose == pytest.approx(spectrum[-1], rel=1e-3)
    few = [top_eigenvalue(lambda vector: dense @ vector, start, iterations=k) for k in (1, 3, 6)]
    assert few == sorted(few)
    assert few[-1] <= spectrum[-1] + 1e-9


def test_it_stops_when_it_is_sure() -> None:
    calls = []

    def multiply(vector: Tensor) -> Tensor:
        calls.append(1)
        return torch.tensor([100.0, 1.0, 0.5, 0.1, 0.0] + [0.01] * 45) * vector

    assert top_eigenvalue(multiply, torch.ones(50), iterations=50) == pytest.approx(100, rel=1e-5)
    assert len(calls) <= 5


@pytest.mark.parametrize("scale", [0.0, 1e-20, 1.0, 1e20])
def test_multiples_of_the_identity(scale: float) -> None:
    assert top_eigenvalue(lambda vector: scale * vector, torch.ones(7)) == pytest.approx(scale, rel=1e-6)


def test_a_matrix_that_is_not_finite_gives_nan() -> None:
    assert math.isnan(top_eigenvalue(lambda vector: vector * torch.nan, torch.ones(3)))
    assert math.isnan(top_eigenvalue(lambda vector: vector * torch.inf, torch.ones(3)))


class Head(nn.Linear):
    def forward(self, features: Tensor, task: int) -> Tensor:  # type: ignore[override]
        return super().forward(features)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
def test_the_hessian_of_a_small_net_in_float64(activation: type[nn.Module]) -> None:
    torch.manual_seed(0)
    network = Classifier(nn.Sequential(nn.Linear(4, 5), activation()), Head(5, 3)).double()
    x, y = torch.randn(30, 4, dtype=torch.float64), torch.arange(30) % 3
    [(name, found)] = HessianTop(iterations=100, tolerance=1e-12).measure(update(network, x, y))

    def loss(vector: Tensor) -> Tensor:
        w1, b1, w2, b2 = vector.split([20, 5, 15, 3])
        hidden = activation()(x @ w1.view(5, 4).T + b1)
        return nn.functional.cross_entropy(hidden @ w2.view(3, 5).T + b2, y)

    vector = torch.cat([param.detach().flatten() for param in network.parameters()])
    dense = torch.autograd.functional.hessian(loss, vector).numpy()
    assert name == ""
    assert found == pytest.approx(np.linalg.eigvalsh(dense)[-1], rel=1e-9)
    [(_, as_it_comes)] = HessianTop().measure(update(network, x, y))
    assert as_it_comes == pytest.approx(found, rel=1e-3)
    assert all(param.grad is None for param in network.parameters())


def test_it_is_measured_on_as_many_examples_as_are_asked_for() -> None:
    torch.manual_seed(0)
    network = Classifier(nn.Sequential(nn.Linear(4, 5), nn.Tanh()), Head(5, 3)).double()
    x, y = torch.randn(30, 4, dtype=torch.float64), torch.arange(30) % 3
    rows = [0, 4, 8, 12, 17, 21, 25]  # spread evenly
    [(_, some)] = HessianTop().measure(update(network, x, y, samples=7))
    [(_, same)] = HessianTop().measure(update(network, x[rows], y[rows]))
    assert some == same
