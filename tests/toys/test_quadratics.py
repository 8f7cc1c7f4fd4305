from __future__ import annotations

import math
from collections import deque

import numpy as np
import pytest

from tamcl.toys import best_rate, convergence_rates, largest_step, simulated_rate, spectral_radius
from tamcl.toys.quadratics import characteristic_polynomial


def shrinking(z: float, beta: float, capacity: int, steps: int = 2000) -> float:
    """How fast one eigenvector's error shrinks a step, by doing the steps in plain Python."""
    theta, m, past, sizes = 1.0, 0.0, deque([0.0] * capacity, maxlen=capacity), []
    for _ in range(steps):
        m_new = beta * m + theta
        theta -= z * (m_new + (sum(past) / capacity if capacity else 0.0))
        past.append(m_new)
        m = m_new
        sizes.append(abs(theta))
    half = steps // 2
    return (max(sizes[-50:]) / max(sizes[half - 50 : half])) ** (1 / half)


@pytest.mark.parametrize(
    ("z", "beta", "capacity"),
    [(0.01, 0.5, 5), (0.1, 0.5, 0), (0.02, 0.9, 5), (0.3, 0.0, 5), (0.05, 0.2, 1), (0.05, 0.7, 3), (0.06, 0.9, 5)],
)
def test_the_largest_root_is_what_the_recursion_does(z: float, beta: float, capacity: int) -> None:
    assert spectral_radius(z, beta, capacity) == pytest.approx(shrinking(z, beta, capacity), rel=1e-3)


def test_the_worked_example() -> None:
    assert spectral_radius(0.01, 0.5, 5) == pytest.approx(0.954841, abs=5e-7)
    assert simulated_rate(1.0, alpha=0.01, beta=0.5, capacity=5) == pytest.approx(0.954841, abs=5e-7)


def test_coefficients_by_hand() -> None:
    z, beta = 0.3, 0.6
    expected = [1, -(1 + beta - z), beta + z / 3, z / 3, z / 3]
    np.testing.assert_allclose(characteristic_polynomial(z, beta, 3), expected)
    np.testing.assert_allclose(characteristic_polynomial(z, beta, 1), [1, -(1 + beta - z), beta + z])
    np.testing.assert_allclose(characteristic_polynomial(z, beta), [1, -(1 + beta - z), beta])


@pytest.mark.parametrize("capacity", [0, 1, 2, 5, 12])
def test_the_radius_is_that_of_the_roots(capacity: int) -> None:
    rng = np.random.default_rng(0)
    z, beta = rng.uniform(0, 4, 30), rng.uniform(0, 1, 30)
    expected = [np.abs(np.roots(characteristic_polynomial(a, b, capacity))).max() for a, b in zip(z, beta, strict=True)]
    np.testing.assert_allclose(spectral_radius(z, beta, capacity), expected, rtol=1e-7)
    assert spectral_radius(z[:, None], beta[None], capacity).shape == (30, 30)


@pytest.mark.parametrize("kappa", [2.0, 10.0, 100.0, 1000.0])
def test_heavy_ball_has_its_closed_form(kappa: float) -> None:
    root = math.sqrt(kappa)
    best = best_rate(kappa)
    assert 1 - best.rho == pytest.approx(2 / (root + 1), rel=3e-3)
    assert best.rho >= (root - 1) / (root + 1) - 1e-12
    assert best.beta == pytest.approx(((root - 1) / (root + 1)) ** 2, rel=2e-2)
    assert best.alpha == pytest.approx(4 / (1 + 1 / root) ** 2, rel=2e-2)


def test_at_condition_number_one_heavy_ball_needs_one_step() -> None:
    assert best_rate(1.0).rho == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("kappa", [3.0, 300.0])
def test_held_momentum_of_heavy_ball(kappa: float) -> None:
    assert best_rate(kappa, beta=0.9).rho == pytest.approx(math.sqrt(0.9), abs=1e-6)
    beyond = best_rate(1e4, beta=0.9)  # sqrt(beta) is out of reach, as both ends no longer fit
    assert beyond.rho > math.sqrt(0.9)
    assert beyond.alpha == pytest.approx(3.8, rel=1e-2)


@pytest.mark.parametrize(("capacity", "kappa"), [(1, 10.0), (5, 10.0), (5, 100.0)])
def test_no_other_step_and_momentum_is_better(capacity: int, kappa: float) -> None:
    best = best_rate(kappa, capacity=capacity)
    eigenvalues = np.geomspace(1 / kappa, 1, 400)
    assert spectral_radius(best.alpha * eigenvalues, best.beta, capacity).max() == pytest.approx(best.rho, rel=1e-4)
    rng = np.random.default_rng(1)
    alphas, betas = np.exp(rng.uniform(np.log(1e-3), np.log(6), 1500)), rng.uniform(0, 1, 1500)
    tried = spectral_radius(alphas[:, None] * eigenvalues[::21], betas[:, None], capacity).max(1)
    assert tried.min() > best.rho - 1e-6
    assert tried.min() < best.rho + 0.05  # the draws come near, so that they could have been better


@pytest.mark.parametrize(("capacity", "tolerance"), [(0, 0.03), (5, 0.01)])
def test_the_optimizer_converges_at_that_rate(capacity: int, tolerance: float) -> None:
    best = best_rate(20.0, capacity=capacity)
    measured = simulated_rate(20.0, alpha=best.alpha, beta=best.beta, capacity=capacity)
    assert 1 - measured == pytest.approx(1 - best.rho, rel=tolerance)  # heavy ball's double root lags a little


def test_keeping_large_gradients_is_slower_where_they_shrink_fast() -> None:
    best = best_rate(10.0, capacity=5)
    rates = {
        kind: 1 - simulated_rate(10.0, alpha=best.alpha, beta=best.beta, capacity=5, replacement=kind)
        for kind in ("fifo", "priority")
    }
    assert rates["fifo"] == pytest.approx(1 - best.rho, rel=1e-2)
    assert rates["priority"] < 0.8 * rates["fifo"]


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.99])
def test_the_largest_step_of_heavy_ball(beta: float) -> None:
    assert largest_step(beta) == pytest.approx(2 * (1 + beta), rel=1e-6)
    assert largest_step(beta, 1) == pytest.approx(1 - beta, rel=1e-6)


@pytest.mark.parametrize("capacity", [2, 5, 10])
def test_the_largest_step_is_where_stability_ends(capacity: int) -> None:
    z = largest_step(0.9, capacity)
    assert (spectral_radius(np.linspace(0.01, 0.999, 50) * z, 0.9, capacity) < 1).all()
    assert spectral_radius(1.001 * z, 0.9, capacity) > 1


def test_critical_momenta_converge_more_slowly() -> None:
    table = convergence_rates([2.0, 30.0, 500.0])
    rates = table.pivot(index=["momentum", "condition_number"], columns="capacity", values="rate")
    assert (rates[5] < rates[0]).all()
    assert ((table["rate"] > 0) & (table["rate"] <= 1)).all()
    np.testing.assert_allclose(table["rate"], 1 - table["rho"])
    for rows in (rows for _, rows in table.groupby(["capacity", "momentum"])):
        assert (rows["rate"].diff().dropna() < 1e-6).all()
    assert table["simulated_rate"].isna().all()


def test_a_table_with_runs_beside_theory() -> None:
    table = convergence_rates([3.0, 9.0], capacities=[0], betas=[None], simulated=[9.0])
    assert list(table["simulated_rate"].isna()) == [True, False]
    assert table["simulated_rate"].iloc[1] == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: best_rate(0.9), "condition_number must be at least 1, got 0.9"),
        (lambda: best_rate(math.nan), "condition_number must be at least 1, got nan"),
        (lambda: best_rate(3.0, beta=1.0), r"beta must be in \[0, 1\), got 1.0"),
        (lambda: spectral_radius(0.1, 0.9, -1), "capacity must be at least 0, got -1"),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
