"""An optimizer of one's own, as small as they come: what the notebook about your own optimizer compares."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch


class SignMomentum(torch.optim.Optimizer):
    """Steps of the same size in every coordinate, in the direction of the momentum's sign.

    Close to Signum: "signSGD: Compressed Optimisation for Non-Convex Problems", 2018, https://arxiv.org/abs/1802.04434

    Parameters
    ----------
    params : iterable
    lr : float
        Size of a step.
    momentum : float
        In [0, 1).
    """

    def __init__(self, params: Iterable[Any], lr: float = 1e-3, momentum: float = 0.9) -> None:
        if not 0 <= lr < float("inf"):
            raise ValueError(f"lr must be finite and not negative, got {lr}")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {momentum}")
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one step."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["exp_avg"] = torch.zeros_like(parameter)
                state["exp_avg"].lerp_(parameter.grad, 1 - group["momentum"])
                parameter.add_(state["exp_avg"].sign(), alpha=-group["lr"])
        return loss
