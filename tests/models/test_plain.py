"""Modules that were not written for tamcl, as models."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from tamcl.errors import InputError
from tamcl.models.classifier import Classifier, build_classifier
from tamcl.models.plain import arguments
from tamcl.scenario import load_scenario
from tamcl.study.checks import check_parts
from tamcl.training.build import load_data
from tamcl.training.resources import Resources


class Linear(nn.Module):
    """A user's own network, which knows nothing of tamcl."""

    def __init__(self, num_classes: int, bias: bool = True) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes, bias=bias))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]


class Dropping(Linear):
    """Hands on what it is given."""

    def __init__(self, *args: Any, rate: float = 0.5, **options: Any) -> None:
        super().__init__(*args, **options)
        self.dropout = nn.Dropout(rate)


class Late(nn.Module):
    """The shape comes second."""

    def __init__(self, width: int = 3, shape: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.layer = nn.Linear(shape[1] * shape[2], width)
        self.features = width

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(1))  # type: ignore[no-any-return]


def narrow(width: int = 4) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))


def silent(path: str = ""):  # type: ignore[no-untyped-def]
    raise AssertionError("was called")


def wrong() -> nn.Module:
    return [1, 2]  # type: ignore[return-value]


def pairs() -> nn.Module:
    class Pairs(Linear):
        def forward(self, x: Tensor) -> Any:
            return super().forward(x), 0

    return Pairs(10)


SIZES: dict[str, Any] = {"shape": (1, 8, 8), "classes": 10, "tasks": {0: tuple(range(10))}}


def build(name: str, seed: int = 0, head: str = "single", **options: Any) -> Classifier:
    path = name if ":" in name else f"{__name__}:{name}"
    return build_classifier(path, head, options, seed=seed, **SIZES)


def test_outputs_of_a_module_of_others_are_the_logits() -> None:
    images = torch.rand(5, 1, 8, 8)
    model = build("Linear")
    layer = next(module for module in model.modules() if type(module) is nn.Linear)
    torch.testing.assert_close(model(images, 0), images.flatten(1) @ layer.weight.T + layer.bias, atol=1e-6, rtol=1e-5)
    assert [*model.head.parameters()] == []
    assert torch.equal(build("Linear").body.module.layers[1].weight, layer.weight)
    assert not torch.equal(build("Linear", seed=1).body.module.layers[1].weight, layer.weight)


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        ("Linear", {}, 65 * 10),
        ("Linear", {"bias": False}, 64 * 10),
        ("Dropping", {"rate": 0.1, "bias": False}, 64 * 10),
        ("narrow", {}, 65 * 4 + 5 * 10),
        ("narrow", {"width": 6}, 65 * 6 + 7 * 10),
        ("Late", {"width": 2}, 65 * 2 + 3 * 10),
        ("torchvision.models:resnet18", {}, sum(p.numel() for p in resnet18().parameters()) - 513 * 990),
    ],
)
def test_options_and_the_number_of_classes_reach_what_builds_it(name: str, options: dict[str, Any], count: int) -> None:
    assert sum(parameter.numel() for parameter in build(name, **options).parameters()) == count


def test_arguments_are_those_that_are_handed_on_too() -> None:
    assert arguments(Dropping) == {"rate", "num_classes", "bias"}
    assert arguments(narrow) == {"width"}


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (f"{{name='{__name__}:silent'}}", "does not say that it returns a torch.nn.Module; write def silent"),
        ("{name='shutil:rmtree', path='nothing'}", "does not say that it returns a torch.nn.Module"),
        (f"{{name='{__name__}:wrong'}}", "made a list, and must make a torch.nn.Module"),
        (f"{{name='{__name__}:narrow', width='a'}}", "refuses {'width': 'a'}"),
        (f"{{name='{__name__}:Linear', num_classes=7}}", "gives (1, 7) for inputs (1, 1, 8, 8), and must give (1, 10)"),
        (f"{{name='{__name__}:Linear', depth=7}}", "unknown key 'depth'"),
        (f"{{name='{__name__}:pairs'}}", "gives a tuple, and must give a tensor"),
        ("{name='torchvision.models:resnet18'}", "to have 3 channels, but got 1 channels"),
        ("{name='torchvision.models:resnet18', weights='DEFAULT'}", "resnet18 refuses {'weights': 'DEFAULT'}"),
        ("{name='torchvision.models:resnet19'}", "unknown model in torchvision.models 'resnet19'"),
    ],
)
def test_what_does_not_fit_is_one_line(model: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        check_parts(load_scenario("label_flip_digits", [f"model={model}"]), load_data("digits", Resources()))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_heads_that_need_features_are_refused_for_a_module_that_gives_logits() -> None:
    with pytest.raises(InputError, match=r"model.head 'masked': needs features, and '.*:Linear' gives logits"):
        build("Linear", head="masked")
    assert build("Late", head="masked").head.linear.weight.shape == (10, 3)


def test_text_needs_a_model_that_takes_tokens() -> None:
    sizes = {"shape": (5,), "classes": 7, "tasks": {0: (0,)}, "is_text": True}
    with pytest.raises(InputError, match="is a model of images, which takes no tokens, and the data are text"):
        build_classifier(f"{__name__}:narrow", "single", {}, seed=0, **sizes)  # type: ignore[arg-type]


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What stands for timm, which need not be installed, and what it was asked for."""
    asked: list[dict[str, Any]] = []

    def create_model(name: str, **options: Any) -> nn.Module:
        asked.append({"name": name, **options})
        return nn.Sequential(nn.Flatten(), nn.Linear(64 * options["in_chans"], options["num_classes"]))

    module = ModuleType("timm")
    vars(module).update(
        create_model=create_model, is_model=lambda name: name == "resnet18", list_models=lambda: ["resnet18"]
    )
    monkeypatch.setitem(sys.modules, "timm", module)
    return asked


def test_models_of_timm_are_built_by_name_without_published_weights(timm: list[dict[str, Any]]) -> None:
    assert build("timm:resnet18", depth=3)(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    assert timm == [{"name": "resnet18", "num_classes": 10, "in_chans": 1, "depth": 3}]
    with pytest.raises(InputError, match="timm has no 'resnet81'; it has resnet18"):
        build("timm:resnet81")


def test_without_timm_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match=r"model 'timm:resnet18': needs timm: python -m pip install 'tamcl\[timm\]'"):
        build("timm:resnet18")
