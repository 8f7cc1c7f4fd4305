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
from dataclasses import InitVar, dataclass, field, replace
from functools import cache, partial
from hashlib import blake2b
from importlib.metadata import version
from itertools import chain
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tamcl import __version__
from tamcl.config import Scenario
from tamcl.data import DATASETS, DataSet, Source, data_root
from tamcl.data.checked import CheckedSource
from tamcl.errors import InputError, reason, said, shown
from tamcl.logs import Log, present
from tamcl.offline import offline
from tamcl.optim import OPTIMIZERS
from tamcl.own_code import RECORDED, Code, check_code, module_of, own_code
from tamcl.registry import lookup
from tamcl.results import OF_CELLS, empty, write_tables
from tamcl.seeding import derive_seed
from tamcl.streams.base import Segment, fingerprint
from tamcl.streams.checked import check_segments


@dataclass(frozen=True)
class Cell:
    """One training run: scenario x arm x learning rate x seed."""

    scenario: Scenario
    arm: str
    lr: float
    seed: int
    phase: str
    """``tune`` or ``report``."""
    code: Code = field(init=False)
    """Digests of somebody's own code behind the run, as ``code_of`` returns them, which is called if none are given. A
    study takes them once, and they go with its cells to the processes that train them."""
    known: InitVar[Code | None] = None

    def __post_init__(self, known: Code | None) -> None:
        code = code_of(self.scenario, self.arm, self.phase) if known is None else known
        object.__setattr__(self, "code", code)

    @property
    def key(self) -> dict[str, Any]:
        """The coordinates that stand in every row."""
        return {"scenario": self.scenario.name, "arm": self.arm, "lr": self.lr, "seed": self.seed}

    @property
    def config(self) -> dict[str, Any]:
        """Everything that decides the result, the text of somebody's own code included; only the data are not.

        The digest of the module that an optimizer is in is its ``source``, those of other modules are the ``code``.
        """
        scenario = self.scenario.dump()
        parts = {part: scenario[part] for part in ("stream", "model", "strategy", "evaluation")}
        arm = self.scenario.arms[self.arm]
        optimizer, code = {"name": arm.optimizer, "lr": self.lr, **arm.options}, dict(self.code)
        if arm.optimizer not in OPTIMIZERS:
            optimizer["source"] = code.pop(module_of(arm.optimizer) or "", "")
        own = {"code": code} if code else {}
        return parts | {"optimizer": optimizer, "seed": self.seed, "tamcl": __version__} | own

    @property
    def id(self) -> str:
        """Folder name: readable, and another one if anything that decides the result is different.

        File systems may ignore case, so the label counts where the scenario has another that differs in case alone.
        """
        same = sum(arm.lower() == self.arm.lower() for arm in self.scenario.arms)
        decides = self.config | ({"arm": self.arm} if same > 1 else {})
        digest = blake2b(json.dumps(decides, sort_keys=True).encode(), digest_size=4).hexdigest()
        return f"{self.prefix}{digest}"

    @property
    def prefix(self) -> str:
        """What the folder's name has before the digest."""
        return f"{self.arm}-lr{self.lr:g}-seed{self.seed}-"


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


def code_of(scenario: Scenario, arm: str, phase: str) -> Code:
    """Return the digests of somebody's own code behind an arm's runs, as its files are now.

    Diagnostics decide no result, but the table of the reported runs that is theirs.
    """
    parts: list[Any] = [scenario.stream, scenario.model, scenario.strategy, scenario.arms[arm]]
    if phase == "report" and scenario.diagnostics is not None:
        parts.append(scenario.diagnostics)
    return own_code([part.model_dump(mode="json", serialize_as_any=True) for part in parts])


def code_in(config: dict[str, Any]) -> Code:
    """Take the digests of somebody's own code out of what ``Cell.config`` gave, and return them."""
    code, optimizer = dict(config.pop("code", {})), config.get("optimizer", {})
    if "source" in optimizer and (module := module_of(optimizer["name"])):
        code[module] = optimizer.pop("source")
    return code


@cache
def load_data(name: str, root: Path, allow_subset: bool = False) -> DataSet:
    """Load a data set once a process."""
    return find_source(name).load(root, allow_subset=allow_subset)


def find_source(name: str) -> Source:
    """Return what a data set comes from, or raise an ``InputError`` if it is none."""
    cls = lookup(DATASETS, name)
    try:
        source: Source = cls()
    except Exception as error:  # somebody's class may raise anything
        raise InputError(f"data set {shown(name)}: cannot be made: {reason(error)}") from error
    return source if name in DATASETS else CheckedSource(name, lambda: source)


def plan(scenario: Scenario, data: DataSet, seed: int) -> list[Segment]:
    """Return the experiences of a run, with the test sets thinned as the scenario says.

    Raises
    ------
    InputError
        If the stream does not fit the data, a run would make more than memory holds, or an experience has no training
        or no test images.
    """
    check_size(scenario, *data.counts)
    stream = scenario.stream
    if stream.target == "class" and data.classes < 2:
        raise InputError(f"stream.dataset = '{stream.dataset}': has 1 class, a stream of classes needs at least 2")
    try:
        segments = stream.segments(data.train_y, data.test_y, data.classes, seed)
    except InputError:
        raise
    except Exception as error:  # somebody's stream may raise anything
        raise InputError(f"stream: {shown(stream.name)} makes no experiences: {reason(error)}") from error
    check_segments(stream, segments, data)
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


MOST_ROWS = 20_000_000
"""Of a run's table; they take 1 to 2 GB of memory, and some studies hold those of all runs together."""

MOST_BYTES = 8 * 2**30
"""Of the order and the labels of all experiences of a run, which are made before it starts."""


def check_size(scenario: Scenario, train: int, test: int) -> None:
    """Check that a run can be planned and its tables be held, before anything of it is made.

    Parameters
    ----------
    scenario : Scenario
    train, test : int
        Numbers of images of the data set.

    Raises
    ------
    InputError
        If there are too many experiences for it, or too many rows of a table, with what would make fewer.
    """
    stream, tests = scenario.stream, scenario.evaluation
    experiences, images = stream.experiences, train if stream.samples is None else stream.samples
    if (size := 16 * experiences * (images + test)) > MOST_BYTES:  # an index and a label of each image, 8 bytes each
        raise InputError(
            f"stream.experiences = {experiences}: order and labels of {images} + {test} images in each take "
            f"{size / 1e9:.3g} GB, and at most {MOST_BYTES / 1e9:.3g} are taken; ask for fewer"
        )
    steps = experiences * stream.epochs * ceil(images / stream.batch_size)
    at_once = {"all": experiences, "seen": (experiences + 1) // 2, "current": 1}[tests.on]
    inside = steps // tests.every * at_once if tests.every else 0
    for key, value, rows, cure in [
        ("on", tests.on, experiences * at_once, "'seen' makes half as many as 'all', and 'current' the fewest"),
        ("batches", tests.batches, steps // tests.batches, "more mini-batches a row make fewer"),
        ("every", tests.every, inside, "a larger number makes fewer"),
    ]:
        if rows > MOST_ROWS:
            why = f"a run makes {rows:.3g} rows, and at most {MOST_ROWS:.3g} are kept"
            raise InputError(f"evaluation.{key} = {value!r}: {why}; {cure}")


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

    check_code(cell.code)
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
        check_code(cell.code)
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
    check_code(cell.code)  # what was imported as late as in training
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
        If the strategy or the optimizer is no class of its kind or refuses its arguments.
    """
    import torch

    from tamcl.strategies import STRATEGIES, TrainingSettings

    stream, config = scenario.stream, scenario.strategy
    settings = TrainingSettings(
        optimizer_state=config.optimizer_state,
        batch_size=stream.batch_size,
        epochs=stream.epochs,
        seed=seed,
        device="cuda" if torch.cuda.is_available() else "cpu",
        target=stream.target,
        restart=stream.oracle == "restart",
        augmentation=stream.augmentation,
        plugins=plugins,
        evaluator=evaluator,
    )
    make = partial(build_optimizer, scenario, arm, lr)
    try:
        return lookup(STRATEGIES, config.name)(model=model, make_optimizer=make, settings=settings, **config.options)
    except InputError:
        raise
    except Exception as error:  # somebody's strategy may raise anything
        raise InputError(f"strategy: {config.name} refuses {shown(config.options)}: {reason(error)}") from error


def build_model(scenario: Scenario, data: DataSet, segments: list[Segment], seed: int) -> Any:
    """Build the model with its initial weights.

    Raises
    ------
    InputError
        If body or head is no module, refuses its arguments, takes more memory than there is, or wants to download.
    """
    from tamcl.models.classifier import build_classifier

    config = scenario.model
    tasks = {segment.task: segment.classes for segment in segments}
    shape = data.train_x.shape[1:]
    try:
        with offline():
            return build_classifier(
                config.name, config.head, config.options, shape=shape, classes=data.classes, tasks=tasks, seed=seed
            )
    except InputError:
        raise
    except Exception as error:  # somebody's model may raise anything, and torch where memory is short
        raise InputError(f"model: {config.name} refuses {shown(config.options)}: {reason(error)}") from error


def check_model(scenario: Scenario, data: DataSet, segments: list[Segment], model: Any) -> None:
    """Try a model as ``build_model`` returned it, which must not be trained afterwards.

    Raises
    ------
    InputError
        If it cannot be passed an image, or makes parameters then, which no optimizer would train.
    """
    from tamcl.models.classifier import check_classifier

    name, shape = scenario.model.name, data.train_x.shape[1:]
    try:
        with offline():
            check_classifier(model, shape=shape, tasks={segment.task: segment.classes for segment in segments})
    except InputError as error:
        raise InputError(f"model: {name}: {error}") from error
    except Exception as error:  # somebody's model may raise anything
        raise InputError(f"model: {name} cannot be passed an image of shape {shape}: {reason(error)}") from error


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
    try:
        make = lookup(OPTIMIZERS, name)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    try:
        return make(parameters, **options)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # somebody's optimizer may raise anything, and leave Python
        why = reason(error) if isinstance(error, Exception) else said(error)
        raise InputError(f"{where}: {name} refuses {shown(options)}: {why}") from error


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
    return {"python": sys.version.split()[0], **{name: version(name) for name in RECORDED}}


def failed(cell: Cell, error: BaseException) -> Outcome:
    """Return the tables of a cell that raised an exception or whose process died."""
    return Outcome(**{name: empty(name) for name in OF_CELLS} | {"runs": run_row(cell, error=said(error))})


CHECKPOINT = "checkpoint"
"""Name of a run's checkpoint in its folder, until the tables take its place; that of a run which is asked for no more
stays, as its tables would."""


def write_cell(directory: Path, cell: Cell, outcome: Outcome, *, keep_checkpoint: bool = False) -> None:
    """Write a cell's tables to ``directory/<id>``, all or nothing, in place of what is there."""
    temporary, final = directory / f".{cell.id}.{os.getpid()}", directory / cell.id
    _remove(temporary)  # of a killed process that had this number
    try:
        write_tables(temporary, outcome.tables, of=cell.id)
        if keep_checkpoint:
            with suppress(FileNotFoundError, NotADirectoryError):
                (final / CHECKPOINT).rename(temporary / CHECKPOINT)
        _remove(final)
        temporary.rename(final)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(final)) from error
    finally:
        _remove(temporary)


def _remove(path: Path) -> None:
    """Remove a folder, or whatever has its name; no link is followed."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)
