"""The law of tracking a drift, held against a Lyapunov equation, plain recursions and the optimizers themselves."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.linalg import solve_discrete_lyapunov

from tamcl.errors import InputError
from tamcl.toys import Drift, track, tracking_error, worst_period

CASES = [(0.5, 0.0, 1.0), (1.9, 0.0, 1.0), (0.05, 0.9, 1.0), (0.4, 0.9, 3.0), (0.01, 0.99, 0.5), (3.7, 0.9, 1.0)]
"""Learning rate, momentum, curvature."""


def system(lr: float, beta: float, h: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Error and momentum of the next step from those before; and what noise and a move of the minimum do to them."""
    return np.array([[1 - lr * h, -lr * beta], [h, beta]]), np.array([-lr, 1.0]), np.array([-1.0, 0.0])


@pytest.mark.parametrize(("lr", "beta", "h"), CASES)
def test_noise_and_random_walk_are_the_solution_of_a_lyapunov_equation(lr: float, beta: float, h: float) -> None:
    matrix, noise, move = system(lr, beta, h)
    for drift, input_ in ((Drift(noise=0.7), 0.7 * noise), (Drift(walk=0.3), 0.3 * move)):
        covariance = solve_discrete_lyapunov(matrix, np.outer(input_, input_))
        expected = pytest.approx(covariance[0, 0], rel=1e-9)
        assert tracking_error(drift, lr=lr, momentum=beta, curvature=h) == expected


@pytest.mark.parametrize(("lr", "beta", "h"), CASES)
def test_lag_and_swing_are_what_the_recursion_does(lr: float, beta: float, h: float) -> None:
    """Run until nothing is left of the start, then over whole periods, for the lag and the swing apart and together."""
    matrix, _, move = system(lr, beta, h)
    for drift in (Drift(velocity=0.2), Drift(swing=0.5, period=40), Drift(0.2, 0.5, 25)):
        state, squares = np.zeros(2), []
        for step in range(6000):
            velocity = drift.velocity + drift.swing * math.cos(2 * math.pi * step / drift.period)
            state = matrix @ state + move * velocity
            squares.append(state[0] ** 2)
        error = np.mean(squares[-1000:])
        assert tracking_error(drift, lr=lr, momentum=beta, curvature=h) == pytest.approx(error, rel=1e-6)


@pytest.mark.parametrize(("lr", "beta"), [(0.3, 0.0), (0.03, 0.9)])
def test_optimizers_do_it(lr: float, beta: float) -> None:
    """Of the optimizer itself, with everything at once: 60 coordinates of 4,000 steps, which know each other little."""
    drift = Drift(velocity=0.3, swing=0.5, period=50, walk=0.2, noise=0.4)
    arms = {"sgdm": {"optimizer": "sgd", "lr": lr, "momentum": beta}}
    found = track(arms, drift, steps=8000, runs=6, dimension=10)
    expected = tracking_error(drift, lr=lr, momentum=beta)
    assert found["error"].mean() == pytest.approx(expected, rel=0.02)


def test_contributions_add_up() -> None:
    whole = Drift(velocity=0.3, swing=0.5, period=50, walk=0.2, noise=0.4)
    parts = [Drift(velocity=0.3), Drift(swing=0.5, period=50), Drift(walk=0.2), Drift(noise=0.4)]
    found = [tracking_error(drift, lr=0.03, momentum=0.9) for drift in parts]
    assert tracking_error(whole, lr=0.03, momentum=0.9) == pytest.approx(sum(found))


def test_the_orders_at_which_momentum_costs_when_steps_are_equally_long_in_the_end() -> None:
    def slope(make: Drift | None) -> float:
        """The power of 1 / (1 - beta) by which the error grows from .999 to .9999."""
        errors = []
        for beta in (0.999, 0.9999):
            lr = 0.5 * (1 - beta)
            drift = make or Drift(swing=1.0, period=worst_period(lr=lr, momentum=beta))
            errors.append(tracking_error(drift, lr=lr, momentum=beta))
        return math.log10(errors[1] / errors[0])

    assert slope(Drift(velocity=1.0)) == pytest.approx(0, abs=1e-9)
    assert slope(Drift(noise=1.0)) == pytest.approx(0, abs=0.01)
    assert slope(Drift(walk=1.0)) == pytest.approx(1, abs=0.01)
    assert slope(None) == pytest.approx(2, abs=0.02)


def test_the_worst_period_is_worse_than_those_around_it() -> None:
    for beta in (0.5, 0.9, 0.99):
        settings = {"lr": 0.5 * (1 - beta), "momentum": beta}
        worst = worst_period(**settings)
        periods = [worst * factor for factor in (0.5, 0.9, 0.99, 1, 1.01, 1.1, 2)]
        found = [tracking_error(Drift(swing=1.0, period=max(2.001, period)), **settings) for period in periods]
        assert found[3] == max(found)
    assert worst_period(lr=0.5) > 1e4, "without momentum the slowest swing, a constant velocity"


def test_steps_that_are_too_long_never_settle() -> None:
    for beta in (0.0, 0.5, 0.9):
        edge = 2 * (1 + beta)
        assert math.isfinite(tracking_error(Drift(walk=1.0), lr=edge * 0.999, momentum=beta))
        assert tracking_error(Drift(walk=1.0), lr=edge, momentum=beta) == math.inf
    for steps in (170, 800):  # whether the squares or the paths overflow
        far = track({"x": {"optimizer": "sgd", "lr": 99.0}}, Drift(walk=1.0), steps=steps, runs=1)
        assert far["error"].isna().all()


def test_a_run_depends_neither_on_the_others_nor_on_the_arms() -> None:
    arms = {"tam": {"optimizer": "tam", "lr": [0.1, 0.2]}, "adam": {"optimizer": "adam", "lr": 0.1}}
    found = track(arms, Drift(walk=0.1, noise=0.1), steps=50, runs=3)
    alone = track({"tam": {"optimizer": "tam", "lr": 0.2}}, Drift(walk=0.1, noise=0.1), steps=50, runs=2)
    rows = found[(found["arm"] == "tam") & (found["lr"] == 0.2)]
    assert rows["error"].tolist()[:2] == alone["error"].tolist()
    assert all(a != b for a, b in pairwise(rows["error"]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0.1, "momentum": 1.0}, "momentum must be in \\[0, 1\\), got 1.0"),
        ({"lr": 0.0}, "lr must be above 0 and finite, got 0.0"),
        ({"lr": 0.1, "curvature": -1.0}, "curvature must be above 0 and finite, got -1.0"),
    ],
)
def test_what_is_no_heavy_ball_is_refused(settings: dict[str, float], message: str) -> None:
    for function in (worst_period, lambda **given: tracking_error(Drift(walk=1.0), **given)):
        with pytest.raises(ValueError, match=message):
            function(**settings)
    with pytest.raises(InputError, match="arm 'x': lr missing"):
        track({"x": {"optimizer": "sgd"}}, Drift())
