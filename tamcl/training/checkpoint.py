"""Checkpoints: where a run is, in a file, so that one that was killed goes on from there, in the middle of a pass."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

from torch import nn

from tamcl.errors import reason
from tamcl.files.atomic import write_atomic
from tamcl.files.digests import is_whole, write_after_digest, write_digest
from tamcl.seeding import generator_states, set_generators
from tamcl.strategies.state import NotSaved, State, load_optimizer_state, optimizer_state, own_parts
from tamcl.training.state_file import read_state, to_bytes, write_state

EVERY_S = 60.0
"""Seconds from a run's start to its first checkpoint, and from one to the next, at least; short runs write none."""

SHARE = 0.02
"""Of the time that checkpoints may take: after one that took long, the next waits longer."""


class Pace:
    """When it is time for a checkpoint of a run, or of those that are trained together.

    Attributes
    ----------
    spent : float
        Seconds that all checkpoints so far took.
    """

    def __init__(self) -> None:
        self.spent = 0.0
        self._last, self._wait = time.perf_counter(), EVERY_S

    @property
    def is_due(self) -> bool:
        """Whether it is time to write one."""
        return time.perf_counter() - self._last >= self._wait

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Measure what is done inside the ``with`` block, which is to write, and wait the longer the longer it took."""
        before = time.perf_counter()
        yield
        self._last = time.perf_counter()
        took = self._last - before
        self.spent += took
        self._wait = max(EVERY_S, took / SHARE)


class Checkpoint:
    """A run in a file: what ``state_dict`` of its strategy returns, and how far it is.

    The file is data alone (``tamcl.training.state_file``), so to read it runs nothing. It starts with a digest of the
    rest. One that is damaged, or of another run or other versions, counts as none, which is said. A run whose state is
    no tensors and plain values is trained without checkpoints, which is said once; so is, without a word, one for which
    there is no room.

    Parameters
    ----------
    path : Path or None
        The file; None for a run without checkpoints.
    mark : dict
        What decides the result, stands in the file, and must be the same when it is read.
    """

    def __init__(self, path: Path | None, mark: dict[str, Any]) -> None:
        self._path = None if path is not None and path.parent.is_symlink() else path  # which may lead to another run
        self._mark = json.dumps(mark, sort_keys=True)

    @property
    def is_kept(self) -> bool:
        """Whether there is, or may be, a file."""
        return self._path is not None

    def load(self) -> Any:
        """Return what was saved; None if there is nothing, or nothing that can be used."""
        if self._path is None:
            return None
        try:
            if self._path.exists() and not self._path.is_file():
                raise ValueError("it is no regular file")
            with self._path.open("rb") as file:
                if not is_whole(file):
                    raise ValueError("it is damaged, or of another version")
                if read_state(file) != self._mark:
                    raise ValueError("it is of another run, or of other versions")
                return read_state(file)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except Exception as error:  # what a damaged file holds may be anything
            self.refuse(error)
            return None

    def refuse(self, error: Exception) -> None:
        """Say that the file is not used."""
        print(f"tamcl: '{self._path}' is not used, and the run trained anew: {reason(error)}", file=sys.stderr)

    def save(self, strategy: Any, make: Callable[[], State]) -> None:
        """Write what a function returns of a strategy; from then on nothing, if that cannot be."""
        if self._path is None:
            return
        with suppress(OSError):  # no room, or no permission: there is none, or the one from before
            try:
                state = make()
                check_optimizer(strategy, state["strategy"]["optimizer"])
                write_atomic(self._path, lambda path: self._write(path, state))
            except OSError:
                raise
            except Exception as error:  # somebody's optimizer may raise anything
                self.give_up(strategy, error)

    def give_up(self, strategy: Any, error: Exception) -> None:
        """Write nothing from here on, and say why, once a process for all runs of a kind."""
        self._path = None
        name = type(strategy).__name__, type(getattr(strategy, "optimizer", None)).__name__
        if name not in _SAID:
            _SAID.add(name)
            who = f"runs of {name[0]} with {name[1]}"
            print(f"tamcl: {who} are trained without checkpoints: {reason(error)}", file=sys.stderr)

    def _write(self, path: Path, state: State) -> None:
        with path.open("w+b") as file:
            write_after_digest(file)
            write_state(file, self._mark)
            write_state(file, state)
            write_digest(file)


def check_optimizer(strategy: Any, state: State) -> None:
    """Check that somebody's own optimizer comes out of its state as it went in, down to the bits.

    Raises
    ------
    NotSaved
        If another one that takes the state over has another state.
    """
    if not own_parts(strategy.optimizer):
        return
    written, before = to_bytes(state), generator_states()
    try:
        params = [nn.Parameter(param.detach().clone(), param.requires_grad) for param in strategy.model.parameters()]
        other = strategy.new_optimizer(iter(params))
        load_optimizer_state(other, read_state(BytesIO(written)))
    finally:
        set_generators(before)
    if to_bytes(optimizer_state(other)) != written:
        raise NotSaved("another one that takes its state over has another state")


_SAID: set[tuple[str, str]] = set()
