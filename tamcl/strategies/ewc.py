"""Elastic weight consolidation."""

from __future__ import annotations

from typing import Unpack

from tamcl.strategies.anchored import Anchored
from tamcl.strategies.naive import Common


class EWC(Anchored):
    r"""Elastic weight consolidation: weights that an experience's loss depends on are pulled back to its end.

    .. math::
        \tilde L = L + \lambda \sum_{k < e} \sum_i F_{k,i} (\theta_i - \theta^*_{k,i})^2

    :math:`F_k` is the mean over mini-batches of the squared gradient of experience k's loss at its end,
    :math:`\theta^*_k`, as in Avalanche's ``EWCPlugin``. The sum over experiences is one quadratic in :math:`\theta`, so
    it is kept as one: memory and time do not grow with their number.

    Parameters
    ----------
    strength : float
        :math:`\lambda`, at least 0; twice as much in the paper's formula. The default is what TAG found best on
        5-dataset (with another estimate of F).
    decay : float, optional
        Online EWC: there is one anchor, the end of the last experience, and importance shrinks by this factor in [0, 1]
        before that of the next is added. Every experience has its own anchor if absent.
    **common
        The arguments of ``Naive``, without ``settings.restart``.

    Notes
    -----
    Assumption, from Avalanche: the gradient that is squared is that of a mini-batch, not of an example as in the Fisher
    information, and of the true label, not of one drawn from the model. A strength therefore belongs to a batch size.

    References
    ----------
    J. Kirkpatrick et al., "Overcoming catastrophic forgetting in neural networks", 2016,
    https://arxiv.org/abs/1612.00796. J. Schwarz et al., "Progress & Compress: A scalable framework for continual
    learning", 2018, https://arxiv.org/abs/1805.06370
    """

    def __init__(self, *, strength: float = 100.0, decay: float | None = None, **common: Unpack[Common]) -> None:
        if decay is not None and not 0 <= decay <= 1:
            raise ValueError(f"decay = {decay}: must be in [0, 1]")
        super().__init__(strength=strength, **common)
        self.decay = decay

    def consolidate(self) -> None:
        """Add the experience's quadratic."""
        fishers = self.mean_over_batches(self._criterion, lambda gradient: gradient**2)
        for weight, omega, anchor, fisher in zip(self.weights, self.importance, self.anchor, fishers, strict=True):
            if self.decay is not None:
                omega.mul_(self.decay).add_(fisher)
                anchor.copy_(weight)
            else:
                omega.add_(fisher)  # the sum of two quadratics has its lowest point at their weighted mean
                share = (fisher / omega).nan_to_num_(0)
                anchor.add_(share * (weight - anchor))
