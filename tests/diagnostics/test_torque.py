"""Cosines and dampings against NumPy, from the gradients that a plugin saw."""

from __future__ import annotations

import numpy as np
import pytest

from tests.diagnostics.helpers import cosine, measured, values, whole

NAMES = ("cosine", "smoothed_cosine", "damping", "momentum_gradient_cosine")


def test_what_tam_says_is_what_numpy_finds() -> None:
    rows, watch, _ = measured("tam", *NAMES)
    smoothed, momentum = 0.0, np.zeros_like(whole(watch.grads[0]))
    for step, grads in enumerate(watch.grads):
        gradient = whole(grads)
        found = cosine(momentum, gradient)
        smoothed = 0.9 * smoothed + 0.1 * found
        momentum = 0.9 * momentum + (1 + smoothed) / 2 * gradient
        assert values(rows, "cosine")[step] == pytest.approx(found, abs=1e-5)
        assert values(rows, "smoothed_cosine")[step] == pytest.approx(smoothed, abs=1e-5)
        assert values(rows, "damping")[step] == pytest.approx((1 + smoothed) / 2, abs=1e-5)
        if step:
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
    assert values(rows, "damping").tolist() == [0.25] * 20


def test_a_held_damping_ends_with_the_optimizer_that_holds_it() -> None:
    rows, _, _ = measured("switch", "damping", "effective_lr", damping=0.25, at=6, lr=0.1)
    assert values(rows, "damping").to_dict() == dict.fromkeys(range(5), 0.25)
    np.testing.assert_allclose(values(rows, "effective_lr"), 0.025)
