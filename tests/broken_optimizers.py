"""Optimizers that each break one promise, and the healthy one that they are made from."""

from __future__ import annotations

import torch
from torch.optim import Optimizer


class Healthy(Optimizer):
    """Gradient descent with momentum, for others to break. https://example.org"""

    def __init__(self, params, lr, momentum=0.9, weight_decay=0.0, maximize=False):
        if not lr >= 0 or not weight_decay >= 0 or not 0 <= momentum < 1:
            raise ValueError("out of range")
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "maximize": maximize})

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
        momentum.mul_(group["momentum"]).add_(param.grad, alpha=-1 if group["maximize"] else 1)
        momentum.add_(param, alpha=group["weight_decay"])
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
        param.grad.add_(param, alpha=-group["weight_decay"] if group["maximize"] else group["weight_decay"])
        super().step_one(param, {**group, "weight_decay": 0.0})


class IgnoresGroups(Healthy):
    def step_one(self, param, group):
        super().step_one(param, self.param_groups[0])


class NanAtZeroGradient(Healthy):
    def step_one(self, param, group):
        super().step_one(param, group)
        param.add_(0 * param.grad / param.grad.norm())


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


class SeedsTheGlobalGenerator(Healthy):
    def step_one(self, param, group):
        torch.manual_seed(0)
        super().step_one(param, group)


class KeepsItsOwnOptionsOnLoad(Healthy):
    def load_state_dict(self, state_dict):
        own = [{key: group[key] for key in group.keys() - {"params"}} for group in self.param_groups]
        super().load_state_dict(state_dict)
        for group, options in zip(self.param_groups, own, strict=True):
            group.update(options)


class IgnoresTheMomentumOfGroups(Healthy):
    def step_one(self, param, group):
        super().step_one(param, {**group, "momentum": self.defaults["momentum"]})


class IgnoresMaximizeOfGroups(Healthy):
    def step_one(self, param, group):
        super().step_one(param, {**group, "maximize": self.defaults["maximize"]})


class DecaysUpwardsUnderMaximize(Healthy):
    def step_one(self, param, group):
        sign = -1 if group["maximize"] else 1
        super().step_one(param, {**group, "weight_decay": sign * group["weight_decay"]})


class RoundsToFloat32(Healthy):
    def step_one(self, param, group):
        super().step_one(param, group)
        param.copy_(param.float())


class MultipliesTheLearningRate(Healthy):
    def step_one(self, param, group):
        super().step_one(param, {**group, "lr": group["lr"] * float("1.0") if type(group["lr"]) is float else None})


class PairsEntriesAsTheyLie(Healthy):
    def step_one(self, param, group):
        entries = param.grad.as_strided((param.numel(),), (1,)).view(param.shape)
        momentum = self.state[param].setdefault("momentum_buffer", torch.zeros_like(param))
        momentum.mul_(group["momentum"]).add_(entries, alpha=-1 if group["maximize"] else 1)
        momentum.add_(param, alpha=group["weight_decay"])
        param.add_(momentum, alpha=-float(group["lr"]))


class LeavesTheDefaultType(Healthy):
    def step_one(self, param, group):
        super().step_one(param, group)
        torch.set_default_dtype(torch.float64)


class LosesHooks(Healthy):
    def register_step_post_hook(self, hook):
        return super().register_step_post_hook(lambda *_: None)


class NanAtHugeGradients(Healthy):
    def step_one(self, param, group):
        super().step_one(param, group)
        if param.grad.float().square().sum() > 1e30:
            param.fill_(float("nan"))
