"""What is known of every experience as training goes on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from tamcl.errors import InputError
from tamcl.plots.axes import finish, new_axes
from tamcl.plots.labels import short_names
from tamcl.plots.seeds import seeds_of
from tamcl.plots.style import checked_styles


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
    rows = _rows_of(evaluated, arm, "accuracy_matrix")
    R = 100 * _means(rows, "accuracy")
    named, shades = R.map(lambda value: f"{value:.0f}"), Shades(R, (0.0, 100.0), "cividis", "accuracy (%)")
    return _draw(rows, named, shades, "accuracy (%)", numbers, colorbar, ax)


def perplexity_matrix(
    evaluated: pd.DataFrame,
    *,
    arm: str | None = None,
    numbers: bool | None = None,
    colorbar: bool | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the perplexity on experience j after training on experience i: what ``accuracy_matrix`` is, for text.

    It is the exponential of the mean loss over seeds. Brighter is better, and a shade is the same in the matrices of
    all arms of the table.

    Parameters
    ----------
    evaluated : DataFrame
        Rows of the ``eval`` table of text.
    arm : str, optional
        The arm to draw; needed where the table holds several.
    numbers : bool, optional
        Whether the perplexity stands in every field; up to 12 experiences if absent.
    colorbar : bool, optional
        Whether a scale, of the loss in nats, stands beside the matrix; where there are no numbers if absent.
    ax : Axes, optional
        Where to draw.

    Examples
    --------
    >>> rows = [("text", "adamw", 0.1, 0, i, j, [[1.0, 3.0], [2.0, 1.0]][i][j]) for i in (0, 1) for j in (0, 1)]
    >>> columns = ["scenario", "arm", "lr", "seed", "trained_on", "evaluated_on", "loss"]
    >>> evaluated = pd.DataFrame(rows, columns=columns)
    >>> [text.get_text() for text in perplexity_matrix(evaluated).texts]
    ['2.72', '20.1', '7.39', '2.72']
    """
    rows = _rows_of(evaluated, arm, "perplexity_matrix")
    means = evaluated.groupby(["arm", "trained_on", "evaluated_on"])["loss"].mean()
    limits = float(means.min()), float(means.max())
    losses = _means(rows, "loss")
    named = losses.map(lambda value: f"{np.exp(value):.3g}")
    shades = Shades(losses, limits, "cividis_r", "loss (nats a token)")
    return _draw(rows, named, shades, "perplexity", numbers, colorbar, ax)


class Shades(NamedTuple):
    """What the fields of a matrix are coloured by."""

    of: pd.DataFrame
    limits: tuple[float, float]
    colors: str
    label: str


def _rows_of(evaluated: pd.DataFrame, arm: str | None, what: str) -> pd.DataFrame:
    present = list(evaluated["arm"].unique())
    if arm is None and len(present) > 1:
        raise InputError(f"{what}: the table holds several arms; choose one of {', '.join(present)}")
    rows = evaluated if arm is None else evaluated[evaluated["arm"] == arm]
    checked_styles(rows, None, what if arm is None else f"{what} of '{arm}'")
    return rows


def _means(rows: pd.DataFrame, values: str) -> pd.DataFrame:
    return rows.pivot_table(index="trained_on", columns="evaluated_on", values=values, aggfunc="mean")


def _draw(
    rows: pd.DataFrame,
    named: pd.DataFrame,
    shades: Shades,
    label: str,
    numbers: bool | None,
    colorbar: bool | None,
    ax: Axes | None,
) -> Axes:
    R, (low, high) = shades.of, shades.limits
    ax = ax or new_axes(4.4, 4.0)
    image = ax.imshow(
        R, cmap=shades.colors, vmin=low, vmax=high, aspect="auto", interpolation="antialiased", origin="upper"
    )
    numbers = R.shape[1] <= 12 if numbers is None else numbers
    if numbers:
        for (i, j), value in np.ndenumerate(R.to_numpy()):
            if np.isfinite(value):
                is_dark = (value - low) * 100 < 55 * (high - low)
                ax.text(
                    j,
                    i,
                    str(named.iloc[i, j]),
                    ha="center",
                    va="center",
                    size=6.5,
                    color="w" if is_dark != shades.colors.endswith("_r") else "k",
                    in_layout=False,
                )
    if not numbers if colorbar is None else colorbar:
        ax.figure.colorbar(image, ax=ax, label=shades.label)
    box, dpi, untrained = ax.get_window_extent(), ax.figure.dpi, int(-1 in R.index)
    columns = range(0, R.shape[1], _every(R.shape[1], box.width / dpi / (0.12 + 0.07 * len(str(R.columns[-1])))))
    every = _every(R.shape[0] - untrained, box.height / dpi / 0.15)
    rows_named = [*range(untrained), *range(untrained * (1 if every == 1 else 1 + every), R.shape[0], every)]
    ax.set_xticks(columns, [str(R.columns[j]) for j in columns])
    ax.set_yticks(rows_named, ["none" if R.index[i] < 0 else str(R.index[i]) for i in rows_named])
    ax.set_xlabel("tested on experience")
    ax.set_ylabel("after training on experience")
    ax.tick_params(length=0)
    name = short_names(rows["arm"].unique())
    finish(ax, f"{next(iter(name.values()))}: {label}, mean over {seeds_of(rows)}")
    ax.spines[:].set_visible(False)
    return ax


def _every(count: int, most: float) -> int:
    """Return which fields get a number, each or every 2nd, 5th, 10th: at most 12, and no more than find room."""
    least = count / max(2.0, min(12.0, most))
    steps = (step * 10**power for power in range(9) for step in (1, 2, 5))
    return int(next(step for step in steps if step >= least))
