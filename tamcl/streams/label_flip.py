"""Label flips: at every boundary some labels change while the images stay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from tamcl.errors import InputError
from tamcl.seeding import derive_seed
from tamcl.streams.base import Indices, Segment, Stream


class LabelFlip(Stream):
    r"""A fraction of the labels changes at every boundary, the images stay: P(y|x) shifts.

    With ``unit="class"`` a random cycle :math:`\sigma_e` through ``round(fraction * classes)`` classes relabels all
    images of those classes, on top of the flips before it: :math:`\pi_e = \sigma_e \circ \pi_{e-1}`, :math:`\pi_0` the
    identity. Exactly that many classes change and none merge. Each experience takes the next ``samples`` images of the
    shuffled training set, which is shuffled again when fewer are left.

    With ``unit="example"`` every experience has the same ``samples`` images, and ``round(fraction * samples)`` of them,
    drawn anew at each boundary, get another label than they had, uniform over the other classes. Such labels can only
    be memorised. The test images follow the same process, so accuracy on them falls to chance as flips accumulate;
    online accuracy is what to read.

    Parameters
    ----------
    fraction : float
        Share of classes or examples that change at each boundary, in [0, 1]. A cycle needs two classes at least.
    unit : {"class", "example"}
        What is relabelled.

    Notes
    -----
    Assumption: the label-flip study of "Torque-Aware Momentum" names percentages of flipped labels but not, as far as
    could be found, how they are flipped. At fraction 1 the class flip is close to the composed class permutations of
    UPGD (which may leave a class in place); the example flip is close to the random labels of L2 Init.

    Examples
    --------
    >>> stream = LabelFlip(name="label_flip", dataset="toy", experiences=3, fraction=1, samples=4)
    >>> labels = np.array([0, 1, 2, 0, 1, 2])
    >>> for segment in stream.segments(labels, labels, classes=3, seed=0):
    ...     print(segment.train_index, segment.test_labels)
    [1 3 4 5] [0 1 2 0 1 2]
    [0 1 3 4] [2 0 1 2 0 1]
    [0 1 4 5] [1 2 0 1 2 0]

    References
    ----------
    M. Elsayed, A. R. Mahmood, "Addressing Loss of Plasticity and Catastrophic Forgetting in Continual Learning", 2024,
    https://arxiv.org/abs/2404.00781. S. Kumar, H. Marklund, B. Van Roy, "Maintaining Plasticity in Continual Learning
    via Regenerative Regularization", 2023, https://arxiv.org/abs/2308.11958. P. Malviya et al., "Torque-Aware
    Momentum", 2024, https://arxiv.org/abs/2412.18790
    """

    name: Literal["label_flip"]
    fraction: Annotated[float, Field(strict=True, ge=0, le=1)]
    unit: Literal["class", "example"] = "class"

    def segments(self, train_y: Indices, test_y: Indices, classes: int, seed: int) -> list[Segment]:
        """Return the experiences in order."""
        samples = self.samples or len(train_y)
        if samples > len(train_y):
            raise InputError(f"stream.samples = {samples}: the training set has {len(train_y)} images")
        flips = self._class_flips if self.unit == "class" else self._example_flips
        return list(flips(train_y, test_y, classes, samples, seed))

    def _class_flips(
        self, train_y: Indices, test_y: Indices, classes: int, samples: int, seed: int
    ) -> Iterator[Segment]:
        flipped = round(self.fraction * classes)
        if flipped < 2 and self.fraction > 0:
            raise InputError(
                f"stream.fraction = {self.fraction}: of {classes} classes that is {flipped}; "
                f"a flip needs 0 or at least 2 classes (fraction >= {2 / classes:g})"
            )
        images = _draws(len(train_y), samples, derive_seed(seed, "stream", 0))
        rng = np.random.default_rng(derive_seed(seed, "stream", 1))
        concept = np.arange(classes)
        for experience in range(self.experiences):
            if experience and flipped:
                cycle = rng.permutation(classes)[:flipped]
                sigma = np.arange(classes)
                sigma[cycle] = np.roll(cycle, 1)
                concept = sigma[concept]
            index = next(images)
            every = np.arange(len(test_y))
            yield Segment(index, concept[train_y[index]], every, concept[test_y], 0, tuple(range(classes)))

    def _example_flips(
        self, train_y: Indices, test_y: Indices, classes: int, samples: int, seed: int
    ) -> Iterator[Segment]:
        index = next(_draws(len(train_y), samples, derive_seed(seed, "stream", 0)))
        rng = np.random.default_rng(derive_seed(seed, "stream", 1))
        train_labels, test_labels = train_y[index], test_y
        for experience in range(self.experiences):
            if experience:
                train_labels = _relabel(train_labels, self.fraction, classes, rng)
                test_labels = _relabel(test_labels, self.fraction, classes, rng)
            yield Segment(index, train_labels, np.arange(len(test_y)), test_labels, 0, tuple(range(classes)))


def _draws(length: int, samples: int, seed: int) -> Iterator[Indices]:
    """Yield ``samples`` numbers below ``length``, none twice; none comes again before the others are nearly used up."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(length)
        for start in range(0, length - samples + 1, samples):
            yield np.sort(order[start : start + samples])


def _relabel(labels: Indices, fraction: float, classes: int, rng: np.random.Generator) -> Indices:
    """Give ``round(fraction * n)`` labels another value, uniform over the other classes."""
    chosen = rng.permutation(len(labels))[: round(fraction * len(labels))]
    flipped = labels.copy()
    flipped[chosen] = (labels[chosen] + rng.integers(1, classes, len(chosen))) % classes
    return flipped
