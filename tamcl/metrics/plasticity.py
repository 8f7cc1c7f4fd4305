r"""Whether a model still learns late in a stream as it did early: metrics of the end of each experience.

Plasticity is lost where each new experience is learnt less well than the one before, though it is no harder. What is
measured here is that outcome, from online rows (one a mini-batch, before the model learns from it), in the three arrays
that ``tamcl.metrics.adaptation`` tells of. Dead units and ranks, which are often shown for plasticity, are diagnostics
of the network and no measures of it; so is ``sample_plasticity``, the share of a mini-batch's loss that one update on
it removes, which needs a second forward pass that the online rows do not hold.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tamcl.metrics.adaptation import BEFORE, mean_or_nan, shortened, split

Array = NDArray[np.float64]


def end_accuracies(correct: ArrayLike, n: ArrayLike, experience: ArrayLike, *, window: int = BEFORE) -> Array:
    """Return the online accuracy at the end of each experience.

    Parameters
    ----------
    correct, n, experience : array, (steps,)
        Right answers, examples and experience of each mini-batch, in the order of the stream.
    window : int
        Mini-batches at the end that it is taken over; half of them where an experience is too short.

    Returns
    -------
    array, (T,)

    Examples
    --------
    >>> end_accuracies(correct=[0, 5, 8, 8, 2, 4, 6, 6], n=[10] * 8, experience=[0] * 4 + [1] * 4)
    array([0.8, 0.6])
    """
    if window < 1:
        raise ValueError(f"{window=}: needed is window >= 1")
    parts = [(right, seen, shortened(window, len(seen))) for right, seen in split(correct, n, experience)]
    return np.array([right[-w:].sum() / seen[-w:].sum() for right, seen, w in parts], dtype=np.float64)


def end_accuracy(correct: ArrayLike, n: ArrayLike, experience: ArrayLike) -> float:
    r"""Return the online accuracy at the end of an experience, mean over experiences; higher is better.

    .. math:: \frac{1}{T} \sum_{e=0}^{T-1} b_e

    with :math:`b_e` the accuracy over the last 50 mini-batches of experience e (half of them where it is too short):
    how well an experience is learnt in the end, however long that took. ``learning_accuracy`` says the same on images
    held out. The value is in [0, 1].

    References
    ----------
    tamcl's own definition.

    Examples
    --------
    The ends are at 0.9, 0.9 and 0.3.

    >>> from tamcl.metrics.adaptation import EXAMPLE
    >>> round(end_accuracy(*EXAMPLE), 4)
    0.7
    """
    return mean_or_nan(end_accuracies(correct, n, experience))


def end_accuracy_slope(correct: ArrayLike, n: ArrayLike, experience: ArrayLike) -> float:
    r"""Return the change of the accuracy at the end of an experience from each to the next; higher is better.

    .. math:: \frac{\sum_e (e - \bar e)(b_e - \bar b)}{\sum_e (e - \bar e)^2}

    with :math:`b_e` as in ``end_accuracy``: the slope of the straight line of least squares. Negative where plasticity
    is lost, provided that the experiences are equally hard. A stream that starts from an untrained model rises in its
    first experiences, so that a loss later may be hidden: look at the curve too (``tamcl.metrics.by_experience``). The
    value is in [-1, 1], in accuracy (a fraction) an experience; nan for one experience.

    References
    ----------
    Loss of plasticity in deep continual learning, 2024, https://doi.org/10.1038/s41586-024-07711-7, shows such
    curves; the slope as their summary is tamcl's own.

    Examples
    --------
    The ends are at 0.9, 0.9 and 0.3.

    >>> from tamcl.metrics.adaptation import EXAMPLE
    >>> round(end_accuracy_slope(*EXAMPLE), 4)
    -0.3
    """
    ends = end_accuracies(correct, n, experience)
    if len(ends) == 1:
        return float("nan")
    e = np.arange(len(ends)) - (len(ends) - 1) / 2
    return float(e @ (ends - ends.mean()) / (e @ e))


def best_accuracy(accuracy: ArrayLike, experience: ArrayLike) -> float:
    r"""Return the best accuracy on an experience at the tests inside it, mean over experiences; higher is better.

    .. math:: \frac{1}{T} \sum_{e=0}^{T-1} \max_t A_{e,t}

    with :math:`A_{e,t}` the accuracy on experience e at test t inside it. Of image classification it is the best
    validation accuracy over the epochs, which is what stopping early would have got: an upper bound, as the best of
    many tests is partly luck, and of more tests more so. The value is in [0, 1].

    Parameters
    ----------
    accuracy, experience : array, (tests,)
        Accuracy on the experience that is trained, and its place in the stream, in the order of the tests.

    References
    ----------
    L. Prechelt, "Early Stopping - But When?", 1998, https://doi.org/10.1007/3-540-49430-8_3

    Examples
    --------
    Of experience 0 the best was 0.8 and of experience 1 it was 0.6.

    >>> round(best_accuracy([0.5, 0.8, 0.7, 0.6], experience=[0, 0, 0, 1]), 4)
    0.7
    """
    values, of = np.asarray(accuracy, dtype=np.float64), np.asarray(experience)
    for place in np.flatnonzero(np.isnan(values))[:1]:
        raise ValueError(f"the accuracy of test {place} is missing")
    return float(np.mean([values[of == each].max() for each in np.unique(of)]))
