"""How the values of a sweep are called where there is little room: of tables their names, and what differs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tamcl.scenario.settings import value_text


def labels(values: Iterable[Any]) -> dict[str, str]:
    """Return a short text for each of a key's values, by what ``value_text`` says of it.

    Where some are tables or lists of them, these are called by their names with the options in which those of a name
    differ, and an empty one "none". Others, and what could be told apart no longer, are as they are in full.

    Examples
    --------
    >>> l2 = [[{"name": "l2_init", "strength": strength}] for strength in (0.01, 0.1)]
    >>> list(labels([[], *l2]).values())
    ['none', 'l2_init (strength 0.01)', 'l2_init (strength 0.1)']
    >>> list(labels([[], [{"name": "l2_init", "strength": 0.01}, {"name": "layer_norm"}]]).values())
    ['none', 'l2_init + layer_norm']
    >>> labels([0.2, [100, 100], "keep"])
    {'0.2': '0.2', '[100, 100]': '[100, 100]', 'keep': 'keep'}
    """
    by_text = {value_text(value): value for value in values}
    held = [table for value in by_text.values() for table in _tables(value) or ()]
    if not held:
        return {text: text for text in by_text}
    short = {text: _called(value, held) for text, value in by_text.items()}
    said = list(short.values())
    return {text: label if said.count(label) == 1 else text for text, label in short.items()}


def names(studies: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return in words which study each is, by its values of the swept keys.

    Examples
    --------
    >>> names([{"stream.fraction": 0.2, "model.hidden": [100]}, {"stream.fraction": 0.8, "model.hidden": [100]}])
    ['stream.fraction = 0.2, model.hidden = [100]', 'stream.fraction = 0.8, model.hidden = [100]']
    """
    by_key = {key: labels(study[key] for study in studies) for key in studies[0]}
    return [", ".join(f"{key} = {by_key[key][value_text(value)]}" for key, value in each.items()) for each in studies]


def _tables(value: Any) -> list[dict[str, Any]] | None:
    """Return the tables that a value is or lists, none of an empty one, and None where it is anything else."""
    if value is None or value == {}:
        return []
    listed = value if isinstance(value, list | tuple) else [value]
    return list(listed) if all(isinstance(each, dict) for each in listed) else None


def _called(value: Any, held: list[dict[str, Any]]) -> str:
    tables = _tables(value)
    if tables is None:
        return value_text(value)
    return " + ".join(_table_called(table, held) for table in tables) or "none"


def _table_called(table: dict[str, Any], held: list[dict[str, Any]]) -> str:
    """Return a table's name and the options in which it differs from others of that name."""
    alike = [other for other in held if _name(other) == _name(table)]
    differing = [
        f"{key} {value_text(value)}"
        for key, value in table.items()
        if key not in ("name", "optimizer")
        and any(key not in other or value_text(other[key]) != value_text(value) for other in alike)
    ]
    name, options = _name(table), ", ".join(differing)
    return f"{name} ({options})" if name and options else name or options or value_text(table)


def _name(table: dict[str, Any]) -> str:
    return str(table.get("name") or table.get("optimizer") or "")
