"""Metrics by arm: one alone, and one against another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from tamcl.errors import InputError
from tamcl.plots.axes import finish, keep_within, legend_beside, new_axes
from tamcl.plots.labels import bounds, metric_axis, short_names, with_direction
from tamcl.plots.seeds import and_interval, mean_interval, seeds_of
from tamcl.plots.style import checked_styles, paper


def summary(metrics: pd.DataFrame, *, metric: str, arms: Sequence[str] | None = None, ax: Axes | None = None) -> Axes:
    """Draw one metric by arm: the mean with its interval, and under it a point for each seed.

    Parameters
    ----------
    metrics : DataFrame
        Rows of the ``metrics`` table, one learning rate an arm.
    metric : str
        The metric to draw.
    arms : sequence of str, optional
        All arms of the study in their order, those without a value too; those in the table if absent.
    ax : Axes, optional
        Where to draw.
    """
    rows = metrics[metrics["metric"] == metric].dropna(subset="value")
    drawn = checked_styles(rows, arms, f"summary of '{metric}'")
    label, unit, factor = metric_axis(metric)
    rows = rows.assign(value=factor * rows["value"])
    means = _within(mean_interval(rows, ["arm"], "value"), metric)
    found = {arm: numbers for arm, *numbers in means[["arm", "mean", "low", "high"]].itertuples(index=False)}
    points = {arm: each.to_numpy() for arm, each in rows.groupby("arm")["value"]}
    ax = ax or new_axes(4.6, 0.9 + 0.4 * len(drawn))
    for place, (arm, style) in enumerate(drawn.items()):
        if arm not in found:
            continue
        values, (mean, low, high) = points[arm], found[arm]
        ax.plot(
            values, np.full(len(values), place + 0.2), "o", color=style.color, alpha=0.5, ms=4, mew=0, clip_on=False
        )
        ax.plot([low, high], [place - 0.12] * 2, color=style.color, lw=2, solid_capstyle="butt")
        ax.plot([mean], [place - 0.12], style.marker, color=style.color, ms=7, mec=paper(), label=arm, clip_on=False)
    keep_within(ax, x=bounds(metric))
    ax.set_yticks(range(len(drawn)), list(short_names(drawn).values()))
    ax.set_ylim(len(drawn) - 0.5, -0.5)
    ax.grid(axis="x", linewidth=0.6)
    ax.set_xlabel(with_direction(metric, label, unit))
    finish(ax, f"Mean{and_interval(rows)} over {seeds_of(rows)}")
    ax.tick_params(axis="y", length=0)
    return ax


def forgetting_against_learning(
    metrics: pd.DataFrame,
    *,
    forgetting: str = "forgetting",
    learning: str = "learning_accuracy",
    arms: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw what an arm forgets against what it learns: a point for each seed, the mean with its interval both ways.

    An arm that learns little has little to forget: better is to the right and down, not down alone.

    Parameters
    ----------
    metrics : DataFrame
        Rows of the ``metrics`` table, one learning rate an arm.
    forgetting, learning : str
        The metrics on the upright and on the level axis.
    arms : sequence of str, optional
        All arms of the study in their order, those without a value too; those in the table if absent.
    ax : Axes, optional
        Where to draw.
    """
    rows = metrics[metrics["metric"].isin([forgetting, learning])].dropna(subset="value")
    drawn = checked_styles(rows, arms, "forgetting_against_learning")
    points = rows.pivot(index=["arm", "seed"], columns="metric", values="value")
    points = points.reindex(columns=[learning, forgetting]).dropna().reset_index()
    if points.empty:
        raise InputError(f"forgetting_against_learning: no seed has both '{learning}' and '{forgetting}'")
    axes = {name: metric_axis(name) for name in (learning, forgetting)}
    points[[learning, forgetting]] *= [axes[learning][2], axes[forgetting][2]]
    means = {name: _within(mean_interval(points, ["arm"], name), name).set_index("arm") for name in axes}
    ax = ax or new_axes(5.6, 4.0)
    for arm, style in drawn.items():
        rows = points[points["arm"] == arm]
        if rows.empty:
            continue
        x, y = (means[name].loc[arm] for name in (learning, forgetting))
        ax.plot(
            rows[learning], rows[forgetting], style.marker, color=style.color, alpha=0.4, ms=4, mew=0, clip_on=False
        )
        ax.plot([x["low"], x["high"]], [y["mean"]] * 2, color=style.color, lw=1.8, solid_capstyle="butt")
        ax.plot([x["mean"]] * 2, [y["low"], y["high"]], color=style.color, lw=1.8, solid_capstyle="butt")
        mean: dict[str, Any] = {"ms": 8, "mec": paper(), "ls": "none", "clip_on": False}
        ax.plot([x["mean"]], [y["mean"]], style.marker, color=style.color, label=arm, **mean)
    keep_within(ax, x=bounds(learning), y=bounds(forgetting))
    ax.grid(linewidth=0.6)
    ax.set_xlabel(with_direction(learning, *axes[learning][:2]))
    ax.set_ylabel(with_direction(forgetting, *axes[forgetting][:2]))
    finish(ax, f"Mean{and_interval(points)} over {seeds_of(points)}; small: each seed")
    legend_beside(ax)
    return ax


def _within(means: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the means with intervals that end where no value of the metric can lie."""
    return means.assign(low=means["low"].clip(*bounds(metric)), high=means["high"].clip(*bounds(metric)))
