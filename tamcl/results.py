"""The tables that a study leaves: their columns, written whole or not at all, and read back with ``load_results``."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tamcl.arguments import instance
from tamcl.errors import Damaged, InputError, printable, unknown_name
from tamcl.files.atomic import write_atomic
from tamcl.files.bounds import memory_bytes
from tamcl.files.parquet import ParquetWriter, dump_parquet, load_parquet, to_frame, whole_of
from tamcl.files.paths import open_regular, read_bounded, user_path
from tamcl.files.records import read_study
from tamcl.registry import load
from tamcl.session_code import MAIN
from tamcl.trial import values_of
from tamcl.user_code import Code, module_of

Tables = dict[str, pd.DataFrame]
"""Tables by their names."""

ArrowTables = dict[str, pa.Table]
"""The same as they are read from files, which takes a tenth of the time: to be put together by ``joined``."""


class Schema(NamedTuple):
    """Columns of a table with their types; the first ``key`` columns identify a row."""

    columns: dict[str, str]
    key: int

    @property
    def keys(self) -> list[str]:
        """Names of the columns that identify a row."""
        return list(self.columns)[: self.key]


CELL = {"scenario": "str", "arm": "str", "lr": "float64", "options": "str", "seed": "int64"}
"""Columns that say which run a row is of: one optimizer at one learning rate, on one seed. ``options`` are the values
of its options that are tuned together with the learning rate, as of ``tamcl.trial.Trial``; empty where none is."""

TABLES = {
    "online": Schema(
        CELL | {"experience": "int64", "step": "int64", "n": "int64", "loss": "float64", "correct": "float64"}, 7
    ),
    "eval": Schema(
        CELL | {"trained_on": "int64", "evaluated_on": "int64", "n": "int64", "accuracy": "float64", "loss": "float64"},
        7,
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
            "compiled": "bool",
        }
        | {"optimizer": "str", "code": "str", "config": "str"}
        | dict.fromkeys(("fingerprint", "order", "initial_weights", "final_weights", "device"), "str")
        | {"data": "str", "versions": "str", "wall_s": "float64", "ms_per_step": "float64"}
        | {"evaluation_s": "float64"},
        6,
    ),
    "diagnostics": Schema(
        CELL | {"experience": "int64", "step": "int64", "diagnostic": "str", "tensor": "str", "value": "float64"}, 9
    ),
    "continual": Schema(
        CELL
        | {"experience": "int64", "step": "int64", "evaluated_on": "int64"}
        | {"n": "int64", "accuracy": "float64", "loss": "float64"},
        8,
    ),
    "metrics": Schema(CELL | {"metric": "str", "value": "float64"}, 6),
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
are the mini-batch of the update that was measured after. Of text, ``n`` and ``correct`` count tokens, and a loss is a
mean over tokens. ``diagnostics.tensor`` is empty where the value is about all
tensors. ``continual`` holds the tests inside experiences. ``runs.batches`` is how many mini-batches a row of ``online``
is; ``fingerprint`` to ``final_weights`` are digests and ``device`` is what computed, empty where an older tamcl wrote
them; ``optimizer``, ``code``, ``config``, ``data`` and ``versions`` are JSON: the optimizer with its options, digests
of user modules by name, everything that decides the result, what the images are, and who computed."""

DIGESTS = {
    "fingerprint": "stream",
    "order": "order of the examples",
    "initial_weights": "initial weights",
    "final_weights": "final weights",
}
"""Columns of ``runs`` that hold a digest, and of what, in the order in which a run makes it."""

PHASES = ("tune", "report")
"""What runs are for: to choose learning rates, or to be reported."""

OF_CELLS = ("online", "eval", "runs", "diagnostics", "continual")
"""Tables that a training run leaves; the others are computed from them."""

OPTIONAL = {"diagnostics", "continual"}
"""Tables that have no file where they have no rows."""

ROWS, LEAST_ROWS = 500_000, 500
"""Of what need not be in memory as a whole so many rows are, about 100 MB, or so many at least for each cell."""


def empty(name: str) -> pd.DataFrame:
    """Return a table without rows."""
    return pd.DataFrame({column: pd.Series(dtype=dtype) for column, dtype in TABLES[name].columns.items()})


def with_options(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of cells with the column ``options``, which is empty where nobody wrote any.

    So it was before options could be tuned, and so a table that is made by hand may be.
    """
    return table if "options" in table else table.assign(options="")


def conform(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with exactly its schema's columns, in order and typed, sorted by key.

    Raises
    ------
    ValueError
        If a column is missing, other than ``options``, or unknown or holds values of another kind, or a key stands
        twice, or ``runs.options`` are none of a trial.
    """
    schema = TABLES[name]
    table = with_options(table) if "options" in schema.columns else table
    if sorted(map(str, table.columns)) != sorted(schema.columns):
        raise ValueError(f"table '{name}' has columns {sorted(map(str, table.columns))}, not {sorted(schema.columns)}")
    for column, dtype in schema.columns.items():
        if len(table) and not _holds(table[column], dtype):
            raise ValueError(f"table '{name}' has column '{column}' of type {table[column].dtype}, not {dtype}")
    ordered = table[list(schema.columns)]
    for options in ordered["options"].unique() if name == "runs" else ():
        values_of(options)
    others = {column: dtype for column, dtype in schema.columns.items() if table[column].dtype != dtype}
    if others:
        ordered = ordered.astype(others)
    if _ascends(ordered[schema.keys]):
        return ordered.reset_index(drop=True)
    if ordered.duplicated(schema.keys).any():
        raise ValueError(f"table '{name}' has two rows of the same {', '.join(schema.keys)}")
    return ordered.sort_values(schema.keys, ignore_index=True)


def _ascends(keys: pd.DataFrame) -> bool:
    """Tell whether each row is greater than the one before it, so that rows are sorted and none stands twice."""
    equal = np.ones(max(0, len(keys) - 1), dtype=bool)
    for _, column in keys.items():
        before, after = column.array[:-1], column.array[1:]
        same = np.asarray(after == before, dtype=bool)
        if (equal & ~same & ~np.asarray(after > before, dtype=bool)).any():
            return False
        equal &= same
    return not equal.any()


def _holds(column: pd.Series, dtype: str) -> bool:
    """Tell whether a column can be of a type without a value being changed, such as cut off or made words."""
    if dtype != "str" and column.dtype == dtype:
        return True
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
    if "config" not in runs:
        return runs
    runs = with_options(runs).assign(
        **dict.fromkeys((column for column in (*DIGESTS, "device") if column not in runs), "")
    )
    if {"batches", "stacked", "compiled", "optimizer", "code"} <= set(runs.columns):
        return runs
    configs = [_to_dict("config", text) for text in runs["config"]]
    batches = [(config.get("evaluation") or {}).get("batches", 1) for config in configs]
    stacked, compiled = ([bool(config.get(key)) for config in configs] for key in ("stacked", "compiled"))
    optimizer = [json.dumps(config.get("optimizer", {})) for config in configs]
    code = [json.dumps(dict(take_code(config))) for config in configs]
    return runs.assign(batches=batches, stacked=stacked, compiled=compiled, optimizer=optimizer, code=code)


def take_code(config: dict[str, Any]) -> Code:
    """Take the digests of user code out of what decides a run's result, and return them."""
    code, optimizer = dict(config.pop("code", {})), config.get("optimizer", {})
    if "source" in optimizer and (module := module_of(optimizer["name"])):
        holder = optimizer["name"] if module == MAIN else module  # a class of a session has no module to name
        code[holder] = optimizer.pop("source")
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


class TableWriter:
    """All tables of a study, written a few rows at a time, and put in place together when all are written.

    Use it in a ``with`` statement; what is not finished is removed.

    Parameters
    ----------
    directory : Path
    """

    def __init__(self, directory: Path) -> None:
        self._directory, self._opened = directory, ExitStack()
        self._files: dict[str, IO[bytes]] = {}
        self._writers: dict[str, ParquetWriter] = {}

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    def write(self, tables: Mapping[str, pd.DataFrame]) -> None:
        """Write rows that come after those that were written, in the order of the keys.

        Raises
        ------
        OSError
            Naming the file.
        """
        for name, table in tables.items():
            if len(table) or name not in OPTIONAL:
                self._write(name, pa.Table.from_pandas(conform(name, table), preserve_index=False))

    def _write(self, name: str, rows: pa.Table) -> None:
        path = _path(self._directory, name)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            if name not in self._files:
                self._opened.callback(temporary.unlink, missing_ok=True)
                self._files[name] = temporary.open("w+b")
                self._writers[name] = ParquetWriter(self._files[name], rows.schema)
                self._opened.callback(self._writers[name].abandon)
            self._writers[name].write(rows)
        except OSError as error:
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error

    def finish(self, of: str) -> None:
        """Put all tables in place: each names the whole that it is a part of, and all others in it.

        Raises
        ------
        OSError
            Naming the file.
        """
        for name in TABLES:
            if name not in self._files and name not in OPTIONAL:
                self._write(name, _SCHEMAS[name].empty_table())
        written = [name for name in TABLES if name in self._files]
        for name in written:
            try:
                self._writers[name].finish(f"{of}: {' '.join(written)}")
                self._files[name].close()
            except OSError as error:
                raise OSError(error.errno, error.strerror or str(error), str(_path(self._directory, name))) from error
        for name in OPTIONAL.difference(written):
            _path(self._directory, name).unlink(missing_ok=True)
        for name in written:
            os.replace(self._files[name].name, _path(self._directory, name))


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
    return _frame(directory, name, _read(directory, name, None)[0])


def read_tables(directory: Path, names: Iterable[str], of: str = "", *, dispensable: Iterable[str] = ()) -> Tables:
    """Read tables that were written together; parameters and errors are those of ``read_arrow_tables``."""
    found = read_arrow_tables(directory, names, of, dispensable=dispensable)
    return {name: _frame(directory, name, table) for name, table in found.items()}


def _frame(directory: Path, name: str, table: pa.Table) -> pd.DataFrame:
    with _said(_path(directory, name)):
        return conform(name, table.to_pandas())


def read_arrow_tables(
    directory: Path,
    names: Iterable[str],
    of: str = "",
    *,
    only: Mapping[str, Sequence[str]] | None = None,
    dispensable: Iterable[str] = (),
) -> ArrowTables:
    """Read tables that were written together, as ``joined`` takes them.

    Parameters
    ----------
    directory : Path
    names : iterable of str
    of : str
        What they must be a part of, if they say so themselves.
    only : mapping of str to sequence of str, optional
        Tables and columns that are needed. Of the others the digests are looked at; a table without one is returned as
        a whole.
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
    found, wholes = {}, {}
    for name in names:
        table, wholes[name] = _read(directory, name, None if only is None else only.get(name, ()))
        if table is not None:
            found[name] = table
    _check_together(directory, wholes, of, dispensable)
    return found


def rows_in(tables: ArrowTables) -> int:
    """Return how many of ``ROWS`` tables count for: tables of few rows take as much memory as of some hundreds."""
    return max(LEAST_ROWS, sum(map(len, tables.values())))


def joined(parts: Sequence[ArrowTables]) -> Tables:
    """Return each table of several parts, as cells are, as one.

    Raises
    ------
    ValueError
        If two parts have the same row.
    """
    names = parts[0] if parts else ()
    return {name: conform(name, pa.concat_tables([part[name] for part in parts]).to_pandas()) for name in names}


_TYPES = {"str": pa.large_string(), "float64": pa.float64(), "int64": pa.int64(), "bool": pa.bool_()}

_SCHEMAS = {
    name: pa.schema([(column, _TYPES[dtype]) for column, dtype in schema.columns.items()])
    for name, schema in TABLES.items()
}
"""Of tables as they are written."""


def _read(directory: Path, name: str, columns: Sequence[str] | None) -> tuple[pa.Table | None, str]:
    """Return a table, or some or none of its columns if it is known to be whole, and what it is a part of if known."""
    path = _path(directory, name)
    if name in OPTIONAL and not os.path.lexists(path):
        return _SCHEMAS[name].empty_table(), ""
    with _said(path):
        content = io.BytesIO(read_bounded(path, memory_bytes() // 2))
        whole = whole_of(content)
        if whole is not None:
            expected = _SCHEMAS[name] if columns is None else pa.schema(map(_SCHEMAS[name].field, columns))
            table = load_parquet(content, columns) if len(expected) else None
            if table is None or table.schema.equals(expected):
                return table, whole
        frame = to_frame(load_parquet(content))
        frame = conform(name, complete_runs(frame) if name == "runs" else frame)
        return pa.Table.from_pandas(frame, _SCHEMAS[name], preserve_index=False), whole or ""


@contextmanager
def _said(path: Path) -> Iterator[None]:
    """Say in one line what is wrong with a table's file."""
    try:
        yield
    except (FileNotFoundError, InputError):
        raise
    except (IsADirectoryError, NotADirectoryError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise Damaged(f"'{path}' is damaged: {why}") from error
    except OSError as error:
        raise InputError(f"'{path}': {error.strerror}") from error


def _check_together(directory: Path, wholes: Mapping[str, str], of: str, dispensable: Iterable[str]) -> None:
    """Raise ``Damaged`` where tables say that they were not written together, or that there were more of them."""
    known = {name: whole for name, whole in wholes.items() if whole}
    first = next(iter(known), "")
    for name, whole in known.items():
        if whole != known[first] or not whole.startswith(of and f"{of}: "):
            elsewhere = f"it is not of {of}" if of else f"it was not written together with {first}.parquet"
            raise Damaged(f"'{_path(directory, name)}' is damaged: {elsewhere}")
    written = known[first].rpartition(": ")[2].split() if first else []
    for name in sorted({*written} - {*dispensable}):
        if not _path(directory, name).is_file():
            raise Damaged(f"'{_path(directory, name)}' is missing")


def check_table(directory: Path, name: str) -> str:
    """Return what a table says it is a part of, if its file is whole, little of which is in memory at a time.

    The errors are those of ``read_table``.
    """
    path = _path(directory, name)
    if name in OPTIONAL and not os.path.lexists(path):
        return ""
    with _said(path), open_regular(path) as file:
        whole = whole_of(file)
    if whole is None:
        read_table(directory, name)
    return whole or ""


def _path(directory: Path, name: str) -> Path:
    return directory / f"{name}.parquet"


class StoredTables(Mapping[str, pd.DataFrame]):
    """The tables in a study's folder, each read when it is asked for.

    Parameters
    ----------
    directory : Path
    wholes : mapping of str to str
        What each table was a part of when the folder was opened: no other is read.
    """

    def __init__(self, directory: Path, wholes: Mapping[str, str]) -> None:
        self._directory, self._wholes, self._known = directory, wholes, Tables()

    def __getitem__(self, name: str) -> pd.DataFrame:
        if name not in self._known:
            with _cure(self._directory):
                table, whole = _read(self._directory, name, None)
                self._check(name, whole)
                self._known[name] = _frame(self._directory, name, table)
        return self._known[name]

    def _check(self, name: str, whole: str) -> None:
        if whole != self._wholes[name]:
            raise InputError(
                f"'{_path(self._directory, name)}' was written anew since the study was opened: open it again"
            )

    def __iter__(self) -> Iterator[str]:
        return iter(TABLES)

    def __len__(self) -> int:
        return len(TABLES)

    def rows_of(self, name: str, cells: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of some cells; those of the others are not in memory together."""
        parts = (part.merge(cells, on=_shared(cells)) for part in self._parts(name))
        return pd.concat([empty(name), *parts], ignore_index=True)

    def _parts(self, name: str) -> Iterator[pd.DataFrame]:
        path = _path(self._directory, name)
        if name not in self._known and path.is_file():
            with _cure(self._directory), _said(path), open_regular(path) as file:
                self._check(name, whole_of(file) or "")
                table = pq.ParquetFile(file)
                if table.schema_arrow.equals(_SCHEMAS[name]):
                    for part in table.iter_batches(ROWS):
                        yield conform(name, pa.Table.from_batches([part]).to_pandas())
                    return
        yield self[name]


@dataclass(frozen=True, repr=False)
class Results:
    """A study's tables.

    Attributes
    ----------
    directory : Path
        The study's folder.
    study : dict
        ``scenario`` (the resolved scenario as a dict, its name under ``name``) and ``command``.
    tables : mapping of str to pandas.DataFrame
        Tidy tables with the columns of ``TABLES``; tuning and reported seeds together, told apart by ``runs.phase``.
        Each is read when it is asked for, and is an attribute as well: ``results.online``.
    """

    directory: Path
    study: dict[str, Any]
    tables: Mapping[str, pd.DataFrame]

    @property
    def online(self) -> pd.DataFrame:
        """What was measured before each update."""
        return self.tables["online"]

    @property
    def eval(self) -> pd.DataFrame:
        """What was measured after each experience."""
        return self.tables["eval"]

    @property
    def runs(self) -> pd.DataFrame:
        """How each run was trained and ended."""
        return self.tables["runs"]

    @property
    def diagnostics(self) -> pd.DataFrame:
        """What optimizer and model did."""
        return self.tables["diagnostics"]

    @property
    def continual(self) -> pd.DataFrame:
        """What was measured inside experiences."""
        return self.tables["continual"]

    @property
    def metrics(self) -> pd.DataFrame:
        """Every metric of every run that ended well."""
        return self.tables["metrics"]

    @property
    def comparisons(self) -> pd.DataFrame:
        """The paired comparisons of arms."""
        return self.tables["comparisons"]

    @property
    def arms(self) -> list[str]:
        """All arms in the order of the scenario."""
        return list(dict.fromkeys([*self.study.get("scenario", {}).get("arms", {}), *self.runs["arm"]]))

    def __repr__(self) -> str:
        runs, name = self.runs, self.study.get("scenario", {}).get("name", "")
        seeds = runs.loc[runs["phase"] == "report", "seed"].nunique()
        bad = [f"{count} {status}" for status, count in runs["status"].value_counts().items() if status != "ok"]
        ended = f" ({', '.join(bad)})" if bad else ""
        counts = f"{seeds} seeds, {len(runs)} runs{ended}"
        return printable(f"<Results {name}: {', '.join(self.arms)}; {counts}; in {str(self.directory)!r}>")

    def _repr_html_(self) -> str:
        html: str = load("tamcl.findings.notebook:results_html")(self)  # by its name, as it stands on what is read here
        return html

    def phase(self, table: pd.DataFrame, phase: str = "report") -> pd.DataFrame:
        """Return the rows of the cells of one phase, "tune" or "report"; a table is one of its own, as ``online``."""
        instance("table", table, pd.DataFrame, "a table, as in results.phase(results.online, 'report')")
        if phase not in PHASES:
            raise unknown_name("phase", phase, PHASES)
        cells = self.runs.loc[self.runs["phase"] == phase, list(CELL)]
        return with_options(table).merge(cells, on=list(CELL))

    def rows_of(self, name: str, cells: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of a table that are of some cells, of which the columns of ``CELL`` are given.

        Without ``options`` they are those of all.
        """
        if name not in TABLES:
            raise unknown_name("table", name, TABLES)
        if isinstance(self.tables, StoredTables):
            return self.tables.rows_of(name, cells)
        return self.tables[name].merge(cells, on=_shared(cells))


def _shared(cells: pd.DataFrame) -> list[str]:
    return [column for column in CELL if column != "options" or column in cells]


def load_results(directory: str | Path) -> Results:
    """Open the folder that ``tamcl compare`` wrote.

    That its files are whole is looked at now; the rows are read when they are asked for.

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
    if missing and os.path.lexists(directory / "sweep.json"):
        raise InputError(f"'{directory}' holds a sweep and no study; name one of the folders in its 'studies'")
    if missing:
        raise InputError(f"'{directory}' holds no finished study: {', '.join(missing)} not found")
    study = read_study(directory / "study.json")
    if own := study.get("metrics"):
        load("tamcl.metrics.own:recall")(own)  # by its name, as it stands on what is read here
    scenario = study["scenario"]
    asked = {"diagnostics": scenario.get("diagnostics"), "continual": scenario.get("evaluation", {}).get("every")}
    with _cure(directory):
        wholes = {name: check_table(directory, name) for name in TABLES}
        _check_together(directory, wholes, "", [name for name, wanted in asked.items() if not wanted])
    tables = StoredTables(directory, wholes)
    runs = tables["runs"]
    with _cure(directory):
        _check_runs(directory, runs)
    return Results(directory, study, tables)


def as_results(results: Results | str | Path) -> Results:
    """Return results, which may be given by their folder.

    Raises
    ------
    InputError
        As ``load_results``, or if it is something else.
    """
    if isinstance(results, str | Path):
        return load_results(results)
    return instance("results", results, Results, "what tamcl.load_results returns, or the path of a study's folder")


@contextmanager
def _cure(directory: Path) -> Iterator[None]:
    """Say what helps where a table of a study was damaged."""
    try:
        yield
    except Damaged as error:
        cure = "the tamcl command that wrote it gathers it again from the cells"
        raise Damaged(f"'{directory}' holds a damaged table: {error}; {cure}") from error


def _check_runs(directory: Path, runs: pd.DataFrame) -> None:
    """Raise ``Damaged`` where text that others read as JSON is none."""
    for column in ("optimizer", "code", "config", "data", "versions"):
        for text in runs[column].unique():
            try:
                _to_dict(column, text)
            except ValueError as error:
                raise Damaged(f"'{_path(directory, 'runs')}' is damaged: {error}") from error
