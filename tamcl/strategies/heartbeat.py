"""Signs of life of a run, after every step and some hundred test images, for whoever would else give it up."""

from __future__ import annotations

import time
from collections.abc import Callable

EVERY_S = 0.25
"""Seconds between two signs, at least."""

_listener: Callable[[], object] | None = None
_last = 0.0


def listen(listener: Callable[[], object] | None) -> None:
    """Have a function of this process called at each sign of life, in place of the one before."""
    global _listener, _last
    _listener, _last = listener, 0.0


def beat() -> None:
    """Give a sign of life.

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
    global _last
    if _listener is not None and (now := time.monotonic()) - _last >= EVERY_S:
        _last = now
        _listener()
