"""Tables to draw, and what was drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from tamcl.metrics import regrets
from tamcl.results import Results

SMALL = ["sgdm", "tam", "adam"]


def tuning_table(results: Results) -> pd.DataFrame:
    tuned = results.phase(results.metrics, "tune").query("metric == 'online_accuracy'")
    table = tuned.groupby(["scenario", "arm", "lr"], as_index=False).agg(
        score=("value", "mean"), n_seeds=("seed", "size")
    )
    best = table.groupby("arm")["score"].transform("max")
    return table.assign(n_diverged=0, eligible=True, chosen=table["score"] == best)


def sweep(results: Results) -> pd.DataFrame:
    """The study's metrics as if they were of two fractions; at the larger one everything is 0.1 lower."""
    metrics = results.phase(results.metrics)
    other = metrics.assign(scenario="other", lr=metrics["lr"] / 2, value=metrics["value"] - 0.1)
    return pd.concat([metrics.assign(fraction=0.2), other.assign(fraction=0.8)], ignore_index=True)


def curves(results: Results) -> pd.DataFrame:
    """The study's online accuracy as if it were that on earlier experiences, less what it was before."""
    rows = results.phase(results.online).query("experience > 0")
    since = rows["step"] - rows.groupby(["arm", "seed", "experience"])["step"].transform("min") + 1
    found = rows.assign(since_shift=since, change=rows["correct"] / rows["n"] - 0.5)
    cell = ["scenario", "arm", "lr", "seed", "since_shift"]
    return found.groupby(cell, as_index=False).agg(change=("change", "mean"), n_shifts=("change", "size"))


def after_epochs(results: Results) -> pd.DataFrame:
    """Every tenth online row of the study as if it were a test after an epoch."""
    rows = results.phase(results.online).query("step % 10 == 9")
    tests = rows.assign(evaluated_on=rows["experience"], accuracy=rows["correct"] / rows["n"])
    return tests.drop(columns=["correct", "phase"], errors="ignore")


def behind(results: Results) -> pd.DataFrame:
    """The regrets of a study against one that has a right answer more in every mini-batch of all experiences but the
    first.
    """
    online = results.phase(results.online)
    return regrets(online, online.assign(correct=online["correct"] + (online["experience"] > 0)))


def line(ax: Axes, label: str) -> np.ndarray:
    """The points of the line with that label, without the gaps at shifts."""
    found = next(line for line in ax.lines if line.get_label() == label)
    points = np.asarray(found.get_xydata(), dtype=float)
    return points[~np.isnan(points).any(axis=1)]
