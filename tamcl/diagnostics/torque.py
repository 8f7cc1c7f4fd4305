"""How the gradient lies to the momentum, and what the optimizer makes of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from tamcl.diagnostics.diagnostic import Diagnostic, Row, cosines, mean_first
from tamcl.diagnostics.update import MOMENTA, Update


class Cosine(Diagnostic):
    """Cosine of momentum and gradient, as the optimizer measured it.

    It is read from ``cosine`` in the optimizer's state; where tensors or groups have their own, the whole is the mean
    over tensors. It is 0 where there is no momentum yet.
    ``MomentumGradientCosine`` measures it for optimizers that do not.
    """

    def measure(self, update: Update) -> Iterable[Row]:
        """Return what the state says."""
        return mean_first(update.numbers("cosine"))


class SmoothedCosine(Diagnostic):
    """Cosine of momentum and gradient, smoothed over steps by the optimizer.

    It is read from ``smoothed_cosine`` in the optimizer's state; where tensors or groups have their own, the whole is
    the mean over tensors.
    """

    def measure(self, update: Update) -> Iterable[Row]:
        """Return what the state says."""
        return mean_first(update.numbers("smoothed_cosine"))


class Damping(Diagnostic):
    """The number that the gradient was multiplied by as it entered the momentum.

    It is read from ``damping`` in the optimizer's state, or, held at a number, from the option of that name; 1 where a
    first gradient enters whole. Where tensors or groups have their own, the whole is the mean over tensors; where all
    share one, a tensor whose first gradient comes late is not told apart.
    """

    def measure(self, update: Update) -> Iterable[Row]:
        """Return what the state says, or the option."""
        return mean_first(dampings(update))


class MomentumGradientCosine(Diagnostic):
    """Cosine of the momentum before the update and the mini-batch's gradient, for any optimizer with a momentum.

    It is measured for all tensors together and for each, so that arms can be compared whatever they measure
    themselves. The gradient is as backpropagation left it: without weight decay, and under SAM at the weights
    themselves. The momentum is ``momentum_buffer`` or ``exp_avg`` of the state; a first update has none.
    """

    def prepare(self, update: Update) -> None:
        """Measure: the update will change the momentum."""
        momenta = update.tensors(*MOMENTA)
        self._rows = cosines({name: (momentum, update.gradients[name]) for name, momentum in momenta.items()})

    def measure(self, update: Update) -> Iterable[Row]:
        """Return what was measured."""
        return self._rows.items()


def dampings(update: Update) -> dict[str, Any]:
    """Return the damping of each tensor with a gradient, or under "" that of the whole; nothing if nothing damps.

    That of a first gradient which enters whole is 1.
    """
    measured = update.numbers("damping")
    if "" in measured or "damping" not in update.stepping.defaults:
        return measured
    held = {
        update.names[param]: group["damping"]
        for group in update.optimizer.param_groups
        for param in group["params"]
        if update.names.get(param) in update.gradients and _is_number(group.get("damping"))
    }
    is_whole = update.optimizer.param_groups[0].get("start") == "gradient"
    found = {**measured, **held, **dict.fromkeys(update.new if is_whole else (), 1.0)}
    return {"": next(iter(found.values()))} if held and len(set(found.values())) == 1 else found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Tensor)
