"""Scenario files: found by name, read, changed by settings, checked.

Every mistake becomes one line with the path of the key, its value and what is allowed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tamcl.arguments import instance, texts
from tamcl.errors import InputError, shortened, shown, unknown_name
from tamcl.files.paths import user_path
from tamcl.optim import OPTIMIZERS
from tamcl.registry import lookup
from tamcl.scenario.plain import check_plain, unfit_as_file
from tamcl.scenario.schema import Diagnostics, Evaluation, Protocol, Scenario, Strategy
from tamcl.scenario.settings import change, parse_options
from tamcl.strategies.schedule import Schedule
from tamcl.streams import STREAMS, Stream
from tamcl.streams.own_benchmark import OwnBenchmark
from tamcl.validation import allowed

_PACKAGE = Path(__file__).parents[1]
SCENARIO_FOLDER = next(path for path in (_PACKAGE / "scenarios", _PACKAGE.parent / "scenarios") if path.is_dir())
"""Inside the installed package; beside it in a source checkout."""

MOST_BYTES = 2**20
"""Of a scenario file; the longest that comes with tamcl has some thousands."""


def scenarios() -> dict[str, Path]:
    """Return the scenarios that come with tamcl."""
    return {path.stem: path for path in sorted(SCENARIO_FOLDER.glob("*.toml"))}


def load_scenario(name: str | Path, settings: Iterable[str] = (), arms: Iterable[str] | None = None) -> Scenario:
    """Read a scenario.

    Parameters
    ----------
    name : str or path
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
    name = str(name) if isinstance(name, Path) else instance("name", name, str, _NAMED)
    if isinstance(settings, Mapping):
        raise InputError(f"settings = {shown(settings)}: must be a list, such as {_SETTINGS}")
    known = scenarios()
    path = user_path(name) if name.endswith(".toml") else known.get(name)
    if path is None:
        raise unknown_name("scenario", name, known)
    if why := unfit_as_file(path.stem):  # the folder of its results has this name
        raise InputError(f"scenario file {shown(str(path))}: {why}; name it otherwise")
    values = read_toml(path)
    for setting in texts("settings", settings, _SETTINGS):
        change(values, setting)
    if "name" in values:
        raise InputError(f"scenario '{path.stem}': name: is the file's name and cannot be set")
    scenario = parse(values | {"name": path.stem})
    scenario = scenario if arms is None else scenario.only(arms)
    _check_trials(scenario)
    return scenario


def _check_trials(scenario: Scenario) -> None:
    """Check that every arm has the same chance."""
    trials = {arm: scenario.trials_of(arm) for arm in scenario.arms}
    if len(set(trials.values())) == 1:
        return
    where = f"scenario '{scenario.name}': arms: must have equally many"
    numbers = ", ".join(f"{arm} {number}" for arm, number in trials.items())
    if scenario.protocol.search != "grid":
        (one, *_) = (arm for arm, number in trials.items() if number == 1)
        why = "an arm with one learning rate and no list of values has one"
        raise InputError(f"{where} trials, not {numbers}: {why}; give {one} several to choose from, as lr=[0.1,0.03]")
    if not any(config.grids for config in scenario.arms.values()):
        raise InputError(f"{where} learning rates, not {numbers}")
    made = {arm: {"lr": config.lr} | config.grids for arm, config in scenario.arms.items()}
    words = [
        f"{arm} {trials[arm]} ({' x '.join(f'{len(values)} {name}' for name, values in lists.items())})"
        for arm, lists in made.items()
    ]
    raise InputError(f"{where} trials, not {', '.join(words)}")


_SETTINGS, _NAMED = "['stream.samples=500']", "the name of a scenario, or the path of a .toml file"
"""How settings are written, and what a scenario is read by."""


def as_scenario(scenario: Scenario | str | Path) -> Scenario:
    """Return a scenario, which may be given by its name or its file: what whatever takes one begins with.

    Raises
    ------
    InputError
        As ``load_scenario``, or if it is something else.
    """
    if isinstance(scenario, str | Path):
        return load_scenario(scenario)
    kinds = "a tamcl.Scenario, the name of one that comes with tamcl, or the path of a .toml file"
    return instance("scenario", scenario, Scenario, kinds)


def read_toml(path: Path, what: str = "scenario file") -> dict[str, Any]:
    """Read a TOML file, with a byte order mark, as editors on Windows write it, or without."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ValueError(f"has more than {MOST_BYTES} bytes")
        if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content[:2]:  # no TOML begins with a zero
            raise ValueError("is UTF-16; save it as UTF-8")
        return tomllib.loads(content.decode("utf-8-sig"))
    except OSError as error:
        raise InputError(f"{what} {shown(str(path))}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        why = f"is not UTF-8 (byte 0x{content[error.start]:02x} at {error.start}); save it as UTF-8"
        raise InputError(f"{what} {shown(str(path))}: {why}") from error
    except ValueError as error:  # no TOML, or a number of thousands of digits
        raise InputError(f"{what} {shown(str(path))}: {error}") from error
    except RecursionError as error:
        raise InputError(f"{what} {shown(str(path))}: lists or tables are too deep") from error


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
    found = lookup(STREAMS, name)
    return found if isinstance(found, type) else OwnBenchmark


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
    said = shortened(text)
    needs = f"--arm {said}: needs a learning rate, such as {said},lr=0.1 or {said},lr=[0.1,0.03,0.01]"
    return put_arm(scenario, label, base, needs), label


def put_arm(scenario: Scenario, label: str, base: dict[str, Any], needs: str) -> Scenario:
    """Return the scenario with an arm of that label, new or in place of another.

    Parameters
    ----------
    scenario : Scenario
    label : str
    base : dict
        ``optimizer``, ``lr`` (one or several) and options (of which each may be a list of several). A new arm is
        compared with every other.
    needs : str
        What to say where there is no learning rate.
    """
    if not isinstance(base.get("lr"), list | tuple):
        base = base | {"lr": [base["lr"]] if "lr" in base else []}
    if not base["lr"]:
        raise InputError(needs)
    values = scenario.dump()
    if label not in scenario.arms:
        others = [arm for arm in scenario.arms if arm != base.get("null_of")]
        values["protocol"]["pairs"] = [*scenario.protocol.pairs, *((label, other) for other in others)]
    return parse(values | {"arms": values["arms"] | {label: base}})


def _line(details: ErrorDetails, prefix: tuple[str, ...], model: type[BaseModel]) -> str:
    """Say one validation error: path = value: what is allowed."""
    context = details.get("ctx", {})
    keys = [*prefix, *map(str, details["loc"]), *([context["path"]] if context.get("path") else [])]
    path = ".".join(keys)
    match details["type"]:
        case "extra_forbidden":
            part = _PARTS.get(".".join(keys[:-1]), Scenario) if len(keys) > 1 and not prefix else model
            near = get_close_matches(keys[-1], part.model_fields, n=1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            return f"{path}: unknown key: {hint}Known: {', '.join(sorted(part.model_fields))}."
        case "missing":
            return f"{path}: is missing"
        case "unfit":
            return f"{path}: {details['msg']}"
    return f"{path} = {shown(details['input'])}: {allowed(details)}"


_PARTS: dict[str, type[BaseModel]] = {
    "stream": Stream,
    "strategy": Strategy,
    "strategy.schedule": Schedule,
    "evaluation": Evaluation,
    "protocol": Protocol,
    "diagnostics": Diagnostics,
}
