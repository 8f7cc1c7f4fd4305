r"""How well a language model predicts text that it was not trained on: metrics of the loss matrix.

``L[i, j]`` is the mean loss a token, in nats, on the validation text of experience j after training on experience i: of
the same shape as the accuracy matrix of ``tamcl.metrics.retention``, whose metrics hold of text as well, an accuracy
being the share of tokens that the model thought the likeliest. A loss that was not measured is nan, and a metric that
needs it raises ``Missing``. There are such metrics for text alone.

The examples are of one matrix, ``LOSSES``: ``[[1.5, 2.5], [2.0, 1.0]]``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tamcl.metrics.retention import Missing

Array = NDArray[np.float64]

LOSSES = np.array([[1.5, 2.5], [2.0, 1.0]])
"""The loss matrix of the examples."""

MOST = 700.0
"""Nats: the exponential of more is no number of 64 bits."""


def validation_loss(L: ArrayLike) -> float:
    r"""Return the mean loss a token on the validation text at the end of training; lower is better.

    .. math:: \ell = \frac{1}{T} \sum_{j=0}^{T-1} L_{T-1,j}

    Every experience counts alike, however long its text is. The value is at least 0, in nats; divided by the logarithm
    of 2 it is in bits.

    Parameters
    ----------
    L : array, (T, T)
        Mean loss a token on experience j after training on experience i.

    References
    ----------
    T. Mikolov et al., Recurrent neural network based language model, 2010, https://doi.org/10.21437/Interspeech.2010-343

    Examples
    --------
    >>> validation_loss(LOSSES)
    1.5
    """
    L = np.asarray(L, dtype=np.float64)
    if L.ndim != 2 or L.shape[0] != L.shape[1] or L.size == 0:
        raise ValueError(f"L has shape {L.shape}: a square loss matrix (T, T) with T >= 1 is needed")
    last = len(L) - 1
    for j, loss in enumerate(L[last]):
        if np.isnan(loss):
            raise Missing(f"L[{last}, {j}] is missing: the loss on experience {j} after training on experience {last}")
        if not 0 <= loss < np.inf:
            raise ValueError(f"L[{last}, {j}] = {loss:g}: a number >= 0 is possible")
    return float(L[last].mean())


def perplexity(L: ArrayLike) -> float:
    r"""Return the exponential of the validation loss, among how many tokens the model is undecided; lower is better.

    .. math:: PPL = \exp \Big( \frac{1}{T} \sum_{j=0}^{T-1} L_{T-1,j} \Big)

    With several experiences it is the geometric mean of their perplexities. The value is at least 1. A model that knows
    nothing has about that of the vocabulary's size; perplexities of characters and of words cannot be compared. Losses
    above 700 nats count as 700, since the exponential of more is no number.

    Parameters
    ----------
    L : array, (T, T)
        Mean loss a token on experience j after training on experience i.

    References
    ----------
    T. Mikolov et al., Recurrent neural network based language model, 2010, https://doi.org/10.21437/Interspeech.2010-343

    Examples
    --------
    >>> round(perplexity(LOSSES), 4)
    4.4817
    """
    return float(np.exp(min(validation_loss(L), MOST)))
