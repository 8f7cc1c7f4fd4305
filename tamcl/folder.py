"""A study's folder: which study it holds, one process at a time, and which of its cells are finished."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tamcl.errors import InputError
from tamcl.results import OF_CELLS, read_study, read_table, write_atomic

try:
    import fcntl
except ImportError:  # Windows has no such lock; two processes must not share a folder there
    fcntl = None  # type: ignore[assignment]

Study = dict[str, Any]
"""What ``study.json`` holds: the resolved scenario, a description of the data, and the command."""


def check_folder(directory: Path, scenario: dict[str, Any]) -> None:
    """Check that a folder is new or holds this very study; more reported seeds or wider grids extend it.

    Title, source, notes and cost may have been reworded.

    Raises
    ------
    InputError
        If the folder holds another study, naming the first difference, or other files, or is no folder.
    """
    path = directory / "study.json"
    if path.is_file():
        held = read_study(path)["scenario"]
        held |= {words: scenario[words] for words in ("title", "source", "notes", "cost")}
        ours = scenario["protocol"]
        protocol = {"extend": 0, "search": "grid", "trials": None} | held.get("protocol", {})
        protocol |= {number: max(protocol.get(number, 0), ours[number]) for number in ("seeds", "extend")}
        held["protocol"] = {key: protocol.get(key) for key in {**ours, **protocol}}
        if difference := _difference(held, scenario):
            raise InputError(f"--out {directory}: holds another study: {difference}; name another folder")
    elif directory.is_dir() and any(directory.iterdir()):
        raise InputError(f"--out {directory}: is not empty and holds no study; name another folder")
    elif directory.exists() and not directory.is_dir():
        raise InputError(f"--out {directory}: is a file; name a folder")


def _difference(held: Any, ours: Any, path: str = "") -> str:
    """Return ``path is X there and Y here`` for the first place where two nested tables differ, or nothing."""
    if not (isinstance(held, dict) and isinstance(ours, dict)):
        return "" if held == ours else f"{path} is {json.dumps(held)} there and {json.dumps(ours)} here"
    if list(held) != list(ours) and set(held) == set(ours):
        return f"{path} has another order"
    for key in [*held, *(key for key in ours if key not in held)]:
        if found := _difference(held.get(key), ours.get(key), f"{path}.{key}" if path else key):
            return found
    return ""


@contextmanager
def claim(directory: Path, study: Study) -> Iterator[None]:
    """Hold the folder while a study is trained; its ``study.json`` is written if there is none.

    Raises
    ------
    InputError
        If the folder cannot be made, another process holds it, or its cells were trained on other data.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        handle = os.open(directory, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"--out {directory}: {error.strerror}") from error
    try:
        if fcntl:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # goes with the process, however it ends
            except OSError as error:
                raise InputError(f"--out {directory}: another tamcl is at work there") from error
        _check_data(directory, study)
        for left_over in (directory / "cells").glob(".*"):
            shutil.rmtree(left_over)
        if not (directory / "study.json").is_file():
            write_study(directory, study)
        yield
    finally:
        os.close(handle)


def _check_data(directory: Path, study: Study) -> None:
    path = directory / "study.json"
    held = read_study(path).get("data") if path.is_file() else None
    if held and held["checksum"] != study["data"]["checksum"]:
        there, here = (
            f"{data['train']} + {data['test']} images, {data['checksum'][:8]}" for data in (held, study["data"])
        )
        raise InputError(f"--out {directory}: was trained on other data: {there} there and {here} here")


def write_study(directory: Path, study: Study) -> None:
    """Write ``study.json``."""
    text = json.dumps(study, indent=2) + "\n"
    try:
        write_atomic(directory / "study.json", lambda path: path.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--out {directory}: {error.strerror}") from error


def is_finished(cell: Path) -> bool:
    """Tell whether a cell was trained to its end and its tables can be read; one that failed is tried again."""
    try:
        tables = {name: read_table(cell, name) for name in OF_CELLS}
    except (OSError, ValueError):  # not there, or damaged
        return False
    return bool(tables["runs"]["status"].isin(["ok", "diverged"]).all())
