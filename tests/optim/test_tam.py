"""TAM against its reference, its neutral setting and the limits that the paper states."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tamcl.optim import TAM
from tests.references.tam import TorqueReference
from tests.references.trajectory import TWO_GROUPS, assert_follows, gradients, parameters, set_gradients, two_groups

SEQUENCES = {
    "dense": gradients(),
    "missing": gradients(missing=True),
    "zeros": gradients(zeros=True),
}


@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize("granularity", ["global", "tensor"])
@pytest.mark.parametrize(("weight_decay", "decoupled"), [(0.0, False), (0.1, False), (0.1, True)])
def test_follows_the_equations(granularity, weight_decay, decoupled, sequence):
    reference = TorqueReference(
        [p.detach().numpy() for p in parameters()],
        lr=0.01,
        granularity=granularity,
        weight_decay=weight_decay,
        decoupled=decoupled,
    )
    assert_follows(
        lambda params: TAM(
            params, lr=0.01, granularity=granularity, weight_decay=weight_decay, decoupled_weight_decay=decoupled
        ),
        reference,
        SEQUENCES[sequence],
    )


@pytest.mark.parametrize("granularity", ["global", "tensor"])
def test_follows_the_equations_with_two_groups(granularity):
    reference = TorqueReference([p.detach().numpy() for p in parameters()], granularity=granularity, **TWO_GROUPS)
    assert_follows(lambda params: TAM(two_groups(params), granularity=granularity), reference, gradients(missing=True))


@pytest.mark.parametrize(
    "options", [{"beta": 0.0}, {"gamma": 0.0}, {"gamma": 0.99}, {"eps": 0.1}, {"damping": 0.5}, {"damping": 0.0}]
)
def test_follows_the_equations_with_other_constants(options):
    reference = TorqueReference([p.detach().numpy() for p in parameters()], lr=0.01, **options)
    ours = {"momentum" if name == "beta" else name: value for name, value in options.items()}
    assert_follows(lambda params: TAM(params, lr=0.01, **ours), reference, gradients(100))


def test_maximize_follows_the_negated_gradient():
    reference = TorqueReference([p.detach().numpy() for p in parameters()], lr=0.01, weight_decay=0.1)
    params = parameters()
    optimizer = TAM(params, lr=0.01, weight_decay=0.1, maximize=True)
    for grads in gradients(50):
        set_gradients(params, [-g for g in grads])
        optimizer.step()
        reference.step(grads)
    for param, theta in zip(params, reference.theta, strict=True):
        np.testing.assert_allclose(param.detach().numpy(), theta, rtol=1e-10)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_damping_held_at_one_is_sgd_with_momentum(weight_decay):
    ours, torchs = parameters(), parameters()
    tam = TAM(ours, lr=0.01, damping=1.0, eps=0.0, weight_decay=weight_decay)
    sgd = torch.optim.SGD(torchs, lr=0.01, momentum=0.9, weight_decay=weight_decay)
    for grads in gradients(100, missing=True):
        for params, optimizer in ((ours, tam), (torchs, sgd)):
            set_gradients(params, grads)
            optimizer.step()
    for a, b in zip(ours, torchs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-14, atol=1e-14)


def test_damping_held_at_one_half_is_sgd_at_half_the_learning_rate():
    ours, torchs = parameters(), parameters()
    tam = TAM(ours, lr=0.02, damping=0.5, eps=0.0)
    sgd = torch.optim.SGD(torchs, lr=0.01, momentum=0.9)
    for grads in gradients(100):
        for params, optimizer in ((ours, tam), (torchs, sgd)):
            set_gradients(params, grads)
            optimizer.step()
    for a, b in zip(ours, torchs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("granularity", ["global", "tensor"])
@pytest.mark.parametrize(
    ("relation", "cosine"),
    [
        (lambda m: 3 * m, 1.0),
        (lambda m: -3 * m, -1.0),
        (lambda m: torch.stack([-m[1], m[0]]), 0.0),
    ],
    ids=["aligned", "opposed", "orthogonal"],
)
def test_limits_of_the_damping(granularity, relation, cosine):
    param = torch.nn.Parameter(torch.zeros(2))
    optimizer = TAM([param], gamma=0.0, granularity=granularity)
    param.grad = torch.tensor([1.0, 2.0])
    optimizer.step()
    state = optimizer.state[param]
    assert state["damping"] == 0.5, "the first damping is 1/2"
    param.grad = relation(state["momentum_buffer"]).clone()
    optimizer.step()
    assert state["cosine"] == pytest.approx(cosine, abs=1e-6)
    assert state["damping"] == pytest.approx((1 + cosine) / 2, abs=1e-6)


def test_an_opposed_gradient_hardly_enters():
    param = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = TAM([param], gamma=0.0, momentum=0.9, eps=1e-3)
    for grad in (1.0, -5.0):
        param.grad = torch.tensor([grad], dtype=torch.float64)
        optimizer.step()
    assert optimizer.state[param]["momentum_buffer"].item() == pytest.approx(0.9 * 0.501 - 1e-3 * 5)


def test_smoothed_cosine_of_a_steady_gradient():
    param = torch.nn.Parameter(torch.zeros(3))
    optimizer = TAM([param], gamma=0.9)
    for t in range(1, 30):
        param.grad = torch.ones(3)
        optimizer.step()
        assert optimizer.shared_state["smoothed_cosine"] == pytest.approx(1 - 0.9 ** (t - 1), abs=1e-5)


@pytest.mark.parametrize("granularity", ["global", "tensor"])
@pytest.mark.parametrize(
    ("scale", "dtype"),
    [
        *((scale, torch.float32) for scale in (1e-38, 1e-25, 1e25)),
        *((scale, torch.float16) for scale in (1e-3, 1e3)),
        *((scale, torch.bfloat16) for scale in (1e-30, 1e30)),
        *((scale, torch.float64) for scale in (1e-200, 1e200)),
    ],
    ids=str,
)
def test_the_cosine_does_not_depend_on_the_size_of_the_gradient(granularity, scale, dtype):
    def smoothed_cosines(scale):
        params = parameters(dtype)
        optimizer = TAM(params, lr=0.0, granularity=granularity)
        for grads in gradients(20):
            set_gradients(params, grads)
            for param in params:
                param.grad = (param.grad.double() * scale).to(dtype)
            optimizer.step()
        return [state["smoothed_cosine"] for state in optimizer.state.values() if "smoothed_cosine" in state]

    tolerance = {torch.float16: 5e-3, torch.bfloat16: 5e-3}.get(dtype, 1e-5)  # scaling rounds the gradients
    assert smoothed_cosines(scale) == pytest.approx(smoothed_cosines(1.0), abs=tolerance)


def test_a_nan_gradient_makes_the_cosine_nan():
    params = parameters(torch.float32)
    optimizer = TAM(params)
    for value in (1.0, math.nan, math.inf):
        for param in params:
            param.grad = torch.full_like(param, value)
        optimizer.step()
    assert math.isnan(optimizer.shared_state["cosine"])


def test_channels_last_momentum_pairs_with_contiguous_gradient():
    rng = torch.Generator().manual_seed(0)
    plain = torch.nn.Parameter(torch.randn(2, 3, 4, 5, generator=rng))
    last = torch.nn.Parameter(plain.detach().clone().to(memory_format=torch.channels_last))
    for _ in range(5):
        grad = torch.randn(2, 3, 4, 5, generator=rng)
        plain.grad, last.grad = grad, grad.clone()
    optimizers = TAM([plain]), TAM([last])
    for _ in range(5):
        grad = torch.randn(2, 3, 4, 5, generator=rng)
        plain.grad, last.grad = grad, grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    assert optimizers[0].shared_state["cosine"] == pytest.approx(optimizers[1].shared_state["cosine"], abs=1e-6)
    torch.testing.assert_close(plain, last, check_stride=False)


def test_a_held_damping_measures_no_cosine():
    param = torch.nn.Parameter(torch.ones(2))
    optimizer = TAM([param], damping=0.5)
    param.grad = torch.ones(2)
    optimizer.step()
    assert set(optimizer.state[param]) == {"momentum_buffer"}
