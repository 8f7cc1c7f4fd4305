"""Task shifts: each experience brings other classes."""

from __future__ import annotations

from typing import Literal

import numpy as np

from tamcl.errors import InputError
from tamcl.seeding import derive_seed
from tamcl.streams.base import Indices, Segment, Stream


class TaskShift(Stream):
    """The classes are split evenly over the experiences: P(x) and the set of labels shift.

    Labels keep their number in the data set, so one output layer serves every setting.

    Parameters
    ----------
    setting : {"task_incremental", "class_incremental"}
        Whether the model is told the task of an image, in training and in test, and so chooses among the classes of
        that task only (with ``model.head`` "masked" or "multi"), or has to choose among all classes.
    class_order : {"random", "fixed"}
        Order in which the classes come: drawn from the seed, or as they are numbered.

    Examples
    --------
    >>> stream = TaskShift(name="task_shift", dataset="toy", experiences=2, setting="task_incremental",
    ...                    class_order="fixed")
    >>> labels = np.array([0, 1, 2, 3, 0, 1, 2, 3])
    >>> for segment in stream.segments(labels, labels, classes=4, seed=0):
    ...     print(segment.task, segment.classes, segment.train_index, segment.train_labels)
    0 (0, 1) [0 1 4 5] [0 1 0 1]
    1 (2, 3) [2 3 6 7] [2 3 2 3]

    References
    ----------
    G. M. van de Ven, T. Tuytelaars, A. S. Tolias, "Three types of incremental learning", Nature Machine Intelligence,
    2022, https://doi.org/10.1038/s42256-022-00568-3
    """

    name: Literal["task_shift"]
    setting: Literal["task_incremental", "class_incremental"]
    class_order: Literal["random", "fixed"] = "random"

    @property
    def tells_task(self) -> bool:
        """Whether the model is told which task an image belongs to."""
        return self.setting == "task_incremental"

    def segments(self, train_y: Indices, test_y: Indices, classes: int, seed: int) -> list[Segment]:
        """Return the experiences in order."""
        if classes % self.experiences:
            raise InputError(f"stream.experiences = {self.experiences}: does not divide the {classes} classes evenly")
        rng = np.random.default_rng(derive_seed(seed, "stream"))
        order = rng.permutation(classes) if self.class_order == "random" else np.arange(classes)
        return [
            self._segment(task, np.sort(group), train_y, test_y, classes, rng)
            for task, group in enumerate(np.split(order, self.experiences))
        ]

    def _segment(
        self, task: int, group: Indices, train_y: Indices, test_y: Indices, classes: int, rng: np.random.Generator
    ) -> Segment:
        train = np.flatnonzero(np.isin(train_y, group))
        test = np.flatnonzero(np.isin(test_y, group))
        if self.samples is not None:
            if self.samples > len(train):
                raise InputError(f"stream.samples = {self.samples}: classes {group} have {len(train)} training images")
            train = np.sort(rng.permutation(train)[: self.samples])
        told = tuple(int(label) for label in group) if self.tells_task else tuple(range(classes))
        return Segment(train, train_y[train], test, test_y[test], task if self.tells_task else 0, told)
