"""Training on everything so far."""

from __future__ import annotations

from itertools import accumulate
from typing import Any, TypeVar, Unpack

from torch import Tensor

from tamcl.strategies.examples import Examples, MixedLoader
from tamcl.strategies.naive import Common, Naive
from tamcl.strategies.state import State
from tamcl.streams.benchmark import ExperienceStream

Loader = TypeVar("Loader", bound=MixedLoader)


class Cumulative(Naive):
    """In each experience the model is trained on its examples and on those of all before, in random order.

    Use it as an upper bound: nothing need be forgotten, at a price that grows with every experience. The model goes on
    from where it is, as in Avalanche's ``Cumulative``. Online accuracy is that on all examples that are trained on, of
    which most have been seen before.

    Parameters
    ----------
    **common
        The arguments of ``Naive``.
    """

    def __init__(self, **common: Unpack[Common]) -> None:
        super().__init__(**common)
        self.seen = Examples()

    def make_train_dataloader(self, **kwargs: Any) -> None:
        """Take in the experience, and take mini-batches from all examples."""
        self.seen.add(self.experience)
        self.dataloader = self.mixed(MixedLoader)

    def updates(self, stream: ExperienceStream) -> list[int]:
        """Return how many updates are done in each experience of a stream: ever more."""
        sizes = accumulate(len(part.train_index) for part in stream.segments)
        return [*map(self.updates_on, sizes)]

    def state_dict(self) -> State:
        """Return also which examples are in."""
        return super().state_dict() | {"seen": self.seen.state_dict()}

    def load_state_dict(self, state: State) -> None:
        """Take over what ``state_dict`` returned."""
        super().load_state_dict(state)
        self.seen.load_state_dict(state["seen"], self.experience.origin_stream)

    def mixed(self, loader: type[Loader]) -> Loader:
        """Return mini-batches of all examples that are in."""
        place = self.train_mb_size, self.settings.seed, self.experience.current_experience, self.device
        settings = self.settings
        return loader(
            self.seen,  # type: ignore[arg-type]
            *place,
            augmentation=settings.augmentation,
            drop_last=settings.drop_last,
        )

    @property
    def mb_task(self) -> Tensor:
        """The task of each example of the mini-batch."""
        return self.mb_task_id  # type: ignore[no-any-return]
