"""A study: tune every arm, run the reported seeds with the winners, measure, compare. It goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from tamcl import stats, tuning
from tamcl.config import MOST_SEEDS, Scenario
from tamcl.data import DATASETS, data_root
from tamcl.errors import InputError
from tamcl.metrics import measure
from tamcl.registry import lookup
from tamcl.results import Results, empty, load_results, read_study, read_table, write_atomic, write_table
from tamcl.run import Cell, load_data, plan, run_cell
from tamcl.workers import train_cells


class Progress(NamedTuple):
    """How far a study is: cells done (those found finished included) and the status of the last one."""

    phase: str
    done: int
    total: int
    status: str


def compare(
    scenario: Scenario,
    directory: str | Path,
    *,
    data_dir: str | Path | None = None,
    jobs: int = 1,
    command: str = "",
    on_progress: Callable[[Progress], object] = lambda progress: None,
) -> Results:
    """Answer a scenario's question: tune on the tuning seeds, run the reported seeds, measure and compare.

    Parameters
    ----------
    scenario : Scenario
    directory : path
        Where the tables go. Cells that are finished there are not trained again.
    data_dir : path, optional
        Where the data set's files are.
    jobs : int
        Number of worker processes; the tables do not depend on it.
    command : str
        What repeats the study, kept for the report.
    on_progress : callable
        Called with a ``Progress`` after every cell.

    Raises
    ------
    InputError
        If the folder holds another study, or data, streams or optimizers cannot be had as the scenario says.
    """
    directory = Path(directory)
    if jobs < 1:
        raise InputError(f"jobs = {jobs}: must be at least 1")
    root = data_root(data_dir)
    check_folder(directory, scenario)
    check_data(scenario, root)
    check_arms(scenario)
    study = {"command": command, "scenario": scenario.dump()}
    write_atomic(directory / "study.json", lambda path: path.write_text(json.dumps(study, indent=2) + "\n", "utf-8"))

    def train(cells: Sequence[Cell], phase: str) -> dict[str, pd.DataFrame]:
        todo = [cell for cell in cells if not _is_finished(directory / "cells" / cell.id)]
        done = len(cells) - len(todo)
        on_progress(Progress(phase, done, len(cells), "found"))
        for _cell, status in train_cells(todo, directory / "cells", root, jobs):
            done += 1
            on_progress(Progress(phase, done, len(cells), status))
        return gather(directory, cells)

    tuned = train(tuning_cells(scenario), "tune")
    rates = choose(scenario, tuned)
    reported = train(report_cells(scenario, rates), "report")
    tables = {name: pd.concat([tuned[name], reported[name]], ignore_index=True) for name in tuned}
    tables["metrics"] = measure(tables["online"], tables["eval"], tables["runs"])
    tables["comparisons"] = stats.compare(tables["metrics"], runs=tables["runs"], pairs=scenario.pairs)
    for name, table in tables.items():
        write_table(directory, name, table)
    return load_results(directory)


def check_data(scenario: Scenario, root: Path) -> None:
    """Raise an ``InputError`` if the data are missing or damaged, or do not fit the stream."""
    lookup(DATASETS, scenario.stream.dataset)().check(root)
    plan(scenario, load_data(scenario.stream.dataset, root), seed=0)


def check_arms(scenario: Scenario) -> None:
    """Raise an ``InputError`` if an arm's optimizer cannot be built. Imports torch."""
    import torch

    from tamcl.run import build_optimizer

    for arm, config in scenario.arms.items():
        build_optimizer(scenario, arm, config.lr[0], [torch.nn.Parameter(torch.zeros(2, 2))])


def run_one(
    scenario: Scenario,
    arm: str,
    seed: int,
    *,
    data_dir: str | Path | None = None,
    directory: str | Path | None = None,
) -> tuple[str, dict[str, float]]:
    """Train one cell in this process; write its tables to a new folder if one is named.

    Returns
    -------
    str, dict of str to float
        Status and metrics.
    """
    check_data(scenario, data_root(data_dir))
    if directory is not None and Path(directory).exists() and any(Path(directory).iterdir()):
        raise InputError(f"--out {directory}: is not empty; name another folder")
    outcome = run_cell(Cell(scenario, arm, scenario.arms[arm].lr[0], seed, "report"), data_dir)
    status = str(outcome.run["status"].item())
    metrics = measure(outcome.online, outcome.eval, outcome.run)
    if directory is not None:
        tables = {"online": outcome.online, "eval": outcome.eval, "runs": outcome.run, "metrics": metrics}
        for name, table in tables.items():
            write_table(Path(directory), name, table)
    return status, dict(zip(metrics["metric"], metrics["value"], strict=True))


def check_folder(directory: Path, scenario: Scenario) -> None:
    """Check that a folder is new or holds this very study; more reported seeds than it has extend it.

    Title and notes may have been reworded.

    Raises
    ------
    InputError
        If the folder holds another study, naming the first difference, or other files.
    """
    path = directory / "study.json"
    if path.is_file():
        held = read_study(path)["scenario"]
        ours = scenario.dump()
        held |= {"title": ours["title"], "notes": ours["notes"]}
        if held["protocol"]["seeds"] < ours["protocol"]["seeds"]:
            held["protocol"]["seeds"] = ours["protocol"]["seeds"]
        if difference := _difference(held, ours):
            raise InputError(f"--out {directory}: holds another study: {difference}; name another folder")
    elif directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InputError(f"--out {directory}: is not empty and holds no study; name another folder")


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


def tuning_cells(scenario: Scenario) -> list[Cell]:
    """Return the cells that choose the learning rates; an arm with one learning rate has none."""
    seeds = [MOST_SEEDS + number for number in range(scenario.protocol.tune_seeds)]
    return [
        Cell(scenario, arm, lr, seed, "tune")
        for seed in seeds
        for arm, config in scenario.arms.items()
        for lr in config.lr
        if len(config.lr) > 1
    ]


def report_cells(scenario: Scenario, rates: dict[str, float]) -> list[Cell]:
    """Return the cells that the comparison is made from."""
    seeds = range(scenario.protocol.seeds)
    return [Cell(scenario, arm, lr, seed, "report") for seed in seeds for arm, lr in rates.items()]


def choose(scenario: Scenario, tuned: dict[str, pd.DataFrame]) -> dict[str, float]:
    """Return each arm's learning rate; an arm all of whose learning rates diverged is left out."""
    rates = {arm: config.lr[0] for arm, config in scenario.arms.items() if len(config.lr) == 1}
    if not tuned["runs"].empty:
        scores = tuning.select(
            measure(tuned["online"], tuned["eval"], tuned["runs"]), tuned["runs"], scenario.protocol.tune_by
        )
        chosen = scores[scores["chosen"]]
        rates |= dict(zip(chosen["arm"], chosen["lr"].astype(float), strict=True))
    return {arm: rates[arm] for arm in scenario.arms if arm in rates}


def gather(directory: Path, cells: Sequence[Cell]) -> dict[str, pd.DataFrame]:
    """Put the cells' tables together."""
    folders = [directory / "cells" / cell.id for cell in cells]
    return {
        name: pd.concat([empty(name), *(read_table(folder, name) for folder in folders)], ignore_index=True)
        for name in ("online", "eval", "runs")
    }


def _is_finished(folder: Path) -> bool:
    """Tell whether a cell was trained to its end; one that failed is tried again."""
    try:
        return bool(read_table(folder, "runs")["status"].isin(["ok", "diverged"]).all())
    except (OSError, ValueError):  # not there, or damaged
        return False
