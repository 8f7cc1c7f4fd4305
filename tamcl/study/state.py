"""How far a study is: what is counted from its finished cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import nan
from typing import Any, NamedTuple

import pandas as pd

from tamcl.stats.tuning import select
from tamcl.study.plan import Size, size_of

RECENT, PAUSE = 20, 60.0
"""Speed is that of so many cells finished last, none of them before a pause of so many seconds."""


class Done(NamedTuple):
    """A finished cell."""

    arm: str
    lr: float
    seed: int
    phase: str
    status: str
    error: str
    accuracy: float
    """Online accuracy; nan where a number is learnt."""
    score: float
    """What the study tunes by."""
    steps: int
    seconds: float
    finished: float
    """Time of the clock."""


class Arm(NamedTuple):
    """How far an arm is."""

    tuned: int
    to_tune: int
    reported: int
    """At ``lr`` alone: those of a rate that was chosen before do not count."""
    to_report: int
    lr: float
    """That of the newest reported cell, or, after later tuning, the best so far; nan before the first score."""
    score: float
    """The best mean score on the tuning seeds so far."""
    accuracy: float
    """Mean online accuracy of the reported cells that are done; before the first, of the tuning cells at ``lr``."""
    bad: dict[str, int]
    """How many cells did not end well, by status."""


@dataclass(frozen=True)
class State:
    """How far a study is.

    Attributes
    ----------
    name, tune_by : str
    running : bool or None
        Whether a process is at work in the folder; None if that cannot be known.
    finished : bool
        Whether its tables are written and nobody is at work.
    arms : dict of str to Arm
    steps_per_second, seconds_left : float
        At the speed of the last cells; nan before the first.
    last : float
        Time of the clock when the last cell was finished; nan before the first.
    failures : tuple of str
        The cells that failed, a line each.
    """

    name: str
    tune_by: str
    running: bool | None
    finished: bool
    arms: dict[str, Arm]
    steps_per_second: float
    seconds_left: float
    last: float
    failures: tuple[str, ...]

    def count(self, phase: str) -> tuple[int, int]:
        """Return the cells of a phase that are done and all of them."""
        tune = phase == "tune"
        done = sum(arm.tuned if tune else arm.reported for arm in self.arms.values())
        return done, sum(arm.to_tune if tune else arm.to_report for arm in self.arms.values())


def state(study: dict[str, Any], cells: list[Done], *, running: bool | None, finished: bool) -> State:
    """Return how far a study is.

    Parameters
    ----------
    study : dict
        What ``study.json`` holds.
    cells : list of Done
        One for each arm, learning rate, seed and phase.
    running : bool or None
    finished : bool
    """
    scenario, size = study["scenario"], size_of(study)
    best = _best(cells, size.tune_by)
    arms = {name: _arm(name, size, [cell for cell in cells if cell.arm == name], best.get(name)) for name in size.rates}
    batches = scenario.get("evaluation", {}).get("batches", 1)
    speed, at_once = _speed(cells)
    left = sum(
        (arm.to_tune - arm.tuned + arm.to_report - arm.reported) * _seconds(cells, name) for name, arm in arms.items()
    )
    return State(
        name=scenario.get("name", ""),
        tune_by=size.tune_by,
        running=running,
        finished=finished,
        arms=arms,
        steps_per_second=batches * speed,
        seconds_left=0.0 if finished else left / at_once,
        last=max((cell.finished for cell in cells), default=nan),
        failures=tuple(
            f"{cell.arm} lr {cell.lr:g} seed {cell.seed}: {cell.error}" for cell in cells if cell.status == "failed"
        ),
    )


def _arm(name: str, size: Size, cells: list[Done], best: tuple[float, float] | None) -> Arm:
    tuned = [cell for cell in cells if cell.phase == "tune" and cell.status != "failed"]
    tried = max(size.to_try(name), len({cell.lr for cell in tuned}))
    at_best, score = best or (nan, nan)
    lr = size.rates[name][0] if tried == 1 else _reported_at(cells, at_best)
    reported = [cell for cell in cells if cell.phase == "report" and cell.status != "failed" and cell.lr == lr]
    shown = reported or [cell for cell in tuned if cell.lr == lr]
    return Arm(
        tuned=len(tuned),
        to_tune=tried * size.tune_seeds if tried > 1 else 0,
        reported=len(reported),
        to_report=max(size.seeds, len(reported)),
        lr=lr,
        score=score,
        accuracy=_mean(cell.accuracy for cell in shown if cell.status == "ok"),
        bad=dict(Counter(cell.status for cell in cells if cell.status != "ok")),
    )


def _reported_at(cells: list[Done], best: float) -> float:
    """Return the rate that an arm is reported at: of the newest reported cell, or, if it was tuned since, the best."""
    newest = max((cell for cell in cells if cell.phase == "report"), key=lambda cell: cell.finished, default=None)
    tuned = max((cell.finished for cell in cells if cell.phase == "tune"), default=float("-inf"))
    return newest.lr if newest and (newest.finished >= tuned or best != best) else best


def _best(cells: list[Done], tune_by: str) -> dict[str, tuple[float, float]]:
    """Return the learning rate that each arm would be reported at by what is known so far, and its mean score."""
    runs = pd.DataFrame(cells, columns=list(Done._fields)).assign(scenario="")
    scores = select(runs.rename(columns={"score": "value"}).assign(metric=tune_by), runs, tune_by)
    return {row["arm"]: (row["lr"], row["score"]) for row in scores[scores["chosen"]].to_dict("records")}


def _speed(cells: list[Done]) -> tuple[float, float]:
    """Return rows of ``online`` a second, and how many cells were trained at once, over the last cells."""
    recent: list[Done] = []
    start = float("inf")
    for cell in sorted(cells, key=lambda cell: -cell.finished)[:RECENT]:
        if recent and cell.finished < start - PAUSE:
            break
        if cell.seconds == cell.seconds:
            recent.append(cell)
            start = min(start, cell.finished - cell.seconds)
    if not recent:
        return nan, 1.0
    span = max(recent[0].finished - start, 1e-9)
    return sum(cell.steps for cell in recent) / span, max(1.0, sum(cell.seconds for cell in recent) / span)


def _seconds(cells: list[Done], arm: str) -> float:
    """Return what a cell of an arm takes; of any arm if none of its own is done."""
    own = _mean(cell.seconds for cell in cells if cell.arm == arm)
    return own if own == own else _mean(cell.seconds for cell in cells)


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if value == value]
    return sum(known) / len(known) if known else nan
