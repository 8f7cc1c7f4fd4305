"""Task shifts: at every boundary other classes come."""

from __future__ import annotations

from typing import Literal

import numpy as np

from tamcl.seeding import derive_seed
from tamcl.streams.base import Indices, Segment, Stream
from tamcl.streams.fields import Order
from tamcl.streams.samples import arrange, deal, groups, members_of_each


class TaskShift(Stream):
    """The classes are split evenly over the experiences: P(x) and the set of labels shift.

    The 5-dataset sequence is the data set "five_datasets" in 5 experiences with ``class_order="fixed"``: each then has
    the ten classes of one data set. TinyImageNet in 40 tasks of 5 classes, or 10 of 20, is 40 or 10 experiences.

    Parameters
    ----------
    setting : {"task_incremental", "class_incremental", "domain_incremental"}
        What the model has to tell apart: the classes of one task, which it is told in training and in test (with
        ``model.head`` "masked" or "multi"); all classes, without being told; or, without being told, an image's place
        within its task, the same few labels in every task. In the first two labels keep their number in the data set,
        so one output layer serves both.
    class_order : {"random", "fixed"} or list of int
        Order in which the classes come: drawn from the seed, as they are numbered, or as given.
    task_order : {"fixed", "random"} or list of int
        Order in which the groups of classes come, once they are formed. GPM's order of the 5-dataset sequence is
        ``[0, 1, 2, 4, 3]``.

    Notes
    -----
    Without a shift (``oracle="no_shift"``) the training and test images of all tasks are dealt out evenly, as many to
    an experience as it has otherwise. No experience belongs to a task then, so a task-incremental model chooses among
    all classes, which is harder.

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
    2022, https://doi.org/10.1038/s42256-022-00568-3. P. Malviya, B. Ravindran, S. Chandar, "TAG: Task-based
    Accumulated Gradients for Lifelong learning", 2021, https://arxiv.org/abs/2105.05155. G. Saha, I. Garg, K. Roy,
    "Gradient Projection Memory for Continual Learning", 2021, https://arxiv.org/abs/2103.09762
    """

    name: Literal["task_shift"]
    setting: Literal["task_incremental", "class_incremental", "domain_incremental"]
    class_order: Order = "random"
    task_order: Order = "fixed"

    @property
    def tells_task(self) -> bool:
        """Whether the model is told which task an image belongs to."""
        return self.setting == "task_incremental"

    def segments(self, train_y: Indices, test_y: Indices, classes: int, seed: int) -> list[Segment]:
        """Return the experiences in order."""
        rng = np.random.default_rng(derive_seed(seed, "stream"))
        formed = groups(self.class_order, classes, self.experiences, rng)
        ordering = np.random.default_rng(derive_seed(seed, "stream", 1))
        tasks = [formed[task] for task in arrange(self.task_order, self.experiences, "task_order", "tasks", ordering)]
        train = members_of_each(tasks, train_y, self.samples, "training", rng)
        test = members_of_each(tasks, test_y, None, "test", rng)
        if not self.shifts:
            dealing = np.random.default_rng(derive_seed(seed, "stream", 2))
            train, test = deal(train, train_y, dealing), deal(test, test_y, dealing)
        label = self._labels(tasks, classes)
        return [
            Segment(rows, label[train_y[rows]], test_rows, label[test_y[test_rows]], *self._told(task, tasks))
            for task, (rows, test_rows) in enumerate(zip(train, test, strict=True))
        ]

    def _labels(self, tasks: list[Indices], classes: int) -> Indices:
        """Return the label of each class of the data set."""
        label = np.arange(classes)
        if self.setting == "domain_incremental":
            for group in tasks:
                label[group] = np.arange(len(group))
        return label

    def _told(self, task: int, tasks: list[Indices]) -> tuple[int, tuple[int, ...]]:
        """Return the task label and the classes to choose from."""
        if self.setting == "domain_incremental":
            return 0, tuple(range(len(tasks[0])))
        if self.setting == "task_incremental" and self.shifts:
            return task, tuple(sorted(tasks[task].tolist()))
        return 0, tuple(range(sum(map(len, tasks))))
