"""Optimizers that each break one promise, and the healthy one that they are made from."""

from __future__ import annotations

import torch
from torch.optim import Optimizer


class Healthy(Optimizer):
    """Gradient descent with momentum, for others to break. https://example.org"""

    def __init__(self, params, lr, weight_decay=0.0):
        if not lr >= 0 or not weight_decay >= 0:
            raise ValueError("out of range")
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for param in group["params"]:
                if param.is_complex() or (param.grad is not None and param.grad.is_sparse):
                    raise RuntimeError("complex and sparse are not supported")
                if param.grad is not None:
                    self.step_one(param, group)
        return loss

    def step_one(self, param, group):
        momentum = self.state[param].setdefault("momentum_buffer", torch.zeros_like(param))
        momentum.mul_(0.9).add_(param.grad).add_(param, alpha=group["weight_decay"])
        param.add_(momentum, alpha=-group["lr"])


class LosesStateOnLoad(Healthy):
    def load_state_dict(self, state_dict):
        super().load_state_dict(state_dict)
        self.state.clear()


class DrawsGlobalRandomness(Healthy):
    def step_one(self, param, group):
        torch.rand(1)
        super().step_one(param, group)


class ChangesGradients(Healthy):
    def step_one(self, param, group):
        param.grad.add_(param, alpha=group["weight_decay"])
        super().step_one(param, {**group, "weight_decay": 0.0})


class IgnoresGroups(Healthy):
    def step_one(self, param, group):
        super().step_one(param, self.param_groups[0])


class NanAtZeroGradient(Healthy):
    def step_one(self, param, group):
        param.sub_(param.grad / param.grad.norm(), alpha=group["lr"])


class StateOutsideState(Healthy):
    def step_one(self, param, group):
        self.memory = getattr(self, "memory", None) or {}
        momentum = self.memory.setdefault(param, torch.zeros_like(param))
        param.sub_(momentum.mul_(0.9).add_(param.grad), alpha=group["lr"])


class KeepsTheGradient(Healthy):
    def step_one(self, param, group):
        previous = self.state[param].get("previous", param.grad)
        param.sub_(param.grad + previous, alpha=group["lr"])
        self.state[param]["previous"] = param.grad


class SkipsTheStep(Healthy):
    def step_one(self, param, group):
        pass
