"""A study: tune every arm, run the reported seeds with the winners, measure, compare. It goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from tamcl.arguments import instance, whole_number
from tamcl.engines import Engine, engine_of, inline, is_here, kept, local
from tamcl.engines.processes import WORKER, OnSteps, refuse_in_import
from tamcl.errors import InputError
from tamcl.files.atomic import write_atomic
from tamcl.files.paths import user_path
from tamcl.metrics import find, measure
from tamcl.results import Results, Tables, load_results, write_table
from tamcl.scenario.load import as_scenario
from tamcl.scenario.schema import Scenario
from tamcl.stats import tuning
from tamcl.study.checks import at_hand, check, check_compiler, check_here, check_new, check_workers, checks
from tamcl.study.display import RunDisplay, shown
from tamcl.study.folder import check_folder, locked, write_study
from tamcl.study.gather import measure_cells, metrics_of, write_results
from tamcl.study.plan import Codes, codes_of, report_cells, tuning_cells
from tamcl.study.search import Trials, first_trials, next_trials
from tamcl.study.train import Progress, train_all
from tamcl.training.cell import WEIGHTS, Cell, Outcome
from tamcl.training.resources import Resources, resources_of
from tamcl.training.run import run_cells
from tamcl.trial import Trial


def compare(
    scenario: Scenario | str | Path,
    directory: str | Path,
    *,
    jobs: int | None = None,
    resources: Resources | None = None,
    engine: Engine | None = None,
    command: str = "",
    progress: bool = True,
    on_progress: Callable[[Progress], object] | None = None,
    on_steps: OnSteps | None = None,
) -> Results:
    """Answer a scenario's question: tune on the tuning seeds, run the reported seeds, measure and compare.

    The folder's ``study.json`` gets the trials that were made as ``tried``.

    Parameters
    ----------
    scenario : Scenario or str or path
        Or its name, or the path of its file.
    directory : path
        Where the tables go. Cells that are finished there are not trained again, unless user code behind
        them is another one by now, which is said.
    jobs : int, optional
        Processes of this machine that train; 1 if absent, which is this one: a script needs no main guard then, and a
        debugger or a profiler sees the training. Own code of an arm that changes what is global changes other arms'
        runs in the same process; from 2 on it has a process of its own. The tables do not depend on it otherwise.
    resources : Resources, optional
        Where the images are, which of them will do, and what computes; those of ``Resources()`` if absent.
    engine : Engine, optional
        Where else it is trained, in place of ``jobs``.
    command : str
        What repeats the study, kept for the report.
    progress : bool
        Whether to show how far it is: a table in a notebook and on a terminal, a line now and then elsewhere.
    on_progress : callable, optional
        Called with a ``Progress`` after every cell.
    on_steps : callable, optional
        Called about twice a second while cells are trained, with a pair for each that is, or for several that are
        trained together: the steps that are done, and all of them.

    Raises
    ------
    InputError
        If the folder holds another study, or data, streams, model or optimizers cannot be had as the scenario says, or
        worker processes cannot be used as they must be: the call stands unguarded in the script that was started, or a
        class is one of a notebook, which only this process has.
    AllFailed
        If every run failed. Their rows stay in the folder's ``cells``, and all are tried again the next time.
    """
    scenario, directory = as_scenario(scenario), user_path(directory)
    resources, engine = resources_of(resources), engine_of(engine, jobs)
    here = is_here(engine)
    (check_here if here else check_workers)(scenario)
    check_compiler(scenario, resources)
    check_folder(directory, scenario.dump())
    directory = directory.absolute()
    with kept(engine) as started, shown(directory, scenario.name, progress, on_progress, on_steps) as told:
        data = check(scenario, at_hand(resources, started), call=getattr(started, "call", None), here=here)
        first, codes = first_trials(scenario), codes_of(scenario)
        study = {"command": command, "scenario": scenario.dump(), "data": data}
        with locked(directory, study):
            train = partial(
                train_all,
                directory=directory / "cells",
                resources=resources,
                engine=started,
                on_progress=told.progress,
                on_steps=told.steps,
            )
            tuned, tried, scores = _tune(scenario, first, codes, train)
            reported = train(report_cells(scenario, choose(scenario, scores), codes=codes), "report")
            write_results(directory, [*tuned, *reported], scenario.protocol.pairs, metrics_of(scenario))
            write_study(directory, study | {"tried": noted(tried)})
    return load_results(directory)


class Run(NamedTuple):
    """One training run that has ended."""

    status: str
    """``ok``, ``diverged`` or ``failed``."""
    error: str
    """What it ended by if not well."""
    metrics: dict[str, float]
    tables: Tables
    """Those of a study, of this run alone: ``tables["online"]``."""


def run(
    scenario: Scenario | str | Path,
    arm: str,
    seed: int = 0,
    *,
    lr: float | None = None,
    resources: Resources | None = None,
    directory: str | Path | None = None,
    apart: bool = False,
    progress: bool = True,
) -> Run:
    """Train one run of an arm, and write what it leaves to a new folder if one is named.

    Parameters
    ----------
    scenario : Scenario or str or path
        As in ``compare``.
    arm : str
    seed : int
        From 0 on.
    lr : float, optional
        Learning rate; that of the arm if absent, which must then have one alone.
    resources : Resources, optional
        As in ``compare``.
    directory : path, optional
    apart : bool
        Whether it is trained in a process of its own and not in this one.
    progress : bool
        Whether a line now and then says how far it is, from some seconds on.

    Raises
    ------
    InputError
        If there is no such arm, it has several trials, or anything cannot be had that it needs.
    """
    scenario, arm = as_scenario(scenario), instance("arm", arm, str, "a text")
    if lr is not None:
        scenario.only([arm])  # which knows its name
        scenario = scenario.with_arm(arm, lr=lr)
    seed = whole_number("seed =", seed, 0, 2**63 - 1)  # of a table, it is NumPy's
    alone, resources = scenario.only([arm]), resources_of(resources)
    config = scenario.arms[arm]
    if len(config.lr) != 1:
        raise InputError(f"arms.{arm}: has {len(config.lr)} learning rates; name one, as lr={config.lr[0]:g}")
    if several := [name for name, values in config.grids.items() if len(values) > 1]:
        one = ", ".join(f"{name}={config.grids[name][0]!r}" for name in several)
        cure = f"name one, as scenario.with_arm({arm!r}, {one})"
        raise InputError(f"arms.{arm}: has several values of {', '.join(several)}; {cure}")
    (trial,) = config.trials
    refuse_in_import("" if apart else WORKER)
    check_compiler(alone, resources)
    if directory is not None:
        directory = user_path(directory)
        check_new(directory)
        directory = directory.absolute()
    cell = Cell(scenario, arm, trial.lr, seed, "report", options=trial.options)
    on_steps = RunDisplay(f"{arm} on {scenario.name}, seed {seed}").steps if progress else _no_steps
    if apart:
        outcome = local.run_apart(cell, checks(alone, resources, [seed]), resources, on_steps)
    else:
        outcome = _run_here(cell, alone, resources, on_steps)
    metrics = measure(
        outcome.online, outcome.eval, outcome.runs, continual=outcome.continual, metrics=metrics_of(scenario)
    )
    tables = outcome.tables | {"metrics": metrics}
    if directory is not None:
        for name, table in tables.items():
            write_table(directory, name, table)
        if outcome.weights:
            write_atomic(directory / WEIGHTS, lambda path: path.write_bytes(outcome.weights))
    values = dict(zip(metrics["metric"], metrics["value"], strict=True))
    return Run(str(outcome.runs["status"].item()), str(outcome.runs["error"].item()), values, tables)


def _no_steps(running: object) -> None:
    """Say nothing."""


def _run_here(cell: Cell, alone: Scenario, resources: Resources, on_steps: OnSteps) -> Outcome:
    check_here(alone)
    engine = inline.Inline(on_steps)
    check(alone, resources, seeds=[cell.seed], call=engine.call, here=True)
    outcomes: list[Outcome] = engine.call(cell.arm, partial(run_cells, (cell,), resources))
    return outcomes[0]


def scores_of(scenario: Scenario, tuned: Sequence[Path]) -> pd.DataFrame:
    """Return the score of every trial that was made, by the folders of the cells that choose them."""
    runs, metrics = measure_cells(tuned, [find(scenario.protocol.tune_by)])
    return tuning.select(metrics, runs, scenario.protocol.tune_by)


def choose(scenario: Scenario, scores: pd.DataFrame) -> dict[str, Trial]:
    """Return each arm's trial by its scores; an arm all of whose trials diverged is left out."""
    trials = {arm: config.trials[0] for arm, config in scenario.arms.items() if config.size == 1}
    chosen = scores[scores["chosen"]]
    rows = zip(chosen["arm"], chosen["lr"], chosen["options"], strict=True)
    trials |= {arm: Trial(float(lr), options) for arm, lr, options in rows}
    return {arm: trials[arm] for arm in scenario.arms if arm in trials}


def noted(tried: Trials) -> dict[str, list[Any]]:
    """Return how ``study.json`` notes what was tried."""
    return {arm: [trial.plain for trial in trials] for arm, trials in tried.items()}


def _tune(
    scenario: Scenario, tried: Trials, codes: Codes, train: Callable[[Sequence[Cell], str], list[Path]]
) -> tuple[list[Path], Trials, pd.DataFrame]:
    """Train what chooses among trials, round by round; return the cells' folders, what was tried, and its scores."""
    while True:
        tuned = train(tuning_cells(scenario, tried, codes=codes), "tune")
        scores = scores_of(scenario, tuned)
        more = next_trials(scenario, tried, scores) if tried else {}
        if not more:
            return tuned, tried, scores
        tried = {arm: [*trials, *more[arm]] for arm, trials in tried.items()}
