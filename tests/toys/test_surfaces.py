from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar, rosen, rosen_der

from tamcl.toys import SURFACES, Surface, flat_sharp, quadratic
from tamcl.toys.surfaces import barrier, barrier_height, find_surface

ALL = SURFACES | {
    "flat_sharp": flat_sharp(20.0),
    "quadratic": quadratic(100.0, dimension=3),
}


def points(surface: Surface, count: int = 40) -> np.ndarray:
    return surface.starts(count, seed=3)


@pytest.mark.parametrize(
    ("name", "point", "value"),
    [
        ("ackley", (0, 0), 0.0),
        ("ackley", (1, 1), 3.6253849384403627),
        ("goldstein_price", (0, -1), 3.0),
        ("goldstein_price", (-0.6, -0.4), 30.0),
        ("goldstein_price", (1.8, 0.2), 84.0),
        ("goldstein_price", (1.2, 0.8), 840.0),
        ("goldstein_price", (0, 0), 600.0),
        ("rosenbrock", (1, 1), 0.0),
        ("rosenbrock", (-1.2, 1), 24.2),
    ],
)
def test_published_values(name: str, point: tuple[float, float], value: float) -> None:
    assert SURFACES[name].value(point) == pytest.approx(value, abs=1e-12)


def test_the_three_other_minima_of_goldstein_and_price_are_flat() -> None:
    flat = SURFACES["goldstein_price"].gradient([(-0.6, -0.4), (1.8, 0.2), (1.2, 0.8)])
    np.testing.assert_allclose(flat, 0, atol=1e-9)


def test_rosenbrock_is_that_of_scipy() -> None:
    surface = SURFACES["rosenbrock"]
    for point in points(surface):
        assert surface.value(point) == pytest.approx(rosen(point))
        np.testing.assert_allclose(surface.gradient(point), rosen_der(point))


def test_ackley_is_the_formula() -> None:
    for x, y in points(SURFACES["ackley"]):
        waves = math.exp((math.cos(2 * math.pi * x) + math.cos(2 * math.pi * y)) / 2)
        expected = -20 * math.exp(-0.2 * math.sqrt((x * x + y * y) / 2)) - waves + 20 + math.e
        assert SURFACES["ackley"].value((x, y)) == pytest.approx(expected)


@pytest.mark.parametrize("name", ALL)
def test_gradient_is_the_slope(name: str) -> None:
    surface = ALL[name]
    at, h = points(surface), 1e-6
    for axis, direction in enumerate(np.eye(len(surface.bounds))):
        slope = (surface.value(at + h * direction) - surface.value(at - h * direction)) / (2 * h)
        np.testing.assert_allclose(surface.gradient(at)[:, axis], slope, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", ALL)
def test_minima_are_flat_and_lowest(name: str) -> None:
    surface = ALL[name]
    np.testing.assert_allclose(surface.value(surface.minima), surface.lowest, atol=1e-12)
    np.testing.assert_allclose(surface.gradient(surface.minima), 0, atol=1e-9)
    assert surface.value(points(surface, 20_000)).min() >= surface.lowest
    np.testing.assert_allclose(surface.distance(surface.minima), 0)


@pytest.mark.parametrize("sharpness", [1.0, 4.0, 1000.0])
def test_flat_and_sharp(sharpness: float) -> None:
    surface, h = flat_sharp(sharpness), 1e-5
    for place, curvature in ((-1, 1.0), (1, sharpness)):
        around = surface.value([[place - h], [place], [place + h]])
        assert (around[0] - 2 * around[1] + around[2]) / h**2 == pytest.approx(curvature, rel=1e-3)
    top = minimize_scalar(
        lambda x: -float(surface.value([x])), bounds=(-1, 1), method="bounded", options={"xatol": 1e-10}
    )
    assert barrier(sharpness) == pytest.approx(top.x, abs=1e-6)
    assert barrier_height(sharpness) == pytest.approx(-top.fun)
    x = np.linspace(-30, 30, 100_001)  # an even grid that meets neither minimum nor barrier but at -1, 0 and 1
    turns = np.flatnonzero(np.diff(np.sign(surface.gradient(x[:, None])[:, 0] + 1e-15)))
    np.testing.assert_allclose(x[turns], [-1, barrier(sharpness), 1], atol=1e-3)


def test_each_row_may_have_its_own_sharpness() -> None:
    x = np.array([[0.3], [1.2], [-2.0]])
    together = flat_sharp([2.0, 5.0, 100.0])
    for row, sharpness in enumerate([2.0, 5.0, 100.0]):
        assert together.value(x)[row] == flat_sharp(sharpness).value(x[row])
        np.testing.assert_array_equal(together.gradient(x)[row], flat_sharp(sharpness).gradient(x[row]))


@pytest.mark.parametrize(("condition_number", "dimension"), [(1.0, 2), (50.0, 2), (1000.0, 7)])
def test_the_condition_number_is_that_of_the_hessian(condition_number: float, dimension: int) -> None:
    hessian = quadratic(condition_number, dimension=dimension).gradient(np.eye(dimension))
    eigenvalues = np.linalg.eigvalsh(hessian)
    assert eigenvalues.max() == pytest.approx(1)
    assert eigenvalues.max() / eigenvalues.min() == pytest.approx(condition_number)


def test_starts_are_drawn_within_the_bounds_and_by_the_seed() -> None:
    surface = SURFACES["rosenbrock"]
    low, high = np.array(surface.bounds).T
    drawn = surface.starts(500, seed=1)
    assert drawn.shape == (500, 2)
    assert ((low <= drawn) & (drawn <= high)).all()
    np.testing.assert_array_equal(drawn, surface.starts(500, seed=1))
    assert not np.array_equal(drawn, surface.starts(500, seed=2))


def test_coordinates_have_names() -> None:
    assert [ALL[name].axes for name in ("flat_sharp", "ackley", "quadratic")] == [
        ("x",),
        ("x", "y"),
        ("x1", "x2", "x3"),
    ]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: flat_sharp(0.0), "sharpness must be above 0, got 0.0"),
        (lambda: flat_sharp([1.0, -2.0]), r"sharpness must be above 0, got \[1.0, -2.0\]"),
        (lambda: quadratic(0.5), "condition_number must be at least 1, got 0.5"),
        (lambda: quadratic(math.nan), "condition_number must be at least 1, got nan"),
        (lambda: quadratic(10, dimension=1), "dimension must be at least 2, got 1"),
        (lambda: quadratic(10, noise=-1), "noise must be at least 0, got -1"),
        (lambda: SURFACES["ackley"].value([1, 2, 3]), r"points of Ackley must have 2 coordinates, got shape \(3,\)"),
        (lambda: find_surface("akley"), "unknown surface 'akley': did you mean 'ackley'?"),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
