"""How far a study is, from the files in its folder alone, which are only read.

A cell's folder appears whole, when the cell is finished, so nothing is seen half. Whoever trains holds a lock on a file
in the study's folder; where the file system has no locks it is not known whether a study runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from typing import Any

from tamcl.errors import InputError
from tamcl.files.lock import is_held
from tamcl.files.paths import user_path
from tamcl.files.records import read_study
from tamcl.metrics import find, measure
from tamcl.results import CELL, Tables, empty, read_table, read_tables
from tamcl.study.folder import LOCK
from tamcl.study.plan import size_of
from tamcl.study.state import Done, State, state


@dataclass
class Watcher:
    """Reads a study's folder again and again, and each cell once.

    Parameters
    ----------
    directory : Path

    Raises
    ------
    InputError
        If the folder holds no study.
    """

    directory: Path
    cells: dict[str, Done] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.directory = user_path(self.directory)
        if not (self.directory / "study.json").is_file():
            raise InputError(f"'{self.directory}' holds no study: study.json not found")

    def read(self) -> State:
        """Return how far the study is now."""
        study = read_study(self.directory / "study.json")
        running = is_locked(self.directory)
        self._read_cells(size_of(study).tune_by)
        cells = _newest(self.cells.values())
        return state(study, cells, running=running, finished=running is not True and self._is_written(cells))

    def _is_written(self, cells: list[Done]) -> bool:
        """Tell whether the tables are there and no cell is newer; times decide only on cells that are not in them."""
        try:
            written = (self.directory / "comparisons.parquet").stat().st_mtime
        except OSError:
            return False
        if all(cell.finished <= written for cell in cells):
            return True
        try:
            runs = read_table(self.directory, "runs")
        except (OSError, InputError):
            return False
        gathered = {_trained(*row) for row in runs[["arm", "lr", "seed", "phase", "status", "wall_s"]].to_numpy()}
        return all(cell.finished <= written or _trained(*cell[:5], cell.seconds) in gathered for cell in cells)

    def _read_cells(self, tune_by: str) -> None:
        folders = self.directory / "cells"
        if not folders.is_dir():
            if not self.cells and (self.directory / "comparisons.parquet").is_file():
                self.cells = {str(i): cell for i, cell in enumerate(_of_tables(self.directory, tune_by))}
            return
        present = {path.name: path for path in folders.iterdir() if not path.name.startswith(".")}
        for name, path in present.items():
            try:
                finished = path.stat().st_mtime
                if name not in self.cells or self.cells[name].finished != finished:
                    self.cells[name] = _read_cell(path, tune_by, finished)
            except (OSError, ValueError, LookupError):  # just replaced, or damaged: not done
                self.cells.pop(name, None)
        for name in self.cells.keys() - present:
            del self.cells[name]


def is_locked(directory: Path) -> bool | None:
    """Tell whether a process is at work in a study's folder; None where that cannot be known."""
    return is_held(directory / LOCK)


def _trained(arm: str, lr: float, seed: int, phase: str, status: str, seconds: float) -> tuple[Any, ...]:
    """Return what tells a training run from another of the same cell."""
    return arm, lr, seed, phase, status, f"{seconds}"  # nan equals itself in words


def _newest(cells: Iterable[Done]) -> list[Done]:
    """Return the newest of the cells that differ in nothing but the optimizer's file or tamcl's version."""
    return list({cell[:4]: cell for cell in sorted(cells, key=lambda cell: cell.finished)}.values())


_READ = ("runs", "online", "eval")


def _read_cell(folder: Path, tune_by: str, finished: float) -> Done:
    return next(_done(read_tables(folder, _READ, of=folder.name), tune_by, finished))


def _of_tables(directory: Path, tune_by: str) -> Iterator[Done]:
    """Return the cells of a study of which only the tables are left."""
    yield from _done(read_tables(directory, _READ), tune_by, (directory / "runs.parquet").stat().st_mtime)


def _done(tables: Tables, tune_by: str, finished: float) -> Iterator[Done]:
    runs, online, evaluated = (tables[name] for name in _READ)
    cell = list(CELL)
    steps = online.groupby(cell).size()
    wanted = {name: find(name) for name in ("online_accuracy", tune_by)}
    try:
        metrics = measure(online, evaluated, runs, metrics=wanted.values())
    except InputError:  # rows are missing: no score
        metrics = empty("metrics")
    values = metrics.set_index([*cell, "metric"])["value"]
    for row in runs.to_dict("records"):
        key = tuple(row[column] for column in cell)
        accuracy, score = (float(values.get((*key, name), nan)) for name in ("online_accuracy", tune_by))
        known = {column: row[column] for column in ("arm", "lr", "seed", "phase", "status", "error")}
        times = {"seconds": row["wall_s"], "finished": finished}
        yield Done(**known, **times, accuracy=accuracy, score=score, steps=int(steps.get(key, 0)))
