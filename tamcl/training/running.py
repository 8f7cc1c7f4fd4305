"""A run on its way: what it is made of, where it is, and what it has collected."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pandas as pd

from tamcl.data import DataSet
from tamcl.results import empty
from tamcl.scenario.schema import Scenario
from tamcl.seeding import GlobalGenerators, derive_seed
from tamcl.streams.base import Segment, fingerprint
from tamcl.training.build import build, build_diagnostics, load_data, plan
from tamcl.training.cell import Cell, Outcome, run_row, versions
from tamcl.training.logs import Log
from tamcl.training.resources import Resources
from tamcl.user_code import check_code

Result = TypeVar("Result")


@dataclass
class Training:
    """A run on its way: all of it that changes, as a checkpoint holds it."""

    strategy: Any
    collectors: dict[str, list[Any]]
    """By the table that their rows are for."""
    position: int = -1
    """The experience that comes next; -1 for the test of the untrained model."""
    training_s: float = 0.0
    testing_s: float = 0.0
    wall_s: float = 0.0

    def seconds(self, table: str) -> float:
        """Return the time that a table's collectors took."""
        return float(sum(collector.seconds for collector in self.collectors[table]))

    @property
    def collecting_s(self) -> float:
        """The time that was spent on diagnostics and tests inside experiences."""
        return self.seconds("diagnostics") + self.seconds("continual")


class Ground(NamedTuple):
    """What the runs of one seed have in common."""

    data: DataSet
    segments: list[Segment]
    digest: str
    benchmark: Any


class Run:
    """A cell in training: what it is made of, where it is, and where it notes that."""

    def __init__(
        self, cell: Cell, ground: Ground, resources: Resources, checkpoint: Path | None, opened: ExitStack
    ) -> None:
        from tamcl.training.checkpoint import Checkpoint

        check_code(cell.code)
        started, log = time.perf_counter(), resources.log
        self.cell, self.ground = cell, ground
        self.error: BaseException | None = None
        reports = opened.enter_context(_evaluator(log, cell)) if log else None
        self._kept = Checkpoint(None if log else checkpoint, _mark(cell, ground.digest), ground.benchmark)
        self.training = self._kept.load() or begin(cell, ground, reports, resources.choose_device())
        self.generators = GlobalGenerators()
        check_code(cell.code)
        self.training.wall_s += time.perf_counter() - started

    @property
    def is_on(self) -> bool:
        """Whether there is more to train."""
        is_well = not (self.error or self.training.strategy.diverged)
        return is_well and self.training.position < len(self.ground.segments)

    def train(self) -> None:
        """Train the run alone to the end."""
        while self.is_on:
            before, position = time.perf_counter(), self.training.position
            if position >= 0:
                self.training.strategy.train(self.ground.benchmark.train_stream[position], eval_streams=[])
            self.go_on(time.perf_counter() - before)
            self.save()

    def go_on(self, seconds: float) -> None:
        """Test what was trained in so many seconds, and turn to the next experience."""
        before, training = time.perf_counter(), self.training
        strategy, stream = training.strategy, self.ground.benchmark.test_stream
        tested = self.cell.scenario.evaluation.tested(training.position, len(self.ground.segments))
        if tested and not strategy.diverged:
            strategy.eval(stream, only=tested)
        testing_s = time.perf_counter() - before
        training.training_s += seconds
        training.testing_s += testing_s
        training.wall_s += seconds + testing_s
        if not strategy.diverged:
            training.position += 1

    @property
    def shapes(self) -> tuple[Any, ...]:
        """What runs must have in common to be stacked for the next experience: the task, and the shapes of weights."""
        segments = self.ground.segments
        task = segments[min(max(0, self.training.position), len(segments) - 1)].task
        model = self.training.strategy.model
        return task, *((name, tuple(param.shape)) for name, param in model.named_parameters())

    @property
    def is_due(self) -> bool:
        """Whether it is time to note where the run is."""
        return self._kept.is_due

    def save(self) -> None:
        """Note where the run is, if it is time to and it has come there well."""
        if self.error is not None or self.training.strategy.diverged:
            return
        before = time.perf_counter()
        self._kept.save(self.training)
        self.training.wall_s += time.perf_counter() - before

    def outcome(self) -> Outcome:
        """Return the tables of the run as far as it is, or raise what ended it."""
        if self.error is not None:
            raise self.error
        check_code(self.cell.code)  # what was imported as late as in training
        training, strategy = self.training, self.training.strategy
        training_s = training.training_s - training.collecting_s
        row = run_row(
            self.cell,
            status="diverged" if strategy.diverged else "ok",
            error=strategy.diverged,
            fingerprint=self.ground.digest,
            data=json.dumps(self.ground.data.describe()),
            wall_s=training.wall_s,
            ms_per_step=1000 * training_s / max(1, strategy.clock.train_iterations),
            evaluation_s=training.testing_s + training.seconds("continual"),
        )
        tables = {
            name: pd.concat([empty(name), *(collector.rows().assign(**self.cell.key) for collector in collectors)])
            for name, collectors in training.collectors.items()
        }
        return Outcome(runs=row, **tables)


def lay_ground(scenario: Scenario, resources: Resources, seed: int) -> Ground:
    """Make what a scenario's runs of one seed have in common."""
    from tamcl.streams.benchmark import build_benchmark

    stream = scenario.stream
    data = load_data(stream.dataset, resources)
    segments = plan(scenario, data, seed)
    order = (derive_seed(seed, "order"), stream.batch_size, stream.epochs)
    digest = fingerprint(
        segments, data.checksum, *order, normalization=stream.normalization, augmentation=stream.augmentation
    )
    return Ground(data, segments, digest, build_benchmark(data, segments, stream.normalization))


def _mark(cell: Cell, digest: str) -> dict[str, Any]:
    """Return what decides a run's tables and how they are computed: a checkpoint holds for this and for no other."""
    measured = cell.scenario.dump()["diagnostics"] if cell.phase == "report" else None
    decides = {"phase": cell.phase, "diagnostics": measured, "fingerprint": digest, "versions": versions()}
    return cell.config | decides


def begin(cell: Cell, ground: Ground, reports: Any, device: str) -> Training:
    """Build the strategy and what collects the rows."""
    from tamcl.training.collectors import ContinualCollector, EvaluationCollector, OnlineCollector

    evaluation = cell.scenario.evaluation
    collectors: dict[str, list[Any]] = {
        "online": [OnlineCollector(evaluation.batches)],
        "eval": [EvaluationCollector()],
        "diagnostics": [],
        "continual": [],
    }
    if cell.phase == "report":
        collectors["diagnostics"] = build_diagnostics(cell.scenario)
        if evaluation.every:
            tests = ground.benchmark.test_stream, evaluation.every, evaluation.tested_inside
            collectors["continual"] = [ContinualCollector(*tests)]
    plugins = [*chain(*collectors.values())]
    return Training(build(cell, ground.data, ground.segments, plugins, reports, device), collectors)


def _evaluator(log: Log, cell: Cell) -> AbstractContextManager[Any]:
    from tamcl.training.loggers import evaluator

    return evaluator(log, cell.id, cell.config, cell.scenario.stream.target)


def attempt(call: Callable[[], Result]) -> Result | BaseException:
    """Return what a call returns, or what it raised: somebody's code may raise anything, and leave Python."""
    try:
        return call()
    except (Exception, SystemExit) as error:
        return error
