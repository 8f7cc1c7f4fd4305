"""A study's folder: which study it holds, one process at a time, and which of its cells are finished."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from tamcl.arguments import instance
from tamcl.errors import Damaged, InputError
from tamcl.files.atomic import write_atomic
from tamcl.files.digests import is_whole
from tamcl.files.lock import Busy, lock
from tamcl.files.paths import open_regular
from tamcl.files.records import read_study, write_record
from tamcl.metrics.own import described, own_names
from tamcl.results import CELL, OF_CELLS, TABLES, ArrowTables, Tables, joined, read_arrow_tables
from tamcl.training.cell import WEIGHTS

LOCK = ".tamcl.lock"
"""The file that is locked while a study is trained."""

LEFT_OVER = re.compile(
    rf"\.(?:(?:{'|'.join(TABLES)}|across)\.parquet|(?:study|sweep|claims)\.json|report\.html|[\w.-]+\.png|checkpoint)\.(\d+)",
    re.ASCII,
)
"""A file that ``write_atomic`` was writing, and the number of the process."""

LEFT_OVER_CELL = re.compile(r"\..+-lr.+-seed\d+-[0-9a-f]{8}\.(\d+)")
"""A cell's folder that was being written."""

Study = dict[str, Any]
"""What ``study.json`` holds: the resolved scenario, a description of the data, and the command."""


def check_folder(directory: Path, scenario: dict[str, Any]) -> None:
    """Check that a folder is new or holds this very study; more reported seeds, wider grids or kept weights extend it.

    Title, source, notes and cost may have been reworded.

    Raises
    ------
    InputError
        If the folder holds another study, naming the first difference, or other files, or is no folder.
    """
    path = directory / "study.json"
    if path.is_file():
        try:
            held = read_study(path)["scenario"]
        except Damaged as error:
            raise Damaged(f"--out {directory}: {error}") from error
        if found := other_study(held, scenario):
            raise InputError(f"--out {directory}: holds another study: {found}; name another folder")
    elif (directory / "sweep.json").is_file():
        raise InputError(f"--out {directory}: holds a sweep and no study; name another folder")
    elif directory.is_dir() and any(path.name != LOCK for path in directory.iterdir()):
        raise InputError(f"--out {directory}: is not empty and holds no study; name another folder")
    elif directory.exists() and not directory.is_dir():
        raise InputError(f"--out {directory}: is a file; name a folder")


def other_study(held: dict[str, Any], scenario: dict[str, Any]) -> str:
    """Return the first difference by which a scenario is not that of a study which is there, nor extends it."""
    held = held | {words: scenario[words] for words in ("title", "source", "notes", "cost")}
    ours = scenario["protocol"]
    protocol = {"first_seed": 0, "extend": 0, "search": "grid", "trials": None} | held.get("protocol", {})
    protocol |= {number: max(protocol.get(number, 0), ours[number]) for number in ("seeds", "extend")}
    strategy = held.get("strategy", {})
    held["strategy"] = {key: strategy.get(key) for key in {**scenario["strategy"], **strategy}}
    held["protocol"] = {key: protocol.get(key) for key in {**ours, **protocol}}
    held["keep_weights"] = held.get("keep_weights", False) or scenario["keep_weights"]
    held["metrics"] = scenario["metrics"]  # they change no run, so that a study can be asked for others
    if "interventions" not in held:  # of before there were any
        held = {key: held.get(key, []) for key in {**scenario, **held}}
    return difference(held, scenario)


def difference(held: Any, ours: Any, path: str = "") -> str:
    """Return ``path is X there and Y here`` for the first place where two nested tables differ, or nothing.

    1 is another value than 1.0: it is another run, and a search draws whole numbers where all of a list are.
    """
    if not (isinstance(held, dict) and isinstance(ours, dict)):
        there, here = (json.dumps(each, sort_keys=True) for each in (held, ours))
        return "" if there == here else f"{path} is {there} there and {here} here"
    if list(held) != list(ours) and set(held) == set(ours):
        return f"{path} has another order"
    for key in [*held, *(key for key in ours if key not in held)]:
        if found := difference(held.get(key), ours.get(key), f"{path}.{key}" if path else key):
            return found
    return ""


@contextmanager
def hold(directory: Path) -> Iterator[bool]:
    """Hold a folder, which is made, for this process alone; say whether it is held, as some file systems have no locks.

    Raises
    ------
    InputError
        If the folder cannot be made, or another process holds it.
    """
    with ExitStack() as stack:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            is_held = stack.enter_context(lock(directory / LOCK))
        except Busy as error:
            raise InputError(f"--out {directory}: another tamcl is at work there") from error
        except OSError as error:
            raise InputError(f"--out {directory}: {error.strerror}") from error
        if not is_held:
            print(f"tamcl: --out {directory}: cannot be locked; let no other tamcl work there", file=sys.stderr)
        yield is_held


@contextmanager
def locked(directory: Path, study: Study) -> Iterator[None]:
    """Hold the folder while a study is trained; its ``study.json`` is written if there is none.

    Raises
    ------
    InputError
        If the folder cannot be made, another process holds it, or its cells were trained on other data.
    """
    instance("command", study.get("command", ""), str, "a text")
    with hold(directory) as is_held:
        if os.path.lexists(directory / "cells") and not (directory / "cells").is_dir():
            raise InputError(f"--out {directory}: 'cells' is no folder; remove it, or name another folder")
        _check_data(directory, study)
        if is_held:  # without it others may be at work whose processes have numbers on another machine
            remove_left_overs(directory)
        if not (directory / "study.json").is_file():
            write_study(directory, study)
        yield


def remove_left_overs(directory: Path) -> None:
    """Remove what processes that were killed were writing; whatever else is hidden there is somebody's."""
    cells = directory / "cells"
    folders = [directory, directory / "figures"]
    if cells.is_dir() and not cells.is_symlink():
        folders += [path for path in cells.iterdir() if path.is_dir() and not path.is_symlink()]
        for path in cells.glob(".*"):
            if _is_left_over(path, LEFT_OVER_CELL) and path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
    for folder in folders:
        for path in folder.glob(".*"):
            if _is_left_over(path, LEFT_OVER) and path.is_file():
                with suppress(OSError):
                    path.unlink()


def _is_left_over(path: Path, form: re.Pattern[str]) -> bool:
    found = form.fullmatch(path.name)
    return found is not None and not path.is_symlink() and not _is_alive(int(found[1]))


def _is_alive(process: int) -> bool:
    """Tell whether a worker of a study that was killed may still be about to end."""
    if sys.platform == "win32":  # where asking would end the process, and a file in use cannot be removed
        return False
    try:
        os.kill(process, 0)
    except PermissionError:  # somebody else's
        return True
    except (OSError, OverflowError):
        return False
    return True


def _check_data(directory: Path, study: Study) -> None:
    path = directory / "study.json"
    held = read_study(path).get("data") if path.is_file() else None
    if held and held.get("code", {}) != study["data"].get("code", {}):
        return  # it is user code that makes the data, so all runs have other ids and are trained anew
    if held and held.get("checksum") != study["data"]["checksum"]:
        there, here = (
            f"{data.get('train')} + {data.get('test')} {_unit(data)}, {data.get('checksum', '')[:8]}"
            for data in (held, study["data"])
        )
        raise InputError(
            f"--out {directory}: was trained on other data: {there} there and {here} here; name another folder"
        )


def _unit(data: Mapping[str, Any]) -> str:
    return "tokens" if "vocabulary" in data else "images"


def write_study(directory: Path, study: Study) -> None:
    """Write ``study.json``, with what readers have to know of metrics of one's own."""
    names = own_names(study["scenario"])
    study = study | ({"metrics": described(names)} if names else {})
    try:
        write_atomic(directory / "study.json", lambda path: write_record(path, study))
    except OSError as error:
        raise InputError(f"--out {directory}: {error.strerror}") from error


class Found(NamedTuple):
    """What tells a trained cell from others, in the order of the tables, and how it ended."""

    scenario: str
    arm: str
    lr: float
    options: str
    seed: int
    phase: str
    status: str


def find_cell(cell: Path, *, dispensable: Iterable[str] = ()) -> Found:
    """Return which cell is in a folder, after a look at all of its files; errors are those of ``read_arrow_cell``."""
    (row,) = _read_cell(cell, {"runs": Found._fields}, dispensable)["runs"].select(Found._fields).to_pylist()
    return Found(**row)


def read_cell(cell: Path, *, dispensable: Iterable[str] = ()) -> Tables:
    """Read the tables of a cell; errors are those of ``read_arrow_cell``."""
    return joined([read_arrow_cell(cell, dispensable=dispensable)])


def read_arrow_cell(cell: Path, *, dispensable: Iterable[str] = ()) -> ArrowTables:
    """Read the tables of a cell, which are all of it and of no other, as ``tamcl.results.joined`` takes them.

    Parameters
    ----------
    cell : Path
    dispensable : iterable of str
        As of ``tamcl.results.read_tables``.

    Raises
    ------
    FileNotFoundError
        If one is not there.
    Damaged
        If one was damaged, or belongs to another cell.
    InputError
        If one may not be read.
    """
    return _read_cell(cell, None, dispensable)


def _read_cell(cell: Path, only: Mapping[str, Sequence[str]] | None, dispensable: Iterable[str]) -> ArrowTables:
    tables = read_arrow_tables(cell, OF_CELLS, cell.name, only=only, dispensable=dispensable)
    runs = tables["runs"]
    if len(runs) != 1:
        raise Damaged(f"'{cell}' is damaged: runs.parquet has {len(runs)} rows, not one")
    keys = {key: runs[key].to_pylist() for key in CELL}
    for name, table in tables.items():
        if len(table) and any(table[key].unique().to_pylist() != value for key, value in keys.items()):
            raise Damaged(f"'{cell}' is damaged: {name}.parquet is of another cell than runs.parquet")
    return tables


def is_finished(cell: Path, on_damage: Callable[[str], object] = lambda line: None) -> bool:
    """Tell whether a cell was trained to its end and its tables can be read; one that failed is tried again.

    Parameters
    ----------
    cell : Path
    on_damage : callable
        Called with a line where tables are there and cannot be used.

    Raises
    ------
    InputError
        If a table may not be read, which to train again would not change.
    """
    try:
        return find_cell(cell).status in ("ok", "diverged")
    except FileNotFoundError as error:
        if any(cell.glob("*.parquet")):
            on_damage(f"'{error.filename}' is missing")
        return False
    except Damaged as error:
        on_damage(str(error))
        return False


def has_weights(cell: Path) -> bool:
    """Tell whether a cell's final weights are in its folder, whole.

    Raises
    ------
    InputError
        If they may not be read, which to train again would not change.
    """
    path = cell / WEIGHTS
    try:
        with open_regular(path) as file:
            return is_whole(file)
    except (FileNotFoundError, IsADirectoryError, ValueError):
        return False
    except OSError as error:
        raise InputError(f"'{path}': {error.strerror}") from error
