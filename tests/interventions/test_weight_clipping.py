"""Weight clipping: its twin, in every kind of layer, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tamcl.errors import InputError
from tamcl.interventions import WeightClipping
from tests.interventions.helpers import classifier, train, values
from tests.references.interventions import clip


@pytest.mark.parametrize("kappa", [0.5, 1.0])
def test_every_step_is_the_twins(kappa: float) -> None:
    """Of a perceptron with a head for each task: a rate that carries weights out of their range."""
    _, steps = train(WeightClipping(kappa=kappa), make=lambda params: torch.optim.SGD(params, lr=0.5))
    clipped = 0
    for step in steps:
        moved = {name: value - 0.5 * step.gradients.get(name, 0) for name, value in step.before.items()}
        expected = clip(moved, kappa)
        clipped += sum(int((expected[name] != value).sum()) for name, value in moved.items())
        for name, value in step.after.items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-6, atol=1e-7, err_msg=name)
    assert clipped > 10


def test_convolutions_count_what_is_under_their_kernel() -> None:
    model = classifier("pc_cnn", "single", side=16)
    with torch.no_grad():
        for param in model.parameters():
            param.mul_(10)
    before = values(model)
    optimizer = torch.optim.SGD(model.parameters())
    clipping = WeightClipping(kappa=2.0)
    clipping.begin(model, optimizer, 0)
    clipping.after_step(optimizer)
    assert before["head.linear.weight"].ndim == 2
    assert {value.ndim for value in before.values()} == {1, 2, 4}
    for name, value in values(model).items():
        np.testing.assert_allclose(value, clip(before, 2.0)[name], rtol=1e-6, err_msg=name)
        assert not np.array_equal(value, before[name]), name


def test_normalisations_are_left_as_they_are_and_other_parameters_refused() -> None:
    model = classifier("slim_resnet18", "single", side=32)
    with torch.no_grad():
        for param in model.parameters():
            param.fill_(50.0)
    optimizer = torch.optim.SGD(model.parameters())
    clipping = WeightClipping()
    clipping.begin(model, optimizer, 0)
    clipping.after_step(optimizer)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.weight.min() == 50
        elif isinstance(module, nn.Conv2d):
            assert module.weight.max() < 1
    attention = classifier("vit_tiny", "single", side=32, depth=1)
    with pytest.raises(InputError, match=r"body\.network\.class_token is a parameter of VisionTransformer, which has"):
        WeightClipping().begin(attention, torch.optim.SGD(attention.parameters()), 0)


@pytest.mark.parametrize("kappa", [0, -1.0, float("nan"), float("inf"), "1", True, None])
def test_kappa_is_a_number_above_0(kappa: object) -> None:
    with pytest.raises(InputError, match=r"kappa = .*: must be a number, above 0"):
        WeightClipping(kappa=kappa)  # type: ignore[arg-type]
