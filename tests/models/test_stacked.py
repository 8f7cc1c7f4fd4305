"""Models trained as one: the gradients of autograd, and the same bits in every grouping."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tamcl.models.classifier import Classifier, build_classifier
from tamcl.models.stacked import StackedMLP, rows_for
from tamcl.models.weights import StackedWeights, passes

TASKS = {"single": {0: tuple(range(10))}, "masked": {0: (0, 1, 5), 1: (2, 3, 4, 6)}}
TASKS["multi"] = TASKS["masked"]


def build(
    seeds: Sequence[int],
    head: str = "single",
    hidden: Sequence[int] = (100, 100),
    size: int = 8,
    activation: str = "relu",
) -> list[Classifier]:
    sizes = {"shape": (1, size, size), "classes": 10, "tasks": TASKS[head]}
    options = {"hidden": hidden, "activation": activation}
    return [build_classifier("mlp", head, options, seed=seed, **sizes) for seed in seeds]


def gradient_of(logits: Tensor, labels: Tensor) -> Tensor:
    """The gradient of the mean cross entropy: softmax minus one hot, by the size of the mini-batch."""
    one_hot = torch.nn.functional.one_hot(labels, logits.shape[-1])
    return (logits.softmax(-1) - one_hot) / logits.shape[1]


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
@pytest.mark.parametrize("head", TASKS)
def test_gradients_are_those_of_autograd(head: str, activation: str) -> None:
    stacked, models = (build(range(3), head, activation=activation) for _ in range(2))
    for model in [*stacked, *models]:
        model.double()
    stack = StackedMLP(stacked)
    for task in TASKS[head]:
        images = torch.rand(3, 5, 1, 8, 8, dtype=torch.float64)
        labels = torch.tensor(TASKS[head][task])[torch.randint(len(TASKS[head][task]), (3, 5))]
        logits = stack.forward(images, task)
        stack.backward(gradient_of(logits, labels))
        for place, model in enumerate(models):
            model.zero_grad()
            cross_entropy(model(images[place], task), labels[place]).backward()
            for (name, param), expected in zip(stacked[place].named_parameters(), model.parameters(), strict=True):
                assert (param.grad is None) == (expected.grad is None), name
                if expected.grad is not None:
                    torch.testing.assert_close(param.grad, expected.grad, rtol=0, atol=1e-14)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_what_is_compiled_gives_the_gradients_of_autograd(activation: str) -> None:
    models = [model.double() for model in build(range(3), activation=activation)]
    expected = [model.double() for model in build(range(3), activation=activation)]
    images, labels = torch.rand(3, 5, 1, 8, 8, dtype=torch.float64), torch.randint(10, (3, 5))
    weights = StackedWeights(models, rows=3)

    def measure(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return logits.sum((1, 2)), logits.argmax(2), gradient_of(logits, labels)

    _, _, gradients = passes(weights.flat, weights.shapes, images, None, measure, weights.slope)
    for place, model in enumerate(expected):
        cross_entropy(model(images[place], 0), labels[place]).backward()
        for param, found in zip(model.parameters(), gradients, strict=True):
            torch.testing.assert_close(found[place], param.grad.flatten(), rtol=0, atol=1e-14)


@pytest.mark.parametrize(("hidden", "size"), [((100, 100), 8), ((100, 100), 28), ((5,), 5), ((300, 150), 28)])
@pytest.mark.parametrize("batch", [1, 7, 10, 64])
def test_every_grouping_gives_the_same_bits(hidden: tuple[int, ...], size: int, batch: int) -> None:
    """60 steps of plain descent with 1 to 16 models; the one that is followed stands first, last and in the middle."""
    generator = torch.Generator().manual_seed(0)
    rows = rows_for(build([0], hidden=hidden, size=size)[0], batch)
    images = torch.randn(60, 17, rows, 1, size, size, generator=generator)
    labels = torch.randint(10, (60, 17, rows), generator=generator)

    def train(members: list[int]) -> list[list[Tensor]]:
        models = build(members, hidden=hidden, size=size)
        stack = StackedMLP(models)
        for x, y in zip(images[:, members], labels[:, members], strict=True):
            stack.backward(gradient_of(stack.forward(x, 0), y))
            with torch.no_grad():
                for model in models:
                    for param in model.parameters():
                        param.sub_(0.05 * param.grad)
        return [list(model.parameters()) for model in models]

    (alone,) = train([0])
    for members in ([0, 1], [3, 2, 0], [*range(8, 0, -1), 0], [*range(16)], [5, 0, 6, 7, 9]):
        together = train(members)[members.index(0)]
        assert all(map(torch.equal, alone, together)), members


def test_models_are_whole_again_when_taken_apart() -> None:
    models = build(range(2))
    before = [param.clone() for model in models for param in model.parameters()]
    stack = StackedMLP(models)
    shared = {param.untyped_storage().data_ptr() for model in models for param in model.parameters()}
    stack.take_apart()
    own = {param.untyped_storage().data_ptr() for model in models for param in model.parameters()}
    assert (len(shared), len(own)) == (1, 12)
    assert all(map(torch.equal, before, (param for model in models for param in model.parameters())))
