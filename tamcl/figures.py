"""The figures of a report: which pictures a study gets, in light and dark, for a wide page and for a phone."""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from tamcl import plots
from tamcl.metrics import METRICS
from tamcl.results import write_atomic

DPI = 200
"""Twice that of a screen, so that lines stay sharp on good screens and on paper."""

WIDTHS = {"wide": 7.4, "narrow": 3.7}
"""Inches; text is set in the same size in both, so a phone needs no magnifying glass."""


@dataclass(frozen=True)
class Picture:
    """One figure of the report.

    Attributes
    ----------
    name : str
        Its file is ``figures/<name>.png``.
    title, caption : str
        What it shows, and how to read it.
    sources : dict of str to str
        The images as data URIs: "wide", "wide dark", "narrow", "narrow dark".
    width, height : int
        Size of the wide image in pixels.
    """

    name: str
    title: str
    caption: str
    sources: dict[str, str]
    width: int
    height: int


class Drawing(NamedTuple):
    """What is drawn: a function from a layout, "wide" or "narrow", to a figure."""

    name: str
    title: str
    caption: str
    draw: Callable[[str], Figure]


@dataclass(frozen=True)
class Tables:
    """What the figures show: rows of the reported seeds, and how the learning rates were chosen."""

    online: pd.DataFrame
    eval: pd.DataFrame
    metrics: pd.DataFrame
    comparisons: pd.DataFrame
    tuning: pd.DataFrame
    arms: list[str]
    tune_by: str

    @property
    def shown_metrics(self) -> list[str]:
        """Metrics that have a value, the one that was tuned for first."""
        present = set(self.metrics.dropna(subset="value")["metric"])
        return sorted(present, key=lambda name: (name != self.tune_by, [*METRICS, name].index(name)))


def draw_pictures(tables: Tables, directory: Path) -> list[Picture]:
    """Draw every figure that the tables allow and write it to ``directory/figures``."""
    return [_picture(drawing, directory / "figures") for drawing in drawings(tables)]


def drawings(tables: Tables) -> Iterator[Drawing]:
    """Yield the figures in the order of the report."""
    if not tables.online.empty:
        yield Drawing(
            "online_accuracy",
            "Online accuracy over the stream",
            "Accuracy on every mini-batch before the model learns from it. Steeper is faster; dotted lines are shifts.",
            lambda layout: _single(layout, 3.7, plots.online_accuracy, tables.online, arms=tables.arms),
        )
    if tables.online["experience"].max() > 0:
        yield Drawing(
            "recovery",
            "Recovery after a shift",
            "All shifts laid on one another at 0: how deep accuracy falls, and how fast it comes back.",
            lambda layout: _single(layout, 3.7, plots.recovery, tables.online, arms=tables.arms),
        )
    if tables.shown_metrics:
        yield Drawing(
            "summary",
            "Metrics by arm",
            "Mean and 95 % interval over seeds, and below it a point for each seed. Arms share their streams seed by"
            " seed, so overlapping intervals do not mean equal arms: the paired differences below decide.",
            lambda layout: _summaries(tables, layout),
        )
    if not tables.comparisons.empty:
        yield Drawing(
            "differences",
            "Paired differences",
            "Difference between two arms on the same seeds, with its 95 % interval. Hollow: the interval holds 0.",
            lambda layout: _differences(tables, layout),
        )
    if not tables.eval.empty:
        yield Drawing(
            "accuracy_matrix",
            "Accuracy on every experience as training goes on",
            "Accuracy in percent, mean over seeds. Read a column downwards: an experience is learnt on the diagonal,"
            " and then kept or forgotten. The top row is the untrained model.",
            lambda layout: _matrices(tables, layout),
        )
    if tables.tuning["score"].notna().any():
        yield Drawing(
            "lr_sensitivity",
            "Score against learning rate",
            "What the choice of the learning rate rests on, on the tuning seeds. A wide top is an arm that is easy to"
            " tune; a ring at the end of its line means that the grid should be widened.",
            lambda layout: _tuning(tables, layout),
        )


def _picture(drawing: Drawing, folder: Path) -> Picture:
    sources = {}
    for dark in (False, True):
        for layout in WIDTHS:
            with mpl.rc_context(plots.theme(dark)):  # type: ignore[arg-type]
                png = _png(drawing.draw(layout))
            sources[f"{layout} dark" if dark else layout] = f"data:image/png;base64,{base64.b64encode(png).decode()}"
            if layout == "wide" and not dark:
                write_atomic(folder / f"{drawing.name}.png", lambda path, png=png: path.write_bytes(png))  # type: ignore[misc]
                width, height = Image.open(io.BytesIO(png)).size
    return Picture(drawing.name, drawing.title, drawing.caption, sources, width, height)


def _png(figure: Figure) -> bytes:
    """Return the figure as a PNG of at most 256 colours: a third of the size and the same to the eye."""
    packed = io.BytesIO()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    image.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(packed, "png", dpi=(DPI, DPI))
    return packed.getvalue()


def _figure(layout: str, height: float) -> Figure:
    return Figure(figsize=(WIDTHS[layout], height), dpi=DPI, layout="constrained")


def _single(layout: str, height: float, plot: Callable[..., Axes], table: pd.DataFrame, **options: object) -> Figure:
    figure = _figure(layout, height)
    ax = plot(table, ax=figure.add_subplot(), **options)
    if layout == "narrow":
        ax.set_title(textwrap.fill(ax.get_title(loc="left"), 48), loc="left", size="small")
    return figure


def _panels(layout: str, count: int, columns: int, height: float, *, sharey: bool) -> tuple[Figure, list[Axes]]:
    """Return a figure with a grid of axes, `height` inches a row."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = _figure(layout, height * rows)
    axes = figure.subplots(rows, columns, sharey=sharey, squeeze=False).ravel()
    for ax in axes[count:]:
        ax.remove()
    return figure, list(axes[:count])


def _summaries(tables: Tables, layout: str) -> Figure:
    names = tables.shown_metrics
    height = 0.75 + 0.2 * len(tables.arms)
    figure, axes = _panels(layout, len(names), 3 if layout == "wide" else 1, height, sharey=layout == "wide")
    for metric, ax in zip(names, axes, strict=True):
        plots.summary(tables.metrics, metric=metric, arms=tables.arms, ax=ax)
        unit = plots.metric_axis(metric)[1]
        _name_panel(ax, metric, unit, f"{METRICS[metric].better} is better" if metric in METRICS else "")
    return figure


def _differences(tables: Tables, layout: str) -> Figure:
    names = [name for name in tables.shown_metrics if name in set(tables.comparisons["metric"])]
    height = 0.8 + 0.22 * tables.comparisons.groupby("metric").size().max()
    figure, axes = _panels(layout, len(names), 3 if layout == "wide" else 1, height, sharey=layout == "wide")
    for metric, ax in zip(names, axes, strict=True):
        plots.paired_differences(tables.comparisons, metric=metric, values=False, ax=ax)
        unit = plots.metric_axis(metric)[1]
        _name_panel(ax, metric, "points" if unit == "%" else unit, plots.better_side(metric))
    return figure


def _name_panel(ax: Axes, metric: str, unit: str, direction: str) -> None:
    """Say in a small panel what a figure of its own says in a long line."""
    ax.set_title(plots.metric_axis(metric)[0], loc="left", size="medium")
    ax.set_xlabel(", ".join(part for part in (unit, direction) if part), size="small")
    ax.tick_params(axis="x", labelsize="small")
    ax.xaxis.set_major_locator(MaxNLocator(4))


def _matrices(tables: Tables, layout: str) -> Figure:
    arms = [arm for arm in tables.arms if arm in set(tables.eval["arm"])]
    wide = layout == "wide"
    figure, axes = _panels(layout, len(arms), 3 if wide else 2, 2.3 if wide else 2.1, sharey=True)
    for arm, ax in zip(arms, axes, strict=True):
        plots.accuracy_matrix(tables.eval, arm=arm, numbers=None if wide else False, colorbar=False, ax=ax)
        ax.set_title(arm, loc="left", size="medium")
        ax.tick_params(labelsize="small")
        ax.set_xlabel("")
        ax.set_ylabel("")
    figure.supxlabel("tested on experience", size="medium")
    figure.supylabel("after training on experience", size="medium")
    if not wide or max(tables.eval["evaluated_on"]) > 10:
        figure.colorbar(axes[0].images[0], ax=axes, label="accuracy (%)", location="top", aspect=40)
    return figure


def _tuning(tables: Tables, layout: str) -> Figure:
    figure = _single(
        layout,
        3.5 if layout == "wide" else 3.9,
        plots.lr_sensitivity,
        tables.tuning,
        score=tables.tune_by,
        arms=tables.arms,
    )
    if layout == "narrow":
        figure.axes[0].legend(frameon=False, fontsize="small", loc="upper center", bbox_to_anchor=(0.45, -0.2), ncols=3)
    return figure
