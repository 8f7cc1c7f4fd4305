"""The buffer's slots, their running sum, and the table that ranks them on the device."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tamcl.optim.slots
from tamcl.optim import AdamCM
from tamcl.optim.buffer import replaced_slot
from tamcl.optim.slots import blocks, choose_on_device, empty_slots, store
from tests.references.trajectory import gradients, parameters, set_gradients

SIZES = {
    "stationary": lambda t: 1.0,
    "fall": lambda t: 10 ** (-t / 100),
    "drop": lambda t: 1.0 if t < 303 else 1e-8,
    "spikes": lambda t: 1e4 if t % 97 == 0 else 1.0,
    "return": lambda t: 1e-6 if 100 < t < 300 else 1.0,
}


def drift(sizes, capacity, steps=600, **options):
    """Return the largest relative error that the running sum ever had."""
    draw = torch.Generator().manual_seed(0)
    param = torch.nn.Parameter(torch.zeros(100))
    optimizer = AdamCM([param], capacity=capacity, **options)
    worst = 0.0
    for t in range(steps):
        param.grad = sizes(t) * torch.randn(100, generator=draw)
        optimizer.step()
        state = optimizer.state[param]
        exact = state["buffer"].double().sum(0)
        worst = max(worst, float((state["buffer_sum"] - exact).norm() / exact.norm()))
    return worst


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("options", [{}, {"buffer_dtype": "bfloat16"}, {"foreach": False}, {"variant": "paper"}])
@pytest.mark.parametrize("capacity", [5, 20])
def test_the_running_sum_stays_within_a_millionth(capacity, options, size):
    assert drift(SIZES[size], capacity, **options) < 1e-6


@pytest.mark.parametrize("betas", [(0.5, 0.999), (0.9, 0.999), (0.99, 0.999)])
@pytest.mark.parametrize("options", [{}, {"foreach": False}, {"variant": "paper"}, {"capacity": 20}])
def test_each_tensor_has_its_own_bound(options, betas):
    """One tensor keeps its large gradients while those of the other all but vanish."""
    draw = torch.Generator().manual_seed(0)
    params = [torch.nn.Parameter(torch.zeros(100)) for _ in range(2)]
    optimizer = AdamCM(params, betas=betas, **options)
    for t in range(500):
        for param, size in zip(params, (1.0, 1.0 if t < 200 else 1e-8), strict=True):
            param.grad = size * torch.randn(100, generator=draw)
        optimizer.step()
        for param in params:
            state = optimizer.state[param]
            exact = state["buffer"].double().sum(0)
            assert (state["buffer_sum"] - exact).norm() <= 2e-6 * exact.norm()


def test_without_sums_taken_anew_it_would_not(monkeypatch):
    monkeypatch.setattr(tamcl.optim.slots, "SUMMED_EVERY", 10**9)
    assert drift(SIZES["drop"], 5) > 1e-6, "in time for a fall"
    monkeypatch.setattr(tamcl.optim.slots, "SHRUNK", 0.0)
    assert drift(SIZES["spikes"], 5) > 1e-4


def test_sums_are_taken_anew_seldom(monkeypatch):
    calls = []
    sum_anew = tamcl.optim.adam_cm.sum_anew
    monkeypatch.setattr(tamcl.optim.adam_cm, "sum_anew", lambda states: calls.append(1) or sum_anew(states))
    drift(SIZES["stationary"], 5, steps=400)
    assert len(calls) == 400 // (8 * 5)


def test_a_slot_lies_in_memory_as_its_parameter_does():
    like = torch.zeros(2, 3, 4, 5).to(memory_format=torch.channels_last)
    slots = empty_slots(like, 3, torch.bfloat16)
    assert slots.shape == (3, 2, 3, 4, 5)
    assert slots[1].stride() == like.stride()
    assert not slots.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_mask_stores_as_a_number_does(dtype):
    draw = torch.Generator().manual_seed(0)
    buffers = [torch.randn(3, 2, 4, generator=draw).to(dtype) for _ in range(2)]
    sums = [buffer.sum(0, dtype=torch.float32) for buffer in buffers]
    value = torch.randn(2, 4, generator=draw)
    store(buffers[:1], sums[:1], [value], 1)
    store([(other := buffers[0].clone())], [(total := sums[0].clone())], [value], torch.tensor([False, True, False]))
    assert torch.equal(other, buffers[0])
    torch.testing.assert_close(total, sums[0])
    assert torch.equal(buffers[0][1], value.to(dtype))
    before = buffers[1].clone()
    store(buffers[1:], sums[1:], [value], None)
    store(buffers[1:], sums[1:], [value], torch.zeros(3, dtype=torch.bool))
    assert torch.equal(buffers[1], before)


def test_the_device_chooses_as_the_host_does():
    rng = np.random.default_rng(0)
    for _ in range(300):
        capacity = int(rng.integers(1, 6))
        filled = int(rng.integers(0, capacity + 1))
        priorities, ages = rng.integers(0, 4, filled).tolist(), rng.permutation(filled).tolist()
        ages = [age + 1 for age in ages]
        priority = int(rng.integers(0, 4))
        expected = replaced_slot(priorities, ages, priority, capacity)
        empty = [0] * (capacity - filled)
        found = choose_on_device(
            torch.tensor(priorities + empty, dtype=torch.float64),
            torch.tensor(ages + empty),
            torch.tensor(priority, dtype=torch.float64),
        )
        assert found.nonzero().ravel().tolist() == ([] if expected is None else [expected])


def test_blocks_hold_every_entry_once_and_are_views(monkeypatch):
    monkeypatch.setattr(tamcl.optim.slots, "BLOCK", 10)
    shapes = [(3,), (5, 7), (), (0, 2), (2, 5), (12,)]
    tensors = [torch.zeros(shape) for shape in shapes]
    twins = [tensor.clone() for tensor in tensors]
    sizes = []
    for pieces, others in blocks((tensors, twins)):
        sizes.append(sum(piece.numel() for piece in pieces))
        for piece, other in zip(pieces, others, strict=True):
            assert piece.shape == other.shape
            piece += 1
    assert all(bool((tensor == 1).all()) for tensor in tensors)
    assert sum(sizes) == sum(tensor.numel() for tensor in tensors)
    assert max(sizes) < 20


def test_a_lost_table_forgets_the_buffer():
    """A library may clear the state of the first parameter, where the table is; the others still have their slots."""
    params = parameters()
    optimizer = AdamCM(params, variant="paper")
    for grads in gradients(10):
        set_gradients(params, grads)
        optimizer.step()
    optimizer.state[params[0]] = {}
    set_gradients(params, gradients(1)[0])
    optimizer.step()
    assert optimizer.shared_state["ages"].tolist() == [1, 0, 0, 0, 0]
    for param in params:
        state = optimizer.state[param]
        torch.testing.assert_close(state["buffer"].sum(0), state["exp_avg"])
        torch.testing.assert_close(state["buffer_sum"], state["exp_avg"])
