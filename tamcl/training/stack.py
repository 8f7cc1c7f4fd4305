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

CACHE_BYTES = 12_000_000
"""What a stack may take of a processor's cache: beyond it, a run more makes all of them slower."""

PARAMETER_BYTES = 16
"""Of a weight, its gradient, and two numbers of its optimizer."""

MOST_RUNS = 16
"""Of a stack: more of them gain nothing."""


def train_stacked(runs: Sequence[Run]) -> None:
    """Train runs of one ground to their ends, as many at a time as go into a stack."""
    runs = [run for run in runs if run.is_on]
    most = _most(runs[0]) if runs else 1
    for first in range(0, len(runs), most):
        _train_together(runs[first : first + most])


def _most(run: Run) -> int:
    """Return how many runs a stack takes; no more than one where a run's last bits would depend on the others."""
    strategy = run.training.strategy
    numbers = sum(param.numel() for param in strategy.model.parameters())
    fit = max(1, min(MOST_RUNS, CACHE_BYTES // (PARAMETER_BYTES * numbers)))
    if fit == 1:
        return 1
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


def _train_together(runs: Sequence[Run]) -> None:
    """Train runs to their ends in one stack; those that are at an earlier experience than others catch up first."""
    stack: Stacked | None = None
    while on := [run for run in runs if run.is_on]:
        position = min(run.training.position for run in on)
        here = [run for run in on if run.training.position == position]
        together = [run for run in here if run.shapes == here[0].shapes]
        strategies = [run.training.strategy for run in together]
        if stack is None or stack.runs != strategies:  # one has ended
            if stack is not None:
                stack.take_apart()
            stack = _stacked(together)
        seconds = _train_experience(stack, together, position) if position >= 0 else [0.0] * len(together)
        for run, each in zip(together, seconds, strict=True):
            run.error = stack.errors.get(run.training.strategy) or attempt(partial(run.go_on, each))
        if any(run.is_due for run in together):
            stack.take_apart()
            stack = None
            for run in together:
                with run.generators:
                    run.save()


def _stacked(runs: Sequence[Run]) -> Stacked:
    from tamcl.strategies.stacked import Stacked

    arms = (run.cell.scenario.arms[run.cell.arm].model_dump() for run in runs)
    draws = not all(map(is_known, arms))
    strategies, generators = [run.training.strategy for run in runs], [run.generators for run in runs]
    return Stacked(runs=strategies, generators=generators, draws_in_steps=draws)


def _train_experience(stack: Stacked, runs: Sequence[Run], position: int) -> list[float]:
    """Train an experience, and return the seconds of each run: what it collected by itself, and its share of the rest.

    Runs of one seed have the same experience, and so the same mini-batches.
    """
    from tamcl.strategies.stacked import ExperienceStack

    streams = {id(run.ground): run.ground.benchmark.train_stream for run in runs}
    experiences = {key: stream[position] for key, stream in streams.items()}
    before, collecting = time.perf_counter(), [run.training.collecting_s for run in runs]
    stack.train(ExperienceStack([experiences[id(run.ground)] for run in runs]), eval_streams=[])
    took = time.perf_counter() - before
    own = [run.training.collecting_s - earlier for run, earlier in zip(runs, collecting, strict=True)]
    return [(took - sum(own)) / len(runs) + each for each in own]
