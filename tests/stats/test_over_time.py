"""Rank correlations over time, and what each null takes for chance."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from tamcl.errors import InputError
from tamcl.stats import correlation_over_time, mean_correlation_over_time, null_correlations, rank_correlation
from tamcl.stats.over_time import DRAWS

Array = np.ndarray


def autocorrelated(rng: np.random.Generator, n: int, share: float = 0.9) -> Array:
    """A series each value of which is so large a part of the one before it, and noise."""
    values = [rng.normal() / np.sqrt(1 - share**2)]
    for noise in rng.normal(size=n - 1):
        values.append(share * values[-1] + noise)
    return np.array(values)


def profile(experiences: int, length: int) -> Array:
    """What happens after every shift alike: a rise and a slow fall."""
    since = np.arange(length)
    return np.tile(since * np.exp(-since / 5), experiences)


def table(*runs: tuple[Array, Array], experiences: int = 4, first: str = "damping") -> pd.DataFrame:
    """Both series of each seed, every 5 updates, as rows of the diagnostics table."""
    rows = []
    for seed, pair in enumerate(runs):
        for name, values in zip((first, "hessian_top"), pair, strict=True):
            length = len(values) // experiences
            rows += [
                ("flips", "tam", 0.1, seed, place // length, 5 * place, name, "", value)
                for place, value in enumerate(values)
            ]
    columns = ["scenario", "arm", "lr", "seed", "experience", "step", "diagnostic", "tensor", "value"]
    return pd.DataFrame(rows, columns=columns)


def test_the_correlation_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 9, 50), rng.normal(size=50)
    assert rank_correlation(x, y) == pytest.approx(scipy_stats.spearmanr(x, y).statistic)
    assert np.isnan(rank_correlation(x, np.ones(50)))


def test_turned_series_are_enumerated_and_blocks_are_whole_experiences() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=12), rng.normal(size=12)
    turned = [scipy_stats.spearmanr(x, np.roll(y, -places)).statistic for places in range(1, 12)]
    np.testing.assert_allclose(null_correlations(x, y, "circular"), turned)
    found = null_correlations(x, y, "experiences", np.repeat([0, 1, 2], 4))
    orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
    possible = [scipy_stats.spearmanr(x, y.reshape(3, 4)[order].ravel()).statistic for order in orders]
    assert len(found) == DRAWS
    assert set(found.round(9)) == set(np.round(possible, 9))
    assert len(null_correlations(x, y, "experiences", np.repeat([0, 1], [5, 7]))) == 0
    assert len(null_correlations(x, y, "experiences")) == 0
    shuffled = null_correlations(x, y, "shuffled")
    assert shuffled.std() == pytest.approx(1 / np.sqrt(11), rel=0.1)
    with pytest.raises(InputError, match="null = 'time': must be one of shuffled, circular, experiences"):
        null_correlations(x, y, "time")


def test_of_unrelated_series_shuffled_time_calls_half_related_and_turned_ones_few() -> None:
    rng = np.random.default_rng(2)
    runs = [(autocorrelated(rng, 200), autocorrelated(rng, 200)) for _ in range(60)]
    found = correlation_over_time(table(*runs), "damping", "hessian_top")
    share = (found["p_value"] <= 0.05).groupby(found["null"]).mean()
    assert share["shuffled"] > 0.35
    assert share["circular"] < 0.12
    assert share["experiences"] < 0.15
    one = mean_correlation_over_time(table(*runs), "damping", "hessian_top").set_index("null")
    assert one.loc["circular", "p_value"] > 0.05
    assert one.loc["circular", "n_seeds"] == 60


def test_what_both_do_after_every_shift_is_related_in_time_and_not_beyond_the_shifts() -> None:
    rng = np.random.default_rng(3)
    runs = [tuple(profile(8, 25) + rng.normal(size=200) for _ in range(2)) for _ in range(6)]
    found = mean_correlation_over_time(table(*runs, experiences=8), "damping", "hessian_top").set_index("null")
    assert found.loc["circular", "p_value"] < 0.01
    assert found.loc["experiences", "p_value"] > 0.05
    related = [(x, y + 2 * (x - profile(8, 25))) for x, y in runs]
    more = mean_correlation_over_time(table(*related, experiences=8), "damping", "hessian_top").set_index("null")
    assert more.loc["experiences", "p_value"] < 0.01
    assert more.loc["experiences", "correlation"] > more.loc["experiences", "null_high"]


def test_means_intervals_and_p_values_by_hand() -> None:
    rng = np.random.default_rng(4)
    runs = [(x, -x + 0.1 * rng.normal(size=40)) for x in rng.normal(size=(3, 40))]
    single = correlation_over_time(table(*runs), "damping", "hessian_top")
    expected = [scipy_stats.spearmanr(*run).statistic for run in runs]
    assert single.query("null == 'circular'")["correlation"].tolist() == pytest.approx(expected)
    assert set(single["n"]) == {40}
    row = single.query("null == 'circular' and seed == 1").iloc[0]
    turned = np.array([scipy_stats.spearmanr(runs[1][0], np.roll(runs[1][1], k)).statistic for k in range(1, 40)])
    assert row["p_value"] == pytest.approx(2 * 1 / 40)  # none of 39 turned series is as low
    assert (row["null_low"], row["null_high"]) == pytest.approx(tuple(np.quantile(turned, [0.025, 0.975])))
    mean = mean_correlation_over_time(table(*runs), "damping", "hessian_top").set_index("null").loc["circular"]
    assert mean["correlation"] == pytest.approx(np.mean(expected))
    low, high = scipy_stats.ttest_1samp(expected, 0).confidence_interval(0.95)
    assert (mean["ci_low"], mean["ci_high"]) == pytest.approx((low, high))


def test_updates_that_not_all_experiences_have_are_left_out() -> None:
    rng = np.random.default_rng(5)
    rows = table((rng.normal(size=40), rng.normal(size=40)))
    without = rows[
        ~((rows["diagnostic"] == "damping") & (rows["step"] == 0))
    ]  # as of a first update without a momentum
    found = correlation_over_time(without, "damping", "hessian_top")
    assert set(found["n"]) == {36}
    assert found["p_value"].notna().all()
    wide = rows.pivot(index="step", columns="diagnostic", values="value")[[step % 50 != 0 for step in range(0, 200, 5)]]
    expected = scipy_stats.spearmanr(wide["damping"], wide["hessian_top"]).statistic
    assert found["correlation"].tolist() == pytest.approx([expected] * 3)


def test_a_diagnostic_that_is_not_there_or_does_not_vary() -> None:
    rng = np.random.default_rng(6)
    rows = table((rng.normal(size=40), rng.normal(size=40)))
    with pytest.raises(InputError, match="the table has no finite value of 'cosine'"):
        correlation_over_time(rows, "cosine", "hessian_top")
    held = rows.assign(value=rows["value"].where(rows["diagnostic"] != "damping", 0.5))
    assert correlation_over_time(held, "damping", "hessian_top").empty
    assert mean_correlation_over_time(held, "damping", "hessian_top").empty
    single = correlation_over_time(
        table((rng.normal(size=9), rng.normal(size=9)), experiences=1), "damping", "hessian_top"
    )
    assert np.isnan(single.set_index("null").loc["experiences", "p_value"])
