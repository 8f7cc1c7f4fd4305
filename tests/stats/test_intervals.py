"""Intervals against scipy; calibration on many random studies."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from tamcl.stats import (
    RESAMPLES,
    centers,
    compare,
    differences,
    interval,
    iqm,
    iqm_interval,
    median_interval,
)
from tamcl.stats.resampling import rng as stats_rng
from tests.stats.helpers import coverage, enumerated_p, metrics_of


@pytest.mark.parametrize("n", [6, 7, 10, 20])
def test_the_bootstrap_is_that_of_scipy_bit_by_bit(n: int) -> None:
    rng = np.random.default_rng(n)
    for d in (rng.normal(0.3, 1, n), rng.exponential(1e-4, n), rng.integers(-2, 5, n) / 4):
        level = 1 - 2 * scipy_stats.norm.sf(scipy_stats.t.ppf(0.975, n - 1) * np.sqrt(n / (n - 1)))
        options = {"confidence_level": level, "n_resamples": RESAMPLES, "method": "BCa", "rng": stats_rng()}
        reference = scipy_stats.bootstrap((d,), np.mean, **options).confidence_interval
        assert interval(d) == (reference.low, reference.high)


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


@pytest.mark.parametrize(("n", "confidence", "is_students"), [(7, 0.99, True), (8, 0.99, False), (5, 0.9, False)])
def test_resampling_begins_where_the_smallest_p_reaches_the_level(n, confidence, is_students):
    d = np.random.default_rng(n).exponential(size=n)
    students = scipy_stats.t.interval(confidence, n - 1, loc=d.mean(), scale=scipy_stats.sem(d))
    assert (interval(d, confidence=confidence) == pytest.approx(students)) == is_students


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


def intervals(D: np.ndarray) -> np.ndarray:
    """`interval` of every row at once, BCa written out; the resamples are the same for all rows, as they are there."""
    n, level = D.shape[1], 0.95
    drawn = stats_rng().integers(0, n, (RESAMPLES, n))
    weights = np.stack([(drawn == i).sum(axis=1) for i in range(n)]) / n
    alpha = scipy_stats.norm.sf(scipy_stats.t.ppf((1 + level) / 2, n - 1) * np.sqrt(n / (n - 1)))
    found = []
    for d in np.array_split(D, max(1, len(D) // 250)):
        mean, boot = d.mean(axis=1, keepdims=True), np.sort(d @ weights, axis=1)
        share = ((boot < mean - 1e-12).sum(axis=1) + (boot <= mean + 1e-12).sum(axis=1)) / (2 * RESAMPLES)
        bias, away = scipy_stats.norm.ppf(share), mean - d
        skew = -(away**3).sum(axis=1) / (away**2).sum(axis=1) ** 1.5 / 6
        ends = []
        for z in (scipy_stats.norm.ppf(alpha), -scipy_stats.norm.ppf(alpha)):
            place = scipy_stats.norm.cdf(bias + (bias + z) / (1 - skew * (bias + z))) * (RESAMPLES - 1)
            below, row = np.minimum(place.astype(int), RESAMPLES - 2), np.arange(len(d))
            ends.append(boot[row, below] + (place - below) * (boot[row, below + 1] - boot[row, below]))
        found.append(np.stack(ends, axis=1))
    return np.concatenate(found)


@pytest.mark.parametrize("n", [6, 10, 20])
def test_intervals_at_once_are_the_intervals(n):
    D = np.random.default_rng(n).exponential(size=(8, n))
    expected = np.array([interval(d) for d in D])
    np.testing.assert_allclose(intervals(D), expected, atol=0.005 * np.ptp(expected))


@pytest.mark.parametrize("n", [3, 5])
def test_interval_of_few_seeds_holds_a_planted_effect(n):
    """2,000 studies with a true difference of 0.02: 93 to 97 % of the 95 % intervals hold it."""
    ends = np.array([interval(d) for d in np.random.default_rng(n).normal(0.02, 0.01, size=(2000, n))])
    assert 0.93 < coverage(ends, 0.02) < 0.97


@pytest.mark.parametrize(
    ("shape", "n", "lowest"),
    [
        ("normal", 10, 0.93),
        ("normal", 20, 0.93),
        ("skewed", 10, 0.915),
        ("skewed", 20, 0.93),
        ("exponential", 20, 0.91),
    ],
)
def test_interval_holds_a_planted_effect(shape, n, lowest):
    """2,000 studies with a true difference of 0.02; what is skewed falls short of 93 %, as the docstring says."""
    rng = np.random.default_rng(n)
    drawn = {"normal": rng.normal, "skewed": lambda size: (rng.gamma(4, size=size) - 4) / 2}
    D = drawn.get(shape, lambda size: rng.exponential(size=size) - 1)(size=(2000, n))
    assert lowest < coverage(intervals(0.02 + 0.01 * D), 0.02) < 0.97


@pytest.mark.parametrize("n", [10, 20])
@pytest.mark.parametrize("shape", ["normal", "exponential"])
def test_intervals_of_median_and_iqm_hold_a_planted_effect(shape, n):
    rng = np.random.default_rng(n)
    D = (rng.normal if shape == "normal" else lambda size: rng.exponential(size=size))(size=(2000, n))
    median = 0 if shape == "normal" else np.log(2)
    assert 0.93 < coverage(np.array([median_interval(d) for d in D]), median) < 0.97
    if shape == "normal":
        assert 0.92 < coverage(np.array([iqm_interval(d) for d in D[:1000]]), 0) < 0.97


@pytest.mark.parametrize(
    ("shape", "n", "share"),
    [("expon", 5, 0.91), ("expon", 20, 0.93), ("lognorm", 10, 0.92), ("t", 10, 0.94)],
)
def test_interval_of_iqm_holds_it_as_often_as_its_docstring_says(shape, n, share):
    law = {"expon": scipy_stats.expon(), "lognorm": scipy_stats.lognorm(1), "t": scipy_stats.t(3)}[shape]
    middle = law.expect(lambda x: x, lb=law.ppf(0.25), ub=law.ppf(0.75), conditional=True)
    D = law.rvs(size=(2000, n), random_state=np.random.default_rng(n))
    error = 4 * np.sqrt(share * (1 - share) / len(D))
    assert abs(coverage(np.array([iqm_interval(d) for d in D]), middle) - share) < error


@pytest.mark.parametrize("n", [6, 7, 10, 25])
def test_median_interval_lies_between_two_sign_test_intervals(n):
    x = np.sort(np.random.default_rng(n).normal(size=n))
    low, high = median_interval(x)
    held = {d: 1 - 2 * scipy_stats.binom.cdf(d - 1, n, 0.5) for d in range(1, n // 2 + 1)}
    d = max(d for d, share in held.items() if share >= 0.95)
    assert x[d - 1] <= low <= x[d]
    assert x[n - d - 1] <= high <= x[n - d]
    np.testing.assert_allclose(median_interval(-x), (-high, -low))


def test_median_interval_at_exactly_its_level():
    x = np.arange(10.0)
    for d in (1, 2, 3):
        share = 1 - 2 * scipy_stats.binom.cdf(d - 1, 10, 0.5)
        assert median_interval(x, confidence=share) == pytest.approx((d - 1, 10 - d))
    assert np.isnan(median_interval([1, 2, 3, 4, 5])).all()
    assert np.isnan(median_interval([])).all()


def test_iqm_by_hand_and_its_interval_in_scipy():
    assert iqm([100, 1, 2, 3, 4, -100, 2, 3]) == 2.5
    assert iqm([1, 2, 6]) == 3
    assert np.isnan(iqm([]))
    x = np.random.default_rng(0).normal(size=12)
    assert iqm_interval(x[:3]) == pytest.approx(tuple(scipy_stats.ttest_1samp(x[:3], 0).confidence_interval(0.95)))
    winsorised = scipy_stats.mstats.winsorize(x, limits=(0.25, 0.25))
    half = scipy_stats.t.ppf(0.975, 5) * np.asarray(winsorised).std(ddof=1) / (0.5 * np.sqrt(12))
    assert iqm_interval(x) == pytest.approx((iqm(x) - half, iqm(x) + half))
    trimmed = scipy_stats.mstats.trimmed_mean_ci(x, limits=(0.25, 0.25), inclusive=(True, True))
    assert iqm_interval(x) == pytest.approx(tuple(trimmed), abs=0.02)


def test_centers_of_differences():
    rng = np.random.default_rng(0)
    values = {arm: list(rng.random(9)) for arm in "abc"}
    table = differences(metrics_of(values))
    assert len(table) == 3 * 9
    found = centers(table, by=["scenario", "metric", "arm_a", "arm_b"], column="diff").set_index(["arm_a", "arm_b"])
    compared = compare(metrics_of(values)).set_index(["arm_a", "arm_b"])
    np.testing.assert_allclose(found[["mean", "mean_low", "mean_high"]], compared[["diff", "ci_low", "ci_high"]])
    d = np.array(values["a"]) - np.array(values["c"])
    row = found.loc[("a", "c")]
    assert (row["median"], row["iqm"]) == (pytest.approx(np.median(d)), pytest.approx(np.sort(d)[2:7].mean()))
    assert row["median_low"] < row["median"] < row["median_high"]
    single = centers(metrics_of({"a": [0.5, np.nan]}), by=["arm"], column="value").iloc[0]
    assert (single["n"], single["mean"]) == (1, 0.5)
    assert np.isnan([single["median_low"], single["iqm_low"]]).all()


def test_the_interval_of_six_can_leave_out_0_while_p_is_above_5_percent():
    d = [-0.1, 0.4, 0.5, 0.6, 0.7, 0.9]
    assert interval(d)[0] > 0
    assert enumerated_p(d) == 4 / 2**6  # of all alike, and of all but the smallest: 0.0625
