"""Permuted labels: a new naming of the classes in every experience."""

from __future__ import annotations

from typing import Literal

import numpy as np

from tamcl.seeding import derive_seed
from tamcl.streams.base import Indices, Segment, Stream
from tamcl.streams.samples import redraws


class LabelPermuted(Stream):
    r"""All classes are permuted at every boundary, on top of the permutations before; the images stay: P(y|x) shifts.

    :math:`\pi_e = \sigma_e \circ \pi_{e-1}` with :math:`\sigma_e` any permutation of the classes, so that one class in
    expectation stays. Each experience has ``samples`` images drawn anew from the whole training set, none twice. The
    protocol of UPGD is ``samples=2500``, ``batch_size=1`` and 400 experiences.

    Notes
    -----
    The first experience has the labels of the data set. The released code permutes before it already, which is the
    same up to the names of the classes.

    Without a shift (``oracle="no_shift"``) the images are the same and the labels are those of the data set.

    Examples
    --------
    >>> stream = LabelPermuted(name="label_permuted", dataset="toy", experiences=3, samples=2)
    >>> labels = np.array([0, 1, 2, 3])
    >>> for segment in stream.segments(labels, labels, classes=4, seed=0):
    ...     print(segment.train_index, segment.train_labels, segment.test_labels)
    [1 3] [1 3] [0 1 2 3]
    [0 2] [1 0] [1 2 0 3]
    [0 2] [3 1] [3 2 1 0]

    References
    ----------
    M. Elsayed, A. R. Mahmood, "Addressing Loss of Plasticity and Catastrophic Forgetting in Continual Learning", 2024,
    https://arxiv.org/abs/2404.00781
    """

    name: Literal["label_permuted"]

    def segments(self, train_y: Indices, test_y: Indices, classes: int, seed: int) -> list[Segment]:
        """Return the experiences in order."""
        images = redraws(len(train_y), self.count(len(train_y)), derive_seed(seed, "stream", 0))
        rng = np.random.default_rng(derive_seed(seed, "stream", 1))
        concept, every, segments = np.arange(classes), np.arange(len(test_y)), []
        for experience in range(self.experiences):
            if experience and self.shifts:
                concept = rng.permutation(classes)[concept]
            index = next(images)
            segments.append(Segment(index, concept[train_y[index]], every, concept[test_y], 0, tuple(range(classes))))
        return segments
