"""Decoded data sets on disk: arrays that are mapped into memory, so that a second load takes no time."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any

import numpy as np

from tamcl.data.base import DataSet, cache_root
from tamcl.data.tree import walk
from tamcl.errors import InputError

try:
    import fcntl
except ImportError:  # Windows has no such lock; two processes may decode there, and the first one's work is kept
    fcntl = None  # type: ignore[assignment]

_ARRAYS = ("train_x", "train_y", "test_x", "test_y")


def entry(name: str, root: Path, paths: Iterable[Path], decoder: int) -> Path:
    """Return the folder of a decoded data set: another one if a file was changed, or decoding is done otherwise.

    Parameters
    ----------
    name : str
    root : Path
        Names of files count from here.
    paths : iterable of Path
        The files, or folders of them, that the data set is decoded from.
    decoder : int
        Version of what decodes it.
    """
    digest = blake2b(str(decoder).encode(), digest_size=8)
    for top in paths:
        files = [(e.path, e.stat()) for e in walk(top)] if top.is_dir() else [(str(top), top.stat())]
        where, start = top.relative_to(root).as_posix(), len(str(top))
        for file, found in sorted(files, key=lambda pair: pair[0]):
            digest.update(f"{where}{file[start:]} {found.st_size} {found.st_mtime_ns}\n".encode())
    return cache_root() / "decoded" / f"{name}-{digest.hexdigest()}"


def load_or_make(place: Path, make: Callable[[], DataSet]) -> DataSet:
    """Return the data set kept in a folder; make and keep it if it is not there, or not whole.

    One process makes it while others wait. Where nothing can be written it is made each time.
    """
    if (data := load(place)) is not None:
        return data
    with _lock(place):
        if (data := load(place)) is not None:  # another process has made it
            return data
        data = make()
        try:
            _store(place, data)
        except OSError:  # no right to write there, or no room
            return data
    return load(place) or data


def load(place: Path) -> DataSet | None:
    """Map a kept data set into memory, or return None if it is not there or not whole.

    Sizes are looked at, pixels are not: ``verify`` does that.
    """
    try:
        meta = json.loads((place / "meta.json").read_text())
        arrays = {name: np.asarray(np.load(place / f"{name}.npy", mmap_mode="c")) for name in _ARRAYS}
        shapes = {name: list(array.shape) for name, array in arrays.items()}
        if shapes != meta["shapes"]:
            return None
        known: dict[str, Any] = {
            "checksum": meta["checksum"],
            "mean_std": tuple(np.array(moment, np.float32) for moment in meta["mean_std"]),
        }
        data = DataSet(
            meta["name"],
            **arrays,
            classes=meta["classes"],
            official=tuple(meta["official"]),
            skipped=meta["skipped"],
            differences=tuple(meta["differences"]),
        )
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return None
    vars(data).update(known)  # where the cached properties look first
    return data


def verify(place: Path, checksum: str) -> None:
    """Hold what is kept in a folder, if it is there, against its own digests and the checksum that it should have.

    Raises
    ------
    InputError
        Naming what is wrong.
    """
    if not place.is_dir():
        return
    cure = f"remove the folder '{place}', it is made again"
    kept = load(place)
    if kept is None:
        raise InputError(f"the decoded images are not whole; {cure}")
    for name, expected in json.loads((place / "meta.json").read_text())["digests"].items():
        if (found := _digest(place / name)) != expected:
            raise InputError(f"'{name}' of the decoded images has digest {found}, not {expected}; {cure}")
    if kept.checksum != checksum:
        raise InputError(f"the decoded images have checksum {kept.checksum}, the files {checksum}; {cure}")


def _store(place: Path, data: DataSet) -> None:
    """Write a data set to a folder, all or nothing."""
    if fcntl is not None:  # what a process that was killed has left: we hold the lock, so nobody is writing
        for left in place.parent.glob(f".{place.name}.*"):
            shutil.rmtree(left, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    try:
        for name in _ARRAYS:
            np.save(temporary / f"{name}.npy", getattr(data, name))
        meta = {
            "name": data.name,
            "classes": data.classes,
            "official": data.official,
            "shapes": {name: getattr(data, name).shape for name in _ARRAYS},
            "skipped": data.skipped,
            "differences": data.differences,
            "checksum": data.checksum,
            "mean_std": [moment.tolist() for moment in data.mean_std],
            "digests": {f"{name}.npy": _digest(temporary / f"{name}.npy") for name in _ARRAYS},
        }
        (temporary / "meta.json").write_text(json.dumps(meta, indent=1))
        shutil.rmtree(place, ignore_errors=True)
        temporary.rename(place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return file_digest(file, lambda: blake2b(digest_size=16)).hexdigest()


@contextmanager
def _lock(place: Path) -> Iterator[None]:
    """Wait until no other process makes this data set; where no lock can be had, do not wait."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(place.with_name(f"{place.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        yield
        return
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
