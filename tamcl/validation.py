"""What pydantic refuses, in the words of this project and of TOML: *text, whole number, list, table*."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tamcl.errors import shown

_NUMBERS = dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number")
_NUMBERS |= dict.fromkeys(("float_type", "float_parsing"), "a number")

_KINDS = _NUMBERS | {
    "string_type": "a text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "finite_number": "a finite number",
}

_LISTS = {"tuple_type", "list_type"}
_TABLES = {"dict_type", "model_type", "model_attributes_type"}


def allowed(error: Mapping[str, Any], table: str = "a table") -> str:
    """Return what is to be said after a value that pydantic refuses.

    Parameters
    ----------
    error : mapping
        One of ``ValidationError.errors()``.
    table : str
        What a table is called.

    Examples
    --------
    >>> allowed({"type": "tuple_type", "input": 0.1, "msg": "Input should be a valid tuple"})
    'must be a list, such as [0.1]'
    >>> allowed({"type": "greater_than", "input": -1, "msg": "Input should be greater than 0"})
    'must be greater than 0'
    """
    kind, given, context = error["type"], error["input"], error.get("ctx", {})
    if kind in _LISTS:
        is_one = isinstance(given, str | int | float) and not isinstance(given, bool) and given != ""
        return f"must be a list, such as [{shown(given)}]" if is_one else "must be a list"
    if kind in _TABLES:
        return f"must be {table}"
    if kind in ("too_short", "too_long"):
        most, bound = ("least", "min_length") if kind == "too_short" else ("most", "max_length")
        return f"holds {context['actual_length']}, and must hold at {most} {context[bound]}"
    return f"must be {_KINDS.get(kind) or error['msg'].removeprefix('Input should be ')}"
