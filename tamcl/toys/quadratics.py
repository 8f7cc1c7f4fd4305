r"""How fast heavy ball and critical momenta converge on quadratics, from the roots of a polynomial.

On a quadratic every eigenvector of the Hessian goes its own way. With eigenvalue :math:`h`, the gradient is
:math:`h \theta_t`, and critical momenta with a buffer of the last :math:`C` momenta do

.. math::
    m_t &= \beta \, m_{t-1} + h \, \theta_t \\
    \theta_{t+1} &= \theta_t - \alpha \Bigl( m_t + \frac{1}{C} \sum_{k=1}^{C} m_{t-k} \Bigr)

Subtracting :math:`\beta` times the second line of the step before leaves no momentum,

.. math::
    \theta_{t+1} - \theta_t - \beta \, (\theta_t - \theta_{t-1})
        = -\alpha h \Bigl( \theta_t + \frac{1}{C} \sum_{k=1}^{C} \theta_{t-k} \Bigr),

and :math:`\theta_t = \lambda^t` solves it where, with :math:`z = \alpha h`,

.. math::
    \lambda^{C+1} - (1 + \beta - z) \, \lambda^C + \bigl(\beta + \tfrac{z}{C}\bigr) \, \lambda^{C-1}
        + \frac{z}{C} \sum_{k=2}^{C} \lambda^{C-k} = 0 .

Without a buffer this is heavy ball, :math:`\lambda^2 - (1 + \beta - z) \lambda + \beta = 0`. The largest
:math:`|\lambda|` is the factor by which errors shrink a step in the end.

This derivation is ours: the paper on critical momenta (Promoting Exploration in Memory-Augmented Adam using Critical
Momenta, 2023, https://arxiv.org/abs/2307.09638) shows such rates in a figure, but its formula was not at hand. The
buffer here holds the last momenta; the algorithm keeps those that came with large gradients, and converges as fast
where gradients shrink slowly and steadily, and more slowly where they shrink fast or swing: see ``simulated_rate``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize, minimize_scalar

from tamcl.toys.surfaces import quadratic
from tamcl.toys.trajectories import trajectory

LARGEST_Z = 6.0
"""No step is stable from here on: from z = 2 (1 + beta) on, or 2 (1 + beta) / (1 - 1 / C) for an odd buffer of more
than one momentum, a root lies below -1; and with a buffer of one from z = 1 - beta on."""

PER_DECADE = 60
GRID = np.geomspace(1e-8, LARGEST_Z, round(PER_DECADE * math.log10(LARGEST_Z / 1e-8)) + 1)
BETAS = tuple(1 - np.geomspace(1, 1e-3, 61))
"""Steps and momenta from which the search for the best starts."""

DIMENSION = 20
"""Of the quadratic that is run: the worst eigenvalue may lie anywhere."""

EDGE = 1 + 1e-9
"""Above this a root counts as unstable; 1 itself is what a step of 0 has."""


class BestRate(NamedTuple):
    """The step size and the momentum with the fastest convergence."""

    alpha: float
    """Step size where the largest eigenvalue is 1."""
    beta: float
    rho: float
    """Factor by which the error shrinks a step in the end, in the worst direction."""


def characteristic_polynomial(z: ArrayLike, beta: ArrayLike, capacity: int = 0) -> NDArray[np.float64]:
    r"""Return the coefficients of the polynomial, highest power first.

    Parameters
    ----------
    z : array
        :math:`\alpha h`: step size times eigenvalue.
    beta : array
        Momentum.
    capacity : int
        :math:`C`, at least 0; 0 is heavy ball.

    Returns
    -------
    array, (..., degree + 1)

    Examples
    --------
    >>> characteristic_polynomial(0.1, 0.5).round(2)
    array([ 1. , -1.4,  0.5])
    >>> characteristic_polynomial(0.1, 0.5, 2).round(2)
    array([ 1.  , -1.4 ,  0.55,  0.05])
    """
    if capacity < 0:
        raise ValueError(f"capacity must be at least 0, got {capacity!r}")
    z, beta = np.broadcast_arrays(np.asarray(z, dtype=np.float64), np.asarray(beta, dtype=np.float64))
    coefficients = np.zeros((*z.shape, max(capacity, 1) + 2))
    coefficients[..., 0] = 1
    coefficients[..., 1] = -(1 + beta - z)
    coefficients[..., 2] = beta
    if capacity:
        coefficients[..., 2:] += (z / capacity)[..., None]
    return coefficients


def spectral_radius(z: ArrayLike, beta: ArrayLike, capacity: int = 0) -> NDArray[np.float64]:
    """Return the size of the largest root: the factor by which the error of an eigenvector shrinks a step.

    Examples
    --------
    >>> spectral_radius([0.01, 0.1], 0.5, 5).round(6)
    array([0.954841, 0.88856 ])
    """
    coefficients = characteristic_polynomial(z, beta, capacity)
    degree = coefficients.shape[-1] - 1
    companion = np.zeros((*coefficients.shape[:-1], degree, degree))
    companion[..., np.arange(1, degree), np.arange(degree - 1)] = 1
    companion[..., 0, :] = -coefficients[..., 1:]
    return np.asarray(np.abs(np.linalg.eigvals(companion)).max(-1))


def largest_step(beta: float, capacity: int = 0) -> float:
    r"""Return the :math:`z = \alpha h` below which all steps are stable: minima of larger eigenvalues are left.

    Examples
    --------
    With momentum .9, a buffer of 5 momenta leaves a hundredth of the range that heavy ball has:

    >>> round(largest_step(0.9), 3), round(largest_step(0.9, 5), 3)
    (3.8, 0.039)
    """
    unstable = int(np.argmax(spectral_radius(GRID, beta, capacity) > EDGE))
    low, high = GRID[unstable - 1], GRID[unstable]
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if spectral_radius(middle, beta, capacity) > EDGE else (middle, high)
    return float(low)


def best_rate(condition_number: float, *, capacity: int = 0, beta: float | None = None) -> BestRate:
    r"""Return the best worst case over all eigenvalues from 1 / kappa to 1.

    .. math:: \rho^*(\kappa) = \min_{\alpha, \beta} \, \max_{h \in [1 / \kappa, \, 1]} |\lambda|_{\max}(\alpha h, \beta)

    Parameters
    ----------
    condition_number : float
        :math:`\kappa`, at least 1.
    capacity : int
        :math:`C`; 0 is heavy ball.
    beta : float, optional
        Momentum in [0, 1), to choose the step size alone; the best one if None.

    Notes
    -----
    The minimum is searched on a grid and then polished, which leaves :math:`1 - \rho^*` right to about 0.2 %. All
    eigenvalues in between count, not the two outermost alone: with a buffer, a step may be stable at both ends and
    unstable between them.

    Examples
    --------
    For heavy ball it is (sqrt(kappa) - 1) / (sqrt(kappa) + 1):

    >>> round(best_rate(9.0).rho, 3), round(best_rate(9.0, capacity=5).rho, 3)
    (0.5, 0.866)
    """
    if not condition_number >= 1:
        raise ValueError(f"condition_number must be at least 1, got {condition_number!r}")
    if beta is not None and not 0 <= beta < 1:
        raise ValueError(f"beta must be in [0, 1), got {beta!r}")
    eigenvalues = np.geomspace(1 / condition_number, 1, 51)
    alpha, found = _best_of_grid(condition_number, capacity, BETAS if beta is None else (beta,))

    def worst(point: NDArray[np.float64]) -> float:
        step, momentum = math.exp(point[0]), 1 - math.exp(point[1])
        if step > LARGEST_Z or not 0 <= momentum < 1:
            return math.inf
        return float(spectral_radius(step * eigenvalues, momentum, capacity).max())

    # on log scales of the step size and of 1 - beta, where the grid is even
    point = np.log([alpha, 1 - found])
    if beta is None:
        point = minimize(worst, point, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-12}).x
    else:
        cell = math.log(10) / PER_DECADE
        bounds = (point[0] - cell, point[0] + cell)
        point[0] = minimize_scalar(lambda x: worst(np.array([x, point[1]])), bounds=bounds, method="bounded").x
    return BestRate(math.exp(point[0]), 1 - math.exp(point[1]) if beta is None else beta, worst(point))


def _best_of_grid(condition_number: float, capacity: int, betas: tuple[float, ...]) -> tuple[float, float]:
    """Return the step size and the momentum of the grid with the best worst case."""
    width = round(PER_DECADE * math.log10(condition_number)) + 1
    worst = sliding_window_view(_radii(capacity, betas), width, axis=1).max(-1)
    row, column = np.unravel_index(np.argmin(worst), worst.shape)
    return float(GRID[column + width - 1]), betas[row]


@cache
def _radii(capacity: int, betas: tuple[float, ...]) -> NDArray[np.float64]:
    return spectral_radius(GRID, np.array(betas)[:, None], capacity)


def simulated_rate(
    condition_number: float, *, alpha: float, beta: float, capacity: int = 0, replacement: str = "fifo"
) -> float:
    """Return by what factor an error really shrinks a step, from a run of the optimizer itself.

    Parameters
    ----------
    condition_number : float
        Of a quadratic of 20 numbers, whose largest eigenvalue is 1.
    alpha, beta : float
        Learning rate and momentum.
    capacity : int
        0 runs torch's SGD with momentum, anything else ``SGDCM``.
    replacement : {"fifo", "priority", "random"}
        What leaves the buffer: ``"fifo"`` is what the polynomial is about, ``"priority"`` is the algorithm.

    Examples
    --------
    >>> round(simulated_rate(1.0, alpha=0.01, beta=0.5, capacity=5), 6)
    0.954841
    """
    surface = quadratic(condition_number, dimension=DIMENSION)
    eigenvalues = np.geomspace(1 / condition_number, 1, DIMENSION)
    expected = float(spectral_radius(alpha * eigenvalues, beta, capacity).max())
    # long enough for all but the slowest root to be gone, and not so long that numbers underflow
    half = max(100, math.ceil(min(40 / (1 - expected), 2500))) if expected < 1 else 1000
    options: dict[str, Any] = {"lr": alpha, "momentum": beta}
    if capacity:
        options |= {"capacity": capacity, "replacement": replacement}
    path = trajectory(surface, "sgd_cm" if capacity else "sgd", np.ones(DIMENSION), 2 * half, **options)
    # the largest of several steps: complex roots make the error swing
    first, last = (np.abs(path[end - 40 : end]).max() for end in (half, 2 * half))
    return float((last / first) ** (1 / half))


def convergence_rates(
    condition_numbers: Sequence[float],
    *,
    capacities: Sequence[int] = (0, 5),
    betas: Sequence[float | None] = (None, 0.9),
    simulated: Sequence[float] = (),
) -> pd.DataFrame:
    """Return the best rates of heavy ball and critical momenta over condition numbers.

    Parameters
    ----------
    condition_numbers : sequence of float
    capacities : sequence of int
        0 is heavy ball.
    betas : sequence of float or None
        Momenta that are held; None for the best one at each condition number.
    simulated : sequence of float
        Condition numbers, among the others, at which the optimizer itself is run too.

    Returns
    -------
    DataFrame
        capacity, momentum ("best" or the one held), condition_number, alpha (where the largest eigenvalue is 1), beta,
        rho, rate, which is 1 - rho, and simulated_rate, which is nan where nothing was run.

    Examples
    --------
    >>> convergence_rates([4.0, 100.0], betas=[None]).drop(columns="simulated_rate").round(2)
       capacity momentum  condition_number  alpha  beta   rho  rate
    0         0     best               4.0   1.78  0.11  0.33  0.67
    1         0     best             100.0   3.31  0.67  0.82  0.18
    2         5     best               4.0   0.24  0.00  0.83  0.17
    3         5     best             100.0   2.34  0.30  0.92  0.08
    """
    rows = []
    for capacity in capacities:
        for held in betas:
            for kappa in condition_numbers:
                best = best_rate(kappa, capacity=capacity, beta=held)
                name = "best" if held is None else f"{held:g}"
                rho = np.nan
                if kappa in simulated:
                    rho = simulated_rate(kappa, alpha=best.alpha, beta=best.beta, capacity=capacity)
                rows.append((capacity, name, float(kappa), *best, 1 - best.rho, 1 - rho))
    columns = ["capacity", "momentum", "condition_number", *BestRate._fields, "rate", "simulated_rate"]
    return pd.DataFrame(rows, columns=columns)
