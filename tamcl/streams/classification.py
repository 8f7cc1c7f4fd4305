"""Image classification: one experience, as long as is asked for, and images held out to validate on."""

from __future__ import annotations

from typing import Literal

import numpy as np

from tamcl.errors import InputError
from tamcl.seeding import derive_seed
from tamcl.streams.base import Count, Indices, Segment, Stream


class Classification(Stream):
    """Nothing shifts: a data set is trained on for some epochs, with some of its training images held out.

    Use it to ask what an optimizer does where nothing shifts, beside its streams that do. Runs that choose learning
    rates are tested on the images held out, and so are all tests inside the experience
    (``evaluation = { every = "epoch" }``); the test images are for the reported runs, before training and after it.

    Parameters
    ----------
    validation : int
        Training images that are held out, drawn from the seed.
    samples : int, optional
        Training images, without those held out; all the others if absent.
    experiences : 1
        One alone, in which nothing shifts.

    Notes
    -----
    Images held out are never augmented. The moments of ``normalization = "channel"`` are those of all training images
    of the data set, as in every stream.

    Examples
    --------
    >>> stream = Classification(name="classification", dataset="toy", validation=2)
    >>> labels = np.array([0, 1, 0, 1, 0, 1])
    >>> (segment,) = stream.segments(labels, labels, classes=2, seed=0)
    >>> print(segment.train_index, segment.validation_index, segment.validation_labels)
    [0 1 2 5] [3 4] [1 0]
    """

    name: Literal["classification"]
    experiences: Literal[1] = 1
    validation: Count

    def segments(self, train_y: Indices, test_y: Indices, classes: int, seed: int) -> list[Segment]:
        """Return the one experience."""
        held_out = self.validation
        if held_out + (self.samples or 1) > len(train_y):
            asked = f"{held_out} and stream.samples = {self.samples}" if self.samples else str(held_out)
            raise InputError(f"stream.validation = {asked}: the training set has {len(train_y)} images")
        order = np.random.default_rng(derive_seed(seed, "stream")).permutation(len(train_y))
        validation, others = np.sort(order[:held_out]), order[held_out:]
        train, test = np.sort(others[: self.samples]), np.arange(len(test_y))
        return [
            Segment(
                train,
                train_y[train],
                test,
                test_y,
                task=0,
                classes=tuple(range(classes)),
                validation_index=validation,
                validation_labels=train_y[validation],
            )
        ]
