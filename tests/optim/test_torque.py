"""The measured cosine, for gradients of all sizes and momenta that somebody else has changed."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from tamcl.optim import TAM, AdaTAM

N = 300


def noise(t, rng):
    return rng.normal(size=N)


def flip(t, rng):
    """Opposed to the step before: momentum and gradient nearly cancel."""
    return (-1) ** t * (np.arange(N) - 100.0)


def fall(t, rng):
    return 10 ** (-t / 20) * rng.normal(size=N)


def drop(t, rng):
    return (1e-8 if t > 100 else 1.0) * rng.normal(size=N)


def spikes(t, rng):
    return (1e6 if t % 37 == 0 else 1.0) * rng.normal(size=N)


def exact_cosine(optimizer, params, key):
    """Take the cosine that the next step should see, in float64."""
    states = [optimizer.state[param] for param in params]
    momenta = [state.get("weight", 1.0) * state[key].double().ravel() for state in states]
    m, g = torch.cat(momenta), torch.cat([param.grad.double().ravel() for param in params])
    length = m.norm() * g.norm()
    return float(m @ g / length) if length else 0.0


@pytest.mark.parametrize("sequence", [noise, flip, fall, drop, spikes])
@pytest.mark.parametrize("cls", [TAM, AdaTAM])
def test_the_cosine_stays_exact(cls, sequence):
    rng = np.random.default_rng(0)
    params = [torch.nn.Parameter(torch.zeros(N // 2)) for _ in range(2)]
    optimizer = cls(params, lr=1e-3)
    key = "momentum_buffer" if cls is TAM else "exp_avg"
    for t in range(300):
        for param, grad in zip(params, np.split(sequence(t, rng), 2), strict=True):
            param.grad = torch.tensor(grad, dtype=torch.float32)
        expected = exact_cosine(optimizer, params, key) if t else 0.0
        optimizer.step()
        assert optimizer.shared_state["cosine"] == pytest.approx(expected, abs=2e-5), f"in step {t}"


def test_a_cosine_of_sizes_that_differ_by_more_than_float32_holds():
    params = [torch.nn.Parameter(torch.zeros(3)) for _ in range(2)]
    optimizer = TAM(params, lr=0.0, gamma=0.0)
    for size in (1e-30, 1e30, 1.0):
        for param in params:
            param.grad = torch.full((3,), size)
        optimizer.step()
    assert optimizer.shared_state["cosine"] == pytest.approx(1.0)
    assert not math.isnan(optimizer.shared_state["smoothed_cosine"])


CHANGES = {
    "scaled": lambda optimizer, state, key: state[key].mul_(0.1),
    "replaced": lambda optimizer, state, key: state.update({key: state[key] * 0.1}),
    "scaled and loaded": lambda optimizer, state, key: (
        state[key].mul_(0.1),
        optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict())),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("cls", "key"), [(TAM, "momentum_buffer"), (AdaTAM, "exp_avg")])
def test_a_momentum_that_was_changed_is_measured_anew(cls, key, change):
    draw = torch.Generator().manual_seed(0)
    param = torch.nn.Parameter(torch.zeros(20_000))
    optimizer = cls([param], lr=0.01)
    for _ in range(5):
        param.grad = torch.randn(20_000, generator=draw)
        optimizer.step()
    CHANGES[change](optimizer, optimizer.state[param], key)
    param.grad = optimizer.state[param][key].clone()
    optimizer.step()
    assert optimizer.shared_state["cosine"] == pytest.approx(1, rel=1e-5)
