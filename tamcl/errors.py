"""The one exception that means: the call or a file is wrong, and here is how to put it right."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """Bad input, said in one line: which argument, its value, what is allowed.

    The command line prints the line and exits with status 2; in Python it is an ordinary ``ValueError``.
    """


def unknown_name(noun: str, name: str, known: Iterable[str]) -> InputError:
    """Return the error for a name that is not in a table, with the nearest name and all known ones.

    Examples
    --------
    >>> unknown_name("optimizer", "tamm", ["sgd", "tam"])
    InputError("unknown optimizer 'tamm': did you mean 'tam'? Known: sgd, tam.")
    """
    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return InputError(f"unknown {noun} '{name}': {hint}Known: {', '.join(names) or 'none'}.")


def said(error: BaseException) -> str:
    """Return an exception of whatever kind in one line.

    Examples
    --------
    >>> said(KeyError("lr")), said(SystemExit())
    ("KeyError: 'lr'", 'SystemExit')
    """
    try:
        words = " ".join(str(error).split())
    except Exception:  # somebody's own exception may not be able to say anything
        words = ""
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
