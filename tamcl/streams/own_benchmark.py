"""An Avalanche benchmark of one's own as a stream."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from pydantic import model_validator

from tamcl.data.benchmark import Read, read_benchmark, tasks_of
from tamcl.errors import InputError, reason
from tamcl.registry import lookup
from tamcl.streams.base import Indices, Normalization, Segment, Stream


class OwnBenchmark(Stream):
    """The experiences of a benchmark that a function of one's own returns, the first of them where fewer are asked for.

    Parameters
    ----------
    name : str
        ``package.module:function``, which takes no argument and says that it returns an
        ``avalanche.benchmarks.CLScenario``.
    task_labels : bool, optional
        Whether the model is told the task label of each experience, as the heads "masked" and "multi" need. It has to
        be said of a benchmark that has several.
    """

    normalization: Normalization = "none"
    task_labels: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_itself(cls, values: Any) -> Any:
        """The data are the benchmark's own."""
        if isinstance(values, dict) and values.get("dataset", values.get("name")) != values.get("name"):
            raise ValueError("stream.dataset: a benchmark of one's own has its data; leave it out")
        return {"dataset": values["name"], **values} if isinstance(values, dict) and "name" in values else values

    @property
    def tells_task(self) -> bool:
        """Whether the model is told the task label."""
        return bool(self.task_labels)

    def segments(self, train_y: Indices, test_y: Indices, classes: int, seed: int) -> list[Segment]:
        """Return the experiences in order; they are the same for all seeds."""
        if self.samples is not None:
            raise InputError(f"stream.samples = {self.samples}: the benchmark says how many examples there are")
        if self.oracle == "no_shift":
            raise InputError("stream.oracle = 'no_shift': nothing says what the benchmark would be without a shift")
        read = _read(self.name)
        if self.experiences > len(read.train):
            raise InputError(f"stream.experiences = {self.experiences}: the benchmark has {len(read.train)}")
        tasks = tasks_of(read.train)
        if self.task_labels is None and len(tasks) > 1:
            raise InputError(
                f"stream.name = '{self.name}': has the task labels {tasks}; say whether the model is told them, by "
                "stream.task_labels = true, with model.head = 'masked' or 'multi', or by false"
            )
        found = []
        for train, test in list(zip(read.train, read.test, strict=True))[: self.experiences]:
            task = train.task if self.task_labels else 0
            same = [each.places for each in read.train if each.task == train.task]
            own = np.unique(train_y[np.concatenate(same)]) if self.task_labels else np.arange(classes)
            labels = test_y[test.places]
            if self.task_labels and (test.task != train.task or not np.isin(labels, own).all()):
                raise InputError(f"stream.name = '{self.name}': a test has another task or other classes than training")
            found.append(
                Segment(
                    train.places, train_y[train.places], test.places, labels, task, tuple(int(each) for each in own)
                )
            )
        return found


@cache
def _read(name: str) -> Read:
    from tamcl.streams import STREAMS

    try:
        return read_benchmark(lookup(STREAMS, name)(), name)
    except InputError:
        raise
    except Exception as error:  # somebody's function may raise anything
        raise InputError(f"stream.name = '{name}': cannot be made: {reason(error)}") from error
