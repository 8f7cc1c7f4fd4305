"""The files of a folder, a zip or a tar, by their names. An archive that tries to harm is refused as a whole.

What a file system or a program leaves beside the data is not seen: hidden files and folders (``._`` and ``.DS_Store``
of macOS among them) and ``__MACOSX``.
"""

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
from typing import BinaryIO, NamedTuple, TypeVar

from tamcl.errors import InputError

MAX_BYTES = 2**30
"""What an archive may hold unpacked: TinyImageNet has 0.3 GB, all splits of EMNIST 0.6 GB."""

MAX_FILES = 250_000
"""TinyImageNet has 120,609."""

Read = Callable[[str], bytes]
Key = TypeVar("Key")

_MAX_DIRECTORY = 2**27
"""Bytes of the directory of a zip: 500 for each of the files that it may hold."""


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
                _admit_directory(path)
                names, read = _open_zip(path, stack.enter_context(zipfile.ZipFile(path)))
            else:
                content = io.BytesIO(_unpacked(path))
                names, read = _open_tar(path, stack.enter_context(tarfile.open(fileobj=content, mode="r:")))
        except InputError:
            raise
        except Exception as error:  # a damaged archive may raise anything
            raise InputError(f"'{path}' is damaged: {_reason(error)}") from error

        def read_or_say(name: str) -> bytes:
            try:
                return read(name)
            except InputError:
                raise
            except KeyError:
                raise InputError(f"'{path}' has no file '{name}'") from None
            except Exception as error:
                raise InputError(f"'{path}' is damaged at '{name}': {_reason(error)}") from error

        yield Tree(sorted(name for name in names if not any(map(is_litter, name.split("/")))), read_or_say)


def walk(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield every file below a folder; links to folders are not followed.

    Raises
    ------
    InputError
        If a folder cannot be listed, or a link leads to nothing or to itself.
    """
    folders = [os.fspath(folder)]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if is_litter(entry.name):
                        continue
                    if entry.is_symlink() and not os.path.exists(entry.path):
                        raise InputError(f"'{entry.path}' is a link that leads to no file")
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif entry.is_file():
                        yield entry
        except OSError as error:
            raise InputError(f"'{error.filename or folder}' cannot be read: {error.strerror or error}") from error


def is_litter(name: str) -> bool:
    """Whether a file or folder is none of a data set's, by its name."""
    return name.startswith(".") or name == "__MACOSX"


def read_file(path: Path) -> bytes:
    """Return what is in a file.

    Raises
    ------
    InputError
        If it cannot be read, or has more than ``MAX_BYTES``.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(f"'{path}' is refused: it has {size} bytes, more than {MAX_BYTES}")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"'{path}' cannot be read: {error.strerror or error}") from error


def unpack(where: str | Path, packed: BinaryIO, most: int) -> bytearray:
    """Return what is packed in a gz file, a part at a time: a few kilobytes may hold gigabytes.

    Raises
    ------
    InputError
        If it is damaged, or holds more than ``most`` bytes.
    """
    content = bytearray()
    try:
        with gzip.open(packed) as file:
            while part := file.read(2**20):
                content += part
                if len(content) > most:
                    raise InputError(f"'{where}' is refused: it holds more than {most} bytes")
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(f"'{where}' is damaged: {error}") from error
    return content


def named_once(files: Iterable[tuple[Key, str]]) -> dict[Key, str]:
    """Return the file that stands for each key, sorted by key, or raise an ``InputError`` if two do."""
    found: dict[Key, str] = {}
    for key, name in files:
        if key in found:
            raise InputError(f"'{found[key]}' and '{name}' are the same image twice; remove one of them")
        found[key] = name
    return dict(sorted(found.items()))


def _open_folders(folders: Iterable[Path]) -> tuple[Iterable[str], Read]:
    files = {Path(entry.path).relative_to(top.parent).as_posix(): entry.path for top in folders for entry in walk(top)}
    return files, lambda name: read_file(Path(files[name]))


def _open_zip(path: Path, archive: zipfile.ZipFile) -> tuple[Iterable[str], Read]:
    regular = {0, stat.S_IFREG, stat.S_IFDIR}  # 0: packed on a system without file types
    listed = archive.infolist()
    _admit(path, ((m.filename, m.file_size, stat.S_IFMT(m.external_attr >> 16) in regular) for m in listed))
    members = {_tidy(member.filename): member for member in listed if not member.is_dir()}
    return members, lambda name: archive.read(members[name])


def _open_tar(path: Path, archive: tarfile.TarFile) -> tuple[Iterable[str], Read]:
    members: dict[str, tarfile.TarInfo] = {}

    def listed() -> Iterator[tuple[str, int, bool]]:
        for member in archive:
            yield member.name, member.size, member.isreg() or member.isdir()
            if member.isreg():
                members[_tidy(member.name)] = member

    def read(name: str) -> bytes:
        file = archive.extractfile(members[name])
        assert file is not None  # only regular files are members
        return file.read()

    _admit(path, listed())
    return members, read


def _tidy(name: str) -> str:
    """Return a member's name as others write it: ``./top/file`` and ``top\\file`` are ``top/file``."""
    return "/".join(part for part in re.split(r"[/\\]", name) if part not in {"", "."})


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _admit_directory(path: Path) -> None:
    """Refuse a zip of too many members before they are listed: zipfile lists all that the directory at its end has."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        tail_at = max(0, size - 2**16 - 100)
        file.seek(tail_at)
        tail = file.read()
        end = tail.rfind(b"PK\5\6")
        length = int.from_bytes(tail[end + 12 : end + 16], "little")
        stop = tail_at + end
        if tail[max(0, end - 20) :].startswith(b"PK\6\7"):  # a large zip: 8 bytes for each, in a record before
            length = int.from_bytes(tail[end - 36 : end - 28], "little")
            stop -= 76
        if length > _MAX_DIRECTORY:
            raise InputError(f"'{path}' is refused: it holds more than {MAX_FILES} files or {MAX_BYTES} bytes")
        file.seek(max(0, stop - length))
        if file.read(length).count(b"PK\1\2") > MAX_FILES:
            raise InputError(f"'{path}' is refused: it holds more than {MAX_FILES} files or {MAX_BYTES} bytes")


def _unpacked(path: Path) -> bytes | bytearray:
    """Return the content of a tar, in memory: members of a packed one cannot be read in any other order than theirs."""
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        return unpack(path, file, MAX_BYTES) if packed else read_file(path)


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
