"""The optimizers over Adam's moments, and Lion, against their references, and where they are others."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tamcl.optim import HGM, AdamRel, AdEMAMix, Lion, Lookahead
from tamcl.optim.phases import tell_of_shift
from tests.references.adam import AdamWReference
from tests.references.ademamix import AdEMAMixReference
from tests.references.hgm import HGMReference
from tests.references.lion import LionReference
from tests.references.trajectory import TWO_GROUPS, assert_follows, gradients, parameters, set_gradients, two_groups

REFERENCES = {HGM: HGMReference, AdamRel: AdamWReference, Lion: LionReference, AdEMAMix: AdEMAMixReference}
SEQUENCES = {"dense": gradients(60), "missing": gradients(60, missing=True), "zeros": gradients(60, zeros=True)}
OPTIONS = [
    (HGM, {}),
    (HGM, {"gamma": 2.0, "beta_s": 0.5, "weight_decay": 0.1, "betas": (0.5, 0.9), "eps": 0.1}),
    (HGM, {"granularity": "tensor"}),
    (AdamRel, {"weight_decay": 0.1}),
    (AdamRel, {"betas": (0.0, 0.9), "eps": 0.1}),
    (Lion, {}),
    (Lion, {"betas": (0.5, 0.0), "weight_decay": 0.1}),
    (AdEMAMix, {}),
    (AdEMAMix, {"warmup": 40, "beta3": 0.99, "alpha": 2.0, "weight_decay": 0.1}),
]


def name(value):
    return value.__name__ if isinstance(value, type) else None


@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize(("cls", "options"), OPTIONS, ids=name)
def test_follows_the_equations(cls, options, sequence):
    reference = REFERENCES[cls]([p.detach().numpy() for p in parameters()], lr=0.01, **options)
    assert_follows(lambda params: cls(params, lr=0.01, **options), reference, SEQUENCES[sequence])


@pytest.mark.parametrize("cls", REFERENCES, ids=name)
def test_follows_the_equations_with_two_groups(cls):
    reference = REFERENCES[cls]([p.detach().numpy() for p in parameters()], **TWO_GROUPS)
    assert_follows(lambda params: cls(two_groups(params)), reference, SEQUENCES["missing"])


@pytest.mark.parametrize(
    ("cls", "neutral"), [(HGM, {"gamma": 0.0}), (AdamRel, {}), (AdEMAMix, {"alpha": 0.0})], ids=name
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_in_its_neutral_setting_it_is_torchs_adamw(cls, neutral, dtype):
    ours, torchs = parameters(dtype), parameters(dtype)
    both = {"lr": 0.01, "weight_decay": 0.1}
    optimizers = cls(ours, **both, **neutral), torch.optim.AdamW(torchs, **both)
    for grads in gradients(60, missing=True):
        for params, optimizer in zip((ours, torchs), optimizers, strict=True):
            set_gradients(params, grads)
            optimizer.step()
    tolerance = 1e-5 if dtype is torch.float32 else 1e-10
    for a, b in zip(ours, torchs, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("wrapped", [False, True])
def test_at_a_shift_the_clock_starts_again_and_the_moments_are_kept(wrapped):
    """By Adam's own formula, with the corrections of a first and a second step, from moments of a steady gradient."""
    weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    make = Lookahead if wrapped else AdamRel
    optimizer = make([weight], lr=1.0, **({"base": "adam_rel", "alpha": 1.0} if wrapped else {}))

    def move(grad):
        before = weight.item()
        weight.grad = torch.full_like(weight, grad)
        optimizer.step()
        return weight.item() - before

    for _ in range(30):
        move(1.0)
    m, v = 1 - 0.9**30, 1 - 0.999**30
    tell_of_shift(optimizer)
    for t in (1, 2):
        m, v = 0.9 * m - 0.1 * 2, 0.999 * v + 0.001 * 4
        expected = -(m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        assert move(-2.0) == pytest.approx(expected, rel=1e-10)


def test_the_step_of_hgm_follows_the_cosine():
    """A gradient like the momentum, one against it, and one at a right angle to it, without smoothing."""
    factors = []
    for second in ([1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]):
        weight = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
        twin = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
        optimizers = HGM([weight], lr=0.1, beta_s=0.0, gamma=0.5), torch.optim.Adam([twin], lr=0.1)
        for grad in ([1.0, 0.0], second):
            before = weight.detach().clone(), twin.detach().clone()
            for param, optimizer in zip((weight, twin), optimizers, strict=True):
                param.grad = torch.tensor(grad, dtype=torch.float64)
                optimizer.step()
        move, plain = weight - before[0], twin - before[1]
        factors.append((move.norm() / plain.norm()).item())
    assert factors == pytest.approx([np.exp(0.5), np.exp(-0.5), 1.0])


@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        (HGM, {"beta_s": 1.0}, r"beta_s must be in \[0, 1\), got 1.0"),
        (HGM, {"gamma": -1.0}, "gamma must be a number >= 0, got -1.0"),
        (HGM, {"granularity": "layer"}, "granularity must be one of 'global', 'tensor', got 'layer'"),
        (Lion, {"betas": (0.9, 1.0)}, r"betas\[1\] must be in \[0, 1\), got 1.0"),
        (AdEMAMix, {"beta3": 1.0}, r"beta3 must be in \[0, 1\), got 1.0"),
        (AdEMAMix, {"warmup": 1.5}, "warmup must be a whole number >= 0, got 1.5"),
        (AdEMAMix, {"alpha": -1.0}, "alpha must be a number >= 0, got -1.0"),
    ],
    ids=str,
)
def test_options_are_checked(cls, options, message):
    with pytest.raises(ValueError, match=message):
        cls(parameters(), lr=0.1, **options)
