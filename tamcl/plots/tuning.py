"""How an arm was tuned: its score over the learning rate, and what more trials would give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.ticker import NullLocator, StrMethodFormatter

from tamcl.errors import InputError
from tamcl.plots.axes import WIDE, Curve, finish, label_ends, legend_beside, new_axes
from tamcl.plots.labels import metric_axis
from tamcl.plots.seeds import counted
from tamcl.plots.style import arm_styles
from tamcl.stats.tuning import at_chosen


def lr_sensitivity(
    tuning: pd.DataFrame,
    *,
    score: str = "online_accuracy",
    arms: Sequence[str] | None = None,
    plateaus: pd.DataFrame | None = None,
    rules: Mapping[str, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the score on the tuning seeds against the learning rate: was every arm tuned, and how much does it matter?

    A ring marks the chosen learning rate, with an arrow where it is an end of the grid, so that a better one may lie
    beyond; a cross on the lower edge marks one at which a seed diverged or failed.

    Where an arm has options that were tuned, too, its line is at the chosen ones. Where a search has drawn these with
    the learning rate there is no such line, and all trials are points.

    Parameters
    ----------
    tuning : DataFrame
        What ``tamcl.stats.tuning.select`` returns: arm, lr, score, n_seeds, n_diverged, chosen; or the rows of one
        metric of ``tamcl.stats.tuning.by_lr``.
    score : str
        The metric that ``score`` holds.
    arms : sequence of str, optional
        All arms of the study in their order; those in the table if absent.
    plateaus : DataFrame, optional
        What ``tamcl.stats.tuning.plateau`` returns; each arm's range of nearly as good rates is drawn broad.
    rules : mapping of str to float, optional
        The learning rate that a rule says for an arm, such as one that carries it over from another arm; a triangle on
        the upper edge marks it.
    ax : Axes, optional
        Where to draw.
    """
    if tuning.empty:
        raise InputError("lr_sensitivity: the table has no rows to draw")
    drawn = arm_styles(arms if arms is not None else tuning["arm"])
    label, unit, factor = metric_axis(score)
    ax = ax or new_axes(*WIDE)
    log_scale(ax.xaxis, tuning["lr"])
    tried = dict(iter(tuning.sort_values("lr", kind="stable").groupby("arm")))
    for arm, style in drawn.items():
        if arm not in tried:
            continue
        rows, is_curve = _curve(tried[arm])
        good = rows[(rows["n_diverged"] == 0) & rows["score"].notna()]
        line = style.line if is_curve else "none"
        ax.plot(good["lr"], factor * good["score"], style.marker, ls=line, color=style.color, ms=5, label=arm)
        chosen = rows[rows["chosen"]]
        ax.plot(chosen["lr"], factor * chosen["score"], "o", color=style.color, mfc="none", ms=13)
        _point_beyond(ax, chosen.assign(score=factor * chosen["score"]), rows["lr"], style.color)
        if plateaus is not None:
            ends = plateaus[plateaus["arm"] == arm]
            for low, high in ends[["lr_low", "lr_high"]].to_numpy(dtype=np.float64):
                near = good[good["lr"].between(low, high)]
                broad: dict[str, Any] = {
                    "color": style.color,
                    "alpha": 0.25,
                    "lw": 9,
                    "solid_capstyle": "round",
                    "zorder": 1.5,
                }
                ax.plot(near["lr"], factor * near["score"], **broad)
        if rules is not None and arm in rules:
            ax.plot([rules[arm]], [0.97], "v", color=style.color, ms=7, transform=ax.get_xaxis_transform())
        broken = rows.drop(index=good.index)["lr"]
        ax.plot(broken, np.full(len(broken), 0.03), "x", color=style.color, transform=ax.get_xaxis_transform())
    ax.grid(axis="y", linewidth=0.6)
    ax.set_xlabel("learning rate")
    ax.set_ylabel(f"{label} ({unit})" if unit else label)
    signs = {
        "; arrow: better ones may lie beyond": "on_edge" in tuning and tuning["on_edge"].any(),
        "; cross: diverged or failed": (tuning["n_diverged"] > 0).any(),
        "; broad: nearly as good": plateaus is not None,
        "; triangle: by the rule": rules is not None,
    }
    said = "".join(text for text, drawn_so in signs.items() if drawn_so)
    finish(ax, f"Mean over {counted(tuning['n_seeds'], 'tuning seed')}; ring: chosen{said}")
    legend_beside(ax)
    return ax


def _curve(tried: pd.DataFrame) -> tuple[pd.DataFrame, bool]:
    """Return the trials of an arm that are drawn, and whether they are a curve over the learning rate."""
    rows = at_chosen(tried.assign(scenario=""))
    is_curve = len(rows) > 1 or len(tried) == 1
    return (rows if is_curve else tried), is_curve


def log_scale(axis: XAxis | YAxis, values: pd.Series) -> None:
    """Make an axis logarithmic, with labels as values are written and no more of them than find room."""
    low, high = values.min(), values.max()
    decades = np.log10(high / low)
    steps = (1, 2, 5) if decades < 2 else (1, 3) if decades < 3 else (1,)
    powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    places = np.outer(powers, steps).ravel()
    places = places[(places > 0.99 * low) & (places < 1.01 * high)]
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_ticks(places[:: -(-len(places) // 5)] if len(places) > 1 else np.unique([low, high]))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_locator(NullLocator())


def _point_beyond(ax: Axes, chosen: pd.DataFrame, grid: pd.Series, color: str) -> None:
    """Draw an arrow out of the grid at each chosen learning rate that is its end."""
    if "on_edge" not in chosen or not chosen["on_edge"].any():
        return
    for lr, score in chosen.loc[chosen["on_edge"], ["lr", "score"]].to_numpy(dtype=np.float64):
        side = 1 if lr == grid.max() else -1
        arrow = {"arrowstyle": "<-", "color": color, "lw": 1.6, "shrinkB": 8}
        ax.annotate("", (lr, score), (26 * side, 0), textcoords="offset points", arrowprops=arrow)


def expected_best(
    expected: pd.DataFrame, *, score: str = "online_accuracy", arms: Sequence[str] | None = None, ax: Axes | None = None
) -> Axes:
    """Draw how good the best of n learning rates is on average: compare arms above the same number of trials.

    Parameters
    ----------
    expected : DataFrame
        What ``tamcl.stats.tuning.expected_best`` returns: scenario, arm, trials, expected.
    score : str
        The metric that was tuned for.
    arms : sequence of str, optional
        All arms of the study in their order; those in the table if absent.
    ax : Axes, optional
        Where to draw.
    """
    if expected.empty:
        raise InputError("expected_best: the table has no rows to draw")
    if expected["scenario"].nunique() > 1:
        raise InputError(f"expected_best: {expected['scenario'].nunique()} scenarios; pass rows of one")
    drawn = arm_styles(arms if arms is not None else expected["arm"])
    label, unit, factor = metric_axis(score)
    ax = ax or new_axes(5.6, 3.7)
    for arm, style in drawn.items():
        rows = expected[expected["arm"] == arm].sort_values("trials")
        if len(rows):
            values = factor * rows["expected"]
            unknown = np.full(len(rows), np.nan)
            options: dict[str, Any] = {"marker": style.marker, "ms": 5, "label": arm}
            ax.add_line(Curve(rows["trials"], values, unknown, unknown, style, **options))
    ax.autoscale_view()
    trials = int(expected["trials"].max())
    ax.set_xticks(range(1, trials + 1, -(-trials // 12)))
    ax.grid(axis="y", linewidth=0.6)
    ax.set_xlabel("trials (learning rates tried)")
    ax.set_ylabel(f"{label} ({unit})" if unit else label)
    finish(ax, "Expected best on the tuning seeds, by the number of trials")
    label_ends(ax, drawn)
    return ax
