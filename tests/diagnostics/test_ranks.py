"""Ranks of features against NumPy's singular values."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tamcl.diagnostics import ApproximateRank, Diagnostic, EffectiveRank, StableRank
from tamcl.models import Classifier
from tests.diagnostics.helpers import update
from tests.diagnostics.test_hessian import Head


def rank(diagnostic: Diagnostic, features: Tensor) -> float:
    """The rank that a diagnostic finds in features that the body hands through."""
    network = Classifier(nn.Identity(), Head(features.shape[1], 2).to(features.dtype))
    [(name, value)] = diagnostic.measure(update(network, features, torch.zeros(len(features)).long()))
    assert name == ""
    return float(value)


def smallest_count(values: np.ndarray, share: float) -> int:
    return next(k for k in range(1, len(values) + 1) if values[:k].sum() >= share * values.sum())


@pytest.mark.parametrize("shape", [(50, 8), (8, 50), (30, 30), (1, 5)])
@pytest.mark.parametrize("decay", [1.0, 0.5])
def test_ranks_by_numpy(shape: tuple[int, int], decay: float) -> None:
    features = np.random.default_rng(0).normal(size=shape) * decay ** np.arange(shape[1])
    sigma = np.linalg.svd(features, compute_uv=False)
    p = sigma / sigma.sum()
    p = p[p > 0]
    found = torch.from_numpy(features)
    assert rank(EffectiveRank(), found) == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-9)
    assert rank(ApproximateRank(), found) == smallest_count(sigma**2, 0.99)
    assert rank(StableRank(), found) == smallest_count(sigma, 0.99)
    assert rank(StableRank(share=0.5), found) == smallest_count(sigma, 0.5)
    assert rank(ApproximateRank(share=0.7), found) == smallest_count(sigma**2, 0.7)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_k_equal_directions_have_rank_k(k: int) -> None:
    features = torch.zeros(10, 6)
    features[:k, :k] = 3 * torch.eye(k)
    for diagnostic in (EffectiveRank(), ApproximateRank(), StableRank()):
        assert rank(diagnostic, features) == pytest.approx(k)


def test_no_features_no_rank_and_nan_is_nan() -> None:
    for diagnostic in (EffectiveRank(), ApproximateRank(), StableRank()):
        assert rank(diagnostic, torch.zeros(4, 3)) == 0
        assert math.isnan(rank(diagnostic, torch.tensor([[1.0, torch.nan]])))
        assert math.isnan(rank(diagnostic, torch.tensor([[1.0, torch.inf]])))


class Whole(nn.Linear):
    """A model that is no body and head."""

    def forward(self, x: Tensor, task: int) -> Tensor:  # type: ignore[override]
        return super().forward(x)


def test_a_model_without_a_body_has_no_rows() -> None:
    moment = update(Whole(3, 2), torch.ones(4, 3), torch.zeros(4).long())
    assert [*EffectiveRank().measure(moment), *ApproximateRank().measure(moment), *StableRank().measure(moment)] == []
