"""Accuracy and loss on the experiences' test sets from one pass over the test images, or the validation text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from tamcl.models import Classifier
from tamcl.strategies.heartbeat import beat
from tamcl.streams.benchmark import Experience, ExperienceStream
from tamcl.streams.windows import Windows

_BATCH, _BLOCK_BYTES = 500, 2**21
"""Images that go through the body at once: so many, or fewer if they are large, so that they stay in cache."""


_LOGITS_BYTES = 2**24
"""Of the tokens of text that go through the head at once: a vocabulary may be large."""


class Evaluation(NamedTuple):
    """Result on one experience's test set, mean over ``n`` images or tokens; numbers have no accuracy (nan)."""

    experience: int
    n: int
    accuracy: float
    loss: float


@torch.no_grad()
def evaluate(
    model: Classifier,
    stream: ExperienceStream | Sequence[Experience],
    device: torch.device,
    only: Iterable[int] | None = None,
) -> list[Evaluation]:
    """Test a model on the experiences of a stream.

    Test images that several experiences share go through the body once. Nothing is drawn at random and the model is
    left in the mode it was in, so that training goes on as if there had been no evaluation. A network may keep a tensor
    from its first forward pass: it is an ordinary one, as an inference tensor would not be.

    Parameters
    ----------
    model : Classifier
    stream : ExperienceStream or sequence of Experience
    device : torch.device
    only : iterable of int, optional
        Positions of the experiences to test; all of them if absent.

    Raises
    ------
    ValueError
        If an experience has no test images: a mean over none would read as divergence.
    """
    sharing: dict[object, list[Experience]] = {}
    for position in range(len(stream)) if only is None else only:
        experience = stream[position]
        if not len(experience.index):
            raise ValueError(f"experience {position} has no test images")
        sharing.setdefault(experience.inputs, []).append(experience)
    modes = [(module, module.training) for module in model.modules()]  # a part of a model may stay in test mode
    model.eval()
    try:
        results = [result for experiences in sharing.values() for result in _evaluate(model, experiences, device)]
    finally:
        for module, training in modes:
            module.training = training
    return sorted(results)


def _evaluate(model: Classifier, experiences: Sequence[Experience], device: torch.device) -> list[Evaluation]:
    """Test a model on experiences that turn the same image into the same input."""
    inputs = experiences[0].inputs
    if isinstance(inputs, Windows):
        return [_evaluate_text(model, experience, device) for experience in experiences]
    images, position = torch.cat([experience.index for experience in experiences]).unique(return_inverse=True)
    size = max(1, min(_BATCH, _BLOCK_BYTES // (4 * inputs.size)))
    features = torch.cat([_features(model, inputs.batch(index).to(device)) for index in images.split(size)])
    sizes = [len(experience.index) for experience in experiences]
    return [
        _measure(experience, model.head(features[rows.to(device)], experience.task), device)
        for experience, rows in zip(experiences, position.split(sizes), strict=True)
    ]


def _evaluate_text(model: Classifier, experience: Experience, device: torch.device) -> Evaluation:
    """Test a model on the validation text of one experience, some windows at a time."""
    loss, correct, n = 0.0, 0, 0
    rows = torch.arange(len(experience.index))
    outputs = model.head(model.body(experience.batch(rows[:1]).to(device)), experience.task).numel()  # of a window
    for part in rows.split(max(1, min(_BATCH, _LOGITS_BYTES // (4 * outputs)))):
        beat()
        logits = model(experience.batch(part).to(device), experience.task)
        tokens = experience.targets(part).flatten().to(device)
        loss += cross_entropy(logits, tokens, reduction="none").double().sum().item()
        correct += int((logits.argmax(1) == tokens).sum())
        n += len(tokens)
    return Evaluation(experience.current_experience, n, correct / n, loss / n)


def _features(model: Classifier, images: Tensor) -> Tensor:
    beat()
    features: Tensor = model.body(images)
    return features


def _measure(experience: Experience, output: Tensor, device: torch.device) -> Evaluation:
    labels = experience.labels.to(device)
    number = experience.current_experience
    if labels.is_floating_point():
        return Evaluation(number, len(labels), float("nan"), mse_loss(output[:, 0], labels).item())
    accuracy = (output.argmax(1) == labels).double().mean().item()
    return Evaluation(number, len(labels), accuracy, cross_entropy(output, labels).item())
