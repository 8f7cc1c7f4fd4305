"""The plane through three ends of training."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from tamcl.errors import InputError

MARGIN = 0.25
"""Of the extent of the three ends, that is shown beyond them."""

FLAT = 0.01
"""Ends are taken to lie on a line where their extent on one axis is less than this share of that on the other: arms
that differ by rounding alone, or by a learning rate that makes them the same, span no plane."""


class OnOneLine(InputError):
    """Three points span no plane."""


class Plane:
    r"""Coordinates on the plane through three points of the space of weights, in units of its Euclidean distance.

    The first point is the origin and the second lies on the x axis:

    .. math:: \hat u = \frac{w_2 - w_1}{\lVert w_2 - w_1 \rVert}, \quad
        v = (w_3 - w_1) - \langle w_3 - w_1, \hat u \rangle \, \hat u, \quad \hat v = \frac{v}{\lVert v \rVert}, \quad
        P(x, y) = w_1 + x \hat u + y \hat v

    Parameters
    ----------
    points : sequence of dict of str to Tensor
        Three sets of weights of one kind of model, by their names.
    renewed : collection of str
        As of ``between``: they are those of the first point.

    Attributes
    ----------
    corners : list of (float, float)
        The coordinates of the three points.

    Raises
    ------
    OnOneLine
        If the three points lie on a line.
    InputError
        If something that is no floating-point number differs between them.

    References
    ----------
    Loss Surfaces, Mode Connectivity, and Fast Ensembling of DNNs, 2018, appendix A.1, https://arxiv.org/abs/1802.10026

    Examples
    --------
    >>> weights = [{"w": torch.tensor(point)} for point in ([0.0, 0.0, 1.0], [3.0, 0.0, 1.0], [1.0, 2.0, 1.0])]
    >>> plane = Plane(weights)
    >>> plane.corners
    [(0.0, 0.0), (3.0, 0.0), (1.0, 2.0)]
    >>> plane.at(1.5, -1.0)["w"]
    tensor([ 1.5000, -1.0000,  1.0000])
    """

    def __init__(self, points: Sequence[Mapping[str, Tensor]], *, renewed: Collection[str] = ()) -> None:
        self._first, second, third = points
        self._names = [name for name, value in self._first.items() if value.is_floating_point() and name not in renewed]
        for name in self._first.keys() - set(self._names) - set(renewed):
            if not all(torch.equal(self._first[name], other[name]) for other in (second, third)):
                raise InputError(f"'{name}' differs between three ends and is no number that a plane could have")
        u, v = self._apart(second), self._apart(third)
        width = _norm(u)
        along = _product(u, v) / width**2 if width else 0.0
        v = {name: v[name] - along * u[name] for name in v}
        height = _norm(v)
        extents = max(width, along * width) - min(0.0, along * width), height
        if not min(extents) > FLAT * max(extents):
            raise OnOneLine("the three ends of training lie on a line, or two of them in one place")
        self._u = {name: value / width for name, value in u.items()}
        self._v = {name: value / height for name, value in v.items()}
        self.corners = [(0.0, 0.0), (width, 0.0), (along * width, height)]

    def at(self, x: float, y: float) -> dict[str, Tensor]:
        """Return the weights at a place of the plane."""
        moved = {
            name: (self._first[name].double() + x * self._u[name] + y * self._v[name]).to(self._first[name].dtype)
            for name in self._names
        }
        return {**self._first, **moved}

    def grid(self, points: int) -> tuple[Tensor, Tensor]:
        """Return so many x and y, which reach beyond the three points by a share of what lies between them."""
        axes = []
        for values in zip(*self.corners, strict=True):
            low, high = min(values), max(values)
            room = MARGIN * (high - low)
            axes.append(torch.linspace(low - room, high + room, points, dtype=torch.float64))
        return axes[0], axes[1]

    def _apart(self, other: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: other[name].double() - self._first[name].double() for name in self._names}


def _product(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    return sum(float((one[name] * other[name]).sum()) for name in one)


def _norm(values: Mapping[str, Tensor]) -> float:
    return float(_product(values, values) ** 0.5)
