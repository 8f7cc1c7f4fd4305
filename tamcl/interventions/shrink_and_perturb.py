"""Shrink and perturb: weights lose a share of themselves and are moved at random, in every step or at shifts."""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

import torch
from torch import nn
from torch.optim import Optimizer

from tamcl.errors import InputError
from tamcl.interventions.base import Intervention, check_number, noise_like

When = Literal["step", "shift"]


class ShrinkAndPerturb(Intervention):
    r"""Shrink all weights and add normal noise: in every step by the learning rate, or at every shift.

    .. math::
        \text{step:} \quad & \theta \leftarrow (1 - \eta \lambda) \, \theta - \eta \sigma \xi - \text{the
        optimizer's step} \\
        \text{shift:} \quad & \theta \leftarrow (1 - \lambda) \, \theta - \sigma \xi

    with :math:`\xi` standard normal. Small weights can be moved again, and the noise makes units differ.

    Parameters
    ----------
    decay : float
        :math:`\lambda`, at least 0, and at most 1 at shifts.
    sigma : float
        :math:`\sigma`, at least 0.
    when : {"step", "shift"}
        The defaults of the others are for steps. At shifts, which it has to be told of, ``decay=0.6, sigma=0.01`` is
        what was proposed.

    Notes
    -----
    With ``torch.optim.SGD`` and ``"step"`` this is the baseline of UPGD's authors, whose best values are ``decay`` and
    ``sigma`` of 0.001 to 0.01; with Adam it is that of weight clipping's, whose decay is that of the optimizer. In a
    step parameters without a gradient are left alone; at a shift all are changed.

    References
    ----------
    J. Ash, R. Adams, "On Warm-Starting Neural Network Training", 2020, https://arxiv.org/abs/1910.08475, at shifts.
    M. Elsayed, A. R. Mahmood, "Addressing Loss of Plasticity and Catastrophic Forgetting in Continual Learning", 2024,
    https://arxiv.org/abs/2404.00781, in every step; code: https://github.com/mohmdelsayed/upgd

    Examples
    --------
    >>> layer = nn.Linear(1, 1)
    >>> optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    >>> shrinking = ShrinkAndPerturb(decay=0.5, sigma=0.0)
    >>> shrinking.begin(layer, optimizer, seed=0)
    >>> layer.weight.data.fill_(2.0).item(), layer.bias.data.fill_(1.0).item()
    (2.0, 1.0)
    >>> layer.weight.grad = torch.zeros(1, 1)
    >>> shrinking.before_step(optimizer)
    >>> round(layer.weight.item(), 4), layer.bias.item()
    (1.9, 1.0)
    """

    kept: ClassVar[tuple[str, ...]] = ("times",)

    def __init__(self, *, decay: float = 0.001, sigma: float = 0.01, when: When = "step") -> None:
        if when not in get_args(When):
            raise InputError(f"when = {when!r}: must be {' or '.join(map(repr, get_args(When)))}")
        self.decay = check_number("decay", decay, high=1.0) if when == "shift" else check_number("decay", decay)
        self.sigma, self.when = check_number("sigma", sigma), when

    def begin(self, model: nn.Module, optimizer: Optimizer, seed: int) -> None:
        """Count from 0 how often it was done."""
        super().begin(model, optimizer, seed)
        self.times = 0

    def before_step(self, optimizer: Optimizer) -> None:
        """Shrink and perturb by the learning rate of each group."""
        if self.when == "step":
            self._do(optimizer)

    def at_shift(self, optimizer: Optimizer) -> None:
        """Shrink and perturb at once."""
        if self.when == "shift":
            self._do(optimizer)

    @torch.no_grad()
    def _do(self, optimizer: Optimizer) -> None:
        self.times += 1
        params = ((group, param) for group in optimizer.param_groups for param in group["params"])
        for place, (group, param) in enumerate(params):
            if not param.requires_grad or (self.when == "step" and param.grad is None):
                continue
            rate = float(group["lr"]) if self.when == "step" else 1.0
            param.mul_(1 - rate * self.decay)
            if self.sigma:
                param.sub_(noise_like(param, self.seed, self.times, place), alpha=rate * self.sigma)
