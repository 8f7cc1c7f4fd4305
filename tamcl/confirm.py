"""Claims of a study, declared and then repeated on fresh seeds: what was found by looking may be chance."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from tamcl.config import MOST_SEEDS, Scenario, parse
from tamcl.data import data_root
from tamcl.errors import InputError
from tamcl.folder import claim
from tamcl.report.reading import ALPHA, Study, answers, records
from tamcl.results import Results, load_results, write_atomic
from tamcl.study import Progress, check_data, check_parts, report_cells, train_all, write_results
from tamcl.workers import train_cells

FIRST_SEED = 2 * MOST_SEEDS
"""Fresh seeds are 2000, 2001, ...: neither reported nor tuning seeds can be."""


def confirm(
    directory: str | Path,
    *,
    seeds: int | None = None,
    data_dir: str | Path | None = None,
    allow_subset: bool = False,
    jobs: int = 1,
    command: str = "",
    on_progress: Callable[[Progress], object] = lambda progress: None,
) -> Results:
    """Declare the claims of a study, repeat them at the chosen learning rates on fresh seeds, and compare again.

    A claim is what the study said of a pair on the metric that it tuned for: which arm is better, or that no difference
    was shown. ``confirm/claims.json`` holds them before anything is run; what is run later cannot change them.

    Parameters
    ----------
    directory : path
        The study's folder; tables go to its folder ``confirm``. Cells that are finished there are not trained again.
    seeds : int, optional
        Number of fresh seeds; as many as the study reported, or as were declared, if absent.
    data_dir, allow_subset, jobs, command, on_progress
        As of ``tamcl.study.compare``.

    Raises
    ------
    InputError
        If the folder holds no finished study, nothing was compared in it, its data or its claims are others by now, or
        another number of seeds was declared.
    """
    if jobs < 1:
        raise InputError(f"jobs = {jobs}: must be at least 1")
    study, root = Study(load_results(directory)), data_root(data_dir)
    folder = Path(directory) / "confirm"
    declared = declare(study, _number(folder / "claims.json", study, seeds))
    scenario = _chosen(parse(study.scenario), declared)
    data = check_data(scenario, root, allow_subset, seeds=declared["seeds"])
    before = study.results.study.get("data") or study.data
    if before and before["checksum"] != data.describe()["checksum"]:
        raise InputError(f"'{directory}': was trained on other data: {before['checksum'][:8]} there, not those here")
    check_parts(scenario, data)
    with claim(folder, {"command": command, "scenario": scenario.dump(), "data": data.describe()}):
        _keep(folder / "claims.json", declared)
        cells = report_cells(scenario, declared["rates"], declared["seeds"])
        workers = partial(train_cells, data_dir=root, allow_subset=allow_subset, jobs=jobs)
        tables = train_all(cells, "report", directory=folder / "cells", workers=workers, on_progress=on_progress)
        write_results(folder, tables, scenario.protocol.pairs)
    return load_results(folder)


def declare(study: Study, seeds: int) -> dict[str, Any]:
    """Return the claims of a study with the learning rates and the fresh seeds that they are to be repeated with."""
    strengths = {(answer.arm_a, answer.arm_b): answer.strength for answer in answers(study)}
    rows = study.comparisons[study.comparisons["metric"] == study.primary]
    names = ["metric", "arm_a", "arm_b", "n_pairs", "diff", "ci_low", "ci_high", "p_value", "p_adjusted"]
    claims = [
        {name: row[name] for name in names} | {"strength": strengths[row["arm_a"], row["arm_b"]]}
        for row in records(rows)
    ]
    if not claims:
        raise InputError(
            f"'{study.results.directory}': compares nothing in {study.primary}, so nothing can be confirmed"
        )
    arms = {arm for row in claims for arm in (row["arm_a"], row["arm_b"])}
    return {
        "seeds": list(range(FIRST_SEED, FIRST_SEED + seeds)),
        "level": ALPHA,
        "rates": {arm: rate for arm, rate in study.rates.items() if arm in arms},
        "claims": claims,
    }


def _number(path: Path, study: Study, seeds: int | None) -> int:
    """Return the number of fresh seeds, which stays what it was once declared."""
    if seeds is not None and not 1 <= seeds <= MOST_SEEDS:
        raise InputError(f"--seeds {seeds}: must be 1 to {MOST_SEEDS}")
    if not path.is_file():
        return study.n_seeds if seeds is None else seeds
    held = len(_read(path)["seeds"])
    if seeds not in (None, held):
        raise InputError(f"--seeds {seeds}: '{path}' declares {held} seeds, which looking at them must not change")
    return held


def _read(path: Path) -> dict[str, Any]:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        return {name: held[name] for name in ("seeds", "level", "rates", "claims")}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"'{path}' is damaged: {error!r}") from error


def _keep(path: Path, declared: dict[str, Any]) -> None:
    """Write the claims if there are none, or check that they are these."""
    if path.is_file():
        if json.dumps(_read(path)) != json.dumps(declared):
            raise InputError(
                f"'{path}': declares claims of other results than the study has now; move its folder away to begin anew"
            )
        return
    dated = {"declared": datetime.now(UTC).isoformat(timespec="seconds")} | declared
    text = json.dumps(dated, indent=2) + "\n"
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _chosen(scenario: Scenario, declared: dict[str, Any]) -> Scenario:
    """Return the scenario with the arms, pairs and learning rates of the claims."""
    values = scenario.dump()
    values["arms"] = {arm: values["arms"][arm] | {"lr": [rate]} for arm, rate in declared["rates"].items()}
    for arm in values["arms"].values():
        arm["null_of"] = arm["null_of"] if arm["null_of"] in values["arms"] else None
    pairs = [[row["arm_a"], row["arm_b"]] for row in declared["claims"]]
    grid = {"search": "grid", "trials": None, "extend": 0}
    values["protocol"] |= {"seeds": len(declared["seeds"]), "pairs": pairs} | grid
    return parse(values)
