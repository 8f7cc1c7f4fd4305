r"""How high the loss rises on the straight line between two ends of training: linear mode connectivity.

Two runs whose line has no barrier ended in one basin. They are two runs and so no entries of ``METRICS``; the losses
are those that ``tamcl landscape`` measures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    import pandas as pd

ENDS = ["scenario", "arm_a", "seed_a", "arm_b", "seed_b", "part"]
"""Columns that say which line a loss was measured on, and on which data."""


def barrier(alpha: ArrayLike, loss: ArrayLike) -> float:
    r"""Return how far the loss on a line rises above the line between the losses at its ends, at most.

    .. math:: \max_\alpha \big[ L(\theta_\alpha) - (1 - \alpha) L(\theta_0) - \alpha L(\theta_1) \big]
        \quad \text{with } \theta_\alpha = (1 - \alpha) \theta_0 + \alpha \theta_1

    It is at least 0, which the ends themselves have; between the points that were measured the loss may rise higher.
    Frankle et al. take the mean of the ends' losses in place of the line between them, which is the same where these
    are equal, and the error in place of the loss: pass 1 - accuracy for the barrier in accuracy.

    Parameters
    ----------
    alpha : array, (n,)
        Places on the line, rising from 0 to 1.
    loss : array, (n,)
        The loss there. One that is nan makes the barrier nan.

    References
    ----------
    The Role of Permutation Invariance in Linear Mode Connectivity of Neural Networks, 2022, definition 2.1,
    https://arxiv.org/abs/2110.06296; Linear Mode Connectivity and the Lottery Ticket Hypothesis, 2020,
    https://arxiv.org/abs/1912.05671

    Examples
    --------
    The line between the ends is at 0.75 in the middle.

    >>> barrier([0.0, 0.5, 1.0], [0.5, 2.0, 1.0])
    1.25
    """
    places, losses = np.asarray(alpha, dtype=np.float64), np.asarray(loss, dtype=np.float64)
    if places.ndim != 1 or places.shape != losses.shape or len(places) < 2:
        raise ValueError(f"alpha and loss have the shapes {places.shape} and {losses.shape}: (n,) is needed, n > 1")
    if places[0] != 0 or places[-1] != 1 or (np.diff(places) <= 0).any():
        raise ValueError("alpha must rise from 0 to 1")
    if not np.isfinite(losses[[0, -1]]).all():
        return float("nan")
    return float((losses - (1 - places) * losses[0] - places * losses[-1]).max())


def barriers(lines: pd.DataFrame) -> pd.DataFrame:
    """Return the barriers of every line, in loss and in accuracy.

    Parameters
    ----------
    lines : pandas.DataFrame
        The table ``lines`` of a landscape.

    Returns
    -------
    pandas.DataFrame
        Columns scenario, arm_a, seed_a, arm_b, seed_b, part ("train" or "test"), loss_barrier and accuracy_barrier (how
        far accuracy falls below the line between the ends, in fractions; nan where numbers are learnt).
    """
    import pandas as pd

    rows = []
    for key, line in lines.sort_values("alpha").groupby(ENDS, sort=False):
        found = [barrier(line["alpha"], values) for values in (line["loss"], 1 - line["accuracy"])]
        rows.append((*key, *found))
    return pd.DataFrame(rows, columns=[*ENDS, "loss_barrier", "accuracy_barrier"])
