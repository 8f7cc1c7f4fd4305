"""What happens around a shift."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from tamcl.errors import InputError
from tamcl.metrics import recovery_curves
from tamcl.metrics.adaptation import WINDOW, shortened
from tamcl.plots.axes import draw_bands, finish, fit_steps, label_ends, new_axes
from tamcl.plots.seeds import and_interval, counted, mean_interval, of_all_seeds, seeds_of
from tamcl.plots.style import checked_styles, rule


def recovery(
    online: pd.DataFrame,
    *,
    arms: Sequence[str] | None = None,
    before: int = 30,
    window: int = WINDOW,
    ax: Axes | None = None,
) -> Axes:
    """Draw accuracy around a shift, all shifts laid on one another: how deep the drop, how fast the way back.

    Where experiences differ in length, only mini-batches that all shifts of a run have are drawn, so that all of a line
    is of the same shifts.

    Parameters
    ----------
    online : DataFrame
        Rows of the ``online`` table, one learning rate an arm; the first experience begins without a shift.
    arms : sequence of str, optional
        All arms of the study in their order; those in the table if absent.
    before : int
        Mini-batches shown before the shift.
    window : int
        Mini-batches averaged, counted from each one on, as in the metrics of recovery; half of a short experience.
    ax : Axes, optional
        Where to draw.
    """
    drawn = checked_styles(online, arms, "recovery")
    curves = recovery_curves(online, before=before, window=window)
    if curves.empty:
        raise InputError("recovery: the stream has a single experience, and so no shift to align at")
    curves, n_shifts = _of_all_shifts(curves)
    points = curves.rename(columns={"since_shift": "at"}).assign(
        accuracy=100 * curves["accuracy"], part=curves["since_shift"] >= 0
    )
    ax = ax or new_axes(5.6, 3.7)
    ax.axvline(0, **rule())
    draw_bands(ax, of_all_seeds(mean_interval(points, ["arm", "part", "at"], "accuracy")), drawn, (0, 100))
    fit_steps(ax, points["at"].min(), points["at"].max())
    ax.set_xlabel(f"mini-batches since the shift (of {online['n'].max()} examples)")
    lengths = online.groupby(["arm", "seed", "experience"]).size()
    used = [shortened(window, steps) for steps in lengths]
    following = f"{min(used)} to {max(used)}" if min(used) < max(used) else f"{max(used)}"
    ax.set_ylabel(f"accuracy over the next {following} (%)")
    finish(ax, f"Mean over {counted(n_shifts, 'shift')}{and_interval(online)} over {seeds_of(online)}")
    label_ends(ax, drawn)
    return ax


def stability(curves: pd.DataFrame, *, arms: Sequence[str] | None = None, ax: Axes | None = None) -> Axes:
    """Draw the accuracy on earlier experiences after a shift, all shifts laid on one another: the stability gap.

    A dip that comes back before the experience ends is the gap; what is still lost at its end is forgetting. The lines
    end with the shortest experience, so that all of a line is of the same shifts.

    Parameters
    ----------
    curves : DataFrame
        What ``tamcl.metrics.stability_curves`` returns, one learning rate an arm.
    arms : sequence of str, optional
        All arms of the study in their order; those in the table if absent.
    ax : Axes, optional
        Where to draw.
    """
    drawn = checked_styles(curves, arms, "stability")
    curves, n_shifts = _of_all_shifts(curves)
    start = n_shifts.reset_index().assign(since_shift=0, change=0.0)
    points = pd.concat([start, curves], ignore_index=True)
    points = points.assign(at=points["since_shift"], change=100 * points["change"], part=0)
    ax = ax or new_axes(5.6, 3.7)
    ax.axhline(0, **rule())
    draw_bands(ax, of_all_seeds(mean_interval(points, ["arm", "part", "at"], "change")), drawn, (-100, 100))
    fit_steps(ax, 0, points["at"].max())
    ax.set_xlabel("updates since the shift")
    ax.set_ylabel("change of accuracy on\nearlier experiences (points)")
    finish(ax, f"Mean over {counted(n_shifts, 'shift')}{and_interval(curves)} over {seeds_of(curves)}")
    label_ends(ax, drawn)
    return ax


def _of_all_shifts(curves: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """Return the points that all shifts of a run have, and how many shifts each run has."""
    runs = curves.groupby(["arm", "seed"])["n_shifts"]
    return curves[curves["n_shifts"] == runs.transform("max")], runs.max()
