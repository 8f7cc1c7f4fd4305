"""Training on all experiences at once."""

from __future__ import annotations

from typing import Any, Unpack

import torch
from torch import Tensor

from tamcl.seeding import derive_seed
from tamcl.strategies.cumulative import Cumulative
from tamcl.strategies.examples import MixedLoader
from tamcl.strategies.naive import Common, Naive
from tamcl.streams.benchmark import ExperienceStream


class Joint(Cumulative):
    """The examples of all experiences are trained on in one random order, so that nothing shifts.

    Use it as the upper bound at the same number of steps: after the last experience every example has been trained on
    as often as in ``Naive``. Experience e is the e-th part of that order, as long as it would be otherwise; before the
    last row of the accuracy matrix the model has seen only some of the examples. Where labels flip, the same image
    comes with all the labels that it has in the stream.

    Parameters
    ----------
    **common
        The arguments of ``Naive``.
    """

    def __init__(self, **common: Unpack[Common]) -> None:
        super().__init__(**common)

    def updates(self, stream: ExperienceStream) -> list[int]:
        """Return how many updates are done in each experience of a stream: those of its own examples."""
        return Naive.updates(self, stream)

    def make_train_dataloader(self, **kwargs: Any) -> None:
        """Take mini-batches from the experience's part of all examples."""
        if not len(self.seen):
            for experience in self.experience.origin_stream:
                self.seen.add(experience)
        self.dataloader = loader = self.mixed(_PartLoader)
        loader.epochs = self.train_epochs


class _PartLoader(MixedLoader):
    """One experience's part of as many random orders of all examples as there are epochs, one after the other."""

    epochs = 1

    @property
    def size(self) -> int:
        """Examples of a pass."""
        return self._sizes[self.position]

    @property
    def _sizes(self) -> list[int]:
        return [len(rows) for _, rows in self.experience.parts]

    def order(self, epoch: int) -> Tensor:
        sizes = self._sizes
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "order"))
        whole = torch.cat([torch.randperm(sum(sizes), generator=generator) for _ in range(self.epochs)])
        start = self.epochs * sum(sizes[: self.position]) + epoch * sizes[self.position]
        return whole[start : start + sizes[self.position]]
