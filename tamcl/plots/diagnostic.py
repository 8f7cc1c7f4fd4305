"""What optimizer and model do over the whole stream, and after a shift."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from tamcl.diagnostics import FRACTIONS
from tamcl.plots.axes import WIDE, draw_bands, finish, fit_steps, label_ends, mark_shifts, new_axes
from tamcl.plots.seeds import and_interval, counted, mean_interval, of_all_seeds, seeds_of
from tamcl.plots.style import checked_styles


def diagnostics(
    table: pd.DataFrame,
    *,
    diagnostic: str,
    tensor: str = "",
    arms: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a diagnostic over the whole stream: what an optimizer or a model does, and what a shift does to it.

    It stands below ``online_accuracy`` on one time axis: draw both on axes of ``figure.subplots(2, sharex=True)``.
    Values that are not finite are left out.

    Parameters
    ----------
    table : DataFrame
        Rows of the ``diagnostics`` table, one learning rate an arm.
    diagnostic : str
        The diagnostic to draw. Arms that have no rows of it are left out.
    tensor : str
        The tensor or layer to draw; all together if "".
    arms : sequence of str, optional
        All arms of the study in their order; those in the table if absent.
    ax : Axes, optional
        Where to draw.
    """
    rows, label = _rows_of(table, diagnostic, tensor)
    drawn = checked_styles(rows, arms, f"diagnostics of {_quoted(diagnostic, tensor)}")
    ax = ax or new_axes(*WIDE)
    shifts, marked = mark_shifts(ax, table)
    several = rows.groupby(["arm", "seed", "experience"]).size().median() > 1
    points = rows.assign(at=rows["step"], part=rows["experience"] if marked and several else 0)
    draw_bands(ax, mean_interval(points, ["arm", "part", "at"], "value"), drawn, _bounds(diagnostic))
    if len(ax.get_shared_x_axes().get_siblings(ax)) == 1:
        fit_steps(ax, 0, table["step"].max() + 1)
    ax.set_xlabel("mini-batches seen")
    ax.set_ylabel(label)
    finish(ax, f"Mean{and_interval(rows)} over {seeds_of(rows)}{shifts}")
    label_ends(ax, drawn)
    return ax


def diagnostics_after_shift(
    curves: pd.DataFrame,
    *,
    diagnostic: str,
    tensor: str = "",
    arms: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a diagnostic after a shift, all shifts laid on one another: what an optimizer does when labels change.

    Parameters
    ----------
    curves : DataFrame
        What ``tamcl.metrics.diagnostic_curves`` returns, one learning rate an arm.
    diagnostic, tensor, arms, ax
        As of ``diagnostics``.
    """
    rows, label = _rows_of(curves, diagnostic, tensor)
    drawn = checked_styles(rows, arms, f"diagnostics_after_shift of {_quoted(diagnostic, tensor)}")
    points = rows.assign(at=rows["since_shift"], part=0)
    ax = ax or new_axes(5.6, 3.7)
    draw_bands(ax, of_all_seeds(mean_interval(points, ["arm", "part", "at"], "value")), drawn, _bounds(diagnostic))
    fit_steps(ax, 0, rows["since_shift"].max())
    ax.set_xlabel("mini-batches since the shift")
    ax.set_ylabel(label)
    finish(ax, f"Mean over {counted(rows['n_shifts'], 'shift')}{and_interval(rows)} over {seeds_of(rows)}")
    label_ends(ax, drawn)
    return ax


def _quoted(diagnostic: str, tensor: str) -> str:
    return f"'{diagnostic}'" + (f" of '{tensor}'" if tensor else "")


def _bounds(diagnostic: str) -> tuple[float, float]:
    return (0, 100) if diagnostic in FRACTIONS else (-np.inf, np.inf)


def _rows_of(table: pd.DataFrame, diagnostic: str, tensor: str) -> tuple[pd.DataFrame, str]:
    """Return the finite values of a diagnostic, fractions in percent, and how an axis calls it."""
    found = (table["diagnostic"] == diagnostic) & (table["tensor"] == tensor) & np.isfinite(table["value"])
    label = diagnostic.replace("_", " ") + (f" of {tensor}" if tensor else "")
    if diagnostic not in FRACTIONS:
        return table[found], label
    return table[found].assign(value=100 * table["value"]), f"{label} (%)"
