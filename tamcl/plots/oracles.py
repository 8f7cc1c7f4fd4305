"""How far an arm is from an oracle."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from tamcl.plots.axes import draw_bands, finish, fit_steps, label_ends, new_axes
from tamcl.plots.seeds import and_interval, mean_interval, seeds_of
from tamcl.plots.style import checked_styles, rule


def regret(regrets: pd.DataFrame, *, arms: Sequence[str] | None = None, ax: Axes | None = None) -> Axes:
    """Draw how many right answers an arm is behind an oracle: where a line rises, the oracle does better.

    Parameters
    ----------
    regrets : DataFrame
        What ``tamcl.metrics.regrets`` returns.
    arms : sequence of str, optional
        All arms of the study in their order; those in the table if absent.
    ax : Axes, optional
        Where to draw.

    Examples
    --------
    >>> rows = [("flips", "tam", 0.1, seed, e, 0.02, 4.0 * (e + 1)) for seed in range(3) for e in range(5)]
    >>> columns = ["scenario", "arm", "lr", "seed", "experience", "regret", "cumulative"]
    >>> ax = regret(pd.DataFrame(rows, columns=columns))
    >>> ax.get_ylabel(), ax.get_title(loc="left")
    ('cumulative regret (right answers)', 'Mean and 95 % interval over 3 seeds')
    """
    drawn = checked_styles(regrets, arms, "regret")
    ends = regrets.assign(at=regrets["experience"] + 1)
    start = ends[ends["experience"] == 0].assign(at=0, cumulative=0.0)
    points = pd.concat([start, ends]).assign(part=0)
    ax = ax or new_axes(5.6, 3.7)
    ax.axhline(0, **rule())
    draw_bands(ax, mean_interval(points, ["arm", "part", "at"], "cumulative"), drawn)
    fit_steps(ax, 0, points["at"].max())
    ax.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    ax.set_xlabel("experiences seen")
    ax.set_ylabel("cumulative regret (right answers)")
    finish(ax, f"Mean{and_interval(regrets)} over {seeds_of(regrets)}")
    label_ends(ax, drawn)
    return ax
