"""Adam and AdamW of stacked runs."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from tamcl.optim.stacked.base import StackedStep, decayed, shrink


class StackedAdam(StackedStep):
    """One step of ``torch.optim.Adam`` or ``AdamW`` for R runs; see ``StackedStep``."""

    tensors = ("exp_avg", "exp_avg_sq")
    counts = "tensor"

    def rates(self, steps: Tensor, lr: Tensor) -> dict[str, Tensor]:
        """Return the rates that bias correction leaves: ``lr`` and ``eps``, both times the root of the second."""
        beta1, beta2 = self.group["betas"]
        root = (1 - beta2**steps).sqrt()
        found = {"lr": lr * root / (1 - beta1**steps), "eps": self.group["eps"] * root}
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
        beta1, beta2 = self.group["betas"]
        shrink(params, rates)
        grads = grads if self._is_decoupled else decayed(params, grads, self.group["weight_decay"])
        for param, grad, m, v in zip(params, grads, state["exp_avg"], state["exp_avg_sq"], strict=True):
            m.lerp_(grad, 1 - beta1)
            v.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
            param.sub_(rates["lr"] * m / (v.sqrt() + rates["eps"]))

    @property
    def _is_decoupled(self) -> bool:
        return bool(self.group.get("decoupled_weight_decay") and self.group["weight_decay"])
