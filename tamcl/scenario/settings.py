"""The grammar of the command line's settings: ``a.b=value`` and ``NAME,key=value``."""

from __future__ import annotations

import json
import re
import tomllib
from itertools import pairwise
from typing import Any

from tamcl.errors import InputError, shortened, shown

TOO_MUCH = "is too long a number, or lists and tables are too deep"


def parse_value(text: str) -> Any:
    """Read a value as TOML does, or a list, a table or null as JSON does; anything else is text.

    Raises
    ------
    InputError
        If it is too deep, or a number of thousands of digits.

    Examples
    --------
    >>> parse_value("1e-3"), parse_value("[1, 2]"), parse_value("keep"), parse_value('{"a": 1}'), parse_value("{a = 1}")
    (0.001, [1, 2], 'keep', {'a': 1}, {'a': 1})
    """
    try:
        values = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return _as_json(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"value {shown(text)}: {TOO_MUCH}") from error
    return values["value"] if len(values) == 1 else text  # more than one line is no value


def _as_json(text: str) -> Any:
    """Read a list, a table or null as JSON writes it; anything else is text."""
    if not text.startswith(("[", "{")) and text != "null":
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
    except (ValueError, RecursionError) as error:
        raise InputError(f"value {shown(text)}: {TOO_MUCH}") from error


def value_text(value: Any) -> str:
    """Return how a value is written for ``parse_value`` to read it, in short.

    Examples
    --------
    >>> [value_text(value) for value in (0.2, 1.0, True, "keep", "true", [100, 0.5], ["a"])]
    ['0.2', '1', 'true', 'keep', '"true"', '[100, 0.5]', '["a"]']
    """
    if isinstance(value, str) and parse_value(value) == value and re.fullmatch(r"[^\s,\[\](){}\"'=]+", value):
        return value
    return _inside(value)


def _inside(value: Any) -> str:
    """Return how a value is written inside another one, where text needs quotes."""
    if isinstance(value, dict):
        given = {key: each for key, each in value.items() if each is not None}  # which a file would not write either
        return f"{{{', '.join(f'{_name(key)} = {_inside(each)}' for key, each in given.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_inside, value))}]"
    if isinstance(value, float) and not isinstance(value, bool):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else repr(value)
    return json.dumps(value, ensure_ascii=False)


def _name(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)


def parse_over(text: str) -> tuple[str, list[Any]]:
    """Read ``a.b=value,value``: commas inside brackets and quotes are of a value.

    Examples
    --------
    >>> parse_over("model.hidden=[100,100],[200]")
    ('model.hidden', [[100, 100], [200]])
    """
    key, equals, values = text.partition("=")
    parts = _split(values)
    if not equals or not key.strip() or parts == [""]:
        raise InputError(f"--over {shortened(text)}: is not key=value,value, such as stream.fraction=0.2,0.8")
    if "" in parts:
        raise InputError(f'--over {shortened(text)}: has a comma without a value beside it; an empty text is ""')
    return key.strip(), [parse_value(part) for part in parts]


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
    parts, depth, quote, escaped = [""], 0, "", False
    for character in text:
        if escaped:
            escaped = False
        elif quote == '"' and character == "\\":
            escaped = True
        elif character == quote:
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


def change(values: dict[str, Any], setting: str) -> None:
    """Apply ``a.b=value`` to nested tables."""
    path, equals, value = setting.partition("=")
    if not equals or not all(path.strip().split(".")):
        raise InputError(f"--set {shortened(setting)}: is not key=value, such as stream.samples=500")
    put(values, path.strip(), parse_value(value.strip()), f"--set {shortened(setting)}")


def put(values: dict[str, Any], path: str, value: Any, what: str) -> None:
    """Put a value at ``a.b`` of nested tables, or ``a.0.b`` of a list of them; ``what`` is what an error is about."""
    parts = path.split(".")
    held: Any = values
    for table, inner in pairwise(parts):
        held = held[int(table)] if isinstance(held, list) else held.setdefault(table, {})
        if isinstance(held, list) and not (inner.isdecimal() and int(inner) < len(held)):
            places = f"places 0 to {len(held) - 1}" if held else "no place: it is empty"
            raise InputError(f"{what}: {shown(inner)}: the list {shown(table)} has {places}")
        if not isinstance(held, dict | list):
            raise InputError(f"{what}: {shown(table)} holds a value and has no keys")
    held[int(parts[-1]) if isinstance(held, list) else parts[-1]] = value
