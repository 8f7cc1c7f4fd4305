"""AdaTAM: torque-aware momentum with Adam's normalisation of each coordinate."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from tamcl.optim.base import BaseOptimizer, Batch, at_least_float32, check_betas, check_choice, check_number
from tamcl.optim.tam import Granularity, accumulate, check_torque, torque

BiasCorrection = Literal["second", "none", "both"]


class AdaTAMBase(BaseOptimizer):
    """What AdaTAM and AdaTAMW share: everything but where weight decay enters."""

    shared_options = ("gamma", "granularity", "damping")

    def check_options(self, group: dict[str, Any]) -> None:
        """Raise ValueError if an option of the group is out of range."""
        check_betas(group)
        check_number(group, "eps")
        check_torque(group)
        check_choice(group, "bias_correction", get_args(BiasCorrection))

    def initialize(self, state: dict[str, Any], param: Tensor, group: dict[str, Any]) -> None:
        """Start from zero moments."""
        if "momentum_buffer" not in state:
            dtype = at_least_float32(param.dtype)
            state["step"] = 0
            state["momentum_buffer"] = torch.zeros_like(param, dtype=dtype)
            state["exp_avg_sq"] = torch.zeros_like(param, dtype=dtype)

    def update(self, batches: list[Batch]) -> None:
        """Do one step of AdaTAM."""
        for (group, params, grads, states), dampings in zip(batches, torque(batches, self.shared_state), strict=True):
            for state in states:
                state["step"] += 1
            adatam(
                params,
                grads,
                [state["momentum_buffer"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [state["step"] for state in states],
                dampings,
                lr=float(group["lr"]),
                betas=group["betas"],
                eps=group["eps"],
                bias_correction=group["bias_correction"],
            )


class AdaTAM(AdaTAMBase):
    r"""Adam with torque-aware momentum in place of the average of gradients.

    Use it where Adam is used and gradients may turn suddenly. Its momentum is no average: for a steady gradient it
    grows to :math:`d / (1 - \beta_1)` times that gradient, so look for its learning rate around a fifth of Adam's.

    .. math::
        d_t &= (1 + \hat s_t) / 2 \quad \text{as in TAM} \\
        m_t &= \beta_1 \, m_{t-1} + (\epsilon + d_t) \, g_t \\
        v_t &= \beta_2 \, v_{t-1} + (1 - \beta_2) \, g_t^2 \\
        \theta_t &= \theta_{t-1} - \eta \, \hat m_t / (\sqrt{\hat v_t} + \epsilon)

    Parameters
    ----------
    params : iterable
        Parameters or parameter groups.
    lr : float or Tensor of one element
        :math:`\eta`, at least 0.
    betas : tuple of float
        :math:`(\beta_1, \beta_2)`, each in [0, 1).
    gamma : float
        :math:`\gamma` in [0, 1): smoothing of the cosine over steps; the same in all groups.
    eps : float
        :math:`\epsilon`, at least 0, in both places.
    weight_decay : float
        :math:`\lambda`, at least 0: :math:`g_t` becomes :math:`g_t + \lambda \theta_{t-1}` before anything else.
    granularity : {"global", "tensor"}
        One cosine over all parameters that have a gradient, or one for each tensor; the same in all groups.
    bias_correction : {"second", "none", "both"}
        Which moments are corrected for their start at zero: :math:`\hat v_t = v_t / (1 - \beta_2^t)` alone (the first
        step is :math:`\eta / 2`), none (the first steps are 16, 22, 27 times :math:`\eta`), or also
        :math:`\hat m_t = m_t / (1 - \beta_1^t)`, as in Adam (the first step is :math:`5 \eta`).
    damping : float, optional
        Hold :math:`d_t` at this number in [0, 1] and measure no cosine; the same in all groups.
    maximize : bool
        Ascend instead.

    Attributes
    ----------
    state : dict
        ``step``, ``momentum_buffer`` and ``exp_avg_sq`` of every parameter, and ``cosine``, ``smoothed_cosine`` and
        ``damping`` of the last step: of every parameter, or, if global, in ``shared_state``.

    Notes
    -----
    The first moment follows TAM's recurrence; the second is built from the gradient itself, not the damped one.
    Assumptions: bias correction of the second moment alone, coupled weight decay, and those of ``TAM``. Other readings
    of the paper correct neither moment: ``bias_correction="none"``.

    References
    ----------
    Torque-Aware Momentum, 2024, https://arxiv.org/abs/2412.18790

    Examples
    --------
    >>> weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = AdaTAM([weight], lr=0.01)
    >>> for _ in range(200):
    ...     optimizer.zero_grad()
    ...     loss = (weight**2).sum()
    ...     loss.backward()
    ...     optimizer.step()
    >>> bool(loss < 1e-2)
    True
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        gamma: float = 0.9,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        granularity: Granularity = "global",
        bias_correction: BiasCorrection = "second",
        damping: float | None = None,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "gamma": gamma,
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": False,
            "granularity": granularity,
            "bias_correction": bias_correction,
            "damping": damping,
            "maximize": maximize,
        }
        super().__init__(params, defaults)


def adatam(
    params: list[Tensor],
    grads: list[Tensor],
    momentum_buffers: list[Tensor],
    exp_avg_sqs: list[Tensor],
    steps: list[int],
    dampings: list[float],
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    bias_correction: BiasCorrection,
) -> None:
    """Do one step of AdaTAM on lists of tensors, given the damping and the count of steps of each."""
    beta1, beta2 = betas
    accumulate(momentum_buffers, grads, dampings, beta=beta1, eps=eps)
    torch._foreach_mul_(exp_avg_sqs, beta2)
    torch._foreach_addcmul_(exp_avg_sqs, grads, grads, 1 - beta2)
    first = [1 - beta1**step if bias_correction == "both" else 1.0 for step in steps]
    second = [math.sqrt(1 - beta2**step) if bias_correction != "none" else 1.0 for step in steps]
    # lr m / (sqrt(v) / c + eps) = lr c m / (sqrt(v) + c eps), which is a pass less over the parameters
    denominators = torch._foreach_sqrt(exp_avg_sqs)
    torch._foreach_add_(denominators, [eps * c for c in second])
    torch._foreach_addcdiv_(
        params, momentum_buffers, denominators, [-lr * c / b for b, c in zip(first, second, strict=True)]
    )
