"""Small tables of results, and what a calibrated interval and a calibrated p-value keep."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from tamcl.results import TABLES

CELL = ["scenario", "arm", "lr", "options", "seed"]


def metrics_of(values: dict[str, list[float]], metric="online_accuracy", scenario="flips", lr=0.1) -> pd.DataFrame:
    """A `metrics` table with one list of values, seeds 0, 1, ..., an arm."""
    rows = [
        (scenario, arm, lr, "", seed, metric, value) for arm, many in values.items() for seed, value in enumerate(many)
    ]
    return pd.DataFrame(rows, columns=list(TABLES["metrics"].columns))


def runs_of(metrics: pd.DataFrame, phase="report") -> pd.DataFrame:
    runs = metrics[CELL].drop_duplicates()
    return runs.assign(phase=phase, status="ok", fingerprint="stream " + runs["seed"].astype(str))


def enumerated_p(d) -> float:
    """The definition: all 2^n patterns of signs."""
    null = [abs(np.dot(signs, d)) for signs in itertools.product([1, -1], repeat=len(d))]
    return float(np.mean(np.array(null) >= abs(np.sum(d)) - 1e-12))


def coverage(ends: np.ndarray, truth: float) -> float:
    return float(np.mean((ends[:, 0] <= truth) & (ends[:, 1] >= truth)))


def is_uniform(p: np.ndarray, atoms: int) -> bool:
    """Chi-squared on 10 bins of a p that takes the values 2 / atoms, 4 / atoms, ..., 1, each as often."""
    values = 2 * np.arange(1, atoms // 2 + 1) / atoms
    edges = np.linspace(0, 1, 11)
    expected = np.histogram(values - 1e-9, edges)[0] / len(values) * len(p)
    return scipy_stats.chisquare(np.histogram(p - 1e-9, edges)[0], expected).pvalue > 0.001
