"""Cosines and dampings against NumPy, from the gradients that a plugin saw."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tamcl.diagnostics import DiagnosticsCollector, Update
from tamcl.diagnostics.torque import Damping, SmoothedCosine
from tamcl.optim import TAM
from tamcl.strategies import Naive, TrainingSettings
from tamcl.streams.benchmark import build_benchmark
from tests.diagnostics.helpers import DATA, Watch, cosine, measured, model, values, whole
from tests.helpers import noise_segments

NAMES = ("cosine", "smoothed_cosine", "damping", "momentum_gradient_cosine")


def test_what_tam_says_is_what_numpy_finds() -> None:
    rows, watch, _ = measured("tam", *NAMES)
    smoothed, momentum = 0.0, whole(watch.grads[0])
    first = [values(rows, name)[0] for name in NAMES[:3]]
    assert first == [0, 0, 1]
    for step, grads in enumerate(watch.grads[1:], start=1):
        gradient = whole(grads)
        found = cosine(momentum, gradient)
        smoothed = 0.9 * smoothed + 0.1 * found
        momentum = 0.9 * momentum + (1 + smoothed) / 2 * gradient
        assert values(rows, "cosine")[step] == pytest.approx(found, abs=1e-5)
        assert values(rows, "smoothed_cosine")[step] == pytest.approx(smoothed, abs=1e-5)
        assert values(rows, "damping")[step] == pytest.approx((1 + smoothed) / 2, abs=1e-5)
        assert values(rows, "momentum_gradient_cosine")[step] == pytest.approx(found, abs=1e-5)
    assert values(rows, "cosine").abs().max() > 0.01
    assert set(rows[rows["diagnostic"] != "momentum_gradient_cosine"]["tensor"]) == {""}


@pytest.mark.parametrize(("optimizer", "options"), [("tam", {}), ("tam", {"granularity": "tensor"})])
def test_each_tensor_has_its_cosine(optimizer: str, options: dict[str, str]) -> None:
    rows, watch, _ = measured(optimizer, *NAMES, **options)
    for name in watch.grads[0]:
        for step in range(1, 20):
            held = watch.states[step][name]
            momentum = held.get("momentum_buffer", held.get("exp_avg")).double().numpy()
            found = cosine(momentum, watch.grads[step][name])
            assert values(rows, "momentum_gradient_cosine", name)[step] == pytest.approx(found, abs=1e-6)
            if options:
                assert values(rows, "cosine", name)[step] == pytest.approx(found, abs=1e-5)


def test_the_whole_is_the_mean_where_each_tensor_has_its_own() -> None:
    rows, watch, _ = measured("tam", "damping", granularity="tensor")
    each = rows[rows["tensor"] != ""].groupby("step")["value"]
    assert (each.size() == len(watch.grads[0])).all()
    np.testing.assert_allclose(values(rows, "damping"), each.mean())
    assert each.std().max() > 0.001


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_momentum_of_other_optimizers_by_their_own_equations(optimizer: str) -> None:
    options = {"momentum": 0.8} if optimizer == "sgd" else {"betas": (0.8, 0.99)}
    rows, watch, _ = measured(optimizer, "momentum_gradient_cosine", **options)
    momentum = whole(watch.grads[0])  # of both the first momentum is a multiple of the gradient
    if optimizer == "adam":
        momentum = 0.2 * momentum
    found = values(rows, "momentum_gradient_cosine")
    assert found.index.tolist() == list(range(1, 20))
    for step in range(1, 20):
        gradient = whole(watch.grads[step])
        assert found[step] == pytest.approx(cosine(momentum, gradient), abs=1e-5)
        momentum = 0.8 * momentum + (gradient if optimizer == "sgd" else 0.2 * gradient)


def test_no_momentum_no_cosine() -> None:
    rows, _, _ = measured("sgd", *NAMES)
    assert rows.empty


def test_a_held_damping_is_shown_as_a_line() -> None:
    rows, _, _ = measured("tam", *NAMES[:3], damping=0.25)
    assert set(rows["diagnostic"]) == {"damping"}
    assert values(rows, "damping").tolist() == [1.0] + [0.25] * 19, "a first gradient enters whole"
    rows, _, _ = measured("tam", *NAMES[:3], damping=0.25, start="zero")
    assert values(rows, "damping").tolist() == [0.25] * 20


def test_a_held_damping_ends_with_the_optimizer_that_holds_it() -> None:
    rows, _, _ = measured("switch", "damping", "effective_lr", damping=0.25, at=6, lr=0.1)
    assert values(rows, "damping").to_dict() == {0: 1.0} | dict.fromkeys(range(1, 5), 0.25)
    np.testing.assert_allclose(values(rows, "effective_lr"), [0.1] + [0.025] * 19)


def test_each_tensor_has_the_numbers_of_its_group() -> None:
    """Which are those of momentum and gradient of the group, and not of the parameter in whose state they stand."""
    watch, collector = Watch(), DiagnosticsCollector(NAMES[:3], every=1)

    def make(parameters: list[torch.nn.Parameter]) -> TAM:
        first, second, *others = parameters
        return TAM([{"params": [first, second]}, {"params": others}], lr=0.05)

    settings = TrainingSettings(plugins=[watch, collector])
    strategy = Naive(model=model(), make_optimizer=make, settings=settings)
    for experience in build_benchmark(DATA, noise_segments(DATA, 1)).train_stream:
        strategy.train(experience, eval_streams=[])
    rows, names = collector.rows(), list(watch.grads[0])
    for group in (names[:2], names[2:]):
        momentum, smoothed = np.concatenate([watch.grads[0][name].ravel() for name in group]), 0.0
        for step, grads in enumerate(watch.grads[1:], start=1):
            gradient = np.concatenate([grads[name].ravel() for name in group])
            found = cosine(momentum, gradient)
            smoothed = 0.9 * smoothed + 0.1 * found
            momentum = 0.9 * momentum + (1 + smoothed) / 2 * gradient
            for name in group:
                assert values(rows, "cosine", name)[step] == pytest.approx(found, abs=1e-5)
                assert values(rows, "smoothed_cosine", name)[step] == pytest.approx(smoothed, abs=1e-5)
                assert values(rows, "damping", name)[step] == pytest.approx((1 + smoothed) / 2, abs=1e-5)
                assert values(rows, "damping", name)[0] == 1
    for diagnostic in NAMES[:3]:
        mean = np.mean([values(rows, diagnostic, name).loc[1:] for name in names], axis=0)
        np.testing.assert_allclose(values(rows, diagnostic).loc[1:], mean)


def test_a_late_first_gradient_of_a_group_is_told_apart() -> None:
    """It enters whole, and has no part in the cosine of the others of its group."""
    weights = {name: torch.nn.Parameter(torch.ones(2)) for name in "abc"}
    network = torch.nn.ParameterDict(weights)
    optimizer = TAM([{"params": [weights["a"]]}, {"params": [weights["b"], weights["c"]]}], lr=0.1)
    for late in (False, False, True):
        for name, param in weights.items():
            param.grad = None if name == "c" and not late else torch.ones(2)
        update = Update(SimpleNamespace(model=network, optimizer=optimizer), 1)
        optimizer.step()
    assert dict(Damping().measure(update)) == pytest.approx({"": (0.595 * 2 + 1) / 3, "a": 0.595, "b": 0.595, "c": 1})
    assert dict(SmoothedCosine().measure(update)) == pytest.approx({"": 0.19, "a": 0.19, "b": 0.19})
