"""The chosen learning rates, from tables small enough to choose by eye."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from tamcl.errors import InputError
from tamcl.tuning import COLUMNS, select

CELL = ["scenario", "arm", "lr", "seed"]


def tables(
    scores: dict[tuple[str, float], list[float | str]], metric="online_accuracy", scenario="flips", phase="tune"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`metrics` and `runs` from {(arm, lr): value on each tuning seed, or the status of a run without one}."""
    cells = [
        (scenario, arm, lr, 1000 + i, value) for (arm, lr), values in scores.items() for i, value in enumerate(values)
    ]
    table = pd.DataFrame(cells, columns=[*CELL, "value"])
    broken = table["value"].map(lambda value: isinstance(value, str)).astype(bool)
    runs = table[CELL].assign(phase=phase, status=table["value"].where(broken, "ok"))
    metrics = table[~broken].assign(metric=metric).astype({"value": float})
    return metrics, runs


def chosen(metrics: pd.DataFrame, runs: pd.DataFrame, tune_by="online_accuracy") -> dict[str, float]:
    table = select(metrics, runs, tune_by)
    return table[table["chosen"]].set_index("arm")["lr"].to_dict()


def test_best_mean_wins():
    metrics, runs = tables(
        {("tam", 0.1): [0.5, 0.7], ("tam", 0.3): [0.6, 0.8], ("tam", 1.0): [0.9, 0.1], ("adam", 0.01): [0.2, 0.4]}
    )
    table = select(metrics, runs, "online_accuracy")
    assert list(table.columns) == list(COLUMNS)
    assert table[["arm", "lr"]].to_numpy().tolist() == [["adam", 0.01], ["tam", 0.1], ["tam", 0.3], ["tam", 1.0]]
    assert table["score"].to_numpy() == pytest.approx([0.3, 0.6, 0.7, 0.5])
    assert table["chosen"].tolist() == [True, False, True, False]
    assert (table["n_seeds"] == [2, 2, 2, 2]).all()
    assert (table["n_diverged"] == 0).all()


def test_direction_of_the_metric():
    metrics, runs = tables({("tam", 0.1): [0.2], ("tam", 0.3): [-0.1], ("tam", 1.0): [0.3]}, metric="forgetting")
    assert chosen(metrics, runs, "forgetting") == {"tam": 0.3}


@pytest.mark.parametrize("status", ["diverged", "failed"])
def test_a_rate_that_diverged_once_is_not_eligible(status):
    metrics, runs = tables({("tam", 0.1): [0.5, 0.5], ("tam", 0.3): [0.6, 0.6], ("tam", 1.0): [0.9, status]})
    table = select(metrics, runs, "online_accuracy").set_index("lr")
    assert table["n_diverged"].to_dict() == {0.1: 0, 0.3: 0, 1.0: 1}
    assert table["n_seeds"].to_dict() == {0.1: 2, 0.3: 2, 1.0: 2}
    assert table["score"][1.0] == 0.9
    assert chosen(metrics, runs) == {"tam": 0.3}


def test_a_value_of_a_run_that_diverged_does_not_count():
    metrics, runs = tables({("tam", 0.1): [0.5, 0.9]})
    runs["status"] = ["ok", "diverged"]
    assert select(metrics, runs, "online_accuracy")["score"].tolist() == [0.5]


def test_an_arm_without_an_eligible_rate_gets_none():
    metrics, runs = tables({("tam", 0.1): ["diverged"], ("tam", 0.3): ["failed"], ("adam", 0.1): [0.5]})
    assert chosen(metrics, runs) == {"adam": 0.1}
    table = select(metrics, runs, "online_accuracy").set_index("arm")
    assert table.loc["tam", "score"].isna().all()
    assert not table.loc["tam", "on_edge"].any()


def test_nan_and_missing_values_are_not_eligible():
    metrics, runs = tables({("tam", 0.1): [0.5, 0.5], ("tam", 0.3): [0.9, np.nan], ("tam", 1.0): [0.9, 0.9]})
    metrics = metrics[(metrics["lr"] != 1.0) | (metrics["seed"] != 1001)]
    assert chosen(metrics, runs) == {"tam": 0.1}


def test_ties_go_to_the_smaller_rate():
    metrics, runs = tables(
        {("tam", 1.0): [0.1, 0.2, 0.3], ("tam", 0.3): [0.3, 0.2, 0.1], ("tam", 0.1): [0.2, 0.1, 0.0]}
    )
    for order in ([0, 1, 2, 3, 4, 5, 6, 7, 8], [8, 7, 6, 5, 4, 3, 2, 1, 0]):
        assert chosen(metrics.iloc[order], runs.iloc[order]) == {"tam": 0.3}


def test_edges_of_the_grid():
    metrics, runs = tables(
        {("low", 0.1): [0.9], ("low", 0.3): [0.5], ("high", 0.1): [0.1], ("high", 0.3): [0.2], ("one", 0.1): [0.5]}
        | {("inside", 0.1): [0.1], ("inside", 0.3): [0.9], ("inside", 1.0): [0.2]}
        | {("beside", 0.1): [0.1], ("beside", 0.3): [0.9], ("beside", 1.0): ["diverged"]}
    )
    table = select(metrics, runs, "online_accuracy")
    assert set(table.loc[table["on_edge"], "arm"]) == {"low", "high"}
    assert table["chosen"].sum() == 5


def test_only_tuning_runs_of_each_scenario():
    tune = [tables({("tam", 0.1): [a], ("tam", 0.3): [b]}, scenario=s) for s, a, b in [("x", 1, 0), ("y", 0, 1)]]
    report = tables({("tam", 0.3): [0.99] * 5}, scenario="x", phase="report")
    metrics, runs = (pd.concat(parts, ignore_index=True) for parts in zip(*tune, report, strict=True))
    metrics.loc[metrics.index[-5:], "seed"] = runs.loc[runs.index[-5:], "seed"] = range(5)
    table = select(metrics, runs, "online_accuracy")
    assert table[table["chosen"]][["scenario", "lr"]].to_numpy().tolist() == [["x", 0.1], ["y", 0.3]]
    assert (table["n_seeds"] == 1).all()


def test_no_tuning_runs():
    metrics, runs = tables({("tam", 0.1): [0.5]}, phase="report")
    table = select(metrics, runs, "online_accuracy")
    assert table.empty
    assert list(table.columns) == list(COLUMNS)


def test_input_stays_and_unknown_metric_is_named():
    metrics, runs = tables({("tam", 0.1): [0.5], ("tam", 0.3): ["diverged"]})
    copies = metrics.copy(), runs.copy()
    select(metrics, runs, "online_accuracy")
    assert_frame_equal(metrics, copies[0])
    assert_frame_equal(runs, copies[1])
    with pytest.raises(InputError, match=r"^unknown metric 'online_acuracy': did you mean 'online_accuracy'\?"):
        select(metrics, runs, "online_acuracy")
