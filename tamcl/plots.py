"""Pictures of a study: a tidy table in, matplotlib ``Axes`` out.

Every function draws on ``ax``, or on a new figure that pyplot does not know about, so that nothing is left open: show
it with ``online_accuracy(table).figure`` in a notebook, save it with ``.figure.savefig("online.png")``. Fractions are
drawn in percent. Intervals are 95 % intervals of the mean over seeds (Student's t), drawn from two seeds on.

An arm has the same colour, line and marker in every picture. Pass all arms of a study as ``arms`` when a table holds
only some of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.optimize import isotonic_regression
from scipy.stats import t as student

from tamcl.diagnostics import FRACTIONS
from tamcl.errors import InputError
from tamcl.metrics import METRICS, recovery_curves
from tamcl.metrics.adaptation import WINDOW

__all__ = [
    "Look",
    "accuracy_by_fraction",
    "accuracy_matrix",
    "better_side",
    "critical_differences",
    "diagnostics",
    "expected_best",
    "forgetting_against_learning",
    "looks",
    "lr_sensitivity",
    "mean_interval",
    "metric_axis",
    "online_accuracy",
    "paired_differences",
    "recovery",
    "summary",
    "theme",
    "with_direction",
]


class Look(NamedTuple):
    """How an arm is drawn."""

    color: str
    line: str
    marker: str


KNOWN = {
    "sgdm": Look("#0072B2", "-", "o"),
    "tam": Look("#D55E00", "-", "s"),
    "tam_frozen": Look("#E69F00", "--", "D"),
    "adam": Look("#009E73", "-", "^"),
    "adatam": Look("#CC79A7", "-", "v"),
    "adam_cm": Look("#56B4E9", "-", "p"),
}
"""Looks of the arms that the scenarios bring, in the colours of Okabe and Ito (Color Universal Design, 2008)."""

OTHERS = ("#8C6BB1", "#A6761D", "#7F8790", "#B5A800", "#2A9D8F", "#E0567A")
"""Colours of all other arms in their order; after the last the first comes again with another line."""

WIDE = (7.4, 3.7)
"""Size in inches of a figure made here, where nothing else is said."""


def looks(arms: Iterable[str]) -> dict[str, Look]:
    """Return the look of every arm: well-known arms have their own, others take the next free one in their order.

    Examples
    --------
    >>> looks(["tam", "mine", "yours"])["mine"]
    Look(color='#8C6BB1', line='-', marker='X')
    """
    arms = list(dict.fromkeys(arms))
    others = [arm for arm in arms if arm not in KNOWN]
    free = {
        arm: Look(OTHERS[i % len(OTHERS)], ("-", "--", ":", "-.")[i // len(OTHERS) % 4], "X*<>hd"[i % 6])
        for i, arm in enumerate(others)
    }
    return {arm: KNOWN[arm] if arm in KNOWN else free[arm] for arm in arms}


def metric_axis(metric: str) -> tuple[str, str, float]:
    """Return how a metric is shown: its label, its unit, and the factor from stored values to that unit.

    Examples
    --------
    >>> metric_axis("online_accuracy")
    ('Online accuracy', '%', 100.0)
    """
    if metric not in METRICS:
        return metric.replace("_", " "), "", 1.0
    known = METRICS[metric]
    return (known.label, "%", 100.0) if known.unit == "fraction" else (known.label, known.unit, 1.0)


def with_direction(metric: str, label: str, unit: str) -> str:
    """Return a label with its unit and the metric's direction.

    Examples
    --------
    >>> with_direction("drop", "Drop", "%")
    'Drop (%, lower is better)'
    """
    better = f"{METRICS[metric].better} is better" if metric in METRICS else ""
    inside = ", ".join(part for part in (unit, better) if part)
    return f"{label} ({inside})" if inside else label


def better_side(metric: str) -> str:
    """Return which side of 0 a difference lies on when the first of two arms is better.

    Examples
    --------
    >>> better_side("forgetting")
    'below 0: the first is better'
    """
    side = {"higher": "above", "lower": "below"}
    return f"{side[METRICS[metric].better]} 0: the first is better" if metric in METRICS else ""


def mean_interval(table: pd.DataFrame, by: list[str], column: str) -> pd.DataFrame:
    """Return the mean of a column over seeds and its 95 % interval by Student's t.

    Parameters
    ----------
    table : DataFrame
        One row a seed within each group.
    by : list of str
        Columns that make the groups.
    column : str
        What is averaged.

    Returns
    -------
    DataFrame
        The columns of ``by``, mean, low, high and count; low and high are nan for a single seed.

    Examples
    --------
    >>> table = pd.DataFrame({"arm": ["tam", "tam", "adam"], "value": [1.0, 3.0, 5.0]})
    >>> mean_interval(table, ["arm"], "value").round(2)
        arm  mean    low   high  count
    0  adam   5.0    NaN    NaN      1
    1   tam   2.0 -10.71  14.71      2
    """
    rows = table.groupby(by)[column].agg(["mean", "sem", "count"]).reset_index()
    half = rows["sem"] * student.ppf(0.975, np.maximum(rows["count"] - 1, 1))
    return rows.assign(low=rows["mean"] - half, high=rows["mean"] + half)[[*by, "mean", "low", "high", "count"]]


def online_accuracy(
    online: pd.DataFrame, *, arms: Sequence[str] | None = None, window: int | None = None, ax: Axes | None = None
) -> Axes:
    """Draw accuracy before each update over the whole stream: who learns faster, and what each shift costs.

    Parameters
    ----------
    online : DataFrame
        Rows of the ``online`` table, one learning rate an arm.
    arms : sequence of str, optional
        All arms of the study in their order; those in the table if absent.
    window : int, optional
        Mini-batches averaged into one point; no point reaches across a shift. Chosen to give some 150 points if absent.
    ax : Axes, optional
        Where to draw.
    """
    drawn = _looks_of(online, arms, "online_accuracy")
    steps = int(online["step"].max()) + 1
    window = window or max(1, round(steps / 150))
    ax = ax or _axes(*WIDE)
    shifts = _mark_shifts(ax, online)
    _draw_bands(ax, mean_interval(_blocks(online, window), ["arm", "part", "at"], "accuracy"), drawn)
    ax.set_xlim(0, steps)
    ax.set_xlabel(f"mini-batches seen (of {online['n'].max()} examples)")
    ax.set_ylabel("online accuracy (%)")
    _finish(ax, f"Mean{_interval(online)} over {_seeds(online)}, by {window} mini-batch{'es' * (window > 1)}{shifts}")
    _label_ends(ax, drawn)
    return ax


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
    label = diagnostic.replace("_", " ") + (f" of {tensor}" if tensor else "")
    found = (table["diagnostic"] == diagnostic) & (table["tensor"] == tensor) & np.isfinite(table["value"])
    rows = table[found]
    drawn = _looks_of(rows, arms, f"diagnostics of '{diagnostic}'" + (f" of '{tensor}'" if tensor else ""))
    fraction = diagnostic in FRACTIONS
    several = rows.groupby(["arm", "seed", "experience"]).size().max() > 1  # else a line broken at shifts has no length
    points = rows.assign(
        value=rows["value"] * (100 if fraction else 1), at=rows["step"], part=rows["experience"] if several else 0
    )
    ax = ax or _axes(*WIDE)
    shifts = _mark_shifts(ax, table)
    _draw_bands(ax, mean_interval(points, ["arm", "part", "at"], "value"), drawn)
    if len(ax.get_shared_x_axes().get_siblings(ax)) == 1:
        ax.set_xlim(0, table["step"].max() + 1)
    ax.set_xlabel("mini-batches seen")
    ax.set_ylabel(f"{label} (%)" if fraction else label)
    _finish(ax, f"Mean{_interval(rows)} over {_seeds(rows)}{shifts}")
    _label_ends(ax, drawn)
    return ax


def recovery(
    online: pd.DataFrame,
    *,
    arms: Sequence[str] | None = None,
    before: int = 30,
    window: int = WINDOW,
    ax: Axes | None = None,
) -> Axes:
    """Draw accuracy around a shift, all shifts laid on one another: how deep the drop, how fast the way back.

    Parameters
    ----------
    online : DataFrame
        Rows of the ``online`` table, one learning rate an arm; the first experience begins without a shift.
    arms : sequence of str, optional
        All arms of the study in their order; those in the table if absent.
    before : int
        Mini-batches shown before the shift.
    window : int
        Mini-batches averaged, counted from each one on, as in the metrics of recovery.
    ax : Axes, optional
        Where to draw.
    """
    drawn = _looks_of(online, arms, "recovery")
    curves = recovery_curves(online, before=before, window=window)
    if curves.empty:
        raise InputError("recovery: the stream has a single experience, and so no shift to align at")
    points = curves.rename(columns={"since_shift": "at"}).assign(
        accuracy=100 * curves["accuracy"], part=curves["since_shift"] >= 0
    )
    ax = ax or _axes(5.6, 3.7)
    ax.axvline(0, **_rule())
    _draw_bands(ax, mean_interval(points, ["arm", "part", "at"], "accuracy"), drawn)
    ax.set_xlim(points["at"].min(), points["at"].max())
    ax.set_xlabel(f"mini-batches since the shift (of {online['n'].max()} examples)")
    ax.set_ylabel(f"accuracy over the next {window} (%)")
    shifts = _counts(curves["n_shifts"].iloc[[0]], "shift")
    _finish(ax, f"Mean over {shifts}{_interval(online)} over {_seeds(online)}")
    _label_ends(ax, drawn)
    return ax


def accuracy_matrix(
    evaluated: pd.DataFrame,
    *,
    arm: str | None = None,
    numbers: bool | None = None,
    colorbar: bool | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw R[i, j], the accuracy on experience j after training on experience i, as the mean over seeds.

    Read a column downwards: that experience is learnt on the diagonal, and then kept or forgotten.

    Parameters
    ----------
    evaluated : DataFrame
        Rows of the ``eval`` table.
    arm : str, optional
        The arm to draw; needed where the table holds several.
    numbers : bool, optional
        Whether the accuracy stands in every field; up to 12 experiences if absent.
    colorbar : bool, optional
        Whether a scale stands beside the matrix; where there are no numbers if absent.
    ax : Axes, optional
        Where to draw.
    """
    present = list(evaluated["arm"].unique())
    if arm is None and len(present) > 1:
        raise InputError(f"accuracy_matrix: the table holds several arms; choose one of {', '.join(present)}")
    rows = evaluated if arm is None else evaluated[evaluated["arm"] == arm]
    _looks_of(rows, None, "accuracy_matrix" if arm is None else f"accuracy_matrix of '{arm}'")
    R = 100 * rows.pivot_table(index="trained_on", columns="evaluated_on", values="accuracy", aggfunc="mean")
    ax = ax or _axes(4.4, 4.0)
    image = ax.imshow(R, cmap="cividis", vmin=0, vmax=100, aspect="auto", interpolation="nearest")
    numbers = R.shape[1] <= 12 if numbers is None else numbers
    if numbers:
        for (i, j), value in np.ndenumerate(R.to_numpy()):
            if np.isfinite(value):
                ax.text(
                    j,
                    i,
                    f"{value:.0f}",
                    ha="center",
                    va="center",
                    size=6.5,
                    color="w" if value < 55 else "k",
                    in_layout=False,
                )
    if not numbers if colorbar is None else colorbar:
        ax.figure.colorbar(image, ax=ax, label="accuracy (%)")
    every = -(-R.shape[1] // 12)
    untrained = int(-1 in R.index)
    rows_named = [*range(untrained), *range(untrained, R.shape[0], every)]
    ax.set_xticks(range(0, R.shape[1], every), [str(j) for j in R.columns[::every]])
    ax.set_yticks(rows_named, ["none" if R.index[i] < 0 else str(R.index[i]) for i in rows_named])
    ax.set_xlabel("tested on experience")
    ax.set_ylabel("after training on experience")
    ax.tick_params(length=0)
    _finish(ax, f"{present[0] if arm is None else arm}: accuracy (%), mean over {_seeds(rows)}")
    ax.spines[:].set_visible(False)
    return ax


def summary(metrics: pd.DataFrame, *, metric: str, arms: Sequence[str] | None = None, ax: Axes | None = None) -> Axes:
    """Draw one metric by arm: the mean with its interval, and under it a point for each seed.

    Parameters
    ----------
    metrics : DataFrame
        Rows of the ``metrics`` table, one learning rate an arm.
    metric : str
        The metric to draw.
    arms : sequence of str, optional
        All arms of the study in their order, those without a value too; those in the table if absent.
    ax : Axes, optional
        Where to draw.
    """
    rows = metrics[metrics["metric"] == metric].dropna(subset="value")
    drawn = _looks_of(rows, arms, f"summary of '{metric}'")
    label, unit, factor = metric_axis(metric)
    rows = rows.assign(value=factor * rows["value"])
    means = mean_interval(rows, ["arm"], "value").set_index("arm")
    ax = ax or _axes(4.6, 0.9 + 0.4 * len(drawn))
    for place, (arm, look) in enumerate(drawn.items()):
        if arm not in means.index:
            continue
        values = rows.loc[rows["arm"] == arm, "value"]
        ax.plot(values, np.full(len(values), place + 0.2), "o", color=look.color, alpha=0.5, ms=4, mew=0)
        ax.plot(means.loc[arm, ["low", "high"]], [place - 0.12] * 2, color=look.color, lw=2, solid_capstyle="butt")
        mean = means.loc[arm, ["mean"]]
        ax.plot(mean, [place - 0.12], look.marker, color=look.color, ms=7, mec=_paper(), label=arm)
    ax.set_yticks(range(len(drawn)), list(drawn))
    ax.set_ylim(len(drawn) - 0.5, -0.5)
    ax.grid(axis="x", linewidth=0.6)
    ax.set_xlabel(with_direction(metric, label, unit))
    _finish(ax, f"Mean{_interval(rows)} over {_seeds(rows)}")
    ax.tick_params(axis="y", length=0)
    return ax


def lr_sensitivity(
    tuning: pd.DataFrame,
    *,
    score: str = "online_accuracy",
    arms: Sequence[str] | None = None,
    plateaus: pd.DataFrame | None = None,
    rules: Mapping[str, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the score on the tuning seeds against the learning rate: was every arm tuned, and how much does it matter?

    A ring marks the chosen learning rate, with an arrow where it is an end of the grid, so that a better one may lie
    beyond; a cross on the lower edge marks one at which a seed diverged or failed.

    Parameters
    ----------
    tuning : DataFrame
        What ``tamcl.tuning.select`` returns: arm, lr, score, n_seeds, n_diverged, chosen; or the rows of one metric of
        ``tamcl.tuning.by_lr``.
    score : str
        The metric that ``score`` holds.
    arms : sequence of str, optional
        All arms of the study in their order; those in the table if absent.
    plateaus : DataFrame, optional
        What ``tamcl.tuning.plateau`` returns; each arm's range of nearly as good rates is drawn broad.
    rules : mapping of str to float, optional
        The learning rate that a rule says for an arm, such as one that carries it over from another arm; a triangle on
        the upper edge marks it.
    ax : Axes, optional
        Where to draw.
    """
    if tuning.empty:
        raise InputError("lr_sensitivity: the table has no rows to draw")
    drawn = looks(arms if arms is not None else tuning["arm"])
    label, unit, factor = metric_axis(score)
    ax = ax or _axes(*WIDE)
    ax.set_xscale("log")
    for arm, look in drawn.items():
        rows = tuning[tuning["arm"] == arm].sort_values("lr")
        if rows.empty:
            continue
        good = rows[(rows["n_diverged"] == 0) & rows["score"].notna()]
        ax.plot(good["lr"], factor * good["score"], look.marker, ls=look.line, color=look.color, ms=5, label=arm)
        chosen = rows[rows["chosen"]]
        ax.plot(chosen["lr"], factor * chosen["score"], "o", color=look.color, mfc="none", ms=13)
        _point_beyond(ax, chosen.assign(score=factor * chosen["score"]), rows["lr"], look.color)
        if plateaus is not None:
            ends = plateaus[plateaus["arm"] == arm]
            for low, high in ends[["lr_low", "lr_high"]].to_numpy(dtype=np.float64):
                near = good[good["lr"].between(low, high)]
                broad: dict[str, Any] = {
                    "color": look.color,
                    "alpha": 0.25,
                    "lw": 9,
                    "solid_capstyle": "round",
                    "zorder": 1.5,
                }
                ax.plot(near["lr"], factor * near["score"], **broad)
        if rules is not None and arm in rules:
            ax.plot([rules[arm]], [0.97], "v", color=look.color, ms=7, transform=ax.get_xaxis_transform())
        broken = rows.drop(index=good.index)["lr"]
        ax.plot(broken, np.full(len(broken), 0.03), "x", color=look.color, transform=ax.get_xaxis_transform())
    ax.grid(axis="y", linewidth=0.6)
    ax.set_xlabel("learning rate")
    ax.set_ylabel(f"{label} ({unit})" if unit else label)
    signs = {
        "; arrow: better ones may lie beyond": "on_edge" in tuning and tuning["on_edge"].any(),
        "; cross: diverged or failed": (tuning["n_diverged"] > 0).any(),
        "; broad: nearly as good": plateaus is not None,
        "; triangle: by the rule": rules is not None,
    }
    said = "".join(text for text, drawn_so in signs.items() if drawn_so)
    _finish(ax, f"Mean over {_counts(tuning['n_seeds'], 'tuning seed')}; ring: chosen{said}")
    ax.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def expected_best(
    expected: pd.DataFrame, *, score: str = "online_accuracy", arms: Sequence[str] | None = None, ax: Axes | None = None
) -> Axes:
    """Draw how good the best of n learning rates is on average: compare arms above the same number of trials.

    Parameters
    ----------
    expected : DataFrame
        What ``tamcl.tuning.expected_best`` returns: scenario, arm, trials, expected.
    score : str
        The metric that was tuned for.
    arms : sequence of str, optional
        All arms of the study in their order; those in the table if absent.
    ax : Axes, optional
        Where to draw.
    """
    if expected.empty:
        raise InputError("expected_best: the table has no rows to draw")
    if expected["scenario"].nunique() > 1:
        raise InputError(f"expected_best: {expected['scenario'].nunique()} scenarios; pass rows of one")
    drawn = looks(arms if arms is not None else expected["arm"])
    label, unit, factor = metric_axis(score)
    ax = ax or _axes(5.6, 3.7)
    for arm, look in drawn.items():
        rows = expected[expected["arm"] == arm].sort_values("trials")
        if len(rows):
            values = factor * rows["expected"]
            ax.plot(rows["trials"], values, look.marker, ls=look.line, color=look.color, ms=5, label=arm)
    trials = int(expected["trials"].max())
    ax.set_xticks(range(1, trials + 1, -(-trials // 12)))
    ax.grid(axis="y", linewidth=0.6)
    ax.set_xlabel("trials (learning rates tried)")
    ax.set_ylabel(f"{label} ({unit})" if unit else label)
    _finish(ax, "Expected best on the tuning seeds, by the number of trials")
    _label_ends(ax, drawn)
    return ax


def forgetting_against_learning(
    metrics: pd.DataFrame,
    *,
    forgetting: str = "forgetting",
    learning: str = "learning_accuracy",
    arms: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw what an arm forgets against what it learns: a point for each seed, the mean with its interval both ways.

    An arm that learns little has little to forget: better is to the right and down, not down alone.

    Parameters
    ----------
    metrics : DataFrame
        Rows of the ``metrics`` table, one learning rate an arm.
    forgetting, learning : str
        The metrics on the upright and on the level axis.
    arms : sequence of str, optional
        All arms of the study in their order, those without a value too; those in the table if absent.
    ax : Axes, optional
        Where to draw.
    """
    rows = metrics[metrics["metric"].isin([forgetting, learning])].dropna(subset="value")
    drawn = _looks_of(rows, arms, "forgetting_against_learning")
    points = rows.pivot(index=["arm", "seed"], columns="metric", values="value")
    points = points.reindex(columns=[learning, forgetting]).dropna().reset_index()
    if points.empty:
        raise InputError(f"forgetting_against_learning: no seed has both '{learning}' and '{forgetting}'")
    axes = {name: metric_axis(name) for name in (learning, forgetting)}
    points[[learning, forgetting]] *= [axes[learning][2], axes[forgetting][2]]
    means = {name: mean_interval(points, ["arm"], name).set_index("arm") for name in axes}
    ax = ax or _axes(5.6, 4.0)
    for arm, look in drawn.items():
        own = points[points["arm"] == arm]
        if own.empty:
            continue
        x, y = (means[name].loc[arm] for name in (learning, forgetting))
        ax.plot(own[learning], own[forgetting], look.marker, color=look.color, alpha=0.4, ms=4, mew=0)
        ax.plot([x["low"], x["high"]], [y["mean"]] * 2, color=look.color, lw=1.8, solid_capstyle="butt")
        ax.plot([x["mean"]] * 2, [y["low"], y["high"]], color=look.color, lw=1.8, solid_capstyle="butt")
        ax.plot([x["mean"]], [y["mean"]], look.marker, color=look.color, ms=8, mec=_paper(), label=arm, ls="none")
    ax.grid(linewidth=0.6)
    ax.set_xlabel(with_direction(learning, *axes[learning][:2]))
    ax.set_ylabel(with_direction(forgetting, *axes[forgetting][:2]))
    _finish(ax, f"Mean{_interval(points)} over {_seeds(points)}; small: each seed")
    ax.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def accuracy_by_fraction(
    metrics: pd.DataFrame,
    *,
    metric: str = "online_accuracy",
    fraction: str = "fraction",
    arms: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a metric against the share of labels that a shift changes: does an arm gain where shifts are harder?

    Parameters
    ----------
    metrics : DataFrame
        Rows of the ``metrics`` tables of several studies with a column more, which says the fraction of each study; one
        learning rate an arm and fraction.
    metric : str
        The metric to draw.
    fraction : str
        Name of that column; its values are in [0, 1].
    arms : sequence of str, optional
        All arms of the studies in their order; those in the table if absent.
    ax : Axes, optional
        Where to draw.
    """
    rows = metrics[metrics["metric"] == metric].dropna(subset="value")
    if rows.empty:
        raise InputError(f"accuracy_by_fraction of '{metric}': the table has no rows to draw")
    if rows.duplicated(["arm", fraction, "seed"]).any():
        raise InputError(
            "accuracy_by_fraction: an arm stands at several learning rates of a fraction; pass rows of one"
        )
    drawn = looks(arms if arms is not None else rows["arm"])
    label, unit, factor = metric_axis(metric)
    means = mean_interval(rows.assign(value=factor * rows["value"]), ["arm", fraction], "value")
    ax = ax or _axes(5.6, 3.7)
    present = [arm for arm in drawn if (means["arm"] == arm).any()]
    for place, arm in enumerate(present):
        look, own = drawn[arm], means[means["arm"] == arm].sort_values(fraction)
        x = 100 * own[fraction] + 0.7 * (place - (len(present) - 1) / 2)  # side by side, so that intervals can be told
        ax.vlines(x, own["low"], own["high"], color=look.color, lw=1.6)
        ax.plot(x, own["mean"], look.marker, ls=look.line, lw=1.2, color=look.color, ms=5, label=arm)
    ax.set_xticks(100 * np.sort(rows[fraction].unique()))
    ax.grid(axis="y", linewidth=0.6)
    ax.set_xlabel("labels changed at a shift (%)")
    ax.set_ylabel(with_direction(metric, label, unit))
    seeds = _counts(rows.groupby(["arm", fraction])["seed"].nunique(), "seed")
    _finish(ax, f"Mean{' and 95 % interval' if means['count'].max() > 1 else ''} over {seeds}")
    _label_ends(ax, drawn)
    return ax


def critical_differences(ranks: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw average ranks over scenarios; arms that a bar joins are not told apart.

    Parameters
    ----------
    ranks : DataFrame
        What ``tamcl.stats.average_ranks`` returns: arm, rank, n_scenarios, critical_difference, p_value.
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
    ax = ax or _axes(6.2, 1.2 + 0.24 * (below + half))
    drawn, margin = looks(sorted(rows["arm"])), 0.04 * max(1, size - 1)
    for i, (arm, place) in enumerate(zip(rows["arm"], places, strict=True)):
        left = i < half
        depth = -below - (i if left else size - 1 - i)
        end = 1 - margin if left else size + margin
        ax.plot([place, place, end], [0, depth, depth], color=drawn[arm].color, lw=1.3, label=arm)
        ax.plot([place], [0], drawn[arm].marker, color=drawn[arm].color, ms=6, clip_on=False, zorder=3)
        ax.annotate(
            f"{arm} ({place:.2f})", (end, depth), (-4 if left else 4, 0), textcoords="offset points",
            ha="right" if left else "left", va="center", size="small",
        )  # fmt: skip
    for number, (first, last) in enumerate(bars):
        ends = [places[first] - 0.3 * margin, places[last] + 0.3 * margin]
        ax.plot(ends, [-0.4 - 0.35 * number] * 2, color=_ink(), lw=4, solid_capstyle="butt")
    ax.set_xlim(1 - margin, size + margin)
    ax.set_ylim(-below - half + 0.5, 0)
    ax.set_xticks(range(1, size + 1))
    ax.xaxis.tick_top()
    ax.xaxis.set_label_position("top")
    ax.set_xlabel("average rank (1 is best)")
    ax.set_yticks([])
    p = float(rows["p_value"].iloc[0])
    _finish(
        ax,
        f"{_counts(rows['n_scenarios'], 'scenario')}; bar: less than the critical difference of {critical:.2f} apart\n"
        f"Friedman's test that no arm differs: p = {p:.2g}",
    )
    ax.spines["top"].set_visible(True)
    ax.spines[["left", "bottom"]].set_visible(False)
    return ax


def _joined(places: np.ndarray, critical: float) -> list[tuple[int, int]]:
    """Return first and last of each longest run of sorted ranks that lie less than a critical difference apart."""
    lasts = [int(np.flatnonzero(places - place < critical)[-1]) for place in places]
    return [(i, last) for i, last in enumerate(lasts) if last > i and (i == 0 or last > lasts[i - 1])]


def _point_beyond(ax: Axes, chosen: pd.DataFrame, grid: pd.Series, color: str) -> None:
    """Draw an arrow out of the grid at each chosen learning rate that is its end."""
    if "on_edge" not in chosen:
        return
    for lr, score in chosen.loc[chosen["on_edge"], ["lr", "score"]].to_numpy(dtype=np.float64):
        side = 1 if lr == grid.max() else -1
        arrow = {"arrowstyle": "<-", "color": color, "lw": 1.6, "shrinkB": 8}
        ax.annotate("", (lr, score), (26 * side, 0), textcoords="offset points", arrowprops=arrow)


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
    ax = ax or _axes(6.2, 1.1 + 0.42 * len(rows))
    ax.axvline(0, **_rule())
    columns = ["diff", "ci_low", "ci_high", "p_adjusted"]
    for place, (diff, low, high, p) in enumerate(rows[columns].to_numpy(dtype=np.float64)):
        ax.plot([factor * low, factor * high], [place] * 2, color=_ink(), lw=1.8, solid_capstyle="butt")
        fill = _ink() if low > 0 or high < 0 else _paper()
        ax.plot([factor * diff], [place], "o", color=_ink(), mfc=fill, ms=7)
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
    _finish(ax, f"Paired over {_counts(rows['n_pairs'], 'seed')}, 95 % interval; p adjusted for all comparisons")
    ax.tick_params(axis="y", length=0)
    return ax


def theme(dark: bool = False) -> dict[str, Any]:
    """Return the matplotlib settings of a figure on a light or a dark page, for ``matplotlib.rc_context``."""
    ink, paper, grid = ("#E4E7EB", "#15191F", "#363D47") if dark else ("#1F2430", "#FFFFFF", "#DDE1E6")
    ground = dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), paper)
    lines = dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), ink)
    return {"font.size": 9.0, "axes.linewidth": 0.8, "grid.color": grid, **ground, **lines}


def _axes(width: float, height: float) -> Axes:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def _ink() -> str:
    return str(mpl.rcParams["text.color"])


def _paper() -> str:
    return str(mpl.rcParams["axes.facecolor"])


def _rule() -> dict[str, Any]:
    """Return how a shift or a zero line is drawn: behind the data and quieter."""
    return {"color": _ink(), "linewidth": 0.8, "linestyle": (0, (1, 2)), "alpha": 0.7, "zorder": 0.9}


def _mark_shifts(ax: Axes, table: pd.DataFrame) -> str:
    """Draw a line where each experience but the first begins, and return what to say of it in a title."""
    starts = table.groupby("experience")["step"].min()
    for step in starts[starts > 0]:
        ax.axvline(step, **_rule())
    return "; dotted: shifts" if len(starts) > 1 else ""


def _finish(ax: Axes, title: str) -> None:
    ax.set_title(title, loc="left", size="small")
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_axisbelow(True)


def _looks_of(table: pd.DataFrame, arms: Sequence[str] | None, what: str) -> dict[str, Look]:
    """Return the looks to draw with, after checking that every arm stands at one learning rate of one scenario."""
    if table.empty:
        raise InputError(f"{what}: the table has no rows to draw")
    for column, words in (("scenario", "scenarios"), ("lr", "learning rates")):
        several = table.groupby("arm")[column].nunique().loc[lambda counts: counts > 1]
        if len(several):
            raise InputError(f"{what}: arm '{several.index[0]}' stands at {several.iloc[0]} {words}; pass rows of one")
    return looks(arms if arms is not None else table["arm"])


def _blocks(online: pd.DataFrame, window: int) -> pd.DataFrame:
    """Return accuracy in percent over blocks of about ``window`` mini-batches, none of which reaches across a shift."""
    cell = ["arm", "seed", "experience"]
    steps = online.groupby(cell)["step"]
    count = (steps.transform("size") / window).round().clip(lower=1)
    block = ((online["step"] - steps.transform("min")) * count // steps.transform("size")).astype(int)
    sums = online.assign(block=block).groupby([*cell, "block"], as_index=False)
    rows = sums.agg(correct=("correct", "sum"), n=("n", "sum"), at=("step", "mean"))
    return rows.assign(accuracy=100 * rows["correct"] / rows["n"], part=rows["experience"])


def _draw_bands(ax: Axes, means: pd.DataFrame, drawn: dict[str, Look]) -> None:
    """Draw a line and a band for every arm, broken between parts."""
    for arm, look in drawn.items():
        rows = means[means["arm"] == arm]
        if rows.empty:
            continue
        gaps = rows.groupby("part", as_index=False)[["at"]].max()
        broken = pd.concat([rows, gaps.iloc[:-1]]).sort_values(["part", "at"], kind="stable")
        ax.fill_between(broken["at"], broken["low"], broken["high"], color=look.color, alpha=0.15, linewidth=0)
        ax.plot(broken["at"], broken["mean"], color=look.color, linestyle=look.line, linewidth=1.4, label=arm)
    ax.grid(axis="y", linewidth=0.6)


def _label_ends(ax: Axes, drawn: dict[str, Look]) -> None:
    """Write each arm's name beside the end of its line, moved apart no more than is needed."""
    lines = [line for line in ax.lines if line.get_label() in drawn]
    ends = [np.asarray(line.get_xydata(), dtype=np.float64)[-1] for line in lines]
    low, high = ax.get_ylim()
    heights = np.array([(y - low) / (high - low) for _, y in ends])
    order = np.argsort(heights)
    size = ax.get_window_extent().height / ax.figure.dpi  # inches, before the layout is known
    apart = 0.18 / size * np.arange(len(lines))
    places = isotonic_regression(heights[order] - apart).x + apart
    places -= max(0.0, places[-1] - 0.97)
    for index, place in zip(order, places, strict=True):
        line = lines[index]
        leader = {"arrowstyle": "-", "color": line.get_color(), "linestyle": line.get_linestyle(), "linewidth": 1.4}
        ax.annotate(
            str(line.get_label()),
            tuple(ends[index]),
            (1.04, place),
            textcoords="axes fraction",
            va="center",
            size="small",
            arrowprops=leader | {"shrinkA": 2, "shrinkB": 0, "relpos": (0, 0.5)},
        )


def _counts(counts: pd.Series, noun: str) -> str:
    low, high = int(counts.min()), int(counts.max())
    return f"{low} {noun}{'s' * (low != 1)}" if low == high else f"{low} to {high} {noun}s"


def _seeds(table: pd.DataFrame) -> str:
    return _counts(table.groupby("arm")["seed"].nunique(), "seed")


def _interval(table: pd.DataFrame) -> str:
    return " and 95 % interval" if table.groupby("arm")["seed"].nunique().max() > 1 else ""
