"""The loss on the line between two ends of training, and on the plane through three."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from tamcl.errors import InputError
from tamcl.plots.axes import draw_bands, finish, keep_within, new_axes
from tamcl.plots.labels import short_names
from tamcl.plots.seeds import mean_interval
from tamcl.plots.style import ArmStyle, arm_styles, ink, paper, rule

LEVELS = 16
"""Edges between the shades of a plane, between which lie as many places each."""


def loss_on_line(
    lines: pd.DataFrame,
    *,
    arm_a: str | None = None,
    arm_b: str | None = None,
    column: str = "loss",
    ax: Axes | None = None,
) -> Axes:
    """Draw loss or accuracy on the straight line between two ends: where it leaves the dotted line is the barrier.

    Parameters
    ----------
    lines : DataFrame
        The table ``lines`` of a landscape.
    arm_a, arm_b : str, optional
        The arms of the two ends; needed where the table holds several pairs.
    column : {"loss", "accuracy"}
    ax : Axes, optional
        Where to draw.
    """
    if column not in ("loss", "accuracy"):
        raise InputError(f"loss_on_line: column = '{column}': must be 'loss' or 'accuracy'")
    chosen = (lines["arm_a"] == (arm_a or lines["arm_a"])) & (lines["arm_b"] == (arm_b or lines["arm_b"]))
    rows = lines[chosen & np.isfinite(lines[column])]
    pairs = rows[["arm_a", "arm_b"]].drop_duplicates().to_numpy().tolist()
    if len(pairs) != 1:
        held = ", ".join(f"{a} to {b}" for a, b in pairs) or "no rows to draw"
        raise InputError(f"loss_on_line: arm_a and arm_b must name one pair with rows; here are {held}")
    (a, b), factor = pairs[0], 100 if column == "accuracy" else 1
    points = rows.assign(at=rows["alpha"], arm=rows["part"], value=factor * rows[column], part=0)
    means = mean_interval(points, ["arm", "part", "at"], "value")
    ax = ax or new_axes(4.4, 3.4)
    drawn = {"test": ArmStyle(ink(), "-", ""), "train": ArmStyle(ink(), "--", "")}
    draw_bands(ax, means, drawn, (0, 100 if column == "accuracy" else np.inf))
    for _, line in means.groupby("arm"):
        ends = line.sort_values("at")[["at", "mean"]].to_numpy()[[0, -1]]
        ax.plot(*ends.T, **rule())
    keep_within(ax, x=(0, 1))
    names = short_names(dict.fromkeys((a, b)))
    ends_of = ("one seed", "another") if a == b else (names[a], names[b])
    ax.set_xlim(0, 1)
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1], [ends_of[0], "", "between", "", ends_of[1]])
    ax.get_xticklabels()[0].set_horizontalalignment("left")
    ax.get_xticklabels()[-1].set_horizontalalignment("right")
    ax.set_xlabel("place on the straight line between two ends")
    ax.set_ylabel("accuracy (%)" if column == "accuracy" else "loss")
    count = len(rows[["seed_a", "seed_b"]].drop_duplicates())
    noun = ("pair" if a == b else "seed") + "s" * (count != 1) + " of seeds" * (a == b)
    finish(ax, f"Mean{' and 95 % interval' * (count > 1)} over {count} {noun}")
    ax.legend(frameon=False, fontsize="small")
    return ax


def loss_plane(
    plane: pd.DataFrame,
    *,
    part: str = "test",
    column: str = "loss",
    arms: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw loss or accuracy on the plane through three ends, in shades that cover equal areas.

    Parameters
    ----------
    plane : DataFrame
        The table ``plane`` of a landscape.
    part : {"test", "train"}
        The data.
    column : {"loss", "accuracy"}
    arms : sequence of str, optional
        All arms of the study in their order, which gives them their colours; those in the table if absent.
    ax : Axes, optional
        Where to draw.
    """
    rows = plane[plane["part"] == part]
    if rows.empty or column not in ("loss", "accuracy"):
        raise InputError(f"loss_plane: the table has no {column} of the part '{part}' to draw")
    corners = rows[rows["arm"] != ""]
    factor = 100 if column == "accuracy" else 1
    grid = factor * rows[rows["arm"] == ""].pivot(index="y", columns="x", values=column)
    values = grid.to_numpy()
    levels = np.unique(np.quantile(values[np.isfinite(values)], np.linspace(0, 1, LEVELS)))
    if len(levels) < 2:
        raise InputError(f"loss_plane: the {column} is the same everywhere, {levels[0]:.3g}")
    ax = ax or new_axes(4.8, 4.2)
    shades = np.linspace(0.02, 0.5, len(levels) - 1)
    shades = shades[::-1] if column == "accuracy" else shades
    colors = [(*mpl.colors.to_rgb(ink()), shade) for shade in shades]
    image = ax.contourf(grid.columns, grid.index, values, levels, colors=colors, zorder=0)
    styles, names = arm_styles(arms or corners["arm"]), short_names(corners["arm"])
    for row in corners.to_dict("records"):
        style, place = styles[row["arm"]], (row["x"], row["y"])
        ax.plot(*place, style.marker, ms=8, color=style.color, mec=paper(), mew=0.8, zorder=3)
        ax.annotate(
            f"{names[row['arm']]}: {factor * row[column]:.3g}",
            place,
            (0, 8),
            textcoords="offset points",
            ha="center",
            size="small",
            path_effects=[withStroke(linewidth=2, foreground=paper())],
        )
    unit = "accuracy (%)" if column == "accuracy" else "loss"
    ax.figure.colorbar(image, ax=ax, label=f"{part} {unit}", format="%.3g")
    ax.set_aspect("equal")
    ax.set_xlabel("distance along the line between the first two ends")
    ax.set_ylabel("distance from that line")
    finish(ax, f"Plane through three ends, seed {', '.join(map(str, sorted(set(rows['seed']))))}")
    return ax
