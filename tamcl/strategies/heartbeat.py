"""Signs of life of a run, after every step and some hundred test images, for whoever would else give it up.

They also say how far it is, for whoever looks on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

EVERY_S = 0.25
"""Seconds between two signs, at least."""


class Steps(NamedTuple):
    """How far a run is, or several that are trained together."""

    done: int
    of: int
    """All of them; 0 where that is not known, as no run is trained."""


_listener: Callable[[], object] | None = None
_last = 0.0
_done = _of = 0


def listen(listener: Callable[[], object] | None) -> None:
    """Have a function of this process called at each sign of life, in place of the one before."""
    global _listener, _last
    _listener, _last = listener, 0.0


@contextmanager
def expected(steps: int) -> Iterator[None]:
    """Say of how many steps what is trained in the ``with`` block is, as ``steps()`` tells whoever listens."""
    global _done, _of
    _done, _of = 0, steps
    try:
        yield
    finally:
        _done = _of = 0


def steps() -> Steps:
    """Return how far what is trained in this process is.

    Examples
    --------
    >>> with expected(5):
    ...     beat(2)
    ...     steps()
    Steps(done=2, of=5)
    """
    return Steps(_done, _of)


def beat(done: int | None = None) -> None:
    """Give a sign of life, after so many steps of the run if it is a step's.

    Examples
    --------
    >>> heard = []
    >>> listen(lambda: heard.append("still there"))
    >>> beat()
    >>> beat()  # too soon
    >>> heard
    ['still there']
    >>> listen(None)
    """
    global _last, _done
    if done is not None:
        _done = done
    if _listener is not None and (now := time.monotonic()) - _last >= EVERY_S:
        _last = now
        _listener()
