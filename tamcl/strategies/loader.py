"""Mini-batches from tensors in memory, in an order that depends on the seed and the position alone."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from tamcl.seeding import derive_seed
from tamcl.streams.benchmark import Experience

_BLOCK_BYTES = 2**20  # a few mini-batches normalised at once, small enough to stay in cache


class BatchLoader:
    """One experience as mini-batches ``(images, labels, task labels)``; each pass over it has another order.

    Parameters
    ----------
    experience : Experience
    batch_size : int
        The last mini-batch of a pass holds what is left.
    seed : int
        Seed of the run.
    position : int
        Position of the experience in the stream.
    device : torch.device
    """

    def __init__(self, experience: Experience, batch_size: int, seed: int, position: int, device: torch.device) -> None:
        self.experience = experience
        self.batch_size = batch_size
        self.seed = seed
        self.position = position
        self.device = device
        self.passes = 0

    def __len__(self) -> int:
        return -(-len(self.experience.labels) // self.batch_size)

    def order(self, epoch: int) -> Tensor:
        """Return the order of the examples in one pass, a permutation."""
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "order", self.position, epoch))
        return torch.randperm(len(self.experience.labels), generator=generator)

    def __iter__(self) -> Iterator[list[Tensor]]:
        experience, order = self.experience, self.order(self.passes)
        self.passes += 1
        bytes_per_batch = 4 * self.batch_size * experience.images.pixels[0].numel()
        block = self.batch_size * max(1, _BLOCK_BYTES // bytes_per_batch)
        tasks = torch.full((self.batch_size,), experience.task, device=self.device)
        for rows in order.split(block):
            images = experience.images.batch(experience.index[rows]).to(self.device)
            labels = experience.labels[rows].to(self.device)
            for x, y in zip(images.split(self.batch_size), labels.split(self.batch_size), strict=True):
                yield [x, y, tasks[: len(y)]]
