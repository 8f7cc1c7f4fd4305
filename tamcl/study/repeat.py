"""A study's arms trained once more at their chosen learning rates: on fresh seeds, or on an oracle of the stream."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict, Unpack

from tamcl.engines import Engine, engine_of, is_here, kept
from tamcl.errors import InputError, printable, unknown_name
from tamcl.findings.study import Study
from tamcl.results import Results, load_results
from tamcl.scenario.load import parse
from tamcl.scenario.schema import Scenario
from tamcl.study.checks import at_hand, check, check_compiler, check_here, check_workers
from tamcl.study.display import shown
from tamcl.study.folder import locked, write_study
from tamcl.study.gather import metrics_of, write_results
from tamcl.study.plan import report_cells
from tamcl.study.train import Progress, train_all
from tamcl.training.cell import Cell
from tamcl.training.resources import Resources, resources_of
from tamcl.trial import Trial
from tamcl.user_code import named_modules


class TrainOptions(TypedDict, total=False):
    """How to train, each as of ``tamcl.study.compare``."""

    jobs: int
    resources: Resources
    engine: Engine
    command: str
    progress: bool
    on_progress: Callable[[Progress], object]


NAMING = ("stream", "model", "strategy", "arms", "interventions", "diagnostics", "protocol", "metrics")
"""Parts of a scenario that may name code."""


def say_imports(study: Study, parts: Iterable[str] = NAMING) -> None:
    """Say which modules will be imported because a study names them: its folder may be somebody else's."""
    for module, file in named_modules([study.scenario.get(part) for part in parts]).items():
        where = f"'{study.results.directory}' names it"
        print(f"tamcl: imports {module} ({printable(file) or 'not found'}): {where}", file=sys.stderr)


def at_trials(
    scenario: Scenario,
    trials: Mapping[str, Trial],
    seeds: int,
    pairs: Iterable[tuple[str, str]] | None = None,
    *,
    first_seed: int = 0,
) -> Scenario:
    """Return the scenario with some of its arms, each with one trial, so that nothing is left to be tuned.

    An option that was tuned stays a list, of its one value, so that tables go on saying it. Final weights are not kept.

    Parameters
    ----------
    scenario : Scenario
    trials : mapping of str to Trial
        The arms that are kept, and the trial of each.
    seeds : int
        Number of reported seeds.
    pairs : iterable of (str, str), optional
        Pairs of arms; those that are left of the scenario's if absent.
    first_seed : int
        The first reported seed.
    """
    values = scenario.only(trials).dump()
    for arm, trial in trials.items():
        values["arms"][arm] |= {"lr": [trial.lr]} | {name: [value] for name, value in trial.arguments.items()}
    values["protocol"] |= {"first_seed": first_seed, "seeds": seeds, "search": "grid", "trials": None, "extend": 0}
    values["keep_weights"] = False
    if pairs is not None:
        values["protocol"]["pairs"] = list(pairs)
    return parse(values)


def repeat(
    study: Study,
    scenario: Scenario,
    seeds: Sequence[int],
    folder: Path,
    *,
    before: Callable[[], object] = lambda: None,
    phase: str = "report",
    **options: Unpack[TrainOptions],
) -> Results:
    """Train a scenario made of a study's on the study's data, and measure and compare it in a folder of its own.

    Parameters
    ----------
    study : Study
    scenario : Scenario
        Each arm has one trial.
    seeds : sequence of int
    folder : Path
        Where the tables go. Cells that are finished there are not trained again.
    before : callable
        Called before anything is trained, while no other process may work in the folder.
    phase : str
        What the progress is called.
    **options
        ``jobs``, ``resources``, ``engine``, ``command``, ``progress`` and ``on_progress``, as of
        ``tamcl.study.compare``.

    Raises
    ------
    InputError
        If data, user code or defaults of optimizers are others than the study's, or data, streams, model or optimizers
        cannot be had by now, or worker processes cannot be used.
    AllFailed
        If every run failed.
    """
    for name in options:
        if name not in TrainOptions.__annotations__:
            raise unknown_name("option", name, TrainOptions.__annotations__)
    resources, engine = resources_of(options.get("resources")), engine_of(options.get("engine"), options.get("jobs"))
    folder, here = folder.absolute(), is_here(engine)
    if (study.results.directory / "claims.json").is_file():
        raise InputError(f"'{study.results.directory}': repeats the claims of a study; name the study itself")
    (check_here if here else check_workers)(scenario)
    check_compiler(scenario, resources)
    told = shown(folder, f"{scenario.name}, {phase}", options.get("progress", True), options.get("on_progress"))
    with told as (on_progress, on_steps):
        call = getattr(engine, "call", None) if here else None
        data = check(scenario, at_hand(resources, engine), seeds=seeds, call=call, here=here)
        held = study.results.study.get("data") or study.data
        if held and held["checksum"] != data["checksum"]:
            raise InputError(
                f"'{study.results.directory}': was trained on other data: {held['checksum'][:8]} there, not those here"
            )
        cells = report_cells(scenario, {arm: config.trials[0] for arm, config in scenario.arms.items()}, seeds)
        require_same_code(study, cells)
        _check_defaults(study, cells)
        record = {"command": options.get("command", ""), "scenario": scenario.dump(), "data": data}
        with kept(engine) as started, locked(folder, record):
            before()
            trained = train_all(
                cells,
                phase,
                directory=folder / "cells",
                resources=resources,
                engine=started,
                on_progress=on_progress,
                on_steps=on_steps,
            )
            write_results(folder, trained, scenario.protocol.pairs, metrics_of(scenario))
            write_study(folder, record)
    return load_results(folder)


def require_same_code(study: Study, cells: Sequence[Cell]) -> None:
    """Raise an ``InputError`` if user code behind an arm is not that of the study.

    What only the study has is that of diagnostics, or of imports that are gone, by which another file is changed.
    """
    known = {str(arm): json.loads(text or "{}") for arm, text in study.runs.groupby("arm")["code"].last().items()}
    for cell in cells:
        held = known.get(cell.arm, {})
        if other := [module for module, digest in cell.code.items() if held.get(module) != digest]:
            raise InputError(
                f"arms.{cell.arm}: the code of {', '.join(other)} is not that of the study by now; "
                "run the study again first"
            )


def _check_defaults(study: Study, cells: Sequence[Cell]) -> None:
    """Raise an ``InputError`` if an arm was trained when its optimizer had other defaults."""
    known = {str(arm): json.loads(text) for arm, text in study.runs.groupby("arm")["optimizer"].last().items()}
    for cell in cells:
        held = known.get(cell.arm, {})
        if other := [f"{key} = {value!r}" for key, value in cell.changed_defaults.items() if key not in held]:
            name = cell.scenario.arms[cell.arm].optimizer
            raise InputError(
                f"arms.{cell.arm}: by now {name} has the defaults {', '.join(other)}, "
                "which were others when the study was trained; run the study again first"
            )
