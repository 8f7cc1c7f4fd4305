"""AdEMAMix: Adam with a second, much slower momentum."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from tamcl.optim.base import Batch, at_least_float32, check_count, check_number, column, learning_rate
from tamcl.optim.kernels import group_by_device_and_dtype
from tamcl.optim.moments import MomentsOptimizer
from tamcl.optim.sharing import Ranks

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class AdEMAMix(MomentsOptimizer):
    r"""AdEMAMix: to Adam's momentum is added one that remembers tens of thousands of gradients.

    Use it as the opposite of forgetting old gradients: its paper says that they stay useful for long, on one fixed
    distribution. After a shift the slow momentum still points where the loss used to fall.

    .. math::
        m_t &= \beta_1 \, m_{t-1} + (1 - \beta_1) \, g_t \\
        n_t &= \beta_3(t) \, n_{t-1} + (1 - \beta_3(t)) \, g_t \\
        v_t &= \beta_2 \, v_{t-1} + (1 - \beta_2) \, g_t^2 \\
        \theta_t &= (1 - \eta \lambda) \, \theta_{t-1}
            - \eta \frac{m_t / (1 - \beta_1^t) + \alpha(t) \, n_t}{\sqrt{v_t / (1 - \beta_2^t)} + \epsilon}

    Over the first :math:`T` steps :math:`\alpha(t)` grows in a line, and :math:`\beta_3(t)` from :math:`\beta_1`, so
    that the number of steps after which half is forgotten does:

    .. math::
        \alpha(t) = \min\left(\frac{t}{T} \alpha, \alpha\right), \qquad
        \beta_3(t) = \min\left(\exp\left(\frac{\ln \beta_1 \ln \beta_3}
            {(1 - t/T) \ln \beta_3 + (t/T) \ln \beta_1}\right), \beta_3\right)

    Parameters
    ----------
    params : iterable
        Parameters or parameter groups.
    lr : float or Tensor of one element
        :math:`\eta`, at least 0.
    betas : tuple of float
        :math:`(\beta_1, \beta_2)`, each in [0, 1).
    beta3 : float
        :math:`\beta_3` in [0, 1), of the slow momentum.
    alpha : float
        :math:`\alpha`, at least 0: what the slow momentum weighs; at 0 this is Adam.
    warmup : int
        :math:`T`, at least 0: 0 for none.
    eps : float
        :math:`\epsilon`, at least 0.
    weight_decay : float
        :math:`\lambda`, at least 0; decoupled.
    maximize : bool
        Ascend instead.
    process_group : ProcessGroup, optional
        As for all optimizers here; nothing is measured over ranks.

    Attributes
    ----------
    state : dict
        ``step``, ``exp_avg``, ``exp_avg_slow`` (:math:`n_t`) and ``exp_avg_sq`` of every parameter.

    Notes
    -----
    The paper warms up over the whole of training; here that is to be set, as it is not known how long that will be.
    The count of steps is that of each parameter.

    ``AdEMAMix`` of pytorch_optimizer 4.1 counts its steps in the group, where a cleared state does not reset them,
    changes gradients under weight decay, and cannot be copied.

    References
    ----------
    The AdEMAMix Optimizer: Better, Faster, Older, 2024, equations 1 and 2 and algorithm 1,
    https://arxiv.org/abs/2409.03137

    Examples
    --------
    A steady gradient of 1: the slow momentum is 1e-4 after one step, and weighs 5 times that.

    >>> weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    >>> optimizer = AdEMAMix([weight], lr=1.0)
    >>> weight.grad = -torch.ones(1, dtype=torch.float64)
    >>> optimizer.step()
    >>> round(weight.item(), 6)
    1.0005
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        beta3: float = 0.9999,
        alpha: float = 5.0,
        warmup: int = 0,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        maximize: bool = False,
        process_group: ProcessGroup | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "beta3": beta3,
            "alpha": alpha,
            "warmup": warmup,
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": True,
            "maximize": maximize,
        }
        super().__init__(params, defaults, process_group)

    @property
    def can_be_joined(self) -> bool:
        """Whether a step is the same if all parameters are one vector: yes."""
        return True

    def measures(self) -> bool:
        """Whether a step depends on anything that is measured over all parameters: no."""
        return False

    def check_options(self, group: dict[str, Any]) -> None:
        """Raise ValueError if an option of the group is out of range."""
        super().check_options(group)
        check_number(group, "beta3", high=1)
        check_number(group, "alpha")
        check_count(group, "warmup")

    def initialize(self, state: dict[str, Any], param: Tensor, group: dict[str, Any]) -> None:
        """Start from zero moments."""
        super().initialize(state, param, group)
        if "exp_avg_slow" not in state:
            state["exp_avg_slow"] = torch.zeros_like(param, dtype=at_least_float32(param.dtype))

    def update(self, batches: list[Batch], ranks: Ranks | None) -> None:
        """Do one step of AdEMAMix."""
        for group, params, grads, states in batches:
            for state in states:
                state["step"] += 1
            columns = tuple(column(states, key) for key in ("exp_avg", "exp_avg_slow", "exp_avg_sq"))
            counts = [state["step"] for state in states]
            for tensors, (steps,), _, _ in group_by_device_and_dtype((params, grads, *columns), (counts,)):
                ademamix(*tensors, step=steps[0], group=group)


def ademamix(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_slows: list[Tensor],
    exp_avg_sqs: list[Tensor],
    *,
    step: int,
    group: dict[str, Any],
) -> None:
    """Do one step of AdEMAMix on lists of tensors that are all at the same step."""
    beta1, beta2 = group["betas"]
    alpha, beta3 = warmed_up(step, group["warmup"], group["alpha"], beta1, group["beta3"])
    for averages, beta in ((exp_avgs, beta1), (exp_avg_slows, beta3)):
        torch._foreach_mul_(averages, beta)
        torch._foreach_add_(averages, grads, alpha=1 - beta)
    torch._foreach_mul_(exp_avg_sqs, beta2)
    torch._foreach_addcmul_(exp_avg_sqs, grads, grads, value=1 - beta2)
    steps = torch._foreach_div(exp_avgs, 1 - beta1**step)
    torch._foreach_add_(steps, exp_avg_slows, alpha=alpha)
    roots = torch._foreach_div(exp_avg_sqs, 1 - beta2**step)
    torch._foreach_sqrt_(roots)
    torch._foreach_add_(roots, group["eps"])
    torch._foreach_div_(steps, roots)
    torch._foreach_add_(params, steps, alpha=-learning_rate(group))


def warmed_up(step: int, warmup: int, alpha: float, beta1: float, beta3: float) -> tuple[float, float]:
    """Return the weight and the smoothing of the slow momentum in a step, counted from 1.

    Examples
    --------
    >>> warmed_up(50, 100, 4.0, 0.5, 0.5)
    (2.0, 0.5)
    >>> warmed_up(100, 100, 4.0, 0.9, 0.9999)
    (4.0, 0.9999)
    """
    if step >= warmup:
        return alpha, beta3
    share = step / warmup
    if not beta3:
        return share * alpha, 0.0
    slow = math.log(beta3)
    rate = slow / share  # the limit for a beta1 of 0, whose logarithm has no value
    if beta1:
        fast = math.log(beta1)
        rate = fast * slow / ((1 - share) * slow + share * fast)
    return share * alpha, min(math.exp(rate), beta3)
