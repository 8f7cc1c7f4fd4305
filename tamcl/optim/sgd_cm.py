"""SGD with critical momenta: the mean of a few remembered momenta is added to the present one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from tamcl.optim.base import Batch, check_number, column, decayed
from tamcl.optim.buffer import BufferOptimizer, Replacement, Variant, mean_of_slots, remember
from tamcl.optim.draws import own_seed

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class SGDCM(BufferOptimizer):
    r"""SGD with critical momenta: to the momentum is added the mean of a few remembered ones.

    Use it to ask what critical momenta do without Adam's normalisation. For steady gradients its steps are twice those
    of SGD with momentum, so compare it with that of twice its learning rate. Remembered momenta keep pushing after a
    shift: on a quadratic it converges more slowly than SGD with momentum.

    .. math::
        m_t &= \beta \, m_{t-1} + g_t + \omega \, \theta_{t-1} \\
        \theta_t &= \theta_{t-1} - \eta \Bigl( m_t + \frac{1}{|B|} \sum_{b \in B} b \Bigr)

    Then :math:`m_t` enters the buffer :math:`B` with priority :math:`\lVert g_t \rVert`, if :math:`B` is not full or
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
        How many momenta :math:`B` holds, at least 0: at 0 this is SGD with momentum; the same in all groups.
    decay : float
        :math:`\lambda` in [0, 1]: at 1 large gradients are never forgotten; the same in all groups.
    weight_decay : float
        :math:`\omega`, at least 0; the priority is that of the gradient alone.
    buffer_dtype : str or torch.dtype, optional
        Precision of the buffer, such as ``"bfloat16"`` to halve its memory; that of the momentum if None.
    variant : {"official", "paper"}
        The priority: the sum of the norms of all tensors' gradients, as in the authors' released code, or the norm of
        the whole gradient; the same in all groups.
    replacement : {"priority", "fifo", "random"}
        What leaves a full buffer: see above; or, as null models that keep every momentum, the oldest or one drawn at
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
        ``step``, ``momentum_buffer`` and ``buffer`` (capacity first) of every parameter; ``priorities`` and ``ages``
        (in steps) of the slots in ``shared_state``
        (an empty one has age 0).

    Notes
    -----
    It has one path, over lists of tensors: no ``foreach`` and no ``capturable``.

    Assumptions: the authors' released code has no SGD with critical momenta any more, so this is its Adam with critical
    momenta without the normalisation, with SGD's momentum, and with a first step like any other; and those about the
    buffer that ``AdamCM`` states.

    References
    ----------
    Promoting Exploration in Memory-Augmented Adam using Critical Momenta, 2023, https://arxiv.org/abs/2307.09638

    Examples
    --------
    A steady gradient of 1 without momentum moves a parameter by 1 and then by 2:

    >>> weight = torch.nn.Parameter(torch.zeros(1))
    >>> optimizer = SGDCM([weight], lr=1.0, momentum=0.0)
    >>> for _ in range(3):
    ...     weight.grad = -torch.ones(1)
    ...     optimizer.step()
    ...     print(weight.item(), end=" ")
    1.0 3.0 5.0
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        *,
        momentum: float = 0.9,
        capacity: int = 5,
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
        return ["momentum_buffer"]

    def update_group(self, batch: Batch, filled: int, slot: int | None) -> None:
        """Do one step of a group."""
        group, params, grads, states = batch
        sgd_cm(
            params,
            decayed(grads, params, group["weight_decay"]),
            column(states, "momentum_buffer"),
            column(states, "buffer"),
            filled=filled,
            slot=slot,
            lr=float(group["lr"]),
            beta=group["momentum"],
        )


def sgd_cm(
    params: list[Tensor],
    grads: list[Tensor],
    momentum_buffers: list[Tensor],
    buffers: list[Tensor],
    *,
    filled: int,
    slot: int | None,
    lr: float,
    beta: float,
) -> None:
    """Do one step on lists of tensors: ``filled`` slots are averaged, then the momenta go to ``slot``, if any."""
    torch._foreach_mul_(momentum_buffers, beta)
    torch._foreach_add_(momentum_buffers, grads)
    if filled:
        torch._foreach_add_(params, mean_of_slots(buffers, filled, momentum_buffers), alpha=-lr)
    torch._foreach_add_(params, momentum_buffers, alpha=-lr)
    remember(buffers, slot, momentum_buffers)
