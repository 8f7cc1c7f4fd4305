"""The files of a folder, a zip or a tar, by their names. An archive that tries to harm is refused as a whole."""

from __future__ import annotations

import gzip
import io
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from tamcl.errors import InputError

MAX_BYTES = 2**30
"""What an archive may hold unpacked: TinyImageNet has 0.3 GB, all splits of EMNIST 0.6 GB."""

MAX_FILES = 250_000
"""TinyImageNet has 120,609."""

Read = Callable[[str], bytes]

_DAMAGE = (OSError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile, tarfile.TarError)
"""What reading a damaged archive raises; RuntimeError is zipfile's answer to a locked one."""


class Tree(NamedTuple):
    """Sorted names of files, as ``top/folder/file``, and a function that reads one."""

    names: list[str]
    read: Read


@contextmanager
def open_tree(*paths: Path) -> Iterator[Tree]:
    """Open an archive, or folders side by side; names below a folder begin with the folder's own.

    Members are read one by one and nothing is unpacked to disk, so none can be written to a wrong place.

    Raises
    ------
    InputError
        If an archive is damaged, has a member that is absolute, leads out with ``..``, or is a link or a device, or
        holds more than ``MAX_FILES`` files or ``MAX_BYTES`` bytes; later, if a file that is read is not there.
    """
    path = paths[0]
    with ExitStack() as stack:
        try:
            if path.is_dir():
                names, read = _open_folders(paths)
            elif zipfile.is_zipfile(path):
                names, read = _open_zip(path, stack.enter_context(zipfile.ZipFile(path)))
            else:
                content = io.BytesIO(_unpacked(path))
                names, read = _open_tar(path, stack.enter_context(tarfile.open(fileobj=content, mode="r:")))
        except _DAMAGE as error:
            raise InputError(f"'{path}' is damaged: {error}") from error

        def read_or_say(name: str) -> bytes:
            try:
                return read(name)
            except KeyError:
                raise InputError(f"'{path}' has no file '{name}'") from None
            except _DAMAGE as error:
                raise InputError(f"'{path}' is damaged at '{name}': {error}") from error

        yield Tree(sorted(names), read_or_say)


def walk(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield every file below a folder; links to folders are not followed."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from walk(Path(entry.path))
            elif entry.is_file():
                yield entry


def _open_folders(folders: Iterable[Path]) -> tuple[Iterable[str], Read]:
    files = {Path(file).relative_to(top.parent).as_posix(): file for top in folders for file in _paths(top)}
    return files, lambda name: Path(files[name]).read_bytes()


def _paths(folder: Path) -> Iterator[str]:
    return (entry.path for entry in walk(folder))


def _open_zip(path: Path, archive: zipfile.ZipFile) -> tuple[Iterable[str], Read]:
    regular = {0, stat.S_IFREG, stat.S_IFDIR}  # 0: packed on a system without file types
    members = archive.infolist()
    _admit(path, ((m.filename, m.file_size, stat.S_IFMT(m.external_attr >> 16) in regular) for m in members))
    return [member.filename for member in members if not member.is_dir()], archive.read


def _open_tar(path: Path, archive: tarfile.TarFile) -> tuple[Iterable[str], Read]:
    members: dict[str, tarfile.TarInfo] = {}

    def listed() -> Iterator[tuple[str, int, bool]]:
        for member in archive:
            yield member.name, member.size, member.isreg() or member.isdir()
            if member.isreg():
                members[member.name] = member

    def read(name: str) -> bytes:
        file = archive.extractfile(members[name])
        assert file is not None  # only regular files are members
        return file.read()

    _admit(path, listed())
    return members, read


def _unpacked(path: Path) -> bytes:
    """Return the content of a tar, in memory: members of a packed one cannot be read in any other order than theirs."""
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    with gzip.open(path) if packed else open(path, "rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise InputError(f"'{path}' is refused: it holds more than {MAX_BYTES} bytes")
    return content


def _admit(path: Path, members: Iterable[tuple[str, int, bool]]) -> None:
    """Refuse an archive at the first of its members (name, bytes, whether file or folder) that no honest one has."""
    total = 0
    for count, (name, size, regular) in enumerate(members, start=1):
        total += size
        if not regular:
            raise InputError(f"'{path}' is refused: member '{name}' is a link or a device")
        if re.match(r"[/\\]|[A-Za-z]:", name) or ".." in re.split(r"[/\\]", name):
            raise InputError(f"'{path}' is refused: member '{name}' leads out of it")
        if count > MAX_FILES or total > MAX_BYTES:
            raise InputError(f"'{path}' is refused: it holds more than {MAX_FILES} files or {MAX_BYTES} bytes")
