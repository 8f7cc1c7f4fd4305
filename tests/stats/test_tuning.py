"""The chosen learning rates, from tables small enough to choose by eye."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from tamcl.errors import InputError
from tamcl.stats.tuning import COLUMNS, by_lr, by_option, expected_best, extended, plateau, same_lr, select
from tamcl.trial import Trial

CELL = ["scenario", "arm", "lr", "options", "seed"]


def tables(
    scores: dict[tuple[str, float] | tuple[str, float, str], list[float | str]],
    metric="online_accuracy",
    scenario="flips",
    phase="tune",
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`metrics` and `runs` from {(arm, lr[, options]): value on each tuning seed, or the status of a run without}."""
    cells = [
        (scenario, arm, lr, "".join(options), 1000 + i, value)
        for (arm, lr, *options), values in scores.items()
        for i, value in enumerate(values)
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


# --- what the choice rests on ----------------------------------------------------------------------------------------


def test_expected_best_is_the_mean_over_all_draws():
    scores = {0.1: 0.5, 0.2: 0.9, 0.3: 0.7, 0.4: 0.6}
    metrics, runs = tables({("tam", lr): [score] for lr, score in scores.items()})
    found = expected_best(select(metrics, runs, "online_accuracy"), "online_accuracy")
    assert found["trials"].tolist() == [1, 2, 3, 4]
    for n, expected in zip(found["trials"], found["expected"], strict=True):
        assert expected == pytest.approx(np.mean([max(draw) for draw in product(scores.values(), repeat=n)]))


def test_expected_best_of_a_metric_to_be_lowered_and_of_rates_that_diverged():
    metrics, runs = tables(
        {
            ("tam", 0.1): [0.5],
            ("tam", 0.2): [0.1],
            ("tam", 0.3): ["diverged"],
            ("adam", 0.1): [0.8],
            ("none", 1.0): ["failed"],
        },
        metric="forgetting",
    )
    found = expected_best(select(metrics, runs, "forgetting"), "forgetting").set_index(["arm", "trials"])["expected"]
    assert set(found.index.get_level_values("arm")) == {"tam", "adam"}
    assert found["tam", 1] == pytest.approx((0.5 + 0.1 + 0.8) / 3)  # the worst of the scenario stands for the rate lost
    assert found["tam", 2] == pytest.approx(np.mean([min(draw) for draw in product([0.5, 0.1, 0.8], repeat=2)]))
    assert found["adam", 1] == 0.8
    assert expected_best(select(metrics.iloc[:0], runs.iloc[:0], "forgetting"), "forgetting").empty


def test_a_rate_without_a_value_on_one_seed_is_eligible_nowhere():
    metrics, runs = tables({("tam", 0.1): [0.5, 0.5], ("tam", 0.3): [0.9, np.nan], ("tam", 1.0): [0.45, 0.45]})
    table = select(metrics, runs, "online_accuracy")
    assert table["eligible"].tolist() == [True, False, True]
    found = expected_best(table, "online_accuracy")
    draws = [np.mean([max(draw) for draw in product([0.5, 0.45, 0.45], repeat=n)]) for n in (1, 2, 3)]
    assert found["expected"].tolist() == pytest.approx(draws)
    assert plateau(table, "online_accuracy")[["lr_low", "lr_high", "n_rates"]].to_numpy().tolist() == [[0.1, 0.1, 1]]


def test_plateau_stops_at_the_first_worse_rate():
    scores = [0.76, 0.5, 0.77, 0.8, 0.761, 0.7, 0.79]
    metrics, runs = tables({("tam", 0.1 * 2.0**i): [score] for i, score in enumerate(scores)})
    row = plateau(select(metrics, runs, "online_accuracy"), "online_accuracy").iloc[0]
    assert (row["lr_low"], row["lr_high"], row["n_rates"], row["open"]) == (0.4, 1.6, 3, False)
    assert row["decades"] == pytest.approx(np.log10(4))
    wide = plateau(select(metrics, runs, "online_accuracy"), "online_accuracy", share=0.5).iloc[0]
    assert (wide["n_rates"], wide["open"]) == (7, True)
    with pytest.raises(ValueError, match="share=95: needed is 0 < share <= 1"):
        plateau(select(metrics, runs, "online_accuracy"), "online_accuracy", share=95)


def test_a_plateau_of_the_only_rate_is_not_open():
    metrics, runs = tables({("tam", 0.1): [0.8]})
    row = plateau(select(metrics, runs, "online_accuracy"), "online_accuracy").iloc[0]
    assert (row["n_rates"], row["decades"], row["open"]) == (1, 0, False)


def test_plateau_of_metrics_to_be_lowered_of_diverged_rates_and_below_zero():
    metrics, runs = tables(
        {("tam", 0.1): [0.41], ("tam", 0.2): [0.40], ("tam", 0.4): ["diverged"], ("tam", 0.8): [0.40]}
        | {("adam", 0.1): [-0.1], ("adam", 0.2): [0.2], ("none", 0.1): ["failed"]},
        metric="forgetting",
    )
    found = plateau(select(metrics, runs, "forgetting"), "forgetting").set_index("arm")
    assert found.loc["tam", ["lr_low", "lr_high", "n_rates", "open"]].tolist() == [0.1, 0.2, 2, True]
    assert np.isnan(found.loc["adam", "decades"])
    assert set(found.index) == {"tam", "adam"}


def test_extended_goes_on_by_the_ratio_at_that_end():
    grid = [0.001, 0.003, 0.01, 0.02]
    assert extended(grid, 0.02, steps=3) == [0.04, 0.08, 0.16]
    assert extended(grid, 0.001, steps=2) == pytest.approx([0.001 / 9, 0.001 / 3], rel=1e-5)
    assert extended(reversed(grid), 0.003) == []
    assert extended([0.1], 0.1) == [0.05, 0.2]
    assert not set(extended(grid, 0.02)) & set(grid)
    for bad in ((grid, 0.5, 1), ([0.0, 0.1], 0.1, 1), (grid, 0.02, 0)):
        with pytest.raises(ValueError, match="needed are a rate of the grid"):
            extended(bad[0], bad[1], steps=bad[2])


def test_same_lr_shows_a_win_that_tuning_takes_away():
    metrics, runs = tables(
        {
            ("sgdm", 0.1): [0.70, 0.72],
            ("sgdm", 0.2): [0.40, 0.42],
            ("tam", 0.1): [0.60, 0.62],
            ("tam", 0.2): [0.71, 0.71],
        }
        | {("tam", 0.4): [0.5, 0.5], ("sgdm", 0.4): ["diverged", 0.1], ("adam", 0.01): [0.6, 0.6]}
    )
    table = same_lr(metrics, runs, "online_accuracy", pairs=[("tam", "sgdm")])
    assert table["tuned"].tolist() == [True, False, False, False]
    assert table[["lr_a", "lr_b"]].to_numpy().tolist() == [[0.2, 0.1], [0.1, 0.1], [0.2, 0.2], [0.4, 0.4]]
    assert table["diff"].to_numpy() == pytest.approx([0, -0.1, 0.3, 0.4])
    assert table["n_pairs"].tolist() == [2, 2, 2, 1]
    every = same_lr(metrics, runs, "online_accuracy")
    assert every.groupby(["arm_a", "arm_b"]).size().to_dict() == {
        ("adam", "sgdm"): 1,
        ("adam", "tam"): 1,
        ("sgdm", "tam"): 4,
    }


def test_same_lr_where_one_arm_never_ends():
    metrics, runs = tables({("a", 0.1): [0.5], ("b", 0.1): ["diverged"]})
    row = same_lr(metrics, runs, "online_accuracy").iloc[0]
    assert (row["tuned"], row["n_pairs"]) == (False, 0)
    assert np.isnan(row["diff"])
    assert same_lr(metrics.iloc[:0], runs.iloc[:0], "online_accuracy").empty


def test_by_lr_marks_the_same_rate_in_every_metric():
    scores = {("tam", 0.1): [0.5, 0.7], ("tam", 0.3): [0.8, 0.8], ("adam", 0.1): [0.2, "diverged"]}
    metrics, runs = tables(scores)
    drops, _ = tables(
        {key: [value if isinstance(value, str) else 1 - value for value in each] for key, each in scores.items()},
        metric="drop",
    )
    both = pd.concat([metrics, drops])
    table = by_lr(both, runs, "online_accuracy")
    assert list(table.columns) == ["metric", *COLUMNS]
    assert table.loc[table["chosen"], ["metric", "lr"]].to_numpy().tolist() == [["online_accuracy", 0.3], ["drop", 0.3]]
    found = table[(table["metric"] == "drop") & (table["arm"] == "tam")].set_index("lr")["score"]
    assert found.to_dict() == pytest.approx({0.1: 0.4, 0.3: 0.2})
    assert_frame_equal(
        by_lr(both, runs, "online_accuracy", names=["online_accuracy"]).drop(columns="metric"),
        select(metrics, runs, "online_accuracy"),
    )
    assert by_lr(both.iloc[:0], runs.iloc[:0], "online_accuracy").empty


GRID = {
    ("sgd", 0.1, "momentum=0.5"): [0.5, 0.5],
    ("sgd", 0.2, "momentum=0.5"): [0.6, 0.6],
    ("sgd", 0.4, "momentum=0.5"): [0.7, 0.7],
    ("sgd", 0.1, "momentum=0.9"): [0.6, 0.8],
    ("sgd", 0.2, "momentum=0.9"): [0.9, 0.7],
    ("sgd", 0.4, "momentum=0.9"): [0.95, "diverged"],
}


def test_a_trial_is_chosen_among_rates_and_options_together():
    table = select(*tables(GRID), "online_accuracy")
    assert table[["lr", "options"]].to_numpy().tolist() == sorted([lr, options] for _, lr, options in GRID)
    assert table.set_index(["lr", "options"])["score"].drop((0.4, "momentum=0.9")).to_dict() == pytest.approx(
        {(lr, options): np.mean(values) for (_, lr, options), values in GRID.items() if "diverged" not in values}
    )
    (best,) = table[table["chosen"]].to_dict("records")
    assert (best["lr"], best["options"], best["on_edge"], best["options_on_edge"]) == (
        0.2,
        "momentum=0.9",
        False,
        "momentum",
    )


def test_equal_trials_are_chosen_by_the_smaller_rate_and_then_by_the_text():
    equal = {("sgd", lr, f"momentum={value}"): [0.5] for lr in (0.2, 0.1) for value in (0.9, 0.5)}
    table = select(*tables(equal), "online_accuracy")
    assert table.loc[table["chosen"], ["lr", "options"]].to_numpy().tolist() == [[0.1, "momentum=0.5"]]


@pytest.mark.parametrize(
    ("values", "best", "ends"),
    [
        ((0, 0.1, 0.2), 0, ""),  # below it is nothing
        ((0, 0.1, 0.2), 0.1, ""),
        ((0, 0.1, 0.2), 0.2, "weight_decay"),
        ((0.1, 0.2), 0.1, "weight_decay"),
        ((-1, 0), -1, "weight_decay"),
        ((0.1,), 0.1, ""),
        ((False, True), True, ""),
        (("adam", "sgd"), "sgd", ""),
    ],
)
def test_the_end_of_several_numbers_is_told(values, best, ends):
    trials = {
        ("sgd", 0.1, Trial.of(0.1, {"base": "x", "weight_decay": value}).options): [float(value == best)]
        for value in values
    }
    table = select(*tables(trials), "online_accuracy")
    assert table.loc[table["chosen"], "options_on_edge"].item() == ends


def test_an_end_of_the_rates_is_one_at_the_chosen_options_in_a_grid_and_of_all_in_a_search():
    wider = GRID | {("sgd", 0.8, "momentum=0.5"): [0.1, 0.1], ("sgd", 0.4, "momentum=0.9"): [0.95, 0.95]}
    assert select(*tables(wider), "online_accuracy").query("chosen")[["lr", "on_edge"]].to_numpy().tolist() == [
        [0.4, True]
    ]
    drawn = {("sgd", lr, f"momentum={lr}"): [score] for lr, score in [(0.1, 0.5), (0.2, 0.7), (0.3, 0.6)]}
    table = select(*tables(drawn), "online_accuracy")
    assert table.query("chosen")[["lr", "on_edge", "options_on_edge"]].to_numpy().tolist() == [[0.2, False, ""]]


def test_the_plateau_is_at_the_chosen_options():
    tuning = select(*tables(GRID), "online_accuracy")
    (row,) = plateau(tuning, "online_accuracy", share=0.85).to_dict("records")
    assert (row["lr_low"], row["lr_high"], row["n_rates"], row["open"]) == (0.1, 0.2, 2, True)
    drawn = {("sgd", lr, f"momentum={lr}"): [0.5] for lr in (0.1, 0.2)}
    assert np.isnan(plateau(select(*tables(drawn), "online_accuracy"), "online_accuracy")["decades"].item())


def test_the_expected_best_counts_trials():
    tuning = select(*tables(GRID), "online_accuracy")
    table = expected_best(tuning, "online_accuracy")
    scores = [*(np.mean(values) for values in GRID.values() if "diverged" not in values), 0.5]
    assert len(table) == 6
    assert table["expected"].iloc[0] == pytest.approx(np.mean(scores))


def test_same_lr_takes_the_best_options_of_each_at_the_rate():
    other = {("tam", 0.1): [0.65, 0.65], ("tam", 0.4): [0.5, 0.5]}
    table = same_lr(*tables(GRID | other), "online_accuracy", pairs=[("sgd", "tam")])
    assert table[["lr_a", "lr_b"]].to_numpy().tolist() == [[0.2, 0.1], [0.1, 0.1], [0.4, 0.4]]
    assert table["mean_a"].to_numpy() == pytest.approx([0.8, 0.7, 0.7])  # at 0.4 momentum 0.9 diverged on a seed
    assert table["diff"].to_numpy() == pytest.approx([0.15, 0.05, 0.2])


def test_the_score_over_a_rate_and_one_option_is_the_best_over_the_others():
    trials = {
        ("sgd", lr, f"momentum={momentum}, nesterov={nesterov}"): [lr + momentum + bonus]
        for lr in (0.1, 0.2)
        for momentum in (0, 0.5)
        for nesterov, bonus in (("false", 0.0), ("true", 0.01 if momentum else -0.02))
    }
    trials |= {("adam", 0.1): [0.5]}
    tuning = select(*tables(trials), "online_accuracy")
    table = by_option(tuning, "online_accuracy")
    assert set(table["arm"]) == {"sgd"}
    momentum = table[table["option"] == "momentum"]
    assert momentum[["value", "lr", "score"]].to_numpy().tolist() == [
        ["0", 0.1, pytest.approx(0.1)],
        ["0", 0.2, pytest.approx(0.2)],
        ["0.5", 0.1, pytest.approx(0.61)],
        ["0.5", 0.2, pytest.approx(0.71)],
    ]
    assert momentum["number"].tolist() == [0, 0, 0.5, 0.5]
    assert momentum["chosen"].tolist() == [False, False, False, True]
    nesterov = table[table["option"] == "nesterov"]
    assert nesterov["score"].tolist() == pytest.approx([0.6, 0.7, 0.61, 0.71])
    assert nesterov["number"].isna().all()
    assert by_option(tuning[tuning["arm"] == "adam"], "online_accuracy").empty
