"""Which optimizers leave a sharp minimum: runs on ``flat_sharp`` from starts in the basin of the sharp one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from tamcl.toys.surfaces import barrier, flat_sharp
from tamcl.toys.trajectories import Arms, each_path, last_steps

SHARPNESS = tuple(float(2**k) for k in range(1, 10))


def sharp_starts(sharpness: ArrayLike, count: int) -> NDArray[np.float64]:
    """Return points spaced evenly over the sharp basin, from the barrier to as far on the other side of the minimum.

    Returns
    -------
    array, (..., count)

    Examples
    --------
    >>> sharp_starts(8.0, 4).round(2)
    array([0.5 , 0.83, 1.17, 1.5 ])
    """
    edge = barrier(sharpness)[..., None]
    return np.asarray(edge + (2 - 2 * edge) * (np.arange(count) + 0.5) / count)


def escape_ratio(
    arms: Arms, *, sharpness: Sequence[float] = SHARPNESS, starts: int = 8, steps: int = 300
) -> pd.DataFrame:
    """Return which runs that start in the sharp basin end in the flat one.

    Use it with its control: an optimizer also leaves a sharp minimum because its steps are too long to stay there, so
    compare it at several learning rates, and with the optimizer that it extends at longer ones.

    Parameters
    ----------
    arms : dict of str to dict
        Of every arm ``optimizer``, ``lr`` (a number or a list) and other options.
    sharpness : sequence of float
        Second derivatives at the sharp minimum; that at the flat one is 1.
    starts : int
        How many, spaced evenly over the sharp basin.
    steps : int
        Of each run.

    Returns
    -------
    DataFrame
        arm, lr, sharpness, start, end and escaped: whether the run was on the flat minimum's side of the barrier all
        through the last tenth of its steps. The mean of ``escaped`` is the escape ratio.

    Examples
    --------
    Heavy ball with momentum .9 is stable where learning rate times sharpness is below 3.8, here up to 126:

    >>> arms = {"sgdm": {"optimizer": "sgd", "lr": 0.03, "momentum": 0.9}}
    >>> table = escape_ratio(arms, sharpness=[2, 16, 512])
    >>> table.groupby("sharpness")["escaped"].mean()
    sharpness
    2.0      0.0
    16.0     0.0
    512.0    1.0
    Name: escaped, dtype: float64
    """
    grid = np.asarray(sharpness, dtype=np.float64)
    begin = sharp_starts(grid, starts).ravel()
    kappa = np.repeat(grid, starts)
    surface, last = flat_sharp(kappa), last_steps(steps)
    tables = []
    for arm, lr, paths in each_path(surface, arms, begin[:, None], steps):
        path = paths[..., 0]
        escaped = (path[-last:] < barrier(kappa)).all(0)
        columns = {"sharpness": kappa, "start": begin, "end": path[-1], "escaped": escaped}
        tables.append(pd.DataFrame({"arm": arm, "lr": lr, **columns}))
    return pd.concat(tables, ignore_index=True)
