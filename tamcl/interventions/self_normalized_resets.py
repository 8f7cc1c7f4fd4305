"""Self-normalized resets: a unit that is silent for longer than it used to be begins anew."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tamcl.errors import InputError
from tamcl.interventions.base import check_count, check_number
from tamcl.interventions.units import UnitResets


class SelfNormalizedResets(UnitResets):
    r"""Reset a unit that has been silent, in examples, for as long as a threshold of its own.

    A unit fires if it gives out more than 0 on any example of a mini-batch, at any place. Its age is the number of
    examples since it fired last. When it fires, its age before is noted; when its age reaches its threshold, that is
    noted too, and the unit begins anew with age 0: with new incoming weights, a bias of zero and outgoing weights of
    zero, and the optimizer knows of them what it knows of new weights (``tamcl.interventions.units``).

    Every so many steps a threshold becomes the :math:`\eta`-percentile of the ages above 0 that were noted, if that is
    below it, and otherwise ``expansion`` times itself; it stays between one mini-batch and ``longest``, and what was
    noted is forgotten.

    Parameters
    ----------
    percentile : float
        :math:`\eta` in (0, 1].
    every : int
        Steps from one change of thresholds to the next.
    threshold : int, optional
        At the start, in examples; half of ``longest`` if absent.
    expansion : float
        At least 1.
    longest : int
        Examples; ages above are noted as this.

    Notes
    -----
    As in the authors' code, the threshold of a unit of which no age above 0 was noted becomes one mini-batch. They
    change thresholds every so many tasks, its port every so many steps, as here. Assumption: ages are noted in whole
    mini-batches, rounded up, which tells them apart where mini-batches are of one size.

    References
    ----------
    V. Farias, A. Jozefiak, "Self-Normalized Resets for Plasticity in Continual Learning", 2024,
    https://arxiv.org/abs/2410.20098; code: https://github.com/ajozefiak/SelfNormalizedResets, and a port in
    https://github.com/isaac7778/FIRE

    Examples
    --------
    >>> from tamcl.models.classifier import build_classifier
    >>> sizes = dict(shape=(1, 2, 2), classes=2, tasks={0: (0, 1)}, seed=0)
    >>> model = build_classifier("mlp", "single", {"hidden": [3]}, **sizes)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    >>> resets = SelfNormalizedResets(threshold=10)
    >>> resets.begin(model, optimizer, seed=0)
    >>> resets.layers[0].layer.bias.data = torch.tensor([1.0, -9.0, 1.0])  # the second is silent
    >>> for _ in range(3):
    ...     _ = model(torch.ones(5, 1, 2, 2))
    ...     resets.after_step(optimizer)
    ...     print(resets.resets, end=" ")
    0 1 1
    """

    kept: ClassVar[tuple[str, ...]] = ("steps", "resets", "batch", "ages", "thresholds", "noted")

    def __init__(
        self,
        *,
        percentile: float = 0.99,
        every: int = 1000,
        threshold: int | None = None,
        expansion: float = 2.0,
        longest: int = 20_000,
    ) -> None:
        self.percentile = check_number("percentile", percentile, high=1.0, above=True)
        self.every, self.longest = check_count("every", every), check_count("longest", longest)
        self.threshold = max(1, longest // 2) if threshold is None else check_count("threshold", threshold)
        if self.threshold > longest:
            raise InputError(f"threshold = {threshold}: must be at most longest = {longest}")
        self.expansion = check_number("expansion", expansion, low=1.0)

    def begin(self, model: nn.Module, optimizer: Optimizer, seed: int) -> None:
        """Let all units have fired just now."""
        super().begin(model, optimizer, seed)
        counts = [(units.width, units.layer.weight.device) for units in self.layers]
        self.batch = 0
        self.ages = [torch.zeros(count, dtype=torch.int64, device=device) for count, device in counts]
        self.thresholds = [torch.full_like(ages, self.threshold) for ages in self.ages]
        self.noted: list[Tensor] = []

    def look(self, number: int, outputs: Tensor, optimizer: Optimizer) -> None:
        """Let the units of a layer age, and reset those that were silent for too long."""
        ages, size = self.ages[number], len(outputs)
        if not self.batch:
            self.batch = size
            self.noted = [each.new_zeros(len(each), -(-self.longest // size) + 1).int() for each in self.ages]
        fires = (outputs > 0).any(2).any(0)
        self._note(number, fires)
        ages.copy_(torch.where(fires, 0, ages + size))
        if self.steps % self.every == 0:
            self._change_thresholds(number)
        silent = ages >= self.thresholds[number]
        self._note(number, silent)
        ages[silent] = 0
        self.reset(number, silent.nonzero().flatten(), optimizer)

    def _note(self, number: int, which: Tensor) -> None:
        """Note the ages of some units, in mini-batches."""
        units = which.nonzero().flatten()
        ages = self.ages[number][units].clamp(max=self.longest)
        self.noted[number][units, -(-ages // self.batch)] += 1

    def _change_thresholds(self, number: int) -> None:
        noted, thresholds = self.noted[number][:, 1:], self.thresholds[number]
        reached = noted.cumsum(1).double() / noted.sum(1, keepdim=True) >= self.percentile  # of none: nowhere
        found = (reached.int().argmax(1) + 1) * self.batch
        wider = (self.expansion * thresholds).long()
        thresholds.copy_(torch.where(found < thresholds, found, wider).clamp(max=self.longest).clamp(min=self.batch))
        noted.zero_()
