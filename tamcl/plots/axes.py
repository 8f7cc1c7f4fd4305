"""What pictures share: new axes, marks of shifts, lines with bands, names at the ends of lines, the title."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.optimize import isotonic_regression

from tamcl.plots.style import Look, rule

WIDE = (7.4, 3.7)
"""Size in inches of a figure made here, where nothing else is said."""


def new_axes(width: float, height: float) -> Axes:
    """Return the axes of a new figure that pyplot does not know about; its size is in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def mark_shifts(ax: Axes, table: pd.DataFrame) -> str:
    """Draw a line where each experience but the first begins, and return what to say of it in a title."""
    starts = table.groupby("experience")["step"].min()
    for step in starts[starts > 0]:
        ax.axvline(step, **rule())
    return "; dotted: shifts" if len(starts) > 1 else ""


def draw_bands(ax: Axes, means: pd.DataFrame, drawn: dict[str, Look]) -> None:
    """Draw a line and a band for every arm, broken between parts."""
    for arm, look in drawn.items():
        rows = means[means["arm"] == arm]
        if rows.empty:
            continue
        gaps = rows.groupby("part", as_index=False)[["at"]].max()
        broken = pd.concat([rows, gaps.iloc[:-1]]).sort_values(["part", "at"], kind="stable")
        ax.fill_between(broken["at"], broken["low"], broken["high"], color=look.color, alpha=0.15, linewidth=0)
        ax.plot(broken["at"], broken["mean"], color=look.color, linestyle=look.line, linewidth=1.4, label=arm)
    ax.grid(axis="y", linewidth=0.6)


def label_ends(ax: Axes, drawn: dict[str, Look]) -> None:
    """Write each arm's name beside the end of its line, moved apart no more than is needed."""
    lines = [line for line in ax.lines if line.get_label() in drawn]
    ends = [np.asarray(line.get_xydata(), dtype=np.float64)[-1] for line in lines]
    low, high = ax.get_ylim()
    heights = np.array([(y - low) / (high - low) for _, y in ends])
    order = np.argsort(heights)
    size = ax.get_window_extent().height / ax.figure.dpi  # inches, before the layout is known
    apart = 0.18 / size * np.arange(len(lines))
    places = isotonic_regression(heights[order] - apart).x + apart
    places -= max(0.0, places[-1] - 0.97)
    for index, place in zip(order, places, strict=True):
        line = lines[index]
        leader = {"arrowstyle": "-", "color": line.get_color(), "linestyle": line.get_linestyle(), "linewidth": 1.4}
        ax.annotate(
            str(line.get_label()),
            tuple(ends[index]),
            (1.04, place),
            textcoords="axes fraction",
            va="center",
            size="small",
            arrowprops=leader | {"shrinkA": 2, "shrinkB": 0, "relpos": (0, 0.5)},
        )


def finish(ax: Axes, title: str) -> None:
    """Set the title, and take away what a picture does not need."""
    ax.set_title(title, loc="left", size="small")
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_axisbelow(True)
