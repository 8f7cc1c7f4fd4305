"""The largest curvature of the loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from tamcl.diagnostics.diagnostic import Diagnostic, Row
from tamcl.diagnostics.update import Update


class HessianTop(Diagnostic):
    """Largest eigenvalue of the Hessian of the loss on the examples, with the model in evaluation mode.

    The most costly diagnostic: each iteration of Lanczos's method is a pass backward through the gradient.

    Parameters
    ----------
    iterations : int
        At most so many; after them the value is a lower bound, and mostly close.
    tolerance : float
        The residual to stop at, relative to the eigenvalue.
    """

    def __init__(self, *, iterations: int = 30, tolerance: float = 1e-3) -> None:
        if iterations < 1:
            raise ValueError(f"iterations = {iterations}: must be at least 1")
        if not tolerance >= 0:
            raise ValueError(f"tolerance = {tolerance}: must be at least 0")
        self.iterations = iterations
        self.tolerance = tolerance

    def measure(self, update: Update) -> Iterable[Row]:
        """Return the eigenvalue."""
        value = top_of_hessian(update.loss, update.copies(), iterations=self.iterations, tolerance=self.tolerance)
        return [("", value)]


def top_of_hessian(
    loss: Callable[[Mapping[str, Tensor]], Tensor],
    weights: Mapping[str, Tensor],
    *,
    iterations: int = 30,
    tolerance: float = 1e-3,
) -> float:
    """Return the largest eigenvalue of the Hessian of a loss at some weights.

    Parameters
    ----------
    loss : callable
        Of weights by their names.
    weights : mapping of str to Tensor
    iterations, tolerance
        As of ``top_eigenvalue``.

    Examples
    --------
    >>> top = top_of_hessian(lambda held: held["w"][0] ** 2 + 3 * held["w"][1] ** 2, {"w": torch.ones(2)})
    >>> round(top, 4)
    6.0
    """
    held = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
    leaves = list(held.values())
    with torch.enable_grad():
        gradient = _flat(torch.autograd.grad(loss(held), leaves, create_graph=True, materialize_grads=True))

    def multiply(vector: Tensor) -> Tensor:
        parts = torch.autograd.grad(gradient, leaves, vector, retain_graph=True, materialize_grads=True)
        return _flat(parts).detach()

    # the same vector in every measurement, from a generator of its own
    start = torch.randn(len(gradient), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return top_eigenvalue(multiply, start.to(gradient), iterations=iterations, tolerance=tolerance)


def top_eigenvalue(
    multiply: Callable[[Tensor], Tensor], start: Tensor, *, iterations: int = 30, tolerance: float = 1e-3
) -> float:
    """Return the largest eigenvalue of a symmetric matrix by Lanczos's method, which keeps three vectors.

    Parameters
    ----------
    multiply : callable
        Multiplies the matrix by a vector.
    start : Tensor, (n,)
        Any vector that is not orthogonal to the eigenvector, such as a random one.
    iterations : int
        Products with the matrix at most.
    tolerance : float
        Stop when the residual is at most this share of the eigenvalue.

    Returns
    -------
    float
        nan if a product is not finite.

    Examples
    --------
    >>> matrix = torch.diag(torch.tensor([3.0, -5.0, 1.0]))
    >>> round(top_eigenvalue(lambda vector: matrix @ vector, torch.ones(3)), 5)
    3.0
    """
    before, vector = torch.zeros_like(start), start / start.norm()
    diagonal: list[float] = []
    beside: list[float] = []
    while True:
        product = multiply(vector)
        diagonal.append(float(product @ vector))
        if not math.isfinite(diagonal[-1]):
            return math.nan
        # Vectors before the last two are not cleared out: what rounding leaves of them makes values come twice, and the
        # largest no less true.
        product = product - diagonal[-1] * vector - (beside[-1] if beside else 0.0) * before
        rest = float(product.norm())
        values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))
        converged = rest * abs(vectors[-1, -1]) <= tolerance * abs(values[-1])
        exhausted = rest <= torch.finfo(start.dtype).eps * np.abs(values).max()
        if converged or exhausted or len(diagonal) == iterations:
            return float(values[-1])
        beside.append(rest)
        before, vector = vector, product / rest


def _flat(tensors: Iterable[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])
