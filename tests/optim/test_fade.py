"""FADE against its reference, and the curvature that it takes from a model."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from tamcl.errors import InputError
from tamcl.models.classifier import build_classifier
from tamcl.optim import FADE
from tamcl.optim.fade import CURVATURE
from tests.references.fade import FADEReference
from tests.references.trajectory import TWO_GROUPS, assert_follows, gradients, parameters, set_gradients, two_groups

SEQUENCES = {"dense": gradients(120), "missing": gradients(120, missing=True), "zeros": gradients(120, zeros=True)}
LAST = 3  # of the shapes of parameters() this is the last of more than one dimension


@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize(
    "options", [{}, {"meta_lr": 1.0, "initial_log_decay": -2.0, "weight_decay": 0.1, "curvature": 3.0}], ids=str
)
def test_follows_the_equations(options, sequence):
    curvature = options.get("curvature", 0.0)

    def make(params):
        for param in params:
            setattr(param, CURVATURE, torch.full_like(param, curvature))
        return FADE(params, lr=0.01, **{key: value for key, value in options.items() if key != "curvature"})

    reference = FADEReference([p.detach().numpy() for p in parameters()], 0.01, LAST, **options)
    assert_follows(make, reference, SEQUENCES[sequence])


def test_follows_the_equations_with_two_groups():
    reference = FADEReference([p.detach().numpy() for p in parameters()], last=LAST, **TWO_GROUPS)
    assert_follows(lambda params: FADE(two_groups(params)), reference, SEQUENCES["missing"])


def classifier(head="single", classes=4):
    tasks = {0: (0, 1), 1: (2, 3)} if head != "single" else {0: tuple(range(classes))}
    return build_classifier("mlp", head, {"hidden": [5]}, shape=(1, 2, 3), classes=classes, tasks=tasks, seed=0)


def test_a_layer_and_its_bias_are_the_last():
    model = classifier()
    optimizer = FADE(model.parameters(), lr=0.1)
    set_gradients(params := list(model.parameters()), [np.ones(param.shape) for param in model.parameters()])
    optimizer.step()
    assert [bool(optimizer.state[param]) for param in params] == [False, False, True, True]


def test_the_order_of_groups_changes_nothing():
    """The groups are those of an arm that has its head first; a copy knows the last layer too."""
    x, y = torch.randn(4, 1, 2, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 3])
    trained = []
    for split in (False, True):
        model = classifier()
        weight, bias, *head = model.parameters()
        groups = [{"params": part} for part in ([head[1]], [head[0], bias], [weight])]
        optimizer = FADE(groups if split else model.parameters(), lr=0.5, meta_lr=1.0, initial_log_decay=-2.0)
        optimizer.watch(model)
        optimizer = copy.deepcopy(optimizer, {id(param): param for param in model.parameters()})
        for _ in range(3):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        trained.append([param.detach() for param in model.parameters()])
    for one, other in zip(*trained, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_the_curvature_is_that_of_the_cross_entropy():
    """For one example it is the diagonal of the Hessian, by autograd; for more the product of two means."""
    model = classifier().double()
    optimizer = FADE(model.parameters(), lr=0.1)
    optimizer.watch(model)
    optimizer.watch(model)
    weight, bias = list(model.parameters())[-2:]
    x = torch.randn(1, 1, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    model(x)
    features = model.body(x).detach()

    def loss(flat):
        logits = features @ flat[:20].view(4, 5).T + flat[20:]
        return nn.functional.cross_entropy(logits, torch.tensor([2]))

    flat = torch.cat([weight.detach().flatten(), bias.detach()])
    diagonal = torch.autograd.functional.hessian(loss, flat).diag()
    torch.testing.assert_close(torch.cat([getattr(weight, CURVATURE).flatten(), getattr(bias, CURVATURE)]), diagonal)

    x = torch.randn(6, 1, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    p = model(x).detach().numpy()
    p = np.exp(p) / np.exp(p).sum(1, keepdims=True)
    squares = model.body(x).detach().numpy() ** 2
    expected = np.outer((p * (1 - p)).mean(0), squares.mean(0))
    np.testing.assert_allclose(getattr(weight, CURVATURE).numpy(), expected, rtol=1e-12)
    model.eval()
    model(torch.ones_like(x))
    np.testing.assert_allclose(getattr(weight, CURVATURE).numpy(), expected, rtol=1e-12, err_msg="a test counts for it")


def test_a_class_outside_the_task_has_no_curvature():
    model = classifier("masked")
    FADE(model.parameters(), lr=0.1).watch(model)
    output = model(x := torch.ones(2, 1, 2, 3), 1)
    p = output[:, 2:].softmax(1)
    bias = getattr(list(model.parameters())[-1], CURVATURE)
    torch.testing.assert_close(bias, torch.cat([torch.zeros(2), (p * (1 - p)).mean(0).detach()]))
    model(x * torch.nan, 0)


@pytest.mark.parametrize(("head", "classes", "task"), [("multi", 4, 0), ("multi", 4, 1), ("single", 1, 0)])
def test_an_output_that_is_not_the_last_layers_is_refused(head, classes, task):
    model = classifier(head, classes)
    FADE(model.parameters(), lr=0.1).watch(model)
    with pytest.raises(InputError, match="FADE knows the curvature where a model's output is that of its last layer"):
        model(torch.ones(2, 1, 2, 3), task)


def test_a_model_without_a_linear_layer_at_its_end_is_refused():
    model = nn.Sequential(nn.Linear(2, 3), nn.Conv1d(1, 1, 1))
    with pytest.raises(InputError, match=r"FADE: the last layer of the model must be a torch.nn.Linear"):
        FADE(model.parameters(), lr=0.1).watch(model)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"meta_lr": -1.0}, "meta_lr must be a number >= 0, got -1.0"),
        ({"initial_log_decay": 0.5}, r"initial_log_decay must be in \[-15.0, 0.0\], got 0.5"),
    ],
    ids=str,
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        FADE(parameters(), lr=0.1, **options)
