"""Decoded data sets on disk: arrays that are mapped into memory, so that a second load takes no time."""

from __future__ import annotations

import math
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from tamcl.data.base import DataSet, cache_root
from tamcl.data.tree import walk
from tamcl.errors import InputError
from tamcl.files.digests import dump_json, load_json
from tamcl.files.lock import lock
from tamcl.files.paths import read_bounded

_KINDS = {"train_x": "uint8", "train_y": "int64", "test_x": "uint8", "test_y": "int64"}
_ARRAYS = tuple(_KINDS)


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
    if (data := _load_whole(place)) is not None:
        return data
    with _lock(place) as held:
        if (data := _load_whole(place)) is not None:  # another process has made it
            return data
        if place.exists():
            print(f"tamcl: '{place}' is damaged, or of an older version; the images are decoded again", file=sys.stderr)
        data = make()
        try:
            _store(place, data, tidy=held)
        except OSError:  # no right to write there, or no room
            return data
    return load(place) or data


def _load_whole(place: Path) -> DataSet | None:
    """Map a kept data set into memory after all of it was held against its digests; None if it is not there or damaged.

    That takes a second for a gigabyte, once a process; what is read of it comes from memory afterwards.
    """
    data = load(place)
    try:
        return data if data is None or not any(_differing(place)) else None
    except (OSError, ValueError, LookupError):
        return None


def load(place: Path) -> DataSet | None:
    """Map a kept data set into memory, or return None if it is not there or not whole.

    Sizes are looked at, pixels are not.
    """
    try:
        meta = _meta(place)
        arrays: dict[str, Any] = {name: np.asarray(np.load(place / f"{name}.npy", mmap_mode="c")) for name in _ARRAYS}
        shapes = {name: list(array.shape) for name, array in arrays.items()}
        kinds = {name: str(array.dtype) for name, array in arrays.items()}
        if shapes != meta["shapes"] or kinds != _KINDS:
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
    except Exception:  # it is not there, or damaged, which may raise anything
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
    for name, found, expected in _differing(place):
        raise InputError(f"'{name}' of the decoded images has digest {found}, not {expected}; {cure}")
    if kept.checksum != checksum:
        raise InputError(f"the decoded images have checksum {kept.checksum}, the files {checksum}; {cure}")


def _meta(place: Path) -> dict[str, Any]:
    content = read_bounded(place / "meta.json", 2**20)
    if b'"digest": ' not in content:  # of an older version, which would be believed whatever it says
        raise ValueError("meta.json has no digest")
    return dict(load_json(content))


def _differing(place: Path) -> Iterator[tuple[str, str, str]]:
    """Yield the arrays that are not as they were written: file, digest found and digest expected."""
    digests = _meta(place)["digests"]
    for name in (f"{array}.npy" for array in _ARRAYS):
        expected = digests[name]
        if (found := _digest(place / name)) != expected:
            yield name, found, expected


def _store(place: Path, data: DataSet, *, tidy: bool) -> None:
    """Write a data set to a folder, all or nothing; if ``tidy``, remove what a killed process has left."""
    if tidy:
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
        (temporary / "meta.json").write_bytes(dump_json(meta))
        shutil.rmtree(place, ignore_errors=True)
        temporary.rename(place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _digest(path: Path) -> str:
    """Return the CRC-32 of a file: enough against chance, and six times as fast as a hash where every process looks."""
    digest = 0
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest = crc32(block, digest)
    return f"{digest:08x}"


@contextmanager
def _lock(place: Path) -> Iterator[bool]:
    """Wait until no other process makes this data set; where no lock can be had, do not wait, and yield False."""
    with ExitStack() as stack:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            held = stack.enter_context(lock(place.with_name(f"{place.name}.lock"), timeout=math.inf))
        except OSError:
            held = False
        yield held
