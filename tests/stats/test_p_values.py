"""p-values against enumeration and scipy; calibration on many random studies."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from tamcl.stats import RESAMPLES, compare, fewest_seeds, holm, sign_flip_p, smallest_p
from tests.stats.helpers import enumerated_p, is_uniform, metrics_of


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


def test_a_drawn_p_counts_the_observed_signs_among_the_drawn():
    assert sign_flip_p(np.ones(40)) == 1 / (RESAMPLES + 1)  # no pattern that is drawn is as far: never 0


def test_smallest_p_is_reached_and_not_passed():
    for n in range(1, 9):
        assert sign_flip_p(np.arange(1, n + 1)) == smallest_p(n)
    assert min(n for n in range(1, 20) if smallest_p(n) <= 0.05) == 6
    assert min(n for n in range(1, 20) if smallest_p(n, n_comparisons=15) <= 0.05) == 10


def test_smallest_p_of_drawn_patterns_is_reached_and_fewest_seeds_ends():
    for n in (12, 13, 20, 40):  # all of one sign, and so many that no drawn pattern is
        assert sign_flip_p(np.ones(n)) >= smallest_p(n)
    assert sign_flip_p(np.ones(40)) == smallest_p(40) == 1 / 10_000
    assert smallest_p(13) == 2 / 8192
    assert smallest_p(40, n_comparisons=15) == pytest.approx(holm([sign_flip_p(np.ones(40))] * 15).min())
    for comparisons in (1, 3, 204, 205, 500, 501, 2000):
        least = [holm([sign_flip_p(np.ones(n) if n < 14 else np.ones(40))] * comparisons).min() for n in range(1, 20)]
        enough = [n for n, p in enumerate(least, start=1) if p <= 0.05 + 1e-12]
        assert fewest_seeds(comparisons) == (enough or [14])[0]


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


def test_p_is_uniform_over_its_whole_range():
    """2,000 studies of 10 seeds and no difference, of differences symmetric but far from normal."""
    rng = np.random.default_rng(2)
    D = rng.exponential(size=(2000, 10)) * rng.choice([-1, 1], size=(2000, 10))
    assert is_uniform(np.array([sign_flip_p(d) for d in D]), atoms=1024)


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
