"""Coordinates on a plane, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tamcl.landscape import Plane
from tamcl.landscape.plane import OnOneLine


def some_weights(*seeds: int) -> list[dict[str, torch.Tensor]]:
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return [
        {
            "w": torch.randn(3, 2, generator=g, dtype=torch.float64),
            "steps": torch.tensor(3),
            "b": torch.randn(2, generator=g, dtype=torch.float64),
        }
        for g in generators
    ]


def flat(weights: dict[str, torch.Tensor]) -> np.ndarray:
    return np.concatenate([weights[name].numpy().ravel() for name in ("w", "b")])


def test_corners_are_the_three_points_and_distances_are_kept() -> None:
    points = some_weights(0, 1, 2)
    plane = Plane(points)
    one, two, three = map(flat, points)
    for corner, point in zip(plane.corners, (one, two, three), strict=True):
        np.testing.assert_allclose(flat(plane.at(*corner)), point, atol=1e-12)
    (x, y), (a, b) = plane.corners[2], (0.3, -1.7)
    assert plane.corners[1] == (pytest.approx(np.linalg.norm(two - one)), 0)
    assert np.hypot(x, y) == pytest.approx(np.linalg.norm(three - one))
    assert np.linalg.norm(flat(plane.at(a, b)) - one) == pytest.approx(np.hypot(a, b))
    assert plane.at(a, b)["steps"] == 3


def test_the_grid_reaches_a_quarter_beyond_the_three_points() -> None:
    plane = Plane([{"w": torch.tensor(point)} for point in ([0.0, 0.0], [8.0, 0.0], [4.0, 4.0])])
    x, y = plane.grid(4)
    assert x.tolist() == [-2.0, 2.0, 6.0, 10.0]
    assert y.tolist() == [-1.0, 1.0, 3.0, 5.0]


@pytest.mark.parametrize("third", [[0.0, 0.0], [2.0, 0.0], [8.0, 0.0], [900.0, 5.0]])
def test_three_points_on_a_line_are_refused(third: list[float]) -> None:
    points = [{"w": torch.tensor(point)} for point in ([0.0, 0.0], [2.0, 0.0], third)]
    with pytest.raises(OnOneLine, match="lie on a line, or two of them in one place"):
        Plane(points)
