"""The tables that a study leaves: their columns, written whole or not at all, and read back with ``load_results``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from tamcl.errors import InputError
from tamcl.paths import user_path


class Schema(NamedTuple):
    """Columns of a table with their types; the first ``key`` columns identify a row."""

    columns: dict[str, str]
    key: int

    @property
    def keys(self) -> list[str]:
        """Names of the columns that identify a row."""
        return list(self.columns)[: self.key]


CELL = {"scenario": "str", "arm": "str", "lr": "float64", "seed": "int64"}
"""Columns that say which run a row is of: one optimizer at one learning rate, on one seed."""

TABLES = {
    "online": Schema(
        CELL | {"experience": "int64", "step": "int64", "n": "int64", "loss": "float64", "correct": "float64"}, 6
    ),
    "eval": Schema(
        CELL | {"trained_on": "int64", "evaluated_on": "int64", "n": "int64", "accuracy": "float64", "loss": "float64"},
        6,
    ),
    "runs": Schema(
        CELL
        | {"phase": "str", "status": "str", "error": "str", "optimizer_state": "str", "config": "str"}
        | {"fingerprint": "str", "data": "str", "versions": "str", "wall_s": "float64", "ms_per_step": "float64"}
        | {"evaluation_s": "float64"},
        5,
    ),
    "diagnostics": Schema(
        CELL | {"experience": "int64", "step": "int64", "diagnostic": "str", "tensor": "str", "value": "float64"}, 8
    ),
    "continual": Schema(
        CELL
        | {"experience": "int64", "step": "int64", "evaluated_on": "int64"}
        | {"n": "int64", "accuracy": "float64", "loss": "float64"},
        7,
    ),
    "metrics": Schema(CELL | {"metric": "str", "value": "float64"}, 5),
    "comparisons": Schema(
        {"scenario": "str", "metric": "str", "arm_a": "str", "arm_b": "str", "n_pairs": "int64"}
        | {"mean_a": "float64", "mean_b": "float64", "diff": "float64", "ci_low": "float64", "ci_high": "float64"}
        | {"p_value": "float64", "p_adjusted": "float64", "prob_a_better": "float64"},
        4,
    ),
}
"""Schema of every table. ``online.step`` counts mini-batches, or blocks of as many as the scenario says, of the whole
stream from 0 and is measured before the update; ``online.correct`` and ``eval.accuracy`` are nan where a number is
learnt and not a class; ``eval.trained_on`` is -1 for the untrained model. ``diagnostics.step`` and ``continual.step``
are the mini-batch of the update that was measured after; ``diagnostics.tensor`` is empty where the value is about all
tensors. ``continual`` holds the tests inside experiences."""

OF_CELLS = ("online", "eval", "runs", "diagnostics", "continual")
"""Tables that a training run leaves; the others are computed from them."""

OPTIONAL = {"diagnostics", "continual"}
"""Tables that have no file where they have no rows."""


def empty(name: str) -> pd.DataFrame:
    """Return a table without rows."""
    return pd.DataFrame({column: pd.Series(dtype=dtype) for column, dtype in TABLES[name].columns.items()})


def conform(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with exactly its schema's columns, in order and typed, sorted by key.

    Raises
    ------
    ValueError
        If a column is missing or unknown, or a key stands twice.
    """
    schema = TABLES[name]
    if set(table.columns) != set(schema.columns):
        raise ValueError(f"table '{name}' has columns {sorted(table.columns)}, not {sorted(schema.columns)}")
    ordered = table[list(schema.columns)].astype(schema.columns)
    if ordered.duplicated(schema.keys).any():
        raise ValueError(f"table '{name}' has two rows of the same {', '.join(schema.keys)}")
    return ordered.sort_values(schema.keys, ignore_index=True)


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Call ``write`` on a temporary path beside ``path`` and rename, so that a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_table(directory: Path, name: str, table: pd.DataFrame) -> None:
    """Write ``directory/name.parquet`` after checking it against its schema."""
    checked = conform(name, table)
    if name in OPTIONAL and checked.empty:
        return
    write_atomic(directory / f"{name}.parquet", lambda path: checked.to_parquet(path, index=False))


def read_table(directory: Path, name: str) -> pd.DataFrame:
    """Read ``directory/name.parquet``."""
    path = directory / f"{name}.parquet"
    if name in OPTIONAL and not path.is_file():
        return empty(name)
    return conform(name, pd.read_parquet(path))


@dataclass(frozen=True)
class Results:
    """A study's tables.

    Attributes
    ----------
    directory : Path
        The study's folder.
    study : dict
        ``scenario`` (the resolved scenario as a dict, its name under ``name``) and ``command``.
    online, eval, runs, diagnostics, continual, metrics, comparisons : pandas.DataFrame
        Tidy tables with the columns of ``TABLES``; tuning and reported seeds together, told apart by ``runs.phase``.
    """

    directory: Path
    study: dict[str, Any]
    online: pd.DataFrame
    eval: pd.DataFrame
    runs: pd.DataFrame
    diagnostics: pd.DataFrame
    continual: pd.DataFrame
    metrics: pd.DataFrame
    comparisons: pd.DataFrame

    @property
    def arms(self) -> list[str]:
        """All arms in the order of the scenario."""
        return list(dict.fromkeys([*self.study.get("scenario", {}).get("arms", {}), *self.runs["arm"]]))

    def phase(self, table: pd.DataFrame, phase: str = "report") -> pd.DataFrame:
        """Return the rows of the cells of one phase, "tune" or "report"."""
        cells = self.runs.loc[self.runs["phase"] == phase, list(CELL)]
        return table.merge(cells, on=list(CELL))


def load_results(directory: str | Path) -> Results:
    """Open the folder that ``tamcl compare`` wrote.

    Raises
    ------
    InputError
        If the folder holds no finished study.
    """
    directory = user_path(directory)
    files = ["study.json", *(f"{name}.parquet" for name in TABLES if name not in OPTIONAL)]
    missing = [file for file in files if not (directory / file).is_file()]
    if missing:
        raise InputError(f"'{directory}' holds no finished study: {', '.join(missing)} not found")
    study = read_study(directory / "study.json")
    try:
        return Results(directory, study, **{name: read_table(directory, name) for name in TABLES})
    except ValueError as error:
        raise InputError(f"'{directory}' holds a damaged table: {error}") from error


def read_study(path: Path) -> dict[str, Any]:
    """Read ``study.json``: ``scenario`` and ``command``."""
    try:
        study = json.loads(path.read_text(encoding="utf-8"))
        assert isinstance(study["scenario"], dict)
    except (ValueError, TypeError, KeyError, AssertionError) as error:
        raise InputError(f"'{path}' is damaged: {error!r}") from error
    return dict(study)
