"""Several diagnostics of one arm on one time axis, and how far two of them go together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from tamcl.errors import InputError
from tamcl.plots.axes import WIDE, draw_bands, finish, fit_steps, mark_shifts, new_axes
from tamcl.plots.labels import short_names
from tamcl.plots.seeds import and_interval, mean_interval, seeds_of
from tamcl.plots.style import LINES, MARKERS, OTHERS, ArmStyle, ink, rule

NULLS = {"shuffled": "shuffled time", "circular": "turned series", "experiences": "other order of experiences"}
"""What a null is called."""


def diagnostics_together(
    table: pd.DataFrame,
    *,
    left: Sequence[str],
    right: str,
    arm: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw several diagnostics of one arm over the stream: some against the left axis, one against the right.

    Parameters
    ----------
    table : DataFrame
        Rows of the ``diagnostics`` table, one learning rate an arm; those about all tensors are drawn.
    left : sequence of str
        Diagnostics with a common axis, such as a cosine and a damping.
    right : str
        One with an axis of its own.
    arm : str, optional
        Needed where the table holds several.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        The left one.
    """
    known = table[(table["tensor"] == "") & np.isfinite(table["value"])]
    rows = known if arm is None else known[known["arm"] == arm]
    arms = list(rows["arm"].unique())
    if len(arms) != 1:
        raise InputError(f"diagnostics_together: arm = {arm}: one is drawn, and the rows are of {arms or 'none'}")
    if len(rows[[column for column in ("lr", "options") if column in rows]].drop_duplicates()) > 1:
        raise InputError(f"diagnostics_together: arm '{arms[0]}' stands at several learning rates; pass rows of one")
    for name in (*left, right):
        if name not in set(rows["diagnostic"]):
            raise InputError(f"diagnostics_together: the rows of '{arms[0]}' have no '{name}'")
    ax = ax or new_axes(*WIDE)
    other = ax.twinx()
    shifts, marked = mark_shifts(ax, rows)
    points = rows.assign(at=rows["step"], part=rows["experience"] if marked else 0, arm=rows["diagnostic"])
    means = mean_interval(points, ["arm", "part", "at"], "value")
    styles = {
        name: ArmStyle(OTHERS[place % len(OTHERS)], LINES[place % len(LINES)], MARKERS[place % len(MARKERS)])
        for place, name in enumerate(left)
    }
    draw_bands(ax, means[means["arm"].isin(left)], styles)
    draw_bands(other, means[means["arm"] == right], {right: ArmStyle(ink(), "-", "o")}, (0.0, np.inf))
    other.grid(visible=False)
    fit_steps(ax, 0, rows["step"].max() + 1)
    ax.set_xlabel("mini-batches seen")
    ax.set_ylabel(", ".join(name.replace("_", " ") for name in left))
    other.set_ylabel(right.replace("_", " "))
    name = short_names(arms)[arms[0]]
    finish(ax, f"{name}: mean{and_interval(rows)} over {seeds_of(rows)}{shifts}")
    other.spines["top"].set_visible(False)
    handles, labels = (
        one + two for one, two in zip(ax.get_legend_handles_labels(), other.get_legend_handles_labels(), strict=True)
    )
    shown = [label.replace("_", " ") for label in labels]
    ax.legend(
        handles, shown, frameon=False, fontsize="small", ncols=len(shown), loc="lower left", bbox_to_anchor=(0, 1.05)
    )
    return ax


def correlations_over_time(means: pd.DataFrame, runs: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the rank correlation of two diagnostics over time beside what each null makes of it by chance.

    Parameters
    ----------
    means, runs : DataFrame
        What ``tamcl.stats.mean_correlation_over_time`` and ``correlation_over_time`` return.
    ax : Axes, optional
        Where to draw.
    """
    if means.empty:
        raise InputError("correlations_over_time: the table has no rows to draw")
    rows = means.reset_index(drop=True)
    ax = ax or new_axes(6.4, 0.9 + 0.32 * len(rows))
    names = short_names(dict.fromkeys(rows["arm"]))
    several = len(names) > 1
    for place, row in enumerate(rows.to_dict("records")):
        seeds = runs.loc[(runs["arm"] == row["arm"]) & (runs["null"] == row["null"]), "correlation"]
        ax.barh(place, row["null_high"] - row["null_low"], left=row["null_low"], height=0.6, color=ink(), alpha=0.2)
        ax.plot(seeds, [place] * len(seeds), "|", color=ink(), alpha=0.5, ms=8)
        ax.plot([row["ci_low"], row["ci_high"]], [place, place], color=ink(), linewidth=2.5)
        ax.plot(row["correlation"], place, "o", color=ink(), ms=5)
    ax.axvline(0, **rule())
    labels = [
        f"{names[arm]}: {NULLS[null]}" if several else NULLS[null]
        for arm, null in zip(rows["arm"], rows["null"], strict=True)
    ]
    ax.set_yticks(range(len(rows)), labels)
    ax.invert_yaxis()
    ax.set_xlabel("rank correlation over time")
    finish(ax, f"Mean and 95 % interval over {seeds_of(runs)} (ticks);\ngrey: 95 % of the mean by chance")
    return ax
