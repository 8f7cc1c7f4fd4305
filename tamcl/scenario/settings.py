"""The grammar of the command line's settings: ``a.b=value`` and ``NAME,key=value``."""

from __future__ import annotations

import tomllib
from typing import Any

from tamcl.errors import InputError, shortened, shown


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


def change(values: dict[str, Any], setting: str) -> None:
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
