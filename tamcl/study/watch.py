"""How far a study is, from the files in its folder alone, which are only read.

A cell's folder appears whole, when the cell is finished, so nothing is seen half. Whoever trains holds a lock on a file
in the study's folder; where the file system has no locks it is not known whether a study runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tamcl.errors import InputError
from tamcl.files.lock import is_held
from tamcl.files.paths import user_path
from tamcl.files.records import read_study
from tamcl.metrics import find, measure
from tamcl.results import Tables, empty, read_table, read_tables
from tamcl.study.folder import LOCK

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


@dataclass
class Watcher:
    """Reads a study's folder again and again, and each cell once.

    Parameters
    ----------
    directory : Path

    Raises
    ------
    InputError
        If the folder holds no study.
    """

    directory: Path
    cells: dict[str, Done] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.directory = user_path(self.directory)
        if not (self.directory / "study.json").is_file():
            raise InputError(f"'{self.directory}' holds no study: study.json not found")

    def read(self) -> State:
        """Return how far the study is now."""
        study = _filled(read_study(self.directory / "study.json"))
        running = is_locked(self.directory)
        self._read_cells(study["scenario"]["protocol"]["tune_by"])
        cells = _newest(self.cells.values())
        return state(study, cells, running=running, finished=running is not True and self._is_written(cells))

    def _is_written(self, cells: list[Done]) -> bool:
        """Tell whether the tables are there and no cell is newer; times decide only on cells that are not in them."""
        try:
            written = (self.directory / "comparisons.parquet").stat().st_mtime
        except OSError:
            return False
        if all(cell.finished <= written for cell in cells):
            return True
        try:
            runs = read_table(self.directory, "runs")
        except (OSError, InputError):
            return False
        gathered = {_trained(*row) for row in runs[["arm", "lr", "seed", "phase", "status", "wall_s"]].to_numpy()}
        return all(cell.finished <= written or _trained(*cell[:5], cell.seconds) in gathered for cell in cells)

    def _read_cells(self, tune_by: str) -> None:
        folders = self.directory / "cells"
        if not folders.is_dir():
            if not self.cells and (self.directory / "comparisons.parquet").is_file():
                self.cells = {str(i): cell for i, cell in enumerate(_of_tables(self.directory, tune_by))}
            return
        present = {path.name: path for path in folders.iterdir() if not path.name.startswith(".")}
        for name, path in present.items():
            try:
                finished = path.stat().st_mtime
                if name not in self.cells or self.cells[name].finished != finished:
                    self.cells[name] = _read_cell(path, tune_by, finished)
            except (OSError, ValueError, LookupError):  # just replaced, or damaged: not done
                self.cells.pop(name, None)
        for name in self.cells.keys() - present:
            del self.cells[name]


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
    scenario = study["scenario"]
    protocol = scenario["protocol"]
    better = find(protocol["tune_by"]).sign
    arms = {name: _arm(name, study, [cell for cell in cells if cell.arm == name], better) for name in scenario["arms"]}
    batches = scenario.get("evaluation", {}).get("batches", 1)
    speed, at_once = _speed(cells)
    left = sum(
        (arm.to_tune - arm.tuned + arm.to_report - arm.reported) * _seconds(cells, name) for name, arm in arms.items()
    )
    return State(
        name=scenario["name"],
        tune_by=protocol["tune_by"],
        running=running,
        finished=finished,
        arms=arms,
        steps_per_second=batches * speed,
        seconds_left=0.0 if finished else left / at_once,
        last=max((cell.finished for cell in cells), default=float("nan")),
        failures=tuple(
            f"{cell.arm} lr {cell.lr:g} seed {cell.seed}: {cell.error}" for cell in cells if cell.status == "failed"
        ),
    )


def _filled(study: dict[str, Any]) -> dict[str, Any]:
    """Return what ``study.json`` holds with what it may lack."""
    scenario = {"name": "", "arms": {}} | study["scenario"]
    protocol = {"tune_by": "online_accuracy", "seeds": 0, "tune_seeds": 0} | scenario.get("protocol", {})
    return study | {"scenario": scenario | {"protocol": protocol}}


def is_locked(directory: Path) -> bool | None:
    """Tell whether a process is at work in a study's folder; None where that cannot be known."""
    return is_held(directory / LOCK)


def _trained(arm: str, lr: float, seed: int, phase: str, status: str, seconds: float) -> tuple[Any, ...]:
    """Return what tells a training run from another of the same cell."""
    return arm, lr, seed, phase, status, f"{seconds}"  # nan equals itself in words


def _arm(name: str, study: dict[str, Any], cells: list[Done], better: int) -> Arm:
    protocol = study["scenario"]["protocol"]
    grid = study.get("tried", {}).get(name) or study["scenario"]["arms"][name]["lr"]
    tuned = [cell for cell in cells if cell.phase == "tune" and cell.status != "failed"]
    tried = max(protocol.get("trials") or len(grid), len({cell.lr for cell in tuned}))
    best, score = _best([cell for cell in cells if cell.phase == "tune"], better)
    lr = grid[0] if tried == 1 else _reported_at(cells, best)
    reported = [cell for cell in cells if cell.phase == "report" and cell.status != "failed" and cell.lr == lr]
    shown = reported or [cell for cell in tuned if cell.lr == lr]
    return Arm(
        tuned=len(tuned),
        to_tune=tried * protocol["tune_seeds"] if tried > 1 else 0,
        reported=len(reported),
        to_report=max(protocol["seeds"], len(reported)),
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


def _best(tuned: list[Done], better: int) -> tuple[float, float]:
    """Return the learning rate with the best mean score, of those with a score on all seeds so far, and that score."""
    rates = {cell.lr for cell in tuned} - {cell.lr for cell in tuned if cell.status != "ok" or cell.score != cell.score}
    means = {lr: _mean(cell.score for cell in tuned if cell.lr == lr) for lr in sorted(rates)}
    # Rounded, as in tamcl.stats.tuning: of equal ones the smaller.
    lr = max(means, key=lambda rate: round(better * means[rate], 12), default=float("nan"))
    return lr, means.get(lr, float("nan"))


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
        return float("nan"), 1.0
    span = max(recent[0].finished - start, 1e-9)
    return sum(cell.steps for cell in recent) / span, max(1.0, sum(cell.seconds for cell in recent) / span)


def _seconds(cells: list[Done], arm: str) -> float:
    """Return what a cell of an arm takes; of any arm if none of its own is done."""
    own = _mean(cell.seconds for cell in cells if cell.arm == arm)
    return own if own == own else _mean(cell.seconds for cell in cells)


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if value == value]
    return sum(known) / len(known) if known else float("nan")


def _newest(cells: Iterable[Done]) -> list[Done]:
    """Return the newest of the cells that differ in nothing but the optimizer's file or tamcl's version."""
    return list({cell[:4]: cell for cell in sorted(cells, key=lambda cell: cell.finished)}.values())


def _read_cell(folder: Path, tune_by: str, finished: float) -> Done:
    return next(_done(read_tables(folder, _READ, of=folder.name), tune_by, finished))


def _of_tables(directory: Path, tune_by: str) -> Iterator[Done]:
    """Return the cells of a study of which only the tables are left."""
    yield from _done(read_tables(directory, _READ), tune_by, (directory / "runs.parquet").stat().st_mtime)


_READ = ("runs", "online", "eval")


def _done(tables: Tables, tune_by: str, finished: float) -> Iterator[Done]:
    runs, online, evaluated = (tables[name] for name in _READ)
    cell = ["scenario", "arm", "lr", "seed"]
    sums = online.groupby(cell)[["correct", "n"]].sum(min_count=1)
    steps = online.groupby(cell).size()
    try:
        scores = measure(online, evaluated, runs, metrics=[find(tune_by)]).set_index(cell)["value"]
    except InputError:  # rows are missing: no score
        scores = empty("metrics").set_index(cell)["value"]
    for row in runs.to_dict("records"):
        key = tuple(row[column] for column in cell)
        accuracy = sums["correct"].get(key, float("nan")) / sums["n"].get(key, float("nan"))
        score, count = scores.get(key, float("nan")), steps.get(key, 0)
        known = {column: row[column] for column in ("arm", "lr", "seed", "phase", "status", "error")}
        times = {"seconds": row["wall_s"], "finished": finished}
        yield Done(**known, **times, accuracy=float(accuracy), score=float(score), steps=int(count))
