"""How arms rank over many scenarios."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from tamcl.errors import InputError
from tamcl.plots.axes import finish, new_axes
from tamcl.plots.labels import short_names
from tamcl.plots.seeds import counted
from tamcl.plots.style import arm_styles, ink


def critical_differences(ranks: pd.DataFrame, *, arms: Sequence[str] | None = None, ax: Axes | None = None) -> Axes:
    """Draw average ranks over scenarios; arms that a bar joins are not told apart.

    Parameters
    ----------
    ranks : DataFrame
        What ``tamcl.stats.average_ranks`` returns: arm, rank, n_scenarios, critical_difference, p_value.
    arms : sequence of str, optional
        All arms of a study in their order, to draw them as its other pictures do; those in the table by name if absent.
    ax : Axes, optional
        Where to draw.
    """
    if ranks.empty:
        raise InputError("critical_differences: the table has no rows to draw")
    rows = ranks.sort_values("rank", kind="stable")
    places, critical = rows["rank"].to_numpy(dtype=np.float64), float(rows["critical_difference"].iloc[0])
    bars = _joined(places, critical)
    size, half = len(rows), -(-len(rows) // 2)
    below = 0.5 + 0.35 * len(bars)
    ax = ax or new_axes(6.2, 1.2 + 0.24 * (below + half))
    drawn, margin = arm_styles([*(arms or ()), *sorted(rows["arm"])]), 0.04 * max(1, size - 1)
    names = short_names(drawn)
    for i, (arm, place) in enumerate(zip(rows["arm"], places, strict=True)):
        left = i < half
        depth = -below - (i if left else size - 1 - i)
        end = 1 - margin if left else size + margin
        ax.plot([place, place, end], [0, depth, depth], color=drawn[arm].color, lw=1.3, label=arm)
        ax.plot([place], [0], drawn[arm].marker, color=drawn[arm].color, ms=6, clip_on=False, zorder=3)
        ax.annotate(
            f"{names[arm]} ({place:.2f})", (end, depth), (-4 if left else 4, 0), textcoords="offset points",
            ha="right" if left else "left", va="center", size="small",
        )  # fmt: skip
    for number, (first, last) in enumerate(bars):
        ends = [places[first] - 0.3 * margin, places[last] + 0.3 * margin]
        ax.plot(ends, [-0.4 - 0.35 * number] * 2, color=ink(), lw=4, solid_capstyle="butt")
    ax.set_xlim(1 - margin, size + margin)
    ax.set_ylim(-below - half + 0.5, 0)
    ax.set_xticks(range(1, size + 1))
    ax.xaxis.tick_top()
    ax.xaxis.set_label_position("top")
    ax.set_xlabel("average rank (1 is best)")
    ax.set_yticks([])
    p = float(rows["p_value"].iloc[0])
    finish(
        ax,
        f"{counted(rows['n_scenarios'], 'scenario')}; bar: less than the critical difference of {critical:.2f} apart\n"
        f"Friedman's test that no arm differs: p = {p:.2g}",
    )
    ax.spines["top"].set_visible(True)
    ax.spines[["left", "bottom"]].set_visible(False)
    return ax


def _joined(places: np.ndarray, critical: float) -> list[tuple[int, int]]:
    """Return first and last of each longest run of sorted ranks that lie less than a critical difference apart."""
    lasts = [int(np.flatnonzero(places - place < critical)[-1]) for place in places]
    return [(i, last) for i, last in enumerate(lasts) if last > i and (i == 0 or last > lasts[i - 1])]
