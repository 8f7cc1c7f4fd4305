"""Paths as a user gives them."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO

from tamcl.errors import InputError, shown

LONGEST = 4096
"""Bytes of a path, the most that Linux takes."""


def user_path(path: str | Path) -> Path:
    """Return a path with ``~`` expanded, which a shell does not do in ``--out=~/x`` and Python never does.

    Raises
    ------
    InputError
        If it is no path, or there is no such user.

    Examples
    --------
    >>> user_path("~/study") == Path.home() / "study"
    True
    >>> user_path("study\\0")
    Traceback (most recent call last):
    ...
    tamcl.errors.InputError: path 'study\\x00': is none: it holds a null byte
    """
    try:
        if str(path) == "":
            raise ValueError("it is empty")
        if b"\0" in (name := os.fsencode(path)) or len(name) > LONGEST:
            raise ValueError("it holds a null byte" if len(name) <= LONGEST else f"it has {len(name)} bytes")
        return Path(path).expanduser()
    except TypeError as error:
        has_one = ", which has its folder as .directory" if hasattr(path, "directory") else ""
        kind = type(path).__name__
        raise InputError(f"path {shown(path)}: must be a text or a pathlib.Path, not a {kind}{has_one}") from error
    except (ValueError, RuntimeError) as error:  # RuntimeError: no such user
        raise InputError(f"path {shown(str(path))}: is none: {error}") from error


def read_bounded(path: Path, most: int) -> bytes:
    """Return what is in a file, unless that is too much, or it is no file, such as a pipe, which nobody may ever fill.

    Raises
    ------
    ValueError
        If it has more bytes than are taken.
    OSError
        If it cannot be read.
    """
    with open_regular(path) as file:
        if (size := os.fstat(file.fileno()).st_size) > most:
            raise ValueError(f"it has {size} bytes, and at most {most} are read")
        return file.read()


def open_regular(path: Path) -> IO[bytes]:
    """Open a file to be read, unless it is none, such as a pipe; the errors are those of ``read_bounded``."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise ValueError("it is no regular file")
    return path.open("rb")
