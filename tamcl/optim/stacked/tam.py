"""TAM of stacked runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from tamcl.optim.stacked.base import StackedStep, shrink
from tamcl.optim.stacked.torque import stacked_shares, torque_numbers, torque_rates
from tamcl.optim.tam import tam


class StackedTAM(StackedStep):
    """One step of ``TAM`` for R runs; see ``StackedStep``."""

    tensors = ("momentum_buffer",)

    def __init__(self, group: Mapping[str, Any]) -> None:
        super().__init__(group)
        self.shared = torque_numbers(group)

    def rates(self, steps: Tensor, lr: Tensor) -> dict[str, Tensor]:
        """Return the learning rates."""
        found = {"lr": lr.expand(steps.shape)} | torque_rates(steps, self.group)
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
        """Do the step."""
        momenta = state["momentum_buffer"]
        shrink(params, rates)
        grads, share = stacked_shares(params, grads, momenta, 1.0, numbers, rates, self.group)
        share = share.to(params[0].dtype) if isinstance(share, Tensor) else share
        beta = self.group["momentum"]
        tam(params, grads, momenta, [share] * len(params), lr=rates["lr"], beta=beta, foreach=False)

    @property
    def _is_decoupled(self) -> bool:
        return bool(self.group["decoupled_weight_decay"] and self.group["weight_decay"])
