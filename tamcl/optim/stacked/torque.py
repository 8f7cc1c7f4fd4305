"""The share of a gradient that enters the momentum of stacked runs, each by its own cosine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tamcl.optim.base import set_scalar
from tamcl.optim.damping import damping as damping_of
from tamcl.optim.stacked.base import decayed
from tamcl.optim.torque import Products, cosine, is_held


def torque_numbers(group: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the numbers that are kept with these options."""
    if is_held(dict(group)):
        return ()
    measured = ("cosine", "smoothed_cosine", "damping")
    return measured if group["damping"] is None else (*measured, "damping_step")


def torque_rates(steps: Tensor, group: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the rate that says whose first gradient enters whole, if any does."""
    return {"is_first": (steps == 1).double()} if group["start"] == "gradient" else {}


def stacked_shares(
    params: list[Tensor],
    grads: list[Tensor],
    momenta: list[Tensor],
    weight: Any,
    numbers: Mapping[str, Tensor],
    rates: Mapping[str, Tensor],
    group: dict[str, Any],
) -> tuple[list[Tensor], Any]:
    """Return gradients with coupled weight decay, and the share of them that enters in each run, (R, 1) or a number.

    Parameters
    ----------
    params, grads, momenta : list of Tensor, (R, n)
    weight : Tensor or float
        What the momenta are to be multiplied by.
    numbers : dict of Tensor, (R, 1)
        Cosines and dampings are noted there.
    rates : dict of Tensor, (R, 1)
    group : dict
        Options of the optimizer.
    """
    raw = grads
    if not group["decoupled_weight_decay"]:
        grads = decayed(params, grads, group["weight_decay"])
    is_first = rates["is_first"] > 0 if "is_first" in rates else None
    if is_held(group):
        damping = group["damping"]
    else:
        damping = _torque(momenta, raw if group["cosine_on"] == "raw" else grads, weight, numbers, is_first, group)
    share = group["eps"] + damping
    if is_first is None:
        return grads, share
    share = share if isinstance(share, Tensor) else torch.full_like(is_first, share, dtype=torch.float64)
    return grads, torch.where(is_first, 1.0, share)


def _torque(
    momenta: list[Tensor],
    grads: list[Tensor],
    weight: Any,
    numbers: Mapping[str, Tensor],
    is_first: Tensor | None,
    group: dict[str, Any],
) -> Tensor:
    """Return the damping of each run, (R, 1), and note it in the numbers."""
    products = []
    for momentum, grad in zip(momenta, grads, strict=True):
        m, g = momentum.double(), grad.double()  # which hold the square of any float32
        products.append(Products(*(pair.sum(1, keepdim=True) for pair in (g * g, m * g, m * m))))
    gg, mg, mm = (sum(each) for each in zip(*products, strict=True))
    measured = cosine([Products(gg, weight * mg, weight * weight * mm)], [])
    smoothed = group["gamma"] * numbers["smoothed_cosine"] + (1 - group["gamma"]) * measured
    known = dict(numbers)
    damping: Tensor = damping_of(known, smoothed, group)
    if is_first is not None:  # whose momentum is zero, so that cosine and smoothed cosine are too
        damping = torch.where(is_first, 1.0, damping)
    if "damping_step" in known:
        steps = known["damping_step"]
        numbers["damping_step"].copy_(steps if is_first is None else torch.where(is_first, 0.0, steps))
    set_scalar(dict(numbers), cosine=measured, smoothed_cosine=smoothed, damping=damping)
    return damping
