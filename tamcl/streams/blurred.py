"""Blurred boundaries: other classes come, but little by little."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, Self

import numpy as np
from pydantic import model_validator

from tamcl.seeding import derive_seed
from tamcl.streams.base import Indices, Segment, Stream
from tamcl.streams.fields import Fraction, Order, unfit
from tamcl.streams.samples import deal, groups, members_of_each


class Blurred(Stream):
    """Class groups one after the other, each mixed with the next around the boundary, in one pass and task-free.

    The classes are split evenly over the experiences as in ``TaskShift``. The last ``width / 2`` of an experience's
    examples and the first ``width / 2`` of the next one's are mixed: over this stretch the probability that an example
    is of the next group rises evenly from 0 to 1. No example is lost or doubled, and each experience is as long as its
    group. The model is not told the task and chooses among all classes. The stream draws the order of the examples.

    Parameters
    ----------
    class_order : {"random", "fixed"} or list of int
        Order in which the classes come: drawn from the seed, as they are numbered, or as given.
    width : float
        Share of an experience that is mixed, in [0, 1]: at 0 the boundaries are sharp, at 1 only the middle of an
        experience, and both ends of the stream, are of one group.

    Notes
    -----
    The test set of an experience has the classes of its group alone. Without a shift (``oracle="no_shift"``) the images
    of all groups are dealt out evenly, as many to an experience as it has otherwise.

    Assumption: of the ways in which boundaries have been blurred, this one keeps the number of examples of every class
    and needs one parameter. That task-free learning is an online stream whose distribution changes gradually follows
    Aljundi et al.

    Examples
    --------
    >>> stream = Blurred(name="blurred", dataset="toy", experiences=3, width=0.5, class_order="fixed")
    >>> labels = np.arange(3).repeat(12)
    >>> for segment in stream.segments(labels, labels, classes=3, seed=0):
    ...     print(segment.train_labels)
    [0 0 0 0 0 0 0 0 0 0 0 1]
    [1 1 0 1 1 1 1 1 1 1 1 2]
    [1 2 2 2 2 2 2 2 2 2 2 2]

    References
    ----------
    R. Aljundi, K. Kelchtermans, T. Tuytelaars, "Task-Free Continual Learning", 2018, https://arxiv.org/abs/1812.03596
    """

    name: Literal["blurred"]
    class_order: Order = "random"
    width: Fraction = 0.5

    @model_validator(mode="after")
    def _single_pass(self) -> Self:
        if self.epochs > 1:
            raise unfit("epochs", f"{self.epochs} is not possible: the examples come in one order, once")
        return self

    def segments(self, train_y: Indices, test_y: Indices, classes: int, seed: int) -> list[Segment]:
        """Return the experiences in order."""
        rng = np.random.default_rng(derive_seed(seed, "stream"))
        tasks = groups(self.class_order, classes, self.experiences, rng)
        train = members_of_each(tasks, train_y, self.samples, "training", rng)
        test = members_of_each(tasks, test_y, None, "test", rng)
        if not self.shifts:
            train, test = deal(train, train_y, rng), deal(test, test_y, rng)
        shown = [rng.permutation(rows) for rows in train]
        if self.shifts:
            for before, after in pairwise(shown):
                self._mix(before, after, rng)
        return [
            Segment(rows, train_y[rows], test_rows, test_y[test_rows], 0, tuple(range(classes)), ordered=True)
            for rows, test_rows in zip(shown, test, strict=True)
        ]

    def _mix(self, before: Indices, after: Indices, rng: np.random.Generator) -> None:
        """Mix the end of one experience with the start of the next, in place."""
        old, new = int(self.width * len(before) / 2), int(self.width * len(after) / 2)
        end, start = before[len(before) - old :], after[:new]
        # Places in the stretch with densities 2(1 - u) and 2u: together even, and the share of new ones grows as u.
        place = np.concatenate([1 - np.sqrt(rng.random(old)), np.sqrt(rng.random(new))])
        mixed = np.concatenate([end, start])[np.argsort(place)]
        before[len(before) - old :], after[:new] = mixed[:old], mixed[old:]
