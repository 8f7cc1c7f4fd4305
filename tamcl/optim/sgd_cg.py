"""SGD with critical gradients: the mean of a few remembered gradients is added to the present one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from tamcl.optim.base import Batch, check_number, column
from tamcl.optim.buffer import Replacement, Variant
from tamcl.optim.critical_gradients import CriticalGradients
from tamcl.optim.draws import own_seed

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class SGDCG(CriticalGradients):
    r"""SGD with critical gradients: to the gradient is added the mean of a few large remembered ones.

    Use it to ask what a memory of gradients does without Adam's normalisation. For steady gradients its steps are twice
    those of SGD, so compare it with SGD of twice its learning rate. Right after a shift the remembered gradients still
    point where the loss used to fall.

    .. math::
        g_t &\leftarrow g_t + \omega \, \theta_{t-1} \\
        \hat g_t &= g_t + \frac{1}{|B|} \sum_{b \in B} b \\
        m_t &= \beta \, m_{t-1} + \hat g_t \\
        \theta_t &= \theta_{t-1} - \eta \, m_t

    Parameters
    ----------
    params : iterable
        Parameters or parameter groups.
    lr : float or Tensor of one element
        :math:`\eta`, at least 0.
    momentum : float
        :math:`\beta` in [0, 1).
    weight_decay : float
        :math:`\omega`, at least 0: also in what is remembered; the priority is that of the gradient alone.
    capacity : int
        How many gradients the buffer :math:`B` holds, those of the largest norms; at 0 this is SGD.
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
        ``momentum_buffer`` if there is momentum, and what ``CriticalGradients`` keeps.

    Notes
    -----
    Assumptions: those of ``CriticalGradients``. The released code has dampening too, and takes a decay of 0 for none.

    References
    ----------
    Memory Augmented Optimizers for Deep Learning, 2021, https://arxiv.org/abs/2106.10708

    Examples
    --------
    A steady gradient of 1 moves a parameter by 1 and then by 2:

    >>> weight = torch.nn.Parameter(torch.zeros(1))
    >>> optimizer = SGDCG([weight], lr=1.0)
    >>> for _ in range(3):
    ...     weight.grad = -torch.ones(1)
    ...     optimizer.step()
    ...     print(weight.item(), end=" ")
    1.0 3.0 5.0
    """

    remembers_weight_decay = True

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        *,
        momentum: float = 0.0,
        capacity: int = 10,
        decay: float = 0.7,
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
            "momentum": momentum,
            "capacity": capacity,
            "decay": decay,
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
        check_number(group, "momentum", high=1)
        super().check_options(group)

    def zeros(self, group: dict[str, Any]) -> list[str]:
        """Return the names of the state tensors, besides the buffer, that start from zeros."""
        return ["momentum_buffer"] if group["momentum"] else []

    def descend(self, batch: Batch) -> None:
        """Do SGD's step of a group."""
        group, params, steps, states = batch
        if group["momentum"]:
            momenta = column(states, "momentum_buffer")
            torch._foreach_mul_(momenta, group["momentum"])
            torch._foreach_add_(momenta, steps)
            steps = momenta
        torch._foreach_add_(params, steps, alpha=-float(group["lr"]))
