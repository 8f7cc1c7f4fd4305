"""p-values of paired differences: by flipping signs, adjusted for their number, and the smallest that there can be."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tamcl.stats.resampling import RESAMPLES, rng

Array = NDArray[np.float64]


def sign_flip_p(differences: ArrayLike) -> float:
    """Return the two-sided p-value of the sign-flip permutation test on paired differences.

    If the two arms did not differ, each difference could as well have had the other sign. p is the share of the 2^n
    patterns of signs whose mean is at least as far from 0 as the observed one: exact up to 13 differences, from 9999
    drawn patterns beyond. It assumes symmetry about 0, not normality. None gives nan, a single one 1.

    Examples
    --------
    >>> sign_flip_p([1.0, 2.0, 1.5, 0.5])
    0.125
    """
    d = np.asarray(differences, dtype=np.float64)
    if len(d) == 0:
        return float("nan")
    exact = 2 ** len(d) <= RESAMPLES
    null = np.abs((_all_signs(len(d)) if exact else rng().choice([-1.0, 1.0], size=(RESAMPLES, len(d)))) @ d)
    # Patterns with the same mean differ by rounding; they are ties and count.
    extreme = np.count_nonzero(null >= abs(d.sum()) - 1e-12 * np.abs(d).sum())
    return float(extreme / len(null) if exact else (extreme + 1) / (len(null) + 1))


def _all_signs(n: int) -> Array:
    bits = np.arange(2**n)[:, None] >> np.arange(n) & 1
    return np.where(bits, -1.0, 1.0)


def holm(p_values: ArrayLike) -> Array:
    """Return p-values adjusted for their number by Holm's step-down method; nan is left out of the number.

    Declaring the pairs with an adjusted p of at most 0.05 different is wrong about any of them in at most 5 % of
    studies.

    References
    ----------
    A simple sequentially rejective multiple test procedure, 1979, https://www.jstor.org/stable/4615733

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]  # argsort puts nan last
    adjusted = np.full(p.shape, np.nan)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return adjusted


def smallest_p(n_seeds: int, n_comparisons: int = 1) -> float:
    """Return the smallest p-value that so many seeds can give, by Holm over so many comparisons.

    All differences of one sign are the most extreme outcome, and 2 of the 2^n patterns of signs show it. Below 6 seeds
    no effect, however large, reaches p = 0.05. From 14 seeds on ``sign_flip_p`` draws 9999 patterns, and no number of
    seeds gives less than 1 / 10000.

    Examples
    --------
    >>> [smallest_p(n) for n in (3, 5, 6, 10)]
    [0.25, 0.0625, 0.03125, 0.001953125]
    >>> smallest_p(8, n_comparisons=15)
    0.1171875
    >>> smallest_p(14), smallest_p(100, n_comparisons=15)
    (0.0001, 0.0015)
    """
    least = 2.0 ** (1 - n_seeds) if 2**n_seeds <= RESAMPLES else 1 / (RESAMPLES + 1)
    return min(1.0, n_comparisons * least)


def fewest_seeds(n_comparisons: int = 1, *, alpha: float = 0.05) -> int:
    """Return how many seeds it takes at least for a p-value of at most ``alpha``, by Holm over so many comparisons.

    Where no number of seeds gives one, as of more than 500 comparisons, it is the least with the smallest p-value of
    all: 14.

    Examples
    --------
    >>> [fewest_seeds(n) for n in (1, 4, 15, 501)]
    [6, 8, 10, 14]
    """
    most = RESAMPLES.bit_length()  # the first number of seeds whose patterns are drawn
    return next((n for n in range(2, most) if smallest_p(n, n_comparisons) <= alpha), most)
