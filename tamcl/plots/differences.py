"""How far two arms lie apart on the same seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from tamcl.errors import InputError
from tamcl.plots.axes import finish, keep_within, new_axes
from tamcl.plots.labels import better_side, bounds, metric_axis, short_names
from tamcl.plots.seeds import counted
from tamcl.plots.style import ink, paper, rule
from tamcl.stats import ALPHA, is_shown

ON_A_LINE = 26
"""Letters of two names that find room on one line."""


def paired_differences(comparisons: pd.DataFrame, *, metric: str, values: bool = True, ax: Axes | None = None) -> Axes:
    """Draw the paired difference of every pair of arms with its interval; filled where a difference is shown.

    It is shown where p after Holm is at most 0.05, as in the sentences of a report, whatever the interval holds.

    Parameters
    ----------
    comparisons : DataFrame
        Rows of the ``comparisons`` table.
    metric : str
        The metric to draw.
    values : bool
        Whether difference and adjusted p-value stand beside each row.
    ax : Axes, optional
        Where to draw.
    """
    rows = comparisons[comparisons["metric"] == metric]
    if rows.empty:
        raise InputError(f"paired_differences: the table holds no comparison of '{metric}'")
    label, unit, factor = metric_axis(metric)
    ax = ax or new_axes(6.2, 1.1 + 0.42 * len(rows))
    ax.axvline(0, **rule())
    least, most = bounds(metric)
    widest = most - least  # no two values lie further apart
    names = short_names(sorted({*comparisons["arm_a"], *comparisons["arm_b"]}))
    columns = ["diff", "ci_low", "ci_high", "p_adjusted", "n_pairs"]
    for place, (diff, low, high, p, n_pairs) in enumerate(rows[columns].to_numpy(dtype=np.float64)):
        shown = is_shown({"p_adjusted": p, "n_pairs": n_pairs})
        ends = np.clip([factor * low, factor * high], -widest, widest)
        ax.plot(ends, [place] * 2, color=ink(), lw=1.8, solid_capstyle="butt")
        fill = ink() if shown else paper()
        ax.plot([factor * diff], [place], "o", color=ink(), mfc=fill, ms=7)
        beside: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "center"}
        if values:
            ax.annotate(
                f"{factor * diff:+.2f}, p = {p:.2g}".replace("-", "−"), (1, place), (6, 0), size="small", **beside
            )
    pairs = zip(rows["arm_a"].map(names), rows["arm_b"].map(names), strict=True)
    ax.set_yticks(range(len(rows)), [_pair(*pair) for pair in pairs])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.margins(x=0.1)
    keep_within(ax, x=(-widest, widest))
    points = "points" if unit == "%" else unit
    ax.set_xlabel(
        f"Difference in {label[0].lower()}{label[1:]} ({', '.join(filter(None, (points, better_side(metric))))})"
    )
    finish(ax, f"Paired over {counted(rows['n_pairs'], 'seed')}, 95 % interval; filled: p ≤ {ALPHA:g} after Holm")
    ax.tick_params(axis="y", length=0)
    return ax


def _pair(first: str, second: str) -> str:
    """Return what stands beside a row, on two lines where names are long."""
    return f"{first} − {second}" if len(first + second) <= ON_A_LINE else f"{first} −\n{second}"
