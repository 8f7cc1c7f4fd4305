"""Arms, and how far they lie apart, over the values of a sweep."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator
from numpy.typing import NDArray

from tamcl.errors import InputError
from tamcl.plots.axes import finish, keep_within, label_ends, new_axes
from tamcl.plots.labels import better_side, bounds, metric_axis, short_names, with_direction
from tamcl.plots.seeds import counted, mean_interval
from tamcl.plots.style import ArmStyle, arm_styles, paper, rule
from tamcl.stats import ALPHA, is_shown, spacing

BESIDE = 0.065
"""Inches between the points of two arms at a value: side by side, so that their intervals can be told apart."""

NEAR = 0.03
"""Part of the axis that is between two neighbouring values at least; else all are drawn in equal steps, as names."""

LINE = 20
"""Letters of a value that stand on a line below the axis; of more than three lines its middle is left out."""

LETTERS = 10
"""Letters that an inch of the axis has room for; where there are more, they stand aslant."""

LABELS = 12
"""Most values that are written below the axis."""


def sweep(
    metrics: pd.DataFrame,
    *,
    over: str,
    metric: str = "online_accuracy",
    arms: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a metric against what a sweep changed: a line for each arm, with the interval at every value.

    Parameters
    ----------
    metrics : DataFrame
        Rows of the ``metrics`` tables of several studies with a column more, which says the value of each, as
        ``tamcl.sweeps.Sweep.metrics``; one learning rate an arm and value.
    over : str
        Name of that column. Numbers stand in proportion or, where they span decades, on a logarithmic axis; anything
        else in equal steps, in the order of the table.
    metric : str
        The metric to draw.
    arms : sequence of str, optional
        All arms of the studies in their order; those in the table if absent.
    ax : Axes, optional
        Where to draw.
    """
    rows = metrics[metrics["metric"] == metric].dropna(subset="value")
    if rows.empty:
        raise InputError(f"sweep of '{metric}': the table has no rows to draw")
    if rows.duplicated(["arm", over, "seed"]).any():
        raise InputError(
            f"sweep of '{metric}': an arm stands twice at a value of '{over}'; pass rows of one learning rate, and of"
            " one value of whatever else was swept"
        )
    drawn = arm_styles(arms if arms is not None else rows["arm"])
    label, unit, factor = metric_axis(metric)
    means = mean_interval(rows.assign(value=factor * rows["value"]), ["arm", over], "value")
    ax = ax or new_axes(5.6, 3.7)
    _lines(ax, means.rename(columns={"arm": "line"}), over, drawn, bounds(metric), metrics[over])
    ax.set_ylabel(with_direction(metric, label, unit))
    seeds = counted(rows.groupby(["arm", over], sort=False)["seed"].nunique(), "seed")
    finish(ax, f"Mean{' and 95 % interval' if means['count'].max() > 1 else ''} over {seeds}")
    label_ends(ax, drawn)
    return ax


def sweep_differences(
    comparisons: pd.DataFrame, *, over: str, metric: str = "online_accuracy", ax: Axes | None = None
) -> Axes:
    """Draw the paired differences of arms against what a sweep changed; filled where a difference is shown.

    Parameters
    ----------
    comparisons : DataFrame
        Rows of the ``comparisons`` tables of several studies with a column more, which says the value of each, as
        ``tamcl.sweeps.Sweep.comparisons``.
    over : str
        Name of that column, as of ``sweep``.
    metric : str
        The metric to draw.
    ax : Axes, optional
        Where to draw.
    """
    rows = comparisons[(comparisons["metric"] == metric) & (comparisons["n_pairs"] > 0)]
    if rows.empty:
        raise InputError(f"sweep_differences of '{metric}': the table has no rows to draw")
    if rows.duplicated(["arm_a", "arm_b", over]).any():
        raise InputError(
            f"sweep_differences of '{metric}': a pair stands twice at a value of '{over}'; pass rows of one value of"
            " whatever else was swept"
        )
    label, unit, factor = metric_axis(metric)
    least, most = bounds(metric)
    pairs = rows["arm_a"] + " − " + rows["arm_b"]
    drawn = arm_styles(pairs)
    points = rows.assign(
        line=pairs, mean=factor * rows["diff"], low=factor * rows["ci_low"], high=factor * rows["ci_high"]
    )
    points["filled"] = [is_shown(row) for _, row in rows.iterrows()]
    ax = ax or new_axes(5.6, 3.0)
    ax.axhline(0, **rule())
    _lines(ax, points, over, drawn, (least - most, most - least), comparisons[over])
    side = better_side(metric)
    ax.set_ylabel(f"Difference ({'points' if unit == '%' else unit or label})" + (f"\n{side}" if side else ""))
    finish(ax, f"Paired over {counted(rows['n_pairs'], 'seed')}, 95 % interval; filled: p ≤ {ALPHA:g} after Holm")
    label_ends(ax, drawn)
    return ax


def _lines(
    ax: Axes,
    points: pd.DataFrame,
    over: str,
    drawn: dict[str, ArmStyle],
    limits: tuple[float, float],
    values: pd.Series,
) -> None:
    """Draw a line for each style: ``points`` has the columns line, mean, low, high and, if not all are, filled."""
    values = pd.Series(pd.unique(values))
    kind = spacing(values)
    values = values if kind == "names" else values.sort_values()
    where = _places(values, kind)
    if len(values) > 1 and np.diff(where).min() < NEAR * np.ptp(where):
        kind, where = "names", _places(values, "names")
    places = dict(zip(values, where, strict=True))
    present = [name for name in drawn if (points["line"] == name).any()]
    span = max(places.values()) - min(places.values()) or 1.0
    beside = BESIDE * span / (ax.get_window_extent().width / ax.figure.dpi)
    for number, name in enumerate(present):
        style, rows = drawn[name], points[points["line"] == name]
        at = rows[over].map(places).to_numpy(dtype=np.float64)
        rows, at = rows.iloc[np.argsort(at)], np.sort(at) + beside * (number - (len(present) - 1) / 2)
        low, high = (rows[end].clip(*limits) for end in ("low", "high"))
        x = 10**at if kind == "log" else at
        ax.vlines(x, low, high, color=style.color, lw=1.6)
        ax.plot(x, rows["mean"], ls=style.line, lw=1.2, color=style.color, label=name)
        filled = rows["filled"].to_numpy(dtype=bool) if "filled" in rows else np.ones(len(rows), dtype=bool)
        for chosen, fill in ((filled, style.color), (~filled, paper())):
            ax.plot(x[chosen], rows["mean"][chosen], style.marker, color=style.color, mfc=fill, ms=5)
    _axis(ax, over, [*places], np.array([*places.values()]), kind)
    keep_within(ax, y=limits)
    ax.grid(axis="y", linewidth=0.6)


def _places(values: pd.Series, kind: str) -> NDArray[np.float64]:
    """Return where values stand: as they are, their decimal logarithms, or 0, 1, 2."""
    if kind == "names":
        return np.arange(len(values), dtype=np.float64)
    numbers = values.to_numpy(dtype=np.float64)
    return np.log10(numbers) if kind == "log" else numbers


def _axis(ax: Axes, over: str, values: list[object], places: NDArray[np.float64], kind: str) -> None:
    """Write the values below the axis, or every so many of them."""
    if kind == "log":
        ax.set_xscale("log")
        ax.xaxis.set_minor_locator(NullLocator())
    every = -(-len(values) // LABELS)
    texts = [f"{value:g}" if isinstance(value, int | float) else str(value) for value in values]
    if max(map(len, texts)) > 3 * LINE:
        texts = list(short_names(texts).values())
    texts = [textwrap.fill(text, LINE) for text in texts[::every]]
    ax.xaxis.set_major_locator(FixedLocator([]))
    ax.set_xticks((10**places if kind == "log" else places)[::every], texts)
    longest = max(len(line) for text in texts for line in text.split("\n"))
    if longest * len(texts) > LETTERS * ax.get_window_extent().width / ax.figure.dpi:
        ax.tick_params(axis="x", labelrotation=30)
        for text in ax.get_xticklabels():
            text.set_horizontalalignment("right")
    ax.set_xlabel(over)
