"""AdaTAM: torque-aware momentum with Adam's normalisation of each coordinate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from tamcl.optim.base import (
    Batch,
    at_least_float32,
    check_betas,
    check_choice,
    check_number,
    column,
    is_fast,
    learning_rate,
    set_scalar,
    zero,
)
from tamcl.optim.damping import DampingFunction, Timing
from tamcl.optim.draws import own_seed
from tamcl.optim.kernels import fused_adam, group_by_device_and_dtype
from tamcl.optim.sharing import Ranks
from tamcl.optim.torque import CosineOn, Granularity, Start, TorqueOptimizer, check_torque

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

BiasCorrection = Literal["second", "none", "both"]

TINY = 1e-300
"""Added to a divisor that is 0 if nothing has entered the momentum yet."""


class AdaTAM(TorqueOptimizer):
    r"""Adam with torque-aware momentum in place of the average of gradients.

    Use it where Adam is used and gradients may turn suddenly. Its momentum is no average: for a steady gradient it
    grows to :math:`d / (1 - \beta_1)` times that gradient, so look for its learning rate around a fifth of Adam's. Not
    in place of Adam untuned; and in tamcl's scenarios it did not beat Adam.

    .. math::
        d_t &= (1 + \hat s_t) / 2 \quad \text{as in TAM} \\
        g_t &\leftarrow g_t + \lambda \, \theta_{t-1} \\
        m_1 &= g_1 \\
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
        :math:`\lambda`, at least 0.
    start : {"gradient", "zero"}
        What the first gradient of a parameter does: enter whole, or meet a momentum of zero; see ``TAM``.
    cosine_on : {"raw", "decayed"}
        Whether the cosine is that of the gradient itself or that of the gradient with weight decay; the same in all
        groups.
    granularity : {"group", "global", "tensor"}
        One cosine over all parameters of a group that have a gradient, over those of all groups, or for each tensor;
        the same in all groups. With one group, "group" and "global" are the same.
    bias_correction : {"second", "none", "both"}
        Which moments are corrected for their start at zero: :math:`\hat v_t = v_t / (1 - \beta_2^t)` alone (the first
        step is :math:`\eta`), none (the first steps are 32, 32, 35 times :math:`\eta`), or also
        :math:`\hat m_t = m_t / (1 - \beta_1^t)`, as in Adam (the first step is :math:`10 \eta`). From
        ``start="zero"`` the first step is half of that.
    damping : float or {"average", "shuffled"}, optional
        Null models of torque, the same in all groups; see ``TAM``.
    damping_function : {"linear", "quadratic", "reversed"}
        The damping as a function of the smoothed cosine, the same in all groups; see ``TAM``.
    seed : int, optional
        Of the draws of ``"shuffled"``; that of torch's global generator if None. The same in all groups.
    maximize : bool
        Ascend instead.
    foreach : bool, optional
        False: tensor by tensor, as the equations are written; else through torch's fused Adam kernel, which gives the
        same numbers up to rounding.
    capturable : bool
        Keep all numbers on the device and read none, so that the step may be captured in a CUDA graph; tensor by
        tensor. So far tried on CPUs alone.
    process_group : ProcessGroup, optional
        The ranks among which ``FullyShardedDataParallel`` divides the parameters; see ``tamcl.optim.sharing``.

    Attributes
    ----------
    state : dict
        ``step``, ``exp_avg``, ``exp_avg_sq`` and ``weight`` of every parameter, where the momentum :math:`m_t` is
        ``weight * exp_avg``; and ``cosine``, ``smoothed_cosine`` and ``damping``, as in ``TAM``.

    Notes
    -----
    The first moment follows TAM's recurrence; the second is built from the gradient itself, not the damped one.
    Assumptions: bias correction of the second moment alone, and coupled weight decay; the first step, the cosine of the
    gradient without decay and the cosine of each group, which in the precursor of ``TAM`` are those of SGD with
    momentum: it has no Adam. Other readings of the paper correct neither moment, ``bias_correction="none"``, and start
    from zero.

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

    clock = ("step",)
    device_numbers = frozenset({"step", "weight", "cosine", "smoothed_cosine", "damping"})
    moment = "exp_avg"

    decouples_weight_decay: ClassVar[bool] = False
    """Whether weight decay shrinks the parameters, or enters the gradient."""

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        gamma: float = 0.9,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        start: Start = "gradient",
        cosine_on: CosineOn = "raw",
        granularity: Granularity = "group",
        bias_correction: BiasCorrection = "second",
        damping: float | Timing | None = None,
        damping_function: DampingFunction = "linear",
        seed: int | None = None,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        process_group: ProcessGroup | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "gamma": gamma,
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": self.decouples_weight_decay,
            "start": start,
            "cosine_on": cosine_on,
            "granularity": granularity,
            "bias_correction": bias_correction,
            "damping": damping,
            "damping_function": damping_function,
            "seed": own_seed(seed),
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
        }
        super().__init__(params, defaults, process_group)

    def check_options(self, group: dict[str, Any]) -> None:
        """Raise ValueError if an option of the group is out of range."""
        check_betas(group)
        check_number(group, "eps")
        check_torque(group)
        check_choice(group, "bias_correction", get_args(BiasCorrection))

    def initialize(self, state: dict[str, Any], param: Tensor, group: dict[str, Any]) -> None:
        """Start from zero moments."""
        if "exp_avg" in state and "weight" not in state:
            # Adam's, which is (1 - beta) / d times the momentum that a damping of d would have led to
            state["weight"] = zero(param, group) + (group["eps"] + 0.5) / (1 - group["betas"][0])
        for key in ("step", "weight"):
            if key not in state:
                state[key] = zero(param, group)
        super().initialize(state, param, group)
        if "exp_avg_sq" not in state:
            state["exp_avg_sq"] = torch.zeros_like(param, dtype=at_least_float32(param.dtype))

    def update(self, batches: list[Batch], ranks: Ranks | None) -> None:
        """Do one step of AdaTAM."""
        for (group, params, grads, states), entering in self.damped(batches, ranks):
            shares = []
            for state, enters in zip(states, entering, strict=True):
                weight, share = average(state["weight"], group["betas"][0], enters)
                set_scalar(state, step=state["step"] + 1, weight=weight)
                shares.append(share)
            adatam(
                params,
                grads,
                column(states, "exp_avg"),
                column(states, "exp_avg_sq"),
                [state["step"] for state in states],
                [state["weight"] for state in states],
                shares,
                lr=learning_rate(group),
                betas=group["betas"],
                eps=group["eps"],
                bias_correction=group["bias_correction"],
                foreach=is_fast(group),
            )


def average(weight: Any, beta: float, entering: Any) -> tuple[Any, Any]:
    r"""Return the weight of the momentum as an average of gradients, and the share in it of the newest.

    The momentum :math:`m = \beta m + c g` is :math:`N` times an average: :math:`N = \beta N + c`, and of the average
    :math:`c / N` is replaced by the gradient.

    Examples
    --------
    >>> average(0.0, 0.9, 0.5)
    (0.5, 1.0)
    """
    weight = beta * weight + entering
    return weight, entering / (weight + TINY)


def adatam(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    steps: list[Any],
    weights: list[Any],
    shares: list[Any],
    *,
    lr: Any,
    betas: tuple[float, float],
    eps: float,
    bias_correction: BiasCorrection,
    foreach: bool = True,
) -> None:
    """Do one step of AdaTAM on lists of tensors, given of each the count of steps and what ``average`` returned.

    Tensor by tensor, these and ``lr`` may also be tensors that broadcast; see ``tam``.
    """
    step = _fused_adatam if foreach else _single_tensor_adatam
    tensors, numbers = (params, grads, exp_avgs, exp_avg_sqs), (steps, weights, shares)
    step(*tensors, *numbers, lr=lr, betas=betas, eps=eps, bias_correction=bias_correction)


def _single_tensor_adatam(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    steps: list[Any],
    weights: list[Any],
    shares: list[Any],
    *,
    lr: Any,
    betas: tuple[float, float],
    eps: float,
    bias_correction: BiasCorrection,
) -> None:
    columns = params, grads, exp_avgs, exp_avg_sqs, steps, weights, shares
    for param, grad, exp_avg, exp_avg_sq, step, weight, share in zip(*columns, strict=True):
        exp_avg.add_(share * (grad - exp_avg))
        exp_avg_sq.mul_(betas[1]).addcmul_(grad, grad, value=1 - betas[1])
        first, second = _corrections(step, betas, bias_correction)
        momentum = weight * exp_avg
        param.sub_(lr * (momentum / first) / ((exp_avg_sq / second).sqrt() + eps))


def _fused_adatam(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    steps: list[Any],
    weights: list[Any],
    shares: list[Any],
    *,
    lr: Any,
    betas: tuple[float, float],
    eps: float,
    bias_correction: BiasCorrection,
) -> None:
    """Do the step in one pass: it is Adam's, with the average that the momentum is a multiple of as first moment."""
    for tensors, numbers, _, fits in group_by_device_and_dtype(
        (params, grads, exp_avgs, exp_avg_sqs), (steps, weights, shares)
    ):
        if not fits or not numbers[2][0]:  # a share of 0 is what the kernel's first correction would divide by
            constants: dict[str, Any] = {"lr": lr, "betas": betas, "eps": eps, "bias_correction": bias_correction}
            _single_tensor_adatam(*tensors, *numbers, **constants)
            continue
        ps, gs, ms, vs = tensors
        step, weight, share = (column[0] for column in numbers)
        first, second = _corrections(step, betas, bias_correction)
        # N m / (sqrt(v) / c + eps) = c N m / (sqrt(v) + c eps), with c for the root of the second correction
        root = second**0.5
        rate = lr * weight * root / first
        fused_adam(ps, gs, ms, vs, [], lr=rate, betas=(1 - share, betas[1]), eps=eps * root)


def _corrections(step: Any, betas: tuple[float, float], which: BiasCorrection) -> tuple[Any, Any]:
    """Return what the first and the second moment are divided by for having started at zero."""
    first = 1 - betas[0] ** step if which == "both" else 1.0
    return first, 1 - betas[1] ** step if which != "none" else 1.0
