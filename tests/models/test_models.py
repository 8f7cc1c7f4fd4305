"""Heads, bodies and their initial weights."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
import torch
from avalanche.models import SlimResNet18
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import cross_entropy
from torchvision.models import resnet18

from tamcl.errors import InputError
from tamcl.models import HEADS, MODELS
from tamcl.models.classifier import Classifier, build_classifier, check_classifier
from tamcl.registry import lookup
from tamcl.scenario import load_scenario
from tamcl.study.checks import check_parts
from tamcl.training.build import load_data
from tamcl.training.resources import Resources
from tests.models.test_language import OPTIONS


def size(network: nn.Module) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def convnext_size(patch: int, channels: int) -> int:
    """Parameters counted by hand."""
    widths, depths = (40, 80, 160, 320), (2, 2, 6, 2)
    count = (channels * patch**2 + 1 + 2) * widths[0] + 2 * widths[-1]
    for width, depth in zip(widths, depths, strict=True):
        # depthwise 7 x 7, norm, four times as wide, back, layer scale
        count += depth * ((49 + 1) * width + 2 * width + (width + 1) * 4 * width + (4 * width + 1) * width + width)
    for before, after in pairwise(widths):
        count += 2 * before + (4 * before + 1) * after
    return count


TASKS = {0: (0, 3), 1: (1, 2)}


class Case(NamedTuple):
    """A model, the images it is built for, and what a body of that size must have."""

    name: str
    options: dict[str, object]
    shape: tuple[int, int, int]
    features: int
    parameters: int


CASES = {
    "mlp": Case("mlp", {"hidden": [6, 5]}, (1, 4, 4), 5, 16 * 6 + 6 + 6 * 5 + 5),
    "mlp[leaky]": Case("mlp", {"hidden": [6], "activation": "leaky_relu"}, (1, 4, 4), 6, 16 * 6 + 6),
    "lenet": Case("lenet", {}, (1, 28, 28), 84, (25 + 1) * 6 + (150 + 1) * 16 + (256 + 1) * 120 + (120 + 1) * 84),
    "lenet[3x32]": Case("lenet", {}, (3, 32, 32), 84, (75 + 1) * 6 + (150 + 1) * 16 + (400 + 1) * 120 + (120 + 1) * 84),
    "slim_resnet18": Case("slim_resnet18", {}, (3, 32, 32), 160, 496_680 - 161 * 100),
    "slim_resnet18[64]": Case("slim_resnet18", {}, (3, 64, 64), 640, 496_680 - 161 * 100),
    "slim_resnet18[1x28]": Case("slim_resnet18", {}, (1, 28, 28), 160, 496_680 - 161 * 100 - 2 * 9 * 20),
    "slim_resnet18[2]": Case(
        "slim_resnet18", {"convs_per_block": 2}, (3, 32, 32), 160, size(SlimResNet18(100)) - 161 * 100
    ),
    "pc_cnn": Case("pc_cnn", {}, (3, 64, 64), 640, 2_873_640 - 641 * 200),
    "pc_cnn[1x28]": Case("pc_cnn", {}, (1, 28, 28), 640, 1600 + 3 * 1441 * 160 + (2 * 2 * 160 + 1) * 640 + 641 * 640),
    "resnet18": Case("resnet18", {}, (3, 32, 32), 512, size(resnet18()) - 513_000 - 64 * 3 * (49 - 9)),
    "resnet18[large]": Case("resnet18", {"stem": "large"}, (3, 64, 64), 512, size(resnet18()) - 513_000),
    "resnet18[1x28]": Case("resnet18", {}, (1, 28, 28), 512, size(resnet18()) - 513_000 - 64 * (3 * 49 - 9)),
    "vit_tiny": Case("vit_tiny", {"depth": 2}, (1, 28, 28), 192, (16 + 1 + 49 + 1 + 1 + 2) * 192 + 2 * 444_864),
    "convnext_atto": Case("convnext_atto", {}, (1, 28, 28), 320, convnext_size(patch=2, channels=1)),
    "convnext_atto[4]": Case("convnext_atto", {"patch": 4}, (3, 64, 64), 320, convnext_size(patch=4, channels=3)),
}
"""Parameters as published for the whole network, less the published head, or counted by hand."""


def build(name: str = "mlp", head: str = "masked", seed: int = 0) -> Classifier:
    case = CASES[name]
    return build_classifier(case.name, head, case.options, shape=case.shape, classes=4, tasks=TASKS, seed=seed)


def images(name: str, count: int) -> Tensor:
    return torch.randn(count, *CASES[name].shape, generator=torch.Generator().manual_seed(0))


def test_every_model_has_a_case() -> None:
    assert {case.name for case in CASES.values()} | set(OPTIONS) == set(MODELS)


@pytest.mark.parametrize("name", CASES)
def test_body_has_the_stated_size_and_width(name: str) -> None:
    case = CASES[name]
    body = lookup(MODELS, case.name)(case.shape, **case.options)
    assert size(body) == case.parameters
    assert body.eval()(images(name, 2)).shape == (2, case.features) == (2, body.features)


def test_leaky_relu_lets_a_hundredth_of_negative_numbers_through() -> None:
    body = lookup(MODELS, "mlp")((1, 2, 2), hidden=[3, 2], activation="leaky_relu").double()
    x, (first, second) = torch.randn(50, 4).double(), (module for module in body.modules() if type(module) is nn.Linear)

    def leaky(values: Tensor) -> Tensor:
        return torch.where(values > 0, values, values / 100)

    hidden = leaky(x @ first.weight.T + first.bias)
    torch.testing.assert_close(body(x.view(50, 1, 2, 2)), leaky(hidden @ second.weight.T + second.bias))


def test_initial_weights_and_biases_of_an_mlp_are_uniform_within_one_over_the_root_of_the_inputs() -> None:
    case = {"shape": (1, 28, 28), "classes": 10, "tasks": {0: tuple(range(10))}}
    model = build_classifier("mlp", "single", {"hidden": [300, 150]}, seed=0, **case)
    for layer in (module for module in model.modules() if isinstance(module, nn.Linear)):
        bound = layer.in_features**-0.5
        for values in (layer.weight.detach(), layer.bias.detach()):
            assert values.abs().max() <= bound
            # of a uniform distribution the mean square is a third of the bound's; 10 biases are the fewest
            assert values.square().mean() / bound**2 == pytest.approx(1 / 3, abs=4 * (4 / 45 / values.numel()) ** 0.5)


def test_published_sizes_of_whole_networks() -> None:
    tasks = {0: tuple(range(200))}
    slim = build_classifier("slim_resnet18", "single", {}, shape=(3, 32, 32), classes=100, tasks=tasks, seed=0)
    pc = build_classifier("pc_cnn", "single", {}, shape=(3, 64, 64), classes=200, tasks=tasks, seed=0)
    assert size(slim) == 496_680
    assert size(pc) == 2_873_640
    vit = lookup(MODELS, "vit_tiny")((3, 224, 224), patch=16)
    assert size(vit) + 193 * 1000 == 5_717_416  # DeiT-Ti


@pytest.mark.parametrize("name", CASES)
def test_a_single_example_can_be_trained_on(name: str) -> None:
    model = build(name).train()
    cross_entropy(model(images(name, 1), 0), torch.tensor([3])).backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in model.parameters())


@pytest.mark.parametrize("name", CASES)
def test_relu_layers_are_modules_that_diagnostics_find(name: str) -> None:
    body = build(name).body
    found = [module for module in body.modules() if isinstance(module, nn.ReLU)]
    assert bool(found) != (name == "mlp[leaky]" or CASES[name].name in ("vit_tiny", "convnext_atto"))


def test_slim_resnet18_with_two_convolutions_is_that_of_gem() -> None:
    """The weights of Avalanche's network, in the order they are made, give the same features."""
    theirs, ours = SlimResNet18(100).eval(), lookup(MODELS, "slim_resnet18")((3, 32, 32), convs_per_block=2).eval()
    weights = [value for name, value in theirs.state_dict().items() if not name.startswith("linear")]
    ours.load_state_dict(dict(zip(ours.state_dict(), weights, strict=True)))
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = theirs(x)
    torch.testing.assert_close(theirs.linear(ours(x)), expected, rtol=1e-4, atol=1e-5)


def test_slim_resnet18_with_one_convolution_is_that_of_tag() -> None:
    """Block by block: convolution, ReLU, batch norm, shortcut added, ReLU, batch norm."""
    body = lookup(MODELS, "slim_resnet18")((3, 32, 32)).double()
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)).double()
    state = iter(body.state_dict().values())

    def conv(x: Tensor, stride: int = 1) -> Tensor:
        weight = next(state)
        return functional.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    def norm(x: Tensor) -> Tensor:
        scale, shift, *_ = (next(state) for _ in range(5))
        mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), unbiased=False, keepdim=True)
        return (x - mean) / (variance + 1e-5).sqrt() * scale[:, None, None] + shift[:, None, None]

    h = norm(conv(x)).relu()
    for number, width in enumerate([20, 20, 40, 40, 80, 80, 160, 160]):
        stride = 2 if number in (2, 4, 6) else 1
        residual = norm(conv(h, stride).relu())
        shortcut = h if h.shape[1] == width else conv(h, stride)
        h = norm((residual + shortcut).relu())
    torch.testing.assert_close(body.train()(x), h.mean((2, 3)), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    ("name", "shape", "options", "message"),
    [
        ("mlp", (1, 8, 8), {"activation": "gelu"}, "activation = 'gelu': must be 'relu' or 'leaky_relu'"),
        ("lenet", (1, 8, 8), {}, "images of 8 x 8 pixels: lenet needs at least 16 x 16"),
        ("slim_resnet18", (3, 24, 32), {}, "images of 24 x 32 pixels: slim_resnet18 needs at least 25 x 25"),
        ("slim_resnet18", (3, 32, 32), {"convs_per_block": 3}, "convs_per_block = 3: must be 1 or 2"),
        ("resnet18", (1, 8, 8), {}, "images of 8 x 8 pixels: stem = 'small' needs at least 9 x 9"),
        ("resnet18", (3, 32, 32), {"stem": "large"}, "images of 32 x 32 pixels: stem = 'large' needs at least 33 x 33"),
        ("resnet18", (3, 32, 32), {"stem": "big"}, "stem = 'big': must be 'small' or 'large'"),
        (
            "vit_tiny",
            (1, 28, 28),
            {"patch": 8},
            "patch = 8: must divide a square image, and this one has 28 x 28 pixels",
        ),
        ("vit_tiny", (1, 28, 28), {"depth": 0}, "depth = 0: must be at least 1"),
        ("convnext_atto", (1, 8, 8), {}, "patch = 2: images of 8 x 8 pixels must be 8 patches high and wide"),
    ],
)
def test_images_and_options_that_do_not_fit_are_refused_in_one_line(
    name: str, shape: tuple[int, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        lookup(MODELS, name)(shape, **options)


@pytest.mark.parametrize(
    ("name", "shape"), [("lenet", (1, 16, 16)), ("slim_resnet18", (1, 25, 25)), ("resnet18", (1, 9, 9))]
)
def test_the_smallest_images_can_be_trained_on_one_by_one(name: str, shape: tuple[int, ...]) -> None:
    body = lookup(MODELS, name)(shape).train()
    assert body(torch.randn(1, *shape)).shape == (1, body.features)


@pytest.mark.parametrize("head", HEADS)
def test_a_task_for_each_example_gives_the_logits_of_one_task_at_a_time(head: str) -> None:
    model, x, tasks = build(head=head), images("mlp", 7), torch.tensor([1, 0, 0, 1, 1, 0, 1])
    mixed = model(x, tasks)
    for task in TASKS:
        torch.testing.assert_close(mixed[tasks == task], model(x[tasks == task], task), rtol=1e-6, atol=1e-7)
    labels = torch.tensor([1, 0, 3, 2, 2, 3, 1])
    cross_entropy(mixed, labels).backward()
    gradients = [weight.grad.clone() for weight in model.parameters()]
    model.zero_grad()
    losses = [cross_entropy(model(x[tasks == task], task), labels[tasks == task], reduction="sum") for task in TASKS]
    (sum(losses) / 7).backward()
    for gradient, weight in zip(gradients, model.parameters(), strict=True):
        torch.testing.assert_close(gradient, weight.grad, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", ["mlp", "lenet", "slim_resnet18", "pc_cnn", "vit_tiny", "convnext_atto"])
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


class LazyBody(nn.Module):
    """Sizes of layers come from the first image, and with them the weights."""

    features = 5

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.LazyLinear(5), nn.LazyBatchNorm1d(), nn.Dropout(), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]


class LateBody(nn.Module):
    """A layer is made in the first forward pass, after the optimizer."""

    features = 16

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layer: nn.Module | None = None

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        self.layer = self.layer or nn.Linear(x.shape[1], 16)
        return self.layer(x)  # type: ignore[no-any-return]


def build_own(body: type[nn.Module], seed: int = 0) -> Classifier:
    name = f"{__name__}:{body.__name__}"
    return build_classifier(name, "single", {}, shape=(1, 4, 4), classes=4, tasks={0: (0, 1, 2, 3)}, seed=seed)


def test_lazy_layers_have_shape_and_weights_of_the_seed_before_an_optimizer_is_made() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = build_own(LazyBody)
    assert torch.equal(torch.get_rng_state(), before)
    weight, mean = first.body.layers[1].weight, first.body.layers[2].running_mean
    assert weight.shape == (5, 16)
    assert weight.std() > 0
    assert torch.equal(mean, torch.zeros(5))  # nothing was learnt from the pass that made them
    assert all(module.training for module in first.modules())
    torch.manual_seed(2)  # as another arm's optimizer may draw
    assert torch.equal(build_own(LazyBody).body.layers[1].weight, weight)
    assert not torch.equal(build_own(LazyBody, seed=1).body.layers[1].weight, weight)


def test_parameters_that_no_optimizer_would_have_are_named() -> None:
    for name in ("mlp", "slim_resnet18"):
        model = build(name)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        check_classifier(model, shape=CASES[name].shape, tasks=TASKS)
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    with pytest.raises(InputError, match=r"makes the parameters body\.layer\.weight, body\.layer\.bias, which no"):
        check_classifier(build_own(LateBody), shape=(1, 4, 4), tasks={0: (0, 1, 2, 3)})
    scenario = load_scenario("label_flip_digits", [f"model={{name='{__name__}:LateBody'}}"])
    with pytest.raises(InputError, match=r"^model: .*:LateBody: its first forward pass makes"):
        check_parts(scenario, load_data("digits", Resources()))
