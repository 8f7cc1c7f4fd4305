"""Checkpoints: where a run is, in a file, so that one that was killed goes on from the last experience it finished."""

from __future__ import annotations

import pickle
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from torch.optim import Optimizer

from tamcl.avalanche import CLScenario
from tamcl.files.atomic import write_atomic
from tamcl.files.digests import is_whole, write_after_digest, write_digest
from tamcl.seeding import generator_states, set_generators
from tamcl.streams.benchmark import Experience, ExperienceStream

EVERY_S = 30.0
"""Seconds from a run's start to its first checkpoint, and from one to the next, at least; short runs write none."""

SHARE = 0.02
"""Of the time that checkpoints may take: after one that took long, the next waits longer."""


class Checkpoint:
    """A run in a file: all that changes as it goes on, and the global generators that its optimizer may draw from.

    The run is pickled whole, strategy, optimizer and collectors with everything they have, so that nothing has to say
    what it would need: somebody's own strategy, optimizer or diagnostic goes on as those here do. The data are left
    out: an experience is its place in the benchmark, which is built anew from the seed. A run that cannot be pickled,
    as when an optimizer holds a lambda, is trained without checkpoints, and so is one for which there is no room, or
    whose optimizer keeps a table by the ``id`` of parameters, under which it would not find them again.

    The file starts with a digest of the rest. One that is damaged, or of another run or other versions, counts as none.
    As any pickle, it can run code when it is read, so train in nobody's folder whom you would not let run code.

    Parameters
    ----------
    path : Path or None
        The file; None for a run without checkpoints.
    mark : dict
        What decides the result, stands in the file, and must be the same when it is read.
    benchmark : CLScenario
        As ``tamcl.streams.benchmark.build_benchmark`` makes it.
    """

    def __init__(self, path: Path | None, mark: dict[str, Any], benchmark: CLScenario) -> None:
        self._path = path
        self._mark = mark
        self._benchmark = benchmark
        self._last, self._took = time.perf_counter(), 0.0

    def load(self) -> Any:
        """Return the run as it was, and set the global generators as they were; None if there is none."""
        if self._path is None:
            return None
        try:
            with self._path.open("rb") as file:
                if not is_whole(file):
                    return None
                if pickle.load(file) != self._mark:  # before the run, which may need what is gone
                    return None
                run, generators = _Unpickler(file, self._benchmark).load()
            set_generators(generators)
        except Exception:  # there is none, or it is damaged, which may raise anything
            return None
        return run

    @property
    def is_due(self) -> bool:
        """Whether it is time to write one."""
        is_kept = self._path is not None
        return is_kept and time.perf_counter() - self._last >= max(EVERY_S, self._took / SHARE)

    def save(self, run: Any) -> None:
        """Write the run, if it is time to."""
        if self._path is None or not self.is_due:
            return
        before = time.perf_counter()
        with suppress(Exception):  # somebody's optimizer may raise anything
            write_atomic(self._path, lambda path: self._write(path, run))
        self._last = time.perf_counter()
        self._took = self._last - before

    def _write(self, path: Path, run: Any) -> None:
        with path.open("w+b") as file:
            write_after_digest(file)
            pickle.dump(self._mark, file)
            _Pickler(file).dump((run, generator_states()))
            write_digest(file)


class _Pickler(pickle.Pickler):
    """Writes the place of an experience and not its data, and an optimizer with all that it has."""

    def persistent_id(self, thing: Any) -> tuple[str, int | None] | None:
        if isinstance(thing, Experience):
            return thing.origin_stream.name, thing.current_experience
        if isinstance(thing, ExperienceStream):
            return thing.name, None
        return None

    def reducer_override(self, thing: Any) -> Any:
        if isinstance(thing, Optimizer) and _keeps_ids(thing):
            raise pickle.PicklingError(f"{type(thing).__name__} keeps a table by the id of parameters")
        if isinstance(thing, Optimizer) and type(thing).__getstate__ is Optimizer.__getstate__:
            # torch's own way leaves out the attributes of somebody's optimizer, such as a counter
            return object.__new__, (type(thing),), vars(thing)
        return NotImplemented


def _keeps_ids(optimizer: Optimizer) -> bool:
    """Tell whether an optimizer has a table whose keys are addresses of its parameters."""
    ids = {id(param) for group in optimizer.param_groups for param in group["params"]}
    tables = (table for table in vars(optimizer).values() if isinstance(table, dict))
    return any(type(key) is int and key in ids for table in tables for key in table)


class _Unpickler(pickle.Unpickler):
    """Reads what ``_Pickler`` wrote, with the experiences of a benchmark."""

    def __init__(self, file: IO[bytes], benchmark: CLScenario) -> None:
        super().__init__(file)
        self._streams = {"train": benchmark.train_stream, "test": benchmark.test_stream}

    def persistent_load(self, place: tuple[str, int | None]) -> Any:
        name, position = place
        return self._streams[name] if position is None else self._streams[name][position]
