"""ReDo: units that are dormant begin anew."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tamcl.interventions.base import check_count, check_number
from tamcl.interventions.units import UnitResets


class ReDo(UnitResets):
    r"""Recycle dormant neurons: every so many steps, units that give out little beside their layer begin anew.

    .. math::
        s_i = \frac{E |h_i|}{\frac{1}{K} \sum_{k=1}^K E |h_k|} \le \tau

    where the mean is over all examples, and places of a channel, since the units were looked at last. A unit that
    begins anew gets new incoming weights, a bias of zero and outgoing weights of zero, and the optimizer knows of them
    what it knows of new weights (``tamcl.interventions.units``).

    Parameters
    ----------
    tau : float
        :math:`\tau`, at least 0; at 0 dead units alone begin anew. The literature's are 0 to 0.1.
    every : int
        Steps from one look to the next.

    Notes
    -----
    Assumption: the paper takes the mean over one mini-batch; over those of all steps since the last look it says more
    where mini-batches are small, and is the same for ``every=1``. Where a layer gives out nothing at all, all of its
    units begin anew.

    References
    ----------
    G. Sokar et al., "The Dormant Neuron Phenomenon in Deep Reinforcement Learning", 2023,
    https://arxiv.org/abs/2302.12902; code: https://github.com/google/dopamine

    Examples
    --------
    >>> from tamcl.models.classifier import build_classifier
    >>> sizes = dict(shape=(1, 2, 2), classes=2, tasks={0: (0, 1)}, seed=0)
    >>> model = build_classifier("mlp", "single", {"hidden": [3]}, **sizes)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    >>> redo = ReDo(tau=0.0, every=1)
    >>> redo.begin(model, optimizer, seed=0)
    >>> first = redo.layers[0].layer
    >>> first.bias.data = torch.tensor([1.0, -9.0, 1.0])  # the second is dead
    >>> _ = model(torch.ones(5, 1, 2, 2))
    >>> redo.after_step(optimizer)
    >>> redo.resets, first.bias.data
    (1, tensor([1., 0., 1.]))
    """

    kept: ClassVar[tuple[str, ...]] = ("steps", "resets", "sums", "examples")

    def __init__(self, *, tau: float = 0.1, every: int = 1000) -> None:
        self.tau, self.every = check_number("tau", tau), check_count("every", every)

    def begin(self, model: nn.Module, optimizer: Optimizer, seed: int) -> None:
        """Begin to add up what units give out."""
        super().begin(model, optimizer, seed)
        places = [(units.width, units.layer.weight.device) for units in self.layers]
        self.sums = [torch.zeros(width, dtype=torch.float64, device=device) for width, device in places]
        self.examples = [0] * len(self.layers)

    def look(self, number: int, outputs: Tensor, optimizer: Optimizer) -> None:
        """Add up, and every so many steps compare the units of a layer."""
        self.sums[number] += outputs.abs().mean(2).sum(0, dtype=torch.float64)
        self.examples[number] += len(outputs)
        if self.steps % self.every:
            return
        mean = self.sums[number] / self.examples[number]
        self.sums[number], self.examples[number] = torch.zeros_like(mean), 0
        dormant = (mean <= self.tau * mean.mean()).nonzero().flatten()
        self.reset(number, dormant, optimizer)
