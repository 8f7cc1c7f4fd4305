"""How well one experience after the other is learnt."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from tamcl.errors import unknown_name
from tamcl.plots.axes import WIDE, draw_means, new_axes
from tamcl.plots.style import checked_styles

LABELS = {"accuracy": "online accuracy in an experience", "end_accuracy": "accuracy at the end of an experience"}


def over_experiences(
    table: pd.DataFrame,
    *,
    column: str = "end_accuracy",
    arms: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the accuracy of each experience over the stream: is a late one learnt as well as an early one?

    Where experiences are equally hard, a line that falls is a loss of plasticity.

    Parameters
    ----------
    table : DataFrame
        What ``tamcl.metrics.by_experience`` returns, one learning rate an arm.
    column : str
        The accuracy to draw: "end_accuracy", "accuracy" of all of the experience, or "accuracy_10" to "accuracy_100".
    arms : sequence of str, optional
        All arms of the study in their order; those in the table if absent.
    ax : Axes, optional
        Where to draw.

    Examples
    --------
    >>> rows = [("flips", "tam", 0.1, seed, e, 0.9 - 0.1 * e) for seed in range(3) for e in range(4)]
    >>> columns = ["scenario", "arm", "lr", "seed", "experience", "end_accuracy"]
    >>> ax = over_experiences(pd.DataFrame(rows, columns=columns))
    >>> ax.get_ylabel(), ax.get_title(loc="left")
    ('accuracy at the end of an experience (%)', 'Mean and 95 % interval over 3 seeds')
    """
    drawn = checked_styles(table, arms, "over_experiences")
    if column not in table:
        known = [name for name in map(str, table) if name.startswith(("accuracy", "end_accuracy"))]
        raise unknown_name("column", column, known)
    points = table.assign(at=table["experience"], value=100 * table[column], part=0)
    ax = ax or new_axes(*WIDE)
    draw_means(ax, points, drawn, (0, 100), x="experience", y=f"{LABELS.get(column) or _at_share(column)} (%)")
    return ax


def _at_share(column: str) -> str:
    share = column.removeprefix("accuracy_")
    return f"accuracy when {share} % of it are over" if share.isdecimal() else column.replace("_", " ")
