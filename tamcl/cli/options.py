"""What whatever has a name may be told: each option with its default, what is allowed, and what it is for."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel

from tamcl.errors import InputError
from tamcl.registry import Table, lookup
from tamcl.scenario.schema import Diagnostics, Evaluation, Protocol, Strategy

GIVEN = {"params", "shape", "features", "classes", "tasks", "model", "make_optimizer", "settings", "name"}
"""Arguments that tamcl gives itself."""

PARTS: dict[str, type[BaseModel]] = {
    "strategy": Strategy,
    "evaluation": Evaluation,
    "protocol": Protocol,
    "diagnostics": Diagnostics,
}
"""Parts that every scenario has or may have."""


class Option(NamedTuple):
    """One option of an object."""

    name: str
    default: str
    """Empty if it has to be given."""
    allowed: str
    purpose: str
    """Its first sentence in the docstring."""

    def __str__(self) -> str:
        value = f" = {self.default}" if self.default else ", to be given"
        return f"{self.name}{value}  ({self.allowed}){self.purpose and ': ' + self.purpose}"


def options_of(table: Table, name: str) -> list[Option]:
    """Return the options of an object of a table, which is imported for that; none if it cannot be imported here."""
    try:
        found = lookup(table, name)
    except InputError:
        return []
    described = _described(found)
    if issubclass(found, BaseModel):
        return [option for option in _of_schema(found, described) if option.name not in GIVEN]
    return [*_of_signature(found, described)]


def options_of_scenarios() -> list[Option]:
    """Return what every scenario may be told with ``--set``, beside its stream, model and arms."""
    return [
        option._replace(name=f"{part}.{option.name}")
        for part, model in PARTS.items()
        for option in _of_schema(model, _described(model))
    ]


def _of_signature(found: type, described: Mapping[str, tuple[str, str]]) -> Iterator[Option]:
    for name, parameter in inspect.signature(found).parameters.items():
        if name in GIVEN or parameter.kind is parameter.VAR_KEYWORD:
            continue
        annotation = parameter.annotation if isinstance(parameter.annotation, str) else ""
        kind, purpose = described.get(name, (annotation or "any", ""))
        default = "" if parameter.default is parameter.empty else repr(parameter.default)
        yield Option(name, default, kind.removesuffix(", optional"), purpose)


def _of_schema(model: type[BaseModel], described: Mapping[str, tuple[str, str]]) -> Iterator[Option]:
    schema = model.model_json_schema()
    for name, part in schema["properties"].items():
        default = "" if name in schema.get("required", ()) else repr(part.get("default"))
        yield Option(name, default, _allowed(part), described.get(name, ("", ""))[1])


def _allowed(schema: Mapping[str, Any]) -> str:
    """Say what a JSON schema allows.

    Examples
    --------
    >>> _allowed({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]})
    'integer at least 1, or none'
    >>> _allowed({"type": "array", "items": {"type": "number", "minimum": 0, "maximum": 1}})
    'list of number 0 to 1'
    """
    if "anyOf" in schema:
        return ", or ".join(map(_allowed, schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(map(repr, schema["enum"]))
    if "const" in schema:
        return repr(schema["const"])
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_allowed(schema.get('items', {}))}"
    least, most = schema.get("minimum"), schema.get("maximum")
    ends = [
        f"{least} to {most}" if None not in (least, most) else "",
        f"at least {least}" if most is None and least is not None else "",
        f"at most {most}" if least is None and most is not None else "",
        f"above {schema['exclusiveMinimum']}" if "exclusiveMinimum" in schema else "",
        f"below {schema['exclusiveMaximum']}" if "exclusiveMaximum" in schema else "",
    ]
    return " ".join(
        [{"null": "none", "boolean": "true or false", "object": "table"}.get(kind, kind), *filter(None, ends)]
    )


def _described(found: type) -> dict[str, tuple[str, str]]:
    """Return type and first sentence of the parameters that the docstrings of a class and its bases describe."""
    described: dict[str, tuple[str, str]] = {}
    for cls in reversed(found.__mro__):
        text = inspect.cleandoc(vars(cls).get("__doc__") or "")
        section = re.search(r"^Parameters\n-+\n(.*?)(?:^\w[^\n]*\n-+\n|\Z)", text, re.DOTALL | re.MULTILINE)
        for entry in re.finditer(
            r"^(\w[\w, ]*) : ([^\n]+)\n((?:[ \t]+[^\n]*\n?|\n)*)", section[1] if section else "", re.M
        ):
            sentence = re.split(r"(?<=[^.])\. ", " ".join(entry[3].split()), maxsplit=1)[0].removesuffix(".")
            plain = re.sub(
                r":math:`([^`]*)`|``([^`]*)``", lambda each: (each[1] or each[2]).replace("\\", ""), sentence
            )
            for name in entry[1].split(", "):
                described[name] = entry[2], plain
    return described
