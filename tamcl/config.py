"""Scenario files: strict, frozen, checked before anything heavy is imported.

Every mistake becomes one line with the path of the key, its value and what is allowed.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from tamcl.data import DATASETS
from tamcl.diagnostics import DIAGNOSTICS
from tamcl.errors import InputError, shortened, shown, unknown_name
from tamcl.metrics import METRICS
from tamcl.models import HEADS, MODELS
from tamcl.optim import OPTIMIZERS
from tamcl.paths import user_path
from tamcl.plain import check_plain, unfit_as_file
from tamcl.registry import Table, lookup, signature
from tamcl.strategies import STRATEGIES
from tamcl.strategies.settings import OptimizerState
from tamcl.streams import STREAMS, Stream
from tamcl.streams.base import Count

_PACKAGE = Path(__file__).parent
SCENARIO_FOLDER = next(path for path in (_PACKAGE / "scenarios", _PACKAGE.parent / "scenarios") if path.is_dir())
"""Inside the installed package; beside it in a source checkout."""

MOST_SEEDS = 1000
"""Reported seeds are 0, 1, ...; tuning seeds are 1000, 1001, ..., so that none is both."""

MOST_RATES = 1000
"""Learning rates of an arm's grid, as many as a search may try."""

MOST_BYTES = 2**20
"""Of a scenario file; the longest that comes with tamcl has some thousands."""

EXTENSIONS = 3
"""Learning rates that ``--extend`` may add to every arm."""

Seeds = Annotated[int, Field(strict=True, ge=1, le=MOST_SEEDS)]
LearningRate = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Model(BaseModel):
    """The model: a body's name with its arguments, and a head."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str
    head: str = "single"

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of the body."""
        return dict(self.model_extra or {})

    @model_validator(mode="after")
    def _known(self) -> Self:
        _check_name(HEADS, self.head, "head")
        _check_name(MODELS, self.name, "name")
        _check_options(MODELS.path(self.name), self.options, given={"shape"})
        return self


class Arm(BaseModel):
    """An optimizer with its arguments and the learning rates to choose from."""

    model_config = ConfigDict(extra="allow", frozen=True)

    optimizer: str
    lr: tuple[LearningRate, ...]
    null_of: str | None = None
    """The arm that this one is the null model of: the same method without what is said to make it better."""

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of the optimizer besides lr; lists become tuples, as optimizers expect."""
        return {key: tuple(v) if isinstance(v, list) else v for key, v in (self.model_extra or {}).items()}

    @model_validator(mode="after")
    def _known(self) -> Self:
        if not self.lr:
            raise _unfit("lr", "names no learning rate")
        if len(self.lr) > MOST_RATES:
            raise _unfit("lr", f"names {len(self.lr)} learning rates, and at most {MOST_RATES} are tried")
        if len(set(self.lr)) < len(self.lr):
            raise _unfit("lr", "names a learning rate twice")
        _check_name(OPTIMIZERS, self.optimizer, "optimizer")
        _check_options(OPTIMIZERS.path(self.optimizer), self.options, given={"params", "lr"})
        return self


class Strategy(BaseModel):
    """How an experience is trained on, with the strategy's arguments, and what becomes of the optimizer at a shift."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = "naive"
    optimizer_state: OptimizerState = "keep"

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of the strategy that others do not have."""
        return dict(self.model_extra or {})

    @model_validator(mode="after")
    def _known(self) -> Self:
        _check_name(STRATEGIES, self.name, "name")
        given = set(signature(STRATEGIES.path("naive")).parameters or ())
        _check_options(STRATEGIES.path(self.name), self.options, given=given)
        return self


class Evaluation(_Strict):
    """How much of the test sets is used."""

    samples: Count | None = None
    """Test images an experience; all there are if absent."""
    batches: Count = 1
    """Mini-batches that make a row of the online table: more than one for streams of very many. Metrics after a
    shift count single mini-batches, and have no value then."""
    on: Literal["all", "seen", "current"] = "all"
    """Experiences that the model is tested on after each experience, and what the metrics can then be: all of them, and
    before training too; those trained on so far, which leaves out nothing that is computed from the tables; or the
    current one alone and all at the end, which leaves out forgetting."""
    every: Count | None = None
    """Updates from one test to the next inside an experience, from its first on, of the reported runs: continual
    evaluation, which sees the stability gap. None inside experiences if absent."""

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
            raise _unfit("names", "names no diagnostic")
        if len(set(self.names)) < len(self.names):
            raise _unfit("names", "names a diagnostic twice")
        for name in self.names:
            _check_name(DIAGNOSTICS, name, "names")
            _check_options(DIAGNOSTICS.path(name), self.options.get(name, {}), given=set())
        for name in self.options:
            if name not in self.names:
                raise _unfit("options", unknown_name("diagnostic with options", name, self.names))
        return self


class Protocol(_Strict):
    """Seeds, tuning, and the comparisons that the verdict speaks about."""

    seeds: Seeds = 5
    tune_seeds: Seeds = 3
    tune_by: str = "online_accuracy"
    extend: Annotated[int, Field(strict=True, ge=0, le=20)] = 0
    """Learning rates that every arm may get beyond its grid, one at a time, while some arm's best one is an end of its
    grid."""
    search: Literal["grid", "random", "tpe"] = "grid"
    """How learning rates are chosen to be tried: those of the grid, or ``trials`` between its ends, drawn at random or
    by a tree-structured Parzen estimator, which draws its first third at random, too (at least 2, at most 10)."""
    trials: Annotated[int, Field(strict=True, ge=2, le=1000)] | None = None
    """Learning rates an arm, for a search other than "grid"."""
    pairs: tuple[tuple[str, str], ...] = ()
    """Pairs of arms. Added are every method with its null models, and arms that are in no pair with the first."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.tune_by not in METRICS:
            raise _unfit("tune_by", unknown_name("metric", self.tune_by, METRICS))
        if METRICS[self.tune_by].on == "matrix_and_lowest":
            raise _unfit("tune_by", f"'{self.tune_by}' is measured inside experiences, in reported runs alone")
        if (self.search == "grid") != (self.trials is None):
            raise _unfit("trials", "is for the searches 'random' and 'tpe', and they need it; a grid says how many")
        if self.search != "grid" and self.extend:
            raise _unfit("extend", "is for search = 'grid'; a search tries what lies between the ends of the grid")
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
    diagnostics : Diagnostics, optional
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
    diagnostics: Diagnostics | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _check_name(DATASETS, self.stream.dataset, "stream.dataset")
        for arm in self.arms:
            if not re.fullmatch(r"\w[\w.+-]{0,63}", arm, re.ASCII):
                raise _unfit(
                    "arms", f"{shown(arm)} is no label: up to 64 of a-z A-Z 0-9 _ . + - are, the first of them no . + -"
                )
            if "." in arm and (why := unfit_as_file(f"{arm}-")):  # a run's folder begins with it
                raise _unfit("arms", f"{shown(arm)} is no label: {why}")
        if self.model.head != "single" and not self.stream.tells_task:
            raise _unfit("model.head", f"'{self.model.head}' needs a stream that tells the task, and this one does not")
        if self.model.head == "single" and self.stream.tells_task:
            raise _unfit("model.head", "'single' does not use the task that this stream tells: 'masked' or 'multi' do")
        if self.stream.target == "number" and METRICS[self.protocol.tune_by].on != "loss":
            raise _unfit("protocol.tune_by", f"'{self.protocol.tune_by}' needs classes; 'online_loss' does not")
        if self.evaluation.batches > 1 and METRICS[self.protocol.tune_by].per_batch:
            why = f"needs evaluation.batches = 1, not {self.evaluation.batches}: it counts single mini-batches"
            raise _unfit("protocol.tune_by", f"'{self.protocol.tune_by}' {why}")
        self._check_pairs()
        return self

    def _check_pairs(self) -> None:
        for arm, config in self.arms.items():
            if config.null_of is not None and config.null_of not in self.arms:
                raise _unfit(f"arms.{arm}.null_of", unknown_name("arm", config.null_of, self.arms))
        for arm in (arm for pair in self.protocol.pairs for arm in pair if arm not in self.arms):
            raise _unfit("protocol.pairs", unknown_name("arm", arm, self.arms))
        seen: set[frozenset[str]] = set()
        for pair in self.protocol.pairs:
            if len(set(pair)) < 2 or frozenset(pair) in seen:
                raise _unfit("protocol.pairs", f"{list(pair)} is an arm against itself, or comes twice")
            seen.add(frozenset(pair))

    def dump(self) -> dict[str, Any]:
        """Return the scenario as plain values; ``parse`` of them gives the same scenario."""
        return self.model_dump(mode="json", serialize_as_any=True)

    def only(self, arms: Iterable[str]) -> Scenario:
        """Return the scenario with some of its arms, and the pairs that are left."""
        chosen = list(arms)
        for arm in chosen:
            if arm not in self.arms:
                raise unknown_name(f"arm of '{self.name}'", arm, self.arms)
        values = self.dump()
        values["arms"] = {arm: values["arms"][arm] for arm in chosen}
        for arm in values["arms"].values():
            arm["null_of"] = arm["null_of"] if arm["null_of"] in chosen else None
        values["protocol"]["pairs"] = [pair for pair in self.protocol.pairs if set(pair) <= set(chosen)]
        return parse(values)

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


def scenarios() -> dict[str, Path]:
    """Return the scenarios that come with tamcl."""
    return {path.stem: path for path in sorted(SCENARIO_FOLDER.glob("*.toml"))}


def load_scenario(name: str, settings: Iterable[str] = (), arms: Iterable[str] | None = None) -> Scenario:
    """Read a scenario.

    Parameters
    ----------
    name : str
        One that comes with tamcl, or the path of a ``.toml`` file.
    settings : iterable of str
        Changes such as ``"stream.samples=500"``; values as in TOML.
    arms : iterable of str, optional
        Keep only these.

    Raises
    ------
    InputError
        With one line for each mistake.

    Examples
    --------
    >>> load_scenario("label_flip_digits", ["stream.experiences=4"]).stream.experiences
    4
    """
    known = scenarios()
    path = user_path(name) if name.endswith(".toml") else known.get(name)
    if path is None:
        raise unknown_name("scenario", name, known)
    if why := unfit_as_file(path.stem):  # the folder of its results has this name
        raise InputError(f"scenario file {shown(str(path))}: {why}; name it otherwise")
    values = _read(path)
    for setting in settings:
        _change(values, setting)
    if "name" in values:
        raise InputError(f"scenario '{path.stem}': name: is the file's name and cannot be set")
    scenario = parse(values | {"name": path.stem})
    scenario = scenario if arms is None else scenario.only(arms)
    trials = {arm: len(config.lr) for arm, config in scenario.arms.items()}
    if len(set(trials.values())) > 1:
        raise InputError(f"scenario '{path.stem}': arms: must have equally many learning rates, not {trials}")
    return scenario


def _read(path: Path) -> dict[str, Any]:
    """Read a TOML file, with a byte order mark, as editors on Windows write it, or without."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ValueError(f"has more than {MOST_BYTES} bytes")
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise ValueError("is UTF-16; save it as UTF-8")
        return tomllib.loads(content.decode("utf-8-sig"))
    except OSError as error:
        raise InputError(f"scenario file {shown(str(path))}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        why = f"is not UTF-8 (byte 0x{content[error.start]:02x} at {error.start}); save it as UTF-8"
        raise InputError(f"scenario file {shown(str(path))}: {why}") from error
    except ValueError as error:  # no TOML, or a number of thousands of digits
        raise InputError(f"scenario file {shown(str(path))}: {error}") from error
    except RecursionError as error:
        raise InputError(f"scenario file {shown(str(path))}: lists or tables are too deep") from error


def parse(values: Mapping[str, Any]) -> Scenario:
    """Check plain values and return the scenario they describe."""
    if not isinstance(values, Mapping):
        raise InputError(f"scenario {shown(values)}: must be a table")
    where = f"scenario {shown(values.get('name', ''))}"
    try:
        check_plain(values)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    model: type[BaseModel] = Scenario
    path: tuple[str, ...] = ()
    try:
        stream = values.get("stream")
        if isinstance(stream, dict) and isinstance(stream.get("name"), str):
            model, path = _stream_class(stream["name"]), ("stream",)
            values = {**values, "stream": model.model_validate(stream)}
        model, path = Scenario, ()
        return Scenario.model_validate(values).with_all_pairs()
    except ValidationError as error:
        lines = [f"{where}: {_line(details, path, model)}" for details in error.errors()]
        raise InputError("\n".join(lines)) from error


def _stream_class(name: str) -> type[Stream]:
    found: type[Stream] = lookup(STREAMS, name)
    return found


def parse_value(text: str) -> Any:
    """Read a value as TOML does; anything else is text.

    Raises
    ------
    InputError
        If it is too deep, or a number of thousands of digits.

    Examples
    --------
    >>> parse_value("1e-3"), parse_value("[1, 2]"), parse_value("keep")
    (0.001, [1, 2], 'keep')
    """
    try:
        values = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    except (ValueError, RecursionError) as error:
        raise InputError(f"value {shown(text)}: is too long a number, or lists and tables are too deep") from error
    return values["value"] if len(values) == 1 else text  # more than one line is no value


def add_arm(scenario: Scenario, text: str) -> tuple[Scenario, str]:
    """Return the scenario with one more arm, or one of its arms changed, and that arm's label.

    Parameters
    ----------
    scenario : Scenario
    text : str
        ``[LABEL=]NAME[,key=value...]``, where NAME is an arm of the scenario, an optimizer, or
        ``package.module:Class``. The label is NAME (of a class, the class's name) if none is given. A new arm is
        compared with every other.

    Examples
    --------
    >>> scenario = load_scenario("label_flip_digits")
    >>> changed, label = add_arm(scenario, "fast=tam,momentum=0.5,lr=[0.1, 0.2]")
    >>> label, changed.arms[label].lr
    ('fast', (0.1, 0.2))
    """
    first, options = parse_options(text)
    label, _, name = first.rpartition("=")
    if name not in scenario.arms:
        OPTIMIZERS.path(name)
    base: dict[str, Any] = scenario.arms[name].model_dump() if name in scenario.arms else {"optimizer": name}
    base |= options
    label = label or name.rpartition(":")[2]
    if label in scenario.arms and label != name:
        why = f"there is an arm {shown(label)} already; write LABEL={name} with another label"
        raise InputError(f"--arm {shortened(text)}: {why}")
    if not isinstance(base.get("lr"), list | tuple):
        base["lr"] = [base["lr"]] if "lr" in base else []
    if not base["lr"]:
        said = shortened(text)
        raise InputError(f"--arm {said}: needs a learning rate, such as {said},lr=0.1 or {said},lr=[0.1,0.03,0.01]")
    values = scenario.dump()
    if label not in scenario.arms:
        others = [arm for arm in scenario.arms if arm != base.get("null_of")]
        values["protocol"]["pairs"] = [*scenario.protocol.pairs, *((label, other) for other in others)]
    return parse(values | {"arms": values["arms"] | {label: base}}), label


def parse_options(text: str) -> tuple[str, dict[str, Any]]:
    """Read ``NAME[,key=value...]``.

    Examples
    --------
    >>> parse_options("adam,lr=0.1,betas=[0.5, 0.99]")
    ('adam', {'lr': 0.1, 'betas': [0.5, 0.99]})
    """
    name, *settings = _split(text)
    options: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        key = key.strip()
        if not equals or not key:
            raise InputError(f"{shown(text)}: {shown(setting)} is not key=value")
        if key in options:
            raise InputError(f"{shown(text)}: gives {shown(key)} twice")
        options[key] = parse_value(value.strip())
    return name, options


def _split(text: str) -> list[str]:
    """Split at commas outside brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for character in text:
        if character == quote:
            quote = ""
        elif not quote and character in "\"'":
            quote = character
        if not quote:
            depth += (character in "[({") - (character in "])}")
        if character == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def _change(values: dict[str, Any], setting: str) -> None:
    """Apply ``a.b=value`` to nested tables."""
    path, equals, value = setting.partition("=")
    *tables, key = path.strip().split(".")
    if not equals or not all([*tables, key]):
        raise InputError(f"--set {shortened(setting)}: is not key=value, such as stream.samples=500")
    for table in tables:
        values = values.setdefault(table, {})
        if not isinstance(values, dict):
            raise InputError(f"--set {shortened(setting)}: {shown(table)} holds a value and has no keys")
    values[key] = parse_value(value.strip())


def _check_name(table: Table, name: str, path: str) -> None:
    try:
        table.path(name)
    except InputError as error:
        raise _unfit(path, error) from error


def _check_options(class_path: str, options: Mapping[str, Any], given: set[str]) -> None:
    """Compare options with the class's signature, read from its source; a class that cannot be read takes any."""
    parameters = signature(class_path).parameters
    if parameters is None:
        return
    allowed = {name: required for name, required in parameters.items() if name not in given}
    for key in options:
        if key not in allowed:
            raise _unfit(key, unknown_name("key", key, allowed))
    for key, required in allowed.items():
        if required and key not in options:
            raise _unfit(key, "is missing")


def _unfit(path: str, why: object) -> PydanticCustomError:
    """Return an error for pydantic to collect, about a key below the one that is being checked."""
    return PydanticCustomError("unfit", "{why}", {"path": path, "why": str(why)})


def _line(details: ErrorDetails, prefix: tuple[str, ...], model: type[BaseModel]) -> str:
    """Say one validation error: path = value: what is allowed."""
    context = details.get("ctx", {})
    keys = [*prefix, *map(str, details["loc"]), *([context["path"]] if "path" in context else [])]
    path = ".".join(keys)
    match details["type"]:
        case "extra_forbidden":
            part = _PARTS.get(keys[0], Scenario) if len(keys) > 1 and not prefix else model
            near = get_close_matches(keys[-1], part.model_fields, n=1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            return f"{path}: unknown key: {hint}Known: {', '.join(sorted(part.model_fields))}."
        case "missing":
            return f"{path}: is missing"
        case "unfit":
            return f"{path}: {details['msg']}"
    return f"{path} = {shown(details['input'])}: must be {details['msg'].removeprefix('Input should be ')}"


_PARTS: dict[str, type[BaseModel]] = {
    "strategy": Strategy,
    "evaluation": Evaluation,
    "protocol": Protocol,
    "diagnostics": Diagnostics,
}
