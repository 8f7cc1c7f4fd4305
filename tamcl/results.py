"""The tables that a study leaves: their columns, written whole or not at all, and read back with ``load_results``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from tamcl.errors import Damaged, InputError
from tamcl.files.atomic import write_atomic
from tamcl.files.parquet import dump_parquet, load_parquet
from tamcl.files.paths import user_path
from tamcl.files.records import read_study
from tamcl.user_code import Code, module_of

Tables = dict[str, pd.DataFrame]
"""Tables by their names."""


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
        | {
            "phase": "str",
            "status": "str",
            "error": "str",
            "optimizer_state": "str",
            "batches": "int64",
            "stacked": "bool",
        }
        | {"optimizer": "str", "code": "str", "config": "str"}
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
tensors. ``continual`` holds the tests inside experiences. ``runs.batches`` is how many mini-batches a row of ``online``
is; ``optimizer``, ``code``, ``config``, ``data`` and ``versions`` are JSON: the optimizer with its options, digests of
user modules by name, everything that decides the result, what the images are, and who computed."""

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
        If a column is missing or unknown or holds values of another kind, or a key stands twice.
    """
    schema = TABLES[name]
    if set(table.columns) != set(schema.columns):
        raise ValueError(f"table '{name}' has columns {sorted(map(str, table.columns))}, not {sorted(schema.columns)}")
    for column, dtype in schema.columns.items():
        if len(table) and not _holds(table[column], dtype):
            raise ValueError(f"table '{name}' has column '{column}' of type {table[column].dtype}, not {dtype}")
    ordered = table[list(schema.columns)].astype(schema.columns)
    if ordered.duplicated(schema.keys).any():
        raise ValueError(f"table '{name}' has two rows of the same {', '.join(schema.keys)}")
    return ordered.sort_values(schema.keys, ignore_index=True)


def _holds(column: pd.Series, dtype: str) -> bool:
    """Tell whether a column can be of a type without a value being changed, such as cut off or made words."""
    if dtype == "str":
        categories = isinstance(column.dtype, pd.CategoricalDtype)
        return not column.isna().any() and pd.api.types.is_string_dtype(column.cat.categories if categories else column)
    numbers = column.infer_objects()
    if dtype == "bool":
        return pd.api.types.is_bool_dtype(numbers)
    if pd.api.types.is_bool_dtype(numbers) or not pd.api.types.is_numeric_dtype(numbers):
        return False
    whole = dtype == "float64" or pd.api.types.is_integer_dtype(numbers)
    return whole or bool((numbers == numbers.round()).all())


def complete_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """Return ``runs`` with the columns that it lacks where an older tamcl wrote it, which its ``config`` tells.

    Raises
    ------
    ValueError
        If ``config`` is not as it was written.
    """
    if "config" not in runs or {"batches", "stacked", "optimizer", "code"} <= set(runs.columns):
        return runs
    configs = [_to_dict("config", text) for text in runs["config"]]
    batches = [(config.get("evaluation") or {}).get("batches", 1) for config in configs]
    stacked = [bool(config.get("stacked")) for config in configs]
    optimizer = [json.dumps(config.get("optimizer", {})) for config in configs]
    code = [json.dumps(dict(take_code(config))) for config in configs]
    return runs.assign(batches=batches, stacked=stacked, optimizer=optimizer, code=code)


def take_code(config: dict[str, Any]) -> Code:
    """Take the digests of user code out of what decides a run's result, and return them."""
    code, optimizer = dict(config.pop("code", {})), config.get("optimizer", {})
    if "source" in optimizer and (module := module_of(optimizer["name"])):
        code[module] = optimizer.pop("source")
    return code


def _to_dict(column: str, text: str) -> dict[str, Any]:
    """Return what a column of ``runs`` holds as JSON."""
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"column '{column}' holds {text[:60]!r}")
    return found


def write_table(directory: Path, name: str, table: pd.DataFrame, of: str = "") -> None:
    """Write ``directory/name.parquet`` after checking it against its schema; ``of`` is what the table is a part of."""
    checked = conform(name, table)
    if name in OPTIONAL and checked.empty:
        return
    content = dump_parquet(checked, of)
    write_atomic(directory / f"{name}.parquet", lambda path: path.write_bytes(content))


def write_tables(directory: Path, tables: Mapping[str, pd.DataFrame], of: str) -> None:
    """Write tables that belong together: each file names the whole that it is a part of, and all others in it."""
    written = [name for name, table in tables.items() if len(table) or name not in OPTIONAL]
    for name in OPTIONAL.difference(written):
        _path(directory, name).unlink(missing_ok=True)
    for name in written:
        write_table(directory, name, tables[name], of=f"{of}: {' '.join(written)}")


def read_table(directory: Path, name: str) -> pd.DataFrame:
    """Read ``directory/name.parquet``.

    Raises
    ------
    FileNotFoundError
        If there is none.
    Damaged
        If it was damaged, or is another table.
    InputError
        If it may not be read.
    """
    return _read(directory, name)[0]


def read_tables(directory: Path, names: Iterable[str], of: str = "", *, dispensable: Iterable[str] = ()) -> Tables:
    """Read tables that were written together.

    Parameters
    ----------
    directory : Path
    names : iterable of str
    of : str
        What they must be a part of, if they say so themselves.
    dispensable : iterable of str
        Of ``OPTIONAL``, those that may have been removed since.

    Raises
    ------
    FileNotFoundError
        If one is not there.
    Damaged
        If one was damaged, is another table, or belongs elsewhere.
    InputError
        If one may not be read.
    """
    found = {name: _read(directory, name) for name in names}
    wholes = {name: whole for name, (_, whole) in found.items() if whole}
    first = next(iter(wholes), "")
    for name, whole in wholes.items():
        if whole != wholes[first] or not whole.startswith(of and f"{of}: "):
            elsewhere = f"it is not of {of}" if of else f"it was not written together with {first}.parquet"
            raise Damaged(f"'{_path(directory, name)}' is damaged: {elsewhere}")
    written = wholes[first].rpartition(": ")[2].split() if first else []
    for name in sorted({*written} - {*dispensable}):
        if not _path(directory, name).is_file():
            raise Damaged(f"'{_path(directory, name)}' is missing")
    return {name: table for name, (table, _) in found.items()}


def _read(directory: Path, name: str) -> tuple[pd.DataFrame, str]:
    path = _path(directory, name)
    if name in OPTIONAL and not os.path.lexists(path):
        return empty(name), ""
    try:
        table, of = load_parquet(path.read_bytes())
        return conform(name, complete_runs(table) if name == "runs" else table), of
    except FileNotFoundError:
        raise
    except (IsADirectoryError, NotADirectoryError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise Damaged(f"'{path}' is damaged: {why}") from error
    except OSError as error:
        raise InputError(f"'{path}': {error.strerror}") from error


def _path(directory: Path, name: str) -> Path:
    return directory / f"{name}.parquet"


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
        If the folder holds no finished study, or a file of it may not be read.
    Damaged
        If a file was damaged, or is not of the same study as the others.
    """
    directory = user_path(directory)
    files = ["study.json", *(f"{name}.parquet" for name in TABLES if name not in OPTIONAL)]
    missing = [file for file in files if not os.path.lexists(directory / file)]
    if missing:
        raise InputError(f"'{directory}' holds no finished study: {', '.join(missing)} not found")
    study = read_study(directory / "study.json")
    scenario = study["scenario"]
    asked = {"diagnostics": scenario.get("diagnostics"), "continual": scenario.get("evaluation", {}).get("every")}
    try:
        tables = read_tables(directory, TABLES, dispensable=[name for name, wanted in asked.items() if not wanted])
        _check_runs(directory, tables["runs"])
    except Damaged as error:
        cure = "the tamcl command that wrote it gathers it again from the cells"
        raise Damaged(f"'{directory}' holds a damaged table: {error}; {cure}") from error
    return Results(directory, study, **tables)


def _check_runs(directory: Path, runs: pd.DataFrame) -> None:
    """Raise ``Damaged`` where text that others read as JSON is none."""
    for column in ("optimizer", "code", "config", "data", "versions"):
        for text in runs[column].unique():
            try:
                _to_dict(column, text)
            except ValueError as error:
                raise Damaged(f"'{_path(directory, 'runs')}' is damaged: {error}") from error
