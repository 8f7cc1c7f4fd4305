"""A step: it moves the right way, takes gradients as they are, and touches nothing else."""

from __future__ import annotations

import copy
import random
from collections import defaultdict
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from tamcl.optim.closures import needs_closure
from tamcl.testing.optimizers.tools import (
    Make,
    _settings,
    copies_of,
    do_step,
    expect,
    expect_equal,
    expect_finite,
    has_option,
    make_parameters,
    run_steps,
    set_gradients,
    settings_kept,
    without_decay,
)


def _listed(value: Any) -> Any:
    """Return the state of a generator as lists and numbers."""
    if isinstance(value, dict):
        return {key: _listed(each) for key, each in value.items()}
    return value.tolist() if isinstance(value, Tensor | np.ndarray) else value


# The step


def check_descends_a_quadratic(make: Make) -> None:
    """200 steps on a convex quadratic lower its value."""
    params = make_parameters()
    optimizer = make(params)
    losses = []
    for _ in range(200):
        optimizer.zero_grad()
        loss = torch.stack([(param**2).sum() for param in params]).sum()
        loss.backward()
        do_step(optimizer)
        losses.append(loss.item())
    expect(losses[-1] < 0.9 * losses[0], f"it went from {losses[0]:.3g} to {losses[-1]:.3g}")


def check_first_step_moves(make: Make) -> None:
    """The first step moves every parameter."""
    params = make_parameters()
    before = copies_of(params)
    run_steps(make(params), params, range(1))
    expect(not any(map(torch.equal, params, before)), "a parameter with a gradient did not move")


def check_step_moves_in_place(make: Make) -> None:
    """Parameters are changed in place, and autograd is told."""
    params = make_parameters()
    places, versions = [p.data_ptr() for p in params], [p._version for p in params]
    run_steps(make(params), params, range(2))
    expect(places == [p.data_ptr() for p in params], "a parameter is in another place of memory")
    expect(all(p._version > old for p, old in zip(params, versions, strict=True)), "a version counter stood still")


def check_missing_gradients(make: Make) -> None:
    """A parameter without gradient is left alone, and so is everything if no parameter has one."""
    params = make_parameters()
    before = copies_of(params)
    optimizer = make(params)
    do_step(optimizer)
    for step in range(3):
        set_gradients(params, step)
        params[0].grad = None
        do_step(optimizer)
    expect_equal(params[:1], before[:1], "a parameter without gradient moved")
    expect(not torch.equal(params[1], before[1]), "a parameter with a gradient did not move")


def check_late_first_gradient(make: Make) -> None:
    """A parameter may get its first gradient later than the others."""
    params = make_parameters()
    before = copies_of(params)
    optimizer = make(params)
    for step in range(6):
        set_gradients(params, step)
        if step < 3:
            params[0].grad = params[2].grad = None
        do_step(optimizer)
    expect_finite(params, "a parameter is not finite")
    expect(not any(map(torch.equal, params, before)), "a parameter did not move")


def check_zero_gradient(make: Make) -> None:
    """Gradients of zero from the first step on move nothing (without weight decay)."""
    params = make_parameters()
    before = copies_of(params)
    optimizer = without_decay(make)(params)
    for _ in range(3):
        for param in params:
            param.grad = torch.zeros_like(param)
        do_step(optimizer)
    expect_finite(params, "a parameter is not finite")
    expect_equal(params, before, "a parameter moved")


def check_gradients_unmodified(make: Make) -> None:
    """Gradients are the same after the step as before it, whatever the options."""
    for options in ({}, {"weight_decay": 0.1}, {"maximize": True}):
        params = make_parameters()
        optimizer = make(params, **{name: value for name, value in options.items() if has_option(make, name)})
        for step in range(8):
            set_gradients(params, step)
            before = [param.grad.clone() for param in params if param.grad is not None]
            do_step(optimizer)
            for param, grad in zip(params, before, strict=True):
                expect(param.grad is not None and torch.equal(param.grad, grad), f"a gradient changed with {options}")


def check_gradients_not_kept(make: Make) -> None:
    """Nothing refers to a gradient after the step: its memory may be used again."""
    fresh, reused = make_parameters(), make_parameters()
    one, other = make(fresh), make(reused)
    for param in reused:
        param.grad = torch.zeros_like(param)
    for step in range(8):
        set_gradients(fresh, step)
        for param, source in zip(reused, fresh, strict=True):
            assert param.grad is not None
            assert source.grad is not None
            param.grad.copy_(source.grad)
        do_step(one)
        do_step(other)
    expect_equal(reused, fresh, "gradients written in place led elsewhere")


def check_closure(make: Make) -> None:
    """A closure is called with gradients enabled, and the loss of its first call returned.

    It is called once, unless the optimizer says by ``needs_closure`` that it computes gradients anew.
    """
    params = make_parameters()
    calls = []

    def closure() -> float:
        calls.append(torch.is_grad_enabled())
        set_gradients(params, 0)
        return 0.25 + len(calls)

    optimizer = make(params)
    loss = optimizer.step(closure)
    several = needs_closure(optimizer)
    expect(all(calls), f"calls of the closure and whether gradients were enabled: {calls}")
    expect(len(calls) == 1 or (several and len(calls) > 1), f"the closure was called {len(calls)} times")
    expect(loss == 1.25, f"it returned {loss}")


def check_maximize(make: Make) -> None:
    """``maximize`` steps as it would down the negated gradient."""
    up, down = make_parameters(), make_parameters()
    climbing, descending = make(up, maximize=True), make(down)
    for step in range(8):
        set_gradients(up, step)
        for param, source in zip(down, up, strict=True):
            assert source.grad is not None
            param.grad = -source.grad
        do_step(climbing)
        do_step(descending)
    expect_equal(up, down, "it led elsewhere")


def check_weight_decay_shrinks(make: Make) -> None:
    """Weight decay makes parameters smaller where there is no gradient, also under ``maximize``."""
    for options in ({}, {"maximize": True}) if has_option(make, "maximize") else ({},):
        params = make_parameters()
        before = sum(float(param.detach().square().sum()) for param in params)
        optimizer = make(params, weight_decay=0.1, **options)
        for _ in range(4):
            for param in params:
                param.grad = torch.zeros_like(param)
            do_step(optimizer)
        after = sum(float(param.detach().square().sum()) for param in params)
        expect(after < before, f"the sum of squares went from {before:.6g} to {after:.6g} with {options or 'defaults'}")


def check_huge_gradients(make: Make) -> None:
    """Gradients whose norm is 1e16 and more leave parameters finite in float32."""
    params = make_parameters()
    optimizer = make(params)
    for step in range(4):
        set_gradients(params, step)
        for param in params:
            assert param.grad is not None
            param.grad *= 1e16
        do_step(optimizer)
    expect_finite(params, "a parameter is not finite")


def check_hooks(make: Make) -> None:
    """Hooks before and after a step are called at every step."""
    params = make_parameters()
    optimizer = make(params)
    for step in range(2):
        calls: list[str] = []
        handles = [
            optimizer.register_step_pre_hook(lambda *_, calls=calls: calls.append("before")),
            optimizer.register_step_post_hook(lambda *_, calls=calls: calls.append("after")),
        ]
        run_steps(optimizer, params, range(step, step + 1))
        for handle in handles:
            handle.remove()
        # torch calls them more than once where a step calls that of its parent class
        expect(calls[:1] == ["before"] and calls[-1:] == ["after"], f"a step called {calls}")


def check_global_generators(make: Make) -> None:
    """The global generators of torch, NumPy and Python are neither drawn from nor seeded."""

    def states() -> list[Any]:
        return [torch.get_rng_state(), np.random.get_state(legacy=False), random.getstate()]  # noqa: NPY002

    before = states()
    try:  # somewhere that no seed leads to
        for seed, draw in ((torch.manual_seed, torch.rand), (np.random.seed, np.random.rand)):
            seed(938_211)
            draw(3)
        random.seed(938_211)
        random.random()
        params = make_parameters()
        odd = states()
        run_steps(make(params), params, range(10))
        pairs = zip(("torch", "numpy", "random"), odd, states(), strict=True)
        changed = [name for name, a, b in pairs if str(_listed(a)) != str(_listed(b))]
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        random.setstate(before[2])
    expect(not changed, f"drew from or seeded the global generator of {', '.join(changed)}")


def check_global_settings(make: Make) -> None:
    """The default type, whether gradients are recorded, and the number of threads are as they were after a step."""

    for dtype in (torch.float32, torch.float64):
        with settings_kept():
            torch.set_default_dtype(dtype)
            params = make_parameters()
            before = _settings()
            run_steps(make(params), params, range(3))
            changed = [name for name, value in _settings().items() if value != before[name]]
        expect(not changed, f"it changed {', '.join(changed)}")


# Training


def check_two_experiences(make: Make) -> None:
    """It learns one labelling of some points and then the opposite one, its state kept or reset in between."""
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(64, 2, generator=draw)
    labels = (inputs @ torch.tensor([1.0, -2.0]) > 0).float()

    def loss_of(params: list[Parameter], target: Tensor) -> Tensor:
        return torch.nn.functional.binary_cross_entropy_with_logits(inputs @ params[0] + params[1], target)

    def learn(optimizer: Optimizer, params: list[Parameter], target: Tensor) -> None:
        before = loss_of(params, target).item()
        for _ in range(150):
            optimizer.zero_grad()
            loss_of(params, target).backward()
            do_step(optimizer)
        after = loss_of(params, target).item()
        expect(after < 0.98 * before, f"the loss went from {before:.3f} to {after:.3f}")

    for reset in (False, True):
        params = [Parameter(torch.zeros(shape, dtype=torch.float32)) for shape in ((2,), ())]
        optimizer = make(params)
        learn(optimizer, params, labels)
        if reset:
            optimizer.state = defaultdict(dict)
        twin = copy.deepcopy(params)
        learn(optimizer, params, 1 - labels)
        if reset:
            learn(make(twin), twin, 1 - labels)
            expect_equal(params, twin, "after a reset it did not go on like a new optimizer")
