"""Continual backpropagation: in every layer a small share of the least useful units begins anew, all the time."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tamcl.interventions.base import check_count, check_number
from tamcl.interventions.units import UnitResets, Units


class ContinualBackprop(UnitResets):
    r"""Replace units of low utility, a few in thousands of steps, once they are old enough.

    .. math::
        u_i &\leftarrow \rho u_i + (1 - \rho) \, E|h_i| \cdot \text{mean} |w_i^{\text{out}}| \\
        c &\leftarrow c + r \, n

    where the mean :math:`E` is over the mini-batch, and places of a channel, and :math:`n` units of the layer are older
    than ``maturity`` steps. When :math:`c` is 1 or more, the mature units of lowest
    :math:`u_i / (1 - \rho^{\text{age}})` are replaced, as many as :math:`c` is whole, and :math:`c` keeps the rest.

    A replaced unit gets new incoming weights, a bias of zero and outgoing weights of zero, and the optimizer knows of
    them what it knows of new weights (``tamcl.interventions.units``). What it gave out on average,
    :math:`\rho`-smoothed, goes into the biases of the layer that took it in.

    Parameters
    ----------
    replacement_rate : float
        :math:`r` in [0, 1]: of the mature units, the share that is replaced in a step. At 0 none is.
    maturity : int
        Steps that a unit has, at least, before it can be replaced.
    decay : float
        :math:`\rho` in [0, 1).

    Notes
    -----
    The utility is the contribution utility of the authors' ``GnT``, whose counts of replacements are added up as here
    with ``accumulate``. Their convolutions differ in two ways: all units count in :math:`n`, and no bias takes over
    what a replaced channel gave out. Assumption: of a channel that is flattened, they take the mean over places of
    product and not the product of means. Their Adam counts the steps of every weight, so that those of new weights
    begin at 0; here the count of a tensor goes on.

    References
    ----------
    S. Dohare et al., "Loss of plasticity in deep continual learning", Nature 632, 2024,
    https://doi.org/10.1038/s41586-024-07711-7; code: https://github.com/shibhansh/loss-of-plasticity

    Examples
    --------
    >>> from tamcl.models.classifier import build_classifier
    >>> sizes = dict(shape=(1, 2, 2), classes=2, tasks={0: (0, 1)}, seed=0)
    >>> model = build_classifier("mlp", "single", {"hidden": [4]}, **sizes)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    >>> backprop = ContinualBackprop(replacement_rate=0.25, maturity=2)
    >>> backprop.begin(model, optimizer, seed=0)
    >>> for _ in range(4):  # of four mature units one is replaced, and then, of three, none yet
    ...     _ = model(torch.ones(5, 1, 2, 2))
    ...     backprop.after_step(optimizer)
    ...     print(backprop.resets, end=" ")
    0 0 1 1
    """

    kept: ClassVar[tuple[str, ...]] = ("steps", "resets", "ages", "utilities", "means", "waiting")

    def __init__(self, *, replacement_rate: float = 1e-4, maturity: int = 100, decay: float = 0.99) -> None:
        self.replacement_rate = check_number("replacement_rate", replacement_rate, high=1.0)
        self.maturity = check_count("maturity", maturity, least=0)
        self.decay = check_number("decay", decay, high=1.0, below=True)

    def begin(self, model: nn.Module, optimizer: Optimizer, seed: int) -> None:
        """Let all units be new."""
        super().begin(model, optimizer, seed)
        counts = [(units.width, units.layer.weight.device) for units in self.layers]
        self.ages = [torch.zeros(count, dtype=torch.int64, device=device) for count, device in counts]
        self.utilities, self.means = (
            [torch.zeros(count, dtype=torch.float64, device=device) for count, device in counts] for _ in range(2)
        )
        self.waiting = [0.0] * len(self.layers)

    def look(self, number: int, outputs: Tensor, optimizer: Optimizer) -> None:
        """Note how useful the units of a layer were, and replace those whose turn it is."""
        units, ages, utilities, means = (
            self.layers[number],
            self.ages[number],
            self.utilities[number],
            self.means[number],
        )
        ages += 1
        share = 1 - self.decay
        means.mul_(self.decay).add_(outputs.double().mean((0, 2)), alpha=share)
        utilities.mul_(self.decay).add_(outputs.double().abs().mean((0, 2)) * _magnitudes(units), alpha=share)
        mature = (ages > self.maturity).nonzero().flatten()
        self.waiting[number] += self.replacement_rate * len(mature)
        count = min(int(self.waiting[number]), len(mature))
        if not count:
            return
        self.waiting[number] -= count
        correction = 1 - self.decay ** ages.double()
        lowest = mature[(utilities / correction)[mature].argsort(stable=True)[:count]]
        self._take_over(units, lowest, (means / correction)[lowest])
        self.reset(number, lowest, optimizer)
        ages[lowest], utilities[lowest], means[lowest] = 0, 0.0, 0.0

    def _take_over(self, units: Units, lowest: Tensor, means: Tensor) -> None:
        """Let the biases of what takes units in give what these gave on average."""
        for taker in units.takers:
            if isinstance(taker, nn.Linear) and taker.bias is not None:
                taken = units.outgoing(taker)[:, lowest].double().sum(2) @ means
                taker.bias.add_(taken)


def _magnitudes(units: Units) -> Tensor:
    """Return the mean size of each unit's outgoing weights."""
    weights = [units.outgoing(taker).transpose(0, 1).flatten(1) for taker in units.takers]
    return torch.cat(weights, 1).double().abs().mean(1)
