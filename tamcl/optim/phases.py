"""What a training loop tells an optimizer beside its steps: that the data have shifted, and that weights are tested."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.optim.optimizer import Optimizer

from tamcl.optim.wrapper import Wrapper


def tell_of_shift(optimizer: Optimizer) -> None:
    """Call ``at_shift`` of an optimizer, or of one that it goes over and that steps now, if there is any.

    Examples
    --------
    >>> import torch
    >>> from tamcl.optim import AdamRel
    >>> weight = torch.nn.Parameter(torch.zeros(1))
    >>> optimizer = AdamRel([weight])
    >>> weight.grad = torch.ones(1)
    >>> optimizer.step()
    >>> tell_of_shift(optimizer)
    >>> optimizer.state[weight]["step"]
    0
    """
    _call(optimizer, "at_shift")


def tell_of_model(optimizer: Optimizer, model: nn.Module) -> None:
    """Call ``watch`` of an optimizer, or of one that it goes over, if there is any: it wants to see forward passes.

    Also of one that does not step yet, since it may in the middle of an experience.
    """
    _call(optimizer, "watch", model, also_idle=True)


def tell_of_training(optimizer: Optimizer) -> None:
    """Call ``train`` of an optimizer, or of one that it goes over, if it has ``train`` and ``eval``."""
    _call(optimizer, "train", beside="eval")


@contextmanager
def weights_to_test(optimizer: Optimizer) -> Iterator[None]:
    """Let the parameters be what an optimizer wants tested, if that is not what it trains: ``eval``, then ``train``."""
    _call(optimizer, "eval", beside="train")
    try:
        yield
    finally:
        _call(optimizer, "train", beside="eval")


def _call(optimizer: Any, name: str, *arguments: Any, beside: str = "", also_idle: bool = False) -> None:
    """Call a method of an optimizer and of those underneath, of each that has it and another.

    One that does not step now would take the state for its own, which is that of another.
    """
    if callable(getattr(optimizer, name, None)) and (not beside or callable(getattr(optimizer, beside, None))):
        getattr(optimizer, name)(*arguments)
    has_idle = isinstance(optimizer, Wrapper) and not also_idle
    for each in [optimizer.base] if has_idle else getattr(optimizer, "optimizers", ()):
        _call(each, name, *arguments, beside=beside, also_idle=also_idle)
