"""A lock that one process holds at a time. It goes with the process, however that ends.

What is locked is a file, as Windows can lock no folder. One that a killed process left behind is locked by nobody. Some
file systems have no locks, as Lustre without the option ``flock``: that is another answer than that somebody holds it.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

KNOWN = True
"""Whether this Python can ask for locks."""

if sys.platform == "win32":
    import msvcrt
else:
    try:
        import fcntl
    except ImportError:  # as where the system has none
        KNOWN = False

BUSY = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}
"""What the system answers where another process holds the lock; any other error is that there are no locks."""

PAUSE = 0.05
"""Seconds between two tries."""


class Busy(Exception):
    """Another process holds the lock."""


@contextmanager
def lock(path: Path, *, timeout: float = 0.2) -> Iterator[bool]:
    """Hold the lock of a file, which is made, and removed in the end; its time is that since when it is held.

    Parameters
    ----------
    path : Path
    timeout : float
        Seconds to wait for it. Some are needed, since ``is_held`` holds it for a moment.

    Yields
    ------
    bool
        Whether it is held; False where there are no locks.

    Raises
    ------
    Busy
    OSError
        If the file cannot be made.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder, lock(Path(folder) / "lock") as held:
    ...     print(held, is_held(Path(folder) / "lock"))
    True True
    """
    until = time.monotonic() + timeout
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            held = _take(descriptor)
            if held is None or (held and _is(descriptor, path)):  # not one that was removed while we waited
                break
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if held is False:
            if time.monotonic() >= until:
                raise Busy(path)
            time.sleep(PAUSE)
    with suppress(OSError):  # one that was left behind is older
        os.utime(path)
    try:
        yield held is True
    finally:
        with suppress(OSError):  # Windows removes no file that is open
            path.unlink()
        os.close(descriptor)


def is_held(path: Path) -> bool | None:
    """Tell whether a process holds the lock of a file; None where that cannot be known. Nothing is changed."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        taken = _take(descriptor, shared=True)
        return None if taken is None else not taken
    finally:
        os.close(descriptor)


def _take(descriptor: int, *, shared: bool = False) -> bool | None:
    """Take the lock of an open file until it is closed; False where another has it, None where there are no locks."""
    if not KNOWN:
        return None
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in BUSY else None
    return True


def _is(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
