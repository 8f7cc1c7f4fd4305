r"""How many directions the features take: ranks of the matrix of features of the examples, in evaluation mode.

The matrix, (examples, features), is what the model's body gives, not centred; :math:`\sigma_1 \ge \sigma_2 \ge \dots`
are its singular values. No rank is above the number of examples or of features. A matrix of zeros has rank 0.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from tamcl.diagnostics.diagnostic import Diagnostic, Row
from tamcl.diagnostics.update import Update


class EffectiveRank(Diagnostic):
    r"""Exponential of the entropy of the features' singular values.

    .. math::
        \exp \Bigl( - \sum_i p_i \ln p_i \Bigr) \quad \text{with } p_i = \sigma_i / \sum_j \sigma_j

    References
    ----------
    The Effective Rank: A Measure of Effective Dimensionality, 2007
    """

    def measure(self, update: Update) -> Iterable[Row]:
        """Return the rank."""
        return [("", effective_rank(sigma)) for sigma in singular_values(update)]


class ApproximateRank(Diagnostic):
    r"""How many of the features' singular values hold 99 % of the sum of squares.

    .. math::
        \min \Bigl\{ k : \sum_{i \le k} \sigma_i^2 \ge 0.99 \sum_j \sigma_j^2 \Bigr\}

    Parameters
    ----------
    share : float
        In place of 0.99.

    References
    ----------
    Harnessing Structures for Value-Based Planning and Reinforcement Learning, 2019, https://arxiv.org/abs/1909.12255
    """

    def __init__(self, *, share: float = 0.99) -> None:
        self.share = _checked(share)

    def measure(self, update: Update) -> Iterable[Row]:
        """Return the rank."""
        return [("", count_to_share(sigma**2, self.share)) for sigma in singular_values(update)]


class StableRank(Diagnostic):
    r"""How many of the features' singular values hold 99 % of their sum.

    .. math::
        \min \Bigl\{ k : \sum_{i \le k} \sigma_i \ge 0.99 \sum_j \sigma_j \Bigr\}

    In the study of plasticity this goes by the name of stable rank (srank); in numerical linear algebra that name is
    another quantity's, the sum of squares over the largest square. The paper below calls it effective rank, which here
    is another quantity, too.

    Parameters
    ----------
    share : float
        In place of 0.99.

    References
    ----------
    Implicit Under-Parameterization Inhibits Data-Efficient Deep Reinforcement Learning, 2020,
    https://arxiv.org/abs/2010.14498
    """

    def __init__(self, *, share: float = 0.99) -> None:
        self.share = _checked(share)

    def measure(self, update: Update) -> Iterable[Row]:
        """Return the rank."""
        return [("", count_to_share(sigma, self.share)) for sigma in singular_values(update)]


def singular_values(update: Update) -> list[Tensor]:
    """Return the singular values of the features, largest first, in float64; nothing for a model without a body."""
    if update.features is None:
        return []
    features = update.features.double().flatten(1)
    if not features.isfinite().all():
        return [features.new_full((1,), torch.nan)]
    return [torch.linalg.svdvals(features)]


def effective_rank(sigma: Tensor) -> float:
    """Return the exponential of the entropy of singular values.

    Examples
    --------
    >>> round(effective_rank(torch.tensor([2.0, 2.0, 2.0, 0.0])), 6)
    3.0
    """
    total = sigma.sum()
    if total == 0:
        return 0.0
    return float(torch.special.entr(sigma / total).sum().exp())


def count_to_share(values: Tensor, share: float) -> float:
    """Return how many values, from the first on, make up a share of their sum.

    Examples
    --------
    >>> count_to_share(torch.tensor([6.0, 3.0, 1.0]), 0.9)
    2.0
    """
    sums = values.cumsum(0)
    if not sums[-1].isfinite():
        return float("nan")
    return float((sums < share * sums[-1]).sum() + 1) if sums[-1] > 0 else 0.0


def _checked(share: float) -> float:
    if not 0 < share <= 1:
        raise ValueError(f"share = {share}: must be above 0 and at most 1")
    return share
