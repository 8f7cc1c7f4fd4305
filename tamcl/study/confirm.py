"""Claims of a study, declared and then repeated on fresh seeds: what was found by looking may be chance."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import pandas as pd

from tamcl.arguments import whole_number
from tamcl.errors import InputError
from tamcl.files.atomic import write_atomic
from tamcl.files.records import read_claims, write_record
from tamcl.findings.answers import answers
from tamcl.findings.study import Study, records
from tamcl.results import Results, load_results
from tamcl.scenario.load import parse
from tamcl.scenario.schema import MOST_SEEDS
from tamcl.stats import ALPHA, fewest_seeds
from tamcl.study.repeat import TrainOptions, at_trials, repeat, say_imports
from tamcl.trial import Trial

FIRST_SEED = 2 * MOST_SEEDS
"""Fresh seeds are 2000, 2001, ...: neither reported nor tuning seeds can be."""


def confirm(directory: str | Path, *, seeds: int | None = None, **options: Unpack[TrainOptions]) -> Results:
    """Declare the claims of a study, repeat them with the chosen trials on fresh seeds, and compare again.

    A claim is what the study said of a pair on the metric that it tuned for: which arm is better, or that no difference
    was shown. ``confirm/claims.json`` holds them before anything is run; what is run later cannot change them.

    Modules that the study names as ``package.module:Class`` are imported, which is said before: train again only what
    you would run.

    Parameters
    ----------
    directory : path
        The study's folder; tables go to its folder ``confirm``. Cells that are finished there are not trained again.
    seeds : int, optional
        Number of fresh seeds; as many as were declared, if absent, and at first as many as the study reported, or as it
        takes at least to show a difference.
    **options
        ``jobs``, ``resources``, ``engine``, ``command``, ``progress`` and ``on_progress``, as of
        ``tamcl.study.compare``.

    Raises
    ------
    InputError
        If the folder holds no finished study, nothing was compared in it, its data or its claims are others by now, or
        another number of seeds was declared.
    """
    study = Study(load_results(directory))
    say_imports(study)
    folder = study.results.directory / "confirm"
    declared = declare(study, _number(folder / "claims.json", study, seeds))
    pairs = [(row["arm_a"], row["arm_b"]) for row in declared["claims"]]
    tuned = declared.get("options", {})
    trials = {arm: Trial(rate, tuned.get(arm, "")) for arm, rate in declared["rates"].items()}
    scenario = at_trials(parse(study.scenario), trials, len(declared["seeds"]), pairs)
    keep = partial(_keep, folder / "claims.json", declared)
    return repeat(study, scenario, declared["seeds"], folder, before=keep, **options)


def declare(study: Study, seeds: int) -> dict[str, Any]:
    """Return the claims of a study with the trials and the fresh seeds that they are to be repeated with."""
    strengths = {(answer.arm_a, answer.arm_b): answer.strength for answer in answers(study)}
    names = ["metric", "arm_a", "arm_b", "n_pairs", "diff", "ci_low", "ci_high", "p_value", "p_adjusted"]
    claims = [
        {name: row[name] for name in names} | {"strength": strengths[row["arm_a"], row["arm_b"]]}
        for row in records(_claimed(study))
    ]
    if not claims:
        raise InputError(
            f"'{study.results.directory}': compares nothing in {study.primary}, so nothing can be confirmed"
        )
    arms = {arm for row in claims for arm in (row["arm_a"], row["arm_b"])}
    trials = {arm: trial for arm, trial in study.trials.items() if arm in arms}
    options = {arm: trial.options for arm, trial in trials.items() if trial.options}
    return {
        "seeds": list(range(FIRST_SEED, FIRST_SEED + seeds)),
        "level": ALPHA,
        "rates": {arm: trial.lr for arm, trial in trials.items()},
        **({"options": options} if options else {}),
        "claims": claims,
    }


def _claimed(study: Study) -> pd.DataFrame:
    """Return the comparisons that the study's answer is about."""
    return study.comparisons[study.comparisons["metric"] == study.primary]


def _number(path: Path, study: Study, seeds: int | None) -> int:
    """Return the number of fresh seeds, which stays what it was once declared."""
    if seeds is not None:
        seeds = whole_number("--seeds", seeds, 1, MOST_SEEDS)
    if not path.is_file():
        return max(study.n_seeds, fewest_seeds(len(_claimed(study)), alpha=ALPHA)) if seeds is None else seeds
    held = len(read_claims(path)["seeds"])
    if seeds not in (None, held):
        raise InputError(f"--seeds {seeds}: '{path}' declares {held} seeds, which looking at them must not change")
    return held


def _keep(path: Path, declared: dict[str, Any]) -> None:
    """Write the claims if there are none, or check that they are these."""
    if path.is_file():
        held = read_claims(path)
        if json.dumps({name: held.get(name) for name in declared}) != json.dumps(declared):
            raise InputError(
                f"'{path}': declares claims of other results than the study has now, and its seeds are no longer fresh"
            )
        return
    dated = {"declared": datetime.now(UTC).isoformat(timespec="seconds")} | declared
    write_atomic(path, lambda temporary: write_record(temporary, dated))
