"""What a scenario file may hold: strict, frozen, checked before anything heavy is imported."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from math import ceil, prod
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    TypeAdapter,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from tamcl.arguments import texts
from tamcl.data import DATASETS
from tamcl.diagnostics import DIAGNOSTICS
from tamcl.errors import InputError, shown, unknown_name
from tamcl.interventions import INTERVENTIONS
from tamcl.metrics import METRICS, Metric, find
from tamcl.metrics.own import use
from tamcl.models import CLASSES, HEADS, MODELS, SHAPES
from tamcl.optim import OPTIMIZERS
from tamcl.registry import Table, signature
from tamcl.scenario.grids import check_grids, combined, covering, flat, grids
from tamcl.scenario.groups import Group
from tamcl.scenario.plain import unfit_as_file
from tamcl.strategies import STRATEGIES
from tamcl.strategies.schedule import Schedule
from tamcl.strategies.settings import OptimizerState
from tamcl.streams import Stream
from tamcl.streams.base import Count
from tamcl.streams.fields import unfit
from tamcl.trial import Trial
from tamcl.user_code import module_of

MOST_SEEDS = 1000
"""Reported seeds are 0, 1, ...; tuning seeds are 1000, 1001, ..., so that none is both."""

MOST_TRIALS = 1000
"""Learning rates of an arm's grid, or combinations of them with values of options, as many as a search may try."""

EXTENSIONS = 3
"""Learning rates that ``--extend`` may add to every arm."""

Seeds = Annotated[int, Field(strict=True, ge=1, le=MOST_SEEDS)]
LearningRate = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Named(BaseModel):
    """What has a name and arguments; the name alone will do where there are none: ``"lenet"``."""

    model_config = ConfigDict(extra="allow", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class Model(_Named):
    """The model: a body's name with its arguments, a head, and what becomes of inputs."""

    name: str
    head: str = "single"
    normalize_inputs: Annotated[float, Field(strict=True, gt=0, lt=1, allow_inf_nan=False)] | None = None
    """Whether every number of an image is normalised by its running mean and deviation over the images trained on so
    far, and by how much less an image counts than the next one: 0.999 is usual. Not if absent."""

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of the body."""
        return dict(self.model_extra or {})

    @model_validator(mode="after")
    def _known(self) -> Self:
        _check_name(HEADS, self.head, "head")
        _check_name(MODELS, self.name, "name")
        _check_options(MODELS.path(self.name), self.options, given={*SHAPES, "tokens"}, filled={*CLASSES})
        return self

    def check_input(self, is_text: bool) -> None:
        """Refuse a model of images for text, or one of text, which takes ``tokens``, for images."""
        parameters = signature(MODELS.path(self.name)).parameters
        if parameters is not None and ("tokens" in parameters) != is_text:
            of, is_there = ("images", "text") if is_text else ("text", "images")
            raise unfit("model.name", f"'{self.name}' is a model of {of}, and the stream has {is_there}")


class Intervention(_Named):
    """An intervention: its name with its arguments."""

    name: str

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of the intervention."""
        return dict(self.model_extra or {})

    @model_validator(mode="after")
    def _known(self) -> Self:
        _check_name(INTERVENTIONS, self.name, "name")
        _check_options(INTERVENTIONS.path(self.name), self.options, given=set())
        return self


def _once_each(values: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    """Refuse what is named twice: a text, or an intervention under one name or another."""
    found: set[str] = set()
    for value in values or ():
        name = INTERVENTIONS.path(value.name) if isinstance(value, Intervention) else value
        if name in found:
            raise unfit("", f"names {shown(getattr(value, 'name', value))} twice")
        found.add(name)
    return values


Interventions = Annotated[tuple[Intervention, ...], AfterValidator(_once_each)]


def _some(groups: tuple[Group, ...] | None) -> tuple[Group, ...] | None:
    """Return groups, or nothing where none are named: one is the same scenario as the other."""
    return groups or None


class Arm(BaseModel):
    """An optimizer with its arguments and the learning rates to choose from.

    An option whose value is a list has several to choose from, too, which are tuned together with the learning rate: a
    *trial* is one combination of all. A list of one is that one value, as of ``lr``, and is called tuned. Where the
    optimizer's parameter is itself a sequence by its default or annotation, as ``betas``, a list is one value, and a
    list of lists has several; so it is with any option called ``betas`` of a class that does not say what it takes.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    optimizer: str
    lr: tuple[LearningRate, ...]
    null_of: str | None = None
    """The arm that this one is the null model of: the same method without what is said to make it better."""
    interventions: Interventions | None = None
    """In place of those of the scenario; an empty list is none."""
    optimizer_state: OptimizerState | None = None
    """What becomes of its optimizer at a shift; as ``strategy.optimizer_state`` says if absent."""
    groups: Annotated[tuple[Group, ...] | None, AfterValidator(_some)] = None
    """Which parameters have options of their own: each those of the first rule that matches it. One group if absent or
    an empty list."""

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of the optimizer that no trial changes; lists become tuples, as optimizers expect."""
        given, tuned = self.model_extra or {}, self.grids
        return {key: tuple(v) if isinstance(v, list) else v for key, v in given.items() if key not in tuned}

    @property
    def grids(self) -> dict[str, tuple[Any, ...]]:
        """Values to choose from of the options that are tuned together with lr."""
        return grids(self.optimizer, self.model_extra or {})

    @property
    def size(self) -> int:
        """How many trials there are."""
        return prod(map(len, (self.lr, *self.grids.values())))

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Every learning rate with every combination of the values of options."""
        return tuple(combined(self.lr, self.grids))

    @model_validator(mode="after")
    def _known(self) -> Self:
        if not self.lr:
            raise unfit("lr", "names no learning rate")
        if len(self.lr) > MOST_TRIALS:
            raise unfit("lr", f"names {len(self.lr)} learning rates, and at most {MOST_TRIALS} are tried")
        if len(set(self.lr)) < len(self.lr):
            raise unfit("lr", "names a learning rate twice")
        _check_name(OPTIMIZERS, self.optimizer, "optimizer")
        tuned = self.grids
        check_grids(tuned)
        if self.size > MOST_TRIALS:
            what = f"{self.size} combinations of lr, {', '.join(tuned)}"
            raise unfit("", f"has {what}, and at most {MOST_TRIALS} are tried")
        path = OPTIMIZERS.path(self.optimizer)
        given = {"params", "lr", *list(signature(path).parameters or ())[:1]}  # parameters come first, whatever called
        for values in covering(tuned):
            _check_options(path, self.options | values, given=given)
        for number, group in enumerate(self.groups or ()):
            for key, several in grids(self.optimizer, group.options).items():
                why = "has a list of values, and options of groups are not tuned: they have one value"
                raise unfit(f"groups.{number}.{key}", f"{why}, such as {shown(next(iter(several), 0))}")
            _check_options(path, group.options, given=given, filled={*self.options, *tuned}, at=f"groups.{number}.")
        return self


def _changing(schedule: Schedule | None) -> Schedule | None:
    """Return a schedule that changes anything: a constant one is as good as none."""
    return None if schedule is None or schedule.name == "constant" else schedule


class Strategy(_Named):
    """How an experience is trained on, with the strategy's arguments, and what becomes of the optimizer at a shift."""

    name: str = "naive"
    optimizer_state: OptimizerState = "keep"
    schedule: Annotated[Schedule | None, AfterValidator(_changing)] = None
    """How the learning rate goes on: a name, "cosine", "step" or "warmup", or a table that says more. Constant if
    absent."""
    clip: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] | None = None
    """Norm that the gradient of all parameters together is scaled down to where it is larger; none if absent."""
    plugins: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_once_each)] | None = None
    """Avalanche plugins of one's own, ``package.module:Class``, each made without arguments for every run. None if
    absent."""
    stacked: StrictBool | None = None
    """Whether runs are trained stacked: where it can be if absent, never if false. If true also with an optimizer of
    one's own, which must then keep what it knows in itself and nothing in its class or module."""
    compiled: StrictBool | None = None
    """Whether each step of stacked runs is one compiled graph, where it can be; not if absent. It needs a compiler of
    C++."""

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of the strategy that others do not have."""
        return dict(self.model_extra or {})

    @model_validator(mode="after")
    def _known(self) -> Self:
        _check_name(STRATEGIES, self.name, "name")
        for plugin in self.plugins or ():
            if module_of(plugin) is None:
                raise unfit("plugins", f"{shown(plugin)} is no package.module:Class")
        given = set(signature(STRATEGIES.path("naive")).parameters or ())
        _check_options(STRATEGIES.path(self.name), self.options, given=given)
        return self


def _count_or_epoch(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    """Check a text as one and anything else as a number, so that a mistake is one message rather than two."""
    if isinstance(value, str):
        if value != "epoch":
            raise unfit("", f"must be a whole number of updates, or 'epoch', got {shown(value)}")
        return value
    return TypeAdapter(Count).validate_python(value)


_EVERY = WrapValidator(_count_or_epoch)


class Evaluation(_Strict):
    """How much of the test sets is used."""

    samples: Count | None = None
    """Test images an experience; all there are if absent."""
    batches: Count = 1
    """Mini-batches that make a row of the online table: more than one for streams of very many. A row takes about 25
    bytes of disk, in its cell's table and in the study's. Metrics after a shift count single mini-batches, and have no
    value then."""
    on: Literal["all", "seen", "current"] = "all"
    """Experiences that the model is tested on after each experience, and what the metrics can then be: all of them, and
    before training too; those trained on so far, which leaves out nothing that is computed from the tables; or the
    current one alone and all at the end, which leaves out forgetting."""
    every: Annotated[Count | Literal["epoch"], _EVERY] | None = None
    """Updates from one test to the next inside an experience, from its first on, or "epoch" for a test after each, of
    the reported runs: continual evaluation, which sees the stability gap. None inside experiences if absent."""

    def tested(self, position: int, experiences: int) -> range:
        """Return the experiences to test after training on one; -1 is the untrained model.

        Examples
        --------
        >>> [list(Evaluation(on="seen").tested(position, 3)) for position in (-1, 0, 1, 2)]
        [[], [0], [0, 1], [0, 1, 2]]
        """
        first, last = {"all": (0, experiences), "seen": (0, position + 1), "current": (position, position + 1)}[self.on]
        return range(experiences) if position == experiences - 1 else range(max(first, 0), last)

    def tested_inside(self, position: int) -> range:
        """Return the experiences to test while one is trained: those trained on so far, or the current one alone."""
        return range(position if self.on == "current" else 0, position + 1)

    def tests_inside(self, updates: int, epochs: int) -> int:
        """Return how many tests there are inside an experience of so many updates and epochs."""
        return epochs if self.every == "epoch" else ceil(updates / self.every) if self.every else 0


class Diagnostics(_Strict):
    """What is measured of optimizer and model in the reported runs, beside accuracy; it changes no result."""

    names: tuple[str, ...]
    every: Count = 100
    """Updates from one measurement to the next, counted anew from the first update of every experience."""
    samples: Count = 500
    """Training images of the experience that losses and activations are measured on."""
    options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Arguments of diagnostics, by name."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        if not self.names:
            raise unfit("names", "names no diagnostic")
        if len(set(self.names)) < len(self.names):
            raise unfit("names", "names a diagnostic twice")
        for name in self.names:
            _check_name(DIAGNOSTICS, name, "names")
            _check_options(DIAGNOSTICS.path(name), self.options.get(name, {}), given=set())
        for name in self.options:
            if name not in self.names:
                raise unfit("options", unknown_name("diagnostic with options", name, self.names))
        return self


class Protocol(_Strict):
    """Seeds, tuning, and the comparisons that the verdict speaks about."""

    seeds: Seeds = 5
    first_seed: Annotated[int, Field(strict=True, ge=0, lt=MOST_SEEDS)] = 0
    """The first reported seed, where several machines share them: ``tamcl merge`` joins what they trained."""
    tune_seeds: Seeds = 3
    tune_by: str = "online_accuracy"
    extend: Annotated[int, Field(strict=True, ge=0, le=20)] = 0
    """Learning rates that every arm may get beyond its grid, one at a time, while some arm's best one is an end of its
    grid; where options are tuned, at the best values of these."""
    search: Literal["grid", "random", "tpe"] = "grid"
    """How learning rates are chosen to be tried: those of the grid, or ``trials`` between its ends, drawn at random or
    by a tree-structured Parzen estimator, which draws its first third at random, too (at least 2, at most 10). With
    them are drawn the options that have several values: numbers between the ends of their list, on a logarithmic scale
    where all are above 0 and the ends a factor of 10 apart or more, whole ones where all of the list are whole; of
    anything else one of the list."""
    trials: Annotated[int, Field(strict=True, ge=2, le=1000)] | None = None
    """Learning rates an arm, with values of the options that are tuned, for a search other than "grid"."""
    pairs: tuple[tuple[str, str], ...] = ()
    """Pairs of arms. Added are every method with its null models, and arms that are in no pair with the first."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.first_seed + self.seeds > MOST_SEEDS:
            raise unfit("seeds", f"{self.seeds} from {self.first_seed} on go beyond {MOST_SEEDS - 1}")
        if (self.search == "grid") != (self.trials is None):
            raise unfit("trials", "is for the searches 'random' and 'tpe', and they need it; a grid says how many")
        if self.search != "grid" and self.extend:
            raise unfit("extend", "is for search = 'grid'; a search tries what lies between the ends of the grid")
        return self


class Scenario(_Strict):
    """What is run: a stream, a model, a strategy, a protocol and arms. A scenario file holds one.

    Parameters
    ----------
    name : str
        The file's name without its ending; not written in the file.
    title : str
        The question in a few words.
    source : str
        The protocol that it follows: title, year and link, or that it is tamcl's own.
    notes : tuple of str
        What was assumed, shown in the report.
    cost : str
        Images of a run and measured time of a step.
    stream : Stream
    model : Model
    strategy : Strategy
    evaluation : Evaluation
    protocol : Protocol
    arms : dict of str to Arm
    interventions : tuple of Intervention
        Of all arms that have none of their own.
    diagnostics : Diagnostics, optional
    keep_weights : bool
        Whether reported runs leave their final weights in their folders, for ``tamcl landscape``.
    metrics : tuple of str
        Metrics of one's own, ``package.module:name``, that are measured beside those of tamcl.
    """

    name: str
    title: str
    source: str = ""
    notes: tuple[str, ...] = ()
    cost: str = ""
    stream: Stream
    model: Model
    strategy: Strategy = Field(default_factory=Strategy)
    evaluation: Evaluation = Field(default_factory=Evaluation)
    protocol: Protocol = Field(default_factory=Protocol)
    arms: Annotated[dict[str, Arm], Field(min_length=1)]
    interventions: Interventions = ()
    diagnostics: Diagnostics | None = None
    keep_weights: StrictBool = False
    metrics: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _check_name(DATASETS, self.stream.dataset, "stream.dataset")
        for name in self.metrics:
            if name in METRICS:
                raise unfit("metrics", f"'{name}' is measured in every study; name those of your own")
            _metric(name, "metrics")
        for arm in self.arms:
            if not re.fullmatch(r"\w[\w.+-]{0,63}", arm, re.ASCII):
                raise unfit(
                    "arms", f"{shown(arm)} is no label: up to 64 of a-z A-Z 0-9 _ . + - are, the first of them no . + -"
                )
            if "." in arm and (why := unfit_as_file(f"{arm}-")):  # a run's folder begins with it
                raise unfit("arms", f"{shown(arm)} is no label: {why}")
        if self.model.head in HEADS and self.model.head != "single" and not self.stream.tells_task:
            raise unfit("model.head", f"'{self.model.head}' needs a stream that tells the task, and this one does not")
        if self.model.head == "single" and self.stream.tells_task:
            raise unfit("model.head", "'single' does not use the task that this stream tells: 'masked' or 'multi' do")
        self.model.check_input(self.stream.target == "token")
        tune_by = _metric(self.protocol.tune_by, "protocol.tune_by")
        if tune_by.on in {"matrix_and_lowest", "inside"}:
            why = "is measured inside experiences, in reported runs alone"
            raise unfit("protocol.tune_by", f"'{self.protocol.tune_by}' {why}")
        if self.stream.target != "token" and tune_by.on == "text_loss":
            raise unfit("protocol.tune_by", f"'{self.protocol.tune_by}' needs text; 'online_loss' does not")
        if self.stream.target == "number" and tune_by.on != "loss":
            raise unfit("protocol.tune_by", f"'{self.protocol.tune_by}' needs classes; 'online_loss' does not")
        if self.evaluation.batches > 1 and tune_by.per_batch:
            why = f"needs evaluation.batches = 1, not {self.evaluation.batches}: it counts single mini-batches"
            raise unfit("protocol.tune_by", f"'{self.protocol.tune_by}' {why}")
        if self.strategy.plugins and self.stream.oracle == "restart":
            raise unfit("stream.oracle", "'restart' makes model and optimizer anew, and plugins would know the past")
        self._check_schedule()
        self._check_pairs()
        return self

    def _check_schedule(self) -> None:
        if self.strategy.schedule is None:
            return
        for label, arm in self.arms.items():
            if any(str(value).endswith(("schedule_free", ":ScheduleFree")) for value in flat(dict(arm).values())):
                why = f"needs a constant learning rate, since its average takes the place of a schedule ('{label}')"
                raise unfit("strategy.schedule", f"schedule_free {why}")

    def _check_pairs(self) -> None:
        for arm, config in self.arms.items():
            if config.null_of is not None and config.null_of not in self.arms:
                raise unfit(f"arms.{arm}.null_of", unknown_name("arm", config.null_of, self.arms))
        for arm in (arm for pair in self.protocol.pairs for arm in pair if arm not in self.arms):
            raise unfit("protocol.pairs", unknown_name("arm", arm, self.arms))
        seen: set[frozenset[str]] = set()
        for pair in self.protocol.pairs:
            if len(set(pair)) < 2 or frozenset(pair) in seen:
                raise unfit("protocol.pairs", f"{list(pair)} is an arm against itself, or comes twice")
            seen.add(frozenset(pair))

    def __repr__(self) -> str:
        stream, protocol = self.stream, self.protocol
        counts = {self.trials_of(arm) for arm in self.arms}
        what = "trial" if any(arm.grids for arm in self.arms.values()) else "learning rate"
        rates = f"{'/'.join(map(str, sorted(counts)))} {what}{'s' * (counts != {1})} each"
        where = f"{stream.name} on {stream.dataset}, {stream.experiences} experiences"
        return f"<Scenario {self.name}: {where}; {', '.join(self.arms)}; {rates}, {protocol.seeds} seeds>"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        from tamcl.scenario.notebook import scenario_html

        return scenario_html(self)

    def trials_of(self, arm: str) -> int:
        """Return how many trials an arm has: all that its lists make, or as many as the search draws from them."""
        size = self.arms[arm].size
        return self.protocol.trials if self.protocol.trials and size > 1 else size

    def interventions_of(self, arm: str) -> tuple[Intervention, ...]:
        """Return an arm's interventions: its own, or else those of the scenario."""
        own = self.arms[arm].interventions
        return self.interventions if own is None else own

    def optimizer_state(self, arm: str) -> OptimizerState:
        """Return what becomes of an arm's optimizer at a shift."""
        return self.arms[arm].optimizer_state or self.strategy.optimizer_state

    def dump(self) -> dict[str, Any]:
        """Return the scenario as plain values; ``parse`` of them gives the same scenario."""
        return self.model_dump(mode="json", serialize_as_any=True)

    def only(self, arms: Iterable[str]) -> Scenario:
        """Return the scenario with some of its arms, and the pairs that are left."""
        chosen = texts("arms", arms, f"[{shown(next(iter(self.arms)))}]")
        if not chosen:
            raise InputError(f"arms: names none; '{self.name}' has {', '.join(self.arms)}")
        for arm in chosen:
            if arm not in self.arms:
                raise unknown_name(f"arm of '{self.name}'", arm, self.arms)
        values = self.dump()
        values["arms"] = {arm: values["arms"][arm] for arm in chosen}
        for arm in values["arms"].values():
            arm["null_of"] = arm["null_of"] if arm["null_of"] in chosen else None
        values["protocol"]["pairs"] = [pair for pair in self.protocol.pairs if set(pair) <= set(chosen)]
        return Scenario.model_validate(values | {"stream": self.stream}).with_all_pairs()

    def with_arm(self, optimizer: str | type, label: str = "", **options: Any) -> Scenario:
        """Return the scenario with one more arm, which is compared with every other, or with one of its arms changed.

        Parameters
        ----------
        optimizer : str or type
            An optimizer's class, one of a notebook's cell or a script included; its name, ``package.module:Class``
            included; or the label of an arm that is changed.
        label : str
            What the arm is called; that of the arm, or the name of the optimizer or class if empty. An arm that has
            this label and optimizer already is replaced.
        **options
            ``lr``, one learning rate or a sequence of them to choose from, and the optimizer's arguments, of which any
            may be a sequence to choose from as well. Give it as many combinations as the other arms have.

        Raises
        ------
        InputError
            If there is no learning rate, the label is of another arm, the class cannot be named, or does not take the
            options.

        Examples
        --------
        >>> import torch
        >>> from tamcl.scenario import load_scenario
        >>> scenario = load_scenario("label_flip_digits").only(["sgdm", "tam"])
        >>> list(scenario.with_arm(torch.optim.ASGD, lr=[0.1, 0.05]).with_arm("tam", "heavy", momentum=0.99).arms)
        ['sgdm', 'tam', 'ASGD', 'heavy']
        """
        from tamcl.scenario.arms import with_arm

        return with_arm(self, optimizer, label, options)

    def with_all_pairs(self) -> Scenario:
        """Return the scenario with the pairs that need not be written."""
        declared = set(self.protocol.pairs)
        nulls = [(arm.null_of, name) for name, arm in self.arms.items() if arm.null_of]
        pairs: list[tuple[str, str]] = []
        for pair in self.protocol.pairs:
            pairs.append(pair)
            pairs += [null for null in nulls if null[0] == pair[0] and null not in declared and null not in pairs]
        pairs += [null for null in nulls if null not in pairs]
        first, *others = self.arms
        pairs += [(arm, first) for arm in others if not any(arm in pair for pair in pairs)]
        return self.model_copy(update={"protocol": self.protocol.model_copy(update={"pairs": tuple(pairs)})})


def _check_name(table: Table, name: str, path: str) -> None:
    try:
        table.path(name)
    except InputError as error:
        raise unfit(path, error) from error


def _metric(name: str, path: str) -> Metric:
    """Return a metric, one of somebody's own by its path included, which is imported."""
    try:
        return use(name) if module_of(name) is not None else find(name)
    except InputError as error:
        raise unfit(path, error) from error


def _check_options(
    class_path: str,
    options: Mapping[str, Any],
    given: set[str],
    filled: AbstractSet[str] = frozenset(),
    at: str = "",
) -> None:
    """Compare options with the class's signature, read from its source; a class that cannot be read takes any.

    Those that are ``given`` are no options, and those that are ``filled`` in need not be there. Errors name the place
    that options are ``at``.
    """
    _, parameters, types, _ = signature(class_path)
    if parameters is None:
        return
    allowed = {name: required for name, required in parameters.items() if name not in given}
    for key in options:
        if key not in allowed:
            raise unfit(f"{at}{key}", unknown_name("key", key, allowed))
        _check_kind(key, options[key], types.get(key, ""), at)
    for key, required in allowed.items():
        if required and key not in options and key not in filled:
            raise unfit(f"{at}{key}", "is missing")


def _check_kind(key: str, value: object, annotation: str, at: str = "") -> None:
    """Refuse a text where only true and false are meant, which Python takes for true, and what is no number or list."""
    types = set(re.findall(r"\w+", annotation)) - {"None", "Optional"}
    is_list = re.fullmatch(r"(Sequence|tuple|list)\[[^][]*\]( \| None)?", annotation)
    wanted = ""
    if types == {"bool"}:
        wanted = "" if isinstance(value, bool) else "true or false"
    elif types and types <= {"int", "float"}:
        wanted = "" if isinstance(value, int | float | None) and not isinstance(value, bool) else "a number"
    elif is_list:
        wanted = "" if isinstance(value, list | tuple | None) else "a list"
    if wanted:
        got = str(value).lower() if isinstance(value, bool) else shown(value)
        raise unfit(f"{at}{key}", f"must be {wanted}, got {got}")


OF_ARMS = frozenset(Arm.model_fields)
"""What an arm holds beside its optimizer's options."""


def of_arm(scenario: Mapping[str, Any], arm: str) -> list[dict[str, Any]]:
    """Return an arm's interventions, of a scenario as ``Scenario.dump`` gives it: its own, or else the scenario's."""
    own = scenario["arms"][arm].get("interventions")
    return list((scenario.get("interventions") or ()) if own is None else own)


def listed(interventions: Iterable[Mapping[str, Any]]) -> str:
    """Say what interventions there are, with what was set of them.

    Examples
    --------
    >>> listed([{"name": "weight_clipping", "kappa": 2.0}, {"name": "l2_init"}])
    'weight_clipping (kappa 2.0), l2_init'
    """
    found = []
    for each in interventions:
        options = ", ".join(f"{key} {value}" for key, value in each.items() if key != "name")
        found.append(f"{each['name']} ({options})" if options else str(each["name"]))
    return ", ".join(found)


def tested_on(evaluation: dict[str, Any]) -> str:
    """Say which test images were used and when.

    Examples
    --------
    >>> tested_on({"samples": 100, "on": "seen"})
    '100 test images of every experience trained on so far, after each'
    """
    images = f"{evaluation['samples']} test images" if evaluation.get("samples") else "all test images"
    after = {
        "all": "of every experience, before training and after each",
        "seen": "of every experience trained on so far, after each",
        "current": "of the current experience after each, and of all at the end",
    }
    every = evaluation.get("every")
    when = "after every epoch" if every == "epoch" else f"every {every} updates"
    inside = f"; in reported runs also inside experiences, {when}" if every else ""
    return f"{images} {after[evaluation.get('on', 'all')]}{inside}"


def learning_rate(strategy: dict[str, Any]) -> str:
    """Say how the learning rate goes on, and whether gradients are clipped.

    Examples
    --------
    >>> learning_rate({"schedule": {"name": "cosine", "over": "stream", "warmup": 0.1}, "clip": 1.0})
    'cosine over the stream, warmup 0.1; gradients clipped at 1'
    """
    schedule, clip = dict(strategy.get("schedule") or {"name": "constant"}), strategy.get("clip")
    over = {"experience": " over each experience", "stream": " over the stream"}.get(schedule.pop("over", ""), "")
    more = [f", {key} {value}" for key, value in schedule.items() if key != "name" and value is not None]
    return f"{schedule['name']}{over}{''.join(more)}" + (f"; gradients clipped at {clip:g}" if clip else "")
