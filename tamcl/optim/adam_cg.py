"""Adam with critical gradients: Adam on the sum of the gradient and the mean of a few remembered ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from tamcl.optim.base import Batch, check_betas, check_number, column
from tamcl.optim.buffer import Replacement, Variant
from tamcl.optim.critical_gradients import CriticalGradients
from tamcl.optim.draws import own_seed

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class AdamCG(CriticalGradients):
    r"""Adam with critical gradients: to the gradient is added the mean of a few large remembered ones.

    Use it to ask what ``AdamCM`` gains by remembering momenta and not gradients. Remembered gradients cancel where they
    point opposite ways, as around a minimum, and then this is close to Adam.

    .. math::
        \hat g_t &= g_t + \frac{1}{|B|} \sum_{b \in B} b + \omega \, \theta_{t-1} \\
        m_t &= \beta_1 \, m_{t-1} + (1 - \beta_1) \, \hat g_t \\
        v_t &= \beta_2 \, v_{t-1} + (1 - \beta_2) \, \hat g_t^2 \\
        \theta_t &= \theta_{t-1}
            - \frac{\eta}{1 - \beta_1^t} \frac{m_t}{\sqrt{v_t} \, / \sqrt{1 - \beta_2^t} + \epsilon}

    Parameters
    ----------
    params : iterable
        Parameters or parameter groups.
    lr : float or Tensor of one element
        :math:`\eta`, at least 0.
    betas : tuple of float
        :math:`(\beta_1, \beta_2)`, each in [0, 1).
    eps : float
        :math:`\epsilon`, at least 0.
    weight_decay : float
        :math:`\omega`, at least 0; what is remembered is without.
    capacity : int
        How many gradients the buffer :math:`B` holds, those of the largest norms; at 0 this is Adam.
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
        ``exp_avg``, ``exp_avg_sq``, and what ``CriticalGradients`` keeps.

    Notes
    -----
    Assumptions: those of ``CriticalGradients``. The released code has amsgrad too.

    References
    ----------
    Memory Augmented Optimizers for Deep Learning, 2021, https://arxiv.org/abs/2106.10708

    Examples
    --------
    >>> weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = AdamCG([weight], lr=0.05)
    >>> for _ in range(300):
    ...     optimizer.zero_grad()
    ...     loss = (weight**2).sum()
    ...     loss.backward()
    ...     optimizer.step()
    >>> bool(loss < 1e-2)
    True
    """

    clock = ("step",)
    moment = "exp_avg"

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        *,
        capacity: int = 10,
        decay: float = 0.7,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        buffer_dtype: str | torch.dtype | None = None,
        variant: Variant = "official",
        replacement: Replacement = "priority",
        seed: int | None = None,
        maximize: bool = False,
        process_group: ProcessGroup | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "capacity": capacity,
            "decay": decay,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": False,
            "buffer_dtype": buffer_dtype,
            "variant": variant,
            "replacement": replacement,
            "seed": own_seed(seed),
            "maximize": maximize,
        }
        super().__init__(params, defaults, process_group)

    def check_options(self, group: dict[str, Any]) -> None:
        """Raise ValueError if an option of the group is out of range."""
        check_betas(group)
        check_number(group, "eps")
        super().check_options(group)

    def zeros(self, group: dict[str, Any]) -> list[str]:
        """Return the names of the state tensors, besides the buffer, that start from zeros."""
        return ["exp_avg", "exp_avg_sq"]

    def descend(self, batch: Batch) -> None:
        """Do Adam's step of a group."""
        group, params, totals, states = batch
        exp_avgs, exp_avg_sqs = column(states, "exp_avg"), column(states, "exp_avg_sq")
        lr, (beta1, beta2), steps = float(group["lr"]), group["betas"], [state["step"] for state in states]
        torch._foreach_lerp_(exp_avgs, totals, 1 - beta1)
        torch._foreach_mul_(exp_avg_sqs, beta2)
        torch._foreach_addcmul_(exp_avg_sqs, totals, totals, 1 - beta2)
        first, second = [1 - beta1**step for step in steps], [math.sqrt(1 - beta2**step) for step in steps]
        # lr m / (sqrt(v) / c + eps) = lr c m / (sqrt(v) + c eps), which is a pass less over the parameters
        denominators = torch._foreach_sqrt(exp_avg_sqs)
        torch._foreach_add_(denominators, [group["eps"] * c for c in second])
        rates = [-lr * c / b for b, c in zip(first, second, strict=True)]
        torch._foreach_addcdiv_(params, exp_avgs, denominators, rates)
