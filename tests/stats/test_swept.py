"""Pairs over the values of a sweep, against straight lines of NumPy and step-down by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from tamcl.stats import across, over_all, spacing

PAIRS = pd.DataFrame([("flips", "online_accuracy", "tam", "sgdm")], columns=["scenario", "metric", "arm_a", "arm_b"])


def of_differences(table: dict[tuple[float, ...], list[float]], keys: list[str]) -> pd.DataFrame:
    """Metrics in which tam is above sgdm by so much at each value, a number a seed."""
    rng = np.random.default_rng(0)
    rows = []
    for values, differences in table.items():
        for seed, difference in enumerate(differences):
            luck = rng.normal()
            rows += [(*values, "flips", "sgdm", 0.1, seed, "online_accuracy", luck)]
            rows += [(*values, "flips", "tam", 0.2, seed, "online_accuracy", luck + difference)]
    return pd.DataFrame(rows, columns=[*keys, "scenario", "arm", "lr", "seed", "metric", "value"])


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2, 3], "linear"),
        ([0.1, 0.4, 0.7, 1.0], "linear"),
        ([-1.0, 1.0, 100.0], "linear"),
        ([16, 8, 64, 32, 8, 128], "log"),
        ([0.001, 0.1], "log"),
        ([0.0, 0.1, 1.0], "linear"),
        ([2, 4], "linear"),
        ([True, False], "names"),
        ([0.0, 0.001, 0.01, 0.1], "names"),
        (["b", "a"], "names"),
        ([0.5], "linear"),
    ],
)
def test_spacing(values: list[object], kind: str) -> None:
    assert spacing(values) == kind


@pytest.mark.parametrize(("xs", "kind"), [((0.0, 0.3, 1.0), "linear"), ((2.0, 8.0, 64.0), "log")])
def test_mean_and_change_of_each_seed(xs: tuple[float, ...], kind: str) -> None:
    rng = np.random.default_rng(1)
    d = rng.normal(0.1, 0.3, (7, 3))
    found = across(of_differences({(x,): list(d[:, i]) for i, x in enumerate(xs)}, ["x"]), PAIRS, ["x"])
    assert list(found["effect"]) == ["mean", "x"]
    at = np.log2(xs) if kind == "log" else np.array(xs)
    change = np.polyfit(at, d.T, 1)[0] * (at[-1] - at[0])
    for row, expected in zip(found.to_dict("records"), (d.mean(axis=1), change), strict=True):
        assert row["n_pairs"] == 7
        assert row["diff"] == pytest.approx(expected.mean())
        flips = scipy_stats.permutation_test(
            (expected,), np.mean, permutation_type="samples", n_resamples=np.inf
        ).pvalue
        assert row["p_value"] == pytest.approx(flips)
        assert row["ci_low"] < row["diff"] < row["ci_high"]
        assert row["prob_a_better"] == pytest.approx((expected > 0).mean())
    p = np.sort(found["p_value"])
    assert sorted(found["p_adjusted"]) == pytest.approx(sorted([min(1, 2 * p[0]), max(min(1, 2 * p[0]), p[1])]))


def test_a_seed_without_a_value_is_left_out() -> None:
    table = of_differences({(0.0,): [1.0, 2.0, 3.0], (1.0,): [2.0, 3.0, 5.0]}, ["x"])
    table = table[~((table["seed"] == 2) & (table["arm"] == "tam") & (table["x"] == 1.0))]
    found = across(table, PAIRS, ["x"]).set_index("effect")
    assert found["n_pairs"].tolist() == [2, 2]
    assert found["diff"].to_dict() == pytest.approx({"mean": 2.0, "x": 1.0})


def test_a_key_of_a_full_grid_is_told_from_the_other_and_of_a_ragged_one_not() -> None:
    full = {(x, y): [x + 10 * y, x + 10 * y] for x in (0.0, 1.0) for y in (0.0, 0.5, 1.0)}
    found = across(of_differences(full, ["x", "y"]), PAIRS, ["x", "y"]).set_index("effect")
    assert found["diff"].to_dict() == pytest.approx({"mean": 5.5, "x": 1.0, "y": 10.0})
    del full[0.0, 0.5]
    ragged = across(of_differences(full, ["x", "y"]), PAIRS, ["x", "y"])
    assert list(ragged["effect"]) == ["mean"]


def test_names_have_no_slope_and_a_single_value_nothing() -> None:
    named = across(of_differences({("a",): [1.0, 2.0], ("b",): [3.0, 4.0]}, ["x"]), PAIRS, ["x"])
    assert named[["effect", "diff"]].to_numpy().tolist() == [["mean", pytest.approx(2.5)]]
    assert across(of_differences({(0.5,): [1.0, 2.0]}, ["x"]), PAIRS, ["x"]).empty


def test_holm_over_all_values_by_hand() -> None:
    table = pd.DataFrame(
        {"scenario": "s", "metric": ["m", "m", "m", "o"], "p_value": [0.01, np.nan, 0.03, 0.04], "p_adjusted": 0.0}
    )
    np.testing.assert_allclose(over_all(table)["p_adjusted"], [0.02, np.nan, 0.03, 0.04])
    assert over_all(table.iloc[:0]).empty
