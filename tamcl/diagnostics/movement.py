"""How far the weights move, and what moves them."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from tamcl.diagnostics.diagnostic import Diagnostic, Row, mean_first, norms
from tamcl.diagnostics.torque import dampings
from tamcl.diagnostics.update import Update


class EffectiveLR(Diagnostic):
    r"""Learning rate times damping: what the gradient is multiplied by in the update that it comes with.

    That is :math:`\eta d_t` for TAM and AdaTAM, and the learning rate itself where nothing damps, as in SGD and Adam.
    For optimizers that also divide by a second moment (Adam, AdaTAM, Adam with critical momenta) it is what the divided
    gradient is multiplied by, so compare it within one family; ``UpdatePerGradient`` compares any. After a ``Switch``
    it is the second optimizer's share. Where tensors differ, the whole is their mean.
    """

    def measure(self, update: Update) -> Iterable[Row]:
        """Return the products."""
        damping, factor = dampings(update), update.numbers("switch_factor")
        rates = {
            update.names[param]: float(group["lr"])
            for group in update.optimizer.param_groups
            for param in group["params"]
            if update.names.get(param) in update.gradients
        }
        if len(set(rates.values())) == 1 and damping.keys() <= {""}:
            rates = {"": next(iter(rates.values()))}
        share = next(iter(factor.values()), 0.0) or 1.0  # the same for all; 0 before the switch
        whole = damping.get("", 1.0)
        return mean_first({name: rate * share * float(damping.get(name, whole)) for name, rate in rates.items()})


class GradientNorm(Diagnostic):
    """L2 norm of the mini-batch's gradient, of all tensors together and of each."""

    def measure(self, update: Update) -> Iterable[Row]:
        """Return the norms."""
        return norms(update.gradients).items()


class UpdateNorm(Diagnostic):
    """L2 norm of the change of the weights in the update, of all tensors together and of each."""

    def measure(self, update: Update) -> Iterable[Row]:
        """Return the norms."""
        return norms(_moved(update, update.weights)).items()


class UpdatePerGradient(Diagnostic):
    r"""Norm of the update divided by the norm of the gradient: the learning rate that plain SGD would have needed.

    It compares any optimizers. Under a steady gradient it is :math:`\eta / (1 - \beta)` for SGD with momentum and
    :math:`d` times that for TAM. A tensor whose gradient is 0 has no row.
    """

    def measure(self, update: Update) -> Iterable[Row]:
        """Return the ratios."""
        moved, gradients = norms(_moved(update, update.weights)), norms(update.gradients)
        return [(name, moved[name] / norm) for name, norm in gradients.items() if norm != 0]


class DistanceFromInit(Diagnostic):
    """L2 distance of the weights from where they were before the first update, of all tensors together and of each."""

    def __init__(self) -> None:
        self._start: dict[str, Tensor] = {}

    def prepare(self, update: Update) -> None:
        """Keep the weights from before the first update, which is always measured."""
        self._start = self._start or update.weights

    def measure(self, update: Update) -> Iterable[Row]:
        """Return the distances."""
        return norms(_moved(update, self._start)).items()


def _moved(update: Update, start: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return how far each parameter is from a start, in float64: of large weights float32 would lose small moves."""
    return {name: param.detach().double() - start[name].double() for param, name in update.names.items()}
