"""How many seeds a study needs to see an effect of a given size."""

from __future__ import annotations

from itertools import count

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import special

from tamcl.errors import InputError
from tamcl.stats.p_values import fewest_seeds
from tamcl.stats.paired import PAIR


def seeds_needed(differences: ArrayLike, *, power: float = 0.8, alpha: float = 0.05) -> float:
    r"""Return how many seeds a study needs to see an effect of the size of this one.

    The smallest n at which a paired t-test (two-sided, at level ``alpha``) finds a true effect of
    :math:`\delta = |\bar d| / s_d` with probability ``power``, from the noncentral t distribution with noncentrality
    :math:`\delta \sqrt n`; and not fewer than ``fewest_seeds``. Assumption: the differences are normal. The sign-flip
    test, which tamcl compares with, is a little weaker where few seeds are needed: at :math:`\delta = 1.5` it finds the
    effect with 6 seeds in 67 % of the cases and with 7 in more than 80 %.

    Effects that were chosen because they looked large are smaller in truth: plan for more. It is a plan for fresh
    seeds, and no reason to add seeds to the present ones until p is small enough.

    Returns
    -------
    float
        A whole number; inf where the mean difference is 0, nan for fewer than 2 differences.

    Examples
    --------
    The mean is 0.48 standard deviations.

    >>> seeds_needed([-2.0, 3.0, 3.0, 1.0, -1.0, 2.0, -1.0, 3.0])
    36.0
    """
    d = np.asarray(differences, dtype=np.float64)
    if not 0 < power < 1 or not 0 < alpha < 1:
        raise InputError(f"{power=}, {alpha=}: shares between 0 and 1 are needed")
    if len(d) < 2:
        return float("nan")
    least = fewest_seeds(alpha=alpha)
    spread, mean = d.std(ddof=1), abs(d.mean())
    if mean <= 1e-12 * np.abs(d).max():
        return float("inf")
    if spread <= 1e-12 * mean:
        return float(least)
    effect = float(mean / spread)
    rough = ((special.ndtri(1 - alpha / 2) + special.ndtri(power)) / effect) ** 2
    if rough > 1e5:
        return float(np.ceil(rough))
    n = max(least, int(rough))  # a little below the answer, or above it where the tail on the other side counts
    while n > least and _power(effect, n - 1, alpha) >= power:
        n -= 1
    return float(next(m for m in count(n) if _power(effect, m, alpha) >= power))


def _power(effect: float, n: int, alpha: float) -> float:
    edge, away = special.stdtrit(n - 1, 1 - alpha / 2), effect * np.sqrt(n)
    tails = 1 - special.nctdtr(n - 1, away, edge), special.nctdtr(n - 1, away, -edge)
    return float(np.nansum(tails))  # scipy gives nan for the far tail of a large effect, which is as good as 0


def seeds_for(differences: pd.DataFrame, *, power: float = 0.8, alpha: float = 0.05) -> pd.DataFrame:
    """Return the seeds that each comparison needs to see the effect it has shown.

    Parameters
    ----------
    differences : pandas.DataFrame
        What ``differences`` returns.
    power, alpha : float
        As for ``seeds_needed``. For several comparisons give an ``alpha`` divided by their number.

    Returns
    -------
    pandas.DataFrame
        Columns scenario, metric, arm_a, arm_b, n_pairs, diff, sd (of the differences) and seeds.
    """
    rows = []
    for pair, seeds in differences.groupby(PAIR):
        d = seeds["diff"].to_numpy(dtype=np.float64)
        sd = float(d.std(ddof=1)) if len(d) > 1 else float("nan")
        rows.append((*pair, len(d), float(d.mean()), sd, seeds_needed(d, power=power, alpha=alpha)))
    return pd.DataFrame(rows, columns=[*PAIR, "n_pairs", "diff", "sd", "seeds"])
