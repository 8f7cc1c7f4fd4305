"""Heads, bodies and their initial weights."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from tamcl.models import HEADS, MODELS
from tamcl.models.classifier import Classifier, build_classifier
from tamcl.registry import lookup

TASKS = {0: (0, 3), 1: (1, 2)}
ARGUMENTS: dict[str, dict[str, object]] = {"mlp": {"hidden": [6, 5]}}
PARAMETERS = {"mlp": 16 * 6 + 6 + 6 * 5 + 5}


def build(name: str = "mlp", head: str = "masked", seed: int = 0) -> Classifier:
    return build_classifier(name, head, ARGUMENTS[name], shape=(1, 4, 4), classes=4, tasks=TASKS, seed=seed)


def test_every_model_has_a_case() -> None:
    assert set(ARGUMENTS) == set(PARAMETERS) == set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_body_has_the_stated_size_and_width(name: str) -> None:
    body = lookup(MODELS, name)((1, 4, 4), **ARGUMENTS[name])
    assert sum(parameter.numel() for parameter in body.parameters()) == PARAMETERS[name]
    assert body(torch.zeros(3, 1, 4, 4)).shape == (3, body.features)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", MODELS)
def test_initial_weights_belong_to_the_seed_and_leave_the_global_generator_alone(name: str, head: str) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, same, other = build(name, head, 0), build(name, head, 0), build(name, head, 1)
    assert torch.equal(torch.get_rng_state(), before)
    weights = [torch.cat([p.flatten() for p in model.parameters()]) for model in (first, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize(("head", "outside"), [("single", False), ("masked", True), ("multi", True)])
def test_logits_outside_the_task_are_minus_infinity_where_the_head_knows_tasks(head: str, outside: bool) -> None:
    model = build(head=head)
    for task, own in TASKS.items():
        logits = model(torch.randn(7, 1, 4, 4, generator=torch.Generator().manual_seed(0)), task)
        assert logits.shape == (7, 4)
        assert torch.isfinite(logits[:, list(own)]).all()
        others = [label for label in range(4) if label not in own]
        assert torch.isneginf(logits[:, others]).all() == outside


@pytest.mark.parametrize("head", ["masked", "multi"])
def test_loss_is_that_of_the_tasks_own_logits(head: str) -> None:
    model = build(head=head)
    x, y = torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([1, 2, 2, 1, 1])
    logits = model(x, 1)
    own = torch.log_softmax(logits[:, [1, 2]], 1)[torch.arange(5), y - 1]
    assert cross_entropy(logits, y).item() == pytest.approx(-own.mean().item())


def test_another_tasks_weights_get_zero_gradients_in_a_masked_head_and_none_in_a_multi_head() -> None:
    masked, multi = build(head="masked"), build(head="multi")
    for model in (masked, multi):
        cross_entropy(model(torch.ones(2, 1, 4, 4), 0), torch.tensor([0, 3])).backward()
    gradient = masked.head.linear.weight.grad
    assert gradient[[1, 2]].abs().sum() == 0
    assert gradient[[0, 3]].abs().sum() > 0
    assert multi.head.linears["0"].weight.grad.abs().sum() > 0
    assert multi.head.linears["1"].weight.grad is None


def test_hidden_layers_must_have_a_width() -> None:
    for hidden in ([], [0], [5, -1]):
        with pytest.raises(ValueError, match="hidden = "):
            lookup(MODELS, "mlp")((1, 4, 4), hidden=hidden)
