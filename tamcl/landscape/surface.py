"""The loss of a model at any weights, on some examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy, mse_loss

from tamcl.diagnostics.hessian import top_of_hessian
from tamcl.diagnostics.sharpness import sharpness
from tamcl.diagnostics.update import undisturbed
from tamcl.landscape.normalization import renew_statistics
from tamcl.models import Classifier
from tamcl.strategies.evaluation import evaluate
from tamcl.streams.benchmark import Experience, ExperienceStream
from tamcl.training.weights import Weights, load_weights

BATCH = 100
"""Examples of a mini-batch by which statistics of batch normalisation are made anew."""


class Height(NamedTuple):
    """What the model does at some weights, over all examples of a part of the data."""

    loss: float
    accuracy: float
    """nan where numbers are learnt."""


class Surface:
    """Loss and accuracy of a model at any weights, with the statistics of batch normalisation made anew at each.

    Parameters
    ----------
    model : Classifier
        It is changed.
    train, test : sequence of Experience
        The examples. Statistics are made anew by those of training.
    device : torch.device

    Raises
    ------
    ValueError
        From ``heights`` and ``height``, if weights are not of this model.
    """

    def __init__(
        self, model: Classifier, train: Sequence[Experience], test: Sequence[Experience], device: torch.device
    ) -> None:
        self.model, self.parts, self._device = model.to(device).eval(), {"train": train, "test": test}, device

    def heights(self, weights: Weights) -> dict[str, Height]:
        """Return what the model does on each part of the data, with statistics made anew."""
        load_weights(self.model, weights)
        renew_statistics(self.model, self._passes())
        return {part: self._height(experiences) for part, experiences in self.parts.items()}

    def height(self, weights: Weights, part: str) -> Height:
        """Return what the model does on a part of the data, with the statistics that are among the weights."""
        load_weights(self.model, weights)
        return self._height(self.parts[part])

    def curvature(self, weights: Weights) -> tuple[float, float]:
        """Return the largest eigenvalue of the Hessian and SAM's sharpness, as the diagnostics measure them.

        Both are of the training examples, in evaluation mode, with the statistics that are among the weights.
        """
        load_weights(self.model, weights)
        leaves = {name: param.detach() for name, param in self.model.named_parameters() if param.requires_grad}
        return top_of_hessian(self._loss, leaves), float(sharpness(self._loss, leaves))

    def _height(self, experiences: Sequence[Experience]) -> Height:
        found = evaluate(self.model, experiences, self._device)
        n = np.array([each.n for each in found])
        return Height(
            *(
                float(n @ np.array(values) / n.sum())
                for values in ([each.loss for each in found], [each.accuracy for each in found])
            )
        )

    def _passes(self) -> Iterator[Callable[[], object]]:
        """Yield passes of mini-batches of about the same size, each spread over its experience."""
        for experience in self.parts["train"]:
            count = max(1, len(experience.index) // BATCH)
            for place in range(count):
                rows = torch.arange(place, len(experience.index), count)
                yield partial(self._pass, experience, rows)

    def _pass(self, experience: Experience, rows: Tensor) -> None:
        self.model(experience.batch(rows).to(self._device), experience.task)

    def _loss(self, weights: Mapping[str, Tensor]) -> Tensor:
        """Return the mean loss over all training examples."""
        with undisturbed(self.model):
            found = [self._sum(weights, experience) for experience in self.parts["train"]]
        return torch.stack([loss for loss, _ in found]).sum() / sum(count for _, count in found)

    def _sum(self, weights: Mapping[str, Tensor], experience: Experience) -> tuple[Tensor, int]:
        """Return the sum of the losses of an experience, and of how many examples, or of text tokens, it is."""
        rows = torch.arange(len(experience.index))
        images, labels = experience.batch(rows).to(self._device), experience.targets(rows).flatten().to(self._device)
        output = functional_call(self.model, dict(weights), (images, experience.task))
        if labels.is_floating_point():
            return mse_loss(output[:, 0], labels, reduction="sum"), len(labels)
        return cross_entropy(output, labels, reduction="sum"), len(labels)


def thinned(experience: Experience, count: int) -> Experience:
    """Return an experience with some of its examples, evenly spread over all."""
    length = len(experience.index)
    rows = torch.arange(min(count, length)) * length // min(count, length)
    index, labels = experience.index[rows].numpy(), experience.labels[rows].numpy()
    return Experience(experience.inputs, index, labels, experience.task, experience.current_experience)


def examples(stream: ExperienceStream, positions: Sequence[int], count: int) -> list[Experience]:
    """Return experiences of a stream with no more than so many examples together, and at least one of each."""
    return [thinned(stream[position], max(1, count // len(positions))) for position in positions]
