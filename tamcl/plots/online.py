"""What happens before each update over the whole stream."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from tamcl.plots.axes import WIDE, draw_bands, finish, label_ends, mark_shifts, new_axes
from tamcl.plots.seeds import and_interval, mean_interval, seeds_of
from tamcl.plots.style import looks_of


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
    totals = 100 * online["correct"]
    return _over_stream(online, totals, "online_accuracy", "online accuracy (%)", arms=arms, window=window, ax=ax)


def online_loss(
    online: pd.DataFrame, *, arms: Sequence[str] | None = None, window: int | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the loss before each update over the whole stream: what ``online_accuracy`` is to classes, for regression.

    Parameters
    ----------
    online : DataFrame
        Rows of the ``online`` table, one learning rate an arm; accuracies may be missing.
    arms : sequence of str, optional
        All arms of the study in their order; those in the table if absent.
    window : int, optional
        Mini-batches averaged into one point; no point reaches across a shift. Chosen to give some 150 points if absent.
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
    return _over_stream(online, totals, "online_loss", "online loss", arms=arms, window=window, ax=ax)


def _over_stream(
    online: pd.DataFrame,
    totals: pd.Series,
    what: str,
    label: str,
    *,
    arms: Sequence[str] | None,
    window: int | None,
    ax: Axes | None,
) -> Axes:
    """Draw the mean over examples of what ``totals`` adds up over those of each mini-batch."""
    drawn = looks_of(online, arms, what)
    steps = int(online["step"].max()) + 1
    window = window or max(1, round(steps / 150))
    ax = ax or new_axes(*WIDE)
    shifts = mark_shifts(ax, online)
    blocks = _blocks(online.assign(total=totals), window)
    draw_bands(ax, mean_interval(blocks, ["arm", "part", "at"], "value"), drawn)
    ax.set_xlim(0, steps)
    ax.set_xlabel(f"mini-batches seen (of {online['n'].max()} examples)")
    ax.set_ylabel(label)
    finish(
        ax, f"Mean{and_interval(online)} over {seeds_of(online)}, by {window} mini-batch{'es' * (window > 1)}{shifts}"
    )
    label_ends(ax, drawn)
    return ax


def _blocks(online: pd.DataFrame, window: int) -> pd.DataFrame:
    """Return means over blocks of about ``window`` mini-batches, none of which reaches across a shift.

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
    rows = sums.agg(total=("total", "sum"), n=("n", "sum"), at=("step", "mean"))
    at = rows.groupby(["arm", "experience", "block"])["at"].transform("mean")
    return rows.assign(value=rows["total"] / rows["n"], part=rows["experience"], at=at)
