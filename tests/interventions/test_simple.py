"""L2 Init, shrink and perturb, and what holds for all interventions in training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tamcl.errors import InputError
from tamcl.interventions import INTERVENTIONS, Intervention, L2Init, ShrinkAndPerturb, WeightClipping
from tamcl.interventions.base import noise_like
from tamcl.optim import SAM, ScheduleFree
from tamcl.registry import lookup
from tamcl.seeding import derive_seed
from tamcl.strategies import STRATEGIES, Naive
from tests.interventions.helpers import classifier, train, values
from tests.references.interventions import pull, shrink

LR = 0.1


def assert_close(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_l2_init_is_the_twins_pull_on_every_gradient() -> None:
    """The first step's weights are the initial ones; a second run without it has the same first gradient."""
    starts = values(classifier())
    _, steps = train(L2Init(strength=0.5))
    _, plain = train()
    assert_close(steps[0].gradients, plain[0].gradients)
    moved = 0.0
    for step in steps:
        others = {name: value for name, value in step.before.items() if name not in step.gradients}
        assert_close({name: step.after[name] for name in others}, others)  # a head of another task is left alone
        assert_close(
            {name: step.after[name] for name in step.gradients},
            {name: step.before[name] - LR * g for name, g in step.gradients.items()},
        )
        moved = max(moved, np.abs(step.before["body.layers.1.0.weight"] - starts["body.layers.1.0.weight"]).max())
    assert moved > 0.01


def test_l2_inits_gradient_is_that_of_half_the_squared_distance() -> None:
    model = classifier("mlp", "single")
    start = values(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    intervention = L2Init(strength=0.3)
    intervention.begin(model, optimizer, 0)
    with torch.no_grad():
        for param in model.parameters():
            param.add_(torch.randn_like(param))
    weights = values(model)
    for param in model.parameters():
        param.grad = torch.full_like(param, 0.7)
    intervention.change_gradients()
    found = {name: param.grad.numpy() for name, param in model.named_parameters() if param.grad is not None}
    assert_close(found, pull({name: np.full(w.shape, 0.7) for name, w in weights.items()}, weights, start, 0.3))
    pulled = {name: g - 0.7 for name, g in found.items()}
    distance = lambda w: 0.15 * sum(((w[name] - start[name]).astype(float) ** 2).sum() for name in w)  # noqa: E731
    moved = {name: value.astype(float).copy() for name, value in weights.items()}
    moved["head.linear.bias"][0] += 1e-3
    slope = (distance(moved) - distance({name: value.astype(float) for name, value in weights.items()})) / 1e-3
    assert pulled["head.linear.bias"][0] == pytest.approx(slope, rel=1e-2)


def test_shrinking_in_steps_is_the_twins() -> None:
    """With SGD it is one step of UPGD's baseline: (1 - lr decay) theta - lr (g + sigma noise)."""
    strategy, steps = train(ShrinkAndPerturb(decay=0.5, sigma=2.0))
    seed = derive_seed(1, "intervention", 0)
    names = [name for name, _ in strategy.model.named_parameters()]
    for times, step in enumerate(steps, start=1):
        noise = {
            name: noise_like(torch.tensor(step.before[name]), seed, times, place).numpy()
            for place, name in enumerate(names)
        }
        expected = dict(step.before)
        for name, gradient in step.gradients.items():
            expected[name] = shrink({name: step.before[name]}, noise, 0.5, 2.0, LR)[name] - LR * gradient
        assert_close(step.after, expected)


def test_shrinking_at_shifts_is_between_the_experiences() -> None:
    strategy, steps = train(ShrinkAndPerturb(decay=0.6, sigma=0.5, when="shift"))
    _, plain = train()
    length = len(steps) // 2
    for step, other in zip(steps[:length], plain[:length], strict=True):
        assert_close(step.after, other.after)
    names = [name for name, _ in strategy.model.named_parameters()]
    last, first, seed = steps[length - 1].after, steps[length].before, derive_seed(1, "intervention", 0)
    noise = {n: noise_like(torch.tensor(last[n]), seed, 1, place).numpy() for place, n in enumerate(names)}
    assert_close(first, shrink(last, noise, 0.6, 0.5))


def test_noise_is_normal_and_another_for_every_place() -> None:
    draws = [noise_like(torch.zeros(20_000), 0, *place).numpy() for place in ((1, 0), (1, 1), (2, 0))]
    for each in draws:
        assert each.mean() == pytest.approx(0, abs=0.03)
        assert each.std() == pytest.approx(1, abs=0.03)
    assert np.abs(np.corrcoef(draws)[np.triu_indices(3, 1)]).max() < 0.03


def test_two_of_a_kind_draw_each_their_own() -> None:
    _, one = train(ShrinkAndPerturb(decay=0.0, sigma=1.0))
    _, two = train(ShrinkAndPerturb(decay=0.0, sigma=1.0), ShrinkAndPerturb(decay=0.0, sigma=1.0))
    name = "body.layers.1.0.weight"
    first, second = (step.after[name] - step.before[name] + LR * step.gradients[name] for step in (one[0], two[0]))
    assert (second - first).std() == pytest.approx(LR, rel=0.2)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("l2_init", {"strength": 0.0}),
        ("shrink_and_perturb", {"decay": 0.0, "sigma": 0.0}),
        ("weight_clipping", {"kappa": 1e6}),
        ("continual_backprop", {"replacement_rate": 0.0}),
        ("redo", {"every": 10_000}),
        ("self_normalized_resets", {"every": 10_000, "threshold": 20_000}),
    ],
)
def test_with_neutral_options_training_is_bit_by_bit_as_without(name: str, options: dict[str, Any]) -> None:
    _, found = train(lookup(INTERVENTIONS, name)(**options))
    _, plain = train()
    for step, other in zip(found, plain, strict=True):
        for key, value in step.after.items():
            assert np.array_equal(value, other.after[key]), key


OFTEN: dict[str, dict[str, Any]] = {
    "redo": {"tau": 0.5, "every": 2},
    "continual_backprop": {"replacement_rate": 0.1, "maturity": 1},
    "self_normalized_resets": {"threshold": 10, "every": 3},
}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_intervention_goes_with_every_strategy(strategy: str) -> None:
    _, plain = train(strategy=strategy, head="masked")
    for name in INTERVENTIONS:
        if name == "self_normalized_resets":  # units of so small a network are never silent
            options = {"threshold": 1, "percentile": 0.5, "longest": 1}
        else:
            options = {"weight_clipping": {"kappa": 0.2}}.get(name, OFTEN.get(name, {}))
        training, steps = train(lookup(INTERVENTIONS, name)(**options), strategy=strategy, head="masked")
        assert all(np.isfinite(value).all() for value in steps[-1].after.values()), name
        assert training.clock.train_iterations == len(steps)
        if name != "self_normalized_resets":
            assert any(not np.array_equal(steps[-1].after[key], plain[-1].after[key]) for key in plain[-1].after), name


def test_the_second_pass_of_sam_has_the_pull_too() -> None:
    """Its step is by the gradient at the perturbed weights, the pull from there included."""
    _, steps = train(L2Init(strength=0.5), make=lambda params: SAM(params, lr=LR, rho=1e-6))
    _, plain = train(L2Init(strength=0.5))
    assert_close(steps[-1].after, plain[-1].after)


def test_weights_that_are_not_tested_are_not_changed() -> None:
    def make(params: Any) -> torch.optim.Optimizer:
        return ScheduleFree(params, lr=0.01)

    for name in sorted(INTERVENTIONS.keys() - {"l2_init"}):
        with pytest.raises(InputError, match="the weights that ScheduleFree trains are not those that are tested"):
            train(lookup(INTERVENTIONS, name)(), make=make)
    train(L2Init(), make=make)


class OwnLoop(Naive):
    def training_epoch(self, **kwargs: Any) -> None:
        pass


class OwnStep(Naive):
    def optimizer_step(self) -> None:
        self.optimizer.step()


def test_a_loop_of_ones_own_that_calls_no_intervention_is_refused() -> None:
    with pytest.raises(InputError, match="interventions: OwnStep has an optimizer_step of its own, which does not"):
        train(WeightClipping(), strategy="tests.interventions.test_simple:OwnStep")
    train(strategy="tests.interventions.test_simple:OwnStep")
    with pytest.raises(InputError, match="interventions: OwnLoop has a training_epoch of its own, which does not call"):
        train(WeightClipping(), strategy="tests.interventions.test_simple:OwnLoop")


def test_a_restart_begins_anew() -> None:
    """Weights and interventions are as at the start: the first step after it is the first of all, but for the data."""

    class Noting(Intervention):
        kept = ("steps",)

        def begin(self, *arguments: Any) -> None:
            super().begin(*arguments)
            self.steps = 0
            begun.append(values(self.model))

        def after_step(self, optimizer: Any) -> None:
            self.steps += 1

        def at_shift(self, optimizer: Any) -> None:
            raise AssertionError("it was begun anew")

    begun: list[dict[str, np.ndarray]] = []
    noting = Noting()
    _, steps = train(noting, restart=True)
    assert len(begun) == 2
    assert_close(*begun)
    assert noting.steps < len(steps)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: L2Init(strength=-1), "strength = -1: must be a number, at least 0"),
        (lambda: ShrinkAndPerturb(sigma="big"), "sigma = 'big': must be a number, at least 0"),  # type: ignore[arg-type]
        (lambda: ShrinkAndPerturb(when="task"), "when = 'task': must be 'step' or 'shift'"),  # type: ignore[arg-type]
        (lambda: ShrinkAndPerturb(decay=1.5, when="shift"), "decay = 1.5: must be a number, at least 0 and at most 1"),
    ],
)
def test_options_out_of_range_are_refused(make: Any, why: str) -> None:
    with pytest.raises(InputError, match=why):
        make()
