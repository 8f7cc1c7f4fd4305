"""A cell trained in this process: build its parts, train, evaluate, record."""

from __future__ import annotations

import json
import time
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from tamcl.data import DataSet
from tamcl.results import empty
from tamcl.seeding import derive_seed
from tamcl.streams.base import Segment, fingerprint
from tamcl.training.build import build, build_diagnostics, load_data, plan
from tamcl.training.cell import CHECKPOINT, Cell, Outcome, Task, failed, run_row, versions
from tamcl.training.logs import Log
from tamcl.training.resources import Resources
from tamcl.user_code import check_code


@dataclass
class _Training:
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


def run_cells(task: Task, resources: Resources, directory: Path | None = None) -> list[Outcome]:
    """Train the cells of a task in this process; what goes wrong with one is its outcome and hurts no other.

    Parameters
    ----------
    task : tuple of Cell
    resources : Resources
    directory : Path, optional
        Where each cell has, or gets, a folder with its checkpoint; none are kept if absent.
    """
    outcomes = []
    for cell in task:
        try:
            checkpoint = None if directory is None else directory / cell.id / CHECKPOINT
            outcomes.append(run_cell(cell, resources, checkpoint))
        except (Exception, SystemExit) as error:  # somebody's code may raise anything, and leave Python
            outcomes.append(failed(cell, error))
    return outcomes


def run_cell(cell: Cell, resources: Resources | None = None, checkpoint: Path | None = None) -> Outcome:
    """Train and evaluate one cell in this process.

    The global generators of torch, NumPy and Python are seeded for the optimizer alone: stream, order and initial
    weights have generators of their own. Torch keeps to the resources' number of threads from here on.

    Parameters
    ----------
    cell : Cell
    resources : Resources, optional
        Those of ``Resources()`` if absent.
    checkpoint : Path, optional
        File that the run goes on from, if it was killed there, and in which it notes after an experience how far it
        is, as ``tamcl.training.checkpoint`` says. It is left to the caller to remove. A run that is logged starts anew,
        since its log would begin in the middle.

    Returns
    -------
    Outcome
        A loss that is not finite ends the run with status ``diverged``; its rows up to there are kept. Tables and times
        are those of the whole run, whether it went on or not.

    Raises
    ------
    InputError
        If the data, the model or the optimizer cannot be built from the description.
    """
    import torch

    from tamcl.streams.benchmark import build_benchmark
    from tamcl.training.checkpoint import Checkpoint

    check_code(cell.code)
    resources = resources or Resources()
    torch.set_num_threads(resources.threads)
    started = time.perf_counter()
    stream, tests = cell.scenario.stream, cell.scenario.evaluation
    data = load_data(stream.dataset, resources)
    segments = plan(cell.scenario, data, cell.seed)
    order = (derive_seed(cell.seed, "order"), stream.batch_size, stream.epochs)
    digest = fingerprint(
        segments, data.checksum, *order, normalization=stream.normalization, augmentation=stream.augmentation
    )
    benchmark = build_benchmark(data, segments, stream.normalization)
    with ExitStack() as opened:
        log = resources.log
        reports = opened.enter_context(_evaluator(log, cell)) if log else None
        kept = Checkpoint(None if log else checkpoint, _mark(cell, digest), benchmark)
        run = kept.load() or _begin(cell, data, segments, benchmark.test_stream, reports, resources.choose_device())
        check_code(cell.code)
        started -= run.wall_s
        for position in range(run.position, len(segments)):
            before = time.perf_counter()
            if position >= 0:
                run.strategy.train(benchmark.train_stream[position], eval_streams=[])
            trained = time.perf_counter()
            tested = tests.tested(position, len(segments))
            if tested and not run.strategy.diverged:
                run.strategy.eval(benchmark.test_stream, only=tested)
            run.training_s += trained - before
            run.testing_s += time.perf_counter() - trained
            if run.strategy.diverged:
                break
            run.position, run.wall_s = position + 1, time.perf_counter() - started
            kept.save(run)
    check_code(cell.code)  # what was imported as late as in training
    aside, within = run.seconds("diagnostics"), run.seconds("continual")
    row = run_row(
        cell,
        status="diverged" if run.strategy.diverged else "ok",
        error=run.strategy.diverged,
        fingerprint=digest,
        data=json.dumps(data.describe()),
        wall_s=time.perf_counter() - started,
        ms_per_step=1000 * (run.training_s - aside - within) / max(1, run.strategy.clock.train_iterations),
        evaluation_s=run.testing_s + within,
    )
    tables = {
        name: pd.concat([empty(name), *(collector.rows().assign(**cell.key) for collector in collectors)])
        for name, collectors in run.collectors.items()
    }
    return Outcome(runs=row, **tables)


def _mark(cell: Cell, digest: str) -> dict[str, Any]:
    """Return what decides a run's tables and how they are computed: a checkpoint holds for this and for no other."""
    measured = cell.scenario.dump()["diagnostics"] if cell.phase == "report" else None
    decides = {"phase": cell.phase, "diagnostics": measured, "fingerprint": digest, "versions": versions()}
    return cell.config | decides


def _begin(cell: Cell, data: DataSet, segments: list[Segment], tests: Any, reports: Any, device: str) -> _Training:
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
            collectors["continual"] = [ContinualCollector(tests, evaluation.every, evaluation.tested_inside)]
    return _Training(build(cell, data, segments, [*chain(*collectors.values())], reports, device), collectors)


def _evaluator(log: Log, cell: Cell) -> AbstractContextManager[Any]:
    from tamcl.training.loggers import evaluator

    return evaluator(log, cell.id, cell.config, cell.scenario.stream.target)
