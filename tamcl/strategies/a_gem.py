"""Averaged gradient episodic memory."""

from __future__ import annotations

from typing import Unpack

import torch

from tamcl.strategies.memory import Rehearsal
from tamcl.strategies.naive import Common


class AGEM(Rehearsal):
    r"""A-GEM: a step may not, to first order, raise the loss on old examples.

    .. math::
        \tilde g = g - \frac{g^\top g_{ref}}{g_{ref}^\top g_{ref}} \, g_{ref}
            \qquad \text{if } g^\top g_{ref} < 0

    Here :math:`g` is the gradient on the mini-batch and :math:`g_{ref}` that on old examples. Use it to see what a
    method changes that works on gradients, as optimizers do: momentum comes after the projection, so an update may
    still point against :math:`g_{ref}`.

    Parameters
    ----------
    memory : int
        Old examples that are kept, of all experiences together, equally many of each. (Avalanche's plugin keeps so many
        of each, so that its memory grows.)
    memory_batch : int, optional
        Old examples that :math:`g_{ref}` is computed on, drawn anew for every step; as many as new ones if absent.
    **common
        The arguments of ``Naive``.

    Notes
    -----
    Weights that only old examples use, such as an old task's own layer, count as having a gradient of 0 on the new
    ones, and take part in the projection; in Avalanche's plugin they stay, and the projected gradient may still raise
    the loss on old examples.

    References
    ----------
    A. Chaudhry et al., "Efficient Lifelong Learning with A-GEM", 2018, https://arxiv.org/abs/1812.00420
    """

    def __init__(self, *, memory: int = 200, memory_batch: int | None = None, **common: Unpack[Common]) -> None:
        super().__init__(memory=memory, memory_batch=memory_batch, **common)

    def backward(self) -> None:
        """Compute the gradients, and project them if they would raise the loss on old examples."""
        super().backward()
        if self.old is None:
            return
        images, labels, tasks = self.old
        weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        loss = self._criterion(self.model(images, tasks), labels)
        gradients = torch.autograd.grad(loss, weights, allow_unused=True)
        reference = [(weight, g) for weight, g in zip(weights, gradients, strict=True) if g is not None]
        product = sum((weight.grad * g).sum() for weight, g in reference if weight.grad is not None)
        if product < 0:
            scale = product / sum((g * g).sum() for _, g in reference)
            for weight, g in reference:
                change = -scale * g
                weight.grad = change if weight.grad is None else weight.grad + change
