"""AdaTAM and AdaTAMW of stacked runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tamcl.optim.adatam import adatam, average
from tamcl.optim.stacked.base import StackedStep, shrink
from tamcl.optim.stacked.torque import stacked_shares, torque_numbers, torque_rates


class StackedAdaTAM(StackedStep):
    """One step of ``AdaTAM`` or ``AdaTAMW`` for R runs; see ``StackedStep``."""

    tensors = ("exp_avg", "exp_avg_sq")
    each = ("weight",)
    counts = "number"

    def __init__(self, group: Mapping[str, Any]) -> None:
        super().__init__(group)
        self.shared = torque_numbers(group)

    def rates(self, steps: Tensor, lr: Tensor) -> dict[str, Tensor]:
        """Return the rates that bias correction leaves: ``lr`` and ``eps``, both times the root of the second."""
        (beta1, beta2), which = self.group["betas"], self.group["bias_correction"]
        ones = torch.ones(steps.shape, dtype=torch.float64)
        first = 1 - beta1**steps if which == "both" else ones
        root = (1 - beta2**steps).sqrt() if which != "none" else ones
        found = {"lr": lr * root / first, "eps": self.group["eps"] * root} | torque_rates(steps, self.group)
        if self._is_decoupled:
            found["kept"] = (1 - lr * self.group["weight_decay"]).expand(steps.shape)
        return found

    def update(
        self,
        params: list[Tensor],
        grads: list[Tensor],
        state: Mapping[str, list[Tensor]],
        numbers: Mapping[str, Tensor],
        rates: Mapping[str, Tensor],
    ) -> None:
        """Do the step, without corrections of the moments: they are in the rates."""
        averages, count = state["exp_avg"], len(params)
        shrink(params, rates)
        grads, enters = stacked_shares(params, grads, averages, numbers["weight"], numbers, rates, self.group)
        weight, share = average(numbers["weight"], self.group["betas"][0], enters)
        numbers["weight"].copy_(weight)
        weight, share = weight.to(params[0].dtype), share.to(params[0].dtype)
        constants: dict[str, Any] = {"lr": rates["lr"], "betas": self.group["betas"], "eps": rates["eps"]}
        adatam(
            params,
            grads,
            averages,
            state["exp_avg_sq"],
            [1] * count,
            [weight] * count,
            [share] * count,
            **constants,
            bias_correction="none",
            foreach=False,
        )

    @property
    def _is_decoupled(self) -> bool:
        return bool(self.group["decoupled_weight_decay"] and self.group["weight_decay"])
