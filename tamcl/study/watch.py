"""How far a study is, from the files in its folder alone, which are only read.

A cell's folder appears whole, when the cell is finished, so nothing is seen half. Whoever trains holds a lock on a file
in the study's folder; where the file system has no locks it is not known whether a study runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf, nan
from pathlib import Path
from typing import Any

import pandas as pd

from tamcl.errors import InputError
from tamcl.files.lock import is_held
from tamcl.files.paths import user_path
from tamcl.files.records import read_study
from tamcl.metrics import METRICS, find, measure
from tamcl.results import (
    CELL,
    ROWS,
    ArrowTables,
    Tables,
    empty,
    joined,
    read_arrow_tables,
    read_table,
    read_tables,
    rows_in,
)
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
        finished = running is not True and self._is_written(cells)
        return state(study, cells, running=running, finished=finished, since=_since(self.directory))

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
        gathered = {_trained(*row) for row in runs[[*_RUN, "status", "wall_s"]].to_numpy()}
        return all(cell.finished <= written or _trained(*cell[:6], cell.seconds) in gathered for cell in cells)

    def _read_cells(self, tune_by: str) -> None:
        folders = self.directory / "cells"
        if not folders.is_dir():
            if not self.cells and (self.directory / "comparisons.parquet").is_file():
                self.cells = {str(i): cell for i, cell in enumerate(_of_tables(self.directory, tune_by))}
            return
        times: dict[str, float] = {}
        with os.scandir(folders) as entries:
            for entry in entries:
                with suppress(OSError):  # just replaced
                    if not entry.name.startswith("."):
                        times[entry.name] = entry.stat().st_mtime
        self.cells = {name: cell for name, cell in self.cells.items() if times.get(name) == cell.finished}
        new = {folders / name: time for name, time in times.items() if name not in self.cells}
        for part in _in_parts(new):
            self.cells.update((folder.name, cell) for folder, cell in _done(part, new, tune_by))


def is_locked(directory: Path) -> bool | None:
    """Tell whether a process is at work in a study's folder; None where that cannot be known."""
    return is_held(directory / LOCK)


def _since(directory: Path) -> float:
    """Return when a process went to work in a study's folder; long ago if none is."""
    try:
        return (directory / LOCK).stat().st_mtime
    except OSError:
        return -inf


_RUN = Done._fields[:5]
"""What tells a cell from others of its study."""


def _trained(*run: Any) -> tuple[Any, ...]:
    """Return what tells a training run, by its cell, status and seconds, from another of the same cell."""
    return *run[:-1], f"{run[-1]}"  # nan equals itself in words


def _newest(cells: Iterable[Done]) -> list[Done]:
    """Return the newest of the cells that differ in nothing but the optimizer's file or tamcl's version."""
    return list({cell[: len(_RUN)]: cell for cell in sorted(cells, key=lambda cell: cell.finished)}.values())


_READ = ("runs", "online", "eval")

Found = tuple[Path, ArrowTables]
"""A cell's folder and what was read of it."""


def _in_parts(folders: Iterable[Path]) -> Iterator[list[Found]]:
    """Read as many cells as are to be in memory at once, and then the next; none twice, and no damaged ones.

    Cells that differ only in their code have the same key, and are not read at once.
    """
    part: dict[tuple[Any, ...], Found] = {}
    rows = 0
    for folder in folders:
        try:
            tables = read_arrow_tables(folder, _READ, of=folder.name)
            key = _key(tables)
        except (OSError, ValueError, LookupError):  # just replaced, or damaged: not done
            continue
        if key in part or rows >= ROWS:
            yield [*part.values()]
            part, rows = {}, 0
        part[key] = folder, tables
        rows += rows_in(tables)
    if part:
        yield [*part.values()]


def _done(part: Sequence[Found], finished: Mapping[Path, float], tune_by: str) -> Iterator[tuple[Path, Done]]:
    """Yield what is known of cells that were read; one whose rows are not complete has no score."""
    try:
        tables = joined([tables for _, tables in part])
        metrics = _measured(tables, tune_by)
    except ValueError:
        if len(part) > 1:
            for each in part:
                yield from _done([each], finished, tune_by)
        return
    cells = {tuple(row[column] for column in CELL): row for row in tables["runs"].to_dict("records")}
    values = _values(metrics)
    for folder, read in part:
        row = cells[_key(read)]
        yield folder, _cell(row, values, tune_by, steps=len(read["online"]), finished=finished[folder])


def _measured(tables: Tables, tune_by: str) -> pd.DataFrame:
    """Return what is shown of cells; of a single one nothing if its rows are not complete."""
    # One of somebody's own has its value at the end: who looks on imports no code.
    wanted = {name: find(name) for name in ("online_accuracy", tune_by) if name in METRICS}
    try:
        return measure(tables["online"], tables["eval"], tables["runs"], metrics=wanted.values())
    except InputError:
        if len(tables["runs"]) > 1:
            raise
        return empty("metrics")


def _key(tables: ArrowTables) -> tuple[Any, ...]:
    return tuple(tables["runs"][column][0].as_py() for column in CELL)


def _of_tables(directory: Path, tune_by: str) -> Iterator[Done]:
    """Yield the cells of a study of which only the tables are left."""
    tables, finished = read_tables(directory, ("runs", "metrics")), (directory / "runs.parquet").stat().st_mtime
    values = _values(tables["metrics"])
    for row in tables["runs"].to_dict("records"):
        yield _cell(row, values, tune_by, steps=0, finished=finished)


Values = Mapping[tuple[Any, ...], float]
"""Of metrics, by cell and name."""


def _values(metrics: pd.DataFrame) -> Values:
    return dict(zip(metrics[[*CELL, "metric"]].itertuples(index=False, name=None), metrics["value"], strict=True))


def _cell(row: Mapping[Any, Any], values: Values, tune_by: str, *, steps: int, finished: float) -> Done:
    key = tuple(row[column] for column in CELL)
    accuracy, score = (float(values.get((*key, name), nan)) for name in ("online_accuracy", tune_by))
    known = {column: row[column] for column in (*_RUN, "status", "error", "stacked")}
    return Done(**known, seconds=row["wall_s"], finished=finished, accuracy=accuracy, score=score, steps=steps)
