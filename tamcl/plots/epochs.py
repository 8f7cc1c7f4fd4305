"""How training goes on from epoch to epoch."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from tamcl.errors import unknown_name
from tamcl.plots.axes import WIDE, draw_means, new_axes
from tamcl.plots.style import checked_styles


def over_epochs(
    table: pd.DataFrame,
    *,
    quantity: str = "accuracy",
    arms: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw accuracy, loss or a diagnostic over the epochs: what training looks like where nothing shifts.

    Epochs of all experiences are counted on. Draw several quantities on axes of ``figure.subplots(2, sharex=True)``.

    Parameters
    ----------
    table : DataFrame
        What ``tamcl.metrics.by_epoch`` returns, one learning rate an arm.
    quantity : str
        "accuracy" or "loss" of the tests after each epoch, or a diagnostic such as "gradient_norm", its mean over an
        epoch.
    arms : sequence of str, optional
        All arms of the study in their order; those in the table if absent.
    ax : Axes, optional
        Where to draw.

    Examples
    --------
    >>> rows = [("c", "tam", 0.1, seed, 0, e, "accuracy", 0.1 * e) for seed in range(3) for e in range(1, 5)]
    >>> columns = ["scenario", "arm", "lr", "seed", "experience", "epoch", "quantity", "value"]
    >>> ax = over_epochs(pd.DataFrame(rows, columns=columns))
    >>> ax.get_ylabel(), ax.get_title(loc="left")
    ('accuracy at tests (%)', 'Mean and 95 % interval over 3 seeds')
    """
    if len(table) and quantity not in set(table["quantity"]):
        raise unknown_name("quantity", quantity, set(table["quantity"]))
    rows = table[table["quantity"] == quantity]
    drawn = checked_styles(rows, arms, f"over_epochs of '{quantity}'")
    scale = 100 if quantity == "accuracy" else 1
    epochs = rows["experience"] * table["epoch"].max() + rows["epoch"]
    points = rows.assign(at=epochs, value=scale * rows["value"], part=0)
    ax = ax or new_axes(*WIDE)
    bounds = (0.0, 100.0) if quantity == "accuracy" else (0.0, float("inf"))
    labels = {"accuracy": "accuracy at tests (%)", "loss": "loss at tests"}
    draw_means(ax, points, drawn, bounds, x="epoch", y=labels.get(quantity, quantity.replace("_", " ")))
    return ax
