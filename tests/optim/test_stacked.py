"""Steps for stacked runs take over what an optimizer knows, and give it back, to the last bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tamcl.optim import OPTIMIZERS
from tamcl.optim.stacked import STEPS, make_step
from tamcl.registry import lookup
from tests.references.trajectory import gradients, parameters, set_gradients

KNOWN: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in STEPS),
    ("sgd", {"momentum": 0.9}),
    ("rmsprop", {"momentum": 0.5}),
    ("tam", {"damping": "average"}),
    ("tam", {"start": "zero", "cosine_on": "decayed", "granularity": "global"}),
    ("adatam", {"damping": 0.5}),
    ("adam_cm", {"capacity": 0}),
    ("adam_cm", {"capacity": 1, "variant": "paper"}),
]


@pytest.mark.parametrize(("name", "options"), KNOWN)
def test_an_optimizer_knows_after_a_stack_what_it_knew_before(name: str, options: dict[str, Any]) -> None:
    """Numbers of Python among it, which have more digits than torch's default type."""
    make = lookup(OPTIMIZERS, name)
    # an MLP has no single number
    params, others = ([param for param in parameters(torch.float32) if param.dim()] for _ in range(2))
    optimizer, other = make(params, lr=0.01, **options), make(others, lr=0.01, **options)
    for grads in gradients(5):
        set_gradients(params, [grad for grad in grads if grad.ndim])
        optimizer.step()
    step = make_step(name, optimizer.param_groups[0])
    state = step.start([param.detach().flatten().repeat(3, 1) for param in params])
    step.load(state, 1, optimizer)
    step.show(state, 1, other)
    kept = {*step.tensors, *step.each, *step.shared, "step"}
    for param, twin in zip(params, others, strict=True):
        for key, value in optimizer.state[param].items():
            if key in kept and value is not None:
                found = other.state[twin][key]
                assert isinstance(found, Tensor) == isinstance(value, Tensor)
                assert torch.equal(found, value) if isinstance(value, Tensor) else found == value


TORQUE: list[tuple[str, dict[str, Any]]] = [
    ("tam", {"weight_decay": 0.1}),
    ("tam", {"weight_decay": 0.1, "cosine_on": "decayed"}),
    ("tam", {"weight_decay": 0.1, "decoupled_weight_decay": True, "start": "zero"}),
    ("tam", {"damping": 0.3}),
    ("tam", {"damping": "average"}),
    ("adatam", {"bias_correction": "both", "weight_decay": 0.1}),
    ("adatam", {"damping": 0.3}),
    ("adatam", {"damping": "average", "start": "zero"}),
    ("adatamw", {"eps": 0.01}),
]


@pytest.mark.parametrize(("name", "options"), TORQUE, ids=str)
def test_runs_at_different_steps_take_those_of_the_optimizer(name: str, options: dict[str, Any]) -> None:
    """Of two runs the second begins three steps later: a first step is that of a run."""
    make, tables = lookup(OPTIMIZERS, name), (gradients(8), gradients(8, zeros=True))
    runs = [[param for param in parameters() if param.dim()] for _ in tables]
    optimizers = [make(run, lr=0.01 * (row + 1), **options) for row, run in enumerate(runs)]
    step = make_step(name, optimizers[0].param_groups[0])
    flat = [torch.stack([param.detach().flatten() for param in pair]) for pair in zip(*runs, strict=True)]
    state = step.start(flat)
    for t in range(8):
        on = [0] if t < 3 else [0, 1]
        before = [view.clone() for view in (*(values[1] for values in flat), *state.rows(1))]
        found = [[torch.tensor(grad).flatten() for grad in table[t] if grad.ndim] for table in tables]
        for row in on:
            set_gradients(runs[row], [grad for grad in tables[row][t] if grad.ndim])
            optimizers[row].step()
        counts = torch.tensor([[t + 1, max(t - 2, 1)]]).double()
        lr = torch.tensor([0.01, 0.02], dtype=torch.float64)
        rates = {key: rate[0, :, None] for key, rate in step.rates(counts, lr).items()}
        grads = [torch.stack(pair) for pair in zip(*found, strict=True)]
        step.update(flat, grads, state.tensors, state.numbers, rates)
        if len(on) == 1:  # as a stack parks a run that takes no step
            for view, value in zip((*(values[1] for values in flat), *state.rows(1)), before, strict=True):
                view.copy_(value)
        for row in on:
            state.steps[row] += 1
    for row, optimizer in enumerate(optimizers):
        for values, param in zip(flat, runs[row], strict=True):
            torch.testing.assert_close(values[row].view(param.shape), param.detach(), rtol=1e-12, atol=1e-12)
        shown = make(others := [torch.nn.Parameter(param.detach().clone()) for param in runs[row]], lr=0.01, **options)
        step.show(state, row, shown)
        for param, twin in zip(runs[row], others, strict=True):
            for key, value in optimizer.state[param].items():
                found_value = shown.state[twin][key]
                if isinstance(value, Tensor):
                    torch.testing.assert_close(found_value, value, rtol=1e-10, atol=1e-12)
                else:
                    assert found_value == pytest.approx(value, abs=1e-12), key
