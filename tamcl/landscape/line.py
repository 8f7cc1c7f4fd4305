"""Weights between two ends of training."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from tamcl.errors import InputError


def between(
    start: Mapping[str, Tensor], end: Mapping[str, Tensor], alpha: float, *, renewed: Collection[str] = ()
) -> dict[str, Tensor]:
    """Return the weights at a place of the straight line from one end to another.

    Parameters
    ----------
    start, end : mapping of str to Tensor
        Weights of two models of one kind, by their names.
    alpha : float
        0 at the start, 1 at the end.
    renewed : collection of str
        Names that have no value between the ends, since they are made anew; they are those of the start.

    Raises
    ------
    InputError
        If something that is no floating-point number differs between the ends.

    Examples
    --------
    >>> between({"w": torch.tensor([0.0, 4.0])}, {"w": torch.tensor([2.0, 4.0])}, 0.25)["w"]
    tensor([0.5000, 4.0000])
    """
    return {name: start[name] if name in renewed else _between(name, start[name], end[name], alpha) for name in start}


def _between(name: str, start: Tensor, end: Tensor, alpha: float) -> Tensor:
    if start.is_floating_point():
        return torch.lerp(start, end, alpha)  # the ends themselves at 0 and 1
    if not torch.equal(start, end):
        raise InputError(f"'{name}' holds {start.dtype} and differs between two ends: there is nothing between them")
    return start
