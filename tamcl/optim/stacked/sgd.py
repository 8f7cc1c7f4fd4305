"""SGD of stacked runs."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from tamcl.optim.stacked.base import StackedStep, decayed


class StackedSGD(StackedStep):
    """One step of ``torch.optim.SGD`` for R runs; see ``StackedStep``."""

    tensors = ("momentum_buffer",)

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
        """Do the step; momentum that starts from zero is the first gradient after it, as torch has it."""
        momentum = self.group["momentum"]
        grads = decayed(params, grads, self.group["weight_decay"])
        for param, grad, buffer in zip(params, grads, state["momentum_buffer"], strict=True):
            step = grad
            if momentum:
                buffer.mul_(momentum).add_(grad)
                step = grad + momentum * buffer if self.group["nesterov"] else buffer
            param.sub_(rates["lr"] * step)
