"""The damping of stacked runs, each by its own cosine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from tamcl.optim.base import set_scalar
from tamcl.optim.damping import damping as damping_of
from tamcl.optim.torque import Products, cosine, is_held


def torque_numbers(group: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the numbers that are kept with these options."""
    if is_held(dict(group)):
        return ()
    measured = ("cosine", "smoothed_cosine", "damping")
    return measured if group["damping"] is None else (*measured, "damping_step")


def stacked_torque(
    momenta: list[Tensor], grads: list[Tensor], weight: Any, numbers: Mapping[str, Tensor], group: dict[str, Any]
) -> Any:
    """Return the damping of each run, (R, 1), and note it in the numbers; one number if it is held.

    Parameters
    ----------
    momenta, grads : list of Tensor, (R, n)
    weight : Tensor or float
        What the momenta are to be multiplied by.
    numbers : dict of Tensor, (R, 1)
    group : dict
        Options of the optimizer.
    """
    if is_held(group):
        return group["damping"]
    products = []
    for momentum, grad in zip(momenta, grads, strict=True):
        m, g = momentum.double(), grad.double()  # which hold the square of any float32
        products.append(Products(*(pair.sum(1, keepdim=True) for pair in (g * g, m * g, m * m))))
    gg, mg, mm = (sum(each) for each in zip(*products, strict=True))
    measured = cosine([Products(gg, weight * mg, weight * weight * mm)], [])
    smoothed = group["gamma"] * numbers["smoothed_cosine"] + (1 - group["gamma"]) * measured
    known = dict(numbers)
    damping = damping_of(known, smoothed, group)
    if "damping_step" in known:
        numbers["damping_step"].copy_(known["damping_step"])
    set_scalar(dict(numbers), cosine=measured, smoothed_cosine=smoothed, damping=damping)
    return damping
