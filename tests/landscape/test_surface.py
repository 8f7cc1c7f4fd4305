"""Barrier, curvature and sharpness of networks of two weights, against what paper and pencil say."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
import torch
from torch import nn

from tamcl.errors import InputError
from tamcl.landscape import between, renew_statistics
from tamcl.landscape.normalization import statistics_of
from tamcl.landscape.surface import thinned
from tamcl.metrics import barrier
from tests.landscape.helpers import SQUARES, X, pixels, surface, weights

ALPHAS = np.linspace(0, 1, 11)
PLACES = ALPHAS.tolist()
UNIT = (X - X.mean()) / X.std(ddof=1)


def test_two_ends_of_the_same_function_have_a_barrier_of_the_mean_square_between_them() -> None:
    """``u v x`` against ``x``: (1, 1) and (-1, -1) are both right, and half-way the network gives nothing."""
    land = surface()
    heights = [land.heights(between(weights(1, 1), weights(-1, -1), alpha)) for alpha in PLACES]
    for part in ("train", "test"):
        losses = [height[part].loss for height in heights]
        np.testing.assert_allclose(losses, SQUARES * (1 - (1 - 2 * ALPHAS) ** 2) ** 2, rtol=1e-5, atol=1e-6)
        assert barrier(ALPHAS, losses) == pytest.approx(SQUARES)
    assert np.isnan(heights[0]["test"].accuracy)


def test_a_convex_loss_has_no_barrier() -> None:
    land = surface()
    losses = [land.heights(between(weights(0.5, 1), weights(3, 1), alpha))["test"].loss for alpha in PLACES]
    np.testing.assert_allclose(losses, SQUARES * (0.5 + 2.5 * ALPHAS - 1) ** 2, rtol=1e-4, atol=1e-6)
    assert barrier(ALPHAS, losses) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("u", "v"), [(1.0, 1.0), (1.0, 2.0), (-0.5, 3.0)])
def test_curvature_and_sharpness_by_hand(u: float, v: float) -> None:
    """The loss is m (u v - 1)^2 with m the mean of x^2."""
    top, rise = surface().curvature(weights(u, v))
    hessian = 2 * SQUARES * np.array([[v**2, 2 * u * v - 1], [2 * u * v - 1, u**2]])
    assert top == pytest.approx(np.linalg.eigvalsh(hessian)[-1], rel=1e-3)
    step = 0.05 / sqrt(u**2 + v**2) * np.sign(u * v - 1)
    moved = SQUARES * ((u + step * v) * (v + step * u) - 1) ** 2
    assert rise == pytest.approx(moved - SQUARES * (u * v - 1) ** 2, rel=1e-4, abs=1e-6)


def test_statistics_made_anew_take_away_a_barrier_that_old_ones_make() -> None:
    """With x normalised, any weight before it gives the same function, if mean and variance are those of its own."""
    land = surface(normalized=True, y=UNIT)
    mean, var = X.mean(), X.var(ddof=1)
    ends = weights(1, 1, mean=mean, var=var), weights(3, 1, mean=3 * mean, var=9 * var)
    renewed = statistics_of(land.model)
    assert renewed == {f"body.norm.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
    anew = [land.heights(between(*ends, alpha, renewed=renewed))["test"].loss for alpha in PLACES]
    np.testing.assert_allclose(anew, 0, atol=1e-8)
    old = [land.height(between(*ends, alpha), "test").loss for alpha in PLACES]
    scale = (1 + 2 * ALPHAS) / np.sqrt(1 + 8 * ALPHAS)  # weight over standard deviation, which is 1 at both ends
    np.testing.assert_allclose(old, (scale - 1) ** 2 * (UNIT**2).mean(), rtol=1e-3, atol=1e-6)
    assert barrier(ALPHAS, old) > 0.01


def test_statistics_are_the_mean_over_mini_batches_and_nothing_else_is_touched() -> None:
    model = nn.Sequential(
        nn.BatchNorm1d(2, momentum=0.3), nn.Dropout(0.5), nn.BatchNorm1d(2, track_running_stats=False)
    )
    model.eval()
    batches = torch.arange(24.0).reshape(3, 4, 2) ** 1.5
    model[0].running_mean.fill_(99.0)
    renew_statistics(model, [lambda batch=batch: model(batch) for batch in batches])  # type: ignore[misc]
    np.testing.assert_allclose(model[0].running_mean, batches.numpy().mean(1).mean(0), rtol=1e-6)
    np.testing.assert_allclose(model[0].running_var, batches.numpy().var(1, ddof=1).mean(0), rtol=1e-6)
    assert model[0].momentum == 0.3
    assert not any(module.training for module in model.modules())


def test_ends_are_met_exactly_and_what_lies_between_no_two_is_refused() -> None:
    start, end = (torch.randn(50, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    for alpha, whole in ((0.0, start), (1.0, end)):
        assert torch.equal(between({"w": start}, {"w": end}, alpha)["w"], whole)
    with pytest.raises(InputError, match="'steps' holds torch.int64 and differs between two ends"):
        between({"steps": torch.tensor(1)}, {"steps": torch.tensor(2)}, 0.5)
    assert between({"steps": torch.tensor(1)}, {"steps": torch.tensor(2)}, 0.5, renewed={"steps"})["steps"] == 1


def test_examples_are_spread_over_all() -> None:
    assert thinned(pixels(X, repeats=5), 4).index.tolist() == [0, 5, 10, 15]
    assert thinned(pixels(X), 9).index.tolist() == [0, 1, 2, 3]
