"""The score over the learning rate and an option that is tuned together with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from tamcl.errors import InputError
from tamcl.metrics import find
from tamcl.plots.axes import finish, new_axes
from tamcl.plots.labels import metric_axis, short_names
from tamcl.plots.seeds import counted
from tamcl.plots.tuning import log_scale

MOST_NUMBERS = 8
"""Learning rates up to which every field of a grid has its number."""

MOST_VALUES = 24
"""Values of an option that have a row each."""


def option_map(
    table: pd.DataFrame,
    *,
    score: str = "online_accuracy",
    arm: str | None = None,
    option: str | None = None,
    limits: tuple[float, float] | None = None,
    colorbar: bool | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the score on the tuning seeds over the learning rate and one option: which matters, and is there an end?

    A grid is drawn as fields, what a search has drawn as points; the best values of other options count. Brighter is
    better, a frame marks the chosen trial, and a cross one at which a seed diverged or failed.

    Parameters
    ----------
    table : DataFrame
        What ``tamcl.stats.tuning.by_option`` returns.
    score : str
        The metric that ``score`` holds.
    arm, option : str, optional
        The arm and the option to draw; needed where the table holds several.
    limits : (float, float), optional
        Ends of the shades, so that several pictures have the same; ``shade_limits`` of what is drawn if absent.
    colorbar : bool, optional
        Whether a scale stands beside it; where there are no numbers in fields if absent.
    ax : Axes, optional
        Where to draw.
    """
    rows = _rows_of(table, {"arm": arm, "option": option})
    good = rows["eligible"] & rows["score"].notna()
    label, unit, factor = metric_axis(score)
    low, high = (factor * end for end in limits or shade_limits(rows, score))
    shades = {"cmap": "cividis" if find(score).sign > 0 else "cividis_r", "vmin": low, "vmax": high}
    ax = ax or new_axes(4.6, 3.4)
    rates = rows["lr"].nunique()
    is_grid = rates < len(rows) <= rates * MOST_VALUES  # where a search draws, no two trials have the same rate
    drawn = rows.assign(shade=(factor * rows["score"]).where(good))
    form = "{:.1f}" if unit == "%" else "{:.3g}"
    image = _draw_grid(drawn, shades, form, ax) if is_grid else _draw_points(drawn, shades, ax)
    has_numbers = is_grid and rates <= MOST_NUMBERS
    if not has_numbers if colorbar is None else colorbar:
        extend = "min" if find(score).sign > 0 else "max"
        ax.figure.colorbar(image, ax=ax, label=f"{label} ({unit})" if unit else label, extend=extend)
    ax.set_xlabel("learning rate")
    name = next(iter(short_names(rows["arm"].unique()).values()))
    ax.set_ylabel(str(rows["option"].iloc[0]).replace("_", " "))
    crossed = "; cross: diverged or failed" * bool((~good).any())
    finish(ax, f"{name}: mean over {counted(rows['n_seeds'], 'tuning seed')}; frame: chosen{crossed}")
    return ax


def shade_limits(table: pd.DataFrame, score: str) -> tuple[float, float]:
    """Return the scores between which shades differ: those of the best three quarters of what is eligible.

    A single trial at which nothing was learnt would leave the others one shade.
    """
    good = table.loc[table["eligible"], "score"].dropna()
    if good.empty:
        return 0.0, 1.0
    ends = (0.25, 1.0) if find(score).sign > 0 else (0.0, 0.75)
    low, high = (float(good.quantile(end)) for end in ends)
    return low, high


def _rows_of(table: pd.DataFrame, chosen: dict[str, str | None]) -> pd.DataFrame:
    """Return the rows of one arm and option."""
    rows = table
    for column, wanted in chosen.items():
        rows = rows if wanted is None else rows[rows[column] == wanted]
        present = list(rows[column].unique())
        if len(present) != 1:
            raise InputError(f"option_map: {column} = {wanted}: one is drawn, and the rows are of {present or 'none'}")
    return rows


def _places(rows: pd.DataFrame) -> dict[str, int]:
    """Return a place for every value: numbers in their order, anything else as it comes."""
    ordered = rows.sort_values(["number", "value"], kind="stable")["value"]
    return {value: place for place, value in enumerate(dict.fromkeys(ordered))}


def _draw_grid(rows: pd.DataFrame, shades: dict[str, Any], form: str, ax: Axes) -> Any:
    rates, values = sorted(rows["lr"].unique()), _places(rows)
    fields = np.full((len(values), len(rates)), np.nan)
    has_numbers = len(rates) <= MOST_NUMBERS
    middle = (shades["vmin"] + shades["vmax"]) / 2
    for row in rows.to_dict("records"):
        x, y, shade = rates.index(row["lr"]), values[row["value"]], row["shade"]
        fields[y, x] = shade
        if np.isnan(shade):
            ax.plot(x, y, "x", color="gray")
        elif has_numbers:
            is_dark = (shade < middle) != shades["cmap"].endswith("_r")
            color = "w" if is_dark else "k"
            ax.text(x, y, form.format(shade), ha="center", va="center", size=6.5, color=color, in_layout=False)
        if row["chosen"]:
            ax.add_patch(Rectangle((x - 0.47, y - 0.43), 0.94, 0.86, fill=False, ec="#E4572E", lw=2))
    image = ax.imshow(fields, aspect="auto", origin="lower", **shades)
    ax.set_xticks(range(len(rates)), [f"{rate:.3g}" for rate in rates])
    ax.set_yticks(range(len(values)), [*values])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return image


def _evenness(values: pd.Series) -> float:
    """Return how near the median of values is to the middle between their ends: 0 is at an end, 1 in the middle."""
    low, high = float(values.min()), float(values.max())
    return 1 - abs(2 * float(values.median()) - low - high) / (high - low)


def _draw_points(rows: pd.DataFrame, shades: dict[str, Any], ax: Axes) -> Any:
    log_scale(ax.xaxis, rows["lr"])
    values = _places(rows)
    is_numeric = bool(rows["number"].notna().all())
    y = rows["number"] if is_numeric else rows["value"].map(values)
    if is_numeric and 0 < 10 * y.min() <= y.max() and _evenness(np.log(y)) > _evenness(y):
        log_scale(ax.yaxis, y)
    if not is_numeric:
        ax.set_yticks(range(len(values)), [*values])
        ax.set_ylim(-0.5, len(values) - 0.5)
    bad = rows["shade"].isna()
    ax.plot(rows["lr"][bad], y[bad], "x", color="gray", ls="none")
    chosen = rows["chosen"]
    ax.scatter(rows["lr"][chosen], y[chosen], s=150, marker="s", facecolors="none", edgecolors="#E4572E", linewidths=2)
    shown = rows[~bad]
    points = ax.scatter(shown["lr"], y[~bad], c=shown["shade"], s=42, edgecolors="gray", linewidths=0.5, **shades)
    ax.grid(linewidth=0.6)
    return points
