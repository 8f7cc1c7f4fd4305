"""Test surfaces: functions of one or two numbers, and quadratics of more, whose minima are known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from tamcl.errors import unknown_name
from tamcl.seeding import derive_seed


@dataclass(frozen=True)
class Surface:
    """A function to minimise, with what is known about it.

    Attributes
    ----------
    title : str
        Its name in figures.
    function : callable
        Values at points: a tensor of shape (..., dimension) in, one of shape (...) out.
    minima : tuple of tuple of float
        All points where it is lowest.
    lowest : float
        Its value there.
    bounds : tuple of (float, float)
        Of each coordinate: where it is drawn and where starts are drawn from.
    start : tuple of float
        Where the path in a figure starts.
    noise : float
        Standard deviation of the normal noise that is added to every entry of a gradient.
    """

    title: str
    function: Callable[[Tensor], Tensor]
    minima: tuple[tuple[float, ...], ...]
    lowest: float
    bounds: tuple[tuple[float, float], ...]
    start: tuple[float, ...]
    noise: float = 0.0

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the coordinates: x, or x and y, or x1, x2, ..."""
        names = ("x", "y") if len(self.bounds) <= 2 else tuple(f"x{i}" for i in range(1, len(self.bounds) + 1))
        return names[: len(self.bounds)]

    def value(self, points: ArrayLike) -> NDArray[np.float64]:
        """Return the values at points, an array of shape (..., dimension).

        Examples
        --------
        >>> SURFACES["rosenbrock"].value([[1, 1], [0, 0]])
        array([0., 1.])
        """
        return np.asarray(self.function(torch.tensor(self._checked(points))))

    def gradient(self, points: ArrayLike) -> NDArray[np.float64]:
        """Return the gradients at points, without noise.

        Examples
        --------
        >>> SURFACES["rosenbrock"].gradient([0, 0])
        array([-2., 0.])
        """
        return np.asarray(gradient(self, torch.tensor(self._checked(points))))

    def distance(self, points: ArrayLike) -> NDArray[np.float64]:
        """Return how far points are from the nearest of the lowest minima."""
        apart = self._checked(points)[..., None, :] - np.array(self.minima)
        return np.asarray(np.linalg.norm(apart, axis=-1).min(-1))

    def starts(self, count: int, seed: int = 0) -> NDArray[np.float64]:
        """Return points drawn evenly from within the bounds, of shape (count, dimension)."""
        low, high = np.array(self.bounds).T
        return np.random.default_rng(derive_seed(seed, "init")).uniform(low, high, (count, len(low)))

    def _checked(self, points: ArrayLike) -> NDArray[np.float64]:
        array = np.array(points, dtype=np.float64)
        if array.ndim == 0 or array.shape[-1] != len(self.bounds):
            raise ValueError(
                f"points of {self.title} must have {len(self.bounds)} coordinates, got shape {array.shape}"
            )
        return array


def gradient(surface: Surface, points: Tensor) -> Tensor:
    """Return the gradients of a surface at all points by automatic differentiation."""
    points = points.detach().requires_grad_()
    return torch.autograd.grad(surface.function(points).sum(), points)[0]


def ackley(points: Tensor) -> Tensor:
    r"""Return Ackley's function: a wide funnel with a local minimum near every point of whole numbers.

    .. math:: f(x) = -20 \, e^{-0.2 \sqrt{\frac{1}{n} \sum x_i^2}} - e^{\frac{1}{n} \sum \cos 2 \pi x_i} + 20 + e

    References
    ----------
    A connectionist machine for genetic hillclimbing, 1987, https://doi.org/10.1007/978-1-4613-1997-9, for two numbers;
    Evolutionary Algorithms in Theory and Practice, 1996, for n
    """
    # the derivative of vector_norm at 0 is 0, that of a square root is not a number
    radius = torch.linalg.vector_norm(points, dim=-1) / math.sqrt(points.shape[-1])
    waves = torch.cos(2 * math.pi * points).mean(-1)
    return 20 - 20 * torch.exp(-0.2 * radius) + math.e - torch.exp(waves)


def goldstein_price(points: Tensor) -> Tensor:
    r"""Return the function of Goldstein and Price: values from 3 to a million, and three minima that are not lowest.

    .. math::
        f(x, y) &= \bigl(1 + (x + y + 1)^2 \, (19 - 14x + 3x^2 - 14y + 6xy + 3y^2)\bigr) \\
            &\quad \times \bigl(30 + (2x - 3y)^2 \, (18 - 32x + 12x^2 + 48y - 36xy + 27y^2)\bigr)

    References
    ----------
    On descent from local minima, 1971, https://doi.org/10.1090/S0025-5718-1971-0312365-X
    """
    x, y = points.unbind(-1)
    first = 1 + (x + y + 1) ** 2 * (19 - 14 * x + 3 * x**2 - 14 * y + 6 * x * y + 3 * y**2)
    second = 30 + (2 * x - 3 * y) ** 2 * (18 - 32 * x + 12 * x**2 + 48 * y - 36 * x * y + 27 * y**2)
    return first * second


def rosenbrock(points: Tensor) -> Tensor:
    r"""Return Rosenbrock's function: a curved valley with steep walls and hardly any slope along its floor.

    .. math:: f(x, y) = (1 - x)^2 + 100 \, (y - x^2)^2

    References
    ----------
    An automatic method for finding the greatest or least value of a function, 1960,
    https://doi.org/10.1093/comjnl/3.3.175
    """
    x, y = points.unbind(-1)
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def flat_sharp(sharpness: float | Sequence[float] | NDArray[np.float64]) -> Surface:
    r"""Return a function of one number with a flat minimum at -1 and an equally deep, sharp one at 1.

    Use it to ask which optimizers leave sharp minima, and how sharp these must be.

    .. math::
        f(x) = \frac{q_- \, q_+}{q_- + q_+}, \qquad
        q_- = \tfrac{1}{2} (x + 1)^2, \quad q_+ = \tfrac{1}{2} \kappa \, (x - 1)^2

    Parameters
    ----------
    sharpness : float or array
        :math:`\kappa > 0`, the second derivative at 1; that at -1 is 1. An array gives every row of points its own.

    Notes
    -----
    This family is our own: that of the paper on critical momenta, which has one flat and one sharp minimum too, could
    not be found. It is the smooth minimum of two parabolas that adds their inverses. Both minima are 0 whatever the
    sharpness, there is no other, and only one maximum: see ``barrier`` and ``barrier_height``. A sharper minimum has
    steeper and higher walls, and a narrower basin.

    Examples
    --------
    >>> surface = flat_sharp(9.0)
    >>> surface.value([[-1], [1]])
    array([0., 0.])
    >>> (surface.gradient([[-1 + 1e-6], [1 + 1e-6]]) / 1e-6).round(3).ravel()
    array([1., 9.])
    """
    kappa = torch.tensor(np.asarray(sharpness, dtype=np.float64))
    if not bool(torch.all(kappa > 0)):
        raise ValueError(f"sharpness must be above 0, got {sharpness!r}")

    def function(points: Tensor) -> Tensor:
        x = points[..., 0]
        flat, sharp = (x + 1) ** 2 / 2, kappa * (x - 1) ** 2 / 2
        return flat * sharp / (flat + sharp)

    return Surface("flat and sharp", function, ((-1.0,), (1.0,)), 0.0, ((-2.0, 2.0),), (1.2,))


def barrier(sharpness: ArrayLike) -> NDArray[np.float64]:
    r"""Return where ``flat_sharp`` is highest between its minima: :math:`1 - 2 / (1 + \kappa^{1/3})`.

    Examples
    --------
    >>> barrier([1, 8, 1000]).round(2)
    array([0.  , 0.33, 0.82])
    """
    return np.asarray(1 - 2 / (1 + np.cbrt(sharpness)))


def barrier_height(sharpness: ArrayLike) -> NDArray[np.float64]:
    r"""Return the value of ``flat_sharp`` at its barrier: :math:`2 / (1 + \kappa^{-1/3})^3`.

    Examples
    --------
    >>> barrier_height([1, 8, 1000]).round(2)
    array([0.25, 0.59, 1.5 ])
    """
    return np.asarray(2 / (1 + 1 / np.cbrt(sharpness)) ** 3)


def quadratic(condition_number: float, *, dimension: int = 2, noise: float = 0.0) -> Surface:
    r"""Return :math:`\frac{1}{2} \sum h_i x_i^2` with :math:`h_i` evenly spaced on a log scale from 1 / kappa to 1.

    Parameters
    ----------
    condition_number : float
        :math:`\kappa`, at least 1: the largest of the :math:`h_i` over the smallest.
    dimension : int
        At least 2.
    noise : float
        Standard deviation of the noise of every entry of a gradient, at least 0.

    Examples
    --------
    >>> quadratic(100, dimension=3).gradient([1, 1, 1])
    array([0.01, 0.1 , 1.  ])
    """
    for name, value, least in (("condition_number", condition_number, 1), ("dimension", dimension, 2)):
        if not value >= least:
            raise ValueError(f"{name} must be at least {least}, got {value!r}")
    if not noise >= 0:
        raise ValueError(f"noise must be at least 0, got {noise!r}")
    curvatures = torch.tensor(np.geomspace(1 / condition_number, 1, dimension))
    return Surface(
        f"quadratic of condition number {condition_number:g}",
        lambda points: (curvatures * points**2).sum(-1) / 2,
        ((0.0,) * dimension,),
        0.0,
        ((-1.0, 1.0),) * dimension,
        (1.0,) * dimension,
        noise,
    )


SURFACES = {
    "ackley": Surface("Ackley", ackley, ((0, 0),), 0, ((-5, 5), (-5, 5)), (-3.2, 2.7)),
    "goldstein_price": Surface("Goldstein-Price", goldstein_price, ((0, -1),), 3, ((-2, 2), (-2, 2)), (-1.6, 0.9)),
    "rosenbrock": Surface("Rosenbrock", rosenbrock, ((1, 1),), 0, ((-2, 2), (-1, 3)), (-1.2, 1.0)),
}
"""The classical surfaces by their names; ``flat_sharp`` and ``quadratic`` make families of others."""


def find_surface(surface: Surface | str) -> Surface:
    """Return the surface of a name; any other surface is returned as it is.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    if isinstance(surface, Surface):
        return surface
    if surface not in SURFACES:
        raise unknown_name("surface", surface, SURFACES)
    return SURFACES[surface]
