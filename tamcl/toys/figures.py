"""Pictures of the toy surfaces: a table in, matplotlib ``Axes`` out, in the colours that arms have everywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from tamcl.errors import InputError
from tamcl.plots import ArmStyle, arm_styles
from tamcl.plots.axes import ShownFigure
from tamcl.toys.surfaces import Surface, find_surface


def contours(
    table: pd.DataFrame, *, surface: Surface | str, arms: Sequence[str] | None = None, ax: Axes | None = None
) -> Axes:
    """Draw paths over the contours of a surface of two numbers.

    Parameters
    ----------
    table : DataFrame
        Rows of ``path_table``, one learning rate an arm.
    surface : Surface or str
        What the paths were taken on.
    arms : sequence of str, optional
        All arms in their order, which gives them their colours; those in the table if absent.
    ax : Axes, optional
        Where to draw.
    """
    surface, drawn = find_surface(surface), _checked_styles(table, arms, "contours")
    if len(surface.axes) != 2:
        raise InputError(f"contours: {surface.title} has {len(surface.axes)} coordinates, and 2 can be drawn")
    ax = ax or _new(4.6, 4.6)
    x, y = (np.linspace(*bounds, 241) for bounds in surface.bounds)
    values = surface.value(np.stack(np.meshgrid(x, y), axis=-1))
    levels = np.unique(np.quantile(values, np.linspace(0, 1, 16)))  # equal areas between lines, however steep
    shades = np.linspace(0.28, 0.02, len(levels) - 1)
    ax.contourf(x, y, values, levels, colors=[(*mpl.colors.to_rgb(_ink()), shade) for shade in shades], zorder=0)
    for point in surface.minima:
        ax.plot(*point, "*", ms=13, color=_paper(), mec=_ink(), mew=0.8, zorder=2.5)
    present = [arm for arm in drawn if arm in set(table["arm"])]
    widths = dict(zip(present, np.linspace(2.2, 1.0, len(present)), strict=True))  # paths on one another stay visible
    for arm, style in ((arm, drawn[arm]) for arm in present):
        for _, rows in table[table["arm"] == arm].groupby("start"):
            path = rows[["x", "y"]].dropna().to_numpy()
            ax.plot(*path.T, color=style.color, linestyle=style.line, lw=widths[arm], label=arm)
            ax.plot(*path[0], "o", ms=5, color=_paper(), mec=_ink(), mew=1, zorder=3)
            ax.plot(*path[-1], style.marker, ms=7, color=style.color, mec=_paper(), mew=0.8, zorder=3)
    ax.set_xlim(surface.bounds[0])
    ax.set_ylim(surface.bounds[1])
    ax.set_xlabel("x")
    ax.set_ylabel("y")
    ax.set_title(
        f"{surface.title}: {int(table['step'].max())} steps from the ring; star: lowest", loc="left", size="small"
    )
    rates = table.groupby("arm")["lr"].first()
    handles = []
    for arm in present:
        line: dict[str, Any] = dict(zip(("color", "linestyle", "marker"), drawn[arm], strict=True))
        handles.append(Line2D([], [], **line, label=f"{arm}, lr {rates[arm]:g}"))
    _legend(ax, handles)
    return ax


def curves(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the family of functions with one flat and one sharp minimum.

    Parameters
    ----------
    table : DataFrame
        sharpness, x and value.
    ax : Axes, optional
        Where to draw.
    """
    _check_rows(table, "curves")
    ax = ax or _new(5.6, 3.4)
    families = list(table.groupby("sharpness"))
    for shade, (sharpness, rows) in zip(np.linspace(0.3, 1, len(families)), families, strict=True):
        ax.plot(rows["x"], rows["value"], color=_ink(), alpha=shade, lw=1.3, label=f"{sharpness:g}")
    ax.set_ylim(0)
    ax.set_xlim(table["x"].min(), table["x"].max())
    ax.set_xlabel("x")
    ax.set_ylabel("value")
    ax.set_title("Flat minimum at −1 (second derivative 1), equally deep sharp one at 1", loc="left", size="small")
    ax.legend(title="sharpness at 1", frameon=False, fontsize="small", title_fontsize="small")
    _finish(ax)
    return ax


def escape(
    table: pd.DataFrame,
    *,
    arms: Sequence[str] | None = None,
    limits: Mapping[str, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the share of runs from the sharp basin that end in the flat one against the sharpness.

    Parameters
    ----------
    table : DataFrame
        Rows of ``escape_ratio``, one learning rate an arm.
    arms : sequence of str, optional
        All arms in their order, which gives them their colours; those in the table if absent.
    limits : dict of str to float, optional
        Of some arms the sharpness above which their steps are unstable; drawn as dotted lines.
    ax : Axes, optional
        Where to draw.
    """
    drawn = _checked_styles(table, arms, "escape")
    ax = ax or _new(5.2, 3.6)
    for arm, sharpness in (limits or {}).items():
        ax.axvline(sharpness, color=drawn[arm].color, lw=1.1, linestyle=(0, (1, 2)), zorder=0.9)
    ratios = 100 * table.groupby(["arm", "sharpness"], sort=False)["escaped"].mean().unstack("arm", sort=False)
    rates = table.groupby("arm")["lr"].first()
    for arm, style in drawn.items():
        if arm in ratios:
            line: dict[str, Any] = {"color": style.color, "linestyle": style.line, "marker": style.marker}
            ax.plot(ratios.index, ratios[arm], lw=1.4, ms=5, **line, label=f"{arm}, lr {rates[arm]:.3g}")
    ax.set_xscale("log", base=2)
    _plain_numbers(ax)
    ax.set_ylim(-4, 104)
    ax.set_xlabel("sharpness coefficient (1: as flat as the flat minimum)")
    ax.set_ylabel("escape ratio (% of runs)")
    count = table.groupby(["arm", "sharpness"]).size().max()
    dotted = "; dotted: steps are unstable to the right" if limits else ""
    ax.set_title(f"{count} starts over the sharp basin for each point{dotted}", loc="left", size="small")
    ax.grid(axis="y", linewidth=0.6)
    _finish(ax)
    _legend(ax)
    return ax


def convergence(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how fast heavy ball and critical momenta converge on quadratics against the condition number.

    Parameters
    ----------
    table : DataFrame
        Rows of ``convergence_rates``.
    ax : Axes, optional
        Where to draw.
    """
    _check_rows(table, "convergence")
    ax = ax or _new(6.2, 4.0)
    colors = arm_styles(["sgdm", *(f"buffer of {c}" for c in sorted(set(table["capacity"]) - {0}))])
    styles = dict(zip(dict.fromkeys(table["momentum"]), ("-", "--", ":", "-."), strict=False))
    for (capacity, momentum), rows in table.groupby(["capacity", "momentum"], sort=False):
        color = colors[f"buffer of {capacity}" if capacity else "sgdm"].color
        name = f"critical momenta, C = {capacity}" if capacity else "heavy ball"
        held = "α, β best" if momentum == "best" else f"α best, β = {momentum}"
        ax.plot(
            rows["condition_number"], rows["rate"], color=color, linestyle=styles[momentum], label=f"{name}; {held}"
        )
        ax.plot(rows["condition_number"], rows["simulated_rate"], "o", color=color, mfc="none", ms=6)
    ax.set_xscale("log")
    ax.set_yscale("log")
    _plain_numbers(ax)
    ax.set_xlabel("condition number κ")
    ax.set_ylabel("convergence rate 1 − ρ* (higher is faster)")
    circles = "; circles: the optimizers, run" if table["simulated_rate"].notna().any() else ""
    ax.set_title(f"Quadratics, worst eigenvalue in [1/κ, 1]{circles}", loc="left", size="small")
    ax.grid(linewidth=0.6)
    ax.legend(frameon=False, fontsize="small")
    _finish(ax)
    return ax


def losses(
    table: pd.DataFrame,
    *,
    arms: Sequence[str] | None = None,
    slopes: Mapping[str, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the loss of several runs of each arm over the steps: the median, and a band from quartile to quartile.

    Parameters
    ----------
    table : DataFrame
        Rows of ``path_table``, one learning rate an arm.
    arms : sequence of str, optional
        All arms in their order, which gives them their colours; those in the table if absent.
    slopes : dict of str to float, optional
        Of some arms the factor by which theory says that the error shrinks a step; drawn as dotted lines.
    ax : Axes, optional
        Where to draw.
    """
    drawn = _checked_styles(table, arms, "losses")
    ax = ax or _new(5.2, 3.6)
    loss = table.groupby(["arm", "step"], sort=False)["loss"]
    low, median, high = (loss.quantile(level).unstack("step") for level in (0.25, 0.5, 0.75))
    rates, steps = table.groupby("arm")["lr"].first(), median.columns.to_numpy()
    for arm, style in drawn.items():
        if arm in median.index:
            ax.fill_between(steps, low.loc[arm], high.loc[arm], color=style.color, alpha=0.15, linewidth=0)
            label = f"{arm}, lr {rates[arm]:.3g}"
            ax.plot(steps, median.loc[arm], color=style.color, linestyle=style.line, lw=1.4, label=label)
    for arm, rho in (slopes or {}).items():
        ax.plot(steps, median.loc[arm].iloc[0] * rho ** (2.0 * steps), ":", color=drawn[arm].color, lw=1.1)
    ax.set_yscale("log")
    _plain_numbers(ax)
    ax.set_xlim(0, table["step"].max())
    ax.set_xlabel("steps")
    ax.set_ylabel("loss (without noise)")
    runs = table.groupby("arm")["start"].nunique().max()
    several = f"Median and quartiles of {runs} runs" if runs > 1 else "One run"
    ax.set_title(f"{several}{'; dotted: slope by theory' if slopes else ''}", loc="left", size="small")
    ax.grid(axis="y", linewidth=0.6)
    _finish(ax)
    _legend(ax)
    return ax


def drift_law(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how much worse heavy ball follows a moving minimum the more momentum it has, by what moves it.

    Parameters
    ----------
    table : DataFrame
        cause, momentum, error by the closed form, and measured, which is nan where nothing was run.
    ax : Axes, optional
        Where to draw.
    """
    _check_rows(table, "drift_law")
    ax = ax or _new(5.6, 4.0)
    for (cause, rows), style in zip(
        table.groupby("cause", sort=False), arm_styles(table["cause"]).values(), strict=True
    ):
        without = rows["error"].iloc[0]
        length = 1 / (1 - rows["momentum"])
        ax.plot(length, rows["error"] / without, color=style.color, linestyle=style.line, label=cause)
        ax.plot(length, rows["measured"] / without, "o", color=style.color, mfc="none", ms=6)
    ax.set_xscale("log")
    ax.set_yscale("log")
    _plain_numbers(ax)
    ax.set_xlabel("1 / (1 − β): steps that momentum remembers")
    ax.set_ylabel("mean square error, by that at β = 0")
    ax.set_title("Heavy ball, equally long steps; circles: measured", loc="left", size="small")
    ax.grid(linewidth=0.6)
    ax.legend(frameon=False, fontsize="small")
    _finish(ax)
    return ax


def tracking(table: pd.DataFrame, *, lowest: float | None = None, ax: Axes | None = None) -> Axes:
    """Draw how far optimizers stay from a moving minimum against their momentum.

    Parameters
    ----------
    table : DataFrame
        Of every arm and momentum the error at one learning rate; an arm without momentum has nan there and is drawn as
        a point on the left.
    lowest : float, optional
        The lowest error that is possible; drawn as a dotted line.
    ax : Axes, optional
        Where to draw.
    """
    _check_rows(table, "tracking")
    ax = ax or _new(5.2, 4.0)
    for arm, style in arm_styles(table["arm"]).items():
        rows = table[table["arm"] == arm]
        line: dict[str, Any] = {"color": style.color, "linestyle": style.line, "marker": style.marker}
        ax.plot(1 / (1 - rows["momentum"].fillna(0)), rows["error"], lw=1.4, ms=5, **line, label=arm)
    if lowest is not None:
        ax.axhline(lowest, color=_ink(), lw=1.1, linestyle=(0, (1, 2)), zorder=0.9)
    ax.set_xscale("log")
    ax.set_yscale("log")
    _plain_numbers(ax)
    ax.set_yticks((0.2, 0.5, 1, 2, 5, 10))
    ax.set_xlabel("1 / (1 − β): steps that momentum remembers")
    ax.set_ylabel("mean square error")
    dotted = "" if lowest is None else "; dotted: the lowest possible"
    ax.set_title(f"Distance to a moving minimum{dotted}", loc="left", size="small")
    ax.grid(linewidth=0.6)
    _finish(ax)
    _legend(ax)
    return ax


def _checked_styles(table: pd.DataFrame, arms: Sequence[str] | None, what: str) -> dict[str, ArmStyle]:
    """Return the styles to draw with, after checking that every arm stands at one learning rate."""
    _check_rows(table, what)
    several = table.groupby("arm")["lr"].nunique().loc[lambda counts: counts > 1]
    if len(several):
        raise InputError(
            f"{what}: arm '{several.index[0]}' stands at {several.iloc[0]} learning rates; pass rows of one"
        )
    missing = sorted(set(table["arm"]) - set(arms or table["arm"]))
    if missing:
        raise InputError(f"{what}: arm '{missing[0]}' of the table is not among arms")
    return arm_styles(arms if arms is not None else table["arm"])


def _check_rows(table: pd.DataFrame, what: str) -> None:
    if table.empty:
        raise InputError(f"{what}: the table has no rows to draw")


def _new(width: float, height: float) -> Axes:
    return new_figure(width, height, 1)[1][0]


def new_figure(width: float, height: float, columns: int, **options: Any) -> tuple[Figure, list[Axes]]:
    """Return a figure that pyplot does not know about, and its axes side by side."""
    figure = ShownFigure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(1, columns, squeeze=False, **options)[0])


def _ink() -> str:
    return str(mpl.rcParams["text.color"])


def _paper() -> str:
    return str(mpl.rcParams["axes.facecolor"])


def _plain_numbers(ax: Axes) -> None:
    """Label logarithmic axes without the mathematics that the theme does not read, and their decades alone."""
    for axis in (ax.xaxis, ax.yaxis):
        if axis.get_scale() == "log":
            axis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axis.set_minor_formatter(NullFormatter())


def _finish(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_axisbelow(True)


def _legend(ax: Axes, handles: list[Line2D] | None = None) -> None:
    """Put the legend under the axes, where it hides nothing."""
    options: dict[str, Any] = {"frameon": False, "fontsize": "small", "ncols": 2, "loc": "upper center"}
    ax.legend(handles=handles, bbox_to_anchor=(0.5, -0.13), **options)
