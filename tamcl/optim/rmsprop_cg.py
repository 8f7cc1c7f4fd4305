"""RMSprop with critical gradients: RMSprop that steps by the mean of a few remembered gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from tamcl.optim.base import Batch, check_choice, check_number, column
from tamcl.optim.buffer import Replacement, Variant
from tamcl.optim.critical_gradients import CriticalGradients
from tamcl.optim.draws import own_seed

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

Aggregation = Literal["buffer", "sum"]


class RMSpropCG(CriticalGradients):
    r"""RMSprop with critical gradients: RMSprop whose gradient is the mean of a few large remembered ones.

    Use it as a member of the family that the paper compares. As released it never steps by the present gradient, only
    by remembered ones, so after a shift it goes on in the old direction for a few steps: ``aggregation="sum"`` does
    not.

    .. math::
        \hat g_t &= \frac{1}{|B|} \sum_{b \in B} b + \omega \, \theta_{t-1}
            \quad (+ \, g_t \text{ if aggregation is "sum"}) \\
        v_t &= \alpha \, v_{t-1} + (1 - \alpha) \, \hat g_t^2 \\
        m_t &= \beta \, m_{t-1} + \hat g_t / (\sqrt{v_t} + \epsilon) \\
        \theta_t &= \theta_{t-1} - \eta \, m_t

    A parameter's first step is by its gradient.

    Parameters
    ----------
    params : iterable
        Parameters or parameter groups.
    lr : float or Tensor of one element
        :math:`\eta`, at least 0.
    alpha : float
        :math:`\alpha` in [0, 1).
    momentum : float
        :math:`\beta` in [0, 1).
    eps : float
        :math:`\epsilon`, at least 0.
    centered : bool
        Divide by :math:`\sqrt{v_t - a_t^2} + \epsilon` with :math:`a_t = \alpha \, a_{t-1} + (1 - \alpha) \, \hat g_t`:
        the root is then an estimate of the standard deviation.
    weight_decay : float
        :math:`\omega`, at least 0; what is remembered is without.
    aggregation : {"buffer", "sum"}
        The remembered gradients alone, as the authors' released code has it, or also the present one, as SGD and Adam
        with critical gradients have it.
    capacity : int
        How many gradients the buffer :math:`B` holds, those of the largest norms; at 0 this is RMSprop.
    decay : float
        In [0, 1]: what the priorities in the buffer are multiplied by after a step.
    buffer_dtype : str or torch.dtype, optional
        Precision of the buffer, such as ``"bfloat16"``; that of the moments if None.
    variant : {"official", "paper"}
        Which reading of the method; see ``CriticalGradients``.
    replacement : {"priority", "fifo", "random"}
        What leaves a full buffer: the lowest priority, the oldest, or one drawn at random.
    seed : int, optional
        Of draws; that of torch's global generator if None.
    maximize : bool
        Ascend instead.
    process_group : ProcessGroup, optional
        Ranks among which the parameters are divided; see ``tamcl.optim.sharing``.

    Attributes
    ----------
    state : dict
        ``square_avg``, with momentum ``momentum_buffer`` and if centered ``grad_avg``, and what ``CriticalGradients``
        keeps.

    Notes
    -----
    Assumptions: those of ``CriticalGradients``.

    References
    ----------
    Memory Augmented Optimizers for Deep Learning, 2021, https://arxiv.org/abs/2106.10708

    Examples
    --------
    A gradient that has turned round is not followed at once:

    >>> for aggregation in ("buffer", "sum"):
    ...     weight = torch.nn.Parameter(torch.zeros(1))
    ...     optimizer = RMSpropCG([weight], lr=1.0, alpha=0.0, aggregation=aggregation)
    ...     for gradient in (-1.0, -1.0, 3.0):
    ...         weight.grad = torch.tensor([gradient])
    ...         optimizer.step()
    ...         print(weight.item(), end=" ")
    1.0 2.0 3.0 1.0 2.0 1.0
    """

    moment = "square_avg"

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        *,
        alpha: float = 0.99,
        momentum: float = 0.0,
        capacity: int = 10,
        decay: float = 0.7,
        eps: float = 1e-8,
        centered: bool = False,
        weight_decay: float = 0.0,
        aggregation: Aggregation = "buffer",
        buffer_dtype: str | torch.dtype | None = None,
        variant: Variant = "official",
        replacement: Replacement = "priority",
        seed: int | None = None,
        maximize: bool = False,
        process_group: ProcessGroup | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "alpha": alpha,
            "momentum": momentum,
            "capacity": capacity,
            "decay": decay,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": False,
            "aggregation": aggregation,
            "buffer_dtype": buffer_dtype,
            "variant": variant,
            "replacement": replacement,
            "seed": own_seed(seed),
            "maximize": maximize,
        }
        super().__init__(params, defaults, process_group)

    def check_options(self, group: dict[str, Any]) -> None:
        """Raise ValueError if an option of the group is out of range."""
        check_number(group, "alpha", high=1)
        check_number(group, "momentum", high=1)
        check_number(group, "eps")
        check_choice(group, "aggregation", get_args(Aggregation))
        super().check_options(group)

    def zeros(self, group: dict[str, Any]) -> list[str]:
        """Return the names of the state tensors, besides the buffer, that start from zeros."""
        optional = {"momentum_buffer": group["momentum"], "grad_avg": group["centered"]}
        return ["square_avg", *(key for key, wanted in optional.items() if wanted)]

    def total(self, batch: Batch, remembered: list[Tensor]) -> list[Tensor]:
        """Return what to step by: of a parameter's first step its gradient."""
        if batch.group["aggregation"] == "sum":
            remembered = super().total(batch, remembered)
        return [
            grad if state["step"] == 1 else total
            for grad, total, state in zip(batch.grads, remembered, batch.states, strict=True)
        ]

    def descend(self, batch: Batch) -> None:
        """Do RMSprop's step of a group."""
        group, params, totals, states = batch
        square_avgs, alpha, lr = column(states, "square_avg"), group["alpha"], float(group["lr"])
        torch._foreach_mul_(square_avgs, alpha)
        torch._foreach_addcmul_(square_avgs, totals, totals, 1 - alpha)
        if group["centered"]:
            grad_avgs = column(states, "grad_avg")
            torch._foreach_lerp_(grad_avgs, totals, 1 - alpha)
            denominators = list(torch._foreach_addcmul(square_avgs, grad_avgs, grad_avgs, -1))
            torch._foreach_clamp_min_(denominators, 0.0)  # rounding may leave less than nothing
            torch._foreach_sqrt_(denominators)
        else:
            denominators = list(torch._foreach_sqrt(square_avgs))
        torch._foreach_add_(denominators, group["eps"])
        if group["momentum"]:
            momenta = column(states, "momentum_buffer")
            torch._foreach_mul_(momenta, group["momentum"])
            torch._foreach_addcdiv_(momenta, totals, denominators)
            torch._foreach_add_(params, momenta, alpha=-lr)
        else:
            torch._foreach_addcdiv_(params, totals, denominators, -lr)
