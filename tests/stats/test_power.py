"""Seeds needed against published tables and many random studies."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from tamcl.errors import InputError
from tamcl.stats import differences, seeds_for, seeds_needed, sign_flip_p
from tests.stats.helpers import metrics_of


@pytest.mark.parametrize(("effect", "n"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)])
def test_seeds_needed_equal_the_published_tables(effect, n):
    """Paired t-test, two-sided, alpha .05, power .8, as G*Power and Cohen's tables give it."""
    d = np.random.default_rng(0).normal(size=30)
    assert seeds_needed((d - d.mean()) / d.std(ddof=1) + effect) == n


def test_seeds_needed_see_the_effect_in_80_of_100_studies():
    d = np.random.default_rng(0).normal(size=30)
    n = int(seeds_needed((d - d.mean()) / d.std(ddof=1) + 0.9))
    p = [sign_flip_p(each) for each in np.random.default_rng(1).normal(0.9, 1, size=(1000, n))]
    assert 0.75 < np.mean(np.array(p) <= 0.05) < 0.86


@pytest.mark.parametrize(("alpha", "power", "effect"), [(0.05, 0.1, 0.1), (0.5, 0.6, 0.2), (0.05, 0.8, 0.4)])
def test_seeds_needed_are_the_fewest_also_where_both_tails_count(alpha, power, effect):
    d = np.array([-1.0, 1.0]) / np.sqrt(2) + effect  # standard deviation 1
    n = int(seeds_needed(d, alpha=alpha, power=power))
    reached = [  # the two-sided t-test's power is that of an F-test with one degree of freedom
        scipy_stats.ncf.sf(scipy_stats.f.isf(alpha, 1, m - 1), 1, m - 1, effect**2 * m) for m in (n - 1, n)
    ]
    assert reached[0] < power <= reached[1]


def test_seeds_needed_at_the_ends():
    assert seeds_needed([1.0, 1.0, 1.0]) == 6  # as many as the sign-flip test needs
    assert seeds_needed([5.0, 5.1, 4.9]) == 6
    assert seeds_needed([-0.67, -0.44, -0.56]) == 6  # so large that the tail on the other side cannot be computed
    assert seeds_needed([1.0, -1.0]) == np.inf
    assert seeds_needed([0.0, 0.0]) == np.inf
    assert np.isnan(seeds_needed([1.0]))
    assert seeds_needed(np.array([1.0, -1.0]) + 1e-4) == pytest.approx(2 * (1.96 + 0.8416) ** 2 * 1e8, rel=1e-3)
    assert seeds_needed([0.2, 1.0, 0.4], alpha=0.05 / 15) > seeds_needed([0.2, 1.0, 0.4])
    with pytest.raises(InputError, match="power=80, alpha=0.05: shares between 0 and 1"):
        seeds_needed([1.0, 2.0], power=80)


def test_seeds_for_every_comparison():
    values = {arm: list(np.random.default_rng(i).normal(0.1 * i, 1, 8)) for i, arm in enumerate("abc")}
    table = differences(metrics_of(values))
    found = seeds_for(table)
    assert len(found) == 3
    d = np.array(values["a"]) - np.array(values["b"])
    row = found.iloc[0]
    assert (row["n_pairs"], row["diff"], row["sd"]) == (8, pytest.approx(d.mean()), pytest.approx(d.std(ddof=1)))
    assert row["seeds"] == seeds_needed(d)
