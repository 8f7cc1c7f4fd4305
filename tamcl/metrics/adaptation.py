r"""How fast a model follows a shift: metrics of the online rows.

An online row is one mini-batch, measured before the model learns from it (prequential, test-then-train). Every metric
takes three arrays of as many entries as there are mini-batches, in the order of the stream: ``correct``, the number of
right answers; ``n``, the number of examples; ``experience``, counted from 0. A *shift* is the first mini-batch of an
experience after the first, whether the labels change there or the task. Where a stream repeats its examples (several
epochs), the later passes are measured before the update too, but on examples that were seen.

There is no agreed standard for what happens after a shift, so these definitions are tamcl's own. With :math:`k` the
mini-batches since the shift to experience :math:`e` and :math:`S` the number of them in it:

- level before :math:`b_e`: accuracy over the last ``before = 50`` mini-batches of the experience that ends;
- smoothed accuracy :math:`a_{e,k}`: accuracy over the ``window = 10`` mini-batches :math:`k, \dots, k + 9`. The window
  looks ahead from k, so it never mixes both sides of a shift; :math:`k = 0, \dots, S - 10` have a whole one;
- recovered: the first k with :math:`a_{e,k} \ge 0.95\, b_e`. The margin of 5 % of the level keeps noise from deciding:
  a model that is back meets 100 % of its level late and by chance, or not at all;
- censored: no window of the experience recovered. All that is known then is that recovery took at least
  :math:`S - 9` mini-batches, so this is the number that is recorded: a mean over censored shifts is a lower bound.

Beside them stand ``recovery_auc``, the accuracy over the first 50 mini-batches after a shift, and
``learning_curve_area``, that over the first 11 of every experience: both need no level before and are never censored.

Steps and windows are mini-batches. Where a row is a block of them (``evaluation.batches`` above 1), the functions
would count blocks: ``tamcl.metrics.measure`` then gives no value for what is defined here, but for the accuracy and the
loss over the whole stream.

An experience too short for a window gives half of its mini-batches, at least one, to it. All of this is relative to the
model's own level before: a model that has learned nothing has nothing to lose and recovers at once, and at a single
learning rate these numbers say more about that rate than about the optimizer. Read them beside the online accuracy.

The examples are of one stream, ``EXAMPLE``, with two shifts. At each the accuracy falls from 0.9 to 0.3; it is back
20 mini-batches after the first and never after the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

BEFORE = 50
"""Mini-batches before a shift over which the level before is taken."""
WINDOW = 10
"""Mini-batches of the smoothed accuracy."""
RECOVERED = 0.95
"""Share of the level before at which a model counts as recovered."""
FIRST = 50
"""Mini-batches after a shift that ``recovery_auc`` is taken over."""
BETA = 10
"""Updates after the start of an experience that ``learning_curve_area`` is taken over."""
SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)
"""Shares of an experience at which ``accuracy_at`` looks."""

EXAMPLE = np.repeat([9, 3, 9, 3], [60, 20, 40, 60]), np.full(180, 10), np.repeat([0, 1, 2], 60)
"""The stream of the examples: ``correct``, ``n`` and ``experience``, three experiences of 60 mini-batches of 10."""


class Shifts(NamedTuple):
    """What happened at each shift; every array is (T - 1,), one entry a shift."""

    level_before: Array
    """Accuracy over the end of the experience before, b."""
    drop: Array
    """b minus the smoothed accuracy right after the shift, in [-1, 1]; negative where accuracy rose."""
    recovery_steps: Array
    """Mini-batches until the smoothed accuracy is back at 95 % of b; a lower bound where censored."""
    censored: NDArray[np.bool_]
    """Whether the experience ended before the model had recovered."""
    area_lost: Array
    """b minus the smoothed accuracy, summed over the mini-batches until recovery; to the last window where censored."""


def after_shifts(
    correct: ArrayLike,
    n: ArrayLike,
    experience: ArrayLike,
    *,
    before: int = BEFORE,
    window: int = WINDOW,
    recovered: float = RECOVERED,
) -> Shifts:
    """Return what happened at each shift of a stream.

    Parameters
    ----------
    correct, n, experience : array, (steps,)
        Right answers, examples and experience of each mini-batch, in the order of the stream.
    before, window : int
        Mini-batches of the level before a shift, and of the smoothed accuracy.
    recovered : float
        Share of the level before at which the model counts as recovered, in (0, 1].

    Examples
    --------
    All right before the shift; none, half and all right after it.

    >>> correct = [0, 1, 2, 2, 0, 1, 2, 2]
    >>> experience = [0, 0, 0, 0, 1, 1, 1, 1]
    >>> result = after_shifts(correct, [2] * 8, experience, before=2, window=1)
    >>> result.level_before.item(), result.drop.item(), result.recovery_steps.item(), result.area_lost.item()
    (1.0, 1.0, 2.0, 1.5)
    """
    if before < 1 or window < 1 or not 0 < recovered <= 1:
        raise ValueError(f"{before=}, {window=}, {recovered=}: needed are before >= 1, window >= 1, 0 < recovered <= 1")
    parts = split(correct, n, experience)
    rows = [_after_shift(*old, *new, before, window, recovered) for old, new in pairwise(parts)]
    level, drop, steps, censored, area = np.array(rows, dtype=np.float64).reshape(-1, 5).T
    return Shifts(level, drop, steps, censored.astype(bool), area)


def _after_shift(
    old_correct: Array, old_n: Array, correct: Array, n: Array, before: int, window: int, recovered: float
) -> tuple[float, float, int, bool, float]:
    before = shortened(before, len(old_n))
    level = old_correct[-before:].sum() / old_n[-before:].sum()
    a = smoothed(correct, n, shortened(window, len(n)))
    back = np.flatnonzero(a >= recovered * level)
    k = int(back[0]) if len(back) else len(a)
    return float(level), float(level - a[0]), k, not len(back), float((level - a[:k]).sum())


def smoothed(correct: ArrayLike, n: ArrayLike, window: int = WINDOW) -> Array:
    """Return the accuracy over the ``window`` mini-batches from each one on, within one experience.

    Returns
    -------
    array, (steps - window + 1,)
        Entry k is the share of right answers in mini-batches k to k + window - 1.

    Examples
    --------
    >>> smoothed([0, 1, 2, 2], [2, 2, 2, 2], window=2)
    array([0.25, 0.75, 1.  ])
    """
    right, seen = (np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)]) for values in (correct, n))
    return np.asarray((right[window:] - right[:-window]) / (seen[window:] - seen[:-window]))


def shortened(window: int, steps: int) -> int:
    """Return the window for an experience of so many mini-batches: at most half of them, at least one."""
    return min(window, max(1, steps // 2))


def online_accuracy(correct: ArrayLike, n: ArrayLike, experience: ArrayLike) -> float:
    r"""Return the share of right answers over the whole stream, each given before learning; higher is better.

    .. math:: A = \sum_t c_t \Big/ \sum_t n_t

    with :math:`c_t` right answers among the :math:`n_t` examples of mini-batch t: every example counts once, whatever
    the mini-batch it came in. The value is in [0, 1].

    References
    ----------
    On evaluating stream learning algorithms, 2013, https://doi.org/10.1007/s10994-012-5320-9

    Examples
    --------
    >>> online_accuracy(correct=[2, 7, 9, 4], n=[10, 10, 10, 5], experience=[0, 0, 1, 1])
    0.6285714285714286
    """
    correct, n, _ = checked_rows(correct, n, experience)
    return float(correct.sum() / n.sum())


def online_loss(loss: ArrayLike, n: ArrayLike, experience: ArrayLike) -> float:
    r"""Return the mean loss over the whole stream, each example's before learning from it; lower is better.

    .. math:: L = \frac{\sum_t n_t \, l_t}{\sum_t n_t}

    The value is at least 0, in units of the loss: nats of cross entropy, or a squared error.

    Parameters
    ----------
    loss, n, experience : array, (steps,)
        Mean loss over the examples, number of examples, and experience of each mini-batch, in the order of the stream.

    References
    ----------
    On evaluating stream learning algorithms, 2013, https://doi.org/10.1007/s10994-012-5320-9

    Examples
    --------
    >>> online_loss(loss=[2.0, 1.0, 0.5], n=[10, 10, 20], experience=[0, 0, 1])
    1.0
    """
    losses, sizes = np.asarray(loss, dtype=np.float64), np.asarray(n, dtype=np.float64)
    wrong = np.flatnonzero(~(np.isfinite(losses) & (losses >= 0)))
    if len(wrong):
        t = wrong[0]
        raise ValueError(f"mini-batch {t} has a loss of {losses[t]:g}: a number >= 0 is possible")
    _, sizes, _ = checked_rows(np.zeros_like(sizes), sizes, experience)
    return float((losses * sizes).sum() / sizes.sum())


def drop(correct: ArrayLike, n: ArrayLike, experience: ArrayLike) -> float:
    r"""Return how much accuracy is lost right after a shift, mean over shifts; lower is better.

    .. math:: D = \frac{1}{T-1} \sum_{e=1}^{T-1} \big( b_e - a_{e,0} \big)

    with level before :math:`b_e` and smoothed accuracy :math:`a_{e,k}`, as the module defines them. The value is in
    [-1, 1], negative where accuracy rose; nan without a shift.

    References
    ----------
    tamcl's own definition.

    Examples
    --------
    >>> round(drop(*EXAMPLE), 4)
    0.6
    """
    return mean_or_nan(after_shifts(correct, n, experience).drop)


def recovery_steps(correct: ArrayLike, n: ArrayLike, experience: ArrayLike) -> float:
    r"""Return the mini-batches needed to get back after a shift, mean over shifts; lower is better.

    .. math:: \frac{1}{T-1} \sum_{e=1}^{T-1} \min \{ k : a_{e,k} \ge 0.95\, b_e \}

    with level before :math:`b_e` and smoothed accuracy :math:`a_{e,k}`, as the module defines them. A shift from which
    the model does not recover counts with the number of windows in the experience, so the mean is then a lower bound:
    ``recovered`` says how often that happened. The value is 0 or more, in mini-batches; nan without a shift.

    References
    ----------
    tamcl's own definition.

    Examples
    --------
    Back after 20 mini-batches; not back in any of the 51 windows.

    >>> recovery_steps(*EXAMPLE)
    35.5
    """
    return mean_or_nan(after_shifts(correct, n, experience).recovery_steps)


def recovered(correct: ArrayLike, n: ArrayLike, experience: ArrayLike) -> float:
    r"""Return the share of shifts that the model recovered from before the next one; higher is better.

    .. math:: \frac{1}{T-1} \sum_{e=1}^{T-1} \big[ \max_k a_{e,k} \ge 0.95\, b_e \big]

    with level before :math:`b_e` and smoothed accuracy :math:`a_{e,k}`, as the module defines them. The value is in [0,
    1]; nan without a shift.

    References
    ----------
    tamcl's own definition.

    Examples
    --------
    >>> recovered(*EXAMPLE)
    0.5
    """
    return mean_or_nan(~after_shifts(correct, n, experience).censored)


def area_lost(correct: ArrayLike, n: ArrayLike, experience: ArrayLike) -> float:
    r"""Return the accuracy lost after a shift until the model has recovered, mean over shifts; lower is better.

    .. math:: \frac{1}{T-1} \sum_{e=1}^{T-1} \sum_{k < r_e} \big( b_e - a_{e,k} \big)

    with level before :math:`b_e`, smoothed accuracy :math:`a_{e,k}` and steps to recovery :math:`r_e`, as the module
    defines them: depth and length of the dip together. It is not the number of answers lost: the window looks ahead, so
    a loss shorter than a window is spread over it and counts less, for three mini-batches all wrong after a perfect
    level 0.6 and not 3. Where the model does not recover, the area ends with the last window of the experience. The
    value is 0 or more, in accuracy-steps (accuracy times mini-batches); nan without a shift.

    References
    ----------
    tamcl's own definition.

    Examples
    --------
    20 mini-batches at 0.6 below the level, less what the window of 10 sees of the recovery: 9.3; 51 windows: 30.6.

    >>> round(area_lost(*EXAMPLE), 4)
    19.95
    """
    return mean_or_nan(after_shifts(correct, n, experience).area_lost)


def recovery_auc(correct: ArrayLike, n: ArrayLike, experience: ArrayLike) -> float:
    r"""Return the accuracy over the first 50 mini-batches after a shift, mean over shifts; higher is better.

    .. math:: \frac{1}{T-1} \sum_{e=1}^{T-1} \Big( \sum_{k < K_e} c_{e,k} \Big/ \sum_{k < K_e} n_{e,k} \Big),
        \qquad K_e = \min(50, S_e)

    with :math:`c_{e,k}` right answers among the :math:`n_{e,k}` examples of the mini-batch k after the shift to
    experience e: the area under the curve of recovery, by its length. It needs no level before and is not censored, so
    that, unlike ``recovery_steps``, it does not reward a model that had little to lose. The value is in [0, 1]; nan
    without a shift.

    References
    ----------
    tamcl's own definition.

    Examples
    --------
    20 mini-batches at 0.3 and 30 at 0.9: 0.66; 50 at 0.3.

    >>> round(recovery_auc(*EXAMPLE), 4)
    0.48
    """
    parts = split(correct, n, experience)[1:]
    return mean_or_nan(np.array([right[:FIRST].sum() / seen[:FIRST].sum() for right, seen in parts]))


def learning_curve_area(correct: ArrayLike, n: ArrayLike, experience: ArrayLike) -> float:
    r"""Return the accuracy over the first 11 mini-batches, mean over experiences; higher is better.

    .. math:: LCA_\beta = \frac{1}{\beta + 1} \sum_{b=0}^{\beta} Z_b, \qquad
        Z_b = \frac{1}{T} \sum_{e=0}^{T-1} \frac{c_{e,b}}{n_{e,b}}, \qquad \beta = 10

    with :math:`Z_b` the accuracy on an experience after b mini-batches of it. The paper tests on held-out data after
    each mini-batch. Assumption: here it is the accuracy on the next mini-batch, before the update on it, which costs
    nothing more; in a single pass it has the same mean, with more noise. Unlike ``recovery_auc`` the first experience
    counts too. An experience with fewer mini-batches counts with those that it has. The value is in [0, 1].

    References
    ----------
    Efficient Lifelong Learning with A-GEM, 2018, equations 4 and 5, https://arxiv.org/abs/1812.00420

    Examples
    --------
    The experiences begin at 0.9, 0.3 and 0.3.

    >>> round(learning_curve_area(*EXAMPLE), 4)
    0.5
    """
    parts = split(correct, n, experience)
    return mean_or_nan(np.array([(right[: BETA + 1] / seen[: BETA + 1]).mean() for right, seen in parts]))


def accuracy_at(
    correct: ArrayLike,
    n: ArrayLike,
    experience: ArrayLike,
    *,
    shares: Sequence[float] = SHARES,
    window: int = WINDOW,
) -> Array:
    """Return the online accuracy when a share of an experience is over: how far it is after 10 %, after half.

    Parameters
    ----------
    correct, n, experience : array, (steps,)
        Right answers, examples and experience of each mini-batch, in the order of the stream.
    shares : sequence of float
        Shares of an experience, in (0, 1]; 1 is its end.
    window : int
        Mini-batches that the accuracy is taken over, the last ones before that point. Fewer where the experience has
        fewer so far, or is too short for a window.

    Returns
    -------
    array, (T, number of shares)
        A row an experience.

    Examples
    --------
    >>> accuracy_at(correct=[0, 2, 4, 6, 8, 10], n=[10] * 6, experience=[0] * 6, shares=[0.5, 1], window=2)
    array([[0.3, 0.9]])
    """
    wrong = [share for share in shares if not 0 < share <= 1]
    if wrong or window < 1:
        raise ValueError(f"{shares=}, {window=}: needed are shares in (0, 1] and window >= 1")
    rows = []
    for right, seen in split(correct, n, experience):
        ends = [int(np.ceil(share * len(seen) - 1e-9)) for share in shares]
        parts = [slice(max(0, end - shortened(window, len(seen))), end) for end in ends]
        rows.append([right[part].sum() / seen[part].sum() for part in parts])
    return np.array(rows, dtype=np.float64)


def split(correct: ArrayLike, n: ArrayLike, experience: ArrayLike) -> list[tuple[Array, Array]]:
    """Return ``(correct, n)`` of each experience, in the order of the stream."""
    correct, n, experience = checked_rows(correct, n, experience)
    shifts = np.flatnonzero(np.diff(experience)) + 1
    return list(zip(np.split(correct, shifts), np.split(n, shifts), strict=True))


def checked_rows(correct: ArrayLike, n: ArrayLike, experience: ArrayLike) -> tuple[Array, Array, Array]:
    """Return the three arrays, after checking that they are online rows in the order of the stream."""
    c, m, e = (np.asarray(values, dtype=np.float64) for values in (correct, n, experience))
    if c.ndim != 1 or not c.shape == m.shape == e.shape or c.size == 0:
        raise ValueError(f"correct, n, experience have shapes {c.shape}, {m.shape}, {e.shape}: one row a mini-batch")
    wrong = np.flatnonzero(~((c >= 0) & (c <= m) & (m > 0)))
    if len(wrong):
        t = wrong[0]
        raise ValueError(f"mini-batch {t} has {c[t]:g} right answers of {m[t]:g}: 0 to n of n >= 1 is possible")
    back = np.flatnonzero(~(np.diff(e) >= 0))
    if len(back):
        t = back[0] + 1
        raise ValueError(
            f"mini-batch {t} is of experience {e[t]:g} after {e[t - 1]:g}: the order is that of the stream"
        )
    return c, m, e


def mean_or_nan(values: NDArray[np.bool_] | Array) -> float:
    """Return the mean over shifts or experiences, nan of none."""
    return float(values.mean()) if len(values) else float("nan")
