r"""How fast a model follows a shift: metrics of the online rows.

An online row is one mini-batch, measured before the model learns from it (prequential, test-then-train). The functions
take three arrays in the order of the stream, a row a mini-batch: ``correct``, the number of right answers; ``n``, the
number of examples; ``experience``, counted from 0. A *shift* is the first mini-batch of an experience after the first,
whether the labels change there or the task. Where a stream repeats its examples (several epochs), the later passes are
measured before the update too, but on examples that were seen.

There is no agreed standard for what happens after a shift, so these definitions are tamcl's own. With :math:`k` the
mini-batches since the shift and :math:`S` the number of them in the experience:

- level before :math:`b`: accuracy over the last ``before = 50`` mini-batches of the experience that ends;
- smoothed accuracy :math:`a_k`: accuracy over the ``window = 10`` mini-batches :math:`k, \dots, k + 9`. The window
  looks ahead from k, so it never mixes both sides of a shift; :math:`k = 0, \dots, S - 10` have a whole one;
- recovered: the first k with :math:`a_k \ge 0.95\, b`. The margin of 5 % of the level keeps noise from deciding: a
  model that is back meets 100 % of its level late and by chance, or not at all;
- censored: no window of the experience recovered. All that is known then is that recovery took at least
  :math:`S - 9` mini-batches, so this is the number that is recorded: a mean over censored shifts is a lower bound.

An experience too short for a window gives half of its mini-batches, at least one, to it. All of this is relative to the
model's own level before: a model that has learned nothing has nothing to lose and recovers at once, and at a single
learning rate these numbers say more about that rate than about the optimizer. Read them beside the online accuracy.
"""

from __future__ import annotations

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
    """Accuracy below b, summed over the mini-batches until recovery."""


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
    the mini-batch it came in.

    Parameters
    ----------
    correct, n, experience : array, (steps,)
        Right answers, examples and experience of each mini-batch, in the order of the stream.

    Returns
    -------
    float
        In [0, 1].

    References
    ----------
    On evaluating stream learning algorithms, 2013, https://doi.org/10.1007/s10994-012-5320-9

    Examples
    --------
    >>> online_accuracy(correct=[2, 7, 9, 4], n=[10, 10, 10, 5], experience=[0, 0, 1, 1])
    0.6285714285714286
    """
    correct, n, _ = _rows(correct, n, experience)
    return float(correct.sum() / n.sum())


def online_loss(loss: ArrayLike, n: ArrayLike, experience: ArrayLike) -> float:
    r"""Return the mean loss over the whole stream, each example's before learning from it; lower is better.

    .. math:: L = \frac{\sum_t n_t \, l_t}{\sum_t n_t}

    Parameters
    ----------
    loss, n, experience : array, (steps,)
        Mean loss over the examples, number of examples, and experience of each mini-batch, in the order of the stream.

    Returns
    -------
    float
        At least 0, in units of the loss: nats of cross entropy, or a squared error.

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
    _, sizes, _ = _rows(np.zeros_like(sizes), sizes, experience)
    return float((losses * sizes).sum() / sizes.sum())


def drop(correct: ArrayLike, n: ArrayLike, experience: ArrayLike) -> float:
    r"""Return how much accuracy is lost right after a shift, mean over shifts; lower is better.

    .. math:: D = \frac{1}{T-1} \sum_{e=1}^{T-1} \big( b_e - a_{e,0} \big)

    with :math:`b_e` the level before the shift to experience e and :math:`a_{e,0}` the smoothed accuracy right after
    it, over the windows stated at the head of this module.

    Parameters
    ----------
    correct, n, experience : array, (steps,)
        Right answers, examples and experience of each mini-batch, in the order of the stream.

    Returns
    -------
    float
        In [-1, 1], negative where accuracy rose; nan without a shift.

    References
    ----------
    tamcl's own definition.

    Examples
    --------
    >>> round(drop(correct=[9] * 60 + [3] * 20 + [9] * 40, n=[10] * 120, experience=[0] * 60 + [1] * 60), 4)
    0.6
    """
    return _mean(after_shifts(correct, n, experience).drop)


def recovery_steps(correct: ArrayLike, n: ArrayLike, experience: ArrayLike) -> float:
    r"""Return the mini-batches needed to get back after a shift, mean over shifts; lower is better.

    .. math:: \frac{1}{T-1} \sum_{e=1}^{T-1} \min \{ k : a_{e,k} \ge 0.95\, b_e \}

    with :math:`b_e` the level before the shift to experience e and :math:`a_{e,k}` the smoothed accuracy k mini-batches
    after it. A shift from which the model does not recover counts with the number of windows in the experience, so the
    mean is then a lower bound: ``recovered`` says how often that happened.

    Parameters
    ----------
    correct, n, experience : array, (steps,)
        Right answers, examples and experience of each mini-batch, in the order of the stream.

    Returns
    -------
    float
        0 or more, in mini-batches; nan without a shift.

    References
    ----------
    tamcl's own definition.

    Examples
    --------
    The accuracy is back after 20 mini-batches.

    >>> recovery_steps(correct=[9] * 60 + [3] * 20 + [9] * 40, n=[10] * 120, experience=[0] * 60 + [1] * 60)
    20.0
    """
    return _mean(after_shifts(correct, n, experience).recovery_steps)


def recovered(correct: ArrayLike, n: ArrayLike, experience: ArrayLike) -> float:
    r"""Return the share of shifts that the model recovered from before the next one; higher is better.

    .. math:: \frac{1}{T-1} \sum_{e=1}^{T-1} \big[ \max_k a_{e,k} \ge 0.95\, b_e \big]

    with :math:`b_e` the level before the shift to experience e and :math:`a_{e,k}` the smoothed accuracy k mini-batches
    after it.

    Parameters
    ----------
    correct, n, experience : array, (steps,)
        Right answers, examples and experience of each mini-batch, in the order of the stream.

    Returns
    -------
    float
        In [0, 1]; nan without a shift.

    References
    ----------
    tamcl's own definition.

    Examples
    --------
    Back after the first shift, not after the second.

    >>> correct = [9] * 60 + [3] * 20 + [9] * 40 + [3] * 60
    >>> recovered(correct, n=[10] * 180, experience=[0] * 60 + [1] * 60 + [2] * 60)
    0.5
    """
    return _mean(~after_shifts(correct, n, experience).censored)


def area_lost(correct: ArrayLike, n: ArrayLike, experience: ArrayLike) -> float:
    r"""Return the accuracy lost after a shift until the model has recovered, mean over shifts; lower is better.

    .. math:: \frac{1}{T-1} \sum_{e=1}^{T-1} \sum_{k < r_e} \big( b_e - a_{e,k} \big)

    with :math:`b_e` the level before the shift to experience e, :math:`a_{e,k}` the smoothed accuracy k mini-batches
    after it and :math:`r_e` the steps to recovery. A value of 3 is the loss of three mini-batches answered wrong that
    would have been answered right; depth and length of the dip are in it together.

    Parameters
    ----------
    correct, n, experience : array, (steps,)
        Right answers, examples and experience of each mini-batch, in the order of the stream.

    Returns
    -------
    float
        0 or more, in accuracy-steps (accuracy times mini-batches); nan without a shift.

    References
    ----------
    tamcl's own definition.

    Examples
    --------
    20 mini-batches at 0.6 below the level, less what the window of 10 sees of the recovery.

    >>> round(area_lost([9] * 60 + [3] * 20 + [9] * 40, n=[10] * 120, experience=[0] * 60 + [1] * 60), 2)
    9.3
    """
    return _mean(after_shifts(correct, n, experience).area_lost)


def split(correct: ArrayLike, n: ArrayLike, experience: ArrayLike) -> list[tuple[Array, Array]]:
    """Return ``(correct, n)`` of each experience, in the order of the stream."""
    correct, n, experience = _rows(correct, n, experience)
    shifts = np.flatnonzero(np.diff(experience)) + 1
    return list(zip(np.split(correct, shifts), np.split(n, shifts), strict=True))


def _rows(correct: ArrayLike, n: ArrayLike, experience: ArrayLike) -> tuple[Array, Array, Array]:
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


def _mean(values: NDArray[np.bool_] | Array) -> float:
    return float(values.mean()) if len(values) else float("nan")
