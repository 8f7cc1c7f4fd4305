"""What SGD, Adam and RMSprop with critical gradients share: they step by the gradient and a few remembered ones."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from tamcl.optim.base import Batch, column, decayed
from tamcl.optim.buffer import BufferOptimizer, mean_of_slots, remember


class CriticalGradients(BufferOptimizer):
    r"""Another optimizer's step by the sum of the gradient and the mean of a few large remembered ones.

    .. math::
        \hat g_t = g_t + \frac{1}{|B|} \sum_{b \in B} b

    Then :math:`g_t` enters the buffer :math:`B` with priority :math:`\lVert g_t \rVert`, if :math:`B` is not full or
    the priority is above the lowest in :math:`B`, which leaves (of equal ones the oldest). At the end of every step all
    priorities are multiplied by :math:`\lambda`. A subclass steps by :math:`\hat g_t`.

    Parameters
    ----------
    capacity : int
        How many gradients :math:`B` holds, at least 0: at 0 this is the other optimizer; the same in all groups.
    decay : float
        :math:`\lambda` in [0, 1]: at 1 large gradients are never forgotten; the same in all groups.
    buffer_dtype : str or torch.dtype, optional
        Precision of the buffer, such as ``"bfloat16"`` to halve its memory; that of the moments if None.
    variant : {"official", "paper"}
        The priority: the sum of the norms of all tensors' gradients, as in the authors' released code, or the norm of
        the whole gradient; the same in all groups. Weight decay does not count in it.
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
        ``step`` and ``buffer`` (capacity first) of every parameter, beside what the other optimizer has;
        ``priorities`` and ``ages`` (in steps) of the slots in ``shared_state`` (an empty one has age 0).

    Notes
    -----
    There is one path, over lists of tensors: no ``foreach`` and no ``capturable``.

    Assumptions: those about the buffer that ``AdamCM`` states. The released code keeps a running sum of the buffer
    whose rounding error grows; here the mean is taken anew in each step.

    References
    ----------
    Memory Augmented Optimizers for Deep Learning, 2021, https://arxiv.org/abs/2106.10708
    """

    remembers_weight_decay: ClassVar[bool] = False
    """Whether weight decay is in what is remembered, or added to the sum."""

    @abstractmethod
    def descend(self, batch: Batch) -> None:
        """Do the other optimizer's step of a group, whose gradients are the sums."""

    def total(self, batch: Batch, remembered: list[Tensor]) -> list[Tensor]:
        """Return what to step by, given the mean of the remembered gradients, which may be overwritten."""
        torch._foreach_add_(remembered, batch.grads)
        return remembered

    def update_group(self, batch: Batch, filled: int, slot: int | None) -> None:
        """Do one step of a group: ``filled`` slots are averaged, then the gradients go to ``slot``, if any."""
        group, params, grads, states = batch
        if self.remembers_weight_decay:
            grads = decayed(grads, params, group["weight_decay"])
        buffers, totals = column(states, "buffer"), grads
        if filled:
            totals = self.total(batch._replace(grads=grads), mean_of_slots(buffers, filled, grads))
        remember(buffers, slot, grads)
        if not self.remembers_weight_decay:
            totals = decayed(totals, params, group["weight_decay"])
        self.descend(batch._replace(grads=totals))
