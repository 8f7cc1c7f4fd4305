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

from tamcl.errors import InputError
from tamcl.files.paths import user_path

Pixels = NDArray[np.uint8]
Numbers = NDArray[np.float32]
Tokens = NDArray[np.int32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class DataSet:
    """Images and labels, in memory or mapped into it from a file (written to, a page is copied: no file changes).

    Or images or rows of numbers, float32. Or text, which has a vocabulary: a row of tokens, of which the domains are
    the classes.

    Attributes
    ----------
    name : str
    train_x, test_x : array of uint8 or float32, (n, channels, height, width), or float32, (n, columns), or int32, (n,)
        Of text, the last, the place of each token in the vocabulary, in the order of the text; the test is its
        validation text.
    train_y, test_y : array of int64, (n,)
        Class of each image, 0 to ``classes - 1``. Of text, the domain of each token; a domain is in one piece.
    classes : int
    official : tuple of int
        Published numbers of training and test images, or of tokens; a subset has fewer.
    skipped : int
        Files that are no readable image and were left out, as some of notMNIST's are.
    differences : tuple of str
        In what the files are not the published ones; empty if they are.
    vocabulary : tuple of str
        What a token can be, which is what is predicted; empty where there are images.
    """

    name: str
    train_x: Pixels | Numbers | Tokens
    train_y: Labels
    test_x: Pixels | Numbers | Tokens
    test_y: Labels
    classes: int
    official: tuple[int, int]
    skipped: int = 0
    differences: tuple[str, ...] = ()
    vocabulary: tuple[str, ...] = ()

    @property
    def is_text(self) -> bool:
        """Whether there are tokens rather than images."""
        return bool(self.vocabulary)

    @property
    def is_numeric(self) -> bool:
        """Whether inputs are numbers of any range, as columns of a table, rather than bytes of images, or tokens."""
        return self.train_x.dtype == self.test_x.dtype == np.float32

    @property
    def unit(self) -> str:
        """What is counted: "images", "rows" of a table, or "tokens"."""
        return "tokens" if self.is_text else "rows" if self.train_x.ndim == 2 else "images"

    @property
    def outputs(self) -> int:
        """Number of what a model chooses from: the classes, or the tokens of the vocabulary."""
        return len(self.vocabulary) or self.classes

    @property
    def counts(self) -> tuple[int, int]:
        """Numbers of training and test images, or tokens."""
        return len(self.train_y), len(self.test_y)

    @cached_property
    def checksum(self) -> str:
        """Digest of all pixels and labels, or tokens: two runs used the same data if it is the same."""
        digest = blake2b(digest_size=16)
        if self.is_text:
            digest.update(repr(self.vocabulary).encode())
        for array in (self.train_x, self.train_y, self.test_x, self.test_y):
            digest.update(repr(array.shape).encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    @cached_property
    def mean_std(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and standard deviation of each channel over the training images, (channels,), in units of 0 to 255.

        Of numbers, in theirs; the channels of a table are its columns.
        """
        if self.is_numeric:
            others = (0, *range(2, self.train_x.ndim))
            # subtracted first, since the square of a number that is far from 0 would have no digits left for the rest
            mean = self.train_x.mean(axis=others, dtype=np.float64)
            return mean.astype(np.float32), self.train_x.std(axis=others, dtype=np.float64).astype(np.float32)
        # Counts of the 256 values give both moments exactly, and a part of the images at a time takes little memory.
        counts = np.zeros((self.train_x.shape[1], 256))
        for start in range(0, len(self.train_x), 1024):
            for channel, pixels in enumerate(self.train_x[start : start + 1024].transpose(1, 0, 2, 3)):
                counts[channel] += np.bincount(pixels.ravel(), minlength=256)
        counts /= counts.sum(axis=1, keepdims=True)
        values = np.arange(256)
        mean = counts @ values
        return mean.astype(np.float32), np.sqrt(counts @ values**2 - mean**2).astype(np.float32)

    def describe(self) -> dict[str, Any]:
        """Return what a result has to record about its data."""
        train, test = self.counts
        return {
            "name": self.name,
            "train": train,
            "test": test,
            "classes": self.classes,
            "official": list(self.official),
            "checksum": self.checksum,
            "skipped": self.skipped,
            "differences": list(self.differences),
        } | ({"vocabulary": len(self.vocabulary)} if self.is_text else {})


class Source(ABC):
    """Where a data set comes from. Its docstring's first sentence says what the images are."""

    classes: ClassVar[int]
    official: ClassVar[tuple[int, int]]
    size: ClassVar[int] = 0
    """Bytes to download."""

    @abstractmethod
    def check(self, root: Path) -> None:
        """Raise an ``InputError`` naming the first file that is not below ``root`` and how to get it."""

    @abstractmethod
    def load(self, root: Path, allow_subset: bool = False) -> DataSet:
        """Read the images below ``root``.

        Parameters
        ----------
        root : Path
        allow_subset : bool
            Whether files other than the published ones will do; what is different is in ``DataSet.differences``.

        Raises
        ------
        InputError
            If files are missing or damaged, or are not the published ones.
        """

    def count(self, root: Path) -> tuple[int, int]:
        """Return the numbers of training and test images below ``root``, without decoding them; 0 if that is not known.

        Raises
        ------
        InputError
            If files are missing or damaged.
        """
        return self.official

    @abstractmethod
    def fetch(self, root: Path) -> None:
        """Download the files to ``root``."""

    def import_from(self, path: Path, root: Path, allow_subset: bool = False) -> DataSet:
        """Copy local files to ``root`` and return the images read from there.

        Raises
        ------
        InputError
            If ``path`` does not hold the data set's files, or ``root`` does already; ``root`` is then as it was.
        """
        raise InputError(f"--from '{path}': this data set needs no files")

    def verify(self, root: Path, allow_subset: bool = False) -> DataSet:
        """Read the files again, and hold them and what is kept of them against their checksums.

        Raises
        ------
        InputError
            Naming the file that is wrong.
        """
        return self.load(root, allow_subset)


def cache_root() -> Path:
    """Return the folder for what can be made again: ``$TAMCL_CACHE_DIR``, else the user's cache folder."""
    given = os.environ.get("TAMCL_CACHE_DIR")
    return user_path(given) if given else user_cache_path("tamcl")


def data_root(data_dir: str | Path | None = None) -> Path:
    """Return the folder to look for data in: the one given, else ``$TAMCL_DATA_DIR``, else ``data`` in the cache."""
    given = data_dir or os.environ.get("TAMCL_DATA_DIR")
    return user_path(given) if given else cache_root() / "data"
