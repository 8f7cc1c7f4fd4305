"""How far a study is: what is counted from its finished cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, nan
from typing import Any, NamedTuple

import pandas as pd

from tamcl.stats.tuning import select
from tamcl.study.plan import MOST_CELLS, Size, size_of
from tamcl.trial import Trial

RECENT, PAUSE = 20, 60.0
"""Speed is that of so many cells finished last, none of them before a pause of so many seconds."""

TOGETHER, SHARE = 0.25, 0.1
"""Cells were trained together if they were written within so many seconds, or within this share of what one takes."""


class Done(NamedTuple):
    """A finished cell."""

    arm: str
    lr: float
    options: str
    seed: int
    phase: str
    status: str
    error: str
    accuracy: float
    """Online accuracy; nan where a number is learnt."""
    score: float
    """What the study tunes by."""
    steps: int
    """Rows of ``online``."""
    seconds: float
    """Its share, if it was trained together with others."""
    finished: float
    """Time of the clock."""
    stacked: bool

    @property
    def trial(self) -> Trial:
        """What its arm was tried with."""
        return Trial(self.lr, self.options)


class Arm(NamedTuple):
    """How far an arm is."""

    tuned: int
    to_tune: int
    reported: int
    """At ``trial`` alone: those of one that was chosen before do not count."""
    to_report: int
    trial: Trial | None
    """That of the newest reported cell, or, after later tuning, the best so far; None before the first score."""
    score: float
    """The best mean score on the tuning seeds so far."""
    accuracy: float
    """Mean online accuracy of the reported cells that are done; before the first, of its tuning cells."""
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
        By what the last cells took of the clock, and by what cells of an arm and phase take; nan before the first that
        is finished since somebody went to work.
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


def state(
    study: dict[str, Any], cells: list[Done], *, running: bool | None, finished: bool, since: float = -inf
) -> State:
    """Return how far a study is.

    Parameters
    ----------
    study : dict
        What ``study.json`` holds.
    cells : list of Done
        One for each arm, trial, seed and phase.
    running : bool or None
    finished : bool
    since : float
        Time of the clock since when it is trained: what was finished before, by other processes, tells nothing of how
        fast these are.
    """
    scenario, size = study["scenario"], size_of(study)
    best = _best(cells, size.tune_by)
    arms = {name: _arm(name, size, [cell for cell in cells if cell.arm == name], best.get(name)) for name in size.tried}
    batches = scenario.get("evaluation", {}).get("batches", 1)
    speed, at_once = _speed(cells, since)
    left = sum(
        to_do * _seconds(cells, name, phase)
        for name, arm in arms.items()
        for phase, to_do in (("tune", arm.to_tune - arm.tuned), ("report", arm.to_report - arm.reported))
        if to_do
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
            f"{cell.arm} {cell.trial} seed {cell.seed}: {cell.error}" for cell in cells if cell.status == "failed"
        ),
    )


def _arm(name: str, size: Size, cells: list[Done], best: tuple[Trial, float] | None) -> Arm:
    tuned = [cell for cell in cells if cell.phase == "tune" and cell.status != "failed"]
    tried = max(size.to_try(name), len({cell.trial for cell in tuned}))
    at_best, score = best or (None, nan)
    trial = size.tried[name][0] if tried == 1 else _reported_at(cells, at_best)
    reported = [cell for cell in cells if cell.phase == "report" and cell.status != "failed" and cell.trial == trial]
    shown = reported or [cell for cell in tuned if cell.trial == trial]
    return Arm(
        tuned=len(tuned),
        to_tune=tried * size.tune_seeds if tried > 1 else 0,
        reported=len(reported),
        to_report=max(size.seeds, len(reported)),
        trial=trial,
        score=score,
        accuracy=_mean(cell.accuracy for cell in shown if cell.status == "ok"),
        bad=dict(Counter(cell.status for cell in cells if cell.status != "ok")),
    )


def _reported_at(cells: list[Done], best: Trial | None) -> Trial | None:
    """Return the trial that an arm is reported at: of the newest reported cell, or, if it was tuned since, the best."""
    newest = max((cell for cell in cells if cell.phase == "report"), key=lambda cell: cell.finished, default=None)
    tuned = max((cell.finished for cell in cells if cell.phase == "tune"), default=float("-inf"))
    return newest.trial if newest and (newest.finished >= tuned or best is None) else best


def _best(cells: list[Done], tune_by: str) -> dict[str, tuple[Trial, float]]:
    """Return the trial that each arm would be reported at by what is known so far, and its mean score."""
    runs = pd.DataFrame(cells, columns=list(Done._fields)).assign(scenario="")
    scores = select(runs.rename(columns={"score": "value"}).assign(metric=tune_by), runs, tune_by)
    chosen = scores[scores["chosen"]].to_dict("records")
    return {row["arm"]: (Trial(row["lr"], row["options"]), row["score"]) for row in chosen}


class _Task(NamedTuple):
    """Cells that were trained one after another, or as one computation, and were finished together."""

    cells: list[Done]
    seconds: float

    @property
    def finished(self) -> float:
        return self.cells[-1].finished

    @property
    def begun(self) -> float:
        return self.finished - self.seconds


def _speed(cells: list[Done], since: float) -> tuple[float, float]:
    """Return rows of ``online`` a second, and seconds of cells that are done in a second, by the last cells.

    What is done counts from when a task was finished before, or, without one, from when the first was begun. Of a task
    that went on from a checkpoint the seconds since then count.
    """
    tasks = [
        task._replace(seconds=min(task.seconds, task.finished - since))
        for task in sorted(_tasks(cells), key=lambda task: -task.finished)
        if task.finished > since
    ]
    recent: list[_Task] = []
    begun, number = float("inf"), 0
    for task in tasks:
        if recent and task.finished < begun - PAUSE:
            break
        later = [each for each in recent if each.finished - task.finished > SHARE * each.seconds]
        if number >= RECENT and later:  # the others were finished with it, as tasks are that were begun together
            recent, begun = later, max(begun, task.finished)
            break
        recent.append(task)
        number += len(task.cells)
        begun = min(begun, task.begun)
    if not recent:
        return nan, nan
    span = max(recent[0].finished - begun, 1e-9)
    steps = sum(cell.steps for task in recent for cell in task.cells)
    return steps / span if steps else nan, max(1.0, sum(task.seconds for task in recent) / span)


def _tasks(cells: list[Done]) -> list[_Task]:
    """Put together what was trained together, by when it was finished; the files do not tell."""
    tasks: list[list[Done]] = []
    open_: dict[tuple[str, str], list[Done]] = {}
    for cell in sorted(cells, key=lambda cell: cell.finished):
        if cell.seconds != cell.seconds:
            continue
        task = open_.get((cell.arm, cell.phase), [])
        soon = task and cell.finished - task[-1].finished <= max(TOGETHER, SHARE * cell.seconds)
        if cell.stacked and soon and len(task) < MOST_CELLS:
            task.append(cell)
        else:
            open_[cell.arm, cell.phase] = [cell]
            tasks.append(open_[cell.arm, cell.phase])
    return [_Task(task, sum(cell.seconds for cell in task)) for task in tasks]


def _seconds(cells: list[Done], arm: str, phase: str) -> float:
    """Return what a cell of an arm and phase takes; of the arm's other phase, or of any arm, if none is done."""
    of_arm = [cell for cell in cells if cell.arm == arm]
    means = (_mean(cell.seconds for cell in some) for some in ([c for c in of_arm if c.phase == phase], of_arm, cells))
    return next((mean for mean in means if mean == mean), nan)


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if value == value]
    return sum(known) / len(known) if known else nan
