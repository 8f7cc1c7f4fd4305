"""From segments to an Avalanche benchmark whose experiences share one copy of the images."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cache, cached_property, partial
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
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
from tamcl.streams.base import Indices, Labels, Normalization, Segment, Transform
from tamcl.streams.windows import Windows

Moments = tuple[Tensor, Tensor]
Augment = Callable[[Tensor], Tensor]

_BLOCK = 256  # images whose values are counted at once


class Inputs(Protocol):
    """All inputs of a data set's training or test part: ``Images``, or ``Windows`` of text."""

    @property
    def size(self) -> int:
        """Numbers in an input."""

    def batch(self, index: Tensor, augment: Augment | None = None) -> Tensor:
        """Return inputs as the model gets them, (len(index), ...)."""


class Images:
    """All images of a data set's training or test part, made ready when a batch is taken.

    Parameters
    ----------
    pixels : Tensor of uint8 or float32, (n, channels, height, width), or of float32, (n, columns)
        May be a map of a file; only the images of a batch are read. The columns of a table are its channels.
    moments : callable
        Returns mean and standard deviation of each channel, (channels,), in units of 0 to 255; asked once, for the
        first batch. A channel that does not vary is only centred.
    transform : Transform, optional
        What is done to images before they are normalised.
    """

    def __init__(self, pixels: Tensor, moments: Callable[[], Moments], transform: Transform | None = None) -> None:
        self.pixels = pixels
        self.transform = transform
        self._moments = moments

    @cached_property
    def _shift_and_scale(self) -> Moments:
        mean, std = self._moments()
        of_channel = (-1, *[1] * (self.pixels.dim() - 2))
        return mean.view(of_channel), torch.where(std > 0, 1 / std, 1).view(of_channel)

    @property
    def size(self) -> int:
        """Numbers in an image."""
        return self.pixels[0].numel()

    def batch(self, index: Tensor, augment: Augment | None = None) -> Tensor:
        """Return images as the model gets them, float32, (len(index), channels, height, width).

        Parameters
        ----------
        index : Tensor of int64
        augment : callable, optional
            From pixels, 0 to 255, to pixels; done after the transform, before normalisation.
        """
        batch = self.pixels.index_select(0, index).float()
        if self.transform is not None:
            batch = self.transform(batch, index)
        if augment is not None:
            batch = augment(batch)
        mean, scale = self._shift_and_scale
        return batch.sub_(mean).mul_(scale)


class ExampleDataset(Dataset[tuple[Tensor, Any]]):
    """One experience's inputs with what is to be learnt of them, for code that asks for one example at a time."""

    def __init__(self, experience: Experience) -> None:
        self.experience = experience
        self.targets = experience.labels.tolist()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, position: int) -> tuple[Tensor, Any]:
        row = torch.tensor([position])
        return self.experience.batch(row)[0], self.experience.targets(row)[0].tolist()


class Experience(DatasetExperience):  # type: ignore[misc]
    """An Avalanche experience that also gives its data as whole tensors.

    Parameters
    ----------
    inputs : Inputs
    index, labels : array of int64; labels are float32 where the target is a number
    task : int
    position : int
        Place in the stream.
    ordered : bool

    Attributes
    ----------
    inputs : Inputs
        The same one for all experiences that turn an image into the same input.
    index, labels : Tensor, (n,)
        Which images, and their labels in this experience; of text, where the windows begin, and their domains.
    task : int
    ordered : bool
        Whether the examples are to be trained on in the order they have here.
    task_labels, classes_in_this_experience : list of int
        As Avalanche's plugins expect them.
    """

    def __init__(
        self,
        inputs: Inputs,
        index: Indices,
        labels: Labels,
        task: int,
        position: int,
        ordered: bool = False,
    ) -> None:
        super().__init__(dataset=None, current_experience=position)
        self.inputs = inputs
        self.index = torch.from_numpy(index)
        self.labels = torch.from_numpy(labels)
        self.task = task
        self.ordered = ordered
        self.task_labels = [task]

    def batch(self, rows: Tensor, augment: Augment | None = None) -> Tensor:
        """Return the images, or windows of text, of some rows as the model gets them.

        Parameters
        ----------
        rows : Tensor of int64
            Places in ``index``.
        augment : callable, optional
            From pixels, 0 to 255, to pixels.
        """
        return self.inputs.batch(self.index[rows], augment)

    def targets(self, rows: Tensor) -> Tensor:
        """Return what is to be learnt of some rows: their labels, (n,), or of text the next tokens, (n, context)."""
        return self.inputs.targets(self.index[rows]) if isinstance(self.inputs, Windows) else self.labels[rows]

    @cached_property
    def classes_in_this_experience(self) -> list[int]:
        """The labels that occur, sorted; none where the target is a number."""
        return [] if self.labels.is_floating_point() else [int(label) for label in self.labels.unique()]

    @cached_property
    def dataset(self) -> AvalancheDataset:
        """The experience as an ``AvalancheDataset``, made only when somebody asks."""
        data = ExampleDataset(self)
        attributes = [DataAttribute(data.targets, "targets"), TaskLabels(ConstantSequence(self.task, len(data)))]
        return AvalancheDataset([data], data_attributes=attributes)


class ExperienceStream(SequenceCLStream):  # type: ignore[misc]
    """A stream that builds an experience when it is asked for and keeps none.

    Parameters
    ----------
    name : {"train", "test", "validation"}
    inputs : sequence of Inputs
        One for each experience.
    segments : sequence of Segment
    """

    def __init__(self, name: str, inputs: Sequence[Inputs], segments: Sequence[Segment]) -> None:
        self.segments = segments
        self._inputs = inputs
        super().__init__(name, None, set_stream_info=False)  # it would number stream[-1] as experience -1

    def _full_length(self) -> int:
        return len(self.segments)

    def _make_experience(self, position: int) -> Experience:
        position %= len(self.segments)
        segment = self.segments[position]
        index, labels = getattr(segment, f"{self.name}_index"), getattr(segment, f"{self.name}_labels")
        ordered = segment.ordered and self.name == "train"
        experience = Experience(self._inputs[position], index, labels, segment.task, position, ordered)
        experience.origin_stream = self
        return experience


def build_benchmark(data: DataSet, segments: Sequence[Segment], normalization: Normalization = "channel") -> CLScenario:
    """Return the Avalanche benchmark of some segments: ``train_stream``, ``test_stream`` and ``validation_stream``.

    The last is the test stream where no training images are held out.

    Parameters
    ----------
    data : DataSet
    segments : sequence of Segment
    normalization : {"channel", "task", "signed", "none"}
        As in the stream.
    """
    train, test = _tensor(data.train_x), _tensor(data.test_x)
    if data.is_text:
        return _with_validation([_text_stream("train", train, segments), _text_stream("test", test, segments)])
    fixed = {"none": (0.0, 1.0)} if data.is_numeric else _FIXED
    moments: list[Callable[[], Moments]]
    if normalization == "task":
        moments = [cache(partial(channel_moments, train, torch.from_numpy(part.train_index))) for part in segments]
    else:
        same_for_all = _of_data(data) if normalization == "channel" else _fixed(*fixed[normalization], train.shape[1])
        moments = [same_for_all] * len(segments)
    streams = []
    is_held_out = all(segment.validation_index is not None for segment in segments)
    for name, pixels in (("train", train), ("test", test), *([("validation", train)] if is_held_out else [])):
        same = cache(partial(Images, pixels))  # one object for equal moments and transform
        images = [same(each, part.transform) for each, part in zip(moments, segments, strict=True)]
        streams.append(ExperienceStream(name, images, segments))
    return _with_validation(streams)


def _with_validation(streams: Sequence[ExperienceStream]) -> CLScenario:
    """Return a benchmark of streams whose validation stream, where there is none, is the test stream."""
    benchmark = CLScenario(streams)
    if all(stream.name != "validation" for stream in streams):
        benchmark.validation_stream = benchmark.test_stream
    return benchmark


def _text_stream(name: str, tokens: Tensor, segments: Sequence[Segment]) -> ExperienceStream:
    same = cache(partial(Windows, tokens))
    return ExperienceStream(name, [same(segment.context) for segment in segments], segments)


def channel_moments(pixels: Tensor, index: Tensor) -> Moments:
    """Return mean and standard deviation of each channel over some images, of bytes from counts of the 256 values.

    Examples
    --------
    >>> pixels = torch.tensor([0, 100, 255], dtype=torch.uint8)[:, None, None, None]
    >>> [moment.item() for moment in channel_moments(pixels, torch.tensor([0, 1]))]
    [50.0, 50.0]
    """
    if pixels.is_floating_point():
        chosen = pixels.index_select(0, index).double().transpose(0, 1).flatten(1)
        return chosen.mean(1).float(), chosen.std(1, correction=0).float()
    counts = torch.zeros(pixels.shape[1], 256, dtype=torch.int64)
    for rows in index.split(_BLOCK):
        for count, values in zip(counts, pixels.index_select(0, rows).transpose(0, 1).flatten(1), strict=True):
            count += torch.bincount(values, minlength=256)
    shares, values = counts.double() / counts.sum(1, keepdim=True), torch.arange(256).double()
    mean = shares @ values
    return mean.float(), (shares @ values**2 - mean**2).clamp_min(0).sqrt().float()


def _of_data(data: DataSet) -> Callable[[], Moments]:
    def moments() -> Moments:
        mean, std = data.mean_std
        return torch.from_numpy(mean), torch.from_numpy(std)

    return moments


_FIXED: dict[str, tuple[float, float]] = {"signed": (127.5, 127.5), "none": (0.0, 255.0)}
"""What is subtracted from a pixel, and what it is divided by, where no images decide it."""


def _fixed(mean: float, scale: float, channels: int) -> Callable[[], Moments]:
    return lambda: (torch.full((channels,), mean), torch.full((channels,), scale))


def _tensor(pixels: NDArray[Any]) -> Tensor:
    """Return a tensor over the same memory."""
    with warnings.catch_warnings():
        # Read-only memory, as of a file that is mapped, is never written to: a batch is a copy.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(pixels)
