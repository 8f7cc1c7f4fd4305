"""Resets of units: who is reset is what the twins say, and what it is to be reset, for weights and for optimizers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tamcl.errors import InputError
from tamcl.interventions import ContinualBackprop, Intervention, ReDo, SelfNormalizedResets
from tamcl.models.classifier import build_classifier
from tamcl.optim import OPTIMIZERS
from tamcl.registry import lookup
from tests.interventions.helpers import Step, classifier, train
from tests.references.interventions import DormantUnits, LeastUseful, SilentUnits

LR = 0.1
MLP = [
    ("body.layers.1.0", ["body.layers.2.0"]),
    ("body.layers.2.0", ["head.linears.0", "head.linears.1"]),
]
"""Layers of units and who takes them in."""


def made(kind: str) -> tuple[Intervention, Callable[[], Any]]:
    """An intervention that resets often, and its twin for a layer."""
    if kind == "redo":
        return ReDo(tau=0.5, every=2), partial(DormantUnits, 0.5, 2)
    if kind == "continual_backprop":
        options = {"replacement_rate": 0.15, "maturity": 2, "decay": 0.9}
        return ContinualBackprop(**options), partial(LeastUseful, 0.15, 2, 0.9)
    few = {"percentile": 0.6, "every": 3, "threshold": 9, "expansion": 1.5, "longest": 60}
    return SelfNormalizedResets(**few), partial(SilentUnits, *few.values())


KINDS = ["continual_backprop", "redo", "self_normalized_resets"]


def per_unit(outputs: np.ndarray) -> np.ndarray:
    """Of channels, a row for each example and place."""
    return outputs if outputs.ndim == 2 else np.moveaxis(outputs, 1, -1).reshape(-1, outputs.shape[1])


def outgoing(weights: dict[str, np.ndarray], units: int, takers: list[str]) -> np.ndarray:
    parts = [weights[f"{name}.weight"] for name in takers]
    return np.concatenate([part.reshape(len(part), units, -1).swapaxes(0, 1).reshape(units, -1) for part in parts], 1)


def check(step: Step, layers: list[tuple[str, list[str]]], chosen: list[list[int]], given: list[Any]) -> None:
    """Hold the weights after a step of SGD against what they would be, with those units reset."""
    expected = {name: value - LR * step.gradients.get(name, 0) for name, value in step.before.items()}
    fresh: dict[str, np.ndarray] = {name: np.zeros(value.shape, bool) for name, value in expected.items()}
    for (layer, takers), units, means in zip(layers, chosen, given, strict=True):
        if not units:
            continue
        weight = expected[f"{layer}.weight"]
        width = len(weight)
        for taker in takers:
            out = expected[f"{taker}.weight"]
            by_unit = out.reshape(len(out), width, -1)
            if means is not None and out.ndim == 2:
                expected[f"{taker}.bias"] = expected[f"{taker}.bias"] + by_unit[:, units].sum(2) @ means
            by_unit[:, units] = 0
            fresh[f"{taker}.weight"].reshape(len(out), width, -1)[:, units] = False
        expected[f"{layer}.bias"][units] = 0
        fresh[f"{layer}.weight"][units] = True
    for name, value in step.after.items():
        new = fresh[name]
        np.testing.assert_allclose(value[~new], expected[name][~new], rtol=1e-5, atol=1e-6, err_msg=name)
        if new.any():
            bound = 1 / np.sqrt(value[0].size)
            assert np.abs(value[new]).max() <= bound
            assert np.unique(value[new]).size > 0.99 * new.sum()
            assert (value[new] != step.before[name][new]).mean() > 0.99


@pytest.mark.parametrize("kind", KINDS)
def test_every_step_is_the_twins(kind: str) -> None:
    intervention, twin = made(kind)
    _, steps = train(intervention, epochs=3, batch_size=3 if kind == "self_normalized_resets" else 10)
    twins = [twin() for _ in MLP]
    total = 0
    for step in steps:
        moved = {name: value - LR * step.gradients.get(name, 0) for name, value in step.before.items()}
        chosen, given = [], []
        for each, (_, takers), outputs in zip(twins, MLP, step.outputs, strict=True):
            chosen.append(each(outputs, np.abs(outgoing(moved, outputs.shape[1], takers)).mean(1)))
            given.append(getattr(each, "given", None) if chosen[-1] else None)
        check(step, MLP, chosen, given)
        total += sum(map(len, chosen))
    assert intervention.resets == total  # type: ignore[attr-defined]
    assert 4 < total < 11 * len(steps)


def test_a_unit_of_a_convolution_is_a_channel() -> None:
    """Of four convolutions and two layers, the last convolution's flattened."""
    model = classifier("pc_cnn", "single", side=16)
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    pairs = list(zip(names, ([after] for after in names[1:]), strict=False))
    assert len(pairs) == 6
    reset = ReDo(tau=0.3, every=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    reset.begin(model, optimizer, 0)
    outputs: list[np.ndarray] = []
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda module, _, out: outputs.append(out.detach().numpy().copy()))
    torch.manual_seed(0)
    images = torch.randn(4, 1, 16, 16)
    with torch.no_grad():
        before = {name: param.numpy().copy() for name, param in model.named_parameters()}
        model(images)
    seen = outputs[-len(pairs) :]
    reset.after_step(optimizer)
    twins = [DormantUnits(0.3, 1)(per_unit(each), None) for each in seen]
    assert [bool(chosen) for chosen in twins[:4]].count(True) > 1
    after = {name: param.detach().numpy() for name, param in model.named_parameters()}
    check(Step(before, {}, after, seen), pairs, twins, [None] * len(pairs))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_knows_nothing_of_new_weights(optimizer: str) -> None:
    """Its numbers for the weights of a unit that was reset are those of weights that it has never moved."""
    options: dict[str, Any] = {"sgd": {"momentum": 0.9}, "switch": {"at": 3}}.get(optimizer, {})
    cls = lookup(OPTIMIZERS, optimizer)

    class Noted(ReDo):
        def reset(self, number: int, units: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
            super().reset(number, units, optimizer)
            noted.append((number, units.tolist()))
            if number == 0 and len(units) and optimizer.state:
                weight = self.layers[0].layer.weight
                state = optimizer.state[weight]
                of_each = {key: each for key, each in state.items() if getattr(each, "shape", ())[-2:] == weight.shape}
                for key, value in of_each.items():
                    fresh = value[..., units, :]
                    if key == "slow":
                        assert torch.equal(fresh, weight[units].to(fresh.dtype))
                    else:
                        constant = -6.9 if key == "log_decay" else 0.0
                        assert (fresh == torch.tensor(constant, dtype=fresh.dtype)).all(), key
                        others = [unit for unit in range(6) if unit not in units.tolist()]
                        assert (value[..., others, :] != constant).any(), key
                checked.append(len(of_each))

    noted: list[Any] = []
    checked: list[int] = []
    reset = Noted(tau=0.6, every=4)
    make = lambda params: cls(params, lr=0.01, **options)  # noqa: E731
    if optimizer == "schedule_free":
        with pytest.raises(InputError, match="the weights that ScheduleFree trains are not those that are tested"):
            train(reset, make=make)
        return
    train(reset, make=make, head="masked", epochs=2)
    assert any(units for _, units in noted)
    if optimizer not in ("sam", "fade"):  # whose steps are SGD's; the first layer is not the last
        assert sum(checked)


def test_what_is_not_known_is_refused() -> None:
    def optimizer(params: Any) -> torch.optim.Optimizer:
        return torch.optim.Adamax(params)

    why = "ReDo has to begin the optimizer's state of single weights anew, and it is not known what the state of Adamax"
    with pytest.raises(InputError, match=why):
        train(ReDo(), make=optimizer)
    for name, layer in [("resnet18", "BatchNorm2d"), ("vit_tiny", "LayerNorm"), ("convnext_atto", "Permute")]:
        model = classifier(name, "single", side=32)
        with pytest.raises(
            InputError, match=f"ReDo: the model has a layer of ({layer}|.*Norm.*|.*), in which units are"
        ):
            ReDo().begin(model, torch.optim.SGD(model.parameters()), 0)


class Skipping(nn.Module):
    """Adds what its first layer gives to what its second does: no chain, though its layers look like one."""

    def __init__(self) -> None:
        super().__init__()
        self.flat, self.first, self.act = nn.Flatten(), nn.Linear(16, 5), nn.ReLU()
        self.second, self.last = nn.Linear(5, 5), nn.ReLU()
        self.features = 5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.act(self.first(self.flat(x)))
        return first + self.last(self.second(first))  # type: ignore[no-any-return]


def test_a_model_that_is_no_chain_is_refused_when_it_is_passed_an_image() -> None:
    model = classifier(head="masked")
    model.body = Skipping()
    with pytest.raises(InputError, match="its forward pass does more than to pass the image through its layers"):
        train(ReDo(), model=model)


@pytest.mark.parametrize(
    ("cls", "wrong", "why"),
    [
        (ReDo, {"tau": -0.1}, "tau = -0.1: must be a number, at least 0"),
        (ReDo, {"every": 0}, "every = 0: must be a whole number, at least 1"),
        (
            ContinualBackprop,
            {"replacement_rate": 1.5},
            "replacement_rate = 1.5: must be a number, at least 0 and at most",
        ),
        (ContinualBackprop, {"decay": 1.0}, "decay = 1.0: must be a number, at least 0 and below 1"),
        (ContinualBackprop, {"maturity": 1.5}, "maturity = 1.5: must be a whole number, at least 0"),
        (SelfNormalizedResets, {"percentile": 0.0}, "percentile = 0.0: must be a number, above 0 and at most 1"),
        (SelfNormalizedResets, {"threshold": 30_000}, "threshold = 30000: must be at most longest = 20000"),
        (SelfNormalizedResets, {"expansion": 0.5}, "expansion = 0.5: must be a number, at least 1"),
    ],
)
def test_options_out_of_range_are_refused(cls: Any, wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError, match=why):
        cls(**wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_may_be_normalised_in_front_of_the_units(kind: str) -> None:
    intervention, _ = made(kind)
    sizes: dict[str, Any] = {"shape": (1, 4, 4), "classes": 10, "tasks": {0: tuple(range(10)), 1: tuple(range(10))}}
    model = build_classifier("mlp", "single", {"hidden": [6, 5]}, seed=0, normalize_inputs=0.99, **sizes)
    _, steps = train(intervention, model=model)
    assert np.isfinite(steps[-1].after["body.1.layers.1.0.weight"]).all()
    assert [units.width for units in intervention.layers] == [6, 5]  # type: ignore[attr-defined]
