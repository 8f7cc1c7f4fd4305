"""How much worse the loss is at the worst point nearby, as sharpness-aware minimisation looks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from tamcl.diagnostics.diagnostic import Diagnostic, Row
from tamcl.diagnostics.update import Update

SMALLEST_NORM = 1e-16
"""Added to the norm, so that a gradient of zero does not perturb."""


class SAMSharpness(Diagnostic):
    r"""Rise of the loss on the examples over a step of length rho along its gradient, in evaluation mode.

    .. math::
        L(\theta + \rho \, g / \lVert g \rVert) - L(\theta) \quad \text{with } g = \nabla L(\theta)

    Parameters
    ----------
    rho : float
        :math:`\rho`, at least 0.

    References
    ----------
    Sharpness-Aware Minimization for Efficiently Improving Generalization, 2020, https://arxiv.org/abs/2010.01412
    """

    def __init__(self, *, rho: float = 0.05) -> None:
        if not rho >= 0:
            raise ValueError(f"rho = {rho}: must be at least 0")
        self.rho = rho

    def measure(self, update: Update) -> Iterable[Row]:
        """Return the rise."""
        return [("", sharpness(update.loss, update.copies(), rho=self.rho))]


def sharpness(
    loss: Callable[[Mapping[str, Tensor]], Tensor], weights: Mapping[str, Tensor], *, rho: float = 0.05
) -> Tensor:
    """Return by how much a loss of weights, by their names, rises over a step of length rho along its gradient.

    Examples
    --------
    >>> round(float(sharpness(lambda held: held["w"].square().sum(), {"w": torch.tensor([3.0, 4.0])}, rho=1.0)), 4)
    11.0
    """
    held = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
    with torch.enable_grad():
        before = loss(held)
        gradients = torch.autograd.grad(before, list(held.values()), materialize_grads=True)
    with torch.no_grad():
        norm = torch.stack(torch._foreach_norm(gradients)).norm() + SMALLEST_NORM
        moved = zip(held.items(), gradients, strict=True)
        worst = {name: weight + rho / norm * gradient for (name, weight), gradient in moved}
        return loss(worst) - before.detach()
