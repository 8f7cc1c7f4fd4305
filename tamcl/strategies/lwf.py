"""Learning without forgetting."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Unpack

import torch
from torch import Tensor
from torch.nn.functional import kl_div

from tamcl.models import Classifier
from tamcl.strategies.naive import Common, Naive
from tamcl.strategies.state import State, load_model_state, model_state


class LwF(Naive):
    r"""Learning without forgetting: on new images, the model must go on saying about old classes what it said.

    .. math::
        \tilde L = L + \lambda \sum_k \mathrm{KL}\bigl(\sigma(z^*_k / T) \,\|\, \sigma(z_k / T)\bigr)

    The sum is over the tasks seen so far, :math:`\sigma` is the softmax, :math:`z_k` are the logits of the classes seen
    in task k, and :math:`z^*` is the model at the end of the last experience. As in Avalanche's ``LwFPlugin``, the
    divergence is a mean over images, without the factor :math:`T^2` that some use. Unlike there, the old model is in
    evaluation mode, and a body is passed once for all heads. Under label flips it holds on to what is no longer true.

    Parameters
    ----------
    strength : float
        :math:`\lambda`, at least 0.
    temperature : float
        :math:`T`, above 0.
    **common
        The arguments of ``Naive``; ``settings.target`` must be a class.

    References
    ----------
    Z. Li, D. Hoiem, "Learning without Forgetting", 2016, https://arxiv.org/abs/1606.09282
    """

    def __init__(self, *, strength: float = 1.0, temperature: float = 2.0, **common: Unpack[Common]) -> None:
        super().__init__(**common)
        if not strength >= 0:
            raise ValueError(f"strength = {strength}: must be at least 0")
        if not temperature > 0:
            raise ValueError(f"temperature = {temperature}: must be above 0")
        if self.settings.target != "class":
            raise ValueError(f"target = '{self.settings.target}': LwF compares what is said about classes")
        self.strength = strength
        self.temperature = temperature
        self.teacher: Classifier | None = None
        self.known: dict[int, set[int]] = {}
        self._features: Any = None

    def forward(self) -> Tensor:
        """Compute the logits of the current mini-batch, and keep the features."""
        self._features = self.model.body(self.mb_x)
        return self.model.head(self._features, self.mb_task)  # type: ignore[no-any-return]

    def objective(self) -> Tensor:
        """Return the loss, and how far the model is from what it said."""
        loss = super().objective()
        if self.teacher is None:
            return loss
        with torch.no_grad():
            old_features = self.teacher.body(self.mb_x)
        for task, classes in self.known.items():
            columns = sorted(classes)
            with torch.no_grad():
                old = (self.teacher.head(old_features, task)[:, columns] / self.temperature).softmax(1)
            new = (self.model.head(self._features, task)[:, columns] / self.temperature).log_softmax(1)
            loss = loss + self.strength * kl_div(new, old, reduction="batchmean")
        return loss

    def state_dict(self) -> State:
        """Return also the old model, and the classes that it knows."""
        teacher = None if self.teacher is None else model_state(self.teacher)
        return super().state_dict() | {"teacher": teacher, "known": self.known}

    def load_state_dict(self, state: State) -> None:
        """Take over what ``state_dict`` returned."""
        super().load_state_dict(state)
        self.known = state["known"]
        self.teacher = None if state["teacher"] is None else self._copy()
        if self.teacher is not None:
            load_model_state(self.teacher, state["teacher"])

    def _copy(self) -> Classifier:
        copy: Classifier = deepcopy(self.model).eval().requires_grad_(False)
        return copy

    def _after_training_exp(self, **kwargs: Any) -> None:
        self.teacher = self._copy()
        self.known.setdefault(self.experience.task, set()).update(self.experience.classes_in_this_experience)
        super()._after_training_exp(**kwargs)
