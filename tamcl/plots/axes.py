"""What pictures share: new axes, marks of shifts, lines with bands, names at the ends of lines, the title."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from tamcl.plots.labels import short_names
from tamcl.plots.seeds import and_interval, mean_interval, seeds_of
from tamcl.plots.style import ArmStyle, rule

WIDE = (7.4, 3.7)
"""Size in inches of a figure made here, where nothing else is said."""

NEAREST = 0.1
"""Inches between two shifts that can be told apart, with a line between them."""


class ShownFigure(Figure):
    """A figure that a notebook shows as the value of a cell, whatever backend matplotlib has."""

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        self.savefig(content, format="png", bbox_inches="tight")
        return content.getvalue()


class ShownAxes(Axes):
    """Axes that a notebook shows as the value of a cell: the figure that they are of."""

    def _repr_png_(self) -> bytes | None:
        figure = self.get_figure(root=True)
        return figure._repr_png_() if isinstance(figure, ShownFigure) else None


class Curve(Line2D):
    """An arm's line over steps that knows its style and the interval at each of its points.

    A page reads from it what it draws anew for somebody who hovers, hides and zooms.
    """

    def __init__(self, x: ArrayLike, y: ArrayLike, low: ArrayLike, high: ArrayLike, style: ArmStyle, **options: Any):
        super().__init__(np.asarray(x), np.asarray(y), **options | {"color": style.color, "linestyle": style.line})
        self.low: NDArray[np.float64] = np.asarray(low, dtype=np.float64)
        self.high: NDArray[np.float64] = np.asarray(high, dtype=np.float64)
        self.style = style


def new_axes(width: float, height: float) -> Axes:
    """Return the axes of a new figure that pyplot does not know about; its size is in inches."""
    figure = ShownFigure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot(axes_class=ShownAxes)


def mark_shifts(ax: Axes, table: pd.DataFrame) -> tuple[str, bool]:
    """Draw a line where each experience but the first begins, as far as there is room.

    Returns
    -------
    str
        What to say of it in a title.
    bool
        Whether lines can be broken at shifts and be seen between them.
    """
    later = table[table["experience"] > 0]  # also where the first mini-batches of the stream have no rows
    starts = np.sort(later.groupby("experience")["step"].min().to_numpy())
    starts = starts[starts > 0]
    most = ax.get_window_extent().width / ax.figure.dpi / NEAREST
    if len(starts) > most:
        return f"; {len(starts)} shifts, too close to be marked", False
    marked: list[float] = []
    for step in starts:
        if not marked or most * (step - marked[-1]) > table["step"].max():
            marked.append(step)
    for step in marked:
        ax.axvline(step, **rule())
    if len(marked) < len(starts):
        return f"; dotted: {len(marked)} of {len(starts)} shifts", True
    return "; dotted: shifts" if marked else "", True


def draw_bands(
    ax: Axes, means: pd.DataFrame, drawn: dict[str, ArmStyle], bounds: tuple[float, float] = (-np.inf, np.inf)
) -> None:
    """Draw a line and a band for every arm, broken between parts; a point without a neighbour gets the arm's marker.

    Bands and the axis end at ``bounds``, beyond which no value can lie: Student's interval of two seeds knows none.
    Where there is no bound, the axis ends as far beyond the lines as they lie apart.
    """
    opacity = 0.15 * min(1, 6 / means["arm"].nunique())  # many bands on one another would hide the lines
    for arm, style in drawn.items():
        rows = means[means["arm"] == arm]
        if rows.empty:
            continue
        gaps = rows.groupby("part", as_index=False)[["at"]].max()
        broken = pd.concat([rows, gaps.iloc[:-1]]).sort_values(["part", "at"], kind="stable")
        broken[["low", "high"]] = broken[["low", "high"]].clip(*bounds)
        ax.fill_between(broken["at"], broken["low"], broken["high"], color=style.color, alpha=opacity, linewidth=0)
        known = np.isfinite(broken["mean"].to_numpy(dtype=np.float64))
        alone = known & ~np.append(False, known[:-1]) & ~np.append(known[1:], False)
        ax.add_line(Curve(
            broken["at"], broken["mean"], broken["low"], broken["high"], style, linewidth=1.4, label=arm,
            marker=style.marker, markevery=list(np.flatnonzero(alone)), ms=4, mfc=style.color, mec=style.color,
        ))  # fmt: skip
        ax.autoscale_view()
        points = broken[alone].dropna()
        if len(points):
            ax.vlines(points["at"], points["low"], points["high"], color=style.color, alpha=0.4, linewidth=3)
    least, most = bounds
    known = means["mean"][np.isfinite(means["mean"])]
    if apart := known.max() - known.min():  # bands may leave the picture, for the lines not to be flat
        least = least if np.isfinite(least) else known.min() - apart
        most = most if np.isfinite(most) else known.max() + apart
    keep_within(ax, y=(least, most))
    ax.grid(axis="y", linewidth=0.6)


def draw_means(
    ax: Axes, points: pd.DataFrame, drawn: dict[str, ArmStyle], limits: tuple[float, float], *, x: str, y: str
) -> None:
    """Draw means over seeds with their intervals at whole numbers, and all that is written around them.

    Parameters
    ----------
    ax : Axes
    points : DataFrame
        With columns arm, seed, part, at (the whole number) and value, a row a seed.
    drawn : dict of str to ArmStyle
    limits : tuple of float
        What values can be.
    x, y : str
        The labels of the axes.
    """
    draw_bands(ax, mean_interval(points, ["arm", "part", "at"], "value"), drawn, limits)
    fit_steps(ax, points["at"].min(), points["at"].max())
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    finish(ax, f"Mean{and_interval(points)} over {seeds_of(points)}")
    label_ends(ax, drawn)


def fit_steps(ax: Axes, low: float, high: float) -> None:
    """Begin and end the axis at the first and last point, with some room around points where they are few."""
    room = 0.5 if high - low < 3 else 0.0
    ax.set_xlim(low - room, high + room)
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 2.5, 5, 10]))


def keep_within(
    ax: Axes, *, x: tuple[float, float] = (-np.inf, np.inf), y: tuple[float, float] = (-np.inf, np.inf)
) -> None:
    """End the axes where no value can lie, after all is drawn."""
    for (least, most), (low, high), limit in ((x, ax.get_xlim(), ax.set_xlim), (y, ax.get_ylim(), ax.set_ylim)):
        if low < least or high > most:
            limit(max(low, least), min(high, most))


def label_ends(ax: Axes, drawn: dict[str, ArmStyle]) -> None:
    """Write each arm's name beside the end of its line, moved apart no more than is needed, and all beside the axes."""
    names = short_names(drawn)
    ends = []
    for line in ax.lines:
        points = np.asarray(line.get_xydata(), dtype=np.float64)
        points = points[np.isfinite(points).all(axis=1)]
        if line.get_label() in drawn and len(points):
            ends.append((line, points[-1]))
    if not ends:
        return
    low, high = ax.get_ylim()
    heights = np.array([(y - low) / (high - low) for _, (_, y) in ends])
    order = np.argsort(heights, kind="stable")
    size = ax.get_window_extent().height / ax.figure.dpi  # inches, before the layout is known
    step = min(0.18 / size, 0.97 / max(1, len(ends) - 1))
    apart = step * np.arange(len(ends))
    places = np.clip(_rising(heights[order] - apart), 0, 0.97 - apart[-1]) + apart
    letters = min(FontProperties(size="small").get_size_in_points(), 0.8 * 72 * step * size)
    for index, place in zip(order, places, strict=True):
        line, end = ends[index]
        leader = {"arrowstyle": "-", "color": line.get_color(), "linestyle": line.get_linestyle(), "linewidth": 1.4}
        ax.annotate(
            names[str(line.get_label())],
            tuple(end),
            (1.04, place),
            textcoords="axes fraction",
            va="center",
            size=letters,
            # without a patch: matplotlib would end the leader where it leaves the box around the name
            arrowprops=leader | {"shrinkA": 2, "shrinkB": 0, "relpos": (0, 0.5), "patchA": None},
        )


def _rising(values: np.ndarray) -> np.ndarray:
    """Return the nearest values of which none is below the one before: isotonic regression, by its min-max formula."""
    sums = np.append(0, values.cumsum())
    first, last = np.indices((len(values), len(values)))
    means = np.where(first <= last, (sums[last + 1] - sums[first]) / np.maximum(last + 1 - first, 1), np.inf)
    lowest = np.minimum.accumulate(means[:, ::-1], axis=1)[:, ::-1]  # over ends from here on
    return np.diagonal(np.maximum.accumulate(lowest, axis=0)).copy()  # over starts up to here


def legend_beside(ax: Axes) -> None:
    """Name the arms to the right of the axes."""
    handles, arms = ax.get_legend_handles_labels()
    names = short_names(arms)
    ax.legend(
        handles, [names[arm] for arm in arms], frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1, 1)
    )


def finish(ax: Axes, title: str) -> None:
    """Set the title, and take away what a picture does not need."""
    ax.set_title(title, loc="left", size="small")
    ax.spines[["top", "right"]].set_visible(False)
    for spine in ax.spines.values():
        spine.set_in_layout(False)  # they take no room, and are slow to say so
    ax.set_axisbelow(True)
