"""From segments to an Avalanche benchmark whose experiences share one copy of the images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor
from torch.utils.data import Dataset

from tamcl.avalanche import (
    AvalancheDataset,
    CLScenario,
    ConstantSequence,
    DataAttribute,
    DatasetExperience,
    SequenceCLStream,
    TaskLabels,
)
from tamcl.data import DataSet
from tamcl.streams.base import Indices, Segment


class Images:
    """All images of a data set's training or test part, normalised when a batch is taken.

    Parameters
    ----------
    pixels : Tensor of uint8, (n, channels, height, width)
    mean, std : Tensor, (channels,)
        In units of 0 to 255; a channel that does not vary is only centred.
    """

    def __init__(self, pixels: Tensor, mean: Tensor, std: Tensor) -> None:
        self.pixels = pixels
        self.mean = mean[:, None, None]
        self.scale = torch.where(std > 0, 1 / std, 1)[:, None, None]

    def batch(self, index: Tensor) -> Tensor:
        """Return images as float32, (len(index), channels, height, width), with mean 0 and deviation 1 a channel."""
        return self.pixels.index_select(0, index).float().sub_(self.mean).mul_(self.scale)


class ImageDataset(Dataset[tuple[Tensor, int]]):
    """One experience's images with their labels, for code that asks for one example at a time."""

    def __init__(self, images: Images, index: Tensor, labels: Tensor) -> None:
        self.images = images
        self.index = index
        self.targets = labels.tolist()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        return self.images.batch(self.index[position : position + 1])[0], self.targets[position]


class Experience(DatasetExperience):  # type: ignore[misc]
    """An Avalanche experience that also gives its data as whole tensors.

    Attributes
    ----------
    images : Images
        Shared by all experiences.
    index, labels : Tensor of int64, (n,)
        Which images, and their labels in this experience.
    task : int
    task_labels, classes_in_this_experience : list of int
        As Avalanche's plugins expect them.
    """

    def __init__(self, images: Images, index: Indices, labels: Indices, task: int, position: int) -> None:
        super().__init__(dataset=None, current_experience=position)
        self.images = images
        self.index = torch.from_numpy(index)
        self.labels = torch.from_numpy(labels)
        self.task = task
        self.task_labels = [task]

    @cached_property
    def classes_in_this_experience(self) -> list[int]:
        """The labels that occur, sorted."""
        return [int(label) for label in self.labels.unique()]

    @cached_property
    def dataset(self) -> AvalancheDataset:
        """The experience as an ``AvalancheDataset``, made only when somebody asks."""
        data = ImageDataset(self.images, self.index, self.labels)
        attributes = [DataAttribute(data.targets, "targets"), TaskLabels(ConstantSequence(self.task, len(data)))]
        return AvalancheDataset([data], data_attributes=attributes)


class ExperienceStream(SequenceCLStream):  # type: ignore[misc]
    """A stream that builds an experience when it is asked for and keeps none."""

    def __init__(self, name: str, images: Images, segments: Sequence[Segment]) -> None:
        self.images = images
        self.segments = segments
        super().__init__(name, None, set_stream_info=False)  # it would number stream[-1] as experience -1

    def _full_length(self) -> int:
        return len(self.segments)

    def _make_experience(self, position: int) -> Experience:
        position %= len(self.segments)
        segment = self.segments[position]
        train = segment.train_index, segment.train_labels
        test = segment.test_index, segment.test_labels
        index, labels = train if self.name == "train" else test
        experience = Experience(self.images, index, labels, segment.task, position)
        experience.origin_stream = self
        return experience


def build_benchmark(data: DataSet, segments: Sequence[Segment]) -> CLScenario:
    """Return the Avalanche benchmark of some segments, with ``train_stream`` and ``test_stream``."""
    mean, std = (torch.from_numpy(moment) for moment in data.mean_std)
    train, test = (Images(torch.from_numpy(pixels), mean, std) for pixels in (data.train_x, data.test_x))
    return CLScenario([ExperienceStream("train", train, segments), ExperienceStream("test", test, segments)])
