"""Ranks against scipy and Demsar's table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from scipy import stats as scipy_stats

from tamcl.errors import InputError
from tamcl.stats import RESAMPLES, average_ranks
from tamcl.stats.ranks import _friedman_p
from tests.stats.helpers import metrics_of


def many_scenarios(values: np.ndarray, metric="online_accuracy") -> pd.DataFrame:
    return pd.concat(
        metrics_of({arm: [v] for arm, v in zip("abcdefghij", row, strict=False)}, metric=metric, scenario=f"s{i}")
        for i, row in enumerate(values)
    )


def test_average_ranks_and_friedman_in_scipy():
    values = np.random.default_rng(0).normal([0, 0, 0.4, 0.8], size=(15, 4))
    table = average_ranks(many_scenarios(values), "online_accuracy")
    ranks = scipy_stats.rankdata(-values, axis=1).mean(axis=0)
    assert dict(zip(table["arm"], table["rank"], strict=True)) == dict(zip("abcd", ranks, strict=True))
    assert table["rank"].is_monotonic_increasing
    assert (table["n_scenarios"] == 15).all()
    assert table["p_value"].iloc[0] == pytest.approx(scipy_stats.friedmanchisquare(*values.T).pvalue, abs=0.02)
    turned = average_ranks(many_scenarios(-values, metric="forgetting"), "forgetting")
    assert_frame_equal(turned, table)


@pytest.mark.parametrize(("k", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])
def test_critical_difference_equals_demsars_table(k, q):
    table = average_ranks(many_scenarios(np.random.default_rng(0).random((14, k))), "online_accuracy")
    assert table["critical_difference"].iloc[0] == pytest.approx(q * np.sqrt(k * (k + 1) / (6 * 14)), abs=1e-3)


def test_ties_share_their_ranks_and_seeds_are_averaged():
    metrics = pd.concat(
        metrics_of({"a": [0.4, 0.6], "b": [0.5, 0.5], "c": [0.1, 0.2]}, scenario=scenario) for scenario in ("x", "y")
    )
    table = average_ranks(metrics, "online_accuracy").set_index("arm")
    assert table["rank"].to_dict() == {"a": 1.5, "b": 1.5, "c": 3.0}
    same = average_ranks(many_scenarios(np.ones((4, 3))), "online_accuracy")
    assert (same["p_value"] == 1).all()


def test_a_seed_that_one_arm_lacks_counts_for_none():
    """Seed 2 is hard: b diverged there, and is worse than a on the two seeds that both finished."""
    values = {"a": [0.6, 0.7, 0.1], "b": [0.5, 0.6, np.nan], "c": [0.2, 0.3, 0.9]}
    both = pd.concat(metrics_of(values, scenario=scenario) for scenario in ("x", "y"))
    for table in (both, both.dropna()):
        ranks = average_ranks(table, "online_accuracy").set_index("arm")["rank"]
        assert ranks.to_dict() == dict(zip("abc", scipy_stats.rankdata([-0.65, -0.55, -0.25]), strict=True))
    apart = both[(both["scenario"] == "x") | ((both["seed"] == 2) == (both["arm"] == "c"))]
    with pytest.raises(InputError, match="arm 'c' has no value of 'online_accuracy' in y on a seed on which every arm"):
        average_ranks(apart, "online_accuracy")


def test_friedmans_p_is_uniform_under_no_difference():
    rng = np.random.default_rng(0)
    p = np.array([_friedman_p(scipy_stats.rankdata(rng.random((6, 4)), axis=1)) for _ in range(200)])
    for level in (0.05, 0.2, 0.5):
        assert abs(np.mean(p <= level) - level) < 4 * np.sqrt(level * (1 - level) / len(p))


def test_friedmans_p_counts_the_observed_ranks_among_the_drawn():
    agreed = many_scenarios(np.tile(np.arange(5.0), (15, 1)))
    assert (average_ranks(agreed, "online_accuracy")["p_value"] == 1 / (RESAMPLES + 1)).all()


def test_ranks_need_every_arm_in_every_scenario():
    metrics = many_scenarios(np.random.default_rng(0).random((3, 3)))
    with pytest.raises(InputError, match="arm 'b' has no value of 'online_accuracy' in s1: ranks need every arm"):
        average_ranks(metrics[(metrics["arm"] != "b") | (metrics["scenario"] != "s1")], "online_accuracy")
    with pytest.raises(InputError, match="'online_accuracy' of 3 arms in 1 scenarios: two of each are needed"):
        average_ranks(metrics[metrics["scenario"] == "s1"], "online_accuracy")
