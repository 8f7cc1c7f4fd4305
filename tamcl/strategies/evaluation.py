"""Accuracy on every experience's test set from one pass over the test images."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tamcl.models import Classifier
from tamcl.streams.benchmark import ExperienceStream

_BATCH = 500


class Evaluation(NamedTuple):
    """Result on one experience's test set."""

    experience: int
    n: int
    accuracy: float
    loss: float


@torch.inference_mode()
def evaluate(model: Classifier, stream: ExperienceStream, device: torch.device) -> list[Evaluation]:
    """Test a model on every experience of a stream.

    Test images that several experiences share go through the body once. Nothing is drawn at random and the model is
    left in the mode it was in, so that training goes on as if there had been no evaluation.
    """
    training = model.training
    model.eval()
    experiences = list(stream)
    images, position = torch.cat([experience.index for experience in experiences]).unique(return_inverse=True)
    features = torch.cat([model.body(stream.images.batch(index).to(device)) for index in images.split(_BATCH)])
    sizes = [len(experience.index) for experience in experiences]
    results = []
    for number, (experience, rows) in enumerate(zip(experiences, position.split(sizes), strict=True)):
        logits = model.head(features[rows.to(device)], experience.task)
        results.append(_measure(number, logits, experience.labels.to(device)))
    model.train(training)
    return results


def _measure(experience: int, logits: Tensor, labels: Tensor) -> Evaluation:
    accuracy = (logits.argmax(1) == labels).double().mean().item()
    return Evaluation(experience, len(labels), accuracy, cross_entropy(logits, labels).item())
