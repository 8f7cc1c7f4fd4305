"""Label flips: at every boundary some labels change while the images stay."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import AliasChoices, Field, StrictBool, model_validator

from tamcl.errors import InputError
from tamcl.seeding import derive_seed
from tamcl.streams.base import Indices, Segment, Stream
from tamcl.streams.fields import Fractions, in_turn, unfit
from tamcl.streams.flips import FLIPS
from tamcl.streams.samples import draws

Kind = Literal["cycle", "permutation", "derangement", "swap", "symmetric", "recurring"]
Concept = tuple[Indices, ...]


class LabelFlip(Stream):
    r"""A fraction of the labels changes at every boundary, the images stay: P(y|x) shifts.

    With ``unit="class"`` a random map :math:`\sigma_e` of ``round(fraction * classes)`` classes relabels all images of
    those classes, on top of the flips before it: :math:`\pi_e = \sigma_e \circ \pi_{e-1}`, :math:`\pi_0` the identity.
    Each experience takes the next ``samples`` images of the shuffled training set, which is shuffled again when fewer
    are left.

    With ``unit="example"`` every experience has the same ``samples`` images, and ``round(fraction * samples)`` of them,
    drawn anew at each boundary, get another label than they had. Such labels can only be memorised. The test images
    follow the same process, so accuracy on them falls to chance as flips accumulate; online accuracy is what to read.

    Parameters
    ----------
    fraction : float or list of float
        Share of classes or examples that a boundary is about, in [0, 1]. A list holds one for each boundary in turn
        and starts again when it is used up; what is too long is not used.
    unit : {"class", "example"}
        What is relabelled.
    kind : {"cycle", "permutation", "derangement", "swap", "symmetric", "recurring"}, optional
        For classes, of which all but "symmetric" need two at least:

        - "cycle" (if absent): a random cycle, so exactly that many classes change and none merge;
        - "permutation": any permutation of them, some of which may stay;
        - "derangement": any permutation of them that leaves none in place;
        - "swap": random pairs exchange their labels; an odd number of classes is rounded down to pairs;
        - "symmetric": each gets a label uniform over the others than its present one, so classes may merge, and part
          again later;
        - "recurring": one cycle, done and undone at every boundary: concepts A, B, A, B.

        For examples:

        - "symmetric" (if absent): each gets a label uniform over the others than its present one;
        - "permutation": the labels are shuffled among the chosen examples, some of which get the label they had;
        - "recurring": one symmetric flip, done and undone at every boundary.
    cumulative : bool
        Whether a flip is done on the labels before it or on those of the data set, so that flips do not add up. It
        means nothing for "recurring". A scenario may call it ``compose``.
    stable_classes : int
        With ``unit="class"``, how many classes keep their labels through the whole stream; which ones is drawn once.
        ``fraction`` is then of the others, and only they exchange labels.
    width : int
        Mini-batches over which a new concept comes in: in each experience after the first, an example still has the
        label of the concept before with a probability that falls evenly from 1 to 0 over the first
        ``width * batch_size`` examples. At 0 the shift is abrupt. The stream then draws the order of the examples, so
        it takes a single pass. The test labels are those of the new concept.

    Notes
    -----
    Assumption: the label-flip study of "Torque-Aware Momentum" names percentages of flipped labels but not, as far as
    could be found, how they are flipped. "permutation" at fraction 1 is the label permutation of UPGD; the example
    flip at fraction 1 is close to the random labels of L2 Init. The partial label permutation of FADE is "permutation"
    at fraction 1 with ``cumulative=False`` and, of the 47 classes of EMNIST, ``stable_classes=24``. FADE permutes
    before the first experience already, which is the same up to the names of the classes, and draws every example from
    all images, so that about 1 % of the 2,500 of an experience come twice.

    Without a shift (``oracle="no_shift"``) the images are the same and no label is flipped.

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
    Momentum", 2024, https://arxiv.org/abs/2412.18790. "Learning to Forget: Continual Learning with Adaptive Weight
    Decay" (FADE), 2026, https://arxiv.org/abs/2604.27063
    """

    later: ClassVar[frozenset[str]] = Stream.later | {"stable_classes"}

    name: Literal["label_flip"]
    fraction: Fractions
    unit: Literal["class", "example"] = "class"
    kind: Kind | None = None
    cumulative: StrictBool = Field(default=True, validation_alias=AliasChoices("cumulative", "compose"))
    stable_classes: Annotated[int, Field(strict=True, ge=0)] = 0
    width: Annotated[int, Field(strict=True, ge=0)] = 0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.unit, self._kind) not in FLIPS:
            known = ", ".join(f"'{kind}'" for unit, kind in FLIPS if unit == self.unit)
            raise unfit("kind", f"'{self.kind}' is no flip of examples, which may be one of {known}")
        if self._kind == "recurring" and isinstance(self.fraction, tuple):
            raise unfit("fraction", "must be one number for a recurring flip, of which only one is drawn")
        if self.stable_classes and self.unit == "example":
            raise unfit("stable_classes", "is for unit = 'class'")
        if self.width and self.epochs > 1:
            raise unfit("width", f"{self.width} needs epochs = 1: a second pass would see the concept before again")
        return self

    @property
    def _kind(self) -> str:
        return self.kind or ("cycle" if self.unit == "class" else "symmetric")

    def segments(self, train_y: Indices, test_y: Indices, classes: int, seed: int) -> list[Segment]:
        """Return the experiences in order."""
        images = draws(len(train_y), self._samples(len(train_y)), derive_seed(seed, "stream", 0))
        by_class, index, every = self.unit == "class", next(images), np.arange(len(test_y))
        rng, segments = np.random.default_rng(derive_seed(seed, "stream", 1)), []
        if by_class:
            flipping = np.random.default_rng(derive_seed(seed, "stream", 3)).permutation(classes)[self.stable_classes :]
            concepts = self._class_concepts(np.sort(flipping), classes, rng)
        else:
            concepts = self._concepts((train_y[index], test_y), classes, rng)
        for experience, concept in enumerate(concepts):
            if by_class and experience:
                index = next(images)
            before = concepts[max(0, experience - 1)]
            old, new = (each[0][train_y[index]] if by_class else each[0] for each in (before, concept))
            order, labels = self._come_in(old, new, derive_seed(seed, "stream", 2, experience))
            test = concept[0][test_y] if by_class else concept[1]
            segments.append(
                Segment(index[order], labels, every, test, 0, tuple(range(classes)), ordered=self.width > 0)
            )
        return segments

    def _samples(self, available: int) -> int:
        samples = self.count(available)
        batches = self.batches(samples)
        if self.width > batches:
            raise InputError(f"stream.width = {self.width}: an experience has {batches} mini-batches")
        return samples

    def _class_concepts(self, flipping: Indices, classes: int, rng: np.random.Generator) -> list[Concept]:
        """Return the label of every class in each experience, of which some classes flip among themselves."""
        concepts: list[Concept] = []
        for (flipped,) in self._concepts((np.arange(len(flipping)),), len(flipping), rng):
            concept = np.arange(classes)
            concept[flipping] = flipping[flipped]
            concepts.append((concept,))
        return concepts

    def _concepts(self, original: Concept, classes: int, rng: np.random.Generator) -> list[Concept]:
        """Return the labels of every experience, in as many arrays as the original ones are."""
        concepts, flip = [original], FLIPS[self.unit, self._kind]
        for boundary in range(self.experiences - 1):
            fraction = in_turn(self.fraction, boundary) if self.shifts else 0.0
            base = concepts[-1] if self.cumulative else original
            if self._kind == "recurring" and boundary:
                concepts.append(concepts[-2])
            elif fraction:
                counts = [self._flipped(fraction, len(labels), classes) for labels in base]
                concepts.append(tuple(flip(*each, classes, rng) for each in zip(base, counts, strict=True)))
            else:
                concepts.append(base)
        return concepts

    def _flipped(self, fraction: float, length: int, classes: int) -> int:
        """Return how many of ``length`` classes or examples a flip is about."""
        if classes < 2:
            setting = f"stable_classes = {self.stable_classes}" if self.stable_classes else f"fraction = {fraction}"
            kept = " besides these" if self.stable_classes else ""
            raise InputError(f"stream.{setting}: a flip needs 2 classes, the data set has {classes}{kept}")
        flipped = round(fraction * length)
        least = 1 if self._kind == "symmetric" else 2
        if self.unit == "class" and flipped < least:
            raise InputError(
                f"stream.fraction = {fraction}: of {classes} classes that is {flipped}; a flip needs 0 or at least "
                f"{least} {'class' if least == 1 else 'classes'} (fraction >= {least / classes:g})"
            )
        return flipped

    def _come_in(self, old: Indices, new: Indices, seed: int) -> tuple[Indices | slice, Indices]:
        """Return the order of the examples and their labels in it, the old ones giving way to the new."""
        if not self.width:
            return slice(None), new
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(new))
        share_of_old = 1 - np.arange(len(new)) / (self.width * self.batch_size)
        return order, np.where(rng.random(len(new)) < share_of_old, old[order], new[order])
