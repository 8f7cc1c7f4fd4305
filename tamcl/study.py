"""A study: tune every arm, run the reported seeds with the winners, measure, compare. It goes on where it stopped."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from tamcl import stats, tuning
from tamcl.config import MOST_SEEDS, Scenario
from tamcl.data import DataSet, data_root
from tamcl.data.checked import CheckedSource
from tamcl.errors import AllFailed, Damaged, InputError
from tamcl.folder import check_folder, claim, is_finished, read_cell, write_study
from tamcl.metrics import measure
from tamcl.own_code import Code, check_code, check_importable, differing, own_code
from tamcl.paths import user_path
from tamcl.results import (
    OF_CELLS,
    OPTIONAL,
    TABLES,
    Results,
    Tables,
    empty,
    load_results,
    read_table,
    write_table,
    write_tables,
)
from tamcl.run import (
    Cell,
    build_diagnostics,
    build_model,
    build_strategy,
    check_model,
    code_in,
    code_of,
    find_source,
    load_data,
    plan,
)
from tamcl.search import Rates, first_rates, next_rates
from tamcl.workers import call_apart, names_own_code, refuse_in_import, run_apart, train_cells

Codes = Mapping[tuple[str, str], Code]
"""The code behind the runs of every arm and phase."""


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
    allow_subset: bool = False,
    jobs: int = 1,
    timeout: float | None = None,
    command: str = "",
    on_progress: Callable[[Progress], object] = lambda progress: None,
) -> Results:
    """Answer a scenario's question: tune on the tuning seeds, run the reported seeds, measure and compare.

    The folder's ``study.json`` gets the learning rates that were tried as ``tried``.

    Parameters
    ----------
    scenario : Scenario
    directory : path
        Where the tables go. Cells that are finished there are not trained again, unless somebody's own code behind
        them is another one by now, which is said.
    data_dir : path, optional
        Where the data set's files are.
    allow_subset : bool
        Whether fewer images than were published will do; the report says how many there were.
    jobs : int
        Number of worker processes; the tables do not depend on it.
    timeout : float, optional
        Seconds after which a run is given up and counted as failed; a run may take any time if absent.
    command : str
        What repeats the study, kept for the report.
    on_progress : callable
        Called with a ``Progress`` after every cell.

    Raises
    ------
    InputError
        If the folder holds another study, or data, streams, model or optimizers cannot be had as the scenario says, or
        worker processes cannot be used as they must be: the call stands unguarded in the script that was started, or a
        class is one of a notebook.
    AllFailed
        If every run failed. Their rows stay in the folder's ``cells``, and all are tried again the next time.
    """
    directory, root = user_path(directory), data_root(data_dir).absolute()
    check_workers(scenario, jobs, timeout)
    check_folder(directory, scenario.dump())
    directory = directory.absolute()
    data = check(scenario, root, allow_subset)
    first, codes = first_rates(scenario), codes_of(scenario)
    study = {"command": command, "scenario": scenario.dump(), "data": data}
    with claim(directory, study):
        workers = partial(train_cells, data_dir=root, allow_subset=allow_subset, jobs=jobs, timeout=timeout)
        train = partial(train_all, directory=directory / "cells", workers=workers, on_progress=on_progress)
        tuned, tried = _tune(scenario, first, codes, train)
        reported = train(report_cells(scenario, choose(scenario, tuned), codes=codes), "report")
        tables = {name: pd.concat([tuned[name], reported[name]], ignore_index=True) for name in tuned}
        write_results(directory, tables, scenario.protocol.pairs)
        write_study(directory, study | {"tried": tried})
    return load_results(directory)


def write_results(directory: Path, tables: Tables, pairs: Iterable[tuple[str, str]]) -> None:
    """Measure and compare what was trained, and write all tables; raise ``AllFailed`` if nothing was."""
    runs = tables["runs"]
    if len(runs) and (runs["status"] == "failed").all():
        first = runs.iloc[0]
        raise AllFailed(
            f"all {len(runs)} runs failed, the first of them ({first['arm']} lr {first['lr']:g} seed {first['seed']})"
            f" by {first['error']}"
        )
    metrics = measure(tables["online"], tables["eval"], tables["runs"], continual=tables["continual"])
    comparisons = stats.compare(metrics, runs=tables["runs"], pairs=pairs)
    for name in TABLES:
        try:
            with suppress(FileNotFoundError):
                read_table(directory, name)
        except Damaged as error:
            print(f"tamcl: {error}; it is gathered again from the cells", file=sys.stderr)
    cells = tables["runs"][[*TABLES["runs"].keys, "config", "status"]].to_csv(index=False)
    of = blake2b(cells.encode(), digest_size=8).hexdigest()
    write_tables(directory, tables | {"metrics": metrics, "comparisons": comparisons}, of)


def run_one(
    scenario: Scenario,
    arm: str,
    seed: int,
    *,
    data_dir: str | Path | None = None,
    allow_subset: bool = False,
    directory: str | Path | None = None,
) -> tuple[str, str, dict[str, float]]:
    """Train one cell, in a process of its own as in a study; write its tables to a new folder if one is named.

    Returns
    -------
    str, str, dict of str to float
        Status, error and metrics.
    """
    refuse_in_import()
    root = data_root(data_dir).absolute()
    if directory is not None:
        directory = user_path(directory)
        check_new(directory)
        directory = directory.absolute()
    cell = Cell(scenario, arm, scenario.arms[arm].lr[0], seed, "report")
    outcome = run_apart(cell, _checks(scenario.only([arm]), root, allow_subset, [seed]), root, allow_subset)
    metrics = measure(outcome.online, outcome.eval, outcome.runs, continual=outcome.continual)
    if directory is not None:
        for name, table in (outcome.tables | {"metrics": metrics}).items():
            write_table(directory, name, table)
    values = dict(zip(metrics["metric"], metrics["value"], strict=True))
    return str(outcome.runs["status"].item()), str(outcome.runs["error"].item()), values


def check_workers(scenario: Scenario, jobs: int, timeout: float | None) -> None:
    """Raise an ``InputError`` if worker processes cannot be started as asked, or cannot train the scenario."""
    if jobs < 1:
        raise InputError(f"jobs = {jobs}: must be at least 1")
    if timeout is not None and not timeout > 0:
        raise InputError(f"timeout = {timeout}: must be above 0, in seconds")
    refuse_in_import()
    check_importable(scenario.dump())
    check_code(own_code(scenario.stream.model_dump(mode="json")))  # it is planned here, and trained there


def check_new(directory: Path) -> None:
    """Make a folder, or raise an ``InputError`` if it cannot be made or is not empty."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise InputError(f"--out {directory}: is not empty; name another folder")
    except OSError as error:
        raise InputError(f"--out {directory}: {error.strerror}") from error


def check(
    scenario: Scenario, root: Path, allow_subset: bool = False, *, seeds: Sequence[int] | None = None
) -> dict[str, Any]:
    """Check that everything can be had that a scenario names, and return the description of its data.

    Somebody's own code does not come into this process, where it could change what is trained or measured later.

    Raises
    ------
    InputError
        As of ``check_data`` and ``check_parts``. Also if somebody's own code ends the process that builds it.
    """
    if names_own_code(scenario):
        answers = call_apart(_checks(scenario, root, allow_subset, seeds))
        return dict(answers["stream"])
    data = check_data(scenario, root, allow_subset, seeds=seeds)
    check_parts(scenario, data)
    return data.describe()


def _checks(
    scenario: Scenario, root: Path, allow_subset: bool, seeds: Sequence[int] | None
) -> dict[str, Callable[[], Any]]:
    """Return the checks by what they are about; arms with somebody's own code are checked each by itself."""
    own = [[arm] for arm in scenario.arms if names_own_code(scenario, [arm])]
    others = [arm for arm in scenario.arms if [arm] not in own]
    calls: dict[str, Callable[[], Any]] = {"stream": partial(_describe, scenario, root, allow_subset, seeds)}
    for arms in [*own, others] if others else own:
        calls[f"arms.{arms[0]}"] = partial(_check_parts, scenario.only(arms), root, allow_subset)
    return calls


def _describe(scenario: Scenario, root: Path, allow_subset: bool, seeds: Sequence[int] | None) -> dict[str, Any]:
    return check_data(scenario, root, allow_subset, seeds=seeds).describe()


def _check_parts(scenario: Scenario, root: Path, allow_subset: bool) -> None:
    check_parts(scenario, load_data(scenario.stream.dataset, root, allow_subset))


def check_data(
    scenario: Scenario, root: Path, allow_subset: bool = False, *, seeds: Sequence[int] | None = None
) -> DataSet:
    """Load the data; raise an ``InputError`` if they are missing or damaged, or do not fit the stream for some seed."""
    name = scenario.stream.dataset
    source = find_source(name)
    source.check(root)
    data = load_data(name, root, allow_subset)
    if isinstance(source, CheckedSource):
        source.load_again(root, allow_subset, data.checksum)
    for seed in [*report_seeds(scenario), *tuning_seeds(scenario)] if seeds is None else seeds:
        plan(scenario, data, seed)
    return data


def check_parts(scenario: Scenario, data: DataSet) -> None:
    """Raise an ``InputError`` if model, strategy, an arm's optimizer or a diagnostic cannot be had. Imports torch."""
    segments = plan(scenario, data, seed=0)
    model = build_model(scenario, data, segments, seed=0)
    for arm, config in scenario.arms.items():
        for lr in config.lr:
            build_strategy(scenario, arm, lr, model, seed=0)
    build_diagnostics(scenario)
    check_model(scenario, data, segments, model)


def report_seeds(scenario: Scenario) -> range:
    """Return the seeds that the comparison is made on."""
    return range(scenario.protocol.seeds)


def tuning_seeds(scenario: Scenario) -> range:
    """Return the seeds that choose the learning rates; none of them is reported on."""
    return range(MOST_SEEDS, MOST_SEEDS + scenario.protocol.tune_seeds)


def codes_of(scenario: Scenario) -> Codes:
    """Return the code behind the runs of every arm and phase, as the files are now: a study takes it once."""
    return {(arm, phase): code_of(scenario, arm, phase) for arm in scenario.arms for phase in ("tune", "report")}


def tuning_cells(
    scenario: Scenario, tried: Mapping[str, Sequence[float]] | None = None, *, codes: Codes | None = None
) -> list[Cell]:
    """Return the cells that choose the learning rates among those tried, at first the grid's."""
    rates = first_rates(scenario) if tried is None else tried
    known = codes_of(scenario) if codes is None else codes
    cells = ((arm, lr, seed) for seed in tuning_seeds(scenario) for arm in rates for lr in rates[arm])
    return [Cell(scenario, *cell, "tune", known[cell[0], "tune"]) for cell in cells]


def report_cells(
    scenario: Scenario,
    rates: Mapping[str, float],
    seeds: Sequence[int] | None = None,
    *,
    codes: Codes | None = None,
) -> list[Cell]:
    """Return the cells that a comparison is made from; on the reported seeds if no others are given."""
    chosen = report_seeds(scenario) if seeds is None else seeds
    known = codes_of(scenario) if codes is None else codes
    cells = ((arm, lr, seed) for seed in chosen for arm, lr in rates.items())
    return [Cell(scenario, *cell, "report", known[cell[0], "report"]) for cell in cells]


def scores_of(scenario: Scenario, tuned: Tables) -> pd.DataFrame:
    """Return the score of every learning rate that was tried."""
    metrics = measure(tuned["online"], tuned["eval"], tuned["runs"])
    return tuning.select(metrics, tuned["runs"], scenario.protocol.tune_by)


def choose(scenario: Scenario, tuned: Tables) -> dict[str, float]:
    """Return each arm's learning rate; an arm all of whose learning rates diverged is left out."""
    rates = {arm: config.lr[0] for arm, config in scenario.arms.items() if len(config.lr) == 1}
    if not tuned["runs"].empty:
        scores = scores_of(scenario, tuned)
        chosen = scores[scores["chosen"]]
        rates |= dict(zip(chosen["arm"], chosen["lr"].astype(float), strict=True))
    return {arm: rates[arm] for arm in scenario.arms if arm in rates}


def gather(cells: Sequence[Cell], directory: Path) -> Tables:
    """Put the cells' tables together."""
    found = [read_cell(directory / cell.id, dispensable=OPTIONAL) for cell in cells]
    return {name: pd.concat([empty(name), *(tables[name] for tables in found)], ignore_index=True) for name in OF_CELLS}


def train_all(
    cells: Sequence[Cell],
    phase: str,
    *,
    directory: Path,
    workers: Callable[[Sequence[Cell], Path], Iterable[tuple[Cell, str]]],
    on_progress: Callable[[Progress], object],
) -> Tables:
    """Train the cells that are not finished, and return the tables of all."""

    def say(damage: str) -> None:
        print(f"tamcl: {damage}; the run is trained again", file=sys.stderr)

    todo = [cell for cell in cells if not is_finished(directory / cell.id, on_damage=say)]
    say_other_code(todo, directory)
    done = len(cells) - len(todo)
    on_progress(Progress(phase, done, len(cells), "found"))
    for _cell, status in workers(todo, directory):
        done += 1
        on_progress(Progress(phase, done, len(cells), status))
    return gather(cells, directory)


def say_other_code(cells: Sequence[Cell], directory: Path) -> None:
    """Say which of somebody's own modules changed since cells were trained, which are trained anew for that."""
    own = {cell.prefix: cell for cell in cells if cell.code}
    folders = directory.iterdir() if own and directory.is_dir() else ()
    changed: set[str] = set()
    counted = set()
    for folder in folders:
        cell = own.get(f"{folder.name.rpartition('-')[0]}-")
        if cell is not None and (modules := _other_code(cell, folder)):
            changed.update(modules)
            counted.add(cell.prefix)
    if changed:
        print(
            f"tamcl: the code of {', '.join(sorted(changed))} changed, so {len(counted)} {cells[0].phase} runs in "
            f"'{directory.parent}' are trained anew",
            file=sys.stderr,
        )


def _other_code(cell: Cell, folder: Path) -> list[str]:
    """Return the modules by which alone a cell differs from one that is there; none if it differs by more."""
    try:
        there = json.loads(read_table(folder, "runs")["config"].item())
    except (OSError, ValueError):  # damaged
        return []
    here = json.loads(json.dumps(cell.config))
    if not isinstance(there, dict):
        return []
    codes = [code_in(config) for config in (there, here)]
    return differing(*codes) if there == here else []


def _tune(
    scenario: Scenario, tried: Rates, codes: Codes, train: Callable[[Sequence[Cell], str], Tables]
) -> tuple[Tables, Rates]:
    """Train what chooses the learning rates, round by round, and return the tables and what was tried."""
    while True:
        tuned = train(tuning_cells(scenario, tried, codes=codes), "tune")
        more = next_rates(scenario, tried, scores_of(scenario, tuned)) if tried else {}
        if not more:
            return tuned, tried
        tried = {arm: [*rates, *more[arm]] for arm, rates in tried.items()}
