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
