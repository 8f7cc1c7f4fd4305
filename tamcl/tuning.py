"""Which learning rate each arm is reported at: the best mean over tuning seeds, which no result is reported on."""

from __future__ import annotations

import pandas as pd

from tamcl.metrics import find

COLUMNS = {
    **{"scenario": "str", "arm": "str", "lr": "float64", "score": "float64"},
    **{"n_seeds": "int64", "n_diverged": "int64", "chosen": "bool", "on_edge": "bool"},
}


def select(metrics: pd.DataFrame, runs: pd.DataFrame, tune_by: str) -> pd.DataFrame:
    """Return the score of every learning rate tried, and which one each arm gets.

    The best mean of ``tune_by``, in the metric's direction, is chosen; of equal ones the smaller learning rate. A rate
    that diverged or failed on a single tuning seed, or left one without a value, is not eligible: its mean over the
    seeds that survived would be too good. An arm without an eligible rate gets none.

    Parameters
    ----------
    metrics, runs : pandas.DataFrame
        Tables of ``tamcl.results``; only runs of the phase "tune" count.
    tune_by : str
        Name of a metric.

    Returns
    -------
    pandas.DataFrame
        A row for each scenario, arm and lr: score (mean over the tuning seeds that have a value, nan if none has),
        n_seeds (tuning seeds run), n_diverged (those that diverged or failed), chosen, and on_edge: whether it is
        chosen and the smallest or largest of several rates, so that a better one may lie outside the grid.

    Raises
    ------
    InputError
        If there is no metric of that name.

    Examples
    --------
    >>> cells = pd.DataFrame({"scenario": "flips", "arm": "sgd", "lr": [0.01, 0.1, 1.0], "seed": 1000})
    >>> runs = cells.assign(phase="tune", status=["ok", "ok", "diverged"])
    >>> metrics = cells[:2].assign(metric="online_accuracy", value=[0.5, 0.75])
    >>> select(metrics, runs, "online_accuracy")
      scenario  arm    lr  score  n_seeds  n_diverged  chosen  on_edge
    0    flips  sgd  0.01   0.50        1           0   False    False
    1    flips  sgd  0.10   0.75        1           0    True    False
    2    flips  sgd  1.00    NaN        1           1   False    False
    """
    metric = find(tune_by)
    cell = ["scenario", "arm", "lr", "seed"]
    tuned = runs.loc[runs["phase"] == "tune", [*cell, "status"]]
    values = metrics.loc[metrics["metric"] == metric.name, [*cell, "value"]]
    seeds = tuned.merge(values, on=cell, how="left")
    seeds["diverged"] = seeds["status"] != "ok"
    seeds["value"] = seeds["value"].where(~seeds["diverged"])
    table = seeds.groupby(cell[:3], as_index=False).agg(
        score=("value", "mean"), n_seeds=("seed", "size"), n_diverged=("diverged", "sum"), n_values=("value", "count")
    )
    # Rounded, so that equal scores summed in another order are ties, where a stable sort leaves the smaller lr first.
    rank = (metric.sign * table["score"].round(12)).where(table["n_values"] == table["n_seeds"])
    best = table.assign(rank=rank).dropna(subset="rank").sort_values(["rank"], ascending=False, kind="stable")
    chosen = best.groupby(["scenario", "arm"]).head(1).index
    grid = table.groupby(["scenario", "arm"])["lr"]
    end = (table["lr"] == grid.transform("min")) | (table["lr"] == grid.transform("max"))
    table["chosen"] = table.index.isin(chosen)
    table["on_edge"] = table["chosen"] & end & (grid.transform("size") > 1)
    return table[list(COLUMNS)].astype(COLUMNS)
