"""The loss around the ends of a study's runs, from the weights that they kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from tamcl.arguments import function, instance, texts, whole_number
from tamcl.errors import InputError, unknown_name
from tamcl.findings.study import Study, records
from tamcl.landscape.tables import TABLES, Landscape, write_landscape
from tamcl.results import load_results
from tamcl.scenario.load import parse
from tamcl.scenario.schema import Scenario
from tamcl.study.folder import has_weights
from tamcl.study.repeat import require_same_code, say_imports
from tamcl.training.cell import WEIGHTS, Cell, folder_of
from tamcl.training.resources import Resources, resources_of
from tamcl.trial import Trial

if TYPE_CHECKING:
    from tamcl.landscape.plane import Plane
    from tamcl.landscape.scene import Kept, Scene

Rows = dict[str, list[tuple[Any, ...]]]


CHOICES = {"experiences": ("last", "all"), "pairs": ("arms", "seeds")}
"""What some arguments may be."""


def landscape(
    directory: str | Path,
    *,
    arms: Sequence[str] | None = None,
    plane: Sequence[str] | None = None,
    pairs: str = "arms",
    points: int = 21,
    samples: int = 500,
    experiences: str = "last",
    resources: Resources | None = None,
    command: str = "",
    on_progress: Callable[[int], object] = lambda seed: None,
) -> Landscape:
    """Measure the loss around the ends of a study's runs, and write it to the study's folder ``landscape``.

    On lines between two ends, and on a plane through three, statistics of batch normalisation are made anew at every
    place, from the training examples. Curvature and sharpness are those of the ends as they were kept.

    Two arms on one seed started from the same weights and saw the same mini-batches, so that a line between them tells
    what the optimizers made of these. Two seeds of an arm have neither in common; they are taken two by two, each in
    one pair, so that pairs are independent, and only where their labels and images are the same.

    Modules that the study names for data, stream and model are imported, which is said before.

    Parameters
    ----------
    directory : path
        The study's folder.
    arms : sequence of str, optional
        Those to look at; all if absent. Lines are between the pairs of them that the study compares.
    plane : sequence of str, optional
        Three arms, whose ends span the plane, on the first seed on which all ended well; if absent, the first three
        whose ends do not lie on a line, and no plane where there are none.
    pairs : {"arms", "seeds"}
        What the two ends of a line differ in.
    points : int
        Places on each line, ends included, and on each side of the plane.
    samples : int
        Training examples, and as many test examples at most, that losses are measured on.
    experiences : {"last", "all"}
        Of which experiences they are.
    resources : Resources, optional
        As of ``tamcl.study.compare``.
    command : str
        What repeats it.
    on_progress : callable
        Called with each seed before it is measured.

    Raises
    ------
    InputError
        If the folder holds no finished study or its runs have kept no weights, an arm is unknown, or data, stream,
        model or code are others by now.
    """
    asked = {"points": points, "samples": samples, "experiences": experiences, "pairs": pairs}
    _check(asked)
    instance("command", command, str, "a text")
    function("on_progress", on_progress)
    resources = resources_of(resources)
    study = Study(load_results(directory))
    say_imports(study, ("stream", "model"))
    scenario = parse(study.scenario)
    scenario = scenario if arms is None else scenario.only(arms)
    _check_corners(scenario, plane)
    kept = _kept(study, scenario)
    trials = {arm: trial for arm, trial in study.trials.items() if arm in scenario.arms}
    cells = [Cell(scenario, arm, lr, 0, "report", options=options) for arm, (lr, options) in trials.items()]
    require_same_code(study, cells)
    from tamcl.landscape.scene import Scene  # which imports torch

    rows: Rows = {name: [] for name in TABLES}
    alone: tuple[int, Scene] | None = None
    for seed, of_seed in kept.items():
        on_progress(seed)
        last = experiences == "last"
        scene = Scene(scenario, seed, of_seed, samples=samples, last=last, resources=resources)
        for arm, end in scene.ends.items():
            run = scenario.name, arm, *trials[arm], seed, of_seed[arm].run["final_weights"]
            rows["ends"].append((*run, *scene.surface.curvature(end)))
        if pairs == "arms":
            both = [(a, b) for a, b in scenario.protocol.pairs if a in scene.ends and b in scene.ends]
            rows["lines"] += _lines(scenario.name, (scene, scene), (seed, seed), both, points)
        elif alone is None:
            alone = seed, scene
        else:
            (earlier, first), alone = alone, None
            first.check_same_task(scene, (earlier, seed))
            both = [(arm, arm) for arm in first.ends if arm in scene.ends]
            rows["lines"] += _lines(scenario.name, (first, scene), (earlier, seed), both, points)
        if not rows["plane"]:
            three, spanned = _plane(scene, plane)
            if spanned is not None:
                on_plane = scene.on_plane(spanned, three, points)
                rows["plane"] += [(scenario.name, seed, *row) for row in on_plane]
    tables = {name: pd.DataFrame(rows[name], columns=[*columns]) for name, columns in TABLES.items()}
    found = Landscape(**tables, settings={"command": command, **asked})
    write_landscape(study.results.directory, found)
    return found


def _check_corners(scenario: Scenario, plane: Sequence[str] | None) -> None:
    """Raise an ``InputError`` if arms are named for the plane that are not three of those looked at."""
    for arm in () if plane is None else texts("--plane", plane, "['a', 'b', 'c']"):
        if arm not in scenario.arms:
            raise unknown_name("arm of the landscape", arm, scenario.arms)
    if plane is not None and (len(plane) != 3 or len({*plane}) != 3):
        raise InputError(f"--plane {','.join(plane)}: names {len({*plane})} arms, and three are needed")


def _plane(scene: Scene, asked: Sequence[str] | None) -> tuple[Sequence[str], Plane | None]:
    """Return three arms and the plane through their ends: those asked for, or the first three that span one, if any."""
    from tamcl.landscape.plane import OnOneLine

    if asked is not None:
        missing = [arm for arm in asked if arm not in scene.ends]
        return (asked, None) if missing else (asked, scene.plane(asked))
    for three in combinations(scene.ends, 3):
        with suppress(OnOneLine):
            return three, scene.plane(three)
    return (), None


def _kept(study: Study, scenario: Scenario) -> dict[int, dict[str, Kept]]:
    """Return the runs that ended well with the files of their weights, by seed and by arm as the scenario has them."""
    from tamcl.landscape.scene import Kept

    directory, losses = study.results.directory, _losses(study)
    runs = study.runs[study.runs["arm"].isin([*scenario.arms]) & (study.runs["status"] == "ok")]
    found: dict[int, dict[str, Kept]] = {}
    without = 0
    for row in sorted(records(runs), key=lambda row: (row["seed"], [*scenario.arms].index(row["arm"]))):
        key = row["arm"], Trial(row["lr"], row["options"]), row["seed"]
        folder = directory / "cells" / folder_of(*key, json.loads(row["config"]), study.scenario["arms"])
        without += not has_weights(folder)
        kept = Kept(row, folder / WEIGHTS, losses.get((row["arm"], row["seed"]), float("nan")))
        found.setdefault(row["seed"], {})[row["arm"]] = kept
    if runs.empty:
        raise InputError(f"'{directory}': no reported run of {', '.join(scenario.arms)} ended well")
    if without:
        raise InputError(
            f"'{directory}': {without} of {len(runs)} runs have kept no weights; its tamcl compare with "
            "--set keep_weights=true trains them again and keeps them"
        )
    return found


def _losses(study: Study) -> dict[tuple[str, int], float]:
    """Return the loss of each arm and seed on the test set of the last experience, after all training."""
    tests = study.evaluated
    last = tests[(tests["trained_on"] == tests["trained_on"].max()) & (tests["evaluated_on"] == tests["trained_on"])]
    return {(row["arm"], row["seed"]): row["loss"] for row in records(last)}


def _lines(
    name: str, scenes: tuple[Scene, Scene], seeds: tuple[int, int], pairs: Sequence[tuple[str, str]], points: int
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of lines from ends of a scene to those of another, on the data of the first."""
    first, second = scenes
    for a, b in pairs:
        for row in first.line(first.ends[a], second.ends[b], points):
            yield name, a, seeds[0], b, seeds[1], *row


def _check(asked: Mapping[str, Any]) -> None:
    for name, least in (("points", 3), ("samples", 2)):
        whole_number(f"--{name}", asked[name], least)
    for name, choices in CHOICES.items():
        if instance(name, asked[name], str, "a text") not in choices:
            raise unknown_name(f"choice of --{name}", asked[name], choices)
