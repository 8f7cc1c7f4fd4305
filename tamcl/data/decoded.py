"""Data sets whose images are decoded once and then kept on disk."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from tamcl.data import cache
from tamcl.data.base import DataSet, Source
from tamcl.errors import InputError


class DecodedSource(Source):
    """A data set that is decoded from files below the root; a subclass says which and how."""

    name: ClassVar[str]
    decoder: ClassVar[int] = 1
    """To be raised when ``read`` gives something else than before, so that no older result is taken."""

    @abstractmethod
    def find(self, root: Path) -> tuple[Path, ...]:
        """Return the files or folders to read.

        Raises
        ------
        InputError
            Naming the first file that is not there, and how to get it.
        """

    @abstractmethod
    def read(self, root: Path) -> DataSet:
        """Decode the files below ``root``, whatever is kept, and say in what they are not the published ones."""

    @abstractmethod
    def tally(self, root: Path) -> tuple[int, int]:
        """Count training and test images in the files below ``root``, from headers, labels and names alone."""

    def count(self, root: Path) -> tuple[int, int]:
        """Return the numbers of training and test images below ``root``, without decoding them."""
        known = self.known(root)
        return self.tally(root) if known is None else known.counts

    def check(self, root: Path) -> None:
        """Raise an ``InputError`` naming the first file that is not below ``root`` and how to get it."""
        self.find(root)

    def load(self, root: Path, allow_subset: bool = False) -> DataSet:
        """Read the images below ``root``, decoded once and kept in the cache."""
        return self._accept(cache.load_or_make(self.place(root), lambda: self.read(root)), root, allow_subset)

    def verify(self, root: Path, allow_subset: bool = False) -> DataSet:
        """Decode the files again, and hold them and what is kept of them against their checksums."""
        data = self._accept(self.read(root), root, allow_subset)
        cache.verify(self.place(root), data.checksum)
        return data

    def known(self, root: Path) -> DataSet | None:
        """Return the images if they have been decoded before, without decoding them now."""
        return cache.load(self.place(root))

    def place(self, root: Path) -> Path:
        """Return the folder in which the decoded images are kept."""
        return cache.entry(self.name, root, self.find(root), self.decoder)

    def _accept(self, data: DataSet, root: Path, allow_subset: bool) -> DataSet:
        if data.differences and not allow_subset:
            more = f" (and {len(data.differences) - 1} more)" if len(data.differences) > 1 else ""
            raise InputError(
                f"data set '{self.name}' in '{root}': {data.differences[0]}{more}; --allow-subset takes it as it is"
            )
        return data
