"""SAM against its reference over several bases, and what it promises about the closure."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from tamcl.optim import SAM, TAM, AdamCM, Lookahead
from tests.references.adam_cm import AdamCMReference
from tests.references.tam import TorqueReference
from tests.references.trajectory import gradients, parameters, set_gradients
from tests.references.wrappers import SAMReference, SGDReference

RNG = np.random.default_rng(2)
WEIGHTS = [RNG.uniform(0.5, 2, p.shape) for p in parameters()]


def gradient(theta):
    """Of the sum of w theta^2 / 2 + cos(theta)."""
    return [w * p - np.sin(p) for w, p in zip(WEIGHTS, theta, strict=True)]


def closure_of(optimizer, params, calls=None):
    def closure():
        optimizer.zero_grad()
        pairs = zip(WEIGHTS, params, strict=True)
        loss = sum((torch.tensor(w).to(p) * p**2 / 2 + p.cos()).sum() for w, p in pairs)
        loss.backward()
        if calls is not None:
            calls.append(loss.item())
        return loss

    return closure


BASES = {
    "sgd": ({"lr": 0.05, "momentum": 0.9}, SGDReference, {}),
    "tam": ({"lr": 0.05, "granularity": "tensor"}, TorqueReference, {}),
    "adam_cm": ({"lr": 0.05, "capacity": 3}, AdamCMReference, {}),
}


@pytest.mark.parametrize("rho", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("base", BASES)
def test_follows_the_equations(base, rho):
    options, reference, _ = BASES[base]
    params = parameters()
    sam = SAM(params, base=base, rho=rho, **options)
    expected = SAMReference(reference([p.detach().numpy() for p in params], **options), rho, gradient)
    closure = closure_of(sam, params)
    for _ in range(50):
        sam.step(closure)
        expected.step()
        for param, theta in zip(params, expected.theta, strict=True):
            np.testing.assert_allclose(param.detach().numpy(), theta, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("base", [TAM, AdamCM, torch.optim.Adam])
def test_without_perturbation_it_is_the_base_bit_by_bit(base):
    ours, plain = parameters(torch.float32), parameters(torch.float32)
    sam, optimizer = SAM(ours, lr=0.01, base=base, rho=0.0), base(plain, lr=0.01)
    for _ in range(20):
        sam.step(closure_of(sam, ours))
        optimizer.step(closure_of(optimizer, plain))
    for a, b in zip(ours, plain, strict=True):
        assert torch.equal(a, b)


def test_returns_the_first_loss_and_climbs_for_the_second():
    params = parameters()
    sam = SAM(params, lr=0.01, rho=0.1)
    calls = []
    loss = sam.step(closure_of(sam, params, calls))
    assert loss.item() == calls[0] < calls[1]


def test_each_group_has_its_own_rho():
    """The group at rest is not perturbed, and the norm is that of all."""
    a, b = (torch.nn.Parameter(torch.tensor([x], dtype=torch.float64)) for x in (3.0, 4.0))
    sam = SAM([{"params": [a]}, {"params": [b], "sam_rho": 0.0}], lr=0.0, rho=1.0)
    seen = []

    def closure():
        seen.append((a.item(), b.item()))
        a.grad, b.grad = a.detach().clone(), b.detach().clone()
        return 0.0

    sam.step(closure)
    assert seen == [(3.0, 4.0), (pytest.approx(3.6), 4.0)]
    assert (a.item(), b.item()) == (3.0, 4.0)


def test_under_maximize_the_worst_point_lies_below():
    params = parameters()
    sam = SAM(params, lr=0.01, rho=0.1, maximize=True)
    calls = []
    sam.step(closure_of(sam, params, calls))
    assert calls[1] < calls[0]


def test_parameters_are_put_back_when_the_closure_fails():
    param = torch.nn.Parameter(torch.ones(2))
    sam = SAM([param], lr=0.1)
    calls = iter([None])

    def closure():
        next(calls)
        param.grad = torch.ones(2)
        return 0.0

    with pytest.raises(StopIteration):
        sam.step(closure)
    assert torch.equal(param, torch.ones(2))


def test_a_closure_is_needed_also_through_another_wrapper():
    param = torch.nn.Parameter(torch.ones(2))
    sam = SAM([param], lr=0.1)
    with pytest.raises(TypeError, match=r"SAM needs a closure that computes loss and gradients: step\(closure\)"):
        sam.step()
    assert sam.needs_closure
    assert Lookahead([param], lr=0.1, base=SAM).needs_closure
    assert not Lookahead([param], lr=0.1).needs_closure


@pytest.mark.parametrize("base", ["sam", partial(Lookahead, base=SAM), torch.optim.LBFGS], ids=["sam", "deep", "lbfgs"])
def test_a_base_that_needs_a_closure_is_refused(base):
    with pytest.raises(TypeError, match=r"SAM cannot go over (another SAM|LBFGS): "):
        SAM(parameters(), lr=0.1, base=base)


@pytest.mark.parametrize("size", [1e-40, 1e-25, 1e-17, 1.0, 1e17, 1e25])
def test_climbs_as_far_for_gradients_of_any_size(size):
    param = torch.nn.Parameter(torch.zeros(4))
    seen = []

    def closure():
        seen.append(param.detach().clone())
        param.grad = torch.full((4,), size)
        return 0.0

    SAM([param], lr=0.0, rho=0.1).step(closure)
    assert (seen[1] - seen[0]).norm().item() == pytest.approx(0.1, rel=1e-5)


def test_no_gradient_at_all_moves_nothing():
    param = torch.nn.Parameter(torch.ones(2))
    SAM([param], lr=0.1, base="tam").step(lambda: 0.0)
    assert torch.equal(param, torch.ones(2))


@pytest.mark.parametrize("rho", [-0.1, float("nan"), "0.1"])
def test_rho_is_checked(rho):
    with pytest.raises(ValueError, match=f"rho must be a number >= 0, got {rho!r}"):
        SAM(parameters(), lr=0.1, rho=rho)


def test_steps_with_the_gradients_of_a_mini_batch_as_the_base_does():
    """A closure that leaves gradients as they are makes it the base, whatever rho is."""
    ours, plain = parameters(), parameters()
    sam, tam = SAM(ours, lr=0.01, base="tam", rho=10.0), TAM(plain, lr=0.01)
    for grads in gradients(20, missing=True):
        for params in (ours, plain):
            set_gradients(params, grads)
        sam.step(lambda: 0.0)
        tam.step()
    for a, b in zip(ours, plain, strict=True):
        assert torch.equal(a, b)
