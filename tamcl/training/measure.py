"""What runs take, measured on a few of their steps before a study is trained.

All seconds are those of a machine that has nothing else to do: time in which others had the processor is left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from math import ceil
from typing import NamedTuple, TypeVar

import numpy as np

from tamcl.errors import said
from tamcl.files.parquet import dump_parquet
from tamcl.results import conform
from tamcl.scenario.schema import Scenario
from tamcl.seeding import generator_states, set_generators
from tamcl.streams.base import Segment
from tamcl.training.build import build_model
from tamcl.training.cell import Cell, Outcome, Task
from tamcl.training.resources import Resources
from tamcl.training.running import Ground, Run, lay_ground
from tamcl.training.stack import compiling_s, train_stacked

MOST_STEPS = 100
"""Of a run that are measured."""

FEW = 4
"""Steps that tell how many more there is time for, and test images."""

SEVERAL = 10
"""Experiences that are tested at once, at most."""

Result = TypeVar("Result")


class Amount(NamedTuple):
    """How much a run is, counted."""

    steps: int
    blocks: int
    """Rows of ``online``."""
    tests: int
    """After experiences, and before the first."""
    tested: int
    """Experiences in all of these tests: rows of ``eval``."""
    tests_inside: int
    """Inside experiences, of a reported run."""
    tested_inside: int
    diagnoses: int
    """How often the diagnostics of a reported run are measured."""


class Taken(NamedTuple):
    """What a run takes, by a measurement of some that were trained together."""

    step_s: float
    setup_s: float
    """To build it, and to make its tables."""
    diagnosis_s: float = 0.0
    """To measure its diagnostics once."""
    diagnosis_rows: float = 0.0
    """Rows that this makes."""
    compile_s: float = 0.0
    """To compile its step, once in a process."""
    bytes_at_least: int = 0
    """Of its tables, if each had a row."""
    bytes_a_row: float = 0.0
    weights_bytes: int = 0
    """Of its final weights, if reported runs keep them."""
    groups: tuple[int, ...] = ()
    """Parameters in each group of its optimizer."""


class EvaluationTime(NamedTuple):
    """What a test takes."""

    first_s: float
    """Of one experience."""
    more_s: float
    """Of each experience beyond it; little where all have the same images."""

    def seconds(self, tests: int, tested: int) -> float:
        """Return what some tests take that are of so many experiences together."""
        return tests * self.first_s + (tested - tests) * self.more_s


class _Watch:
    """Measures from when it is made on."""

    def __init__(self) -> None:
        self._wall, self._own = time.perf_counter(), time.process_time()

    @property
    def seconds(self) -> float:
        """Seconds that this process had the processor, more than none; several threads count once."""
        return max(1e-6, min(time.perf_counter() - self._wall, time.process_time() - self._own))

    @property
    def share(self) -> float:
        """The share of all seconds that this is."""
        return self.seconds / max(1e-6, time.perf_counter() - self._wall)


def tried(measurement: Callable[[], Result]) -> Result | str:
    """Return what was measured, or why that could not be done: somebody's code may raise anything, and leave Python."""
    try:
        return measurement()
    except (Exception, SystemExit) as error:
        return said(error)


def count(scenario: Scenario, resources: Resources, seed: int) -> Amount:
    """Count how much a run of a scenario is."""
    segments = lay_ground(scenario, resources, seed).segments
    stream, evaluation = scenario.stream, scenario.evaluation
    steps = [stream.epochs * stream.batches(len(segment.train_index)) for segment in segments]
    tested = [len(evaluation.tested(position, len(steps))) for position in range(-1, len(steps))]
    inside = [evaluation.tests_inside(each, stream.epochs) for each in steps]
    every = scenario.diagnostics.every if scenario.diagnostics else None
    return Amount(
        steps=sum(steps),
        blocks=sum(ceil(each / evaluation.batches) for each in steps),
        tests=sum(number > 0 for number in tested),
        tested=sum(tested),
        tests_inside=sum(inside),
        tested_inside=sum(tests * len(evaluation.tested_inside(place)) for place, tests in enumerate(inside)),
        diagnoses=sum(ceil(each / every) for each in steps) if every else 0,
    )


def measure(task: Task, resources: Resources, seconds: float) -> Taken:
    """Train the first steps of a task's cells in this process, and return what a run takes.

    Torch keeps to the resources' number of threads from here on; its global generators, NumPy's and Python's are left
    as they were.

    Parameters
    ----------
    task : tuple of Cell
    resources : Resources
    seconds : float
        About how long it may take; but some steps are done, however slow they are.
    """
    import torch

    torch.set_num_threads(resources.threads)
    resources = replace(resources, log=None)
    cells = [_without_tests_inside(cell) for cell in task]
    grounds = {seed: lay_ground(cells[0].scenario, resources, seed) for seed in {cell.seed for cell in cells}}
    states = generator_states()
    try:
        before = compiling_s()
        _take(cells[:1], grounds, resources, 1)  # what is imported and read late is not a run's
        compile_s = compiling_s() - before
        taken = _take(cells, grounds, resources, FEW)
        steps = min(MOST_STEPS, int(seconds / (len(cells) * taken.step_s)))
        taken = _take(cells, grounds, resources, steps) if steps > 2 * FEW else taken
        return taken._replace(compile_s=compile_s)
    finally:
        set_generators(states)


def measure_evaluation(scenario: Scenario, resources: Resources, seed: int, seconds: float) -> EvaluationTime:
    """Test an untrained model in this process, and return what a test takes, which no optimizer changes.

    The parameters are as of ``measure``, but for the seed.
    """
    import torch

    from tamcl.strategies.evaluation import evaluate

    torch.set_num_threads(resources.threads)
    ground, device = lay_ground(scenario, resources, seed), torch.device(resources.choose_device())
    model = build_model(scenario, ground.data, ground.segments, seed).to(device)
    images = float(np.mean([len(segment.test_index) for segment in ground.segments]))

    def timed(experiences: int, most: int) -> float:
        stream = _cut(ground, scenario, FEW, most).benchmark.test_stream
        watch = _Watch()
        evaluate(model, stream, device, range(experiences))
        return watch.seconds

    several = min(SEVERAL, len(ground.segments))
    timed(1, FEW)
    most = max(FEW, int(seconds * FEW / (several * timed(1, FEW))))
    first, all_of_them = (min(timed(number, most) for _ in range(2)) for number in (1, several))
    more = max(0.0, all_of_them - first) / max(1, several - 1)
    share = min(1.0, most / images)
    return EvaluationTime(first / share, more / share)


def _without_tests_inside(cell: Cell) -> Cell:
    """Return a cell that is tested as little as can be: how long tests take is measured by itself."""
    scenario = cell.scenario
    evaluation = scenario.evaluation.model_copy(update={"every": None, "on": "current"})
    changed = scenario.model_copy(update={"evaluation": evaluation})
    return replace(cell, scenario=changed, known=cell.code)


def _cut(ground: Ground, scenario: Scenario, train: int, test: int) -> Ground:
    """Return experiences of no more than so many images."""
    from tamcl.streams.benchmark import build_benchmark

    kept = {"train": train, "test": test, "validation": test}
    counts = {f"{part}_{what}": count for part, count in kept.items() for what in ("index", "labels")}

    def cut(segment: Segment) -> Segment:
        arrays = {name: getattr(segment, name) for name in counts}
        return replace(segment, **{name: each[: counts[name]] for name, each in arrays.items() if each is not None})

    segments = [*map(cut, ground.segments)]
    benchmark = build_benchmark(ground.data, segments, scenario.stream.normalization)
    return ground._replace(segments=segments, benchmark=benchmark)


def _take(cells: list[Cell], grounds: Mapping[int, Ground], resources: Resources, steps: int) -> Taken:
    """Train so many steps of the first experience of some cells, together if that is how they are trained."""
    scenario, watch = cells[0].scenario, _Watch()
    images = ceil(steps / scenario.stream.epochs) * scenario.stream.batch_size
    short = {seed: _cut(ground, scenario, images, FEW) for seed, ground in grounds.items()}
    first = {seed: ground._replace(segments=ground.segments[:1]) for seed, ground in short.items()}
    with ExitStack() as opened:
        runs = [Run(cell, short[cell.seed], resources, None, opened) for cell in cells]
        for run in runs:  # built for the tasks of all experiences, trained on the first
            run.ground = first[run.cell.seed]
        setup_s, watch = watch.seconds / len(cells), _Watch()
        if cells[0].is_stacked:
            train_stacked(runs)
        else:
            runs[0].train()
        for run in runs:
            if run.error is not None:
                raise run.error
        share, watch, (one, *_) = watch.share, _Watch(), runs
        outcome = one.outcome()
        at_least, a_row = _bytes(outcome)
        setup_s += watch.seconds
    trained = max(1, one.training.strategy.clock.train_iterations)
    diagnoses = ceil(trained / scenario.diagnostics.every) if scenario.diagnostics else 1
    return Taken(
        step_s=share * outcome.runs["ms_per_step"].item() / 1000,
        setup_s=setup_s,
        diagnosis_s=share * one.training.seconds("diagnostics") / diagnoses,
        diagnosis_rows=len(outcome.diagnostics) / diagnoses,
        bytes_at_least=at_least,
        bytes_a_row=a_row,
        weights_bytes=len(one.weights()) if scenario.keep_weights else 0,
        groups=tuple(len(group["params"]) for group in one.training.strategy.optimizer.param_groups),
    )


def _bytes(outcome: Outcome) -> tuple[int, float]:
    """Return the bytes of a run's tables if each had one row, and those of one row more."""
    with_rows = {name: table for name, table in outcome.tables.items() if len(table)}
    at_least = [len(dump_parquet(conform(name, table.iloc[:1]))) for name, table in with_rows.items()]
    online = conform("online", outcome.online)
    if len(online) < 2:
        return sum(at_least), 0.0
    one, all_of_them = (len(dump_parquet(online.iloc[:rows])) for rows in (1, len(online)))
    return sum(at_least), (all_of_them - one) / (len(online) - 1)
