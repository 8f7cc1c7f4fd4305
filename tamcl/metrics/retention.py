r"""What is kept of earlier experiences: metrics of the accuracy matrix.

``R[i, j]`` is the accuracy on experience j, a fraction in [0, 1], after training on experience i; both are counted from
0 and T is their number, so that R is (T, T) and its diagonal is the accuracy on each experience right after training on
it. This is the argument of every metric here, and of most the only one. Only ``forward_transfer`` looks above the
diagonal. An entry that was not measured is nan: a metric that needs it raises ``Missing``, which names it, and never
takes it for 0. A metric is itself nan where it has no value.

All examples are of one matrix, ``EXAMPLE``: ``[[.60, .30, .10], [.90, .80, .05], [.70, .85, .75]]``.

"Forgetting" has several definitions in the literature and in the libraries, so each one here has its equation, its sign
and its source. Under label flips the same input has another label in every concept, so that what is learned of a new
concept must be forgotten of the old ones: retention says there how far a model has moved on, not how good it is.

Three definitions of forgetting, on ``EXAMPLE``:

=====================  =====================================  ======  ==============================================
name                   taken for what was known of j          value   also in
=====================  =====================================  ======  ==============================================
``forgetting``         best of rows j to T - 2                 0.075  Riemannian Walk, eq. 3; continuum
``forgetting_max``     best of rows j to T - 1                 0.100  the code of TAG; mammoth; CL-Gym
``forgetting_first``   row j, right after training            -0.075  Avalanche; minus ``backward_transfer``
=====================  =====================================  ======  ==============================================

Intransigence compares with a second model and so is no metric of a single run: see ``tamcl.metrics.oracles``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

EXAMPLE = np.array([[0.60, 0.30, 0.10], [0.90, 0.80, 0.05], [0.70, 0.85, 0.75]])
"""The accuracy matrix of the examples."""
EXAMPLE_LOWEST = np.array([[0.10, 0.00, 0.00], [0.30, 0.10, 0.00], [0.50, 0.60, 0.10]])
"""The lowest accuracies inside experiences of the examples."""


class Missing(ValueError):
    """An accuracy that a metric needs was not measured."""


def average_accuracy(R: ArrayLike) -> float:
    r"""Return the mean accuracy over all experiences at the end of training; higher is better.

    .. math:: ACC = \frac{1}{T} \sum_{j=0}^{T-1} R_{T-1,j}

    The value is in [0, 1].

    References
    ----------
    Gradient Episodic Memory for Continual Learning, 2017, https://arxiv.org/abs/1706.08840

    Examples
    --------
    >>> round(average_accuracy(EXAMPLE), 4)
    0.7667
    """
    R = checked_matrix(R)
    require_measured(R, _last_row(R))
    return float(R[-1].mean())


def forgetting(R: ArrayLike) -> float:
    r"""Return how far earlier experiences have fallen below their best, on average; lower is better.

    .. math:: F = \frac{1}{T-1} \sum_{j=0}^{T-2} \Big( \max_{j \le l < T-1} R_{l,j} - R_{T-1,j} \Big)

    The best is taken over the rows from the one that trained experience j to the last but one, so that F is negative
    where the last experience made earlier ones better than they ever were. (The paper writes :math:`l < T-1` alone, but
    its matrix has no entries above the diagonal; with the rows before j inside the maximum a lucky accuracy on an
    experience not yet trained would count as knowledge.) The module has a table of other definitions of this name. The
    value is in [-1, 1]; nan for one experience, which leaves nothing to forget.

    References
    ----------
    Riemannian Walk for Incremental Learning: Understanding Forgetting and Intransigence, 2018, equation 3,
    https://arxiv.org/abs/1801.10112

    Examples
    --------
    Experience 0 was at best 0.9 and ends at 0.7; experience 1 rose from 0.8 to 0.85: (0.2 - 0.05) / 2.

    >>> round(forgetting(EXAMPLE), 4)
    0.075
    """
    R = checked_matrix(R)
    if len(R) == 1:
        return float("nan")
    trained = np.tri(len(R), dtype=bool)
    trained[-1, -1] = False
    require_measured(R, trained)
    earlier = np.where(trained, R, -np.inf)[:-1, :-1]
    return float((earlier.max(axis=0) - R[-1, :-1]).mean())


def forgetting_max(R: ArrayLike) -> float:
    r"""Return how far earlier experiences have fallen below their best, last row included; lower is better.

    .. math:: F^{\max} = \frac{1}{T-1} \sum_{j=0}^{T-2} \Big( \max_{j \le l \le T-1} R_{l,j} - R_{T-1,j} \Big)

    Unlike ``forgetting`` it is never negative: an experience that ends at its best counts as 0, however much it gained.
    The value is in [0, 1]; nan for one experience.

    References
    ----------
    The released code of TAG: Task-based Accumulated Gradients for Lifelong learning, 2021,
    https://arxiv.org/abs/2105.05155; the library mammoth computes it so, too.

    Examples
    --------
    Experience 0 fell from 0.9 to 0.7, experience 1 ends at its best: (0.2 + 0) / 2.

    >>> round(forgetting_max(EXAMPLE), 4)
    0.1
    """
    R = checked_matrix(R)
    if len(R) == 1:
        return float("nan")
    trained = np.tri(len(R), dtype=bool)
    trained[-1, -1] = False
    require_measured(R, trained)
    best = np.where(trained, R, -np.inf)[:, :-1].max(axis=0)
    return float((best - R[-1, :-1]).mean())


def forgetting_first(R: ArrayLike) -> float:
    r"""Return how far earlier experiences have fallen since training on them, on average; lower is better.

    .. math:: F^{\mathrm{first}} = \frac{1}{T-1} \sum_{j=0}^{T-2} \big( R_{j,j} - R_{T-1,j} \big) = -BWT

    The value is in [-1, 1], negative where later training did good; nan for one experience.

    References
    ----------
    Avalanche: an End-to-End Library for Continual Learning, 2021, https://arxiv.org/abs/2104.00405, whose metric of
    this name it is.

    Examples
    --------
    Experience 0 rose from 0.6 to 0.7 and experience 1 from 0.8 to 0.85: (-0.1 - 0.05) / 2.

    >>> round(forgetting_first(EXAMPLE), 4)
    -0.075
    """
    return 0.0 - backward_transfer(R)


def backward_transfer(R: ArrayLike) -> float:
    r"""Return how later training changed the accuracy on earlier experiences; higher is better.

    .. math:: BWT = \frac{1}{T-1} \sum_{j=0}^{T-2} \big( R_{T-1,j} - R_{j,j} \big)

    The value is in [-1, 1], negative where later training did harm; nan for one experience.

    References
    ----------
    Gradient Episodic Memory for Continual Learning, 2017, https://arxiv.org/abs/1706.08840

    Examples
    --------
    >>> round(backward_transfer(EXAMPLE), 4)
    0.075
    """
    R = checked_matrix(R)
    if len(R) == 1:
        return float("nan")
    needed = np.eye(len(R), dtype=bool) | _last_row(R)
    needed[-1, -1] = False
    require_measured(R, needed)
    return float((R[-1, :-1] - R.diagonal()[:-1]).mean())


def learning_accuracy(R: ArrayLike) -> float:
    r"""Return the mean accuracy on each experience right after training on it; higher is better.

    .. math:: LA = \frac{1}{T} \sum_{j=0}^{T-1} R_{j,j}

    The value is in [0, 1].

    References
    ----------
    Learning to Learn without Forgetting by Maximizing Transfer and Minimizing Interference, 2018,
    https://arxiv.org/abs/1810.11910

    Examples
    --------
    >>> round(learning_accuracy(EXAMPLE), 4)
    0.7167
    """
    R = checked_matrix(R)
    require_measured(R, np.eye(len(R), dtype=bool))
    return float(R.diagonal().mean())


def average_anytime_accuracy(R: ArrayLike) -> float:
    r"""Return the mean accuracy on what was seen so far, over all times of testing; higher is better.

    .. math:: AAA = \frac{1}{T} \sum_{i=0}^{T-1} \frac{1}{i+1} \sum_{j=0}^{i} R_{i,j}

    The paper tests after every mini-batch. Assumption: here a model is tested after each experience only, so that the
    times are the T boundaries; that mean is also known as average incremental accuracy. The value is in [0, 1].

    References
    ----------
    A Comprehensive Empirical Evaluation on Online Continual Learning, 2023, https://arxiv.org/abs/2308.10328

    Examples
    --------
    The rows hold 0.6 on average, then 0.85, then 0.7667.

    >>> round(average_anytime_accuracy(EXAMPLE), 4)
    0.7389
    """
    R = checked_matrix(R)
    seen = np.tri(len(R), dtype=bool)
    require_measured(R, seen)
    return float((np.where(seen, R, 0.0).sum(axis=1) / seen.sum(axis=1)).mean())


def retained(R: ArrayLike) -> float:
    r"""Return the mean accuracy on all earlier experiences at the end of training; higher is better.

    .. math:: \frac{1}{T-1} \sum_{j=0}^{T-2} R_{T-1,j}

    ``average_accuracy`` without the experience trained last, which every optimizer still knows. (The retained accuracy
    of the paper that ``learning_accuracy`` is from is ``average_accuracy`` itself.) In [0, 1]; nan for one experience.

    References
    ----------
    tamcl's own definition.

    Examples
    --------
    >>> round(retained(EXAMPLE), 4)
    0.775
    """
    R = checked_matrix(R)
    if len(R) == 1:
        return float("nan")
    needed = _last_row(R).copy()
    needed[-1, -1] = False
    require_measured(R, needed)
    return float(R[-1, :-1].mean())


def worst_case_accuracy(R: ArrayLike) -> float:
    r"""Return the accuracy on the last experience and the lowest later one on each other; higher is better.

    .. math:: WC = \frac{1}{T} \Big( R_{T-1,T-1} + \sum_{j=0}^{T-2} \min_{j < l \le T-1} R_{l,j} \Big)

    The paper takes the minimum over every update and so sees the stability gap, the dip right after a shift that is
    over before the experience ends. Assumption: here the minimum is over the ends of experiences, where the model is
    always tested; a dip within an experience is not in it, so this is an upper bound of the paper's WC-ACC, which is
    ``continual_worst_case_accuracy``. The value is in [0, 1].

    References
    ----------
    Continual evaluation for lifelong learning: Identifying the stability gap, 2022, its WC-ACC,
    https://arxiv.org/abs/2205.13452

    Examples
    --------
    After training on it, experience 0 is at worst at 0.7 and experience 1 at 0.85: (0.75 + 0.7 + 0.85) / 3.

    >>> round(worst_case_accuracy(EXAMPLE), 4)
    0.7667
    """
    R = checked_matrix(R)
    later = np.tri(len(R), k=-1, dtype=bool)
    needed = later.copy()
    needed[-1, -1] = True
    require_measured(R, needed)
    return _worst_case(R, R, later)


def continual_worst_case_accuracy(R: ArrayLike, lowest: ArrayLike) -> float:
    r"""Return the accuracy on the last experience and the lowest ever after on each other; higher is better.

    .. math:: WC = \frac{1}{T} \Big( R_{T-1,T-1} + \sum_{j=0}^{T-2} \min_{j < i \le T-1} L_{i,j} \Big)

    It is the paper's WC-ACC where every update is followed by a test (``evaluation.every = 1``), and an upper bound of
    it where fewer are. The value is in [0, 1].

    Parameters
    ----------
    R : array, (T, T)
        ``R[i, j]``, the accuracy on experience j after training on experience i.
    lowest : array, (T, T)
        ``L[i, j]``, the lowest accuracy on experience j while experience i is trained, its end included.

    References
    ----------
    Continual evaluation for lifelong learning: Identifying the stability gap, 2022, its WC-ACC,
    https://arxiv.org/abs/2205.13452

    Examples
    --------
    Experience 0 fell to 0.3 inside experience 1, experience 1 to 0.6 inside experience 2: (0.75 + 0.3 + 0.6) / 3.

    >>> round(continual_worst_case_accuracy(EXAMPLE, EXAMPLE_LOWEST), 4)
    0.55
    """
    R, L = checked_matrix(R), checked_matrix(lowest, "lowest")
    last = np.zeros(R.shape, dtype=bool)
    last[-1, -1] = True
    require_measured(R, last)
    later = _later(R, L)
    return _worst_case(R, L, later)


def stability_gap(R: ArrayLike, lowest: ArrayLike) -> float:
    r"""Return how far accuracy on earlier experiences dips inside a later one before it comes back; lower is better.

    .. math:: G = \frac{1}{T-1} \sum_{i=1}^{T-1} \frac{1}{i} \sum_{j < i}
        \big( \min(R_{i-1,j}, R_{i,j}) - \min(R_{i-1,j}, L_{i,j}) \big)

    What is still lost at the end is forgetting and not counted: the gap is what was lost on the way and came back.
    Tests after every k-th update may miss the lowest point, which makes it smaller: compare runs of the same
    ``evaluation.every``. The value is in [0, 1]; nan for one experience.

    Parameters
    ----------
    R : array, (T, T)
        ``R[i, j]``, the accuracy on experience j after training on experience i.
    lowest : array, (T, T)
        ``L[i, j]``, the lowest accuracy on experience j while experience i is trained, its end included.

    References
    ----------
    tamcl's own number for what is seen in the curves of Continual evaluation for lifelong learning: Identifying the
    stability gap, 2022, https://arxiv.org/abs/2205.13452

    Examples
    --------
    Inside experience 1 experience 0 fell to 0.3, which is 0.3 below the lower of 0.6 before and 0.9 after it; inside
    experience 2 the two earlier ones fell 0.2 below 0.7, and 0.2 below 0.8: (0.3 + (0.2 + 0.2) / 2) / 2.

    >>> round(stability_gap(EXAMPLE, EXAMPLE_LOWEST), 4)
    0.25
    """
    R, L = checked_matrix(R), checked_matrix(lowest, "lowest")
    if len(R) == 1:
        return float("nan")
    needed = np.tri(len(R), dtype=bool)
    needed[-1, -1] = False
    require_measured(R, needed)
    _later(R, L)
    dip = np.minimum(R[:-1], R[1:]) - np.minimum(R[:-1], L[1:])
    return float(np.mean([dip[i, : i + 1].mean() for i in range(len(dip))]))


def forward_transfer(R: ArrayLike, start: ArrayLike) -> float:
    r"""Return how much training so far helps with the next experience before it is trained; higher is better.

    .. math:: FWT = \frac{1}{T-1} \sum_{j=1}^{T-1} \big( R_{j-1,j} - b_j \big)

    Under label flips what was learnt is wrong for the flipped classes, which makes it negative. The value is in [-1,
    1]; nan for one experience.

    Parameters
    ----------
    R : array, (T, T)
        ``R[i, j]``, the accuracy on experience j after training on experience i.
    start : array, (T,)
        :math:`b_j`, the accuracy of the untrained model on each experience.

    References
    ----------
    Gradient Episodic Memory for Continual Learning, 2017, https://arxiv.org/abs/1706.08840

    Examples
    --------
    Experience 1 stood at 0.3 instead of 0.1 before its turn, experience 2 at 0.05 instead of 0.15.

    >>> round(forward_transfer(EXAMPLE, start=[0.10, 0.10, 0.15]), 4)
    0.05
    """
    R = checked_matrix(R)
    b = checked_fractions("start", start, len(R))
    if len(R) == 1:
        return float("nan")
    require_measured(R, np.eye(len(R), k=1, dtype=bool))
    missing = np.flatnonzero(np.isnan(b[1:])) + 1
    if len(missing):
        j = missing[0]
        raise Missing(f"start[{j}] is missing: the accuracy of the untrained model on experience {j}")
    return float((R.diagonal(1) - b[1:]).mean())


def checked_matrix(R: ArrayLike, name: str = "R") -> Array:
    """Return R as an array, after checking that it is square and holds fractions or nan."""
    matrix = np.asarray(R, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
        raise ValueError(f"{name} has shape {matrix.shape}: a square accuracy matrix (T, T) with T >= 1 is needed")
    outside = np.argwhere((matrix < 0) | (matrix > 1))
    if len(outside):
        i, j = outside[0]
        raise ValueError(f"{name}[{i}, {j}] = {matrix[i, j]:g}: accuracies are fractions in [0, 1]")
    return matrix


def checked_fractions(name: str, values: ArrayLike, size: int) -> Array:
    """Return one accuracy an experience as an array, after checking that they are fractions or nan."""
    fractions = np.asarray(values, dtype=np.float64)
    if fractions.shape != (size,):
        raise ValueError(f"{name} has shape {fractions.shape}: one accuracy an experience, ({size},), is needed")
    outside = np.flatnonzero((fractions < 0) | (fractions > 1))
    if len(outside):
        j = outside[0]
        raise ValueError(f"{name}[{j}] = {fractions[j]:g}: accuracies are fractions in [0, 1]")
    return fractions


def _worst_case(R: Array, lowest: Array, later: NDArray[np.bool_]) -> float:
    """Return the mean of the last accuracy on the last experience and of the lowest later one on each other."""
    return float((R[-1, -1] + np.where(later, lowest, np.inf)[:, :-1].min(axis=0).sum()) / len(R))


def _later(R: Array, lowest: Array) -> NDArray[np.bool_]:
    """Return where an experience was trained after the one that is tested, and ``lowest`` must stand."""
    if lowest.shape != R.shape:
        raise ValueError(f"lowest has shape {lowest.shape} and R {R.shape}: both must be (T, T)")
    later = np.tri(len(R), k=-1, dtype=bool)
    for i, j in np.argwhere(later & np.isnan(lowest))[:1]:
        raise Missing(f"lowest[{i}, {j}] is missing: the lowest accuracy on experience {j} inside experience {i}")
    for i, j in np.argwhere(later & (lowest > R))[:1]:
        raise ValueError(f"lowest[{i}, {j}] = {lowest[i, j]:g} is above R[{i}, {j}] = {R[i, j]:g}, which it includes")
    return later


def _last_row(R: Array) -> NDArray[np.bool_]:
    return np.broadcast_to(np.arange(len(R))[:, None] == len(R) - 1, R.shape)


def require_measured(R: Array, needed: NDArray[np.bool_]) -> None:
    """Raise ``Missing`` for the first entry that is needed and nan."""
    missing = np.argwhere(needed & np.isnan(R))
    if len(missing):
        i, j = missing[0]
        raise Missing(f"R[{i}, {j}] is missing: the accuracy on experience {j} after training on experience {i}")
