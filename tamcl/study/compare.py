"""A study: tune every arm, run the reported seeds with the winners, measure, compare. It goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from tamcl.engines import Engine, kept, local
from tamcl.engines.processes import refuse_in_import
from tamcl.files.atomic import write_atomic
from tamcl.files.paths import user_path
from tamcl.metrics import find, measure
from tamcl.results import Results, load_results, write_table
from tamcl.scenario.schema import Scenario
from tamcl.stats import tuning
from tamcl.study.checks import check, check_compiler, check_new, check_workers, checks
from tamcl.study.folder import check_folder, locked, write_study
from tamcl.study.gather import measure_cells, write_results
from tamcl.study.plan import Codes, codes_of, report_cells, tuning_cells
from tamcl.study.search import Rates, first_rates, next_rates
from tamcl.study.train import Progress, train_all
from tamcl.training.cell import WEIGHTS, Cell
from tamcl.training.resources import Resources


def compare(
    scenario: Scenario,
    directory: str | Path,
    *,
    resources: Resources | None = None,
    engine: Engine | None = None,
    command: str = "",
    on_progress: Callable[[Progress], object] = lambda progress: None,
) -> Results:
    """Answer a scenario's question: tune on the tuning seeds, run the reported seeds, measure and compare.

    The folder's ``study.json`` gets the learning rates that were tried as ``tried``.

    Parameters
    ----------
    scenario : Scenario
    directory : path
        Where the tables go. Cells that are finished there are not trained again, unless user code behind
        them is another one by now, which is said.
    resources : Resources, optional
        Where the images are, which of them will do, and what computes; those of ``Resources()`` if absent.
    engine : Engine, optional
        Where it is trained; ``Local()``, one process of this machine, if absent. The tables do not depend on it.
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
    directory, resources, engine = user_path(directory), resources or Resources(), engine or local.Local()
    check_workers(scenario)
    check_compiler(scenario, resources)
    check_folder(directory, scenario.dump())
    directory = directory.absolute()
    with kept(engine) as started:
        data = check(scenario, resources, call=getattr(started, "call", None))
        first, codes = first_rates(scenario), codes_of(scenario)
        study = {"command": command, "scenario": scenario.dump(), "data": data}
        with locked(directory, study):
            train = partial(
                train_all, directory=directory / "cells", resources=resources, engine=started, on_progress=on_progress
            )
            tuned, tried, scores = _tune(scenario, first, codes, train)
            reported = train(report_cells(scenario, choose(scenario, scores), codes=codes), "report")
            write_results(directory, [*tuned, *reported], scenario.protocol.pairs)
            write_study(directory, study | {"tried": tried})
    return load_results(directory)


def run_one(
    scenario: Scenario,
    arm: str,
    seed: int,
    *,
    resources: Resources | None = None,
    directory: str | Path | None = None,
) -> tuple[str, str, dict[str, float]]:
    """Train one cell, in a process of its own as in a study; write what it leaves to a new folder if one is named.

    Returns
    -------
    str, str, dict of str to float
        Status, error and metrics.
    """
    refuse_in_import()
    resources = resources or Resources()
    check_compiler(scenario.only([arm]), resources)
    if directory is not None:
        directory = user_path(directory)
        check_new(directory)
        directory = directory.absolute()
    cell = Cell(scenario, arm, scenario.arms[arm].lr[0], seed, "report")
    outcome = local.run_apart(cell, checks(scenario.only([arm]), resources, [seed]), resources)
    metrics = measure(outcome.online, outcome.eval, outcome.runs, continual=outcome.continual)
    if directory is not None:
        for name, table in (outcome.tables | {"metrics": metrics}).items():
            write_table(directory, name, table)
        if outcome.weights:
            write_atomic(directory / WEIGHTS, lambda path: path.write_bytes(outcome.weights))
    values = dict(zip(metrics["metric"], metrics["value"], strict=True))
    return str(outcome.runs["status"].item()), str(outcome.runs["error"].item()), values


def scores_of(scenario: Scenario, tuned: Sequence[Path]) -> pd.DataFrame:
    """Return the score of every learning rate that was tried, by the folders of the cells that choose them."""
    runs, metrics = measure_cells(tuned, [find(scenario.protocol.tune_by)])
    return tuning.select(metrics, runs, scenario.protocol.tune_by)


def choose(scenario: Scenario, scores: pd.DataFrame) -> dict[str, float]:
    """Return each arm's learning rate by its scores; an arm all of whose learning rates diverged is left out."""
    rates = {arm: config.lr[0] for arm, config in scenario.arms.items() if len(config.lr) == 1}
    chosen = scores[scores["chosen"]]
    rates |= dict(zip(chosen["arm"], chosen["lr"].astype(float), strict=True))
    return {arm: rates[arm] for arm in scenario.arms if arm in rates}


def _tune(
    scenario: Scenario, tried: Rates, codes: Codes, train: Callable[[Sequence[Cell], str], list[Path]]
) -> tuple[list[Path], Rates, pd.DataFrame]:
    """Train what chooses learning rates, round by round; return the cells' folders, what was tried, and its scores."""
    while True:
        tuned = train(tuning_cells(scenario, tried, codes=codes), "tune")
        scores = scores_of(scenario, tuned)
        more = next_rates(scenario, tried, scores) if tried else {}
        if not more:
            return tuned, tried, scores
        tried = {arm: [*rates, *more[arm]] for arm, rates in tried.items()}
