"""A sample of a study's runs trained anew: whether this machine, with what is installed here, gets the same numbers."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Sequence
from math import inf
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd

from tamcl.arguments import texts, whole_number
from tamcl.engines import Engine, engine_of, is_here, jobs_of, kept
from tamcl.errors import InputError, unknown_name
from tamcl.findings.study import records
from tamcl.results import CELL, DIGESTS, Results, Tables, load_results
from tamcl.scenario.load import parse
from tamcl.scenario.schema import Scenario
from tamcl.seeding import derive_seed
from tamcl.study.agreement import apart, is_same, means
from tamcl.study.checks import at_hand, check, check_here
from tamcl.study.folder import difference, read_cell
from tamcl.study.plan import pack
from tamcl.training.cell import Cell
from tamcl.training.resources import Resources, resources_of
from tamcl.trial import Trial
from tamcl.user_code import differing, named_modules

CLOSE = 0.01
"""Two runs agree closely if their mean online accuracy and all test accuracies differ by no more, or by no larger part
of themselves, where numbers are learnt, their mean losses. Assumption: rounding that another machine does otherwise may
move a run of some hundred steps by that, and a mistake mostly by more."""

Agreement = Literal["bit by bit", "closely", "not"]


class Check(NamedTuple):
    """A run that was trained anew."""

    arm: str
    trial: Trial
    seed: int
    phase: str
    agreement: Agreement
    difference: float
    """The largest difference of the means that ``CLOSE`` is about."""
    why: str
    """What is the first to differ, or what ended the run."""


class Verification(NamedTuple):
    """What was found."""

    checks: list[Check]
    versions: dict[str, tuple[str, str]]
    """Versions that are others there and here, and the device."""
    left_out: dict[str, str]
    """Arms none of whose runs were looked at, and why."""


def verify(
    directory: str | Path,
    *,
    cells: int = 5,
    code: Collection[str] = (),
    jobs: int | None = None,
    resources: Resources | None = None,
    engine: Engine | None = None,
) -> Verification:
    """Train a sample of a study's runs anew and compare their tables with those in its folder, which stays as it is.

    Parameters
    ----------
    directory : path
        A finished study's folder.
    cells : int
        How many runs, drawn from all arms in turn; always the same ones of the same study.
    code : collection of str
        Modules of somebody's own that may be imported; arms that need others are left out, since a folder may name
        anything.
    jobs : int, optional
    resources : Resources, optional
    engine : Engine, optional
        All three as of ``tamcl.study.compare``.

    Raises
    ------
    InputError
        If the folder holds no finished study, its data are others here, it names no such module, or no run is left
        to be trained.
    """
    cells, code = whole_number("--cells", cells, 1), texts("--code", code, "['my.module']")
    resources, engine = resources_of(resources), engine_of(engine, jobs)
    results = load_results(directory)
    scenario = parse(results.study["scenario"])
    left_out = _needs_code(scenario, code)
    runs = results.runs[~results.runs["arm"].isin(left_out) & results.runs["status"].isin(["ok", "diverged"])]
    if runs.empty:
        raise InputError(f"'{results.directory}': {next(iter(left_out.values()), 'no run ended well')}")
    sample = _sample(runs, cells)
    scenario = scenario.only(dict.fromkeys(row["arm"] for row in sample))
    _check_data(results, _checked(scenario, resources, engine, sorted({row["seed"] for row in sample})))
    again = [Cell(scenario, row["arm"], row["lr"], row["seed"], row["phase"], options=row["options"]) for row in sample]
    with tempfile.TemporaryDirectory(prefix="tamcl-") as folder, kept(engine) as started:
        trained = Path(folder) / "cells"  # an executor has its logs beside them
        for _ended in started.train(pack(again, jobs_of(started)), trained, resources):
            pass
        tables = [read_cell(trained / cell.id) for cell in again]
    found = zip(sample, tables, again, strict=True)
    checks = [_check(_tables(results, row), new, cell) for row, new, cell in found]
    (here,) = records(tables[0]["runs"])
    return Verification(checks, _versions(sample, here), left_out)


def _checked(scenario: Scenario, resources: Resources, engine: Engine, seeds: Sequence[int]) -> dict[str, Any]:
    """Check that the sample can be trained, and return the description of its data."""
    if not is_here(engine):
        return check(scenario, at_hand(resources, engine), seeds=seeds)
    check_here(scenario)
    return check(scenario, resources, seeds=seeds, call=getattr(engine, "call", None), here=True)


def _needs_code(scenario: Scenario, allowed: Collection[str]) -> dict[str, str]:
    """Return the arms that name a class outside the tables which was not allowed, and why they are left out."""
    found: dict[str, str] = {}
    named = named_modules(scenario.dump())
    for module in allowed:
        if module not in named:
            raise unknown_name("module of the study", module, named)
    for arm, config in scenario.arms.items():
        of_all = [scenario.stream, scenario.model, scenario.strategy, scenario.diagnostics]
        parts = [*of_all, config, *scenario.interventions_of(arm)]
        values = [part.model_dump(mode="json", serialize_as_any=True) for part in parts if part is not None]
        if others := sorted(set(named_modules(values)).difference(allowed)):
            options = " ".join(f"--code {module}" for module in others)
            found[arm] = f"arms.{arm} names {', '.join(others)}, which is not imported unless you say so: {options}"
    return found


def _sample(runs: pd.DataFrame, count: int) -> list[dict[str, Any]]:
    """Return some runs, of one arm after another."""
    rows = runs.sample(frac=1, random_state=derive_seed(0, "resampling") % 2**32)
    turn = rows.groupby("arm").cumcount().rename("turn")
    return records(rows.assign(turn=turn).sort_values(["turn", "arm"], kind="stable").head(count))


def _check_data(results: Results, data: dict[str, Any]) -> None:
    held = results.study.get("data") or data
    if held["checksum"] != data["checksum"]:
        there, here = (found["checksum"][:8] for found in (held, data))
        raise InputError(f"'{results.directory}': was trained on other data: {there} there, {here} here")


def _tables(results: Results, row: dict[str, Any]) -> Tables:
    """Return the tables of a run as the study has them."""
    key = pd.DataFrame([row])[list(CELL)]
    return {name: results.rows_of(name, key) for name in ("online", "eval", "continual", "runs")}


def _check(there: Tables, here: Tables, cell: Cell) -> Check:
    """Compare a run with the same one trained anew."""
    found = there["runs"], here["runs"]
    (status, error), (old_status, _) = ((runs["status"].item(), runs["error"].item()) for runs in reversed(found))
    key = cell.arm, cell.trial, cell.seed, cell.phase
    if status != old_status:
        return Check(*key, "not", inf, f"it is {old_status} there and {status} here{error and ': ' + error}")
    digests = [name for name in DIGESTS if len({runs[name].item() for runs in found} - {""}) > 1]
    if not digests and is_same(there, here):
        return Check(*key, "bit by bit", 0.0, "")
    config, new_config = ({**json.loads(runs["config"].item()), "tamcl": ""} for runs in found)
    codes = [json.loads(runs["code"].item() or "{}") for runs in found]
    changed = [f"the code of {', '.join(modules)}" for modules in [differing(*codes)] if modules]
    changed += [difference(config, new_config)] if not changed else []
    why = "; ".join(filter(None, [*changed, f"first to differ: {DIGESTS[digests[0]]}" if digests else ""]))
    largest = _difference(there, here, cell.scenario.stream.target)
    close = largest <= CLOSE and {"fingerprint", "order"}.isdisjoint(digests)
    return Check(*key, "closely" if close else "not", largest, why)


def _difference(there: Tables, here: Tables, target: str) -> float:
    """Return the largest difference of the means of two runs."""
    if any(len(there[name]) != len(here[name]) for name in ("online", "eval")):
        return inf
    pairs = zip(means(there, target), means(here, target), strict=True)
    return max(apart(*pair, relative=target == "number") for pair in pairs)


def _versions(sample: Sequence[dict[str, Any]], run: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Return what is not the same there and here."""
    there: dict[str, set[str]] = {}
    for row in sample:
        for name, version in _made_by(row).items():
            there.setdefault(name, set()).add(version)
    here = _made_by(run)
    differing = {name: " and ".join(sorted(found)) for name, found in there.items() if found != {here.get(name)}}
    return {name: (version, here.get(name, "none")) for name, version in differing.items()}


def _made_by(row: dict[str, Any]) -> dict[str, str]:
    return {**json.loads(row["versions"]), **({"device": row["device"]} if row["device"] else {})}
