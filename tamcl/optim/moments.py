"""Adam's two moments, for the optimizers that make something else of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tamcl.optim.base import (
    BaseOptimizer,
    Batch,
    at_least_float32,
    check_betas,
    check_number,
    column,
    learning_rate,
)
from tamcl.optim.kernels import fused_adam, group_by_device_and_dtype


class MomentsOptimizer(BaseOptimizer):
    """An optimizer with options ``betas`` and ``eps``, and ``step`` and Adam's moments in its state."""

    moment = "exp_avg"
    clock = ("step",)

    def check_options(self, group: dict[str, Any]) -> None:
        """Raise ValueError if an option of the group is out of range."""
        check_betas(group)
        check_number(group, "eps")

    def initialize(self, state: dict[str, Any], param: Tensor, group: dict[str, Any]) -> None:
        """Start from zero moments."""
        state.setdefault("step", 0)
        for key in ("exp_avg", "exp_avg_sq"):
            if key not in state:
                state[key] = torch.zeros_like(param, dtype=at_least_float32(param.dtype))

    def step_as_adam(self, batch: Batch, lrs: list[float] | None = None) -> None:
        """Count a step and do Adam's, by the group's learning rate where tensors have none of their own."""
        group, params, grads, states = batch
        for state in states:
            state["step"] += 1
        adam(
            params,
            grads,
            column(states, "exp_avg"),
            column(states, "exp_avg_sq"),
            [state["step"] for state in states],
            [learning_rate(group)] * len(params) if lrs is None else lrs,
            betas=group["betas"],
            eps=group["eps"],
        )


def adam(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    steps: list[int],
    lrs: list[float],
    *,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """Do Adam's step on lists of tensors, each of which has a count of steps and a learning rate of its own.

    In one pass, where torch's fused kernel takes the tensors; it is without the corrections for having started at zero,
    which therefore go into its learning rate and its :math:`\\epsilon`.
    """
    tensors: Any = (params, grads, exp_avgs, exp_avg_sqs)
    for some, (counts, rates), _, fits in group_by_device_and_dtype(tensors, (steps, lrs)):
        if fits and not torch.compiler.is_compiling():
            first, root = 1 - betas[0] ** counts[0], (1 - betas[1] ** counts[0]) ** 0.5
            ps, gs, ms, vs = some
            fused_adam(ps, gs, ms, vs, [], lr=rates[0] * root / first, betas=betas, eps=eps * root)
            continue
        for param, grad, exp_avg, exp_avg_sq, step, lr in zip(*some, counts, rates, strict=True):
            exp_avg.mul_(betas[0]).add_(grad, alpha=1 - betas[0])
            exp_avg_sq.mul_(betas[1]).addcmul_(grad, grad, value=1 - betas[1])
            first, second = 1 - betas[0] ** step, 1 - betas[1] ** step
            param.sub_(lr * (exp_avg / first) / ((exp_avg_sq / second).sqrt() + eps))
