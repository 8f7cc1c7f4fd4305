"""L2 Init: weights are pulled towards where they began."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn
from torch.optim import Optimizer

from tamcl.interventions.base import Intervention, check_number, without_normalisations


class L2Init(Intervention):
    r"""Add to the loss the squared distance of the weights from the initial ones, and so to every gradient a pull.

    .. math::
        L + \frac{\lambda}{2} \|\theta - \theta_0\|^2, \qquad g \leftarrow g + \lambda (\theta - \theta_0)

    It is L2 regularisation towards where the network could still learn, not towards zero. The loss that is recorded is
    that of the examples alone.

    Parameters
    ----------
    strength : float
        :math:`\lambda`, at least 0. With Adam the pull is divided by the root of the second moment, as all that is in
        the loss.

    Notes
    -----
    Gains and biases of normalisations are left out, as in the authors' code, whose loss has the half, where the paper's
    formula has none. The code of weight clipping subtracts learning rate times pull from the weights instead, past what
    the optimizer does with gradients: the same with SGD alone.

    References
    ----------
    S. Kumar, H. Marklund, B. Van Roy, "Maintaining Plasticity in Continual Learning via Regenerative Regularization",
    2023, https://arxiv.org/abs/2308.11958; code: https://github.com/skumar9876/L2_Init

    Examples
    --------
    >>> layer = nn.Linear(1, 1)
    >>> pull = L2Init(strength=0.5)
    >>> pull.begin(layer, torch.optim.SGD(layer.parameters()), seed=0)
    >>> _ = layer.weight.data.add_(3.0)
    >>> layer.weight.grad = torch.ones(1, 1)
    >>> pull.change_gradients()
    >>> round(layer.weight.grad.item(), 4)
    2.5
    """

    changes_weights: ClassVar[bool] = False
    kept: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *, strength: float = 1e-3) -> None:
        self.strength = check_number("strength", strength)

    def begin(self, model: nn.Module, optimizer: Optimizer, seed: int) -> None:
        """Keep the initial weights."""
        super().begin(model, optimizer, seed)
        self._starts = [(param, param.detach().clone()) for param in without_normalisations(model)]

    @torch.no_grad()
    def change_gradients(self) -> None:
        """Add the pull to every gradient that there is."""
        for param, start in self._starts:
            if param.grad is not None:
                param.grad.add_(param - start, alpha=self.strength)
