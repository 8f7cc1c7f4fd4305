"""Weight clipping: weights stay within a multiple of the range that they start in."""

from __future__ import annotations

from math import sqrt
from typing import ClassVar

import torch
from torch import nn
from torch.optim import Optimizer

from tamcl.interventions.base import Intervention, check_number, fan_ins


class WeightClipping(Intervention):
    r"""Clamp every weight and bias after each step to the range that torch draws initial weights from, times kappa.

    .. math::
        \theta \leftarrow \min(\max(\theta, -\kappa / \sqrt{n}), \kappa / \sqrt{n})

    where :math:`n` is the number of inputs that a unit of the layer adds up (fan-in): of a convolution, those of all
    channels under its kernel. Use it to ask whether an optimizer fails because weights grow.

    Parameters
    ----------
    kappa : float
        :math:`\kappa`, above 0. The paper's best are 1 to 4, by the problem. Below 1 initial weights are clamped in the
        first step, too.

    Notes
    -----
    Gains and biases of normalisations have no inputs to add up, and are left as they are. A model with parameters of
    other kinds, such as embeddings of positions, is refused. The momentum of an optimizer is left as it is, as in the
    paper.

    References
    ----------
    M. Elsayed et al., "Weight Clipping for Deep Continual and Reinforcement Learning", 2024,
    https://arxiv.org/abs/2407.01704, whose bounds are those of torch's initial weights; code:
    https://github.com/mohmdelsayed/weight-clipping

    Examples
    --------
    A unit of four inputs starts in [-1/2, 1/2]:

    >>> layer = nn.Linear(4, 1)
    >>> optimizer = torch.optim.SGD(layer.parameters())
    >>> clipping = WeightClipping(kappa=2.0)
    >>> clipping.begin(layer, optimizer, seed=0)
    >>> layer.weight.data = torch.tensor([[3.0, 0.5, -0.9, -1.1]])
    >>> clipping.after_step(optimizer)
    >>> layer.weight.data
    tensor([[ 1.0000,  0.5000, -0.9000, -1.0000]])
    """

    kept: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *, kappa: float = 1.0) -> None:
        self.kappa = check_number("kappa", kappa, above=True)

    def begin(self, model: nn.Module, optimizer: Optimizer, seed: int) -> None:
        """Find the bounds of all layers."""
        super().begin(model, optimizer, seed)
        self._bounds = [(param, self.kappa / sqrt(inputs)) for param, inputs in fan_ins(model)]

    @torch.no_grad()
    def after_step(self, optimizer: Optimizer) -> None:
        """Clamp all weights."""
        for param, bound in self._bounds:
            param.clamp_(-bound, bound)
