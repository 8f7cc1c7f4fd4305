"""Examples of several experiences in one place."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from tamcl.strategies.loader import BatchLoader, Crops
from tamcl.streams.benchmark import Experience, ExperienceStream


class Examples:
    """Examples of several experiences, each with the input, the label and the task that it had there.

    They are not copied: an experience's images are those of the data set, which all experiences share.
    """

    ordered = False

    def __init__(self) -> None:
        self.parts: list[tuple[Experience, Tensor]] = []
        """Experiences, each with the rows of it that are in here."""

    @property
    def labels(self) -> Tensor:
        """The labels, (n,)."""
        return torch.cat([experience.labels[rows] for experience, rows in self.parts])

    def __len__(self) -> int:
        return sum(len(rows) for _, rows in self.parts)

    def add(self, experience: Experience) -> None:
        """Take in all examples of an experience."""
        self.parts.append((experience, torch.arange(len(experience.labels))))

    def state_dict(self) -> list[tuple[int, Tensor]]:
        """Return which rows of which experiences, by their places in the stream, are in here."""
        return [(experience.current_experience, rows) for experience, rows in self.parts]

    def load_state_dict(self, state: list[tuple[int, Tensor]], stream: ExperienceStream) -> None:
        """Take in what ``state_dict`` returned, and nothing else."""
        self.parts[:] = [(stream[place], rows) for place, rows in state]

    def batch(self, positions: Tensor, crops: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return images, labels and tasks of some examples.

        Parameters
        ----------
        positions : Tensor of int64
            In 0 to ``len(self) - 1``.
        crops : Tensor, optional
            How each of the images is augmented, as in ``Crops``.
        """
        found = list(self._parts_of(positions))
        places = torch.cat([place for _, _, place in found]).argsort()
        images = torch.cat(
            [
                experience.batch(rows, None if crops is None else Crops(crops[place]))
                for experience, rows, place in found
            ]
        )
        labels = torch.cat([experience.targets(rows) for experience, rows, _ in found])
        tasks = torch.cat([torch.full_like(rows, experience.task) for experience, rows, _ in found])
        return images[places], labels[places], tasks[places]

    def _parts_of(self, positions: Tensor) -> Iterator[tuple[Experience, Tensor, Tensor]]:
        """Yield each experience that is concerned, the rows of it, and where these stand in ``positions``."""
        sizes = torch.tensor([len(rows) for _, rows in self.parts])
        ends = sizes.cumsum(0)
        numbers = torch.searchsorted(ends, positions, right=True)
        for number in numbers.unique().tolist():
            experience, rows = self.parts[number]
            places = (numbers == number).nonzero()[:, 0]
            yield experience, rows[positions[places] - (ends - sizes)[number]], places


class MixedLoader(BatchLoader):
    """Examples of several experiences as mini-batches ``(images, labels, task labels)``, in random order."""

    experience: Examples  # type: ignore[assignment]
    """They have all that an order and crops are drawn for."""

    def __iter__(self) -> Iterator[list[Tensor]]:
        order = self.order(self.passes)[: self.used]
        crops = self._crops(self.passes) if self.augmentation == "crop_flip" else None
        self.passes += 1
        for start in range(self._begin() * self.batch_size, len(order), self.batch_size):
            positions = order[start : start + self.batch_size]
            part = None if crops is None else crops[start : start + self.batch_size]
            yield [tensor.to(self.device) for tensor in self.experience.batch(positions, part)]
