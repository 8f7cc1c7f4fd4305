"""How much of a mini-batch's loss the update on it removes."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from tamcl.diagnostics.diagnostic import Diagnostic, Row
from tamcl.diagnostics.update import Update, undisturbed

SMALLEST_LOSS = 1e-8
"""Loss before the update below which there is nothing to remove."""


class SamplePlasticity(Diagnostic):
    r"""Share of the mini-batch's loss that the update on it removes, in [0, 1].

    .. math::
        \min \Big( 1, \max \Big( 0, 1 - \frac{L(\theta_{t+1})}{\max(L(\theta_t), \epsilon)} \Big) \Big)

    Both losses are taken in evaluation mode, so that dropout and batch statistics do not differ between the two. It
    follows the learning rate directly, whatever is learnt: a larger step removes more of the loss of one mini-batch.
    The paper trains on single samples, and reports how far the mean falls from the first part of a stream to the last.

    References
    ----------
    Addressing Loss of Plasticity and Catastrophic Forgetting in Continual Learning, 2024,
    https://arxiv.org/abs/2404.00781
    """

    def prepare(self, update: Update) -> None:
        """Take the loss before the update."""
        self._before = _loss(update)

    def measure(self, update: Update) -> Iterable[Row]:
        """Return the share."""
        return [("", (1 - _loss(update) / self._before.clamp(min=SMALLEST_LOSS)).clamp(0, 1))]


@torch.no_grad()
def _loss(update: Update) -> Tensor:
    strategy = update.strategy
    with undisturbed(update.model):
        output = update.model(strategy.mb_x, strategy.experience.task)
        return strategy._criterion(output, strategy.mb_y)  # type: ignore[no-any-return]
