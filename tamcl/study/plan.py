"""Which cells a study has: the seeds that choose among trials, and those that are reported on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from tamcl.scenario.grids import combined, grids
from tamcl.scenario.schema import MOST_SEEDS, OF_ARMS, Scenario
from tamcl.study.search import first_trials
from tamcl.training.cell import Cell, Task, code_of
from tamcl.trial import Trial
from tamcl.user_code import Code

Codes = Mapping[tuple[str, str], Code]
"""The code behind the runs of every arm and phase."""


class Size(NamedTuple):
    """How large a study is, and what it is tuned by."""

    tried: dict[str, list[Trial]]
    """Trials of each arm: those that were made, where the study has noted them, else as much as its scenario tells."""
    trials: int | None
    """Trials of an arm, for a search other than a grid."""
    seeds: int
    tune_seeds: int
    tune_by: str

    def to_try(self, arm: str) -> int:
        """Return how many trials an arm has; one that has a single one is not tuned."""
        known = len(self.tried[arm])
        return self.trials if self.trials and known > 1 else known


def size_of(study: Mapping[str, Any]) -> Size:
    """Return how large a study is by its ``study.json``, which may lack things; no class that it names is imported."""
    scenario = study["scenario"]
    protocol = {"seeds": 0, "tune_seeds": 0, "tune_by": "online_accuracy"} | scenario.get("protocol", {})
    tried = {name: [*map(Trial.read, noted)] for name, noted in study.get("tried", {}).items()}
    trials = {name: tried.get(name) or _trials(arm) for name, arm in scenario.get("arms", {}).items()}
    return Size(trials, protocol.get("trials"), *(protocol[key] for key in ("seeds", "tune_seeds", "tune_by")))


def _trials(arm: Mapping[str, Any]) -> list[Trial]:
    """Return all trials that the lists of an arm make, as ``study.json`` has it."""
    tuned = grids(arm.get("optimizer", ""), {key: value for key, value in arm.items() if key not in OF_ARMS})
    return combined(arm["lr"], tuned)


def report_seeds(scenario: Scenario) -> range:
    """Return the seeds that the comparison is made on."""
    first = scenario.protocol.first_seed
    return range(first, first + scenario.protocol.seeds)


def tuning_seeds(scenario: Scenario) -> range:
    """Return the seeds that choose the learning rates; none of them is reported on."""
    return range(MOST_SEEDS, MOST_SEEDS + scenario.protocol.tune_seeds)


MOST_CELLS = 16
"""Of a task: cells that are trained together are finished together, so more of them are longer in coming."""


COSTS = {"sgd": 1.0, "adam": 1.4, "adamw": 1.4, "rmsprop": 1.4, "tam": 1.6, "adatam": 2.0, "adatamw": 2.0}
"""Of a run in a stack, by that of SGD, about."""

COSTLY = 3.0
"""With any other optimizer: those with buffers, and one's own, whose steps are not shared."""


def pack(cells: Sequence[Cell], jobs: int) -> list[Task]:
    """Return tasks: cells of an arm that are trained stacked stand together, evenly, and the others alone.

    What is expected to take longest comes first, so that those who train are done at about the same time.

    Parameters
    ----------
    cells : sequence of Cell
    jobs : int
        How many tasks are trained at once; none of them is to be without one.
    """
    arms: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        if cell.is_stacked:  # a graph is of one optimizer with its options
            arms.setdefault((cell.arm, cell.options if cell.is_compiled else ""), []).append(cell)
    most = min(MOST_CELLS, -(-sum(map(len, arms.values())) // jobs))
    tasks = [tuple(part) for together in arms.values() for part in _evenly(together, most)]
    tasks += [(cell,) for cell in cells if not cell.is_stacked]
    return sorted(tasks, key=_cost, reverse=True)


def _cost(task: Task) -> float:
    return len(task) * COSTS.get(task[0].scenario.arms[task[0].arm].optimizer, COSTLY)


def _evenly(cells: Sequence[Cell], most: int) -> list[Sequence[Cell]]:
    """Cut cells into as few parts as can be of no more than so many, of which none has two cells more than another."""
    parts = -(-len(cells) // most)
    ends = [len(cells) * part // parts for part in range(parts + 1)]
    return [cells[start:end] for start, end in pairwise(ends)]


def codes_of(scenario: Scenario) -> Codes:
    """Return the code behind the runs of every arm and phase, as the files are now: a study takes it once."""
    return {(arm, phase): code_of(scenario, arm, phase) for arm in scenario.arms for phase in ("tune", "report")}


def tuning_cells(
    scenario: Scenario, tried: Mapping[str, Sequence[Trial]] | None = None, *, codes: Codes | None = None
) -> list[Cell]:
    """Return the cells that choose among the trials made, at first those of the grid."""
    trials = first_trials(scenario) if tried is None else tried
    known = codes_of(scenario) if codes is None else codes
    cells = ((arm, trial, seed) for seed in tuning_seeds(scenario) for arm in trials for trial in trials[arm])
    return [_cell(scenario, *each, "tune", known) for each in cells]


def report_cells(
    scenario: Scenario,
    trials: Mapping[str, Trial],
    seeds: Sequence[int] | None = None,
    *,
    codes: Codes | None = None,
) -> list[Cell]:
    """Return the cells that a comparison is made from; on the reported seeds if no others are given."""
    chosen = report_seeds(scenario) if seeds is None else seeds
    known = codes_of(scenario) if codes is None else codes
    cells = ((arm, trial, seed) for seed in chosen for arm, trial in trials.items())
    return [_cell(scenario, *each, "report", known) for each in cells]


def _cell(scenario: Scenario, arm: str, trial: Trial, seed: int, phase: str, codes: Codes) -> Cell:
    return Cell(scenario, arm, trial.lr, seed, phase, codes[arm, phase], trial.options)
