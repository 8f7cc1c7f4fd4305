"""Downloads that survive bad mirrors and broken connections: resumed, retried, checked before they count.

Light libraries for this (pooch, for one) know neither resuming nor several mirrors.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import file_digest
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tamcl.errors import InputError

TIMEOUT = 30.0
"""Seconds that a mirror may stay silent, and over which its speed is judged."""

SLOWEST = 1000.0
"""Bytes a second; a mirror that is slower counts as stalled."""

ROUNDS = 5
PAUSE = 1.0
"""Seconds before the second round of mirrors; twice as long before each one after."""

Show = Callable[[int, int | None], None]
"""Told the bytes there are and the bytes there will be, if known."""


class Download(NamedTuple):
    """A file and where to get it.

    Attributes
    ----------
    target : Path
        Where to put it.
    urls : tuple of str
        Mirrors, the preferred first.
    md5 : str, optional
    size : int
        Its bytes, or more: what is much longer is not the file. Without ``md5`` it has to be exact.
    """

    target: Path
    urls: tuple[str, ...]
    md5: str | None
    size: int

    def fault(self, path: Path) -> str:
        """Say in what a file is not the one that is wanted; empty if it is."""
        if self.md5 is None:
            size = path.stat().st_size
            return "" if size == self.size else f"has {size} bytes, not {self.size}"
        found = md5(path)
        return "" if found == self.md5 else f"has md5 {found}, not {self.md5}"


def md5(path: Path) -> str:
    """Return a file's md5, the checksum that data sets are published with."""
    with open(path, "rb") as file:
        return file_digest(file, "md5").hexdigest()


def fetch(downloads: list[Download]) -> None:
    """Download files, with a progress bar on the terminal. What is there already is kept.

    Raises
    ------
    InputError
        If another file is in the place, or every mirror failed; the partial file stays and is resumed the next time.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        for file in downloads:
            task = bar.add_task(file.target.name, total=None)
            download(file, lambda done, total, task=task: bar.update(task, completed=done, total=total))  # type: ignore[misc]


def download(file: Download, show: Show = lambda done, total: None) -> None:
    """Download one file: a mirror that breaks off is resumed, one that stalls or sends something else is left.

    Raises
    ------
    InputError
        As for ``fetch``.
    """
    if file.target.exists():
        if fault := file.fault(file.target):
            raise InputError(f"'{file.target}' is there already and {fault}; move it away first")
        return
    part = file.target.with_name(f"{file.target.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    honest, reasons = list(file.urls), {}
    for attempt in range(ROUNDS):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        for url in tuple(honest):
            try:
                fault = _try(url, file, part, show)
            except (OSError, HTTPException, ValueError) as error:
                reasons[url] = str(error) or type(error).__name__
                continue
            if not fault:
                part.rename(file.target)
                return
            reasons[url] = f"what it sends {fault}"
            honest.remove(url)
        if not honest:
            break
    why = "; ".join(f"{url}: {' '.join(reason.split())}" for url, reason in reasons.items())
    raise InputError(f"download of '{file.target}' failed: {why}")


def _try(url: str, file: Download, part: Path, show: Show) -> str:
    """Complete the partial file from one mirror, and say what is wrong with it then."""
    if part.exists() and not file.fault(part):
        return ""
    resumed = _transfer(url, part, file.size, show)
    fault = file.fault(part)
    if fault and resumed:  # the wrong bytes may be an earlier mirror's
        part.unlink()
        _transfer(url, part, file.size, show)
        fault = file.fault(part)
    if fault:
        part.unlink()
    return fault


def _transfer(url: str, part: Path, size: int, show: Show) -> bool:
    """Read a file's rest, or all of it if the server knows no ranges; return whether it was resumed."""
    start = part.stat().st_size if part.exists() else 0
    request = Request(url, headers={"User-Agent": "tamcl"} | ({"Range": f"bytes={start}-"} if start else {}))
    try:
        answer: HTTPResponse = urlopen(request, timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code == 416:  # the partial file is longer than the whole
            part.unlink()
        raise
    with answer:
        if answer.status != 206:
            start = 0
        elif not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            raise OSError("answers with another range")
        length = answer.headers.get("Content-Length")
        total = None if length is None else start + int(length)
        done = _copy(answer, part, start, size, lambda done: show(done, total))
    if total is not None and done < total and done <= 2 * size:
        raise OSError(f"broke off after {done} of {total} bytes")
    return start > 0


def _copy(answer: HTTPResponse, part: Path, start: int, size: int, show: Callable[[int], None]) -> int:
    """Append what a server sends to a file that has ``start`` bytes, and return how many it has then."""
    done, before, clock = start, start, time.monotonic()
    with open(part, "ab" if start else "wb") as file:
        while chunk := answer.read1(1 << 16):
            file.write(chunk)
            done += len(chunk)
            show(done)
            if done > 2 * size:
                break  # the checksum will say that it is wrong
            if (passed := time.monotonic() - clock) > TIMEOUT:
                if done - before < SLOWEST * passed:
                    raise TimeoutError(f"sent {done - before} bytes in {passed:.0f} seconds")
                before, clock = done, time.monotonic()
    return done
