"""Units that have stopped to take part: outputs of ReLU layers on the examples, in evaluation mode.

A unit is a feature of a fully connected layer or a channel of a convolution. Values are for all ReLU layers
(``torch.nn.ReLU``) together and for each, under the name of its module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from tamcl.diagnostics.diagnostic import Diagnostic, Row
from tamcl.diagnostics.update import Activity, Update


class ZeroOutputs(Diagnostic):
    """Share of ReLU outputs that are 0, over units and examples: about a half in a new model."""

    def measure(self, update: Update) -> Iterable[Row]:
        """Return the shares; in the share of all layers together every unit counts the same."""
        return _shares(update, lambda layer: layer.zeros.expand(len(layer.mean)))


class DeadUnits(Diagnostic):
    """Share of units whose ReLU output is 0 on every example.

    References
    ----------
    Loss of Plasticity in Deep Continual Learning, 2023, https://arxiv.org/abs/2306.13812
    """

    def measure(self, update: Update) -> Iterable[Row]:
        """Return the shares."""
        return _shares(update, lambda layer: (layer.mean == 0).double())


class DormantUnits(Diagnostic):
    r"""Share of units whose mean output is small beside that of their layer.

    .. math::
        s_i = \frac{E |h_i|}{\frac{1}{K} \sum_{k=1}^K E |h_k|} \le \tau

    Parameters
    ----------
    tau : float
        :math:`\tau`, at least 0; at 0 these are the dead units. The default is an assumption: the literature uses 0 to
        0.1.

    References
    ----------
    The Dormant Neuron Phenomenon in Deep Reinforcement Learning, 2023, https://arxiv.org/abs/2302.12902
    """

    def __init__(self, *, tau: float = 0.1) -> None:
        if not tau >= 0:
            raise ValueError(f"tau = {tau}: must be at least 0")
        self.tau = tau

    def measure(self, update: Update) -> Iterable[Row]:
        """Return the shares; all units of a layer without any output are dormant."""
        return _shares(update, lambda layer: (layer.mean <= self.tau * layer.mean.mean()).double())


def _shares(update: Update, of: Callable[[Activity], Tensor]) -> Iterable[Row]:
    """Yield the mean over units of what ``of`` returns for each unit of a layer: of all layers, and of each."""
    layers = {name: torch.cat([of(call) for call in calls]) for name, calls in update.activities.items()}
    if layers:
        yield "", torch.cat(list(layers.values())).mean()
    for name, units in layers.items():
        yield name, units.mean()
