"""Runs trained stacked, which are one computation for as long as they last."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

from tamcl.scenario.stacking import is_known
from tamcl.training.running import Run, attempt

if TYPE_CHECKING:
    from tamcl.strategies.stacked import Stacked
    from tamcl.training.checkpoint import Pace

CACHE_BYTES = 12_000_000
"""What a stack may take of a processor's cache: beyond it, a run more makes all of them slower."""

PARAMETER_BYTES = 16
"""Of a weight, its gradient, and two numbers of its optimizer."""

MOST_RUNS = 16
"""Of a stack: more of them gain nothing."""

MOST_COMPILED = 8
"""Of a compiled stack, whose steps hardly cost more than their work: there is a place less to compute for nothing."""


def train_stacked(runs: Sequence[Run]) -> None:
    """Train runs of one ground to their ends, as many at a time as go into a stack."""
    from tamcl.strategies.heartbeat import expected

    runs = [run for run in runs if run.is_on]
    most = _most(runs[0]) if runs else 1
    for first in range(0, len(runs), most):
        with expected(runs[first].updates):
            _train_together(runs[first : first + most], most)


def compiling_s() -> float:
    """Return the seconds that were spent on compiling in this process."""
    compiled = sys.modules.get("tamcl.strategies.compiled")
    return float(sum(compiled.COMPILING)) if compiled else 0.0


def _most(run: Run) -> int:
    """Return how many runs a stack takes; no more than one where a run's last bits would depend on the others.

    A compiled graph is made for so many, and tries by itself whether bits depend on the place: it does not follow from
    the machine.
    """
    strategy = run.training.strategy
    numbers = sum(param.numel() for param in strategy.model.parameters())
    most = MOST_COMPILED if run.cell.is_compiled else MOST_RUNS
    fit: int = max(1, min(most, CACHE_BYTES // (PARAMETER_BYTES * numbers)))
    if fit == 1 or run.cell.is_compiled:
        return fit
    kind = strategy.settings.batch_size, run.ground.data.train_x.shape[1:], str(strategy.device), *run.shapes
    if kind not in _SAME_ALONE:
        _SAME_ALONE[kind] = _is_same_alone(run)
    return fit if _SAME_ALONE[kind] else 1


_SAME_ALONE: dict[Any, bool] = {}
"""What was found in this process."""


def _is_same_alone(run: Run) -> bool:
    """Whether a model of these shapes gets the same bits in any stack, which is said if not."""
    import torch

    from tamcl.models.stacked import is_same_alone, rows_for

    strategy = run.training.strategy
    shape = rows_for(strategy.model, strategy.settings.batch_size), *run.ground.data.train_x.shape[1:]
    param = next(strategy.model.parameters())
    images = torch.arange(prod(shape), device=param.device).reshape(shape).to(param.dtype).sin()
    is_same = is_same_alone(strategy.model, images, run.shapes[0])
    if not is_same:
        print(
            "tamcl: on this machine a stack changes the last bits of a run, so each is trained alone", file=sys.stderr
        )
    return is_same


def _train_together(runs: Sequence[Run], most: int) -> None:
    """Train runs to their ends in one stack; those that are at an earlier experience than others catch up first."""
    from tamcl.training.checkpoint import Pace

    stack: Stacked | None = None
    pace = Pace()
    while on := [run for run in runs if run.is_on]:
        position = min(run.training.position for run in on)
        here = [run for run in on if run.training.position == position]
        together = [run for run in here if (run.place, run.shapes) == (here[0].place, here[0].shapes)]
        strategies = [run.training.strategy for run in together]
        if stack is None or stack.runs != strategies:  # one has ended
            if stack is not None:
                stack.take_apart()
            stack = _stacked(together, most)
        seconds = attempt(partial(_train_experience, stack, together, position, pace))
        if isinstance(seconds, BaseException):  # as if no graph can be compiled: it is of all of them
            for run in together:
                run.error = seconds
            return
        for run, each in zip(together, seconds, strict=True):
            run.error = stack.errors.get(run.training.strategy) or attempt(partial(run.go_on, each))


def _stacked(runs: Sequence[Run], most: int) -> Stacked:
    from tamcl.strategies.stacked import Stacked

    arms = (run.cell.scenario.arms[run.cell.arm].model_dump() for run in runs)
    draws = not all(map(is_known, arms))
    strategies, generators = [run.training.strategy for run in runs], [run.generators for run in runs]
    common: dict[str, Any] = {"runs": strategies, "generators": generators, "draws_in_steps": draws}
    if not runs[0].cell.is_compiled:
        return Stacked(**common)
    from tamcl.strategies.compiled import Compiled

    optimizer = runs[0].cell.scenario.arms[runs[0].cell.arm].optimizer
    return Compiled(optimizer=optimizer, places=most, **common)


def _train_experience(stack: Stacked, runs: Sequence[Run], position: int, pace: Pace) -> list[float]:
    """Train an experience, and return the seconds of each run: what it collected by itself, and its share of the rest.

    Runs of one seed have the same experience, and so the same mini-batches. There is nothing to train before the first.
    """
    if position < 0:
        return [0.0] * len(runs)
    from tamcl.strategies.stacked import ExperienceStack

    streams = {id(run.ground): run.ground.benchmark.train_stream for run in runs}
    experiences = {key: stream[position] for key, stream in streams.items()}
    before, apart = time.perf_counter(), pace.spent + compiling_s()  # it is compiled once in a process, for all runs
    collecting, spent = [run.training.collecting_s for run in runs], pace.spent

    def seconds() -> list[float]:
        took = time.perf_counter() - before - (pace.spent + compiling_s() - apart)
        own = [run.training.collecting_s - earlier for run, earlier in zip(runs, collecting, strict=True)]
        return [(took - sum(own)) / len(runs) + each for each in own]

    def save_if_due() -> None:
        if pace.is_due:
            with pace.measured():
                for run, each in zip(runs, seconds(), strict=True):
                    if stack.is_on(run.training.strategy):
                        with run.generators:
                            run.save(each, partial(stack.state_of, run.training.strategy))

    stack.after_step = save_if_due if any(run.is_kept for run in runs) else None
    stack.train(ExperienceStack([experiences[id(run.ground)] for run in runs]), eval_streams=[])
    for run in runs:
        run.training.wall_s += (pace.spent - spent) / len(runs)
    return seconds()
