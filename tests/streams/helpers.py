"""Data whose images tell their number, and what a strategy sees of a stream."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tamcl.data import DataSet
from tamcl.strategies.loader import BatchLoader
from tamcl.streams import STREAMS, Stream
from tamcl.streams.benchmark import build_benchmark

LABELS = np.arange(200, dtype=np.int64) % 10


def stream(name: str, **settings: Any) -> Stream:
    """A stream as a scenario file would make it."""
    module, _, cls = STREAMS[name].partition(":")
    made = getattr(__import__(module, fromlist=[cls]), cls)
    return made.model_validate({"name": name, "dataset": "any", "experiences": 4, **settings})


def numbered(labels: NDArray[np.int64] = LABELS, classes: int = 10) -> DataSet:
    """Image i, training and test, is the number i in two pixels."""
    numbers = np.arange(len(labels))
    pixels = np.stack([numbers // 256, numbers % 256], 1).astype(np.uint8).reshape(-1, 1, 1, 2)
    return DataSet("numbered", pixels, labels, pixels, labels, classes, (len(labels), len(labels)))


class Seen(NamedTuple):
    """What came in the mini-batches of one experience, in turn."""

    index: NDArray[np.int64]
    labels: NDArray[np.int64]
    tasks: NDArray[np.int64]
    sizes: list[int]


def seen(of: Stream, seed: int = 0, data: DataSet | None = None) -> list[Seen]:
    """Read images and labels back from the mini-batches that a strategy would get."""
    data = data or numbered()
    segments = of.segments(data.train_y, data.test_y, data.classes, seed)
    found = []
    for position, experience in enumerate(build_benchmark(data, segments, "none").train_stream):
        loader = BatchLoader(experience, of.batch_size, seed, position, torch.device("cpu"))
        batches = [batch for _ in range(of.epochs) for batch in loader]
        pixels, labels, tasks = (torch.cat(part) for part in zip(*batches, strict=True))
        numbers = (pixels.flatten(1) * 255).round().long() @ torch.tensor([256, 1])
        found.append(Seen(numbers.numpy(), labels.numpy(), tasks.numpy(), [len(y) for _, y, _ in batches]))
    return found


def concept(experience: Seen, labels: NDArray[np.int64] = LABELS) -> dict[int, int]:
    """From a class of the data set to the label that its images had; fails if they had several."""
    pairs = set(zip(labels[experience.index].tolist(), experience.labels.tolist(), strict=True))
    mapping = dict(pairs)
    assert len(mapping) == len(pairs), "images of one class had different labels"
    return mapping
