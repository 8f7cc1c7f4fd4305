"""Inputs normalised by what was seen, and layer norm: values, and what does not change them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tamcl.errors import InputError
from tamcl.models.classifier import build_classifier
from tamcl.models.inputs import InputNormalization
from tamcl.models.stacked import StackedMLP
from tamcl.scenario.load import load_scenario
from tamcl.scenario.stacking import why_alone
from tamcl.training.cell import Cell
from tamcl.training.run import run_cell
from tests.training.test_checkpoint import assert_goes_on, make

SIZES = {"shape": (1, 4, 4), "classes": 10, "tasks": {0: tuple(range(10))}, "seed": 0}


def test_an_image_counts_a_thousandth_less_than_the_next() -> None:
    rng = np.random.default_rng(0)
    batches = [rng.normal(3, 2, size=(n, 2, 3, 3)) for n in (4, 1, 5)]
    layer = InputNormalization((2, 3, 3), decay=0.9)
    for batch in batches:
        found = layer(torch.tensor(batch))
    seen = np.concatenate(batches)
    weights = 0.9 ** np.arange(len(seen))[::-1]
    mean = np.average(seen, axis=0, weights=weights)
    variance = np.average((seen - mean) ** 2, axis=0, weights=weights)
    expected = (batches[-1] - mean) / np.sqrt(variance + 1e-5)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-9)
    layer.eval()
    other = torch.tensor(rng.normal(size=(7, 2, 3, 3)))
    np.testing.assert_allclose(layer(other).numpy(), (other.numpy() - mean) / np.sqrt(variance + 1e-5), atol=1e-9)
    np.testing.assert_allclose(layer(other).numpy(), layer(other).numpy())


def test_before_training_and_where_nothing_varies_there_is_no_nonsense() -> None:
    layer = InputNormalization((1, 2, 2), decay=0.999).eval()
    images = torch.rand(3, 1, 2, 2)
    assert torch.equal(layer(images), images)
    layer.train()
    assert not layer(torch.full((5, 1, 2, 2), 0.3)).abs().max() > 1e-6


def test_layer_norm_is_between_weights_and_relu_and_begins_with_the_same_weights() -> None:
    plain = build_classifier("mlp", "single", {"hidden": [6, 5]}, **SIZES)
    normed = build_classifier("mlp", "single", {"hidden": [6, 5], "layer_norm": True}, **SIZES)
    x = torch.randn(3, 1, 4, 4)
    weights = {name: param.detach().numpy() for name, param in plain.named_parameters()}
    h = x.flatten(1).numpy()
    for layer in (1, 2):
        z = h @ weights[f"body.layers.{layer}.0.weight"].T + weights[f"body.layers.{layer}.0.bias"]
        z = (z - z.mean(1, keepdims=True)) / np.sqrt(z.var(1, keepdims=True) + 1e-5)
        h = np.maximum(z, 0)
    expected = h @ weights["head.linear.weight"].T + weights["head.linear.bias"]
    np.testing.assert_allclose(normed(x).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("model.layer_norm=true", "layer norm cannot be stacked"),
        ("model.normalize_inputs=0.999", "the normalisation of inputs cannot be stacked"),
    ],
)
def test_both_change_a_run_which_is_trained_alone_and_goes_on_from_checkpoints(
    setting: str, why: str, tmp_path: object
) -> None:
    scenario = load_scenario("label_flip_digits", [setting])
    assert why_alone(scenario.dump(), "tam") == why
    outcome = assert_goes_on(make(setting), tmp_path / "checkpoint")  # type: ignore[operator]
    plain = run_cell(make("strategy.stacked=false"))
    assert not outcome.online["loss"].equals(plain.online["loss"])
    assert outcome.online["loss"].iloc[0] != plain.online["loss"].iloc[0]


def test_a_run_that_has_neither_is_the_cell_it_was() -> None:
    scenario = load_scenario("label_flip_digits")
    assert Cell(scenario, "tam", 0.05, 0, "report").config["model"] == {
        "name": "mlp",
        "head": "single",
        "hidden": [100, 100],
    }


def test_a_stack_would_leave_them_out() -> None:
    with pytest.raises(InputError, match="layer norm or normalised inputs cannot be stacked"):
        StackedMLP([build_classifier("mlp", "single", {"layer_norm": True}, **SIZES)])
    with pytest.raises(InputError, match="layer norm or normalised inputs cannot be stacked"):
        StackedMLP([build_classifier("mlp", "single", {}, normalize_inputs=0.9, **SIZES)])


@pytest.mark.parametrize("wrong", ["true", "1.0", "0", "'0.9'"])
def test_the_decay_is_a_number_between_0_and_1(wrong: str) -> None:
    with pytest.raises(InputError, match=r"model\.normalize_inputs"):
        load_scenario("label_flip_digits", [f"model.normalize_inputs={wrong}"])
