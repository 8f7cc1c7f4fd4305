"""Memory aware synapses."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor

from tamcl.strategies.anchored import Anchored
from tamcl.strategies.naive import Common


class MAS(Anchored):
    r"""Memory aware synapses: weights that the outputs depend on are pulled back to the last experience's end.

    .. math::
        \tilde L = L + \lambda \sum_i \Omega_i (\theta_i - \theta^*_i)^2, \qquad
        \Omega \leftarrow \alpha \, \Omega + (1 - \alpha) \, E \left| \nabla_\theta \lVert f(x) \rVert^2 \right|

    Use it where labels cannot be trusted: importance does not depend on them. As in Avalanche's ``MASPlugin``, the mean
    is over mini-batches and :math:`\alpha` mixes old and new; the paper takes single examples and adds new to old.
    Unlike in the plugin, the model is in evaluation mode, so that measuring does not move batch norm's running means,
    and only logits of the task itself count.

    Parameters
    ----------
    strength : float
        :math:`\lambda`, at least 0.
    alpha : float
        :math:`\alpha` in [0, 1]: how much of the older experiences' importance stays.
    **common
        The arguments of ``Naive``, without ``settings.restart``.

    References
    ----------
    R. Aljundi et al., "Memory Aware Synapses: Learning what (not) to forget", 2017, https://arxiv.org/abs/1711.09601
    """

    def __init__(self, *, strength: float = 1.0, alpha: float = 0.5, **common: Unpack[Common]) -> None:
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha = {alpha}: must be in [0, 1]")
        super().__init__(strength=strength, **common)
        self.alpha = alpha

    def consolidate(self) -> None:
        """Mix in the experience's importance, and set the anchor to where the weights are."""
        alpha = self.alpha if self.clock.train_exp_counter else 0.0
        found = self.mean_over_batches(_squared_length, torch.abs)
        for weight, omega, anchor, new in zip(self.weights, self.importance, self.anchor, found, strict=True):
            omega.mul_(alpha).add_(new, alpha=1 - alpha)
            anchor.copy_(weight)


def _squared_length(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.masked_fill(logits.isneginf(), 0).pow(2).sum(1).mean()
