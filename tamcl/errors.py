"""What is raised where a call or a file is wrong, with how to put it right, and where a study came to nothing."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """Bad input, said in one line: which argument, its value, what is allowed.

    The command line prints the line and exits with status 2; in Python it is an ordinary ``ValueError``.
    """


class Damaged(InputError):
    """A file is there and is not as it was written: what it held has to be made again."""


class AllFailed(RuntimeError):
    """Every run of a study failed, so that there is nothing to compare; said with what the first of them failed by.

    The command line prints the line and exits with status 3.
    """


MOST_SHOWN = 400
"""Characters of a value that a message shows."""


def shown(value: object) -> str:
    """Return a value as a message of one line can show it: quoted, escaped, and its middle left out if it is long.

    Examples
    --------
    >>> shown("tamm"), shown("two\\nlines"), len(shown("x" * 10**6))
    ("'tamm'", "'two\\\\nlines'", 401)
    """
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of too many digits, or too deep
        return f"a {type(value).__name__} too large to show"
    return shortened(" ".join(line.strip() for line in text.splitlines()))  # as of an optimizer, or an array


def printable(text: str) -> str:
    """Return a text of somebody else's in one line, with an escape for whatever a terminal would take as a command.

    Examples
    --------
    >>> printable("tam\\x1b]0;title"), printable("Größe ↑")
    ('tam\\\\x1b]0;title', 'Größe ↑')
    """
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def shortened(text: str) -> str:
    """Return a text without its middle if it is long."""
    half = MOST_SHOWN // 2
    return text if len(text) <= MOST_SHOWN else f"{text[:half]}…{text[-half:]}"


def reason(error: BaseException) -> str:
    """Return what an exception says in one line: its text, or its type's name if it has none."""
    return _words(error)[: 2 * MOST_SHOWN] or type(error).__name__


def said(error: BaseException) -> str:
    """Return an exception of whatever kind in one line, with its type.

    Examples
    --------
    >>> said(KeyError("lr")), said(SystemExit())
    ("KeyError: 'lr'", 'SystemExit')
    """
    words = _words(error)
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _words(error: BaseException) -> str:
    try:
        return " ".join(str(error).split())
    except Exception:  # the user's exception may not be able to say anything
        return ""


def unknown_name(noun: str, name: object, known: Iterable[str]) -> InputError:
    """Return the error for a name that is not in a table, with the nearest name and all known ones.

    Examples
    --------
    >>> unknown_name("optimizer", "tamm", ["sgd", "tam"])
    InputError("unknown optimizer 'tamm': did you mean 'tam'? Known: sgd, tam.")
    """
    names = sorted(known)
    near = get_close_matches(str(name)[:MOST_SHOWN], names, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return InputError(f"unknown {noun} {shown(name)}: {hint}Known: {', '.join(names) or 'none'}.")
