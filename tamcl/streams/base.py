"""A stream is a validated description that, given labels and a seed, says what each experience holds.

Only index and label arrays are made here; ``tamcl.streams.benchmark`` turns them into an Avalanche benchmark. So a
stream is plain NumPy, and a scenario file is checked without importing torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, StrictBool, model_serializer

from tamcl.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

Indices = NDArray[np.int64]
Labels = NDArray[np.int64] | NDArray[np.float32]

Count = Annotated[int, Field(strict=True, ge=1)]
Normalization = Literal["channel", "task", "signed", "none"]
Augmentation = Literal["none", "crop_flip"]
Target = Literal["class", "number", "token"]


class Transform(ABC):
    """What an experience does to its images before they are normalised."""

    @abstractmethod
    def __call__(self, pixels: Tensor, index: Tensor) -> Tensor:
        """Return changed images.

        Parameters
        ----------
        pixels : Tensor of float32, (n, channels, height, width)
            In units of 0 to 255; may be written to.
        index : Tensor of int64, (n,)
            Positions of the images in the data set, so that an image is always changed in the same way.
        """

    @abstractmethod
    def describe(self) -> str:
        """Return everything that decides what it does, for the stream's fingerprint."""


@dataclass(frozen=True)
class Segment:
    """What one experience trains and is tested on.

    Attributes
    ----------
    train_index, test_index : array of int64
        Positions in the data set's training and test images.
    train_labels, test_labels : array of int64, or of float32 where the target is a number
        The label of each of them in this experience.
    task : int
        Task label, given to the model in training and in test; 0 where tasks are not told apart.
    classes : tuple of int
        Classes that a masked or multi-head model chooses from in this task.
    transform : Transform, optional
        What is done to the images, in training and in test.
    ordered : bool
        Whether the training images come in the order given rather than in a random one; only a stream of one epoch can
        have it.
    validation_index, validation_labels : arrays, optional
        Positions in the data set's *training* images of those that are held out, and their labels: what learning rates
        are chosen on and tests inside the experience are of, where the test images would be otherwise. In a stream of
        one experience alone, since metrics of several compare tests inside of one with those after another.
    context : int
        Where the data are text: an input is so many tokens, the first of them that at the index, and what is to be
        learnt of each is the token after it. The labels are the domains of the inputs then. 0 where there are images.
    """

    train_index: Indices
    train_labels: Labels
    test_index: Indices
    test_labels: Labels
    task: int
    classes: tuple[int, ...]
    transform: Transform | None = None
    ordered: bool = False
    validation_index: Indices | None = None
    validation_labels: Labels | None = None
    context: int = 0


class Stream(BaseModel, ABC):
    """Parameters that every stream has.

    Parameters
    ----------
    dataset : str
        Name of a data set.
    experiences : int
        Number of experiences; a shift lies between each and the next.
    samples : int, optional
        Training images in an experience; all there are if absent.
    epochs : int
        Passes over an experience's images.
    batch_size : int
        Images in a mini-batch; the last one of an epoch may be smaller.
    drop_last : bool
        Whether a last mini-batch of an epoch that is smaller is left out.
    normalization : {"channel", "task", "signed", "none"}
        Mean 0 and deviation 1 a channel over the data set's training images, the same over the training images of each
        experience (its test images are normalised with them too), or no more than from 0..255 to -1..1 or to 0..1; of
        numbers that are no bytes, "none" changes nothing. Done on the batch. The moments are those of the images as
        they are in the data set, before any transform.
    augmentation : {"none", "crop_flip"}
        What is done to training images on the batch: nothing, or a random crop after padding by 4 and a random
        horizontal flip, anew each time an image comes.
    oracle : {"none", "no_shift", "restart"}
        What to hold a result against: the stream as it is, the same amount of data without a shift, or the stream with
        model and optimizer made anew at each shift (the segments are then those of "none"; the strategy starts over).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    dataset: str
    experiences: Count
    samples: Count | None = None
    epochs: Count = 1
    batch_size: Count = 10
    drop_last: StrictBool = False
    normalization: Normalization = "channel"
    augmentation: Augmentation = "none"
    oracle: Literal["none", "no_shift", "restart"] = "none"

    target: ClassVar[Target] = "class"
    """What is learnt: to choose a class, by cross entropy, to give a number, by mean squared error, or, of text, to
    choose each token from those before it, by cross entropy."""

    repeats: ClassVar[bool] = False
    """Whether an image may come more than once in one pass over an experience."""

    later: ClassVar[frozenset[str]] = frozenset({"drop_last"})
    """Parameters that are not written where they are false or 0, so that cells keep the names that they had before."""

    @model_serializer(mode="wrap")
    def _plain(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        return {key: value for key, value in values.items() if value or key not in self.later}

    @property
    def tells_task(self) -> bool:
        """Whether the model is told which task an image belongs to."""
        return False

    @property
    def shifts(self) -> bool:
        """Whether there is a shift; the oracle without one keeps the first experience's concept."""
        return self.oracle != "no_shift"

    def count(self, available: int) -> int:
        """Return the number of training images in an experience, of those that there are.

        Raises
        ------
        InputError
            If there are fewer than were asked for.
        """
        if self.samples is not None and self.samples > available:
            raise InputError(f"stream.samples = {self.samples}: the training set has {available} images")
        return available if self.samples is None else self.samples

    def batches(self, examples: int) -> int:
        """Return how many mini-batches one pass over so many examples has."""
        return batches_of(examples, self.batch_size, self.drop_last)

    def most(self, available: int) -> int:
        """Return how many training examples an experience has at most, of so many images or tokens."""
        return available if self.samples is None else self.samples

    @abstractmethod
    def segments(self, train_y: Indices, test_y: Indices, classes: int, seed: int) -> list[Segment]:
        """Return the experiences in order.

        Parameters
        ----------
        train_y, test_y : array of int64
            Labels of the data set; of text, the domain of each token.
        classes : int
            Number of classes of the data set.
        seed : int
            Seed of the run; equal seeds give equal segments.

        Raises
        ------
        InputError
            If the parameters do not fit the data set.
        """


def batches_of(examples: int, batch_size: int, drop_last: bool) -> int:
    """Return how many mini-batches examples make, without a last one that is smaller if that is left out.

    Examples
    --------
    >>> batches_of(25, 10, False), batches_of(25, 10, True)
    (3, 2)
    """
    return examples // batch_size if drop_last else -(-examples // batch_size)


def fingerprint(
    segments: Sequence[Segment],
    checksum: str,
    *order: int,
    normalization: Normalization = "channel",
    augmentation: Augmentation = "none",
    drop_last: bool = False,
) -> str:
    """Digest everything that decides which example comes when: two runs are comparable in pairs if it is equal.

    Parameters
    ----------
    segments : sequence of Segment
    checksum : str
        Digest of the data set.
    *order : int
        Seed of the order of mini-batches, batch size and epochs.
    normalization, augmentation, drop_last
        As in the stream.
    """
    digest = blake2b(f"{checksum}{order}".encode(), digest_size=16)
    for segment in segments:
        digest.update(repr((segment.task, segment.classes, len(segment.train_index), len(segment.test_index))).encode())
        for array in (segment.train_index, segment.train_labels, segment.test_index, segment.test_labels):
            digest.update(_bytes(array))
        # What a plain stream does not have adds nothing, so that plain streams keep the digest they always had.
        if segment.transform is not None:
            digest.update(f"transform {segment.transform.describe()}".encode())
        if segment.ordered:
            digest.update(b"ordered")
        if segment.validation_index is not None and segment.validation_labels is not None:
            digest.update(f"validation {len(segment.validation_index)}".encode())
            for array in (segment.validation_index, segment.validation_labels):
                digest.update(_bytes(array))
        if segment.context:
            digest.update(f"context {segment.context}".encode())
    if (normalization, augmentation) != ("channel", "none"):
        digest.update(f"{normalization} {augmentation}".encode())
    if drop_last:
        digest.update(b"drop_last")
    return digest.hexdigest()


def _bytes(array: Indices | Labels) -> memoryview:
    return array.astype("<f4" if array.dtype.kind == "f" else "<i8").data
