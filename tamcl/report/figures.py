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
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from tamcl import plots
from tamcl.report.reading import Study
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


def draw_pictures(study: Study) -> list[Picture]:
    """Draw every figure that the study allows, and write it to its folder's ``figures``."""
    return [_picture(drawing, study.results.directory / "figures") for drawing in drawings(study)]


def drawings(study: Study) -> Iterator[Drawing]:
    """Yield the figures in the order of the report."""
    if not study.online.empty:
        yield Drawing(
            "online_accuracy",
            "Online accuracy over the stream",
            "Accuracy on every mini-batch before the model learns from it. Steeper is faster; dotted lines are shifts.",
            lambda layout: _single(layout, 3.7, plots.online_accuracy, study.online, arms=study.arms),
        )
    if study.online["experience"].max() > 0:
        yield Drawing(
            "recovery",
            "Recovery after a shift",
            "All shifts laid on one another at 0: how deep accuracy falls, and how fast it comes back.",
            lambda layout: _single(layout, 3.7, plots.recovery, study.online, arms=study.arms),
        )
    if _diagnosed(study):
        yield Drawing(
            "diagnostics",
            "What optimizer and model do over the stream",
            "Online accuracy, and below it what was measured after updates, on one time axis: mean and 95 % interval"
            " over seeds. An arm that has no such quantity is not drawn.",
            lambda layout: _over_time(study, layout),
        )
    if study.shown_metrics:
        yield Drawing(
            "summary",
            "Metrics by arm",
            "Mean and 95 % interval over seeds, and below it a point for each seed. Arms share their streams seed by"
            " seed, so overlapping intervals do not mean equal arms: look at the paired differences.",
            lambda layout: _summaries(study, layout),
        )
    if not study.comparisons.empty:
        yield Drawing(
            "differences",
            "Paired differences",
            "Difference between two arms on the same seeds, with its 95 % interval. Hollow: the interval holds 0.",
            lambda layout: _differences(study, layout),
        )
    if not study.evaluated.empty:
        yield Drawing(
            "accuracy_matrix",
            "Accuracy on every experience as training goes on",
            "Accuracy in percent, mean over seeds. Read a column downwards: an experience is learnt on the diagonal,"
            " and then kept or forgotten. The top row is the untrained model.",
            lambda layout: _matrices(study, layout),
        )
    if study.tuning["score"].notna().any():
        yield Drawing(
            "lr_sensitivity",
            "Score against learning rate",
            "What the choice of the learning rate rests on, on the tuning seeds. A wide top is an arm that is easy to"
            " tune; a ring at the end of its line means that the grid should be widened.",
            lambda layout: _tuning(study, layout),
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
    drawn, packed = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="rgba")
    size = figure.canvas.get_width_height()
    image = Image.frombytes("RGBA", size, drawn.getvalue()).convert("RGB")
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


def _diagnosed(study: Study) -> list[str]:
    """Return the diagnostics that have a value of the whole, in the order of the scenario."""
    table = study.diagnostics
    present = set(table.loc[(table["tensor"] == "") & np.isfinite(table["value"]), "diagnostic"])
    return [name for name in (study.scenario.get("diagnostics") or {}).get("names", []) if name in present]


def _over_time(study: Study, layout: str) -> Figure:
    names = _diagnosed(study)
    heights = [3.2, *[1.7] * len(names)]
    figure = _figure(layout, sum(heights))
    top, *axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    plots.online_accuracy(study.online, arms=study.arms, ax=top)
    label = top.get_xlabel()
    for name, ax in zip(names, axes, strict=True):
        plots.diagnostics(study.diagnostics, diagnostic=name, arms=study.arms, ax=ax)
        ax.set_title(ax.get_ylabel(), loc="left", size="small")
        ax.set_ylabel("")
    for ax in [top, *axes]:
        ax.set_xlabel("")
    axes[-1].set_xlabel(label)
    if layout == "narrow":
        top.set_title(textwrap.fill(top.get_title(loc="left"), 48), loc="left", size="small")
    return figure


def _summaries(study: Study, layout: str) -> Figure:
    names = study.shown_metrics
    height = 0.75 + 0.2 * len(study.arms)
    figure, axes = _panels(layout, len(names), 3 if layout == "wide" else 1, height, sharey=layout == "wide")
    for metric, ax in zip(names, axes, strict=True):
        plots.summary(study.metrics, metric=metric, arms=study.arms, ax=ax)
        unit = plots.metric_axis(metric)[1]
        _name_panel(ax, metric, plots.with_direction(metric, "", unit).strip(" ()"))
    return figure


def _differences(study: Study, layout: str) -> Figure:
    names = [name for name in study.shown_metrics if name in set(study.comparisons["metric"])]
    pairs = study.comparisons.groupby("metric").size()
    sharey = layout == "wide" and pairs.min() == pairs.max()  # else a metric lacks a pair, and rows would not line up
    height = 0.9 + 0.22 * pairs.max()
    figure, axes = _panels(layout, len(names), 3 if layout == "wide" else 1, height, sharey=sharey)
    for metric, ax in zip(names, axes, strict=True):
        plots.paired_differences(study.comparisons, metric=metric, values=False, ax=ax)
        unit = plots.metric_axis(metric)[1]
        _name_panel(ax, metric, f"{'points' if unit == '%' else unit}\n{plots.better_side(metric)}".strip())
    return figure


def _name_panel(ax: Axes, metric: str, unit: str) -> None:
    """Say in a small panel what a figure of its own says in a long line."""
    ax.set_title(plots.metric_axis(metric)[0], loc="left", size="medium")
    ax.set_xlabel(unit, size="small")
    ax.tick_params(axis="x", labelsize="small")
    ax.xaxis.set_major_locator(MaxNLocator(4))


def _matrices(study: Study, layout: str) -> Figure:
    arms = [arm for arm in study.arms if arm in set(study.evaluated["arm"])]
    wide = layout == "wide"
    numbers = wide and study.evaluated["evaluated_on"].max() < 12
    figure, axes = _panels(layout, len(arms), 3 if wide else 2, 2.3 if numbers else 2.1, sharey=True)
    for arm, ax in zip(arms, axes, strict=True):
        plots.accuracy_matrix(study.evaluated, arm=arm, numbers=numbers, colorbar=False, ax=ax)
        ax.set_title(arm, loc="left", size="medium")
        ax.tick_params(labelsize="small")
        ax.set_xlabel("")
        ax.set_ylabel("")
    figure.supxlabel("tested on experience", size="medium")
    figure.supylabel("after training on experience", size="medium")
    if not numbers:
        figure.set_figheight(figure.get_figheight() + 0.6)
        figure.colorbar(axes[0].images[0], ax=axes, label="accuracy (%)", location="top", aspect=40)
    return figure


def _tuning(study: Study, layout: str) -> Figure:
    figure = _single(
        layout,
        3.5 if layout == "wide" else 3.9,
        plots.lr_sensitivity,
        study.tuning,
        score=study.primary,
        arms=study.arms,
    )
    if layout == "narrow":
        figure.axes[0].legend(frameon=False, fontsize="small", loc="upper center", bbox_to_anchor=(0.45, -0.2), ncols=3)
    return figure
