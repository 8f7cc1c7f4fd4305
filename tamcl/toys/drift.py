r"""How well an optimizer follows a minimum that moves: a quadratic whose minimum drifts, and the closed form for SGD.

With curvature :math:`h`, the minimum at :math:`c_t` and noise :math:`\xi_t`, heavy ball does

.. math::
    g_t &= h \, (x_t - c_t) + \sigma \xi_t \\
    m_t &= \beta \, m_{t-1} + g_t, \qquad x_{t+1} = x_t - \alpha \, m_t

while the minimum moves by :math:`v_t = c_{t+1} - c_t`. For the error :math:`e_t = x_t - c_t`, subtracting
:math:`\beta` times the last line of the step before leaves no momentum. With :math:`z = \alpha h`,

.. math:: e_{t+1} - (1 + \beta - z) \, e_t + \beta \, e_{t-1} = -\alpha \sigma \xi_t - (v_t - \beta v_{t-1}) .

This is linear, so that what drift and noise do to the mean of :math:`e^2` in the end adds up. It is stable for
:math:`0 < z < 2 (1 + \beta)`, and the variance that independent draws of variance 1 on its right side give it is

.. math:: \gamma_0 = \frac{1 + \beta}{(1 - \beta) \, z \, (2 (1 + \beta) - z)} .

- A constant velocity :math:`v` leaves a lag of :math:`(1 - \beta) \, v / z`.
- A velocity that swings, :math:`v_t = a \cos(2 \pi t / T)`, leaves :math:`\frac{a^2}{2} \, G(2 \pi / T)^2` with
  :math:`G(\omega) = |q - \beta| \, / \, |q^2 - (1 + \beta - z) \, q + \beta|` at :math:`q = e^{i \omega}`.
- A random walk of deviation :math:`w` a step leaves
  :math:`w^2 \gamma_0 \left( (1 - \beta)^2 + \frac{2 \beta z}{1 + \beta} \right)`: neighbouring draws
  :math:`v_t - \beta v_{t-1}` depend on each other.
- Noise of the gradients leaves :math:`\alpha^2 \sigma^2 \gamma_0`.

Momentum makes steps longer. At one and the same step in the end, :math:`\eta = \alpha / (1 - \beta)`, it does nothing
for a minimum of constant velocity. As :math:`\beta \to 1` what noise leaves stays :math:`\eta \sigma^2 / (2 h)`; what a
random walk leaves grows as :math:`(1 - \beta)^{-1}`, and what the worst swing leaves as :math:`(1 - \beta)^{-2}`, the
order reported for the worst drift: heavy ball turns into a spring that the drift excites.

The derivation is ours; the paper that shows this penalty of momentum under drift, with a bound for the worst case, is
Sahu, Hogan and Wells, 2026, https://arxiv.org/abs/2601.12238.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tamcl.seeding import derive_seed
from tamcl.toys.surfaces import Surface
from tamcl.toys.trajectories import Arms, each_path

SETTLED = 0.5
"""Share of the steps after which an error counts as that of the end."""

FREQUENCIES = np.geomspace(1e-4, math.pi, 20001)
"""Among these, in radians a step, the worst swing is searched."""


class Drift(NamedTuple):
    """How the minimum moves in every coordinate, and how noisy the gradients are."""

    velocity: float = 0.0
    """Distance a step."""
    swing: float = 0.0
    """Largest velocity of a swing."""
    period: float = 100.0
    """Steps of a swing, more than 2."""
    walk: float = 0.0
    """Standard deviation of the random move in a step."""
    noise: float = 0.0
    """Standard deviation of the noise of a gradient."""

    def path(self, steps: int, runs: int, dimension: int, seed: int) -> NDArray[np.float64]:
        """Return where the minimum is, (steps + 1, runs, dimension); a random walk is each run's and coordinate's own.

        Examples
        --------
        >>> Drift(velocity=0.5).path(2, runs=1, dimension=1, seed=0).ravel()
        array([0. , 0.5, 1. ])
        """
        rng = np.random.default_rng(derive_seed(seed, "stream", 1))
        steady = self.velocity + self.swing * np.cos(2 * np.pi * np.arange(steps) / self.period)
        moves = steady[:, None, None] + self.walk * rng.normal(size=(runs, steps, dimension)).swapaxes(0, 1)
        return np.concatenate([np.zeros((1, runs, dimension)), moves.cumsum(0)])


def tracking_error(drift: Drift, *, lr: float, momentum: float = 0.0, curvature: float = 1.0) -> float:
    r"""Return the mean square of the distance to the minimum that heavy ball keeps in the end, in each coordinate.

    Parameters
    ----------
    drift : Drift
    lr : float
        :math:`\alpha`.
    momentum : float
        :math:`\beta`, in [0, 1); 0 is SGD.
    curvature : float
        :math:`h`, above 0.

    Returns
    -------
    float
        Infinite if the steps are too long to be stable.

    Examples
    --------
    Halving the way that is left in each step keeps a minimum that moves by 1 at a distance of 2:

    >>> tracking_error(Drift(velocity=1.0), lr=0.5)
    4.0

    Momentum that leaves the length of a step in the end as it is does not change that, and follows a random walk worse:

    >>> round(tracking_error(Drift(velocity=1.0), lr=0.05, momentum=0.9), 2)
    4.0
    >>> [round(tracking_error(Drift(walk=1.0), lr=0.5 * (1 - beta), momentum=beta), 2) for beta in (0, 0.9, 0.99)]
    [1.33, 5.81, 50.81]
    """
    _check(lr, momentum, curvature)
    z = lr * curvature
    if z >= 2 * (1 + momentum):
        return math.inf
    variance = (1 + momentum) / ((1 - momentum) * z * (2 * (1 + momentum) - z))
    walk = drift.walk**2 * variance * ((1 - momentum) ** 2 + 2 * momentum * z / (1 + momentum))
    noise = (lr * drift.noise) ** 2 * variance
    swing = drift.swing * _gain(np.array(2 * np.pi / drift.period), z, momentum).item()
    lag = (1 - momentum) * drift.velocity / z
    return lag**2 + swing**2 / 2 + walk + noise


def worst_period(*, lr: float, momentum: float = 0.0, curvature: float = 1.0) -> float:
    """Return the steps of the swing, of those of one velocity, that heavy ball follows worst.

    Examples
    --------
    With momentum .99 it is near the period of the spring, 2 pi / sqrt(lr * curvature):

    >>> round(worst_period(lr=0.01, momentum=0.99), 1)
    62.7
    """
    _check(lr, momentum, curvature)
    gains = _gain(FREQUENCIES, lr * curvature, momentum)
    return float(2 * np.pi / FREQUENCIES[np.argmax(gains)])


def track(
    arms: Arms, drift: Drift, *, steps: int = 2000, runs: int = 8, dimension: int = 10, curvature: float = 1.0
) -> pd.DataFrame:
    """Return how far from the moving minimum optimizers are in the end.

    Parameters
    ----------
    arms : dict of str to dict
        Of every arm ``optimizer``, ``lr`` (a number or a list) and other options.
    drift : Drift
    steps : int
        Of each run, which starts at the minimum; the first half is left out of the error.
    runs, dimension : int
        Runs, and coordinates of each, which have the same curvature: optimizers that look at angles need several.
    curvature : float

    Returns
    -------
    DataFrame
        arm, lr, run, error: mean square of the distance in a coordinate; nan if the run diverged.

    Examples
    --------
    >>> arms = {"sgd": {"optimizer": "sgd", "lr": [0.5, 1.0]}}
    >>> track(arms, Drift(velocity=1.0), steps=200, runs=1)
       arm   lr  run  error
    0  sgd  0.5    0    4.0
    1  sgd  1.0    0    1.0
    """
    center = drift.path(steps, runs, dimension, seed=0)
    surface = Surface(
        "moving minimum",
        lambda points: curvature * points.square().sum(-1) / 2,
        ((0.0,) * dimension,),
        0.0,
        ((-1.0, 1.0),) * dimension,
        (0.0,) * dimension,
        drift.noise,
    )
    tables = []
    for arm, lr, paths in each_path(surface, arms, center[0], steps, center=center):
        with np.errstate(over="ignore", invalid="ignore"):
            errors = np.square(paths - center)[round(SETTLED * steps) :].mean((0, 2))
        errors[~np.isfinite(errors)] = np.nan
        tables.append(pd.DataFrame({"arm": arm, "lr": lr, "run": np.arange(runs), "error": errors}))
    return pd.concat(tables, ignore_index=True)


def _gain(frequency: NDArray[np.float64], z: float, momentum: float) -> NDArray[np.float64]:
    """Return by how much an error's swing is larger than that of the velocity which makes it."""
    q = np.exp(1j * frequency)
    return np.asarray(np.abs(q - momentum) / np.abs(q**2 - (1 + momentum - z) * q + momentum))


def _check(lr: float, momentum: float, curvature: float) -> None:
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must be in [0, 1), got {momentum!r}")
    for name, value in (("lr", lr), ("curvature", curvature)):
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be above 0 and finite, got {value!r}")
