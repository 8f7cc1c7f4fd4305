"""An Avalanche benchmark of one's own, read into arrays: the data of all experiences, and which are whose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tamcl.data.arrays import as_inputs
from tamcl.data.base import DataSet, Labels, Numbers, Pixels
from tamcl.errors import InputError


class Rows(NamedTuple):
    """Where the examples of an experience stand in the arrays of all, and their task label."""

    places: NDArray[np.int64]
    task: int


class Read(NamedTuple):
    """A benchmark that was read."""

    data: DataSet
    train: list[Rows]
    test: list[Rows]


def read_benchmark(benchmark: Any, name: str) -> Read:
    """Return the data of a benchmark as its datasets' transforms give them, those of tests by the transforms for tests.

    Parameters
    ----------
    benchmark : avalanche.benchmarks.CLScenario
        Its ``test_stream`` has an experience for each of the ``train_stream``, or one for all.
    name : str
        What results call it.

    Raises
    ------
    InputError
        If inputs are no arrays of one shape, targets are no classes, or an experience is of several tasks.
    """
    streams = benchmark.train_stream, benchmark.test_stream
    if len(streams[1]) not in (1, len(streams[0])):
        raise InputError(
            f"benchmark '{name}': has {len(streams[0])} experiences to train on and {len(streams[1])} to test; must be "
            "as many, or one test for all"
        )
    train_x, train_y, train = _read((each.dataset.train() for each in streams[0]), f"benchmark '{name}': train_stream")
    test_x, test_y, test = _read((each.dataset.eval() for each in streams[1]), f"benchmark '{name}': test_stream")
    classes = int(max(train_y.max(), test_y.max())) + 1
    counts = len(train_y), len(test_y)
    # a class that has no example is a number that the benchmark leaves out, which changes no result
    present = set(train_y.tolist()) & set(test_y.tolist())
    absent = [label for label in range(classes) if label not in present]
    differences = (f"has no training or no test examples of the classes {absent}",) if absent else ()
    data = DataSet(name, train_x, train_y, test_x, test_y, classes, counts, differences=differences)
    return Read(data, train, test * (len(train) if len(test) == 1 else 1))


def _read(datasets: Iterable[Any], where: str) -> tuple[Pixels | Numbers, Labels, list[Rows]]:
    inputs: list[NDArray[Any]] = []
    labels: list[int] = []
    rows: list[Rows] = []
    for experience, dataset in enumerate(datasets):
        start, tasks = len(labels), set()
        for x, y, *more in dataset:
            inputs.append(_as_array(x))
            labels.append(_as_class(y, f"{where}[{experience}]"))
            tasks.add(int(more[-1]) if more else 0)
        if len(tasks) != 1:
            what = f"is of the tasks {sorted(tasks)}; must be of one" if tasks else "has no examples"
            raise InputError(f"{where}[{experience}] {what}")
        rows.append(Rows(np.arange(start, len(labels)), tasks.pop()))
    if len(shapes := {each.shape for each in inputs}) != 1:
        some = ", ".join(map(str, sorted(shapes)[:3]))
        raise InputError(f"{where}: gives inputs of {len(shapes)} shapes, {some}; must be of one")
    return as_inputs(np.stack(inputs), where), np.array(labels, dtype=np.int64), rows


def _as_array(x: Any) -> NDArray[Any]:
    """Return an input as an array, an image of Pillow with its channels first."""
    array = np.asarray(x)
    return array.transpose(2, 0, 1) if hasattr(x, "convert") and array.ndim == 3 else array


def _as_class(y: Any, where: str) -> int:
    label = np.asarray(y)
    if label.ndim or label.dtype.kind not in "iu" or label < 0:
        raise InputError(f"{where}: has the target {y!r}; must be the number of a class, 0 or more")
    return int(label)


def tasks_of(rows: Sequence[Rows]) -> list[int]:
    """Return the task labels that occur, sorted."""
    return sorted({each.task for each in rows})
