"""What the data sets that lie in files of their own share: finding, fetching, importing."""

from __future__ import annotations

import os
import shutil
import tempfile
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import ClassVar, NamedTuple

import numpy as np

from tamcl.data.base import DataSet, Labels, Pixels
from tamcl.data.decoded import DecodedSource
from tamcl.data.download import Download, fetch, md5
from tamcl.data.tree import open_tree, read_file, walk
from tamcl.errors import InputError

Form = tuple[tuple[str, ...], ...]
"""One way in which the files may lie there: names, each with its alternatives; a folder's name ends with ``/``."""


class Published(NamedTuple):
    """A file as it was published: its name, its md5 if that is known, and the addresses of folders that hold it."""

    name: str
    md5: str | None
    mirrors: tuple[str, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where the file itself is."""
        return tuple(f"{mirror}{self.name}" for mirror in self.mirrors)


class FileSource(DecodedSource):
    """A data set described by the names of its files; a subclass adds how to decode them."""

    places: ClassVar[tuple[str, ...]]
    """Folders below the root to look in; what is fetched or imported goes to the first."""
    forms: ClassVar[tuple[Form, ...]]
    """Ways to lie there; the first that is complete is read."""
    archive: ClassVar[str] = ""
    """Name of an archive that holds the files of the first form; fetched or imported, it gives way to those."""
    published: ClassVar[tuple[Published, ...]]

    @abstractmethod
    def decode(self, paths: tuple[Path, ...]) -> DataSet:
        """Read the images from the files of one form."""

    def tally_files(self, paths: tuple[Path, ...]) -> tuple[int, int]:
        """Count the images in the files of one form; a subclass may know a way without decoding them."""
        return self.decode(paths).counts

    def tally(self, root: Path) -> tuple[int, int]:
        """Count training and test images in the files below ``root``."""
        return self.tally_files(self.find(root))

    def read(self, root: Path) -> DataSet:
        """Decode the files below ``root``, whatever is kept, and say in what they are not the published ones."""
        paths = self.find(root)
        data = self.decode(paths)
        return replace(data, differences=tuple(self._differences(data, root, paths)))

    def find(self, root: Path) -> tuple[Path, ...]:
        """Return the files or folders to read."""
        if found := self._find_below(root):
            return found
        if root.is_file():
            raise InputError(f"data set '{self.name}': '{root}' is a file; name the folder of the data sets")
        folder = root / self.places[0]
        names = next(names for names in self.forms[0] if not _first(folder, names))
        missing = " or ".join([f"'{folder / names[0]}'", *(f"'{name}'" for name in names[1:])])
        raise InputError(
            f"data set '{self.name}': no file {missing}; name the folder that holds {self.places[0] or names[0]} with "
            f"--data-dir or $TAMCL_DATA_DIR, or run: tamcl data fetch {self.name}"
        )

    def fetch(self, root: Path) -> None:
        """Download the files to ``root``; what is there already is kept."""
        folder = root / self.places[0]
        if not self._find_below(root):
            files = [file for file in self.published if file.mirrors]
            fetch([Download(folder / file.name, file.addresses, file.md5, self.size) for file in files])
        elif differences := self.load(root, allow_subset=True).differences:
            raise InputError(f"'{root}' holds another '{self.name}': {differences[0]}; move it away first")
        self._unpack(folder)

    def import_from(self, path: Path, root: Path, allow_subset: bool = False) -> DataSet:
        """Copy local files, in any form and any place that can be read, to ``root`` and return the images."""
        found = self._find_around(path)
        folder = root / self.places[0]
        if self._find_below(root):
            raise InputError(f"'{root}' holds '{self.name}' already; move it away first")
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".import.", dir=root) as staging:
            prepared = Path(staging) / self.places[0]
            for source in found:
                _copy(source, prepared / source.name)
            self._unpack(prepared)
            self.load(Path(staging), allow_subset)
            items = sorted(prepared.iterdir())
            if taken := [folder / item.name for item in items if (folder / item.name).exists()]:
                raise InputError(f"'{taken[0]}' is there already; move it away first")
            folder.mkdir(parents=True, exist_ok=True)
            for item in items:
                item.rename(folder / item.name)
        return self.load(root, allow_subset)

    def contents(self, paths: tuple[Path, ...]) -> Iterator[tuple[str, bytes]]:
        """Yield where each file of the first form is and what is in it, from files or from the archive of them."""
        if paths[0].name != self.archive:
            yield from ((str(path), read_file(path)) for path in paths)
            return
        with open_tree(*paths) as tree:
            for names in self.forms[0]:
                member = next((m for m in tree.names if PurePosixPath(m).name in names), None)
                if member is None:
                    raise InputError(f"'{paths[0]}' has no file '{names[0]}'")
                yield f"{paths[0]}/{member}", tree.read(member)

    def dataset(self, train: tuple[Pixels, Labels], test: tuple[Pixels, Labels], skipped: int = 0) -> DataSet:
        """Return the data set of decoded images and labels, or raise an ``InputError`` if there are none."""
        for part, (_, labels) in (("training", train), ("test", test)):
            if not len(labels):
                raise InputError(f"data set '{self.name}': its files have no {part} images")
        return DataSet(self.name, *train, *test, self.classes, self.official, skipped)

    def _find_below(self, root: Path) -> tuple[Path, ...]:
        """Return the files of the first place and form that is complete, or nothing."""
        return next((found for place in self.places for found in self._complete_forms(root / place)), ())

    def _complete_forms(self, folder: Path) -> Iterator[tuple[Path, ...]]:
        for form in self.forms:
            found = [path for names in form if (path := _first(folder, names))]
            if len(found) == len(form):
                yield tuple(found)

    def _find_around(self, path: Path) -> tuple[Path, ...]:
        """Find the files in a root, in any folder on the way to our places, or as the very path given."""
        if not path.exists():
            raise InputError(f"--from '{path}': no such file or folder")
        path = path.resolve()
        for place in self.places:
            parts = Path(place).parts
            for start in range(len(parts) + 1):
                for found in self._complete_forms(path.joinpath(*parts[start:])):
                    return found
        for found in self._complete_forms(path.parent):
            if found == (path,):
                return found
        accepted = "; or ".join(", ".join(names[-1] for names in form) for form in self.forms)
        raise InputError(f"--from '{path}': holds no data set '{self.name}', which is: {accepted}")

    def _unpack(self, folder: Path) -> None:
        """Put the files that are in the archive beside it, and remove it."""
        archive = folder / self.archive
        if not (self.archive and archive.is_file()):
            return
        for where, content in self.contents((archive,)):
            target = folder / PurePosixPath(where).name
            if target.exists() and target.read_bytes() != content:
                raise InputError(f"'{target}' is there already and is not what '{where}' holds; move it away first")
            part = target.with_name(f"{target.name}.part")
            part.write_bytes(content)
            part.rename(target)
        archive.unlink()

    def _differences(self, data: DataSet, root: Path, paths: tuple[Path, ...]) -> Iterator[str]:
        if data.counts != self.official:
            there, all_ = (f"{train} training and {test} test images" for train, test in (data.counts, self.official))
            where = paths[0] if len(paths) == 1 or paths[0].parent == root else paths[0].parent
            yield f"{where.relative_to(root)} has {there}, published are {all_}"
            return  # files of a subset cannot have the published checksums
        checksums = {file.name: file.md5 for file in self.published}
        for path in paths:
            expected = checksums.get(path.name)
            if expected and (found := md5(path)) != expected:
                yield f"{path.relative_to(root)} has md5 {found}, published is {expected}"


def check_fit(where: str, images: Pixels, labels: Labels, shape: tuple[int, ...], classes: int) -> None:
    """Raise an ``InputError`` if images are not bytes of the shape of one image, or do not fit their labels."""
    if images.dtype != np.uint8 or images.shape[1:] != shape or labels.shape != images.shape[:1] or not len(labels):
        raise InputError(
            f"'{where}' does not fit its labels: images {images.shape} of {images.dtype}, labels {labels.shape}"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise InputError(f"'{where}' does not fit its labels: they are {labels.min()} to {labels.max()}")


def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
    """Return the first of alternative names that a folder has; a name that ends with ``/`` is a folder's."""
    paths = ((folder / name, name.endswith("/")) for name in names)
    return next((path for path, is_folder in paths if (path.is_dir() if is_folder else path.is_file())), None)


def _copy(source: Path, target: Path) -> None:
    """Copy a file or a folder with its times, but not with its rights: what is read-only there can be moved here."""
    files = [Path(entry.path) for entry in walk(source)] if source.is_dir() else [source]
    for file in files:
        copy = target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
        found = file.stat()
        os.utime(copy, ns=(found.st_atime_ns, found.st_mtime_ns))
