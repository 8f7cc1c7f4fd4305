"""The measured cosine, where the square of the momentum is kept from the step before."""

from __future__ import annotations

import copy
import math
import pickle
from functools import partial

import numpy as np
import pytest
import torch

import tamcl.optim.torque
from tamcl.optim import TAM, AdaTAM, Lookahead, Switch

N = 300


@pytest.fixture(autouse=True)
def keep_all_squares(monkeypatch):
    monkeypatch.setattr(tamcl.optim.torque, "LARGE", 1)


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


def dots(monkeypatch, optimizer):
    """Return how many scalar products a step takes."""
    calls = []
    dot = torch.dot
    with monkeypatch.context() as patch:
        patch.setattr(torch, "dot", lambda a, b: calls.append(1) or dot(a, b))
        optimizer.step()
    return len(calls)


def test_a_kept_square_saves_a_product_until_it_is_measured_anew(monkeypatch):
    param = torch.nn.Parameter(torch.zeros(N))
    optimizer = TAM([param], lr=0.0)
    param.grad = torch.ones(N)
    taken = [dots(monkeypatch, optimizer) for _ in range(2 * 64 + 2)]
    # the first momentum is zero, which is no square to go on from
    assert [t for t, number in enumerate(taken) if number == 3] == [0, 64, 128]
    assert set(taken) == {2, 3}


def test_where_terms_cancel_the_square_is_measured(monkeypatch):
    param = torch.nn.Parameter(torch.zeros(N))
    optimizer = TAM([param], lr=0.0, gamma=0.0, eps=1.0)
    param.grad = torch.ones(N)
    optimizer.step()
    param.grad = -0.9 / 1.0 * optimizer.state[param]["momentum_buffer"]  # eps + d is 1 for an opposed gradient
    assert dots(monkeypatch, optimizer) == 2
    assert optimizer.state[param]["momentum_buffer"].norm() < 1e-6
    param.grad = torch.ones(N)
    assert dots(monkeypatch, optimizer) == 3


@pytest.mark.parametrize("options", [{"foreach": False}, {"damping": 0.5}, {"capturable": True}])
def test_a_square_is_not_kept_past_a_step_that_does_not_know_it(options):
    param = torch.nn.Parameter(torch.zeros(N))
    optimizer = TAM([param])
    for t in range(4):
        param.grad = torch.ones(N)
        optimizer.param_groups[0].update(options if t == 2 else {"foreach": None, "damping": None, "capturable": False})
        optimizer.step()
        assert ("momentum_square" in optimizer.state[param]) == (t in (0, 1, 3))


def test_a_momentum_that_others_change_is_measured_anew_in_time():
    param = torch.nn.Parameter(torch.zeros(2))
    optimizer = TAM([param], lr=0.0)
    for t in range(100):
        if t == 10:
            optimizer.state[param]["momentum_buffer"].mul_(1e-3)
        param.grad = torch.tensor([1.0, 0.0])
        optimizer.step()
    assert optimizer.shared_state["cosine"] == pytest.approx(1.0, abs=1e-6)


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
    assert "momentum_square" in optimizer.state[param]
    CHANGES[change](optimizer, optimizer.state[param], key)
    param.grad = optimizer.state[param][key].clone()
    optimizer.step()
    assert optimizer.shared_state["cosine"] == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("cls", [TAM, AdaTAM, partial(Lookahead, base="tam"), partial(Switch, at=9)])
def test_kept_squares_survive_every_copy(cls):
    draw = torch.Generator().manual_seed(0)
    param = torch.nn.Parameter(torch.zeros(20_000))
    optimizer = cls([param], lr=0.01)
    for _ in range(5):
        param.grad = torch.randn(20_000, generator=draw)
        optimizer.step()
    loaded = torch.nn.Parameter(param.detach().clone())
    other = cls([loaded], lr=0.01)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    pairs = [(param, optimizer), (loaded, other), copy.deepcopy((param, optimizer))]
    pairs.append(pickle.loads(pickle.dumps((param, optimizer))))
    ages = set()
    for each, its in pairs:
        each.grad = param.grad.clone()
        its.step()
        ages.add(its.state[each]["momentum_square"][1].item())
        assert torch.equal(each, param)
    assert len(ages) == 1, "none was measured anew"
