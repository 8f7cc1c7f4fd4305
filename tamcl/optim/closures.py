"""Which optimizers step with a closure: a function that computes loss and gradients anew."""

from __future__ import annotations

import inspect

from torch.optim.optimizer import Optimizer


def needs_closure(optimizer: Optimizer) -> bool:
    """Whether an optimizer does not step without a closure, so that a training loop must hand it one.

    It says so by a true ``needs_closure``, or its ``step`` has no default for its first argument, whatever that is
    called. What goes around a step by ``functools.wraps``, as torch's profiling and schedulers do, is looked through.

    Examples
    --------
    >>> import torch
    >>> weight = torch.nn.Parameter(torch.zeros(1))
    >>> needs_closure(torch.optim.LBFGS([weight])), needs_closure(torch.optim.SGD([weight]))
    (True, False)
    """
    first = next(iter(inspect.signature(optimizer.step).parameters.values()), None)
    is_required = (
        first is not None
        and first.default is first.empty
        and first.kind in (first.POSITIONAL_ONLY, first.POSITIONAL_OR_KEYWORD)
    )
    return is_required or bool(getattr(optimizer, "needs_closure", False))
