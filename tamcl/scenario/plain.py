"""Values and texts from outside: plain ones of a sane size, so that whatever is made of them cannot be nonsense."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from tamcl.errors import InputError, shortened, shown

DEEPEST = 20
"""Lists and tables within each other; a scenario has five at most."""

LONGEST = 20_000
"""Characters of a text: some pages."""


def check_plain(value: Any, path: str = "", depth: int = 0) -> None:
    """Check that a value is made of texts, numbers, truth values, lists and tables alone.

    Parameters
    ----------
    value : object
        As TOML or JSON give it.
    path : str
        What to call it.
    depth : int
        In how many lists and tables it stands.

    Raises
    ------
    InputError
        Naming the place in it that is something else, such as a date, or no finite number, or a whole number of more
        than 64 bits, too long or too deep, or holds characters that are no text.

    Examples
    --------
    >>> check_plain({"lr": [0.1, float("nan")]})
    Traceback (most recent call last):
    ...
    tamcl.errors.InputError: lr.1 = nan: must be a finite number
    """
    match value:
        case None | bool():
            return
        case str():
            why = unprintable(value, but="\n\t")
            if not why and len(value) > LONGEST:
                why = f"has {len(value)} characters, and at most {LONGEST} are taken"
        case int():
            why = "" if -(2**63) <= value < 2**63 else "must be a whole number of at most 64 bits"
        case float():
            why = "" if isfinite(value) else "must be a finite number"  # JSON has no other
        case Mapping() | list() | tuple():
            _check_parts(value, path, depth)
            return
        case _:
            why = f"is a {type(value).__name__}; must be a text, a number, true or false, a list or a table"
    if why:
        raise InputError(f"{path} = {shown(value)}: {why}")


def _check_parts(value: Mapping[Any, Any] | list[Any] | tuple[Any, ...], path: str, depth: int) -> None:
    if depth >= DEEPEST:
        raise InputError(f"{shortened(path)}: lists and tables are more than {DEEPEST} deep")
    pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, part in pairs:
        if why := unprintable(str(key)):
            raise InputError(f"{path and path + ': '}key {shown(key)}: {why}")
        if len(str(key)) > LONGEST:
            raise InputError(f"{path and path + ': '}key {shown(key)}: has {len(str(key))} characters")
        check_plain(part, f"{path}.{key}" if path else str(key), depth + 1)


def unprintable(text: str, but: str = "") -> str:
    """Return why a text cannot be shown in one line and kept in a file; nothing if it can.

    Examples
    --------
    >>> unprintable("n\u00b2 \u2192 \u00b1"), unprintable("a\\0b")
    ('', 'holds the character U+0000')
    """
    bad = next((c for c in text if (c < " " or "\x7f" <= c < "\xa0" or "\ud800" <= c <= "\udfff") and c not in but), "")
    return f"holds the character U+{ord(bad):04X}" if bad else ""


_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}


def unfit_as_file(name: str) -> str:
    """Return why a file or folder cannot have this name on every system; nothing if it can.

    Examples
    --------
    >>> unfit_as_file("label_flip"), unfit_as_file("con.old"), unfit_as_file("a.")
    ('', "'con' is a device on Windows", 'ends with a dot or a space, which Windows drops')
    """
    if bad := next((c for c in name if c in '<>:"/\\|?*'), ""):
        return f"holds '{bad}', which no name on Windows does"
    if name.endswith((".", " ")):
        return "ends with a dot or a space, which Windows drops"
    first = name.partition(".")[0].strip()
    return f"'{first}' is a device on Windows" if first.lower() in _DEVICES else unprintable(name)
