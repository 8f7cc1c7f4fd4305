"""Random labels: the same images in every experience, all labels drawn anew."""

from __future__ import annotations

from typing import Literal

import numpy as np

from tamcl.seeding import derive_seed
from tamcl.streams.base import Indices, Segment, Stream
from tamcl.streams.samples import draws


class RandomLabels(Stream):
    """The same images in every experience, with labels that are drawn anew, uniform over the classes: P(y|x) shifts.

    The labels say nothing about the images and can only be memorised. The protocol of L2 Init is ``samples=1200``,
    ``epochs=400``, ``batch_size=16`` and 50 experiences. The test images get random labels too, on which no model is
    better than chance; online accuracy is what to read.

    Notes
    -----
    Assumption: every label is drawn independently of the others. The released code shuffles the images' own labels
    among them, so that each class keeps its number of images.

    Without a shift (``oracle="no_shift"``) the labels of the first experience stay.

    Examples
    --------
    >>> stream = RandomLabels(name="random_labels", dataset="toy", experiences=3, samples=4)
    >>> labels = np.array([0, 1, 2, 0, 1, 2])
    >>> for segment in stream.segments(labels, labels, classes=3, seed=0):
    ...     print(segment.train_index, segment.train_labels)
    [1 3 4 5] [1 2 1 2]
    [1 3 4 5] [2 0 1 2]
    [1 3 4 5] [1 2 0 1]

    References
    ----------
    S. Kumar, H. Marklund, B. Van Roy, "Maintaining Plasticity in Continual Learning via Regenerative Regularization",
    2023, https://arxiv.org/abs/2308.11958. C. Lyle et al., "Understanding Plasticity in Neural Networks", 2023,
    https://arxiv.org/abs/2303.01486
    """

    name: Literal["random_labels"]

    def segments(self, train_y: Indices, test_y: Indices, classes: int, seed: int) -> list[Segment]:
        """Return the experiences in order."""
        index = next(draws(len(train_y), self.count(len(train_y)), derive_seed(seed, "stream", 0)))
        rng = np.random.default_rng(derive_seed(seed, "stream", 1))
        every, segments = np.arange(len(test_y)), list[Segment]()
        for experience in range(self.experiences):
            if self.shifts or not experience:
                train, test = rng.integers(classes, size=len(index)), rng.integers(classes, size=len(test_y))
            segments.append(Segment(index, train, every, test, 0, tuple(range(classes))))
        return segments
