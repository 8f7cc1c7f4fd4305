"""AdaTAM and AdaTAMW against their references."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tamcl.optim import AdaTAM, AdaTAMW
from tests.references.tam import AdaTAMReference
from tests.references.trajectory import TWO_GROUPS, assert_follows, gradients, parameters, set_gradients, two_groups

SEQUENCES = {"dense": gradients(), "missing": gradients(missing=True), "zeros": gradients(zeros=True)}


@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize(("start", "granularity"), [("gradient", "group"), ("zero", "global"), ("gradient", "tensor")])
@pytest.mark.parametrize("bias_correction", ["second", "none", "both"])
@pytest.mark.parametrize("optimizer", [AdaTAM, AdaTAMW])
def test_follows_the_equations(optimizer, bias_correction, start, granularity, sequence):
    options = {"start": start, "granularity": granularity, "bias_correction": bias_correction}
    options |= {"weight_decay": 0.1, "lr": 0.01}
    reference = AdaTAMReference([p.detach().numpy() for p in parameters()], decoupled=optimizer is AdaTAMW, **options)
    assert_follows(lambda params: optimizer(params, **options), reference, SEQUENCES[sequence])


def test_the_cosine_may_be_of_the_decayed_gradient():
    options = {"cosine_on": "decayed", "weight_decay": 0.5, "lr": 0.01}
    reference = AdaTAMReference([p.detach().numpy() for p in parameters()], **options)
    assert_follows(lambda params: AdaTAM(params, **options), reference, gradients(missing=True))


@pytest.mark.parametrize("granularity", ["group", "global", "tensor"])
@pytest.mark.parametrize("optimizer", [AdaTAM, AdaTAMW])
def test_follows_the_equations_with_two_groups(optimizer, granularity):
    reference = AdaTAMReference(
        [p.detach().numpy() for p in parameters()],
        decoupled=optimizer is AdaTAMW,
        granularity=granularity,
        groups=[0, 0, 1, 1],
        **TWO_GROUPS,
    )
    assert_follows(
        lambda params: optimizer(two_groups(params), granularity=granularity), reference, gradients(missing=True)
    )


@pytest.mark.parametrize("options", [{"gamma": 0.0}, {"eps": 0.1}, {"damping": 1.0}])
def test_follows_the_equations_with_other_constants(options):
    reference = AdaTAMReference([p.detach().numpy() for p in parameters()], lr=0.01, **options)
    assert_follows(lambda params: AdaTAM(params, lr=0.01, **options), reference, gradients(100))


def test_betas_enter_where_the_equations_say():
    reference = AdaTAMReference([p.detach().numpy() for p in parameters()], lr=0.01, beta=0.5, beta2=0.9)
    assert_follows(lambda params: AdaTAM(params, lr=0.01, betas=(0.5, 0.9)), reference, gradients(100))


@pytest.mark.parametrize(
    ("start", "bias_correction", "first_steps"),
    [
        ("gradient", "second", [1.0]),
        ("gradient", "none", [31.6, 32.4, 34.7]),
        ("gradient", "both", [10.0]),
        ("zero", "second", [0.5]),
        ("zero", "none", [15.8, 22.4, 27.3, 31.3]),
        ("zero", "both", [5.0]),
    ],
)
def test_first_steps_of_a_steady_gradient_in_learning_rates(start, bias_correction, first_steps):
    param = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = AdaTAM([param], lr=1.0, bias_correction=bias_correction, start=start)
    steps = []
    for _ in first_steps:
        before = param.item()
        param.grad = torch.ones_like(param)
        optimizer.step()
        steps.append(before - param.item())
    assert steps == pytest.approx(first_steps, abs=0.05)


def test_damping_held_at_its_average_form_is_adam():
    """With d = 1 - beta_1 the momentum is Adam's average of gradients, and both corrections make it torch's Adam."""
    ours, torchs = parameters(), parameters()
    adatam = AdaTAM(ours, lr=0.01, damping=0.1, bias_correction="both", eps=0.0, start="zero")
    adam = torch.optim.Adam(torchs, lr=0.01, eps=0.0)
    for grads in gradients(100):
        for params, optimizer in ((ours, adatam), (torchs, adam)):
            set_gradients(params, grads)
            optimizer.step()
    for a, b in zip(ours, torchs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_decay_of_adatamw_ignores_the_size_of_the_gradient():
    moved = []
    for size in (1.0, 1e6):
        params = parameters()
        optimizer = AdaTAMW(params, lr=0.01, weight_decay=0.5, eps=0.0)
        for grads in gradients(10):
            set_gradients(params, [size * g for g in grads])
            optimizer.step()
        moved.append([p.detach().numpy() for p in params])
    for a, b in zip(*moved, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)
