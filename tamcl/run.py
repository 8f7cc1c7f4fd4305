"""One cell: build everything from its description, train, evaluate, record."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from hashlib import blake2b
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tamcl import __version__
from tamcl.config import Scenario
from tamcl.data import DATASETS, DataSet, Source, data_root
from tamcl.errors import InputError, said
from tamcl.logs import Log, present
from tamcl.optim import OPTIMIZERS
from tamcl.registry import lookup, source_file
from tamcl.results import OF_CELLS, empty, write_table
from tamcl.seeding import derive_seed
from tamcl.streams.base import Segment, fingerprint


@dataclass(frozen=True)
class Cell:
    """One training run: scenario x arm x learning rate x seed."""

    scenario: Scenario
    arm: str
    lr: float
    seed: int
    phase: str
    """``tune`` or ``report``."""

    @property
    def key(self) -> dict[str, Any]:
        """The coordinates that stand in every row."""
        return {"scenario": self.scenario.name, "arm": self.arm, "lr": self.lr, "seed": self.seed}

    @property
    def config(self) -> dict[str, Any]:
        """Everything that decides the result, the text of somebody's own optimizer included; only the data are not."""
        scenario = self.scenario.dump()
        parts = {part: scenario[part] for part in ("stream", "model", "strategy", "evaluation")}
        arm = self.scenario.arms[self.arm]
        optimizer = {"name": arm.optimizer, "lr": self.lr, **arm.options}
        if arm.optimizer not in OPTIMIZERS:
            optimizer["source"] = _digest_of_source(arm.optimizer)
        return parts | {"optimizer": optimizer, "seed": self.seed, "tamcl": __version__}

    @property
    def id(self) -> str:
        """Folder name: readable, and another one if anything that decides the result is different."""
        digest = blake2b(json.dumps(self.config, sort_keys=True).encode(), digest_size=4).hexdigest()
        return f"{self.arm}-lr{self.lr:g}-seed{self.seed}-{digest}"


class Outcome(NamedTuple):
    """Tables of one cell, which are those of ``tamcl.results.OF_CELLS``."""

    online: pd.DataFrame
    eval: pd.DataFrame
    runs: pd.DataFrame
    diagnostics: pd.DataFrame
    continual: pd.DataFrame

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables by their names."""
        return self._asdict()


@cache
def _digest_of_source(path: str) -> str:
    source = source_file(path)
    return blake2b(source.read_bytes(), digest_size=8).hexdigest() if source else ""


@cache
def load_data(name: str, root: Path, allow_subset: bool = False) -> DataSet:
    """Load a data set once a process."""
    return find_source(name).load(root, allow_subset=allow_subset)


def find_source(name: str) -> Source:
    """Return what a data set comes from, or raise an ``InputError`` if the name stands for something else."""
    cls = lookup(DATASETS, name)
    if not (isinstance(cls, type) and issubclass(cls, Source)):
        raise InputError(f"stream.dataset = '{name}': is no tamcl.data.Source")
    return cls()


def plan(scenario: Scenario, data: DataSet, seed: int) -> list[Segment]:
    """Return the experiences of a run, with the test sets thinned as the scenario says."""
    segments = scenario.stream.segments(data.train_y, data.test_y, data.classes, seed)
    samples = scenario.evaluation.samples
    if samples is None:
        return segments
    thinned = []
    for segment in segments:
        # The same generator for every experience: experiences that share test images go on sharing them.
        rng = np.random.default_rng(derive_seed(seed, "evaluation"))
        rows = np.sort(rng.permutation(len(segment.test_index))[:samples])
        kept = replace(segment, test_index=segment.test_index[rows], test_labels=segment.test_labels[rows])
        thinned.append(kept)
    return thinned


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


def run_cell(
    cell: Cell, data_dir: str | Path | None = None, allow_subset: bool = False, checkpoint: Path | None = None
) -> Outcome:
    """Train and evaluate one cell in this process.

    The global generators of torch, NumPy and Python are seeded for the optimizer alone: stream, order and initial
    weights have generators of their own. Torch is held to one thread from here on. Inside ``tamcl.logs.logged`` one of
    Avalanche's loggers is attached.

    Parameters
    ----------
    cell : Cell
    data_dir : path, optional
        Where the data set's files are.
    allow_subset : bool
        Whether fewer images than were published will do.
    checkpoint : Path, optional
        File that the run goes on from, if it was killed there, and in which it notes after an experience how far it
        is, as ``tamcl.checkpoint`` says. It is left to the caller to remove. A run that is logged starts anew, since
        its log would begin in the middle.

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

    from tamcl.checkpoint import Checkpoint
    from tamcl.collectors import Diverged
    from tamcl.streams.benchmark import build_benchmark

    torch.set_num_threads(1)  # more would change the last bits, and lose time on small models
    started = time.perf_counter()
    stream, tests = cell.scenario.stream, cell.scenario.evaluation
    data = load_data(stream.dataset, data_root(data_dir), allow_subset)
    segments = plan(cell.scenario, data, cell.seed)
    order = (derive_seed(cell.seed, "order"), stream.batch_size, stream.epochs)
    digest = fingerprint(
        segments, data.checksum, *order, normalization=stream.normalization, augmentation=stream.augmentation
    )
    benchmark = build_benchmark(data, segments, stream.normalization)
    status, error = "ok", ""
    with ExitStack() as opened:
        log = present()
        reports = opened.enter_context(_evaluator(log, cell)) if log else None
        kept = Checkpoint(None if log else checkpoint, _mark(cell, digest), benchmark)
        run = kept.load() or _begin(cell, data, segments, benchmark.test_stream, reports)
        started -= run.wall_s
        try:
            for position in range(run.position, len(segments)):
                before = time.perf_counter()
                if position >= 0:
                    run.strategy.train(benchmark.train_stream[position], eval_streams=[])
                trained = time.perf_counter()
                if tested := tests.tested(position, len(segments)):
                    run.strategy.eval(benchmark.test_stream, only=tested)
                run.training_s += trained - before
                run.testing_s += time.perf_counter() - trained
                run.position, run.wall_s = position + 1, time.perf_counter() - started
                kept.save(run)
        except Diverged as diverged:
            status, error = "diverged", str(diverged)
    aside, within = run.seconds("diagnostics"), run.seconds("continual")
    row = run_row(
        cell,
        status=status,
        error=error,
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


def _begin(cell: Cell, data: DataSet, segments: list[Segment], tests: Any, reports: Any) -> _Training:
    """Build the strategy and what collects the rows."""
    from tamcl.collectors import ContinualCollector, EvaluationCollector, OnlineCollector

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
    return _Training(_build(cell, data, segments, [*chain(*collectors.values())], reports), collectors)


def _evaluator(log: Log, cell: Cell) -> AbstractContextManager[Any]:
    from tamcl.loggers import evaluator

    return evaluator(log, cell.id, cell.config, cell.scenario.stream.target)


def _build(cell: Cell, data: DataSet, segments: list[Segment], plugins: list[Any], evaluator: Any = None) -> Any:
    scenario = cell.scenario
    _seed_global_generators(derive_seed(cell.seed, "optimizer"))
    model = build_model(scenario, data, segments, cell.seed)
    return build_strategy(scenario, cell.arm, cell.lr, model, cell.seed, plugins, evaluator)


def build_strategy(
    scenario: Scenario, arm: str, lr: float, model: Any, seed: int, plugins: Sequence[Any] = (), evaluator: Any = None
) -> Any:
    """Build the strategy around a model, with an arm's optimizer.

    Raises
    ------
    InputError
        If the strategy or the optimizer refuses its arguments.
    """
    import torch

    from tamcl.strategies import STRATEGIES

    stream, config = scenario.stream, scenario.strategy
    try:
        return lookup(STRATEGIES, config.name)(
            model=model,
            make_optimizer=partial(build_optimizer, scenario, arm, lr),
            optimizer_state=config.optimizer_state,
            batch_size=stream.batch_size,
            epochs=stream.epochs,
            seed=seed,
            plugins=plugins,
            device="cuda" if torch.cuda.is_available() else "cpu",
            target=stream.target,
            restart=stream.oracle == "restart",
            augmentation=stream.augmentation,
            evaluator=evaluator,
            **config.options,
        )
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError(f"strategy: {config.name} refuses {config.options}: {error}") from error


def build_model(scenario: Scenario, data: DataSet, segments: list[Segment], seed: int) -> Any:
    """Build the model with its initial weights.

    Raises
    ------
    InputError
        If the model refuses its arguments.
    """
    from tamcl.models.classifier import build_classifier

    config = scenario.model
    tasks = {segment.task: segment.classes for segment in segments}
    shape = data.train_x.shape[1:]
    try:
        return build_classifier(
            config.name, config.head, config.options, shape=shape, classes=data.classes, tasks=tasks, seed=seed
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"model: {config.name} refuses {config.options}: {error}") from error


def build_optimizer(scenario: Scenario, arm: str, lr: float, parameters: Any) -> Any:
    """Build an arm's optimizer.

    Raises
    ------
    InputError
        If the class is no torch optimizer or refuses its arguments.
    """
    config = scenario.arms[arm]
    return make_optimizer(config.optimizer, parameters, {"lr": lr} | config.options, where=f"arms.{arm}")


def make_optimizer(name: str, parameters: Any, options: dict[str, Any], where: str) -> Any:
    """Build an optimizer from its name; an ``InputError`` says where the name stood.

    Raises
    ------
    InputError
        If the class is no torch optimizer or refuses its arguments.
    """
    import torch

    make: Any = lookup(OPTIMIZERS, name)
    if not (isinstance(make, type) and issubclass(make, torch.optim.Optimizer)):
        raise InputError(f"{where}: '{name}' is no torch.optim.Optimizer")
    try:
        return make(parameters, **options)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # somebody's optimizer may raise anything, and leave Python
        why = " ".join(str(error).split()) if isinstance(error, Exception) else said(error)
        raise InputError(f"{where}: {name} refuses {options}: {why or type(error).__name__}") from error


def build_diagnostics(scenario: Scenario) -> list[Any]:
    """Build the plugin that measures a scenario's diagnostics; none if it asks for none.

    Raises
    ------
    InputError
        If a class is no diagnostic or refuses its options.
    """
    if scenario.diagnostics is None:
        return []
    from tamcl.diagnostics import DiagnosticsCollector

    return [DiagnosticsCollector(**dict(scenario.diagnostics))]


def _seed_global_generators(seed: int) -> None:
    """Seed what an optimizer may draw from; only checkpoints touch global generators beside this."""
    import torch

    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - for optimizers that draw from NumPy's global generator
    random.seed(seed)


def run_row(cell: Cell, **values: Any) -> pd.DataFrame:
    """Return a cell's row of the ``runs`` table; what is not given is empty."""
    row = {
        **cell.key,
        "phase": cell.phase,
        "status": "failed",
        "error": "",
        "optimizer_state": cell.scenario.strategy.optimizer_state,
        "config": json.dumps(cell.config),
        "fingerprint": "",
        "data": "{}",
        "versions": json.dumps(versions()),
        "wall_s": float("nan"),
        "ms_per_step": float("nan"),
        "evaluation_s": float("nan"),
    }
    return pd.DataFrame([row | values])


@cache
def versions() -> dict[str, str]:
    """Return the versions of everything that decides a number."""
    names = ["tamcl", "torch", "torchvision", "avalanche-lib", "numpy", "scipy", "pandas", "scikit-learn"]
    return {"python": sys.version.split()[0], **{name: version(name) for name in names}}


def failed(cell: Cell, error: BaseException) -> Outcome:
    """Return the tables of a cell that raised an exception or whose process died."""
    return Outcome(**{name: empty(name) for name in OF_CELLS} | {"runs": run_row(cell, error=said(error))})


CHECKPOINT = "checkpoint"
"""Name of a run's checkpoint in its folder, until the tables take its place; that of a run which is asked for no more
stays, as its tables would."""


def write_cell(directory: Path, cell: Cell, outcome: Outcome, *, keep_checkpoint: bool = False) -> None:
    """Write a cell's tables to ``directory/<id>``, all or nothing, in place of what is there."""
    temporary, final = directory / f".{cell.id}.{os.getpid()}", directory / cell.id
    for name, table in outcome.tables.items():
        write_table(temporary, name, table)
    if keep_checkpoint:
        with suppress(FileNotFoundError):
            (final / CHECKPOINT).rename(temporary / CHECKPOINT)
    shutil.rmtree(final, ignore_errors=True)
    temporary.rename(final)
