r"""What is kept of earlier experiences: metrics of the accuracy matrix.

``R[i, j]`` is the accuracy on experience j after training on experience i, both counted from 0; T is their number. An
entry that was not measured is nan: a metric that needs it says so, and never takes it for 0.

"Forgetting" has several definitions in the literature and in the libraries, so each one here has its equation, its sign
and its source. Under label flips the same input has another label in every concept, so that what is learned of a new
concept must be forgotten of the old ones: retention says there how far a model has moved on, not how good it is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


class Missing(ValueError):
    """An accuracy that a metric needs was not measured."""


def average_accuracy(R: ArrayLike) -> float:
    r"""Return the mean accuracy over all experiences at the end of training; higher is better.

    .. math:: ACC = \frac{1}{T} \sum_{j=0}^{T-1} R_{T-1,j}

    Parameters
    ----------
    R : array, (T, T)
        ``R[i, j]``, accuracy on experience j after training on experience i, in [0, 1].

    Returns
    -------
    float
        In [0, 1].

    References
    ----------
    Gradient Episodic Memory for Continual Learning, 2017, https://arxiv.org/abs/1706.08840

    Examples
    --------
    >>> R = [[0.60, 0.00, 0.00],
    ...      [0.90, 0.80, 0.00],
    ...      [0.70, 0.85, 0.75]]
    >>> round(average_accuracy(R), 4)
    0.7667
    """
    R = _matrix(R)
    _require(R, _last_row(R))
    return float(R[-1].mean())


def forgetting(R: ArrayLike) -> float:
    r"""Return how far earlier experiences have fallen below their best, on average; lower is better.

    .. math:: F = \frac{1}{T-1} \sum_{j=0}^{T-2} \Big( \max_{j \le l < T-1} R_{l,j} - R_{T-1,j} \Big)

    The best is taken over the rows from the one that trained experience j to the last but one, so that F is negative
    where the last experience made earlier ones better than they ever were. Other definitions that go by this name:
    with the last row inside the maximum F cannot be negative; with :math:`R_{j,j}` for the maximum it is minus
    ``backward_transfer``; with the rows before j inside the maximum a lucky accuracy on an experience not yet trained
    counts as knowledge.

    Parameters
    ----------
    R : array, (T, T)
        ``R[i, j]``, accuracy on experience j after training on experience i, in [0, 1]. Entries above the diagonal
        are not used.

    Returns
    -------
    float
        In [-1, 1]; nan for one experience, which leaves nothing to forget.

    References
    ----------
    Riemannian Walk for Incremental Learning: Understanding Forgetting and Intransigence, 2018, equation 3,
    https://arxiv.org/abs/1801.10112

    Examples
    --------
    Experience 0 was at best 0.9 and ends at 0.7; experience 1 rose from 0.8 to 0.85: (0.2 - 0.05) / 2.

    >>> R = [[0.60, 0.00, 0.00],
    ...      [0.90, 0.80, 0.00],
    ...      [0.70, 0.85, 0.75]]
    >>> round(forgetting(R), 4)
    0.075
    """
    R = _matrix(R)
    if len(R) == 1:
        return float("nan")
    trained = np.tri(len(R), dtype=bool)
    trained[-1, -1] = False
    _require(R, trained)
    earlier = np.where(trained, R, -np.inf)[:-1, :-1]
    return float((earlier.max(axis=0) - R[-1, :-1]).mean())


def backward_transfer(R: ArrayLike) -> float:
    r"""Return how later training changed the accuracy on earlier experiences; higher is better.

    .. math:: BWT = \frac{1}{T-1} \sum_{j=0}^{T-2} \big( R_{T-1,j} - R_{j,j} \big)

    Parameters
    ----------
    R : array, (T, T)
        ``R[i, j]``, accuracy on experience j after training on experience i, in [0, 1].

    Returns
    -------
    float
        In [-1, 1], negative where training on later experiences did harm; nan for one experience.

    References
    ----------
    Gradient Episodic Memory for Continual Learning, 2017, https://arxiv.org/abs/1706.08840

    Examples
    --------
    >>> R = [[0.60, 0.00, 0.00],
    ...      [0.90, 0.80, 0.00],
    ...      [0.70, 0.85, 0.75]]
    >>> round(backward_transfer(R), 4)
    0.075
    """
    R = _matrix(R)
    if len(R) == 1:
        return float("nan")
    needed = np.eye(len(R), dtype=bool) | _last_row(R)
    needed[-1, -1] = False
    _require(R, needed)
    return float((R[-1, :-1] - R.diagonal()[:-1]).mean())


def learning_accuracy(R: ArrayLike) -> float:
    r"""Return the mean accuracy on each experience right after training on it; higher is better.

    .. math:: LA = \frac{1}{T} \sum_{j=0}^{T-1} R_{j,j}

    Parameters
    ----------
    R : array, (T, T)
        ``R[i, j]``, accuracy on experience j after training on experience i, in [0, 1].

    Returns
    -------
    float
        In [0, 1].

    References
    ----------
    Learning to Learn without Forgetting by Maximizing Transfer and Minimizing Interference, 2019,
    https://arxiv.org/abs/1810.11910

    Examples
    --------
    >>> R = [[0.60, 0.00, 0.00],
    ...      [0.90, 0.80, 0.00],
    ...      [0.70, 0.85, 0.75]]
    >>> round(learning_accuracy(R), 4)
    0.7167
    """
    R = _matrix(R)
    _require(R, np.eye(len(R), dtype=bool))
    return float(R.diagonal().mean())


def _matrix(R: ArrayLike) -> Array:
    matrix = np.asarray(R, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
        raise ValueError(f"R has shape {matrix.shape}: a square accuracy matrix (T, T) with T >= 1 is needed")
    outside = np.argwhere((matrix < 0) | (matrix > 1))
    if len(outside):
        i, j = outside[0]
        raise ValueError(f"R[{i}, {j}] = {matrix[i, j]:g}: accuracies are fractions in [0, 1]")
    return matrix


def _last_row(R: Array) -> NDArray[np.bool_]:
    return np.broadcast_to(np.arange(len(R))[:, None] == len(R) - 1, R.shape)


def _require(R: Array, needed: NDArray[np.bool_]) -> None:
    missing = np.argwhere(needed & np.isnan(R))
    if len(missing):
        i, j = missing[0]
        raise Missing(f"R[{i}, {j}] is missing: the accuracy on experience {j} after training on experience {i}")
