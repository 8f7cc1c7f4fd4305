"""A stream is a validated description that, given labels and a seed, says what each experience holds.

Only index and label arrays are made here; ``tamcl.streams.benchmark`` turns them into an Avalanche benchmark. So a
stream is plain NumPy, and a scenario file is checked without importing torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

Indices = NDArray[np.int64]

Count = Annotated[int, Field(strict=True, ge=1)]


@dataclass(frozen=True)
class Segment:
    """What one experience trains and is tested on.

    Attributes
    ----------
    train_index, test_index : array of int64
        Positions in the data set's training and test images.
    train_labels, test_labels : array of int64
        The label of each of them in this experience.
    task : int
        Task label, given to the model in training and in test; 0 where tasks are not told apart.
    classes : tuple of int
        Classes that a masked or multi-head model chooses from in this task.
    """

    train_index: Indices
    train_labels: Indices
    test_index: Indices
    test_labels: Indices
    task: int
    classes: tuple[int, ...]


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
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    dataset: str
    experiences: Count
    samples: Count | None = None
    epochs: Count = 1
    batch_size: Count = 10

    @property
    def tells_task(self) -> bool:
        """Whether the model is told which task an image belongs to."""
        return False

    @abstractmethod
    def segments(self, train_y: Indices, test_y: Indices, classes: int, seed: int) -> list[Segment]:
        """Return the experiences in order.

        Parameters
        ----------
        train_y, test_y : array of int64
            Labels of the data set.
        classes : int
            Number of classes of the data set.
        seed : int
            Seed of the run; equal seeds give equal segments.

        Raises
        ------
        InputError
            If the parameters do not fit the data set.
        """


def fingerprint(segments: Sequence[Segment], checksum: str, *order: int) -> str:
    """Digest everything that decides which example comes when: two runs are comparable in pairs if it is equal.

    Parameters
    ----------
    segments : sequence of Segment
    checksum : str
        Digest of the data set.
    *order : int
        Seed of the order of mini-batches, batch size and epochs.
    """
    digest = blake2b(f"{checksum}{order}".encode(), digest_size=16)
    for segment in segments:
        digest.update(repr((segment.task, segment.classes, len(segment.train_index), len(segment.test_index))).encode())
        for array in (segment.train_index, segment.train_labels, segment.test_index, segment.test_labels):
            digest.update(array.astype("<i8").data)
    return digest.hexdigest()
