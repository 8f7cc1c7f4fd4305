"""A study's cells, found finished or trained."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tamcl.engines import Engine, jobs_of, watched
from tamcl.engines.processes import OnSteps
from tamcl.results import read_table, take_code
from tamcl.study.folder import has_weights, is_finished
from tamcl.study.plan import pack
from tamcl.training.cell import Cell
from tamcl.training.resources import Resources
from tamcl.user_code import differing


class Progress(NamedTuple):
    """How far a study is: cells done (those found finished included) and the status of the last one."""

    phase: str
    done: int
    total: int
    status: str


def train_all(
    cells: Sequence[Cell],
    phase: str,
    *,
    directory: Path,
    resources: Resources,
    engine: Engine,
    on_progress: Callable[[Progress], object],
    on_steps: OnSteps = lambda running: None,
) -> list[Path]:
    """Train the cells that are not finished, or lack weights that are to be kept, and return the folders of all."""

    def say(damage: str) -> None:
        print(f"tamcl: {damage}; the run is trained again", file=sys.stderr)

    todo, bare = [], []
    for cell in cells:
        if not is_finished(directory / cell.id, on_damage=say):
            todo.append(cell)
        elif cell.keeps_weights and not has_weights(directory / cell.id):
            bare.append(cell)
    say_other_code(todo, directory)
    say_other_defaults(todo, directory)
    if bare:
        print(
            f"tamcl: {len(bare)} runs in '{directory}' have kept no weights, so they are trained again", file=sys.stderr
        )
        todo += bare
    done = len(cells) - len(todo)
    on_progress(Progress(phase, done, len(cells), "found"))
    tasks = pack(todo, jobs_of(engine))
    for _cell, status in watched(engine, on_steps).train(tasks, directory, resources):
        done += 1
        on_progress(Progress(phase, done, len(cells), status))
    return [directory / cell.id for cell in cells]


def say_other_code(cells: Sequence[Cell], directory: Path) -> None:
    """Say which of user modules changed since cells were trained, which are trained anew for that."""
    with_code = {cell.prefix: cell for cell in cells if cell.code}
    folders = directory.iterdir() if with_code and directory.is_dir() else ()
    changed: set[str] = set()
    counted = set()
    for folder in folders:
        cell = with_code.get(f"{folder.name.rpartition('-')[0]}-")
        if cell is not None and (modules := _other_code(cell, folder)):
            changed.update(modules)
            counted.add(cell.prefix)
    if changed:
        print(
            f"tamcl: the code of {', '.join(sorted(changed))} changed, so {len(counted)} {cells[0].phase} runs in "
            f"'{directory.parent}' are trained anew",
            file=sys.stderr,
        )


def say_other_defaults(cells: Sequence[Cell], directory: Path) -> None:
    """Say which arms have an optimizer whose defaults changed since cells were trained, which are trained anew."""
    with_defaults = {cell.prefix: cell for cell in cells if cell.changed_defaults}
    folders = directory.iterdir() if with_defaults and directory.is_dir() else ()
    counted: dict[str, str] = {}
    for folder in folders:
        cell = with_defaults.get(f"{folder.name.rpartition('-')[0]}-")
        if cell is not None and _has_other_defaults(cell, folder):
            counted[cell.prefix] = cell.arm
    if counted:
        arms = ", ".join(sorted(set(counted.values())))
        print(
            f"tamcl: the defaults of optimizers changed, so {len(counted)} {cells[0].phase} runs of {arms} in "
            f"'{directory.parent}' are trained anew",
            file=sys.stderr,
        )


def _has_other_defaults(cell: Cell, folder: Path) -> bool:
    """Whether a cell differs from one that is there in nothing but defaults that were others then."""
    there, here = _config(folder), json.loads(json.dumps(cell.config))
    if not there or there == here:
        return False
    for key in cell.changed_defaults:
        if key not in there["optimizer"]:
            del here["optimizer"][key]
    return bool(there == here)


def _config(folder: Path) -> dict[str, Any]:
    """Return what decided the result of a cell that is there; nothing if it is damaged."""
    try:
        found = json.loads(read_table(folder, "runs")["config"].item())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("optimizer"), dict) else {}


def _other_code(cell: Cell, folder: Path) -> list[str]:
    """Return the modules by which alone a cell differs from one that is there; none if it differs by more."""
    there, here = _config(folder), json.loads(json.dumps(cell.config))
    if not there:
        return []
    codes = [take_code(config) for config in (there, here)]
    return differing(*codes) if there == here else []
