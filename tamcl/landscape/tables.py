"""What ``tamcl landscape`` leaves in a study's folder, and how it is read."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from tamcl.errors import Damaged
from tamcl.files.atomic import write_atomic
from tamcl.files.bounds import memory_bytes
from tamcl.files.parquet import dump_parquet, load_parquet, to_frame, whole_of
from tamcl.files.paths import read_bounded
from tamcl.files.records import read_landscape_record, write_record
from tamcl.results import CELL, with_options

FOLDER = "landscape"
"""In the study's folder."""

_HEIGHT = {"part": "str", "loss": "float64", "accuracy": "float64"}

TABLES: dict[str, dict[str, str]] = {
    "lines": {"scenario": "str", "arm_a": "str", "seed_a": "int64", "arm_b": "str", "seed_b": "int64"}
    | {"alpha": "float64"}
    | _HEIGHT,
    "ends": CELL | {"final_weights": "str", "hessian_top": "float64", "sam_sharpness": "float64"},
    "plane": {"scenario": "str", "seed": "int64", "arm": "str", "x": "float64", "y": "float64"} | _HEIGHT,
}
"""Columns of each table. ``lines`` has a row a place on the line (``alpha`` is 0 at the first end, 1 at the second) and
part of the data, "train" or "test"; ``ends`` a row a run, with the digest of its weights as in ``runs``; ``plane`` a
row a place and part, where ``arm`` is the arm that ended there, or empty."""


class Landscape(NamedTuple):
    """The landscape of a study.

    Attributes
    ----------
    lines, ends, plane : DataFrame
        As ``TABLES`` says; ``plane`` has no rows where none was asked for.
    settings : dict
        ``points``, ``samples``, ``experiences`` and ``pairs``, as they were asked for, and the ``command``.
    """

    lines: pd.DataFrame
    ends: pd.DataFrame
    plane: pd.DataFrame
    settings: dict[str, Any]


def write_landscape(directory: Path, found: Landscape) -> Path:
    """Write a study's landscape and return its folder; ``landscape.json``, which is written last, tells that it is
    whole."""
    folder = directory / FOLDER
    (folder / "landscape.json").unlink(missing_ok=True)
    for name, columns in TABLES.items():
        content = dump_parquet(getattr(found, name)[[*columns]].astype(columns))
        write_atomic(folder / f"{name}.parquet", partial(Path.write_bytes, data=content))
    write_atomic(folder / "landscape.json", lambda path: write_record(path, found.settings))
    return folder


def read_landscape(directory: str | Path) -> Landscape | None:
    """Read the landscape in a study's folder; None if there is none, or none that was finished.

    Raises
    ------
    Damaged
        If a file was damaged, or is something else.
    InputError
        If one may not be read.
    """
    folder = Path(directory) / FOLDER
    if not (folder / "landscape.json").is_file():
        return None
    tables = {name: _read(folder / f"{name}.parquet", columns) for name, columns in TABLES.items()}
    return Landscape(**tables, settings=read_landscape_record(folder / "landscape.json"))


def _read(path: Path, columns: dict[str, str]) -> pd.DataFrame:
    try:
        content = io.BytesIO(read_bounded(path, memory_bytes() // 2))
        whole_of(content)
        table = to_frame(load_parquet(content))
        table = with_options(table) if "options" in columns else table
        if sorted(table.columns) != sorted(columns):
            raise ValueError(f"it has the columns {', '.join(map(str, table.columns))}")
        return table[list(columns)].astype(columns)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise Damaged(f"'{path}' is damaged: {why}; tamcl landscape makes it again") from error
