r"""How far a model stays below one that knows more: regret and intransigence against an oracle.

A scenario runs as an oracle with ``stream.oracle``: "restart" makes model and optimizer anew at every shift, so that
nothing learnt before can harm or help; "no_shift" gives the same amount of data without the shifts. An oracle is a
study of its own, and what is compared is an arm with the same arm there, on the same seed. These are no metrics of a
single run and so no entries of ``METRICS``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tamcl.errors import InputError
from tamcl.metrics.adaptation import checked_rows
from tamcl.metrics.retention import Missing, checked_fractions, checked_matrix, require_measured

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

ORACLES = {"restart": "restart oracle", "no_shift": "no-shift oracle"}
"""The values of ``stream.oracle`` that make an oracle, and what it is called."""


def intransigence(R: ArrayLike, reference: ArrayLike) -> float:
    r"""Return how far a model stays below what can be learnt of each experience; lower is better.

    .. math:: I = \frac{1}{T} \sum_{j=0}^{T-1} \big( a^*_j - R_{j,j} \big)

    with :math:`a^*_j` the accuracy on experience j that a reference model reaches. The paper has :math:`I_j` of one
    experience, and reports that of the last; the mean over all of them is tamcl's. The paper's reference is trained on
    the data of all experiences up to j together. Assumption: any reference is allowed, and tamcl's tables take the
    restart oracle, made anew at each shift, which is the only one that is defined where labels contradict each other.
    The value is in [-1, 1], negative where what was learnt before made the model better than the reference.

    Parameters
    ----------
    R : array, (T, T)
        ``R[i, j]``, the accuracy on experience j after training on experience i; only the diagonal is used.
    reference : array, (T,)
        :math:`a^*_j`, the accuracy of the reference on each experience.

    References
    ----------
    Riemannian Walk for Incremental Learning: Understanding Forgetting and Intransigence, 2018, equation 4,
    https://arxiv.org/abs/1801.10112

    Examples
    --------
    >>> from tamcl.metrics.retention import EXAMPLE
    >>> round(intransigence(EXAMPLE, reference=[0.60, 0.85, 0.85]), 4)
    0.05
    """
    R = checked_matrix(R)
    best = checked_fractions("reference", reference, len(R))
    require_measured(R, np.eye(len(R), dtype=bool))
    missing = np.flatnonzero(np.isnan(best))
    if len(missing):
        raise Missing(f"reference[{missing[0]}] is missing: the accuracy of the reference on experience {missing[0]}")
    return float((best - R.diagonal()).mean())


def regret(correct: ArrayLike, oracle: ArrayLike, n: ArrayLike, experience: ArrayLike) -> float:
    r"""Return how much lower the online accuracy is than that of an oracle; lower is better.

    .. math:: \frac{\sum_t (c^*_t - c_t)}{\sum_t n_t}

    with :math:`c_t` and :math:`c^*_t` right answers of the model and of the oracle among the :math:`n_t` examples of
    mini-batch t. Against the restart oracle it is negative where what was learnt before helps more than it harms; what
    is positive is the cost of carrying it. Against the no-shift oracle it is the cost of the shifts. The value is in
    [-1, 1].

    Parameters
    ----------
    correct, oracle : array, (steps,)
        Right answers of the model and of the oracle in each mini-batch, in the order of the stream.
    n, experience : array, (steps,)
        Examples and experience of each mini-batch.

    References
    ----------
    tamcl's own definition; regret as the loss above that of a comparator is from Online Convex Programming and
    Generalized Infinitesimal Gradient Ascent, 2003.

    Examples
    --------
    The oracle gives 2 more right answers of 20.

    >>> regret(correct=[5, 6], oracle=[6, 7], n=[10, 10], experience=[0, 1])
    0.1
    """
    right, sizes, _ = checked_rows(correct, n, experience)
    best, _, _ = checked_rows(oracle, n, experience)
    return float((best - right).sum() / sizes.sum())


def regrets(online: pd.DataFrame, oracle: pd.DataFrame) -> pd.DataFrame:
    """Return the regret of each run against the oracle's run of the same arm and seed, a row an experience.

    Parameters
    ----------
    online, oracle : pandas.DataFrame
        Tables of ``tamcl.results`` of the study and of the oracle, each arm at one learning rate; the two may have
        different ones, as each was tuned. Runs that only one of them has are left out.

    Returns
    -------
    pandas.DataFrame
        Columns scenario, arm, lr, options, seed, experience, regret (fraction of the experience's answers) and
        cumulative (right answers behind the oracle at the end of the experience, counted from the first).

    Raises
    ------
    InputError
        If an arm has several learning rates or values of options, or two runs of a pair differ in their mini-batches.
    """
    from tamcl.metrics.cells import as_table, describe, online_cells
    from tamcl.results import CELL

    known = {(cell[1], cell[4]): arrays for cell, arrays in online_cells(_one_rate(oracle, "oracle"))}
    rows = []
    for cell, (correct, n, experience) in online_cells(_one_rate(online, "online")):
        if (cell[1], cell[4]) not in known:
            continue
        best, sizes, parts = known[cell[1], cell[4]]
        if not (np.array_equal(n, sizes) and np.array_equal(experience, parts)):
            raise InputError(
                f"{describe(cell)} and its oracle differ in their mini-batches: they cannot be held together"
            )
        behind, seen = (np.bincount(experience, weights=values) for values in (best - correct, n))
        rows += [(*cell, *row) for row in zip(range(len(seen)), behind / seen, np.cumsum(behind), strict=True)]
    return as_table(rows, CELL | {"experience": "int64", "regret": "float64", "cumulative": "float64"})


def intransigences(eval: pd.DataFrame, oracle: pd.DataFrame) -> pd.DataFrame:
    """Return the intransigence of each run against the oracle's run of the same arm and seed.

    Parameters
    ----------
    eval, oracle : pandas.DataFrame
        Tables of ``tamcl.results`` of the study and of the restart oracle, each arm at one learning rate. The
        reference for experience j is the oracle's accuracy on j right after training on it. Runs that only one of them
        has are left out.

    Returns
    -------
    pandas.DataFrame
        Columns scenario, arm, lr, options, seed, intransigence; nan where a run was not tested on what it had just
        learnt.

    Raises
    ------
    InputError
        If an arm has several learning rates or values of options, or two runs of a pair differ in their number of
        experiences.
    """
    from tamcl.metrics.cells import as_table, describe, matrices
    from tamcl.results import CELL

    known = {(cell[1], cell[4]): R.diagonal() for cell, (R, _) in matrices(_one_rate(oracle, "oracle"))}
    rows = []
    for cell, (R, _) in matrices(_one_rate(eval, "eval")):
        if (cell[1], cell[4]) not in known:
            continue
        reference = known[cell[1], cell[4]]
        if len(reference) != len(R):
            raise InputError(f"{describe(cell)} has {len(R)} experiences and its oracle {len(reference)}")
        try:
            rows.append((*cell, intransigence(R, reference)))
        except Missing:
            rows.append((*cell, float("nan")))
    return as_table(rows, CELL | {"intransigence": "float64"})


def _one_rate(table: pd.DataFrame, what: str) -> pd.DataFrame:
    of_one = [column for column in ("scenario", "lr", "options") if column in table]
    several = table.groupby("arm")[of_one].nunique().max(axis=1).loc[lambda counts: counts > 1]
    if len(several):
        raise InputError(f"{what}: arm '{several.index[0]}' stands there at several learning rates or scenarios")
    return table
