"""What callers from Python give, checked as it comes in: a wrong kind of value is said there, and not deep inside."""

from __future__ import annotations

from collections.abc import Iterable
from operator import index
from os import PathLike
from typing import Any, TypeVar

from tamcl.errors import InputError, shown

T = TypeVar("T")


def whole_number(what: str, value: Any, least: int, most: int | None = None) -> int:
    """Return a whole number, NumPy's as Python's.

    Parameters
    ----------
    what : str
        What an error begins with, before the value.
    value : object
    least, most : int
        What is allowed; any from ``least`` on if there is no most.

    Raises
    ------
    InputError
        If it is none, or too small or too large.

    Examples
    --------
    >>> whole_number("jobs =", "2", 1)
    Traceback (most recent call last):
    ...
    tamcl.errors.InputError: jobs = '2': must be a whole number
    """
    try:
        number = index(value)
    except TypeError as error:
        raise InputError(f"{what} {shown(value)}: must be a whole number") from error
    if isinstance(value, bool):
        raise InputError(f"{what} {value}: must be a whole number")
    if number < least or (most is not None and number > most):
        allowed = f"at least {least}" if most is None else f"{least} to {most}"
        raise InputError(f"{what} {number}: must be {allowed}")
    return number


def several(what: str, values: Any, such_as: str) -> list[Any]:
    """Return what was given as a list; a text or a path is one value, and not several of one letter each.

    Parameters
    ----------
    what : str
        What an error begins with.
    values : object
    such_as : str
        How it is written.

    Raises
    ------
    InputError
        If it is no list, nor anything else that gives one value after the other.

    Examples
    --------
    >>> several("arms", "tam", "['tam', 'adam']")
    Traceback (most recent call last):
    ...
    tamcl.errors.InputError: arms = 'tam': must be a list, such as ['tam', 'adam']
    """
    if isinstance(values, str | bytes | PathLike) or not isinstance(values, Iterable):
        raise InputError(f"{what} = {shown(values)}: must be a list, such as {such_as}")
    return list(values)


def texts(what: str, values: Any, such_as: str) -> list[str]:
    """Return texts as a list; parameters and errors are those of ``several``, and each value must be a text."""
    found = several(what, values, such_as)
    for value in found:
        if not isinstance(value, str):
            raise InputError(f"{what}: has {shown(value)}, and must hold texts, such as {such_as}")
    return found


def instance(what: str, value: Any, kind: type[T], called: str = "") -> T:
    """Return what was given if it is of a kind, which an error calls by its name, or as is said.

    Examples
    --------
    >>> instance("command", 1, str, "a text")
    Traceback (most recent call last):
    ...
    tamcl.errors.InputError: command = 1: must be a text
    """
    if not isinstance(value, kind):
        raise InputError(f"{what} = {shown(value)}: must be {called or f'a {kind.__module__}.{kind.__qualname__}'}")
    return value


def function(what: str, value: Any) -> None:
    """Refuse what cannot be called."""
    if not callable(value):
        raise InputError(f"{what} = {shown(value)}: must be a function")
