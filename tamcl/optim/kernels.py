"""torch's fused kernels, which do a whole step in one pass over memory, for lists of tensors of all kinds.

They are private: a version of torch may not have them, or have them otherwise. So they are called here alone and tried
once on each kind of device, and where they do not do what they should every tensor goes the readable way, to the same
numbers up to rounding.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

Columns = tuple[list[Any], ...]

ENTRIES = 21
"""Of the tensors that kernels are tried on: some go through a processor's vectors, and some are left over."""

TYPES, PLAIN = {torch.float32, torch.float64}, {Tensor, Parameter}
"""What fused kernels are given: half precision is not, since its moments are of another type."""


def group_by_device_and_dtype(
    tensors: Columns, numbers: Columns = (), others: Columns = ()
) -> list[tuple[Columns, Columns, Columns, bool]]:
    """Sort rows into those that one call of a fused kernel takes together, and those that no such kernel takes.

    A fused kernel takes tensors of one device and type, which it reads side by side as they lie in memory, and one
    number of each kind.

    Parameters
    ----------
    tensors : tuple of list of Tensor
        Columns of what the kernel is given, the parameters first.
    numbers : tuple of list
        Columns of what it takes once.
    others : tuple of list
        Columns to be sorted with them.

    Returns
    -------
    list of tuple
        The three kinds of columns of some rows, and whether a fused kernel takes them.
    """
    params = tensors[0]
    if (  # the usual case, which costs less to find out than to sort rows
        all(map(Tensor.is_contiguous, chain.from_iterable(tensors)))
        and all(column.count(column[0]) == len(column) for column in numbers)
        and len({(type(param), param.dtype, param.device) for param in params}) == 1
        and _suits(params[0])
    ):
        return [(tensors, numbers, others, True)]
    rows: dict[Any, list[int]] = {}
    for row, key in enumerate(zip(map(_kind, *tensors), *numbers, strict=True)):
        rows.setdefault(key, []).append(row)
    return [(_pick(tensors, some), _pick(numbers, some), _pick(others, some), key[0][0]) for key, some in rows.items()]


def _pick(columns: Columns, rows: list[int]) -> Columns:
    return tuple([column[row] for row in rows] for column in columns)


def _kind(*tensors: Tensor) -> tuple[bool, torch.dtype, torch.device]:
    """Return whether a fused kernel takes a row, and what the row is made of."""
    param = tensors[0]
    in_step = all(map(Tensor.is_contiguous, tensors)) or len(set(map(Tensor.stride, tensors))) == 1
    return in_step and _suits(param), param.dtype, param.device


def _suits(param: Tensor) -> bool:
    """Whether a fused kernel is there for a parameter."""
    return type(param) in PLAIN and param.dtype in TYPES and kernels_work(param.device.type)


@lru_cache
def kernels_work(device: str) -> bool:
    """Whether this torch's kernels do on a kind of device, "cpu" or "cuda", what is relied on here."""
    if device not in ("cpu", "cuda"):
        return False
    with torch.no_grad():
        start, grad, first, second = torch.linspace(0.5, 2.0, 4 * ENTRIES, dtype=torch.float64, device=device).chunk(4)
        try:
            return _sgd_agrees(start, grad, first) and _adam_agrees(start, grad, first, second)
        except (AttributeError, TypeError, RuntimeError):  # none there, with other arguments, or not for such tensors
            return False


def _sgd_agrees(start: Tensor, grad: Tensor, first: Tensor) -> bool:
    param, momentum = start.clone(), first.clone()
    fused_sgd([param], [grad], [momentum], lr=0.5, momentum=0.75, share=0.25)
    expected = 0.75 * first + 0.25 * grad
    return torch.allclose(momentum, expected) and torch.allclose(param, start - 0.5 * expected)


def _adam_agrees(start: Tensor, grad: Tensor, first: Tensor, second: Tensor) -> bool:
    param, m, v, largest = (tensor.clone() for tensor in (start, first, second, start))
    fused_adam([param], [grad], [m], [v], [largest], lr=0.5, betas=(0.75, 0.5), eps=0.25)
    expected_m, expected_v = 0.75 * first + 0.25 * grad, 0.5 * second + 0.5 * grad**2
    expected = start - 0.5 * expected_m / (torch.maximum(start, expected_v).sqrt() + 0.25)
    return all(map(torch.allclose, (m, v, param), (expected_m, expected_v, expected)))


def fused_sgd(
    params: list[Tensor], grads: list[Tensor], momenta: list[Tensor], *, lr: float, momentum: float, share: float
) -> None:
    """Do SGD's step in one pass over tensors that are alike, of which a share of the gradient enters the momentum."""
    torch._fused_sgd_(
        params,
        grads,
        momenta,
        weight_decay=0.0,
        momentum=momentum,
        lr=lr,
        dampening=1 - share,
        nesterov=False,
        maximize=False,
        is_first_step=False,
    )
    _tell_autograd(params)


def fused_adam(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    max_exp_avg_sqs: list[Tensor],
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """Do Adam's step without bias correction in one pass over tensors that are alike."""
    # an endless count of steps makes the kernel's own bias corrections 1 - beta^step one
    endless = torch.full((), math.inf, device=params[0].device)
    torch._fused_adam_(
        params,
        grads,
        exp_avgs,
        exp_avg_sqs,
        max_exp_avg_sqs,
        [endless] * len(params),
        lr=lr,
        beta1=betas[0],
        beta2=betas[1],
        weight_decay=0.0,
        eps=eps,
        amsgrad=bool(max_exp_avg_sqs),
        maximize=False,
    )
    _tell_autograd(params)


def _tell_autograd(params: list[Tensor]) -> None:
    """Count a change of the parameters, which the fused kernels do not."""
    torch.autograd.graph.increment_version(params)
