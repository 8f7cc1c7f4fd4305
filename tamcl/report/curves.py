"""The curves of a figure as data: from it the page draws them anew for a reader who hovers, hides and zooms."""

from __future__ import annotations

from math import log10
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tamcl.plots import arm_styles, short_names
from tamcl.plots.axes import Curve
from tamcl.plots.style import Line

MOST = 12_000
"""Points that all curves of a figure have together in the page, for it to stay below 5 MB."""

DASHES = {"-": [], "--": [3.7, 1.6], ":": [1, 1.65], "-.": [6.4, 1.6, 1, 1.6]}
"""Matplotlib's lengths of dashes and gaps, in widths of the line."""


def live(figure: Figure, arms: list[str], finer: Axes | None = None) -> dict[str, Any] | None:
    """Return what a page needs to draw a figure's curves itself, or None where a panel has other lines than arms'.

    Parameters
    ----------
    figure : Figure
        It was drawn, so that its axes have their places.
    arms : list of str
        All arms of the study.
    finer : Axes, optional
        The curves of the first panel with more points, for who zooms in.

    Returns
    -------
    dict
        ``arms``, and for each of ``panels`` its labels, height in pixels, digits of a number, and one view or two:
        title, limits, shifts, other straight lines, where points stand, and by arm which of these places its are,
        mean, low and high. There is no low and no high of a single seed.
    """
    styles = arm_styles(arms)
    shown = [ax for ax in figure.axes if _curves(ax)]
    of_arms = all(styles.get(str(curve.get_label())) == curve.style for ax in shown for curve in _curves(ax))
    if not shown or not of_arms or len(shown) < len(figure.axes):
        return None
    every = _every(shown)
    panels: list[dict[str, Any]] = []
    for ax in shown:
        digits = _digits(ax)
        views = [_view(ax, every, digits)]
        if finer and ax is shown[0]:
            views.append(_view(finer, _every([finer]), digits))
        panels.append(
            {
                "x": ax.get_xlabel() or shown[-1].get_xlabel(),
                "y": " ".join((ax.get_ylabel() or ax.get_title(loc="left")).split()),
                "height": round(96 * ax.bbox.height / figure.dpi),
                "digits": digits,
                "views": views,
            }
        )
    names = short_names(arms)
    drawn = {arm for panel in panels for arm in panel["views"][0]["curves"]}
    return {
        "arms": [
            {"name": arm, "short": names[arm], "color": style.color, "dash": _dashes(style.line)}
            for arm, style in styles.items()
            if arm in drawn
        ],
        "panels": panels,
    }


def _curves(ax: Axes) -> list[Curve]:
    return [line for line in ax.lines if isinstance(line, Curve)]


def _every(shown: list[Axes]) -> int:
    """Return of how many points in a row two must do, for all curves to have no more than there may be."""
    return -(-2 * sum(len(curve.low) for ax in shown for curve in _curves(ax)) // MOST)


def _digits(ax: Axes) -> int:
    """Return how many digits tell apart some hundred values on the axis: as many are kept, and shown."""
    low, high = ax.get_ylim()
    return max(4, round(log10(max(abs(low), abs(high)) / (high - low))) + 3)


def _view(ax: Axes, every: int, digits: int) -> dict[str, Any]:
    """Return the curves of an axes, its limits, and its straight lines, such as shifts and 0."""
    title = " ".join(ax.get_title(loc="left").split()) if ax.get_ylabel() else ""
    if every > 2:
        title += f"; of every {every} points in a row the lowest and the highest"
    columns = {str(curve.get_label()): _numbers(curve, every, digits) for curve in _curves(ax)}
    places = list(dict.fromkeys(tuple(x) for x, *_ in columns.values()))  # mostly one: arms share their stream
    straight = [np.asarray(line.get_xydata()) for line in ax.lines if not isinstance(line, Curve)]
    return {
        "title": title,
        "limits": [list(map(float, ax.get_xlim())), list(map(float, ax.get_ylim()))],
        "shifts": [float(line[0, 0]) for line in straight if line[0, 0] == line[-1, 0]],
        "levels": [float(line[0, 1]) for line in straight if line[0, 1] == line[-1, 1]],
        "places": places,
        "curves": {arm: [places.index(tuple(x)), *lines] for arm, (x, *lines) in columns.items()},
    }


def _numbers(curve: Curve, every: int, digits: int) -> list[list[float | None]]:
    """Return x, mean, low and high; where a line is broken stands a point without a mean, between its neighbours."""
    x, mean = np.array(curve.get_xydata(), dtype=np.float64).T
    [gaps] = np.nonzero(np.isnan(mean))
    inner = gaps[gaps < len(x) - 1]
    x[inner] = (x[inner] + x[inner + 1]) / 2
    kept = _ends(mean, every) if every > 2 else np.arange(len(mean))
    known = np.isfinite(mean) & np.isfinite(curve.low) & np.isfinite(curve.high)  # no band has one edge alone
    ends = [np.where(known, end, np.nan) for end in (curve.low, curve.high)]
    columns = [mean, *ends] if known.any() else [mean]
    return [_rounded(x[kept], 8), *(_rounded(column[kept], digits) for column in columns)]


def _ends(values: NDArray[np.float64], every: int) -> NDArray[np.int64]:
    """Return the places of the lowest and the highest of every so many values in a row, and of all that are nan."""
    known = pd.Series(values).dropna()
    groups = known.groupby(known.index // every)
    return np.unique([*groups.idxmin(), *groups.idxmax(), *np.flatnonzero(np.isnan(values))]).astype(np.int64)


def _rounded(values: NDArray[np.float64], digits: int) -> list[float | None]:
    """Return numbers to so many digits, and None of those that are not finite, which JSON has not."""
    near = [float(f"{value:.{digits}g}") if np.isfinite(value) else None for value in values.tolist()]
    return [int(value) if value is not None and value.is_integer() else value for value in near]


def _dashes(line: Line) -> list[float]:
    return list(DASHES[line] if isinstance(line, str) else map(float, line[1]))
