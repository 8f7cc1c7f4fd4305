"""Means over seeds with their intervals, and what a title says of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import stdtrit


def mean_interval(table: pd.DataFrame, by: list[str], column: str) -> pd.DataFrame:
    """Return the mean of a column over seeds and its 95 % interval by Student's t.

    Parameters
    ----------
    table : DataFrame
        One row a seed within each group.
    by : list of str
        Columns that make the groups.
    column : str
        What is averaged.

    Returns
    -------
    DataFrame
        The columns of ``by``, mean, low, high and count; low and high are nan for a single seed.

    Examples
    --------
    >>> table = pd.DataFrame({"arm": ["tam", "tam", "adam"], "value": [1.0, 3.0, 5.0]})
    >>> mean_interval(table, ["arm"], "value").round(2)
        arm  mean    low   high  count
    0  adam   5.0    NaN    NaN      1
    1   tam   2.0 -10.71  14.71      2
    """
    rows = table.groupby(by)[column].agg(["mean", "sem", "count"]).reset_index()
    half = rows["sem"] * stdtrit(np.maximum(rows["count"] - 1, 1), 0.975)
    return rows.assign(low=rows["mean"] - half, high=rows["mean"] + half)[[*by, "mean", "low", "high", "count"]]


def of_all_seeds(means: pd.DataFrame) -> pd.DataFrame:
    """Return the points of ``mean_interval`` that all seeds of an arm have: with some, experiences may be shorter."""
    return means[means["count"] == means.groupby("arm")["count"].transform("max")]


def counted(counts: pd.Series, noun: str) -> str:
    """Return how many there are in words: "3 seeds", or "3 to 5 seeds" where arms differ."""
    low, high = int(counts.min()), int(counts.max())
    return f"{low} {noun}{'s' * (low != 1)}" if low == high else f"{low} to {high} {noun}s"


def seeds_of(table: pd.DataFrame) -> str:
    """Return how many seeds an arm has, in words."""
    return counted(table.groupby("arm")["seed"].nunique(), "seed")


def and_interval(table: pd.DataFrame) -> str:
    """Return what to add to "Mean" in a title: nothing where every arm has a single seed."""
    return " and 95 % interval" if table.groupby("arm")["seed"].nunique().max() > 1 else ""
