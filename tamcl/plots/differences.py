"""How far two arms lie apart on the same seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from tamcl.errors import InputError
from tamcl.plots.axes import finish, new_axes
from tamcl.plots.labels import better_side, metric_axis
from tamcl.plots.seeds import counted
from tamcl.plots.style import ink, paper, rule


def paired_differences(comparisons: pd.DataFrame, *, metric: str, values: bool = True, ax: Axes | None = None) -> Axes:
    """Draw the paired difference of every pair of arms with its interval; one that holds 0 leaves the winner open.

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
    columns = ["diff", "ci_low", "ci_high", "p_adjusted"]
    for place, (diff, low, high, p) in enumerate(rows[columns].to_numpy(dtype=np.float64)):
        ax.plot([factor * low, factor * high], [place] * 2, color=ink(), lw=1.8, solid_capstyle="butt")
        fill = ink() if low > 0 or high < 0 else paper()
        ax.plot([factor * diff], [place], "o", color=ink(), mfc=fill, ms=7)
        beside: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "center"}
        if values:
            ax.annotate(
                f"{factor * diff:+.2f}, p = {p:.2g}".replace("-", "−"), (1, place), (6, 0), size="small", **beside
            )
    ax.set_yticks(range(len(rows)), [f"{a} − {b}" for a, b in zip(rows["arm_a"], rows["arm_b"], strict=True)])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.margins(x=0.1)
    points = "points" if unit == "%" else unit
    ax.set_xlabel(
        f"Difference in {label[0].lower()}{label[1:]} ({', '.join(filter(None, (points, better_side(metric))))})"
    )
    finish(ax, f"Paired over {counted(rows['n_pairs'], 'seed')}, 95 % interval; p adjusted for all comparisons")
    ax.tick_params(axis="y", length=0)
    return ax
