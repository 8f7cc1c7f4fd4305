"""Synaptic intelligence."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor

from tamcl.strategies.anchored import Anchored
from tamcl.strategies.naive import Common
from tamcl.strategies.state import State, copy_each


class SI(Anchored):
    r"""Synaptic intelligence: weights whose way lowered the loss are pulled back to the last experience's end.

    .. math::
        \tilde L = L + c \sum_i \Omega_i (\theta_i - \theta^*_i)^2, \qquad
        \Omega_i \leftarrow \Omega_i + \max\left(0, \frac{\omega_i}{(\Delta_i)^2 + \xi}\right), \qquad
        \omega_i = - \sum_t g_{t,i} \, (\theta_{t,i} - \theta_{t-1,i})

    Here :math:`g_t` is the gradient of the data's loss and :math:`\Delta` the way from the experience's start to its
    end. Importance comes from the updates themselves, so it depends on the optimizer, and costs no pass over the data.

    Parameters
    ----------
    strength : float
        :math:`c`, at least 0. The default is the paper's for permuted MNIST.
    damping : float
        :math:`\xi`, above 0.
    **common
        The arguments of ``Naive``, without ``settings.restart``.

    Notes
    -----
    As in the authors' code, the gradient leaves out the penalty and an importance below 0 counts as 0. Avalanche's
    ``SynapticIntelligencePlugin`` differs: its gradient has the penalty in it, importance is cut off above at 0.001 and
    not below, the penalty has a factor of 1/2, batch norm is left out, and on a CPU it does nothing at all, since the
    weights that it keeps share memory with the present ones.

    References
    ----------
    F. Zenke, B. Poole, S. Ganguli, "Continual Learning Through Synaptic Intelligence", 2017,
    https://arxiv.org/abs/1703.04200
    """

    def __init__(self, *, strength: float = 0.1, damping: float = 0.1, **common: Unpack[Common]) -> None:
        if not damping > 0:
            raise ValueError(f"damping = {damping}: must be above 0")
        super().__init__(strength=strength, **common)
        self.damping = damping
        self.way = [torch.zeros_like(weight) for weight in self.weights]
        self._gradients: list[Tensor | None] = []

    def state_dict(self) -> State:
        """Return also the way so far."""
        return super().state_dict() | {"way": self.way}

    def load_state_dict(self, state: State) -> None:
        """Take over what ``state_dict`` returned."""
        super().load_state_dict(state)
        copy_each(self.way, state["way"])

    def pull(self) -> None:
        """Keep the gradients of the data's loss, and add that of the penalty."""
        self._gradients = [None if weight.grad is None else weight.grad.clone() for weight in self.weights]
        super().pull()

    def optimizer_step(self) -> None:
        """Update the weights, and note what that did to the loss."""
        before, gradients = [weight.detach().clone() for weight in self.weights], self._gradients
        super().optimizer_step()  # whose closure may compute others, elsewhere
        with torch.no_grad():
            for weight, old, way, gradient in zip(self.weights, before, self.way, gradients, strict=True):
                if gradient is not None:
                    way.addcmul_(gradient, weight - old, value=-1)

    def consolidate(self) -> None:
        """Add the experience's importance, and set the anchor to where the weights are."""
        for weight, omega, anchor, way in zip(self.weights, self.importance, self.anchor, self.way, strict=True):
            omega.add_((way / ((weight - anchor) ** 2 + self.damping)).clamp_(min=0))
            anchor.copy_(weight)
            way.zero_()
