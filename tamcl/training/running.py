"""A run on its way: what it is made of, where it is, and what it has collected."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import pandas as pd

from tamcl.data import DataSet
from tamcl.results import empty
from tamcl.scenario.schema import Scenario
from tamcl.seeding import GlobalGenerators, derive_seed
from tamcl.streams.base import Segment, fingerprint
from tamcl.training.build import build, build_diagnostics, load_data, plan
from tamcl.training.cell import Cell, Outcome, run_row, versions
from tamcl.training.logs import Log
from tamcl.training.resources import Resources, name_of
from tamcl.user_code import check_code

if TYPE_CHECKING:
    from tamcl.training.checkpoint import Pace

Result = TypeVar("Result")
State = dict[str, Any]


@dataclass
class Training:
    """A run on its way: what it is made of, how far it is, and how long that took."""

    strategy: Any
    collectors: dict[str, list[Any]]
    """By the table that their rows are for."""
    initial_weights: str
    """Their digest."""
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
    order: str
    """Digest of the order of the examples."""
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
        device = resources.choose_device()
        self._kept = Checkpoint(None if log else checkpoint, _mark(cell, ground.digest, name_of(device)))
        self.training = begin(cell, ground, reports, device)
        if (state := self._kept.load()) is not None:
            try:
                self._take_over(state)
            except Exception as error:  # a file that is not what it says may fail in any way
                self._kept.refuse(error)
                self.training = begin(cell, ground, reports, device)
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
        from tamcl.strategies.heartbeat import expected
        from tamcl.training.checkpoint import Pace

        pace = Pace()
        with expected(self.updates):
            while self.is_on:
                self.go_on(self._train_experience(pace) if self.training.position >= 0 else 0.0)

    def _train_experience(self, pace: Pace) -> float:
        """Train the next experience, and return the seconds that it took, without those of checkpoints."""
        from tamcl.strategies.state import NotSaved

        strategy, before, spent, is_told = self.training.strategy, time.perf_counter(), pace.spent, False

        def seconds() -> float:
            return time.perf_counter() - before - (pace.spent - spent)

        def save_if_due() -> None:
            nonlocal is_told
            is_told = True
            if pace.is_due:
                with pace.measured():
                    self.save(seconds(), strategy.state_dict)

        strategy.after_step = save_if_due if self.is_kept else None
        strategy.train(self.ground.benchmark.train_stream[self.training.position], eval_streams=[])
        is_untold = not (is_told or getattr(strategy, "is_within", False))  # by a loop of somebody's own
        if self.is_kept and is_untold and pace.is_due:
            self._kept.give_up(strategy, NotSaved("its steps are not told of by after_step"))
        self.training.wall_s += pace.spent - spent
        return seconds()

    def go_on(self, seconds: float) -> None:
        """Test what was trained in so many seconds, and turn to the next experience."""
        before, training = time.perf_counter(), self.training
        benchmark, is_tuned = self.ground.benchmark, self.cell.phase == "tune"
        strategy, stream = training.strategy, benchmark.validation_stream if is_tuned else benchmark.test_stream
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
    def updates(self) -> int:
        """How many updates it does in all, as its strategy says; 0 if that cannot say."""
        found = attempt(lambda: sum(self.training.strategy.updates(self.ground.benchmark.train_stream)))
        return found if isinstance(found, int) else 0

    @property
    def shapes(self) -> tuple[Any, ...]:
        """What runs must have in common to be stacked for the next experience: the task, and the shapes of weights."""
        segments = self.ground.segments
        task = segments[min(max(0, self.training.position), len(segments) - 1)].task
        model = self.training.strategy.model
        return task, *((name, tuple(param.shape)) for name, param in model.named_parameters())

    @property
    def place(self) -> tuple[int, int]:
        """The pass and the mini-batch in the experience that comes next, which a run that goes on is in already."""
        strategy = self.training.strategy
        if strategy.goes_on is None:
            return 0, 0
        return strategy.clock.train_exp_epochs, strategy.clock.train_epoch_iterations

    @property
    def is_kept(self) -> bool:
        """Whether the run is noted in a file as it goes on."""
        return self._kept.is_kept

    def save(self, seconds: float, state: Callable[[], State]) -> None:
        """Note where the run is in its experience, which it has been trained on for so many seconds.

        Parameters
        ----------
        seconds : float
        state : callable
            Returns the state of its strategy.
        """
        training = self.training
        if self.error is not None or training.strategy.diverged:
            return
        times = training.training_s + seconds, training.testing_s, training.wall_s + seconds
        held = {"position": training.position, "seconds": times}
        self._kept.save(training.strategy, lambda: held | {"strategy": state()})

    def _take_over(self, state: State) -> None:
        """Go on where another run of this cell was when it was saved."""
        training = self.training
        training.position = range(len(self.ground.segments))[state["position"]]
        training.training_s, training.testing_s, training.wall_s = map(float, state["seconds"])
        training.strategy.go_on(state["strategy"], self.ground.benchmark.train_stream[training.position])

    def outcome(self) -> Outcome:
        """Return the tables of the run as far as it is, or raise what ended it."""
        if self.error is not None:
            raise self.error
        check_code(self.cell.code)  # what was imported as late as in training
        from tamcl.training.digests import digest_of_weights

        training, strategy = self.training, self.training.strategy
        training_s = training.training_s - training.collecting_s
        row = run_row(
            self.cell,
            status="diverged" if strategy.diverged else "ok",
            error=strategy.diverged,
            fingerprint=self.ground.digest,
            order=self.ground.order,
            initial_weights=training.initial_weights,
            final_weights=digest_of_weights(strategy.model),
            device=name_of(strategy.device),
            data=json.dumps(self.ground.data.describe()),
            wall_s=training.wall_s,
            ms_per_step=1000 * training_s / max(1, strategy.clock.train_iterations),
            evaluation_s=training.testing_s + training.seconds("continual"),
        )
        tables = {
            name: pd.concat([empty(name), *(collector.rows().assign(**self.cell.key) for collector in collectors)])
            for name, collectors in training.collectors.items()
        }
        return Outcome(runs=row, **tables, weights=self.weights() if self.cell.keeps_weights else b"")

    def weights(self) -> bytes:
        """Return the file of the weights as they are tested."""
        from tamcl.optim.phases import weights_to_test
        from tamcl.training.weights import dump_weights

        with weights_to_test(self.training.strategy.optimizer):
            return dump_weights(self.training.strategy.model, of=self.cell.id)


def lay_ground(scenario: Scenario, resources: Resources, seed: int) -> Ground:
    """Make what a scenario's runs of one seed have in common."""
    from tamcl.streams.benchmark import build_benchmark
    from tamcl.training.digests import digest_of_order

    stream = scenario.stream
    data = load_data(stream.dataset, resources)
    segments = plan(scenario, data, seed)
    order = (derive_seed(seed, "order"), stream.batch_size, stream.epochs)
    digest = fingerprint(
        segments,
        data.checksum,
        *order,
        normalization=stream.normalization,
        augmentation=stream.augmentation,
        drop_last=stream.drop_last,
    )
    benchmark = build_benchmark(data, segments, stream.normalization)
    of_order = digest_of_order(benchmark.train_stream, seed, stream.epochs, stream.batch_size, stream.drop_last)
    return Ground(data, segments, digest, of_order, benchmark)


def _mark(cell: Cell, digest: str, device: str) -> dict[str, Any]:
    """Return what decides a run's tables and how they are computed: a checkpoint holds for this and for no other."""
    measured = cell.scenario.dump()["diagnostics"] if cell.phase == "report" else None
    decides = {"phase": cell.phase, "diagnostics": measured, "fingerprint": digest, "versions": versions()}
    return cell.config | decides | {"device": device}


def begin(cell: Cell, ground: Ground, reports: Any, device: str) -> Training:
    """Build the strategy and what collects the rows."""
    from tamcl.training.collectors import ContinualCollector, EpochCollector, EvaluationCollector, OnlineCollector
    from tamcl.training.digests import digest_of_weights

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
            tests = ground.benchmark.validation_stream, evaluation.tested_inside
            if evaluation.every == "epoch":
                collectors["continual"] = [EpochCollector(*tests)]
            else:
                collectors["continual"] = [ContinualCollector(*tests, evaluation.every)]
    plugins = [*chain(*collectors.values())]
    strategy = build(cell, ground.data, ground.segments, plugins, reports, device)
    return Training(strategy, collectors, digest_of_weights(strategy.model))


def _evaluator(log: Log, cell: Cell) -> AbstractContextManager[Any]:
    from tamcl.training.loggers import evaluator

    return evaluator(log, cell.id, cell.config, cell.scenario.stream.target)


def attempt(call: Callable[[], Result]) -> Result | BaseException:
    """Return what a call returns, or what it raised: somebody's code may raise anything, and leave Python."""
    try:
        return call()
    except (Exception, SystemExit) as error:
        return error
