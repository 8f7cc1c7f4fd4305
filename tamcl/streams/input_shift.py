"""What permuted, rotated and corrupted inputs have in common."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from tamcl.seeding import derive_seed
from tamcl.streams.base import Indices, Segment, Stream, Transform
from tamcl.streams.samples import redraws


class InputShift(Stream):
    """The images of every experience after the first are changed, the labels stay: P(x) shifts.

    Training and test images are changed alike. Each experience has ``samples`` images drawn anew from the whole
    training set, none twice. Without a shift (``oracle="no_shift"``) these are the same and none is changed.
    """

    @abstractmethod
    def transform(self, experience: int, seed: int) -> Transform:
        """Return what an experience after the first does to its images.

        Parameters
        ----------
        experience : int
            From 1.
        seed : int
            Seed of the run.
        """

    def segments(self, train_y: Indices, test_y: Indices, classes: int, seed: int) -> list[Segment]:
        """Return the experiences in order."""
        images = redraws(len(train_y), self.count(len(train_y)), derive_seed(seed, "stream", 0))
        every, segments = np.arange(len(test_y)), []
        for experience in range(self.experiences):
            index = next(images)
            change = self.transform(experience, seed) if self.shifts and experience else None
            segments.append(Segment(index, train_y[index], every, test_y, 0, tuple(range(classes)), change))
        return segments
