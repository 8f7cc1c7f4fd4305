"""What the checks of an optimizer train with, and how they say what is broken.

All draws come from generators of their own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from tamcl.optim.closures import needs_closure

Make = Callable[..., Optimizer]
"""Builds the optimizer under check: ``make(params, **options)``."""


# What the checks train with. All draws come from generators of their own.


def make_parameters(dtype: torch.dtype = torch.float32, more: tuple[int, ...] | None = None) -> list[Parameter]:
    """Return parameters of some shapes, and of one more if it is given, the same ones each time."""
    draw = torch.Generator().manual_seed(0)
    shapes: list[tuple[int, ...]] = [(4, 3), (3,), (2, 2, 2), *([more] if more else [])]
    return [Parameter(torch.randn(shape, generator=draw, dtype=torch.float32).to(dtype)) for shape in shapes]


def set_gradients(params: list[Parameter], step: int) -> None:
    """Give every parameter the gradient of a step."""
    draw = torch.Generator().manual_seed(step + 1)
    for param in params:
        param.grad = torch.randn(param.shape, generator=draw, dtype=torch.float32).to(param.dtype)


def run_steps(optimizer: Optimizer, params: list[Parameter], steps: range) -> None:
    """Do steps, each with gradients of its own."""
    for step in steps:
        set_gradients(params, step)
        do_step(optimizer)


def do_step(optimizer: Optimizer) -> None:
    """Do a step with the gradients as they are, also where ``step`` needs a closure to compute them anew."""
    if needs_closure(optimizer):
        optimizer.step(lambda: 0.0)
    else:
        optimizer.step()


def has_option(make: Make, name: str) -> bool:
    """Tell whether an optimizer takes an option."""
    parameters = inspect.signature(make).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return name in make(make_parameters()).param_groups[0]
    return name in parameters


def without_decay(make: Make) -> Make:
    """Return what builds the optimizer without weight decay, if it has any."""
    return partial(make, weight_decay=0.0) if has_option(make, "weight_decay") else make


def _settings() -> dict[str, Any]:
    return {
        "the default type": torch.get_default_dtype(),
        "whether gradients are recorded": torch.is_grad_enabled(),
        "the number of threads": torch.get_num_threads(),
    }


@contextmanager
def settings_kept() -> Iterator[None]:
    """Put torch's global settings back, whatever an optimizer under check does to them."""
    dtype, enabled, threads = _settings().values()
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(enabled)
        torch.set_num_threads(threads)


def copies_of(params: list[Parameter]) -> list[Tensor]:
    """Return the values as they are now."""
    return [param.detach().clone() for param in params]


def expect(promise: bool, message: str) -> None:
    """Raise an ``AssertionError`` with a message unless a promise is kept."""
    if not promise:
        raise AssertionError(message)


def expect_equal(found: list[Parameter], expected: list[Parameter] | list[Tensor], message: str) -> None:
    """Expect tensors to be equal, bit by bit."""
    for a, b in zip(found, expected, strict=True):
        expect(torch.equal(a, b), f"{message}: largest difference {(a - b).abs().max().item():.2g}")


def expect_finite(params: list[Parameter], message: str) -> None:
    """Expect no entry to be infinite or nan."""
    expect(all(bool(param.isfinite().all()) for param in params), message)
