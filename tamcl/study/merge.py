"""Folders of one study, trained on several machines, joined to one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from operator import attrgetter
from pathlib import Path
from sys import float_info
from typing import Any, NamedTuple, TypeVar

import pandas as pd

from tamcl.arguments import several
from tamcl.errors import InputError
from tamcl.files.paths import user_path
from tamcl.findings.study import records
from tamcl.results import Results, Tables, load_results
from tamcl.scenario.grids import grids
from tamcl.scenario.load import parse
from tamcl.scenario.schema import OF_ARMS, Scenario
from tamcl.study.agreement import apart, is_same, means
from tamcl.study.compare import choose, noted, scores_of
from tamcl.study.folder import check_folder, difference, find_cell, locked, read_cell, write_study
from tamcl.study.gather import metrics_of, write_results
from tamcl.study.plan import report_seeds, tuning_seeds
from tamcl.study.search import Trials, next_trials
from tamcl.training.cell import folder_of
from tamcl.trial import Trial, values_of

T = TypeVar("T")

WORDS = ("title", "source", "notes", "cost")
"""What says nothing of how a study was trained: that of the first folder is kept."""

APART = ("optimizer", "seed", "code")
"""What the cells of a study may differ in."""


class Part(NamedTuple):
    """One of the folders."""

    directory: Path
    study: dict[str, Any]
    runs: pd.DataFrame

    @property
    def scenario(self) -> dict[str, Any]:
        """The resolved scenario."""
        return dict(self.study["scenario"])


class Merged(NamedTuple):
    """A study that was joined, and how far its parts agree where they have the same."""

    results: Results
    differences: list[float]
    """By how much the mean online accuracy, or loss where numbers are learnt, of each cell that several folders have
    differs; 0 if all its numbers are the same, bit by bit."""


def merge(directories: Sequence[str | Path], out: str | Path, *, command: str = "") -> Merged:
    """Join finished folders of one study that were trained on several machines: other seeds, arms or learning rates.

    Nothing is trained, and no class that a study names is imported. A cell that several folders have is taken from the
    first of them in which it did not fail. Learning rates, and the options tuned with them, are chosen anew among all
    that were tried; where folders have other values of an option, the joined study needs all combinations.

    Parameters
    ----------
    directories : sequence of path
        Two or more.
    out : path
        A new folder, which gets the cells, the tables and a ``study.json``; or one in which this was interrupted.
    command : str
        What repeats it, kept for the report.

    Raises
    ------
    InputError
        If a folder holds no finished study; if they differ in more than arms, learning rates, values of options that
        are tuned, seeds and wording, naming the first difference; if the joined study lacks cells, naming the first; or
        if ``out`` holds anything else.
    """
    given = several("directories", directories, "['first', 'second']")
    parts = [_read(user_path(directory)) for directory in given]
    if len({part.directory.resolve() for part in parts}) < max(2, len(parts)):
        raise InputError("merge: needs two folders or more, and none of them twice")
    out = user_path(out)
    scenario = _joined(parts)
    tried = _tried(scenario, parts)
    _check_fit(parts)
    tuning, reported = (_places(parts, phase, scenario.arms) for phase in ("tune", "report"))
    tune_keys = [(arm, trial, seed) for seed in tuning_seeds(scenario) for arm in tried for trial in tried[arm]]
    _check_complete(tune_keys, tuning, "tuning")
    tuned = [tuning[key][0] for key in tune_keys]
    for place in tuned:
        _read_there(place, find_cell)
    scores = scores_of(scenario, [place.path for place in tuned])
    _check_widened(scenario, tried, scores)
    trials = choose(scenario, scores)
    report_keys = [(arm, trial, seed) for seed in report_seeds(scenario) for arm, trial in trials.items()]
    _check_complete(report_keys, reported, "reported")
    chosen = [reported[key][0] for key in report_keys]
    for place in chosen:
        _read_there(place, find_cell)
    cells = [*tuned, *chosen]
    record = {"command": command, "scenario": scenario.dump(), "data": parts[0].study.get("data")}
    check_folder(out, scenario.dump())
    with locked(out, record):
        if (out / "runs.parquet").is_file():
            raise InputError(f"--out {out}: holds a study that is finished; name another folder")
        copies = {place: out / "cells" / place.name for place in cells}
        for place, copy in copies.items():
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(place.path, copy)
        write_results(out, copies.values(), scenario.protocol.pairs, metrics_of(scenario))
        write_study(out, record | {"tried": noted(tried)})
    differences = _compared(tuning | reported, scenario.stream.target)
    return Merged(load_results(out), differences)


Key = tuple[str, Trial, int]
"""Arm, trial and seed."""


class Place(NamedTuple):
    """Where a cell is."""

    directory: Path
    name: str
    is_failed: bool

    @property
    def path(self) -> Path:
        """The cell's folder."""
        return self.directory / "cells" / self.name


Places = dict[Key, list[Place]]
"""All places of each cell, in the order of the folders; those where it failed are the last."""


def _read(directory: Path) -> Part:
    results = load_results(directory)
    return Part(directory, results.study, results.runs)


def _joined(parts: Sequence[Part]) -> Scenario:
    """Return the scenario of all parts: their arms, learning rates, values of options and seeds together."""
    first = parts[0].scenario
    arms: dict[str, Any] = {}
    for part in parts:
        _check_same(part, parts[0], _common(part.scenario), _common(first))
        for label, arm in part.scenario["arms"].items():
            held = arms.setdefault(label, dict(arm))
            lists = ["lr", *_grids(arm).keys() & _grids(held).keys()]
            _check_same(part, parts[0], _options(arm, lists), _options(held, lists), f"arms.{label}")
            for name in lists:
                if held[name] != arm[name] and first["protocol"]["search"] != "grid":
                    _check_same(part, parts[0], arm[name], held[name], f"arms.{label}.{name}")
                _check_written(part, parts[0], f"arms.{label}.{name}", arm[name], held[name])
                held[name] = held[name] + [value for value in arm[name] if value not in held[name]]
            held["null_of"] = held.get("null_of") or arm.get("null_of")
    protocols = [part.scenario["protocol"] for part in parts]
    begin = min(each.get("first_seed", 0) for each in protocols)
    end = max(each.get("first_seed", 0) + each["seeds"] for each in protocols)
    pairs = {frozenset(pair): pair for each in reversed(protocols) for pair in each["pairs"]}
    ordered = [pair for each in protocols for pair in each["pairs"] if pairs.pop(frozenset(pair), None)]
    extend = max(each.get("extend", 0) for each in protocols)
    protocol = protocols[0] | {"first_seed": begin, "seeds": end - begin, "pairs": ordered, "extend": extend}
    metrics = list(dict.fromkeys(name for part in parts for name in part.scenario.get("metrics", ())))
    keeps = all(part.scenario.get("keep_weights", False) for part in parts)
    return parse(first | {"arms": arms, "protocol": protocol, "keep_weights": keeps, "metrics": metrics})


def _common(scenario: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must be the same in all parts."""
    apart = ("first_seed", "seeds", "pairs", "extend")
    protocol = {key: value for key, value in scenario["protocol"].items() if key not in apart}
    left_out = "arms", "keep_weights", "metrics", *WORDS
    return {key: value for key, value in scenario.items() if key not in left_out} | {"protocol": protocol}


def _grids(arm: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    return grids(arm["optimizer"], {key: value for key, value in arm.items() if key not in OF_ARMS})


def _options(arm: Mapping[str, Any], lists: Sequence[str]) -> dict[str, Any]:
    return {key: value for key, value in arm.items() if key not in (*lists, "null_of") and value is not None}


def _check_written(part: Part, first: Part, path: str, ours: Iterable[Any], theirs: Iterable[Any]) -> None:
    """Refuse a value that is written in two ways, as 0 and 0.0: their runs are apart."""
    for value in ours:
        for other in theirs:
            if value == other:
                _check_same(part, first, value, other, path)


def _check_same(part: Part, first: Part, ours: Any, theirs: Any, path: str = "") -> None:
    if found := difference(theirs, ours, path):
        raise InputError(f"'{part.directory}': is not of the study in '{first.directory}': {found}")


def _tried(scenario: Scenario, parts: Sequence[Part]) -> Trials:
    """Return the trials of each arm that is tuned: of its grid, and whatever else was tried."""
    is_grid = scenario.protocol.search == "grid"
    tried = {arm: list(config.trials) if is_grid else [] for arm, config in scenario.arms.items() if config.size > 1}
    for part in parts:
        held = part.study.get("tried", {})
        made = [(label, Trial.read(each)) for label in tried for each in held.get(label, [])]  # in the order of trying
        ran = part.runs.loc[part.runs["phase"] == "tune", ["arm", "lr", "options"]].itertuples(index=False, name=None)
        for arm, trial in [*made, *((arm, Trial(lr, options)) for arm, lr, options in ran)]:
            tried[arm] += [] if trial in tried[arm] else [trial]
    return tried


def _places(parts: Sequence[Part], phase: str, arms: Iterable[str]) -> Places:
    """Return where the cells of a phase are."""
    places: Places = {}
    for part in parts:
        for row in records(part.runs[part.runs["phase"] == phase]):
            key = row["arm"], Trial(row["lr"], row["options"]), row["seed"]
            name, there = (folder_of(*key, json.loads(row["config"]), each) for each in (arms, part.scenario["arms"]))
            if name != there:
                raise InputError(
                    f"merge: arm '{row['arm']}' has the name of another but for its case; rename one of them"
                )
            places.setdefault(key, []).append(Place(part.directory, name, row["status"] == "failed"))
    return {key: sorted(several, key=attrgetter("is_failed")) for key, several in places.items()}


def _check_fit(parts: Sequence[Part]) -> None:
    """Check that the cells of all parts were trained in the same way, on the same data and streams."""
    data, streams = parts[0].study.get("data"), dict[int, str]()
    ways = dict[tuple[str, str], Any]()
    for part in parts:
        _check_same(part, parts[0], part.study.get("data"), data, "data")
        for row in records(part.runs):
            config = json.loads(row["config"])
            stacked = config.pop("stacked", False)
            tuned = {"lr", *values_of(row["options"])}
            optimizer = {key: value for key, value in config.pop("optimizer").items() if key not in tuned}
            way = {key: value for key, value in config.items() if key not in APART}
            own = {"optimizer": optimizer, "code": json.loads(row["code"]), "stacked": stacked}
            _check_same(part, parts[0], way, ways.setdefault(("", ""), way))
            _check_same(part, parts[0], own, ways.setdefault((row["arm"], row["phase"]), own), f"arms.{row['arm']}")
            if row["fingerprint"]:
                held = streams.setdefault(row["seed"], row["fingerprint"])
                _check_same(part, parts[0], row["fingerprint"], held, f"the stream of seed {row['seed']}")


def _check_complete(keys: Iterable[Key], places: Places, phase: str) -> None:
    missing = [key for key in keys if key not in places]
    if missing:
        arm, trial, seed = missing[0]
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(f"merge: no folder has the {phase} run of {arm} at {trial} and seed {seed}{more}")


def _check_widened(scenario: Scenario, tried: Trials, scores: pd.DataFrame) -> None:
    """Check that all arms have had the same: one machine widens their grids together, and ends when all are wide."""
    added = {arm: len(trials) - scenario.arms[arm].size for arm, trials in tried.items()}
    if scenario.protocol.search != "grid" or not any([scenario.protocol.extend, *added.values()]):
        return
    if len(set(added.values())) > 1:
        numbers = ", ".join(f"{arm} {number}" for arm, number in added.items())
        raise InputError(
            f"merge: the grids were widened by different numbers of learning rates: {numbers}; with --extend train all "
            "arms in each folder"
        )
    if more := next_trials(scenario, tried, scores):
        arm, [trial] = next(iter(more.items()))
        raise InputError(f"merge: one machine would have widened the grids further, that of {arm} by {trial}")


def _read_there(place: Place, read: Callable[[Path], T]) -> T:
    """Read a cell, or refuse the folder whose tables speak of it."""
    try:
        return read(place.path)
    except FileNotFoundError as error:
        raise InputError(f"'{place.directory}': has no cell {place.name}, which its tables speak of") from error


def _compared(places: Places, target: str) -> list[float]:
    """Return for each cell that several folders have by how much its mean online accuracy or loss differs, at most.

    The smallest number above 0 where only other numbers differ.
    """
    found = []
    for every in places.values():
        several = [place for place in every if not place.is_failed]
        if len(several) > 1:
            first, *others = (_read_there(place, read_cell) for place in several)
            found.append(max(_difference(first, other, target) for other in others))
    return found


def _difference(one: Tables, other: Tables, target: str) -> float:
    if is_same(one, other):
        return 0.0
    if len(one["online"]) != len(other["online"]):
        return inf
    return max(apart(means(one, target)[0], means(other, target)[0]), float_info.min)
