"""Dead and dormant units of nets made by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tamcl.diagnostics import DeadUnits, Diagnostic, DormantUnits, ZeroOutputs
from tamcl.models import Classifier
from tests.diagnostics.helpers import update
from tests.diagnostics.test_hessian import Head


def by_hand(weights: list[list[float]]) -> Classifier:
    """A ReLU layer on two inputs with these weights, one row a unit."""
    layer = nn.Linear(2, len(weights), bias=False)
    layer.weight.data = torch.tensor(weights)
    return Classifier(nn.Sequential(layer, nn.ReLU()), Head(len(weights), 2))


def found(diagnostic: Diagnostic, network: nn.Module, x: Tensor) -> dict[str, float]:
    return {name: float(value) for name, value in diagnostic.measure(update(network, x, torch.zeros(len(x)).long()))}


X = torch.tensor([[1.0, 0.0], [3.0, 0.0], [-1.0, 1.0], [0.0, 2.0]])
UNITS = [[1.0, 0.0], [-1.0, -1.0], [0.0, 1.0], [0.01, 0.0]]
"""Outputs (1, 3, 0, 0), (0, 0, 0, 0), (0, 0, 1, 2), (.01, .03, 0, 0): means 1, 0, .75, .01 and their mean .44."""


def test_units_by_hand() -> None:
    network = by_hand(UNITS)
    for diagnostic, share in (
        (ZeroOutputs(), 10 / 16),
        (DeadUnits(), 1 / 4),
        (DormantUnits(), 2 / 4),
        (DormantUnits(tau=0), 1 / 4),
        (DormantUnits(tau=0.01 / 0.44 - 1e-3), 1 / 4),
        (DormantUnits(tau=0.01 / 0.44 + 1e-3), 2 / 4),
        (DormantUnits(tau=0.75 / 0.44 + 1e-3), 3 / 4),
    ):
        assert found(diagnostic, network, X) == pytest.approx({"": share, "body.1": share})


def test_a_layer_without_any_output_is_dead_and_dormant() -> None:
    network = by_hand([[0.0, 0.0], [0.0, 0.0]])
    for diagnostic in (ZeroOutputs(), DeadUnits(), DormantUnits()):
        assert found(diagnostic, network, X) == {"": 1, "body.1": 1}


def test_layers_count_by_their_units() -> None:
    first, second = nn.Linear(2, 4, bias=False), nn.Linear(4, 1, bias=False)
    first.weight.data, second.weight.data = torch.tensor(UNITS), -torch.ones(1, 4)
    network = Classifier(nn.Sequential(first, nn.ReLU(), second, nn.ReLU()), Head(1, 2))
    assert found(DeadUnits(), network, X) == pytest.approx({"": 2 / 5, "body.1": 1 / 4, "body.3": 1})
    assert found(ZeroOutputs(), network, X) == pytest.approx({"": (10 + 4) / 20, "body.1": 10 / 16, "body.3": 1})


class Twice(nn.Module):
    """One ReLU module used for two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.relu(x) - 10)


def test_a_module_that_is_called_twice_counts_twice() -> None:
    network = Classifier(Twice(), Head(2, 2))
    assert found(DeadUnits(), network, X) == {"": 0.5, "body.relu": 0.5}


def test_a_unit_of_a_convolution_is_a_channel() -> None:
    convolution = nn.Conv2d(1, 3, 1)
    convolution.weight.data = torch.tensor([1.0, -1.0, 0.001]).view(3, 1, 1, 1)
    convolution.bias.data.zero_()
    network = Classifier(nn.Sequential(convolution, nn.ReLU(), nn.Flatten()), Head(12, 2))
    x = torch.tensor([[0.0, 0.0], [0.0, 4.0]]).expand(5, 1, 2, 2)
    assert found(DeadUnits(), network, x) == pytest.approx({"": 1 / 3, "body.1": 1 / 3})
    assert found(DormantUnits(), network, x) == pytest.approx({"": 2 / 3, "body.1": 2 / 3})
    assert found(ZeroOutputs(), network, x) == pytest.approx({"": 10 / 12, "body.1": 10 / 12})


@pytest.mark.parametrize("diagnostic", [ZeroOutputs(), DeadUnits(), DormantUnits()])
def test_a_model_without_relu_has_no_rows(diagnostic: Any) -> None:
    network = Classifier(nn.Sequential(nn.Linear(2, 3), nn.Tanh()), Head(3, 2))
    assert found(diagnostic, network, X) == {}
