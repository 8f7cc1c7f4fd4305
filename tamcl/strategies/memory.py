"""A memory of old examples, and mini-batches that bring some of them along."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Unpack

import torch
from torch import Tensor

from tamcl.seeding import derive_seed
from tamcl.strategies.examples import Examples
from tamcl.strategies.loader import BatchLoader
from tamcl.strategies.naive import Common, Naive
from tamcl.strategies.state import State
from tamcl.streams.benchmark import Experience


class Memory(Examples):
    """As many examples as fit, equally many of each experience seen so far, drawn from it at random.

    The policy is that of Avalanche's ``ExperienceBalancedBuffer``: the shares shrink as experiences come.

    Parameters
    ----------
    size : int
        Examples of all experiences together.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def store(self, experience: Experience, generator: torch.Generator) -> None:
        """Make room for an experience and take in its share."""
        self.parts.append((experience, torch.randperm(len(experience.labels), generator=generator)))
        share, rest = divmod(self.size, len(self.parts))
        self.parts = [
            (experience, rows[: share + (number < rest)].clone())
            for number, (experience, rows) in enumerate(self.parts)
        ]


class Rehearsal(Naive):
    """Naive with a memory: every mini-batch of new examples brings some old ones along, once there are any.

    An experience goes into the memory when it is over, with the labels it had.

    Parameters
    ----------
    memory : int
        Old examples that are kept, of all experiences together.
    memory_batch : int, optional
        Old examples in a mini-batch, drawn from the memory without repetition; as many as new ones if absent.
    **common
        The arguments of ``Naive``.
    """

    def __init__(self, *, memory: int, memory_batch: int | None, **common: Unpack[Common]) -> None:
        super().__init__(**common)
        memory_batch = self.train_mb_size if memory_batch is None else memory_batch
        for name, value in (("memory", memory), ("memory_batch", memory_batch)):
            if value < 1:
                raise ValueError(f"{name} = {value}: must be at least 1")
        self.memory = Memory(memory)
        self.memory_batch = memory_batch

    def make_train_dataloader(self, **kwargs: Any) -> None:
        """Take mini-batches from the experience, and old examples from the memory."""
        super().make_train_dataloader(**kwargs)
        if len(self.memory):
            self.dataloader = _WithOld(self.dataloader, self.memory, self.memory_batch, self._generator("draw"))

    @property
    def old(self) -> tuple[Tensor, Tensor, Tensor] | None:
        """Images, labels and tasks of the old examples in the mini-batch; none in the first experience."""
        _, _, *old, _ = self.mbatch
        if not old:
            return None
        images, labels, tasks = old
        return images, labels.flatten(), tasks  # of text, as the logits are: those of all tokens in a row

    def state_dict(self) -> State:
        """Return also the memory, and the generator of the draws from it."""
        loader = self.dataloader
        draws = loader.generator.get_state() if isinstance(loader, _WithOld) else None
        return super().state_dict() | {"memory": self.memory.state_dict(), "draws": draws}

    def load_state_dict(self, state: State) -> None:
        """Take over what ``state_dict`` returned."""
        super().load_state_dict(state)
        self.memory.load_state_dict(state["memory"], self.experience.origin_stream)
        if isinstance(self.dataloader, _WithOld):
            self.dataloader.generator.set_state(state["draws"])

    def _after_training_exp(self, **kwargs: Any) -> None:
        self.memory.store(self.experience, self._generator("store"))
        super()._after_training_exp(**kwargs)

    def _generator(self, purpose: str) -> torch.Generator:
        """Return a generator for the experience's draws, apart from that of the mini-batches' order."""
        position = self.experience.current_experience
        place = {"store": 1, "draw": 2}[purpose]
        return torch.Generator().manual_seed(derive_seed(self.settings.seed, "order", position, 0, place))


class _WithOld:
    """Mini-batches ``(new images, new labels, old images, old labels, old tasks, new tasks)``."""

    def __init__(self, loader: BatchLoader, memory: Memory, size: int, generator: torch.Generator) -> None:
        self.loader = loader
        self.memory = memory
        self.size = size
        self.generator = generator

    def __len__(self) -> int:
        return len(self.loader)

    def begin_at(self, epoch: int, batch: int) -> None:
        """Let the next pass be that of an epoch, without its first mini-batches of new examples."""
        self.loader.begin_at(epoch, batch)

    def __iter__(self) -> Iterator[list[Tensor]]:
        for x, y, tasks in self.loader:
            positions = torch.randperm(len(self.memory), generator=self.generator)[: self.size]
            yield [x, y, *(part.to(x.device) for part in self.memory.batch(positions)), tasks]
