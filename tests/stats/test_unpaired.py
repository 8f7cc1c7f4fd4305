"""Independent samples against scipy; calibration on many random studies."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from tamcl.errors import InputError
from tamcl.stats import compare, compare_unpaired, holm, permutation_p, welch_interval
from tests.stats.helpers import coverage, is_uniform, metrics_of, runs_of


@pytest.mark.parametrize("seed", range(5))
def test_welch_and_permutation_equal_scipy(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(0.5, 1, 4), rng.normal(0, 2, 6)
    reference = scipy_stats.ttest_ind(a, b, equal_var=False)
    assert welch_interval(a, b) == pytest.approx(tuple(reference.confidence_interval(0.95)))

    def t(x, y, axis):
        se = np.sqrt(x.var(axis=axis, ddof=1) / x.shape[axis] + y.var(axis=axis, ddof=1) / y.shape[axis])
        return abs(x.mean(axis=axis) - y.mean(axis=axis)) / se

    exact = scipy_stats.permutation_test((a, b), t, n_resamples=np.inf, alternative="greater", vectorized=True)
    assert permutation_p(a, b) == pytest.approx(exact.pvalue)


def test_permutation_p_of_many_is_drawn_and_repeatable():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.5, 1, 15), rng.normal(0, 1, 15)
    assert permutation_p(a, b) == permutation_p(a, b)
    assert permutation_p(a, b) == pytest.approx(scipy_stats.ttest_ind(a, b, equal_var=False).pvalue, abs=0.02)


def test_unpaired_edge_cases():
    assert np.isnan(permutation_p([], [1.0]))
    assert permutation_p([1.0], [1.0]) == 1
    assert permutation_p([5.0], [1.0, 2.0, 3.0]) == 0.25
    assert permutation_p([1.0] * 4, [1.0] * 4) == 1
    assert permutation_p([2.0] * 4, [1.0] * 4) == pytest.approx(2 / 70)
    assert np.isnan(welch_interval([1.0], [1.0, 2.0])).all()
    assert welch_interval([2.0, 2.0], [1.0, 1.0]) == (1, 1)


def test_compare_unpaired_in_plain_scipy():
    rng = np.random.default_rng(1)
    a, b, c = rng.normal(0.3, 0.1, 5), rng.normal(0.2, 0.1, 7), rng.normal(0.1, 0.1, 6)
    metrics = metrics_of({"a": list(a), "b": list(b), "c": list(c)}, metric="forgetting")
    runs = runs_of(metrics)
    runs["fingerprint"] = runs["arm"] + runs["seed"].astype(str)
    with pytest.raises(InputError, match="cannot be paired"):
        compare(metrics, runs)
    table = compare_unpaired(metrics, runs)
    assert list(zip(table["arm_a"], table["arm_b"], strict=True)) == [("a", "b"), ("a", "c"), ("b", "c")]
    row = table.iloc[0]
    assert (row["n_a"], row["n_b"], row["diff"]) == (5, 7, pytest.approx(a.mean() - b.mean()))
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(welch_interval(a, b))
    assert row["prob_a_better"] == pytest.approx(1 - scipy_stats.mannwhitneyu(a, b).statistic / 35)
    np.testing.assert_allclose(table["p_adjusted"], holm(table["p_value"]))
    assert compare_unpaired(metrics.iloc[:0]).empty
    none = compare_unpaired(metrics.assign(value=np.nan), pairs=[("a", "b")]).iloc[0]
    assert none["n_a"] == 0
    assert np.isnan(none["p_value"])


def test_interval_of_unpaired_means_holds_a_planted_effect():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.02, 0.01, size=(2000, 6)), rng.normal(0, 0.03, size=(2000, 12))
    ends = np.array([welch_interval(*each) for each in zip(a, b, strict=True)])
    assert 0.93 < coverage(ends, 0.02) < 0.97


def test_unpaired_p_is_uniform_under_no_difference():
    rng = np.random.default_rng(3)
    p = np.array([permutation_p(x[:5], x[5:]) for x in rng.exponential(size=(2000, 10))])
    values = np.arange(1, 127) * 2 / 252  # the two groups are of one size: a split and its mirror image are as far
    assert np.isclose(p[:, None], values).any(axis=1).all()
    assert is_uniform(p, atoms=252)


def test_unpaired_p_keeps_its_level_where_only_the_spread_differs():
    rng = np.random.default_rng(4)
    p = np.array([permutation_p(rng.normal(0, 3, 5), rng.normal(0, 1, 8)) for _ in range(1000)])
    assert 0.04 < np.mean(p <= 0.05) < 0.1  # 5 and 8 seeds: somewhat too often, as the docstring says
