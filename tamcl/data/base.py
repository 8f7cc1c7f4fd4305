"""What every data set is once loaded, and where its files are looked for."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path


@dataclass(frozen=True)
class DataSet:
    """Images and labels in memory.

    Attributes
    ----------
    name : str
    train_x, test_x : array of uint8, (n, channels, height, width)
    train_y, test_y : array of int64, (n,)
        Class of each image, 0 to ``classes - 1``.
    classes : int
    official : tuple of int
        Published numbers of training and test images; a subset has fewer.
    """

    name: str
    train_x: NDArray[np.uint8]
    train_y: NDArray[np.int64]
    test_x: NDArray[np.uint8]
    test_y: NDArray[np.int64]
    classes: int
    official: tuple[int, int]

    @cached_property
    def checksum(self) -> str:
        """Digest of all pixels and labels: two runs used the same data if it is the same."""
        digest = blake2b(digest_size=16)
        for array in (self.train_x, self.train_y, self.test_x, self.test_y):
            digest.update(repr(array.shape).encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    @cached_property
    def mean_std(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and standard deviation of each channel over the training images, (channels,), in units of 0 to 255."""
        pixels = self.train_x.transpose(1, 0, 2, 3).reshape(self.train_x.shape[1], -1)
        # Counts of the 256 values give both moments exactly without a float copy of all the images.
        counts = np.stack([np.bincount(channel, minlength=256) for channel in pixels]) / pixels.shape[1]
        values = np.arange(256)
        mean = counts @ values
        return mean.astype(np.float32), np.sqrt(counts @ values**2 - mean**2).astype(np.float32)

    def describe(self) -> dict[str, Any]:
        """Return what a result has to record about its data."""
        counts = {"train": len(self.train_y), "test": len(self.test_y), "classes": self.classes}
        return {"name": self.name, **counts, "official": list(self.official), "checksum": self.checksum}


class Source(ABC):
    """Where a data set comes from. Its docstring's first sentence says what the images are."""

    classes: ClassVar[int]
    official: ClassVar[tuple[int, int]]

    @abstractmethod
    def check(self, root: Path) -> None:
        """Raise an ``InputError`` naming the first file that is not below ``root`` and how to get it."""

    @abstractmethod
    def load(self, root: Path) -> DataSet:
        """Read the images below ``root``."""

    @abstractmethod
    def fetch(self, root: Path) -> None:
        """Download the files to ``root``."""


def data_root(data_dir: str | Path | None = None) -> Path:
    """Return the folder to look for data in: the one given, else ``$TAMCL_DATA_DIR``, else the user's cache folder."""
    given = data_dir or os.environ.get("TAMCL_DATA_DIR")
    return Path(given).expanduser() if given else user_cache_path("tamcl") / "data"
