"""What EWC, SI and MAS have in common: weights are pulled back to where they were, the more the more they matter."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Unpack

import torch
from torch import Tensor

from tamcl.strategies.naive import Common, Naive
from tamcl.strategies.state import State, copy_each


class Anchored(Naive):
    r"""Naive with a quadratic penalty :math:`\lambda \sum_i \Omega_i (\theta_i - \theta^*_i)^2`.

    Its gradient is added to that of the loss, for the weights that have one; the loss itself stays that of the data.

    Parameters
    ----------
    strength : float
        :math:`\lambda`, at least 0. Papers that write :math:`\lambda / 2` mean half as much.
    **common
        The arguments of ``Naive``; without ``settings.restart``, which throws away what the weights are pulled back to.

    Attributes
    ----------
    weights : list of Parameter
        Those that are trained.
    importance, anchor : list of Tensor
        :math:`\Omega` and :math:`\theta^*` of each of them.
    """

    def __init__(self, *, strength: float, **common: Unpack[Common]) -> None:
        super().__init__(**common)
        if not strength >= 0:
            raise ValueError(f"strength = {strength}: must be at least 0")
        if self.settings.restart:
            raise ValueError(f"restart = True: {type(self).__name__} has nothing to pull new weights back to")
        self.strength = strength
        self.weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        self.importance = [torch.zeros_like(weight) for weight in self.weights]
        self.anchor = [weight.detach().clone() for weight in self.weights]

    def state_dict(self) -> State:
        """Return also what the weights are pulled back to, and how much."""
        return super().state_dict() | {"importance": self.importance, "anchor": self.anchor}

    def load_state_dict(self, state: State) -> None:
        """Take over what ``state_dict`` returned."""
        super().load_state_dict(state)
        copy_each(self.importance, state["importance"])
        copy_each(self.anchor, state["anchor"])

    @abstractmethod
    def consolidate(self) -> None:
        """Set importance and anchor when an experience is over."""

    def backward(self) -> None:
        """Compute the gradients, and add that of the penalty."""
        super().backward()
        self.pull()

    @torch.no_grad()
    def pull(self) -> None:
        """Add the gradient of the penalty."""
        rows = zip(self.weights, self.importance, self.anchor, strict=True)
        moved = [(w.grad, omega, w - anchor) for w, omega, anchor in rows if w.grad is not None]
        for grad, omega, distance in moved:
            grad.addcmul_(omega, distance, value=2 * self.strength)

    def _after_training_exp(self, **kwargs: Any) -> None:
        with torch.no_grad():
            self.consolidate()
        super()._after_training_exp(**kwargs)

    def mean_over_batches(
        self, value: Callable[[Tensor, Tensor], Tensor], size: Callable[[Tensor], Tensor]
    ) -> list[Tensor]:
        """Return how large the gradient of something is in this experience, for each weight.

        The model is in evaluation mode, the images are not augmented, and the weights' own gradients stay.

        Parameters
        ----------
        value : callable
            Takes the logits and labels of a mini-batch, returns a number.
        size : callable
            Takes its gradient, returns what is averaged over the experience's mini-batches.
        """
        training = self.model.training
        self.model.eval()
        batches = torch.arange(len(self.experience.labels)).split(self.train_mb_size)
        total = [torch.zeros_like(weight) for weight in self.weights]
        for rows in batches:
            with torch.enable_grad():
                logits = self.model(self.experience.batch(rows).to(self.device), self.experience.task)
                number = value(logits, self.experience.targets(rows).flatten().to(self.device))
            gradients = torch.autograd.grad(number, self.weights, allow_unused=True)
            for mean, gradient in zip(total, gradients, strict=True):
                if gradient is not None:
                    mean.add_(size(gradient), alpha=1 / len(batches))
        self.model.train(training)
        return total
