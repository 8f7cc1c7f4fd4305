"""SGD with critical gradients: the mean of a few remembered gradients is added to the present one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from tamcl.optim.base import Batch, check_number, column, decayed
from tamcl.optim.buffer import BufferOptimizer, Replacement, Variant, recall, remember
from tamcl.optim.draws import own_seed

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class SGDCG(BufferOptimizer):
    r"""SGD with critical gradients: to the gradient is added the mean of a few large remembered ones.

    Use it to ask what a memory of gradients does without Adam's normalisation. For steady gradients its steps are twice
    those of SGD, so compare it with SGD of twice its learning rate. Right after a shift the remembered gradients still
    point where the loss used to fall.

    .. math::
        g_t &\leftarrow g_t + \omega \, \theta_{t-1} \\
        \hat g_t &= g_t + \frac{1}{|B|} \sum_{b \in B} b \\
        m_t &= \beta \, m_{t-1} + \hat g_t \\
        \theta_t &= \theta_{t-1} - \eta \, m_t

    Then :math:`g_t` enters the buffer :math:`B` with priority :math:`\lVert g_t \rVert`, if :math:`B` is not full or
    the priority is above the lowest in :math:`B`, which leaves (of equal ones the oldest). At the end of every step all
    priorities are multiplied by :math:`\lambda`.

    Parameters
    ----------
    params : iterable
        Parameters or parameter groups.
    lr : float or Tensor of one element
        :math:`\eta`, at least 0.
    momentum : float
        :math:`\beta` in [0, 1).
    capacity : int
        How many gradients :math:`B` holds, at least 0: at 0 this is SGD; the same in all groups.
    decay : float
        :math:`\lambda` in [0, 1]: at 1 large gradients are never forgotten; the same in all groups.
    weight_decay : float
        :math:`\omega`, at least 0: also in what is remembered; the priority is that of the gradient alone.
    buffer_dtype : str or torch.dtype, optional
        Precision of the buffer, such as ``"bfloat16"`` to halve its memory; that of the moments if None.
    variant : {"official", "paper"}
        The priority: the sum of the norms of all tensors' gradients, as in the authors' released code, or the norm of
        the whole gradient; the same in all groups.
    replacement : {"priority", "fifo", "random"}
        What leaves a full buffer: see above; or, as null models that keep every gradient, the oldest or one drawn at
        random; the same in all groups.
    seed : int, optional
        Of those draws; that of torch's global generator if None. The same in all groups.
    maximize : bool
        Ascend instead.
    process_group : ProcessGroup, optional
        The ranks among which ``FullyShardedDataParallel`` divides the parameters; see ``tamcl.optim.sharing``.

    Attributes
    ----------
    state : dict
        ``step``, ``buffer`` (capacity first) and with momentum ``momentum_buffer`` of every parameter; ``priorities``
        and ``ages`` (in steps) of the slots in ``shared_state``
        (an empty one has age 0).

    Notes
    -----
    It has one path, over lists of tensors: no ``foreach`` and no ``capturable``.

    Assumptions: those about the buffer that ``AdamCM`` states. The released code has dampening too, takes a decay of 0
    for none, and keeps a running sum of the buffer whose rounding error grows; here the mean is taken anew in each
    step.

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

    def update_group(self, batch: Batch, filled: int, slot: int | None) -> None:
        """Do one step of a group."""
        group, params, grads, states = batch
        momenta = column(states, "momentum_buffer") if group["momentum"] else None
        sgd_cg(
            params,
            decayed(grads, params, group["weight_decay"]),
            momenta,
            column(states, "buffer"),
            filled=filled,
            slot=slot,
            lr=float(group["lr"]),
            beta=group["momentum"],
        )


def sgd_cg(
    params: list[Tensor],
    grads: list[Tensor],
    momentum_buffers: list[Tensor] | None,
    buffers: list[Tensor],
    *,
    filled: int,
    slot: int | None,
    lr: float,
    beta: float,
) -> None:
    """Do one step on lists of tensors: ``filled`` slots are averaged, then the gradients go to ``slot``, if any."""
    steps = grads
    if filled:
        steps = recall(buffers, filled, grads)
        torch._foreach_add_(steps, grads)
    remember(buffers, slot, grads)
    if momentum_buffers is not None:
        torch._foreach_mul_(momentum_buffers, beta)
        torch._foreach_add_(momentum_buffers, steps)
        steps = momentum_buffers
    torch._foreach_add_(params, steps, alpha=-lr)
