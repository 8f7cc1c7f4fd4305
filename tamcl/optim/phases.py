"""What a training loop tells an optimizer beside its steps: that the data have shifted, and that weights are tested."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.optim.optimizer import Optimizer


def tell_of_shift(optimizer: Optimizer) -> None:
    """Call ``at_shift`` of an optimizer, or of one that it goes over, if there is any.

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
    """Call ``watch`` of an optimizer, or of one that it goes over, if there is any: it wants to see forward passes."""
    _call(optimizer, "watch", model)


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


def _call(optimizer: Any, name: str, *arguments: Any, beside: str = "") -> None:
    """Call a method of an optimizer and of those underneath, of each that has it and another."""
    if callable(getattr(optimizer, name, None)) and (not beside or callable(getattr(optimizer, beside, None))):
        getattr(optimizer, name)(*arguments)
    for each in getattr(optimizer, "optimizers", ()):
        _call(each, name, *arguments, beside=beside)
