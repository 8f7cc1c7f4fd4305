"""Torch's optimizers without torch's compiler, which takes as long to import as torch itself and is rarely used."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch.optim import Optimizer

_MARK = "__dynamo_disable"
"""Attribute of a method that torch marks as not to be compiled: what it calls instead, made at the first call."""
_STEP: tuple[str, ...] = ("torch._dynamo", "cast", "Optimizer", "is_grad_enabled", "set_grad_enabled", "defaults")
_STEP += ("_dynamo", "graph_break")
"""All names in what torch wraps a step with."""


def put_off_compiler() -> None:
    """Let optimizers work without importing ``torch._dynamo``, until something else in this process imports it.

    Torch imports the compiler when an optimizer is made and at every step, to mark what it may not compile. As long as
    it is not imported nothing is compiled, so until then the same is done without the marks. A version of torch that
    does it in another way is left as it is.
    """
    for method in vars(Optimizer).values():
        if _MARK in _of_code(method, "co_consts"):
            vars(method.__wrapped__).setdefault(_MARK, _unmarked(method.__wrapped__, method))
    for kind in vars(torch.optim).values():
        step = vars(kind).get("step") if isinstance(kind, type) and issubclass(kind, Optimizer) else None
        if _of_code(step, "co_names") == _STEP:
            kind.step = _unbroken(step)


def _of_code(function: Any, name: str) -> tuple[Any, ...]:
    return getattr(getattr(function, "__code__", None), name, ())


def _is_imported() -> bool:
    return "torch._dynamo" in sys.modules


def _unmarked(method: Callable[..., Any], marked: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        if not _is_imported():
            return method(*args, **kwargs)
        if vars(method).get(_MARK) is call:
            del vars(method)[_MARK]  # torch makes its own
        return marked(*args, **kwargs)

    return call


def _unbroken(step: Any) -> Callable[..., Any]:
    @wraps(step)
    def call(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        if _is_imported():
            return step(self, *args, **kwargs)
        before = torch.is_grad_enabled()
        try:
            torch.set_grad_enabled(self.defaults["differentiable"])
            return step.__wrapped__(self, *args, **kwargs)
        finally:
            torch.set_grad_enabled(before)

    return call
