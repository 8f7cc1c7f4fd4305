"""Options: bad and unknown ones are refused, good ones do what they say."""

from __future__ import annotations

import inspect
from typing import Any

import torch

from tamcl.testing.optimizers.tools import (
    Make,
    copies_of,
    expect,
    expect_equal,
    has_option,
    make_parameters,
    run_steps,
)

# Options


def check_rejects_bad_options(make: Make) -> None:
    """Options out of range raise ValueError when the optimizer is built."""
    nan = float("nan")
    bad: dict[str, list[Any]] = {
        "lr": [-1.0, nan],
        "momentum": [-0.1, nan],
        "betas": [(-0.1, 0.9), (1.0, 0.9), (0.9, nan)],
        "eps": [-1.0, nan],
        "weight_decay": [-1.0, nan],
    }
    for name, values in bad.items():
        for value in values if has_option(make, name) else []:
            try:
                make(make_parameters(), **{name: value})
            except ValueError:
                continue
            raise AssertionError(f"{name}={value} was accepted")


def check_rejects_unknown_options(make: Make) -> None:
    """A misspelt option raises TypeError."""
    try:
        make(make_parameters(), no_such_option=1)
    except TypeError:
        return
    raise AssertionError("no_such_option=1 was accepted")


def check_repr_and_reference(make: Make) -> None:
    """``repr`` works, and the docstring links to where the method comes from."""
    optimizer = make(make_parameters())
    expect(type(optimizer).__name__ in repr(optimizer), f"repr is {optimizer!r}")
    expect("http" in (inspect.getdoc(type(optimizer)) or ""), "the docstring has no link to a reference")


def check_changed_lr(make: Make) -> None:
    """A learning rate changed between steps, as schedulers do, is used."""
    params = make_parameters()
    optimizer = make(params)
    run_steps(optimizer, params, range(4))
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    before = copies_of(params)
    run_steps(optimizer, params, range(4, 6))
    expect_equal(params, before, "it moved at a learning rate of 0")


def check_tensor_lr(make: Make) -> None:
    """A learning rate in a tensor of one element does what the number does, or is refused when it is given."""
    plain, params = make_parameters(), make_parameters()
    number = make(plain)
    lr = torch.tensor(float(number.param_groups[0]["lr"]))
    try:
        optimizer = make(params, lr=lr)
    except (TypeError, ValueError):
        return
    run_steps(number, plain, range(6))
    run_steps(optimizer, params, range(6))
    same = all(torch.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in zip(plain, params, strict=True))
    expect(same, f"{lr!r} led elsewhere than {lr.item():.3g}")
