"""No network while a model is built: its initial weights belong to the run's seed, and nothing is to be downloaded."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn


@contextmanager
def offline() -> Iterator[None]:
    """Refuse every connection to the internet inside the ``with`` block, with a ``ConnectionError``.

    Libraries that keep what they once downloaded fall back on it. Code that does not use Python's sockets is not seen.

    Examples
    --------
    >>> with offline():
    ...     socket.create_connection(("localhost", 80))
    Traceback (most recent call last):
    ...
    ConnectionError: it wants to connect to the network ('localhost'), and a model must be built without
    """
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def refuse(host: Any, *_: Any, **__: Any) -> NoReturn:
        raise ConnectionError(f"it wants to connect to the network ({host!r}), and a model must be built without")

    def connect_nearby(self: socket.socket, address: Any) -> None:
        if self.family != getattr(socket, "AF_UNIX", None):  # processes of this machine may go on talking
            refuse(address)
        connect(self, address)

    socket.socket.connect, socket.getaddrinfo = connect_nearby, refuse  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        socket.socket.connect, socket.getaddrinfo = connect, look_up  # type: ignore[method-assign]
