"""Experience replay."""

from __future__ import annotations

from typing import Any, Unpack

import torch
from torch import Tensor

from tamcl.strategies.memory import Rehearsal
from tamcl.strategies.naive import Common


class Replay(Rehearsal):
    """Experience replay: every step is on new and old examples together, one mean over both.

    Use it as the simple method that others have to beat. Its buffer policy and its loss are those of Avalanche's
    ``ReplayPlugin``; the mini-batches are made from tensors, and what is measured online are the new examples alone.

    Parameters
    ----------
    memory : int
        Old examples that are kept, of all experiences together, equally many of each.
    memory_batch : int, optional
        Old examples in a mini-batch, drawn from the memory without repetition; as many as new ones if absent.
    **common
        The arguments of ``Naive``. Old images are not augmented.

    References
    ----------
    A. Chaudhry et al., "On Tiny Episodic Memories in Continual Learning", 2019, https://arxiv.org/abs/1902.10486
    """

    def __init__(self, *, memory: int = 200, memory_batch: int | None = None, **common: Unpack[Common]) -> None:
        super().__init__(memory=memory, memory_batch=memory_batch, **common)
        self._output: Any = None

    def forward(self) -> Tensor:
        """Compute the logits of the new examples; those of the old ones come along, through the same batch norm."""
        if self.old is None:
            return super().forward()
        images, _, tasks = self.old
        logits = self.model(torch.cat([self.mb_x, images]), torch.cat([self.mb_task_id, tasks]))
        self._output = logits[len(self.mb_y) :]
        return logits[: len(self.mb_y)]  # type: ignore[no-any-return]

    def objective(self) -> Tensor:
        """Return the mean loss of new and old examples; what plugins added to that of the new ones stays whole."""
        if self.old is None:
            return super().objective()
        _, labels, _ = self.old
        share = len(labels) / (len(labels) + len(self.mb_y))
        difference: Tensor = self._criterion(self._output, labels) - self.criterion()
        return super().objective() + share * difference
