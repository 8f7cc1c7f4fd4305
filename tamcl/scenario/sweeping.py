"""A scenario at several values of some of its keys: the studies of a sweep."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import product
from typing import Any, NamedTuple

from tamcl.errors import InputError, shortened, shown, unknown_name
from tamcl.scenario.labels import names
from tamcl.scenario.load import parse
from tamcl.scenario.plain import unfit_as_file
from tamcl.scenario.schema import Scenario
from tamcl.scenario.settings import parse_over, put, value_text

Over = Mapping[str, Sequence[Any]]
"""Values by key, as ``{"stream.fraction": [0.2, 0.8]}``: a sweep has a study for each of their combinations."""

WORDS = ("name", "title", "source", "notes", "cost")
"""What a scenario says of itself, which decides nothing."""

LONGEST = 80
"""Letters of the name of a study's folder."""


class Point(NamedTuple):
    """A study of a sweep: the scenario, and the values that it has at the keys."""

    settings: dict[str, Any]
    scenario: Scenario
    name: str
    """What it is called among the others."""

    @property
    def folder(self) -> str:
        """How its folder is called: by its values, as far as every file system takes them."""
        plain = ",".join(f"{key}={value_text(value)}" for key, value in self.settings.items())
        name = re.sub(r"[^a-z0-9_.+=,-]+", "_", plain)
        if name == plain and len(name) <= LONGEST and not unfit_as_file(name):
            return name
        return f"{name[:LONGEST].strip('._')}-{blake2b(plain.encode(), digest_size=4).hexdigest()}"


def name_of(values: Mapping[str, Any]) -> str:
    """Return values in words.

    Examples
    --------
    >>> name_of({"stream.fraction": 0.2, "model.hidden": [100, 100]})
    'stream.fraction = 0.2, model.hidden = [100, 100]'
    """
    return ", ".join(f"{key} = {value_text(value)}" for key, value in values.items())


def read_over(texts: Iterable[str]) -> dict[str, list[Any]]:
    """Read what stands behind each ``--over``."""
    over: dict[str, list[Any]] = {}
    for text in texts:
        key, values = parse_over(text)
        if key in over:
            raise InputError(f"--over {shortened(text)}: {shown(key)} is swept by another --over")
        over[key] = values
    return over


def points(scenario: Scenario, over: Over) -> list[Point]:
    """Return the scenario at every combination of values, the last key's changing fastest.

    Raises
    ------
    InputError
        If a key is none of the scenario's, or decides nothing that a sweep could show, or the scenario is not valid at
        a value, or two values are the same.

    Examples
    --------
    >>> from tamcl.scenario.load import load_scenario
    >>> found = points(load_scenario("label_flip_digits"), {"stream.fraction": [0, 0.5], "model.hidden": [[50]]})
    >>> [point.name for point in found]
    ['stream.fraction = 0, model.hidden = [50]', 'stream.fraction = 0.5, model.hidden = [50]']
    >>> found[1].scenario.stream.fraction
    0.5
    """
    if not isinstance(over, Mapping):
        raise InputError(f"--over {shown(over)}: must be values by key, as {{'stream.fraction': [0.2, 0.8]}}")
    if not over:
        raise InputError("--over: names no key, such as stream.fraction=0.2,0.8")
    for key, values in over.items():
        _check_key(scenario, key)
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise InputError(f"--over {key} = {shown(values)}: must be one value or more in a list")
    found: dict[tuple[str, ...], Point] = {}
    for combined in product(*over.values()):
        point = _point(scenario, dict(zip(over, combined, strict=True)))
        same = found.setdefault(tuple(map(value_text, point.settings.values())), point)
        if same is not point:
            raise InputError(f"--over: names {name_of(point.settings)} twice")
    called = names([point.settings for point in found.values()])
    return [point._replace(name=name) for point, name in zip(found.values(), called, strict=True)]


def _check_key(scenario: Scenario, key: str) -> None:
    dump = scenario.dump()
    parts = key.split(".") if isinstance(key, str) else []
    if not parts or not all(parts) or parts[0] in WORDS or (len(parts) == 1 and key not in dump):
        near = [table for table, values in dump.items() if isinstance(values, dict) and key in values]
        such = f"did you mean '{near[0]}.{key}'?" if near else "such as stream.fraction"
        raise InputError(f"--over {shown(key)}: is no key in a table of a scenario{'; ' if near else ', '}{such}")
    if key in {"arms", "protocol", "metrics"}:
        raise InputError(f"--over {key}: each study would be about something else; name a key in it")
    if key in {"protocol.seeds", "protocol.first_seed"}:
        raise InputError(f"--over {key}: changes no run, but how many there are; say --seeds")
    if parts[0] == "arms" and parts[1] not in scenario.arms:
        raise unknown_name(f"arm in --over {shown(key)}", parts[1], scenario.arms)
    if key == "protocol.tune_by":
        raise InputError("--over protocol.tune_by: each study would be about another metric")


def _point(scenario: Scenario, values: Mapping[str, Any]) -> Point:
    """Return the scenario at some values, which are as the scenario holds them: of 0 and 0.0 it makes one."""
    changed = scenario.dump()  # of the stream what was not given is left out: another one has not the same keys
    changed["stream"] = scenario.stream.model_dump(mode="json", exclude_defaults=True, serialize_as_any=True)
    changed["stream"]["name"] = scenario.stream.name
    for key, value in values.items():
        put(changed, key, value, f"--over {key}")
    try:
        made = parse(changed)
    except InputError as error:
        raise InputError("\n".join(f"--over {name_of(values)}: {line}" for line in str(error).splitlines())) from error
    held = made.dump()
    return Point({key: _at(held, key, value) for key, value in values.items()}, made, name_of(values))


def _at(values: Any, key: str, default: Any) -> Any:
    for part in key.split("."):
        if isinstance(values, list) and part.isdecimal() and int(part) < len(values):
            values = values[int(part)]
        elif isinstance(values, dict) and part in values:
            values = values[part]
        else:
            return default
    return values
