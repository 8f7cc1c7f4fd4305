"""What a study will take, before anything of it is trained: its cells, stacks, time and disk."""

from __future__ import annotations

import heapq
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import nan
from pathlib import Path
from typing import NamedTuple, cast

from tamcl.engines import Engine, engine_of, is_here, jobs_of
from tamcl.engines.local import names_user_code
from tamcl.engines.processes import run_calls
from tamcl.errors import InputError
from tamcl.files.paths import user_path
from tamcl.scenario.groups import listed_groups
from tamcl.scenario.load import as_scenario
from tamcl.scenario.schema import Arm, Scenario, listed, of_arm
from tamcl.scenario.stacking import why_alone, why_not_compiled
from tamcl.study.checks import check, check_compiler, check_here, check_workers
from tamcl.study.folder import check_folder, find_cell, has_weights
from tamcl.study.plan import Codes, codes_of, pack, report_cells, report_seeds, tuning_cells, tuning_seeds
from tamcl.study.search import first_trials
from tamcl.training.cell import Cell, Task
from tamcl.training.measure import Amount, EvaluationTime, Taken, count, measure, measure_evaluation, tried
from tamcl.training.resources import Resources, resources_of
from tamcl.trial import Trial

SECONDS = 8.0
"""That the measurement of all arms may take, about."""

MOST_SECONDS = 120.0
"""That somebody's own code may take for its part of it."""

START_S = 6.0
"""Seconds until the first runs begin: imports of the command, and then of its workers."""

REPORT_BYTES = 4_000_000
"""Of report and figures, about."""

Span = tuple[float, float]
"""At least and at most; the same where it is known."""


class ArmPlan(NamedTuple):
    """What an arm will take."""

    tune: tuple[int, int]
    """Cells that choose among its trials, at least and at most, and those finished included."""
    report: int
    tasks: tuple[int, ...]
    """The cells of each task that is left, at most."""
    why_alone: str
    """Why its runs are trained one by one; empty if they are stacked."""
    ms_per_step: float
    """Of one run; nan if none is left, or none could be measured."""
    seconds: Span
    """Of one processor, for what is left."""
    why_unknown: str = ""
    """Why it could not be measured."""
    compile_s: float = 0.0
    """To compile its step, which is in the seconds once for every process that trains it."""
    why_not_compiled: str = ""
    """Why its steps are not compiled, if that was asked for."""
    interventions: str = ""
    """Its interventions, in words."""
    groups: str = ""
    """Which of its parameters have options of their own, and how many they are."""


@dataclass(frozen=True)
class Plan:
    """What a study will take.

    Attributes
    ----------
    scenario : str
    arms : dict of str to ArmPlan
    steps : int
        Of each run.
    jobs : int
    wall_s : tuple of float, float
        At least and at most, for what is left; without arms that could not be measured.
    bytes : tuple of float, float
        Of the study's folder when it is finished.
    finished : int
        Cells that are finished already.
    """

    scenario: str
    arms: dict[str, ArmPlan]
    steps: int
    jobs: int
    wall_s: Span
    bytes: Span
    finished: int

    @property
    def tune(self) -> tuple[int, int]:
        """Cells that choose among trials, at least and at most."""
        least, most = (sum(arm.tune[end] for arm in self.arms.values()) for end in (0, 1))
        return least, most

    @property
    def cells(self) -> tuple[int, int]:
        """All cells, at least and at most."""
        report = sum(arm.report for arm in self.arms.values())
        return self.tune[0] + report, self.tune[1] + report


def estimate(
    scenario: Scenario | str | Path,
    *,
    jobs: int | None = None,
    resources: Resources | None = None,
    engine: Engine | None = None,
    directory: str | Path | None = None,
) -> Plan:
    """Say what ``tamcl.study.compare`` of the same arguments would take, from some steps of each arm.

    The steps are trained in this process, and those of somebody's own code in processes of their own if the study is
    not trained in this one. Nothing is written.

    Parameters
    ----------
    scenario : Scenario or str or path
        Or its name, or the path of its file.
    jobs : int, optional
    resources : Resources, optional
    engine : Engine, optional
        All three as of ``tamcl.study.compare``. What a logger takes is not measured.
    directory : path, optional
        The study's folder: cells that are finished there are counted, and only what is left is timed.

    Raises
    ------
    InputError
        As ``tamcl.study.compare``.

    Examples
    --------
    >>> from tamcl.scenario.load import load_scenario
    >>> plan = estimate(load_scenario("label_flip_digits", ["protocol.seeds=4"], ["tam"]))
    >>> plan.cells, plan.steps, plan.arms["tam"].tasks
    ((19, 19), 1450, (15, 4))
    """
    scenario, resources, engine = as_scenario(scenario), resources_of(resources), engine_of(engine, jobs)
    here, timeout, jobs = is_here(engine), getattr(engine, "timeout", None), jobs_of(engine)
    (check_here if here else check_workers)(scenario)
    check_compiler(scenario, resources)
    if directory is not None:
        directory = user_path(directory)
        check_folder(directory, scenario.dump())
    check(scenario, resources, call=getattr(engine, "call", None) if here else None, here=here)
    codes = codes_of(scenario)
    finished = {} if directory is None else _finished(scenario, directory / "cells", codes)
    alone = timeout is not None or resources.log is not None
    rounds = _rounds(scenario, codes, finished, 0 if alone else jobs)
    measured = _measured(scenario, rounds, resources, engine)
    ends = [each for each in rounds if each.is_certain], rounds
    return Plan(
        scenario=scenario.name,
        arms={arm: _arm(scenario, arm, ends, measured, jobs) for arm in scenario.arms},
        steps=measured.amount.steps,
        jobs=jobs,
        wall_s=_span(lambda rounds: _wall(rounds, measured, jobs), ends),
        bytes=_span(measured.bytes, ends),
        finished=sum(finished.values()),
    )


class Round(NamedTuple):
    """Cells that are trained when those of the round before are finished."""

    cells: list[Cell]
    tasks: list[Task]
    """Those of them that are left."""
    is_certain: bool
    """Whether it is trained whatever the scores are."""


Rounds = Sequence[Round]


Way = tuple[str, int, bool]
"""What decides how long a run takes: its arm, about how many are trained together, and whether it is diagnosed."""


def _way(task: Task) -> Way:
    is_diagnosed = task[0].phase == "report" and task[0].scenario.diagnostics is not None
    return task[0].arm, len(task).bit_length(), is_diagnosed


class Measured(NamedTuple):
    """What a run is, and what it takes."""

    amount: Amount
    tests: EvaluationTime
    taken: Mapping[Way, Taken | str]
    """Or why it could not be measured."""

    def seconds(self, task: Task) -> float:
        """Return what a task takes of a processor; nothing if that could not be measured."""
        amount, taken = self.amount, self.taken[_way(task)]
        if isinstance(taken, str):
            return 0.0
        seconds = taken.setup_s + amount.steps * taken.step_s + self.tests.seconds(amount.tests, amount.tested)
        if task[0].phase == "report":
            seconds += amount.diagnoses * taken.diagnosis_s
            seconds += self.tests.seconds(amount.tests_inside, amount.tested_inside)
        return len(task) * seconds

    def compile_s(self, arm: str) -> float:
        """Return what it takes to compile an arm's step, as far as that is known, in each process that trains it."""
        found = [taken for (name, *_), taken in self.taken.items() if name == arm and isinstance(taken, Taken)]
        return max((taken.compile_s for taken in found), default=0.0)

    def bytes(self, rounds: Rounds) -> float:
        """Return what the folder of a study of these rounds takes: what each cell leaves, and the tables of all."""
        known = [taken for taken in self.taken.values() if isinstance(taken, Taken)]
        if not known:
            return nan
        taken, amount = max(known, key=lambda each: each.bytes_at_least), self.amount
        rows = {"tune": amount.blocks + amount.tested}
        rows["report"] = rows["tune"] + amount.tested_inside + int(amount.diagnoses * taken.diagnosis_rows)
        each = {phase: taken.bytes_at_least + 2 * number * taken.bytes_a_row for phase, number in rows.items()}
        each["report"] += max(taken.weights_bytes for taken in known)
        return REPORT_BYTES + sum(each[cell.phase] for part in rounds for cell in part.cells)


def _rounds(scenario: Scenario, codes: Codes, finished: Mapping[tuple[str, str], int], jobs: int) -> list[Round]:
    """Return the rounds of a study, cut into tasks for so many jobs, or each cell alone if there are none.

    Trials that are not known before have a known one in their place.
    """
    protocol, first = scenario.protocol, first_trials(scenario)
    more = tuning_cells(scenario, {arm: trials[:1] for arm, trials in first.items()}, codes=codes)
    chosen = {arm: min(config.trials) for arm, config in scenario.arms.items()}
    parts = [(tuning_cells(scenario, first, codes=codes), True)]
    parts += [(more, True)] * ((protocol.trials or 1) - 1) + [(more, False)] * protocol.extend
    parts += [(report_cells(scenario, chosen, codes=codes), True)]
    done, rounds = Counter(finished), []
    for cells, is_certain in parts:
        left = [*_left(cells, done)]
        tasks: list[Task] = (pack(left, jobs) if jobs else [(cell,) for cell in left]) if left else []
        rounds.append(Round(cells, tasks, is_certain))
    return rounds


def _left(cells: Sequence[Cell], done: Counter[tuple[str, str]]) -> Iterator[Cell]:
    """Yield cells without as many of an arm and phase as are done, and count those as used up."""
    for cell in cells:
        if done[cell.arm, cell.phase]:
            done[cell.arm, cell.phase] -= 1
        else:
            yield cell


def _finished(scenario: Scenario, directory: Path, codes: Codes) -> dict[tuple[str, str], int]:
    """Count the cells of each arm and phase that are finished, with whatever trial the study may come to."""
    found: dict[tuple[str, str], set[tuple[Trial | None, int]]] = {}
    seeds = {"tune": tuning_seeds(scenario), "report": report_seeds(scenario)}
    only_grid = scenario.protocol.search == "grid" and not scenario.protocol.extend
    for folder in directory.iterdir() if directory.is_dir() else ():
        try:
            cell = find_cell(folder)
        except (OSError, InputError):  # being written, damaged, or something else: not finished
            continue
        key, trial = (cell.arm, cell.phase), Trial(cell.lr, cell.options)
        if key not in codes or cell.status == "failed" or cell.seed not in seeds[cell.phase]:
            continue
        config = scenario.arms[cell.arm]
        if trial.arguments.keys() != config.grids.keys():
            continue
        asked = Cell(scenario, cell.arm, trial.lr, cell.seed, cell.phase, codes[key], trial.options)
        if asked.id != folder.name or (asked.keeps_weights and not has_weights(folder)):
            continue
        is_tuned = cell.phase == "tune"
        if is_tuned and only_grid and trial not in config.trials:
            continue
        found.setdefault(key, set()).add((trial if is_tuned else None, cell.seed))
    return {key: len(cells) for key, cells in found.items()}


def _measured(scenario: Scenario, rounds: Rounds, resources: Resources, engine: Engine) -> Measured:
    """Measure what a run is, what its tests take, and a task of each way in which runs are left to be trained."""
    seed, ways = report_seeds(scenario)[0], {_way(task): task for task in reversed(_tasks(rounds))}
    seconds = SECONDS / (len(ways) + 1)
    stream: list[Callable[[], object]] = [
        partial(count, scenario, resources, seed),
        partial(measure_evaluation, scenario, resources, seed, seconds),
    ]
    arms: list[Callable[[], object]] = [partial(measure, _slowest(task), resources, seconds) for task in ways.values()]
    apart = {i for i, task in enumerate(ways.values(), len(stream)) if names_user_code(scenario, [task[0].arm])}
    if names_user_code(scenario, []):
        apart |= {0, 1}
    calls = [partial(tried, call) for call in [*stream, *arms]]
    if is_here(engine):
        call: Callable[..., object] = getattr(engine, "call", lambda _, make: make())
        answers = [call(scenario.name, each) for each in calls]
    else:
        answers = _answers(calls, apart, getattr(engine, "timeout", None))
    amount, tests, *taken = answers
    for answer in (amount, tests):
        if isinstance(answer, str):
            raise InputError(f"stream: cannot be measured: {answer}")
    by_way = dict(zip(ways, cast("list[Taken | str]", taken), strict=True))
    return Measured(cast(Amount, amount), cast(EvaluationTime, tests), by_way)


def _slowest(task: Task) -> Task:
    """Return a task's cells at the least learning rate of their arm, at which they hardly diverge."""
    lr = min(task[0].scenario.arms[task[0].arm].lr)
    return tuple(replace(cell, lr=lr, known=cell.code) for cell in task)


def _answers(calls: Sequence[Callable[[], object]], apart: Collection[int], timeout: float | None) -> list[object]:
    """Make calls here, or in other processes where somebody's own code is among them."""
    if not apart:
        return [call() for call in calls]
    found = dict(run_calls(calls, apart=apart, timeout=min(timeout or MOST_SECONDS, MOST_SECONDS)))
    return [str(answer) if isinstance(answer, Exception) else answer for _, answer in sorted(found.items())]


def _arm(scenario: Scenario, arm: str, ends: tuple[Rounds, Rounds], measured: Measured, jobs: int) -> ArmPlan:
    """Put together what was counted and measured of an arm."""
    cells = [[cell for part in rounds for cell in part.cells if cell.arm == arm] for rounds in ends]
    least, most = (sum(cell.phase == "tune" for cell in part) for part in cells)
    taken = [measured.taken[_way(task)] for task in _tasks(ends[1], arm) for _ in task]
    steps = [each.step_s for each in taken if isinstance(each, Taken)]
    values, compile_s = scenario.dump(), measured.compile_s(arm)

    def seconds(rounds: Rounds) -> float:
        tasks = _tasks(rounds, arm)
        return sum(map(measured.seconds, tasks)) + min(jobs, len(tasks)) * compile_s

    return ArmPlan(
        tune=(least, most),
        report=len(cells[1]) - most,
        tasks=tuple(map(len, _tasks(ends[1], arm))),
        why_alone=why_alone(values, arm),
        ms_per_step=1000 * sum(steps) / len(steps) if steps else nan,
        seconds=_span(seconds, ends),
        why_unknown=next((each for each in taken if isinstance(each, str)), ""),
        compile_s=compile_s,
        why_not_compiled=why_not_compiled(values, arm) if scenario.strategy.compiled else "",
        interventions=listed(of_arm(values, arm)),
        groups=_groups(scenario.arms[arm], next((each.groups for each in taken if isinstance(each, Taken)), ())),
    )


def _groups(arm: Arm, counts: Sequence[int]) -> str:
    """Say what groups an arm has, and how many parameters are in each, if that was found."""
    if not arm.groups:
        return ""
    rules = [*(listed_groups([group.dump()]) for group in arm.groups), "all others"]
    return "; ".join(f"{rule} ({count})" for rule, count in zip(rules, counts, strict=False)) or "; ".join(rules)


def _tasks(rounds: Rounds, arm: str | None = None) -> list[Task]:
    """Return the tasks that are left, of an arm if one is named."""
    return [task for part in rounds for task in part.tasks if arm in (None, task[0].arm)]


def _span(number: Callable[[Rounds], float], ends: tuple[Rounds, Rounds]) -> Span:
    least, most = map(number, ends)
    return least, most


def _wall(rounds: Rounds, measured: Measured, jobs: int) -> float:
    """Return how long rounds take: each worker takes the next task when it is free, and a round waits for all."""
    if not _tasks(rounds):
        return 0.0
    wall = START_S + sum(map(measured.compile_s, {task[0].arm for task in _tasks(rounds)}))
    for part in rounds:
        seconds = [*map(measured.seconds, part.tasks)]
        free = [0.0] * jobs
        for each in seconds:
            heapq.heapreplace(free, free[0] + each)
        wall += max(max(free), sum(seconds) / (os.cpu_count() or 1))  # more workers than processors share them
    return wall
