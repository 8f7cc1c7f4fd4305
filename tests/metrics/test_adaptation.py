"""Streams whose dip can be worked out by hand, the definitions as loops, and scikit-learn for the accuracy."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, auc

from tamcl.metrics import (
    accuracy_at,
    area_lost,
    drop,
    learning_curve_area,
    online_accuracy,
    online_loss,
    recovered,
    recovery_auc,
    recovery_steps,
)
from tamcl.metrics.adaptation import (
    after_shifts,
    shortened,
    smoothed,
)


def stream(*levels: tuple[int, int], batch: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Right answers (level, number of mini-batches) one after the other, of mini-batches of 20."""
    correct = np.concatenate([np.full(steps, level) for level, steps in levels])
    return correct, np.full(len(correct), batch)


def random_stream(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, 120, size=rng.integers(2, 6))
    n = rng.integers(1, 12, size=lengths.sum())
    learned = np.concatenate([1 - rng.random() * np.exp(-np.arange(steps) / 20) for steps in lengths])
    return rng.binomial(n, learned), n, np.repeat(np.arange(len(lengths)), lengths)


def slow_shifts(correct, n, experience, before=50, window=10, recovered=0.95):
    """The definitions, mini-batch by mini-batch."""
    rows = []
    for e in range(1, max(experience) + 1):
        old = [t for t in range(len(n)) if experience[t] == e - 1]
        new = [t for t in range(len(n)) if experience[t] == e]
        tail = old[-min(before, max(1, len(old) // 2)) :]
        level = sum(correct[t] for t in tail) / sum(n[t] for t in tail)
        w = min(window, max(1, len(new) // 2))
        a = []
        for k in range(len(new) - w + 1):
            inside = new[k : k + w]
            a.append(sum(correct[t] for t in inside) / sum(n[t] for t in inside))
        steps = next((k for k, value in enumerate(a) if value >= recovered * level), len(a))
        rows.append((level, level - a[0], steps, steps == len(a), sum(level - value for value in a[:steps])))
    return np.array(rows).T


def test_a_rectangular_dip():
    correct, n = stream((20, 60), (4, 30), (20, 70))
    experience = np.repeat([0, 1], [60, 100])
    # The window from mini-batch 30 on is the first that is all right; that from 29 on has 0.92 < 0.95.
    assert recovery_steps(correct, n, experience) == 30
    assert drop(correct, n, experience) == pytest.approx(0.8)
    assert recovered(correct, n, experience) == 1
    # 21 windows wholly in the dip, then 9 that have 9, 8, ..., 1 of their 10 mini-batches in it.
    assert area_lost(correct, n, experience) == pytest.approx(
        0.8 * (21 + 0.9 + 0.8 + 0.7 + 0.6 + 0.5 + 0.4 + 0.3 + 0.2 + 0.1)
    )


def test_a_dip_shorter_than_the_window_counts_less_than_it_lasts():
    correct, n = stream((20, 60), (0, 3), (20, 57))
    # Windows have 3, 2 and 1 of their 10 mini-batches in the dip; that with none of it is the first within 5 %.
    assert area_lost(correct, n, np.repeat([0, 1], 60)) == pytest.approx(0.3 + 0.2 + 0.1)


def test_no_dip_costs_nothing():
    correct, n = stream((15, 60), (15, 60))
    experience = np.repeat([0, 1], 60)
    assert (drop(correct, n, experience), recovery_steps(correct, n, experience)) == (0, 0)
    assert (area_lost(correct, n, experience), recovered(correct, n, experience)) == (0, 1)


def test_a_rise_is_a_negative_drop():
    correct, n = stream((5, 60), (20, 60))
    experience = np.repeat([0, 1], 60)
    assert drop(correct, n, experience) == pytest.approx(-0.75)
    assert area_lost(correct, n, experience) == 0


def test_never_recovered_is_censored_at_the_number_of_windows():
    correct, n = stream((20, 60), (10, 40))
    result = after_shifts(correct, n, np.repeat([0, 1], [60, 40]))
    assert result.censored.tolist() == [True]
    assert result.recovery_steps.tolist() == [31]
    assert result.area_lost == pytest.approx([0.5 * 31])


def test_level_before_is_taken_from_the_end_of_the_experience_before():
    correct, n = stream((0, 50), (20, 50), (0, 20))
    result = after_shifts(correct, n, np.repeat([0, 1], [100, 20]))
    assert result.level_before.tolist() == [1.0]
    assert after_shifts(correct, n, np.repeat([0, 1], [100, 20]), before=50).level_before.tolist() == [1.0]


def test_back_means_within_five_percent_of_the_level():
    experience = np.repeat([0, 1], 60)
    almost, n = stream((20, 60), (19, 60))
    below, _ = stream((20, 60), (18, 60))
    assert (recovered(almost, n, experience), recovered(below, n, experience)) == (1, 0)
    assert after_shifts(almost, n, experience, recovered=1.0).censored.tolist() == [True]


def test_means_are_over_shifts():
    correct, n = stream((20, 60), (4, 10), (20, 50), (20, 60), (0, 60))
    experience = np.repeat([0, 1, 2, 3], 60)
    assert drop(correct, n, experience) == pytest.approx((0.8 + 0 + 1) / 3)
    assert recovery_steps(correct, n, experience) == pytest.approx((10 + 0 + 51) / 3)
    assert recovered(correct, n, experience) == pytest.approx(2 / 3)


@pytest.mark.parametrize("seed", range(25))
def test_equals_the_definition_as_a_loop(seed):
    rows = random_stream(seed)
    for windows in ({}, {"before": 7, "window": 3, "recovered": 1.0}, {"window": 1}):
        found = np.array(after_shifts(*rows, **windows), dtype=float)
        np.testing.assert_allclose(found, slow_shifts(*rows, **windows), atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_online_accuracy_equals_sklearn_on_the_single_examples(seed):
    correct, n, experience = random_stream(seed)
    right = np.concatenate([np.arange(m) < c for c, m in zip(correct, n, strict=True)])
    assert online_accuracy(correct, n, experience) == pytest.approx(accuracy_score(np.ones(len(right)), right))


def test_online_accuracy_of_the_whole_is_that_of_its_parts():
    correct, n, experience = random_stream(0)
    right = seen = 0
    for t in range(len(n)):
        right, seen = right + correct[t], seen + n[t]
        assert online_accuracy(correct[: t + 1], n[: t + 1], experience[: t + 1]) == right / seen


def test_online_accuracy_does_not_depend_on_the_cut_into_batches():
    correct, n, experience = random_stream(1)
    merged = [np.add.reduceat(values, np.arange(0, len(values), 4)) for values in (correct, n)]
    assert online_accuracy(*merged, experience[::4]) == online_accuracy(correct, n, experience)


def test_online_loss_does_not_depend_on_the_cut_into_batches():
    correct, n, experience = random_stream(1)
    loss = 1 - correct / n
    weights = np.add.reduceat(n, np.arange(0, len(n), 4))
    merged = np.add.reduceat(loss * n, np.arange(0, len(n), 4)) / weights
    assert online_loss(merged, weights, experience[::4]) == pytest.approx(online_loss(loss, n, experience))


def by_hand(rows, last, *, skip):
    """Accuracy of each experience's first mini-batches: single answers listed, then scikit-learn."""
    correct, n, experience = rows
    found = []
    for e in range(skip, max(experience) + 1):
        part = np.flatnonzero(experience == e)[:last]
        right = np.concatenate([np.arange(n[t]) < correct[t] for t in part])
        found.append(accuracy_score(np.ones(len(right)), right))
    return np.mean(found)


@pytest.mark.parametrize("seed", range(10))
def test_recovery_auc_is_the_accuracy_over_the_first_50_mini_batches(seed):
    rows = random_stream(seed)
    assert recovery_auc(*rows) == pytest.approx(by_hand(rows, 50, skip=1))


def test_learning_curve_area_is_the_mean_of_the_curve_over_its_first_updates():
    experiences, steps = 6, 40
    correct = np.random.default_rng(0).integers(0, 11, experiences * steps)
    experience = np.repeat(np.arange(experiences), steps)
    Z = correct.reshape(experiences, steps).mean(axis=0) / 10
    assert learning_curve_area(correct, np.full(len(correct), 10), experience) == pytest.approx(Z[:11].mean())
    # scikit-learn's trapezoid rule gives the two ends half the weight: the same area but for them
    trapezoid = auc(np.arange(11), Z[:11]) + (Z[0] + Z[10]) / 2
    assert trapezoid / 11 == pytest.approx(Z[:11].mean())


def test_accuracy_at_shares_of_an_experience():
    correct = np.arange(100) / 10
    found = accuracy_at(correct, np.full(100, 10), np.zeros(100), shares=[0.1, 0.5, 1.0])
    np.testing.assert_allclose(found, [[0.045, 0.445, 0.945]])
    single = accuracy_at([3], [10], [0])
    np.testing.assert_allclose(single, [[0.3] * 5])
    for bad in ({"shares": [0.0]}, {"shares": [1.1]}, {"window": 0}):
        with pytest.raises(ValueError, match=r"needed are shares in \(0, 1\] and window >= 1"):
            accuracy_at(correct, np.full(100, 10), np.zeros(100), **bad)


def test_a_share_of_a_whole_number_of_mini_batches_ends_there_whatever_rounding_does():
    assert 0.07 * 100 > 7  # in floating point
    assert accuracy_at(np.arange(100), np.full(100, 100), np.zeros(100), shares=[0.07], window=1).item() == 0.06


def test_smoothed_weighs_examples_not_batches():
    assert smoothed([10, 0], [10, 1], window=2) == pytest.approx([10 / 11])


def test_short_experiences_use_half_of_their_batches():
    assert [shortened(10, steps) for steps in (1, 2, 3, 10, 19, 20, 100)] == [1, 1, 1, 5, 9, 10, 10]
    result = after_shifts([1, 1, 0], [1, 1, 1], [0, 0, 1])
    assert (result.level_before.item(), result.drop.item(), result.recovery_steps.item()) == (1, 1, 1)


@pytest.mark.parametrize("metric", [drop, recovery_steps, recovered, area_lost, recovery_auc])
def test_no_shift_no_value(metric):
    assert np.isnan(metric([5, 6], [10, 10], [0, 0]))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (([1, 11], [10, 10], [0, 0]), "mini-batch 1 has 11 right answers of 10: 0 to n of n >= 1 is possible"),
        (([0], [0], [0]), "mini-batch 0 has 0 right answers of 0"),
        (([np.nan], [10], [0]), "mini-batch 0 has nan right answers of 10"),
        (([1, 1], [2, 2], [1, 0]), "mini-batch 1 is of experience 0 after 1: the order is that of the stream"),
        (([1, 1], [2], [0]), r"correct, n, experience have shapes \(2,\), \(1,\), \(1,\): one row a mini-batch"),
        (([], [], []), r"have shapes \(0,\)"),
    ],
)
@pytest.mark.parametrize("metric", [online_accuracy, drop, recovery_auc, learning_curve_area])
def test_bad_rows(metric, rows, message):
    with pytest.raises(ValueError, match=message):
        metric(*rows)


@pytest.mark.parametrize("windows", [{"before": 0}, {"window": 0}, {"recovered": 0.0}, {"recovered": 1.1}])
def test_bad_windows(windows):
    with pytest.raises(ValueError, match="needed are before >= 1, window >= 1, 0 < recovered <= 1"):
        after_shifts([1], [1], [0], **windows)
