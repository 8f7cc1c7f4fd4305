"""Comparisons against plain pandas and hand-made tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from tamcl.errors import InputError
from tamcl.results import TABLES
from tamcl.stats import between, compare, differences, holm, interval, probability_better, smallest_p
from tests.stats.helpers import enumerated_p, metrics_of, runs_of


def test_compare_in_plain_pandas_and_scipy():
    rng = np.random.default_rng(0)
    values = {arm: list(0.6 + rng.normal(0, 0.05, 8)) for arm in ("adam", "sgdm", "tam")}
    table = compare(metrics_of(values))
    assert list(table.columns) == list(TABLES["comparisons"].columns)
    assert list(zip(table["arm_a"], table["arm_b"], strict=True)) == [
        ("adam", "sgdm"),
        ("adam", "tam"),
        ("sgdm", "tam"),
    ]
    for row in table.to_dict("records"):
        a, b = (np.array(values[row[arm]]) for arm in ("arm_a", "arm_b"))
        assert (row["n_pairs"], row["mean_a"], row["mean_b"]) == (8, pytest.approx(a.mean()), pytest.approx(b.mean()))
        assert row["diff"] == pytest.approx((a - b).mean())
        assert (row["ci_low"], row["ci_high"]) == pytest.approx(interval(a - b))
        assert row["p_value"] == pytest.approx(enumerated_p(a - b))
        assert row["prob_a_better"] == np.mean(a > b)
    assert table["p_adjusted"].to_numpy() == pytest.approx(holm(table["p_value"]))


def test_pairing_removes_what_seeds_share():
    shared = np.random.default_rng(0).normal(0.6, 0.1, 8)
    row = compare(metrics_of({"a": list(shared + 0.01 + 0.001 * np.arange(8)), "b": list(shared)})).iloc[0]
    assert row["p_value"] == smallest_p(8)
    assert row["ci_low"] > 0.01


def test_better_follows_the_metrics_direction():
    for name, better in [("forgetting", 0.0), ("online_accuracy", 1.0)]:
        assert compare(metrics_of({"a": [0.3] * 3, "b": [0.2] * 3}, metric=name))["prob_a_better"].item() == better


def test_unpaired_seeds_and_missing_values_are_dropped():
    metrics = metrics_of({"a": [0.1, 0.2, 0.3, 0.4, np.nan], "b": [0.0, 0.1, 0.4]})
    row = compare(metrics).iloc[0]
    assert (row["n_pairs"], row["mean_a"], row["prob_a_better"]) == (3, pytest.approx(0.2), pytest.approx(2 / 3))


def test_no_common_seed_and_one_seed():
    table = compare(metrics_of({"a": [0.1], "b": [np.nan]}))
    assert table["n_pairs"].item() == 0
    assert table[["diff", "ci_low", "p_value", "p_adjusted", "prob_a_better"]].isna().all(axis=None)
    row = compare(metrics_of({"a": [0.1], "b": [0.2]})).iloc[0]
    assert (row["n_pairs"], row["p_value"]) == (1, 1)
    assert np.isnan([row["ci_low"], row["ci_high"]]).all()


def test_families_are_a_metric_of_a_scenario():
    values = {arm: list(np.random.default_rng(i).random(6)) for i, arm in enumerate("abc")}
    one = compare(metrics_of(values))
    parts = [metrics_of(values, scenario=s, metric=m) for s in ("flips", "tasks") for m in ("online_accuracy", "drop")]
    many = compare(pd.concat(parts))
    assert len(many) == 4 * 3
    same = many[(many["scenario"] == "flips") & (many["metric"] == "online_accuracy")].reset_index(drop=True)
    assert_frame_equal(same, one)


def test_declared_pairs_keep_their_order_and_are_the_only_ones():
    values = {arm: list(np.random.default_rng(i).random(6)) for i, arm in enumerate("abc")}
    table = compare(metrics_of(values), pairs=[("c", "a")])
    assert table[["arm_a", "arm_b"]].to_numpy().tolist() == [["c", "a"]]
    assert table["p_adjusted"].item() == table["p_value"].item()
    assert_frame_equal(between(compare(metrics_of(values), pairs=[("a", "c")]), "c", "a"), table)
    assert compare(metrics_of(values), pairs=[]).empty


def test_a_comparison_turned_round_is_the_comparison_the_other_way():
    values = {arm: list(np.random.default_rng(i).random(3)) for i, arm in enumerate("ab")}
    metrics = metrics_of(values, metric="forgetting")  # 3 differences: an interval that no drawing makes lopsided
    straight, turned = (compare(metrics, pairs=[pair]) for pair in [("a", "b"), ("b", "a")])
    assert straight["prob_a_better"].item() != 0.5
    assert_frame_equal(between(turned, "a", "b"), straight)


def test_an_arm_that_one_scenario_lacks():
    metrics = pd.concat([metrics_of({"a": [1.0], "b": [0.5]}), metrics_of({"a": [1.0]}, scenario="tasks")])
    assert compare(metrics).set_index("scenario")["n_pairs"].to_dict() == {"flips": 1, "tasks": 0}


def test_order_of_rows_changes_nothing_and_input_stays():
    metrics = metrics_of({arm: list(np.random.default_rng(i).random(6)) for i, arm in enumerate("abc")})
    shuffled = metrics.iloc[np.random.default_rng(0).permutation(len(metrics))]
    before = shuffled.copy()
    assert_frame_equal(compare(shuffled, runs_of(shuffled)), compare(metrics))
    assert_frame_equal(shuffled, before)


def test_empty_metrics():
    empty = metrics_of({})
    assert list(compare(empty).columns) == list(TABLES["comparisons"].columns)
    assert compare(empty, runs_of(empty)).empty


def test_only_finished_reported_runs_count():
    metrics = metrics_of({"a": [0.1, 0.2, 0.3], "b": [0.0, 0.1, 0.2]})
    tuning = metrics_of({"a": [0.9] * 3, "b": [0.1] * 3}, lr=0.7).assign(seed=[1000, 1001, 1002] * 2)
    runs = pd.concat([runs_of(metrics), runs_of(tuning, phase="tune")], ignore_index=True)
    runs.loc[(runs["arm"] == "b") & (runs["seed"] == 1), "status"] = "diverged"
    row = compare(pd.concat([metrics, tuning]), runs).iloc[0]
    assert (row["n_pairs"], row["diff"]) == (2, pytest.approx(0.1))


def test_an_arm_all_of_whose_runs_diverged_is_no_unknown_arm():
    metrics = metrics_of({"a": [0.1, 0.2], "b": [0.0, 0.1]})
    runs = runs_of(metrics)
    runs.loc[runs["arm"] == "b", "status"] = "diverged"
    assert compare(metrics, runs, pairs=[("a", "b")])["n_pairs"].tolist() == [0]
    assert compare(metrics[metrics["arm"] == "a"], runs, pairs=[("a", "b")])["n_pairs"].tolist() == [0]
    assert compare(metrics, runs).empty


def test_different_streams_are_not_paired():
    metrics = metrics_of({"a": [0.1, 0.2], "b": [0.0, 0.1]})
    runs = runs_of(metrics)
    runs.loc[(runs["arm"] == "b") & (runs["seed"] == 1), "fingerprint"] = "another"
    message = (
        r"^'a' and 'b' cannot be paired on seed 1 of flips: their streams differ \(fingerprints stream 1 and another\)$"
    )
    with pytest.raises(InputError, match=message):
        compare(metrics, runs)
    assert compare(metrics[metrics["seed"] == 0], runs)["n_pairs"].item() == 1


def test_bad_calls():
    metrics = metrics_of({"tam": [0.1], "sgdm": [0.2]})
    with pytest.raises(InputError, match=r"^unknown arm 'tamm': did you mean 'tam'\? Known: sgdm, tam\.$"):
        compare(metrics, pairs=[("tamm", "sgdm")])
    for pairs in ([("tam", "tam")], [("tam", "sgdm"), ("sgdm", "tam")]):
        with pytest.raises(InputError, match="two different arms are needed, each two of them once"):
            compare(metrics, pairs=pairs)
    with pytest.raises(
        InputError, match=r"^arm 'tam' of flips has several learning rates \(0.1, 0.3\): compare one an arm$"
    ):
        compare(pd.concat([metrics, metrics_of({"tam": [0.3]}, lr=0.3)]))
    with pytest.raises(InputError, match=r"^confidence = 95: a share between 0 and 1 is needed$"):
        compare(metrics, confidence=95)
    with pytest.raises(InputError, match=r"that runs does not have: scenario flips, arm tam, lr 0.1, seed 0$"):
        compare(metrics, runs_of(metrics)[lambda runs: runs["arm"] != "tam"])
    with pytest.raises(InputError, match="unknown metric 'accuracy'"):
        compare(metrics.assign(metric="accuracy"))


def test_differences_refuse_what_compare_refuses():
    metrics = metrics_of({"a": [0.1, 0.2], "b": [0.0, 0.1]})
    runs = runs_of(metrics)
    runs.loc[(runs["arm"] == "b") & (runs["seed"] == 1), "fingerprint"] = "another"
    with pytest.raises(InputError, match="cannot be paired on seed 1"):
        differences(metrics, runs)


def test_probability_better():
    assert probability_better([1, 2, -1, 0]) == (2 + 0.5) / 4
    assert np.isnan(probability_better([]))
