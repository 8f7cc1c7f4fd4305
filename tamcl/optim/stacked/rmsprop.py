"""RMSprop of stacked runs."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from tamcl.optim.stacked.base import StackedStep, decayed


class StackedRMSprop(StackedStep):
    """One step of ``torch.optim.RMSprop`` for R runs; see ``StackedStep``."""

    tensors = ("square_avg", "momentum_buffer")
    counts = "tensor"

    def rates(self, steps: Tensor, lr: Tensor) -> dict[str, Tensor]:
        """Return the learning rates."""
        return {"lr": lr.expand(steps.shape)}

    def update(
        self,
        params: list[Tensor],
        grads: list[Tensor],
        state: Mapping[str, list[Tensor]],
        numbers: Mapping[str, Tensor],
        rates: Mapping[str, Tensor],
    ) -> None:
        """Do the step."""
        alpha, momentum = self.group["alpha"], self.group["momentum"]
        grads = decayed(params, grads, self.group["weight_decay"])
        columns = params, grads, state["square_avg"], state["momentum_buffer"]
        for param, grad, v, buffer in zip(*columns, strict=True):
            v.mul_(alpha).addcmul_(grad, grad, value=1 - alpha)
            step = grad / (v.sqrt() + self.group["eps"])
            if momentum:
                step = buffer.mul_(momentum).add_(step)
            param.sub_(rates["lr"] * step)
