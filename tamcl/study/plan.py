"""Which cells a study has: the seeds that choose learning rates, and those that are reported on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from tamcl.scenario.schema import MOST_SEEDS, Scenario
from tamcl.study.search import first_rates
from tamcl.training.cell import Cell, Task, code_of
from tamcl.user_code import Code

Codes = Mapping[tuple[str, str], Code]
"""The code behind the runs of every arm and phase."""


class Size(NamedTuple):
    """How large a study is, and what it is tuned by."""

    rates: dict[str, list[float]]
    """Learning rates of each arm: those that were tried, where the study has noted them, else those of the grid."""
    trials: int | None
    """Learning rates an arm, for a search other than a grid."""
    seeds: int
    tune_seeds: int
    tune_by: str

    def to_try(self, arm: str) -> int:
        """Return how many learning rates an arm tries; one that has a single one is not tuned."""
        return self.trials or len(self.rates[arm])


def size_of(study: Mapping[str, Any]) -> Size:
    """Return how large a study is by its ``study.json``, which may lack things; no class that it names is imported."""
    scenario = study["scenario"]
    protocol = {"seeds": 0, "tune_seeds": 0, "tune_by": "online_accuracy"} | scenario.get("protocol", {})
    tried = study.get("tried", {})
    rates = {name: tried.get(name) or arm["lr"] for name, arm in scenario.get("arms", {}).items()}
    return Size(rates, protocol.get("trials"), *(protocol[key] for key in ("seeds", "tune_seeds", "tune_by")))


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
    arms: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.is_stacked:
            arms.setdefault(cell.arm, []).append(cell)
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
    scenario: Scenario, tried: Mapping[str, Sequence[float]] | None = None, *, codes: Codes | None = None
) -> list[Cell]:
    """Return the cells that choose the learning rates among those tried, at first the grid's."""
    rates = first_rates(scenario) if tried is None else tried
    known = codes_of(scenario) if codes is None else codes
    cells = ((arm, lr, seed) for seed in tuning_seeds(scenario) for arm in rates for lr in rates[arm])
    return [Cell(scenario, *cell, "tune", known[cell[0], "tune"]) for cell in cells]


def report_cells(
    scenario: Scenario,
    rates: Mapping[str, float],
    seeds: Sequence[int] | None = None,
    *,
    codes: Codes | None = None,
) -> list[Cell]:
    """Return the cells that a comparison is made from; on the reported seeds if no others are given."""
    chosen = report_seeds(scenario) if seeds is None else seeds
    known = codes_of(scenario) if codes is None else codes
    cells = ((arm, lr, seed) for seed in chosen for arm, lr in rates.items())
    return [Cell(scenario, *cell, "report", known[cell[0], "report"]) for cell in cells]
