"""The parts of a cell, each built from its description in the scenario."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from tamcl.data import DATASETS, DataSet, Source
from tamcl.data.checked import CheckedSource
from tamcl.data.function import FunctionSource
from tamcl.data.torchvision_sets import from_torchvision
from tamcl.errors import InputError, reason, said, shown
from tamcl.interventions import INTERVENTIONS
from tamcl.optim import OPTIMIZERS
from tamcl.registry import Table, lookup
from tamcl.scenario.grids import covering
from tamcl.scenario.schema import Scenario
from tamcl.scenario.stacking import is_stacked
from tamcl.seeding import derive_seed, seed_global_generators
from tamcl.streams.base import Segment, Stream
from tamcl.streams.checked import check_segments
from tamcl.training.cell import Cell
from tamcl.training.groups import Known, known_parameters, make_grouped, needs_names, split, with_names
from tamcl.training.offline import offline
from tamcl.training.resources import Resources
from tamcl.trial import Trial


def load_data(name: str, resources: Resources) -> DataSet:
    """Load a data set once a process."""
    return _load(name, resources.root, resources.allow_subset)


@cache
def _load(name: str, root: Path, allow_subset: bool) -> DataSet:
    return find_source(name).load(root, allow_subset=allow_subset)


def find_source(name: str) -> Source:
    """Return what a data set comes from, or raise an ``InputError`` if it is none."""
    if name.startswith(("torchvision:", "torchvision.datasets:")):
        of_torchvision = name.partition(":")[2]
        return CheckedSource(name, lambda: FunctionSource(lambda root: from_torchvision(of_torchvision, root), name))
    cls = lookup(DATASETS, name)
    try:
        source: Source = cls() if isinstance(cls, type) else FunctionSource(cls, name)
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
    if data.is_text != (stream.target == "token"):
        has, needs = ("text", "images") if data.is_text else ("images", "text")
        raise InputError(f"stream.dataset = '{stream.dataset}': has {has}, the stream '{stream.name}' needs {needs}")
    if stream.target == "class" and data.classes < 2:
        raise InputError(f"stream.dataset = '{stream.dataset}': has 1 class, a stream of classes needs at least 2")
    try:
        segments = stream.segments(data.train_y, data.test_y, data.classes, seed)
    except InputError:
        raise
    except Exception as error:  # somebody's stream may raise anything
        raise InputError(f"stream: {shown(stream.name)} makes no experiences: {reason(error)}") from error
    check_segments(stream, segments, data)
    if data.is_numeric:
        _check_numeric(stream, segments)
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


def _check_numeric(stream: Stream, segments: Sequence[Segment]) -> None:
    """Refuse what is done to bytes of images where inputs are numbers of any range, or columns of a table."""
    has = f"stream.dataset = '{stream.dataset}': has numbers that are no bytes, and"
    if any(segment.transform is not None for segment in segments):
        raise InputError(f"{has} the stream '{stream.name}' changes pixels from 0 to 255")
    if stream.normalization == "signed":
        raise InputError(f"{has} stream.normalization = 'signed' is for pixels from 0 to 255; 'none' leaves them as is")
    if stream.augmentation != "none":
        raise InputError(f"{has} stream.augmentation = '{stream.augmentation}' is for pixels from 0 to 255")


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
        Numbers of images, or tokens, of the data set.

    Raises
    ------
    InputError
        If there are too many experiences for it, or too many rows of a table, with what would make fewer.
    """
    stream, tests = scenario.stream, scenario.evaluation
    experiences, images = stream.experiences, stream.most(train)
    if (size := 16 * experiences * (images + test)) > MOST_BYTES:  # an index and a label of each image, 8 bytes each
        raise InputError(
            f"stream.experiences = {experiences}: order and labels of {images} + {test} images in each take "
            f"{size / 1e9:.3g} GB, and at most {MOST_BYTES / 1e9:.3g} are taken; ask for fewer"
        )
    steps = experiences * stream.epochs * stream.batches(images)
    at_once = {"all": experiences, "seen": (experiences + 1) // 2, "current": 1}[tests.on]
    inside = at_once * tests.tests_inside(steps, experiences * stream.epochs)
    for key, value, rows, cure in [
        ("on", tests.on, experiences * at_once, "'seen' makes half as many as 'all', and 'current' the fewest"),
        ("batches", tests.batches, steps // tests.batches, "more mini-batches a row make fewer"),
        ("every", tests.every, inside, "a larger number makes fewer"),
    ]:
        if rows > MOST_ROWS:
            why = f"a run makes {rows:.3g} rows, and at most {MOST_ROWS:.3g} are kept"
            raise InputError(f"evaluation.{key} = {value!r}: {why}; {cure}")


def build(cell: Cell, data: DataSet, segments: list[Segment], plugins: list[Any], evaluator: Any, device: str) -> Any:
    """Build a cell's strategy, with its model and optimizer. The global generators are seeded for the optimizer."""
    scenario = cell.scenario
    seed_global_generators(derive_seed(cell.seed, "optimizer"))
    model = build_model(scenario, data, segments, cell.seed)
    return build_strategy(scenario, cell.arm, cell.trial, model, cell.seed, plugins, evaluator, device)


def build_strategy(
    scenario: Scenario,
    arm: str,
    trial: Trial,
    model: Any,
    seed: int,
    plugins: Sequence[Any] = (),
    evaluator: Any = None,
    device: str = "cpu",
) -> Any:
    """Build the strategy around a model, with an arm's optimizer.

    Raises
    ------
    InputError
        If the strategy or the optimizer is no class of its kind or refuses its arguments.
    """
    from tamcl.strategies import STRATEGIES, TrainingSettings

    stream, config = scenario.stream, scenario.strategy
    settings = TrainingSettings(
        optimizer_state=scenario.optimizer_state(arm),
        interventions=build_interventions(scenario, arm),
        schedule=config.schedule,
        clip=config.clip,
        batch_size=stream.batch_size,
        epochs=stream.epochs,
        drop_last=stream.drop_last,
        seed=seed,
        device=device,
        target=stream.target,
        restart=stream.oracle == "restart",
        augmentation=stream.augmentation,
        plugins=[*plugins, *build_plugins(scenario)],
        evaluator=evaluator,
    )
    make = partial(build_optimizer, scenario, arm, trial, known=known_parameters(model))
    try:
        return lookup(STRATEGIES, config.name)(model=model, make_optimizer=make, settings=settings, **config.options)
    except InputError:
        raise
    except Exception as error:  # somebody's strategy may raise anything
        raise InputError(f"strategy: {_refusal(config.name, config.options)}: {reason(error)}") from error


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
    sizes: dict[str, Any] = {"shape": _shape(data, segments), "classes": data.outputs, "is_text": data.is_text}
    try:
        with offline():
            return build_classifier(
                config.name,
                config.head,
                config.options,
                **sizes,
                tasks=tasks,
                seed=seed,
                normalize_inputs=config.normalize_inputs,
            )
    except InputError:
        raise
    except Exception as error:  # somebody's model may raise anything, and torch where memory is short
        raise InputError(f"model: {_refusal(config.name, config.options)}: {reason(error)}") from error


def check_model(scenario: Scenario, data: DataSet, segments: list[Segment], model: Any) -> None:
    """Try a model as ``build_model`` returned it, which must not be trained afterwards.

    Raises
    ------
    InputError
        If it cannot be passed an image, or makes parameters then, which no optimizer would train.
    """
    from tamcl.models.classifier import check_classifier

    name, shape = scenario.model.name, _shape(data, segments)
    tasks = {segment.task: segment.classes for segment in segments}
    try:
        with offline():
            check_classifier(model, shape=shape, tasks=tasks, is_text=data.is_text)
    except InputError as error:
        raise InputError(f"model: {name}: {error}") from error
    except Exception as error:  # somebody's model may raise anything
        what = f"{shape[0]} tokens" if data.is_text else f"an image of shape {shape}"
        raise InputError(f"model: {name} cannot be passed {what}: {reason(error)}") from error


def _shape(data: DataSet, segments: Sequence[Segment]) -> tuple[int, ...]:
    """Return the shape of an input."""
    return (segments[0].context,) if data.is_text else data.train_x.shape[1:]


TRIED = 2
"""Images of the mini-batch that an arm is tried on: normalisation over a mini-batch needs more than one."""


def check_step(scenario: Scenario, arm: str, data: DataSet, segments: list[Segment], device: str = "cpu") -> None:
    """Let an arm make two steps on a few images of the first experience, as a run does, and forget it.

    It makes them with every value of its options, each at the least learning rate, at which it hardly diverges. Where
    mini-batches that are not full are left out, they are full. That they move no weight is said, and no error: some
    optimizers move them at every few steps alone. Adam+CM's first step moves none, and its second does.

    Raises
    ------
    InputError
        If it raises anything: model, loss, gradients or optimizer do not go together.
    """
    from tamcl.streams.benchmark import build_benchmark

    first, stream = segments[0], scenario.stream
    count = stream.batch_size if stream.drop_last else min(TRIED, stream.batch_size)
    few = replace(first, train_index=first.train_index[:count], train_labels=first.train_labels[:count])
    config = scenario.arms[arm]
    for values in covering(config.grids):
        trial = Trial.of(min(config.lr), values)
        seed_global_generators(derive_seed(0, "optimizer"))
        model = build_model(scenario, data, segments, seed=0)
        strategy = build_strategy(scenario, arm, trial, model, seed=0, device=device)
        strategy.train_epochs = 2
        benchmark = build_benchmark(data, [few, *segments[1:]], stream.normalization)
        before = {name: weights.detach().clone() for name, weights in model.named_parameters()}
        steps = f"its first steps with {trial.options}" if trial.options else "its first steps"
        try:
            strategy.train(benchmark.train_stream[0], eval_streams=[])
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # somebody's code may raise anything, and leave Python
            raise InputError(f"arms.{arm}: {steps} fail: {said(error)}") from error
        if all(weights.equal(before[name]) for name, weights in model.named_parameters() if name in before):
            clip = f"strategy.clip = {scenario.strategy.clip:g}, " if scenario.strategy.clip else ""
            cure = f"is it meant so? See {clip}the learning rate and the options of {config.optimizer}"
            print(f"tamcl: arms.{arm}: {steps} move no weight; {cure}", file=sys.stderr)


def _refusal(name: str, options: Mapping[str, Any]) -> str:
    """Say what cannot be made: of what has no options none are to blame."""
    return f"{name} refuses {shown(options)}" if options else name


FUSED = frozenset({"sgd", "adam", "adamw", "adagrad"})
"""torch's optimizers that can step in one kernel, and do so in a stack, where starting kernels is most of a step."""

IMPLEMENTATIONS = frozenset({"fused", "foreach", "capturable", "differentiable"})
"""Options by which a scenario chooses how torch's optimizers compute."""


def build_optimizer(scenario: Scenario, arm: str, trial: Trial, parameters: Any, known: Sequence[Known] = ()) -> Any:
    """Build an arm's optimizer with the learning rate and the options of a trial.

    Parameters
    ----------
    scenario : Scenario
    arm : str
    trial : Trial
    parameters : iterable of Tensor
    known : sequence of Known
        What the model says about them, for optimizers that want names and for groups.

    Raises
    ------
    InputError
        If the class is no torch optimizer or refuses its arguments, or a group has no parameters.
    """
    config, where = scenario.arms[arm], f"arms.{arm}"
    options = {"lr": trial.lr} | config.options | trial.arguments
    chosen = {}
    if is_stacked(scenario, arm) and config.optimizer in FUSED and not IMPLEMENTATIONS & options.keys():
        # torch's SGD cannot begin the momentum of some parameters later than that of others
        chosen["fused"] = config.optimizer != "sgd" or scenario.model.head != "multi"

    def make(parameters: Any, more: dict[str, Any], where: str) -> Any:
        return make_optimizer(config.optimizer, parameters, options | more, where, **chosen)

    is_named = needs_names(config, trial)
    if is_named or config.groups:
        pairs = with_names(parameters, known, where)
        parameters = pairs if is_named else [param for _, param in pairs]
    if not config.groups:
        return make(parameters, {}, where)
    parts = [[parameters[place] for place in part] for part in split(config.groups, known, where)]
    return make_grouped(make, config, trial.lr, parts, where)


def make_optimizer(name: str, parameters: Any, options: dict[str, Any], where: str, **chosen: Any) -> Any:
    """Build an optimizer from its name; an ``InputError`` says where the name stood.

    What was ``chosen`` for it, and not given by anybody, no message shows.

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
        return make(parameters, **(chosen | options))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # somebody's optimizer may raise anything, and leave Python
        why = reason(error) if isinstance(error, Exception) else said(error)
        raise InputError(f"{where}: {_refusal(name, options)}: {why}") from error


PLUGINS = Table("plugin", {}, kind="tamcl.avalanche:SupervisedPlugin")
"""Avalanche plugins; all of them are of somebody's own."""


def build_plugins(scenario: Scenario) -> list[Any]:
    """Build the plugins of a scenario, anew for every run.

    Raises
    ------
    InputError
        If a class is no plugin of Avalanche or cannot be made without arguments.
    """
    made = []
    for name in scenario.strategy.plugins or ():
        cls = lookup(PLUGINS, name)
        try:
            made.append(cls())
        except Exception as error:  # somebody's class may raise anything
            raise InputError(f"strategy.plugins: {name} cannot be made: {reason(error)}") from error
    return made


def build_interventions(scenario: Scenario, arm: str) -> tuple[Any, ...]:
    """Build an arm's interventions.

    Raises
    ------
    InputError
        If a class is no intervention or refuses its options.
    """
    made = []
    for config in scenario.interventions_of(arm):
        cls = lookup(INTERVENTIONS, config.name)
        try:
            made.append(cls(**config.options))
        except InputError as error:
            raise InputError(f"interventions: {config.name}: {error}") from error
        except Exception as error:  # somebody's class may raise anything
            raise InputError(f"interventions: {_refusal(config.name, config.options)}: {reason(error)}") from error
    return tuple(made)


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
