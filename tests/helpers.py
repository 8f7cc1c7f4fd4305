"""Small data for tests, and short ways to build things."""

from __future__ import annotations

import numpy as np

from tamcl.data import DataSet
from tamcl.streams import Segment


def noise_data(samples: int = 100, shape: tuple[int, int, int] = (1, 4, 4), classes: int = 10) -> DataSet:
    """Noise images with labels in turn; half as many test images."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (samples + samples // 2, *shape), dtype=np.uint8)
    labels = np.arange(len(images)) % classes
    train, test = slice(0, samples), slice(samples, None)
    return DataSet("noise", images[train], labels[train], images[test], labels[test], classes, (samples, samples // 2))


def noise_segments(data: DataSet, experiences: int = 2) -> list[Segment]:
    """All images in every experience."""
    train, test = np.arange(len(data.train_y)), np.arange(len(data.test_y))
    classes = tuple(range(data.classes))
    return [Segment(train, data.train_y, test, data.test_y, 0, classes) for _ in range(experiences)]
