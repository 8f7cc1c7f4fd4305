"""Optimizers that want parameters with their names: ``named_parameters()`` of a model in place of ``parameters()``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from itertools import count
from typing import Any

from torch.optim import Optimizer

Make = Callable[..., Optimizer]
"""An optimizer's class, or what builds one in its manner."""


def wants_names(make: Make) -> bool:
    """Whether an optimizer wants names, which it says by that of its first argument: ``named_parameters`` or the like.

    Examples
    --------
    >>> wants_names(lambda named_params, lr: None), wants_names(lambda params, lr: None)
    (True, False)
    """
    try:
        parameters = inspect.signature(make).parameters
    except (TypeError, ValueError):  # of which nothing is known
        return False
    return next(iter(parameters), "").startswith("named_")


def numbered(make: Make) -> Make:
    """Return what builds an optimizer of parameters without names: one that wants them gets numbers.

    Examples
    --------
    >>> numbered(lambda named_params: [name for name, _ in named_params])("ab")
    ['parameter.0', 'parameter.1']
    """
    if not wants_names(make):
        return make

    @wraps(make)
    def build(params: Iterable[Any], **options: Any) -> Optimizer:
        numbers = count()

        def named(each: Any) -> Any:
            if isinstance(each, dict):
                return each | {"params": [*map(named, each["params"])]}
            return each if isinstance(each, tuple) else (f"parameter.{next(numbers)}", each)

        return make([*map(named, params)], **options)

    return build
