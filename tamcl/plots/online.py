"""What happens before each update over the whole stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from tamcl.plots.axes import WIDE, draw_bands, finish, fit_steps, label_ends, mark_shifts, new_axes
from tamcl.plots.seeds import and_interval, mean_interval, seeds_of
from tamcl.plots.style import checked_styles

POINTS = 150
"""About so many points make a line, and up to twice as many where each is an experience."""


def online_accuracy(
    online: pd.DataFrame,
    *,
    arms: Sequence[str] | None = None,
    window: int | None = None,
    of: str = "examples",
    ax: Axes | None = None,
) -> Axes:
    """Draw accuracy before each update over the whole stream: who learns faster, and what each shift costs.

    Parameters
    ----------
    online : DataFrame
        Rows of the ``online`` table, one learning rate an arm.
    arms : sequence of str, optional
        All arms of the study in their order; those in the table if absent.
    window : int, optional
        Mini-batches averaged into one point; no point reaches across a shift. Chosen to give some 150 points if absent;
        experiences that are too short to be told apart are then a point each, or several of them one.
    of : str
        What a mini-batch consists of: of text, "tokens".
    ax : Axes, optional
        Where to draw.
    """
    totals = 100 * online["correct"]
    label = "online accuracy (%)"
    options: dict[str, Any] = {"arms": arms, "window": window, "of": of, "ax": ax}
    return _over_stream(online, totals, "online_accuracy", label, bounds=(0, 100), **options)


def online_loss(
    online: pd.DataFrame,
    *,
    arms: Sequence[str] | None = None,
    window: int | None = None,
    of: str = "examples",
    ax: Axes | None = None,
) -> Axes:
    """Draw the loss before each update over the whole stream: of regression, and of text.

    Parameters
    ----------
    online : DataFrame
        Rows of the ``online`` table, one learning rate an arm; accuracies may be missing.
    arms : sequence of str, optional
        All arms of the study in their order; those in the table if absent.
    window : int, optional
        Mini-batches averaged into one point; no point reaches across a shift. Chosen to give some 150 points if absent;
        experiences that are too short to be told apart are then a point each, or several of them one.
    of : str
        What a mini-batch consists of: of text, "tokens", whose losses are in nats.
    ax : Axes, optional
        Where to draw.

    Examples
    --------
    >>> rows = [("drifts", arm, 0.1, 0, step // 30, step, 10, 1 / (1 + step % 30))
    ...         for arm in ("sgdm", "tam") for step in range(60)]
    >>> online = pd.DataFrame(rows, columns=["scenario", "arm", "lr", "seed", "experience", "step", "n", "loss"])
    >>> ax = online_loss(online, window=5)
    >>> ax.get_ylabel(), ax.get_title(loc="left")
    ('online loss', 'Mean over 1 seed, by 5 mini-batches; dotted: shifts')
    """
    totals = online["n"] * online["loss"]
    bounds = (-np.inf if (online["loss"] < 0).any() else 0, np.inf)  # a loss of the user's may be below 0
    label = "online loss (nats a token)" if of == "tokens" else "online loss"
    options: dict[str, Any] = {"arms": arms, "window": window, "of": of, "ax": ax}
    return _over_stream(online, totals, "online_loss", label, bounds=bounds, **options)


def _over_stream(
    online: pd.DataFrame,
    totals: pd.Series,
    what: str,
    label: str,
    *,
    arms: Sequence[str] | None,
    window: int | None,
    of: str,
    ax: Axes | None,
    bounds: tuple[float, float],
) -> Axes:
    """Draw the mean over examples of what ``totals`` adds up over those of each mini-batch."""
    drawn = checked_styles(online, arms, what)
    steps = int(online["step"].max()) + 1
    ax = ax or new_axes(*WIDE)
    shifts, marked = mark_shifts(ax, online)
    blocks = _blocks(online.assign(total=totals), window or max(1, round(steps / POINTS)))
    counts, together = _counts(blocks), 1
    if window is None and not marked and counts.max() <= 4:  # so short that what happens within them is not seen
        together = -(-online["experience"].nunique() // (2 * POINTS))
        blocks = _together(blocks, together)
        counts = _counts(blocks)
    parts = blocks["experience"] if marked and counts.median() > 1 else 0
    points = blocks.assign(value=blocks["total"] / blocks["n"], part=parts)
    draw_bands(ax, mean_interval(points, ["arm", "part", "at"], "value"), drawn, bounds)
    fit_steps(ax, 0, steps if steps > 3 else steps - 1)
    ax.set_xlabel(f"mini-batches seen (of {online['n'].max()} {of})")
    ax.set_ylabel(label)
    size = round(blocks["size"].median())
    by = f"{size} mini-batch{'es' * (size > 1)}"
    if counts.max() == 1 and len(counts) > 1 and size > 1:
        by = f"{together} experiences" if together > 1 else "experience"
    finish(ax, f"Mean{and_interval(online)} over {seeds_of(online)}, by {by}{shifts}")
    label_ends(ax, drawn)
    return ax


def _blocks(online: pd.DataFrame, window: int) -> pd.DataFrame:
    """Return sums over blocks of about ``window`` mini-batches, none of which reaches across a shift.

    Experiences may have other lengths with other seeds. Each has the same number of blocks for all seeds, and the n-th
    ones stand at their mean place, so that every point is of all seeds.
    """
    cell = ["arm", "seed", "experience"]
    steps = online.groupby(cell)["step"]
    sizes = steps.transform("size")
    shortest = sizes.groupby([online["arm"], online["experience"]]).transform("min")
    count = (shortest / window).round().clip(lower=1)
    block = ((online["step"] - steps.transform("min")) * count // steps.transform("size")).astype(int)
    sums = online.assign(block=block).groupby([*cell, "block"], as_index=False)
    rows = sums.agg(total=("total", "sum"), n=("n", "sum"), at=("step", "mean"), size=("step", "size"))
    return rows.assign(at=rows.groupby(["arm", "experience", "block"])["at"].transform("mean"))


def _counts(blocks: pd.DataFrame) -> pd.Series:
    """Return how many points a line has in each experience."""
    return blocks.groupby(["arm", "seed", "experience"]).size()


def _together(blocks: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return the sums over ``count`` experiences each."""
    groups = blocks.assign(experience=blocks["experience"] // count).groupby(["arm", "seed", "experience"])
    return groups.agg(total=("total", "sum"), n=("n", "sum"), at=("at", "mean"), size=("size", "sum")).reset_index()
