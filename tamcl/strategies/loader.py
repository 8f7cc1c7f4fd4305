"""Mini-batches from tensors in memory, in an order that depends on the seed and the position alone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor
from torch.nn.functional import pad

from tamcl.seeding import derive_seed
from tamcl.streams.base import Augmentation, batches_of
from tamcl.streams.benchmark import Experience

_BLOCK_BYTES = 2**20  # a few mini-batches normalised at once, small enough to stay in cache
_PADDING = 4


class BatchLoader:
    """One experience as mini-batches ``(images, labels, task labels)``; each pass over it has another order.

    Of text they are windows, the next token of each of their tokens, and the task of each window.

    An experience that is ordered is given in the order that it has.

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
    augmentation : {"none", "crop_flip"}
        What is done to the images, anew in each pass, before they are normalised.
    drop_last : bool
        Whether a last mini-batch that is smaller is left out.
    """

    def __init__(
        self,
        experience: Experience,
        batch_size: int,
        seed: int,
        position: int,
        device: torch.device,
        *,
        augmentation: Augmentation = "none",
        drop_last: bool = False,
    ) -> None:
        self.experience = experience
        self.batch_size = batch_size
        self.seed = seed
        self.position = position
        self.device = device
        self.augmentation = augmentation
        self.drop_last = drop_last
        self.passes = 0
        self._first = 0

    def begin_at(self, epoch: int, batch: int) -> None:
        """Let the next pass be that of an epoch, without its first mini-batches."""
        self.passes, self._first = epoch, batch

    @property
    def size(self) -> int:
        """Examples of a pass."""
        return len(self.experience.labels)

    def __len__(self) -> int:
        return batches_of(self.size, self.batch_size, self.drop_last)

    @property
    def used(self) -> int:
        """Examples of a pass that are in its mini-batches: the first of its order."""
        return min(self.size, len(self) * self.batch_size)

    def order(self, epoch: int) -> Tensor:
        """Return the order of the examples in one pass, a permutation."""
        if self.experience.ordered:
            return torch.arange(len(self.experience.labels))
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "order", self.position, epoch))
        return torch.randperm(len(self.experience.labels), generator=generator)

    def __iter__(self) -> Iterator[list[Tensor]]:
        experience, order = self.experience, self.order(self.passes)[: self.used]
        crops = self._crops(self.passes) if self.augmentation == "crop_flip" else None
        self.passes += 1
        bytes_per_batch = 4 * self.batch_size * experience.inputs.size
        at_once = max(1, _BLOCK_BYTES // bytes_per_batch)
        block = self.batch_size * at_once
        tasks = torch.full((block,), experience.task, device=self.device)
        blocks, left_out = divmod(self._begin(), at_once)  # a block is made ready whole, for the same bits
        for start in range(blocks * block, len(order), block):
            rows = order[start : start + block]
            augment = None if crops is None else Crops(crops[start : start + block])
            images = experience.batch(rows, augment).to(self.device)
            labels = experience.targets(rows).to(self.device)
            columns = (column.split(self.batch_size) for column in (images, labels, tasks[: len(rows)]))
            yield from map(list, islice(zip(*columns, strict=True), left_out, None))
            left_out = 0

    def _begin(self) -> int:
        """Return how many mini-batches this pass is without; the next one has all."""
        first, self._first = self._first, 0
        return first

    def _crops(self, epoch: int) -> Tensor:
        """Draw the crops and flips of a whole pass, so that they do not depend on the size of a mini-batch."""
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "augmentation", self.position, epoch))
        limits = torch.tensor([2 * _PADDING + 1, 2 * _PADDING + 1, 2])
        return (torch.rand(len(self.experience.labels), 3, generator=generator) * limits).long()


class Crops:
    """Cut each image out of itself with a black border of 4 pixels, and mirror some of them.

    Parameters
    ----------
    drawn : Tensor of int64, (n, 3)
        For each image its first row and column within the border, 0 to 8, and whether it is mirrored.
    """

    def __init__(self, drawn: Tensor) -> None:
        self.drawn = drawn

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return the images cut out, in the size they had."""
        height, width = pixels.shape[2:]
        top, left, mirrored = self.drawn.unbind(1)
        columns = torch.arange(width).expand(len(pixels), -1)
        columns = left[:, None] + torch.where(mirrored[:, None] == 1, columns.flip(1), columns)
        rows = top[:, None] + torch.arange(height)
        bordered = pad(pixels, (_PADDING,) * 4)
        image, channel = torch.arange(len(pixels))[:, None, None, None], torch.arange(pixels.shape[1])[:, None, None]
        return bordered[image, channel, rows[:, None, :, None], columns[:, None, None, :]]
