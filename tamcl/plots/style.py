"""How an arm is drawn, the same in every picture, and the colours of a light and a dark page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import matplotlib as mpl
import pandas as pd

from tamcl.errors import InputError

Line: TypeAlias = str | tuple[int, tuple[int, ...]]
"""A line style of matplotlib: a name, or an offset and the lengths of dashes and gaps."""


class ArmStyle(NamedTuple):
    """How an arm is drawn."""

    color: str
    line: Line
    marker: str


KNOWN = {
    "sgdm": ArmStyle("#0072B2", "-", "o"),
    "tam": ArmStyle("#D55E00", "-", "s"),
    "tam_frozen": ArmStyle("#E69F00", "--", "D"),
    "adam": ArmStyle("#009E73", "-", "^"),
    "adatam": ArmStyle("#CC79A7", "-", "v"),
    "adam_cm": ArmStyle("#56B4E9", "-", "p"),
}
"""Styles of the arms that the scenarios bring, in the colours of Okabe and Ito (Color Universal Design, 2008)."""

OTHERS = ("#8C6BB1", "#A6761D", "#7F8790", "#B5A800", "#2A9D8F", "#E0567A", "#8BC34A")
"""Colours of all other arms in their order; after the last the first comes again with another line and marker."""

LINES: tuple[Line, ...] = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (2, 1)))
MARKERS = "X<>hdP"
"""Of the other arms up to 42 differ in colour and line, and in colour and marker."""


def arm_styles(arms: Iterable[str]) -> dict[str, ArmStyle]:
    """Return the style of every arm: well-known arms have a fixed one, others take the next free one in their order.

    Examples
    --------
    >>> arm_styles(["tam", "mine", "yours"])["mine"]
    ArmStyle(color='#8C6BB1', line='-', marker='X')
    """
    arms = list(dict.fromkeys(arms))
    others = [arm for arm in arms if arm not in KNOWN]
    free = {}
    for i, arm in enumerate(others):
        again, place = divmod(i, len(OTHERS))
        line, marker = LINES[again % len(LINES)], MARKERS[(place + again) % len(MARKERS)]
        free[arm] = ArmStyle(OTHERS[place], line, marker)
    return {arm: KNOWN[arm] if arm in KNOWN else free[arm] for arm in arms}


def checked_styles(table: pd.DataFrame, arms: Sequence[str] | None, what: str) -> dict[str, ArmStyle]:
    """Return the styles to draw with, after checking that every arm stands at one learning rate of one scenario."""
    if table.empty:
        raise InputError(f"{what}: the table has no rows to draw")
    columns = {"scenario": "scenarios", "lr": "learning rates", "options": "values of its options"}
    for column, words in columns.items():
        if column not in table:
            continue
        several = table.groupby("arm")[column].nunique().loc[lambda counts: counts > 1]
        if len(several):
            raise InputError(f"{what}: arm '{several.index[0]}' stands at {several.iloc[0]} {words}; pass rows of one")
    drawn = arm_styles(arms if arms is not None else table["arm"])
    if drawn.keys().isdisjoint(table["arm"]):
        raise InputError(
            f"{what}: arms = {', '.join(drawn) or 'none'}: the table has {', '.join(table['arm'].unique())}"
        )
    return drawn


def theme(dark: bool = False) -> dict[str, Any]:
    """Return the matplotlib settings of a figure on a light or a dark page, for ``matplotlib.rc_context``.

    They are all settings of matplotlib as it comes with ours on top, so that a picture does not depend on a
    matplotlibrc or on a style in use.
    """
    defaults = {name: value for name, value in mpl.rcParamsDefault.items() if not name.startswith("backend")}
    ink, paper, grid = ("#E4E7EB", "#15191F", "#363D47") if dark else ("#1F2430", "#FFFFFF", "#DDE1E6")
    ground = dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), paper)
    lines = dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), ink)
    ours = {"font.size": 9.0, "axes.linewidth": 0.8, "grid.color": grid, "axes.titley": 1.0}  # else looked for anew
    words = {"text.parse_math": False}  # an arm's name may have a dollar
    return defaults | ours | words | ground | lines


def ink() -> str:
    """Return the colour of text and lines that belong to no arm."""
    return str(mpl.rcParams["text.color"])


def paper() -> str:
    """Return the colour of the ground."""
    return str(mpl.rcParams["axes.facecolor"])


def rule() -> dict[str, Any]:
    """Return how a shift or a zero line is drawn: behind the data and quieter."""
    return {"color": ink(), "linewidth": 0.8, "linestyle": (0, (1, 2)), "alpha": 0.7, "zorder": 0.9}
