"""What of an optimizer begins anew at a shift: known from hand and from new optimizers, for all of the table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tamcl.optim import OPTIMIZERS
from tamcl.optim.entries import reset_clock, reset_moments, why_no_clock, why_no_moments
from tamcl.registry import lookup

OPTIONS: dict[str, dict[str, Any]] = {
    "switch": {"at": 100},
    "sgd": {"momentum": 0.9},
    "adagrad": {"lr_decay": 0.1},
    "rmsprop": {"momentum": 0.9},
    "muon": {"momentum": 0.9},
}

NO_CLOCK = {
    "tam",
    "sgd_cm",
    "sgd_cg",
    "rmsprop_cg",
    "fade",
    "lion",
    "upgd",
    "sam",
    "lookahead",
    "switch",
    "sgd",
    "rmsprop",
}
"""With their default base; those whose count is not used, or draws noise, included."""


def made(name: str, **options: Any) -> tuple[list[torch.nn.Parameter], torch.optim.Optimizer]:
    torch.manual_seed(0)
    params = [torch.nn.Parameter(torch.randn(4, 3)), torch.nn.Parameter(torch.randn(3))]
    return params, lookup(OPTIMIZERS, name)(params, **{"lr": 0.01} | OPTIONS.get(name, {}) | options)


def step(params: list[torch.nn.Parameter], optimizer: torch.optim.Optimizer, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for param in params:
        param.grad = torch.randn(param.shape, generator=generator)
    optimizer.step(lambda: torch.zeros(()))


def numbers(state: dict[str, Any]) -> dict[str, Any]:
    return {key: value.clone() if isinstance(value, Tensor) else value for key, value in state.items()}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_moments_are_those_of_a_new_one_and_counts_stay(name: str) -> None:
    """Steps after it are those of a new optimizer that is told how far the old one was, and of nothing else."""
    params, optimizer = made(name)
    for seed in range(7):
        step(params, optimizer, seed)
    before = [numbers(optimizer.state[param]) for param in params]
    reset_moments(optimizer)
    for param, old in zip(params, before, strict=True):
        for key, value in optimizer.state[param].items():
            kept = {"step", "draws", "mu_product", "weight_sum", "z", "log_decay", "slow", "lookahead_step"}
            if key in kept or key.startswith("switch_"):
                assert np.array_equal(value, old[key]), key
            else:
                assert not value.any(), key
    averages = {key for old in before for key, value in old.items() if getattr(value, "dim", int)() or key == "cosine"}
    assert averages - {"slow", "z", "log_decay"} or name in ("sam", "lookahead", "switch", "fade")
    step(params, optimizer, 7)
    assert all(param.isfinite().all() for param in params)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS.keys() - NO_CLOCK))
def test_the_clock_alone_begins_anew(name: str) -> None:
    params, optimizer = made(name)
    for seed in range(7):
        step(params, optimizer, seed)
    assert not why_no_clock(optimizer)
    before = [numbers(optimizer.state[param]) for param in params]
    reset_clock(optimizer)
    for param, old in zip(params, before, strict=True):
        assert optimizer.state[param].keys() == old.keys()
        for key, value in optimizer.state[param].items():
            begin = {"step": 0, "weight_sum": 0, "mu_product": 1}.get(key)
            assert np.array_equal(value, old[key] if begin is None else begin), key
    step(params, optimizer, 7)
    steps = {float(state["step"]) for state in optimizer.state.values() if "step" in state}
    assert steps <= {1.0}


@pytest.mark.parametrize("name", sorted(NO_CLOCK))
def test_where_no_count_matters_it_is_said(name: str) -> None:
    _, optimizer = made(name)
    assert 'has no count of steps that its updates depend on; "keep" is the same' in why_no_clock(optimizer)


def test_over_other_optimizers_it_is_that_which_steps() -> None:
    params, optimizer = made("lookahead", base="adam")
    for seed in range(3):
        step(params, optimizer, seed)
    assert not why_no_clock(optimizer)
    slow = optimizer.state[params[0]]["slow"].clone()
    reset_clock(optimizer)
    assert optimizer.state[params[0]]["step"] == 0
    reset_moments(optimizer)
    assert not optimizer.state[params[0]]["exp_avg"].any()
    assert torch.equal(optimizer.state[params[0]]["slow"], slow)
    assert optimizer.state[params[0]]["lookahead_step"] == 3


@pytest.mark.parametrize(("name", "reset", "ratio"), [("adam", reset_clock, 0.3162), ("adam", reset_moments, 3.1623)])
def test_the_first_step_of_adam_after_a_shift(name: str, reset: Any, ratio: float) -> None:
    """With a steady gradient: (1 - b2)^.5 / (1 - b1) of a plain step, and (1 - b1) / (1 - b2)^.5 of it."""
    weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = lookup(OPTIMIZERS, name)([weight], lr=1.0)
    for count in range(10_001):
        before = weight.item()
        weight.grad = -torch.ones(1, dtype=torch.float64)
        if count == 10_000:
            reset(optimizer)
        optimizer.step()
    assert weight.item() - before == pytest.approx(ratio, rel=1e-3)


def test_moments_that_begin_anew_are_adams_own_equations() -> None:
    params, optimizer = made("adam")
    for seed in range(7):
        step(params, optimizer, seed)
    reset_moments(optimizer)
    theta = params[0].detach().double().numpy().copy()
    m = v = np.zeros_like(theta)
    for count, seed in enumerate(range(7, 12), start=8):
        step(params, optimizer, seed)
        g = params[0].grad.double().numpy()  # type: ignore[union-attr]
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        theta -= 0.01 * (m / (1 - 0.9**count)) / (np.sqrt(v / (1 - 0.999**count)) + 1e-8)
        np.testing.assert_allclose(params[0].detach().numpy(), theta, rtol=1e-5)


def test_what_keeps_nothing_or_is_not_known_is_refused() -> None:
    _, plain = made("sgd", momentum=0.0)
    assert why_no_moments(plain) == 'SGD without momentum keeps nothing; "keep" is the same'
    other = torch.optim.Adamax([torch.nn.Parameter(torch.zeros(1))])
    assert why_no_moments(other) == why_no_clock(other) == "it is not known what the state of Adamax means"
