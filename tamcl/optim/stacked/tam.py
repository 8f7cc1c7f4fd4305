"""TAM of stacked runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from tamcl.optim.stacked.base import StackedStep, decayed, shrink
from tamcl.optim.stacked.torque import stacked_torque, torque_numbers
from tamcl.optim.tam import tam


class StackedTAM(StackedStep):
    """One step of ``TAM`` for R runs; see ``StackedStep``."""

    tensors = ("momentum_buffer",)

    def __init__(self, group: Mapping[str, Any]) -> None:
        super().__init__(group)
        self.shared = torque_numbers(group)

    def rates(self, steps: Tensor, lr: Tensor) -> dict[str, Tensor]:
        """Return the learning rates."""
        found = {"lr": lr.expand(steps.shape)}
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
        grads = grads if self._is_decoupled else decayed(params, grads, self.group["weight_decay"])
        damping = stacked_torque(momenta, grads, 1.0, numbers, self.group)
        share = damping.to(params[0].dtype) if isinstance(damping, Tensor) else damping
        constants = {"beta": self.group["momentum"], "eps": self.group["eps"], "foreach": False}
        tam(params, grads, momenta, [share] * len(params), lr=rates["lr"], **constants)

    @property
    def _is_decoupled(self) -> bool:
        return bool(self.group["decoupled_weight_decay"] and self.group["weight_decay"])
