"""Numbers against enumeration, scipy and hand-made tables; calibration on many random studies."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from scipy import stats as scipy_stats

from tamcl.errors import InputError
from tamcl.results import TABLES
from tamcl.stats import (
    between,
    compare,
    holm,
    interval,
    probability_better,
    sign_flip_p,
    smallest_p,
)

CELL = ["scenario", "arm", "lr", "seed"]


def metrics_of(values: dict[str, list[float]], metric="online_accuracy", scenario="flips", lr=0.1) -> pd.DataFrame:
    """A `metrics` table with one list of values, seeds 0, 1, ..., an arm."""
    rows = [(scenario, arm, lr, seed, metric, value) for arm, many in values.items() for seed, value in enumerate(many)]
    return pd.DataFrame(rows, columns=list(TABLES["metrics"].columns))


def runs_of(metrics: pd.DataFrame, phase="report") -> pd.DataFrame:
    runs = metrics[CELL].drop_duplicates()
    return runs.assign(phase=phase, status="ok", fingerprint="stream " + runs["seed"].astype(str))


def enumerated_p(d) -> float:
    """The definition: all 2^n patterns of signs."""
    null = [abs(np.dot(signs, d)) for signs in itertools.product([1, -1], repeat=len(d))]
    return float(np.mean(np.array(null) >= abs(np.sum(d)) - 1e-12))


# --- p-value ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_sign_flip_p_is_the_share_of_all_patterns(seed, n):
    rng = np.random.default_rng(seed)
    for d in (rng.normal(0.5, 1, n), rng.integers(-5, 6, n) / 1000):
        assert sign_flip_p(d) == pytest.approx(enumerated_p(d))


def test_sign_flip_p_equals_scipys_own_permutation_test():
    d = np.random.default_rng(0).normal(0.3, 1, 9)
    reference = scipy_stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_p(d) == reference.pvalue


def test_ties_that_rounding_would_break_count():
    # 0.1 + 0.2 - 0.3 is not 0 in floating point.
    assert sign_flip_p([0.1, 0.2, -0.3]) == 1.0
    assert sign_flip_p([0.3, 0.1, 0.2, -0.6, 0.7]) == sign_flip_p([3, 1, 2, -6, 7])


def test_sign_flip_p_of_few_and_of_none():
    assert np.isnan(sign_flip_p([]))
    assert sign_flip_p([0.3]) == 1
    assert sign_flip_p([0.0, 0.0, 0.0]) == 1
    assert sign_flip_p([0.1] * 4) == smallest_p(4) == 0.125


def test_sign_flip_p_of_many_seeds_is_drawn_and_repeatable():
    d = np.random.default_rng(3).normal(0.4, 1, 30)
    assert sign_flip_p(d) == sign_flip_p(d)
    assert sign_flip_p(d) == pytest.approx(scipy_stats.ttest_1samp(d, 0).pvalue, abs=0.02)


def test_smallest_p_is_reached_and_not_passed():
    for n in range(1, 9):
        assert sign_flip_p(np.arange(1, n + 1)) == smallest_p(n)
    assert min(n for n in range(1, 20) if smallest_p(n) <= 0.05) == 6
    assert min(n for n in range(1, 20) if smallest_p(n, n_comparisons=15) <= 0.05) == 10


# --- interval --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 5])
def test_few_differences_get_students_interval(n):
    d = np.random.default_rng(n).normal(size=n)
    reference = scipy_stats.t.interval(0.95, n - 1, loc=d.mean(), scale=scipy_stats.sem(d))
    assert interval(d) == pytest.approx(reference)


@pytest.mark.parametrize("n", [6, 10, 20])
def test_more_get_the_expanded_bca_interval(n):
    d = np.random.default_rng(n).exponential(size=n)
    level = 1 - 2 * scipy_stats.norm.cdf(-np.sqrt(n / (n - 1)) * scipy_stats.t.ppf(0.975, n - 1))
    reference = scipy_stats.bootstrap((d,), np.mean, n_resamples=50_000, confidence_level=level, rng=1)
    width = np.ptp(reference.confidence_interval)
    assert interval(d) == pytest.approx(tuple(reference.confidence_interval), abs=0.1 * width)
    assert interval(d) == interval(d)
    plain = scipy_stats.bootstrap((d,), np.mean, n_resamples=50_000, rng=1).confidence_interval
    low, high = interval(d)
    assert low < plain.low < plain.high < high


def test_interval_is_turned_round_with_the_differences():
    d = np.random.default_rng(0).exponential(size=8)
    low, high = interval(d)
    assert interval(-d) == pytest.approx((-high, -low))


def test_interval_shrinks_with_lower_confidence():
    d = np.random.default_rng(0).normal(size=8)
    low, high = interval(d, confidence=0.8)
    assert interval(d)[0] < low < high < interval(d)[1]


def test_intervals_without_spread():
    assert np.isnan(interval([])).all()
    assert np.isnan(interval([0.3])).all()
    assert interval([0.0] * 7) == (0, 0)
    assert interval([0.25] * 3) == (0.25, 0.25)
    assert interval([0.1 + 0.2, 0.3] * 4) == pytest.approx((0.3, 0.3))  # differ by rounding only


@pytest.mark.parametrize(
    "d", [[0, 0, 0, 0, 0, 1], [1, 1, 1, 1, 1, -1], [0, 1] * 3, [1e-9, 0, 0, 0, 0, 0, 1], [1] * 30 + [2]]
)
def test_intervals_of_awkward_differences_are_numbers(d):
    low, high = interval(np.array(d) / 100)
    assert min(d) / 100 <= low < np.mean(d) / 100 < high <= max(d) / 100


# --- calibration -----------------------------------------------------------------------------------------------------


def test_p_is_uniform_under_no_difference():
    """2,000 studies of 8 seeds: p takes the values k / 128, each as often as a uniform p would."""
    rng = np.random.default_rng(0)
    p = np.array([sign_flip_p(d) for d in rng.normal(size=(2000, 8))])
    for level in (2 / 128, 6 / 128, 13 / 128, 32 / 128, 64 / 128):
        error = 4 * np.sqrt(level * (1 - level) / len(p))
        assert abs(np.mean(p <= level) - level) < error


def test_p_is_no_smaller_than_uniform_with_ties():
    rng = np.random.default_rng(1)
    p = np.array([sign_flip_p(d) for d in rng.integers(-2, 3, size=(1000, 7)) / 500])
    for level in (0.02, 0.05, 0.1, 0.3):
        assert np.mean(p <= level) < level + 4 * np.sqrt(level / len(p))


@pytest.mark.parametrize(("n", "trials"), [(3, 2000), (5, 2000), (10, 2000)])
def test_interval_holds_a_planted_effect(n, trials):
    """2,000 studies with a true difference of 0.02: 93 to 97 % of the 95 % intervals hold it."""
    ends = np.array([interval(d) for d in np.random.default_rng(n).normal(0.02, 0.01, size=(trials, n))])
    assert 0.93 < np.mean((ends[:, 0] <= 0.02) & (ends[:, 1] >= 0.02)) < 0.97


def test_holm_keeps_the_error_of_the_whole_table():
    """100 studies of 4 equal arms and 8 seeds: some pair is called different in about 5 % of them, not in 20 %."""
    rng = np.random.default_rng(0)
    wrong = raw = 0
    for _ in range(100):
        common = rng.normal(size=8)
        table = compare(metrics_of({arm: list(0.5 + 0.1 * common + 0.01 * rng.normal(size=8)) for arm in "abcd"}))
        wrong += (table["p_adjusted"] <= 0.05).any()
        raw += (table["p_value"] <= 0.05).any()
    assert wrong <= 100 * 0.05 + 2 * np.sqrt(100 * 0.05) < raw


# --- Holm and the probability to be better ---------------------------------------------------------------------------


def test_holm_by_its_steps():
    p = np.random.default_rng(0).random(7) / 5
    smallest_first = sorted(range(7), key=lambda i: p[i])
    expected, reached = np.empty(7), 0.0
    for step, i in enumerate(smallest_first):
        reached = max(reached, (7 - step) * p[i])
        expected[i] = min(1.0, reached)
    np.testing.assert_allclose(holm(p), expected)
    assert (holm(p) >= p).all()


def test_holm_leaves_nan_out():
    np.testing.assert_allclose(holm([0.02, np.nan, 0.01]), [0.02, np.nan, 0.02])
    assert holm([]).shape == (0,)


def test_probability_better():
    assert probability_better([1, 2, -1, 0]) == (2 + 0.5) / 4
    assert np.isnan(probability_better([]))


# --- compare ---------------------------------------------------------------------------------------------------------


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
