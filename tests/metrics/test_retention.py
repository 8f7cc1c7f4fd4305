"""Hand-worked matrices, and the definitions written out as loops."""

from __future__ import annotations

import numpy as np
import pytest
from avalanche.evaluation import functional as avalanche

from tamcl.metrics import (
    average_accuracy,
    average_anytime_accuracy,
    backward_transfer,
    continual_worst_case_accuracy,
    forgetting,
    forgetting_first,
    forgetting_max,
    forward_transfer,
    intransigence,
    learning_accuracy,
    retained,
    stability_gap,
    worst_case_accuracy,
)

WORKED = np.array([[0.60, 0.00, 0.00], [0.90, 0.80, 0.00], [0.70, 0.85, 0.75]])
MATRICES = [np.random.default_rng(seed).random((size, size)) for seed in range(20) for size in (2, 3, 7)]


def test_worked_example():
    assert average_accuracy(WORKED) == pytest.approx((0.70 + 0.85 + 0.75) / 3)
    assert learning_accuracy(WORKED) == pytest.approx((0.60 + 0.80 + 0.75) / 3)
    assert backward_transfer(WORKED) == pytest.approx(((0.70 - 0.60) + (0.85 - 0.80)) / 2)
    # Best earlier minus last, not the maximum with the last row in it (0.1), nor first minus last (-0.075).
    assert forgetting(WORKED) == pytest.approx(((0.90 - 0.70) + (0.80 - 0.85)) / 2) == pytest.approx(0.075)


def test_forgetting_has_three_names_and_three_values():
    assert forgetting(WORKED) == pytest.approx(0.075)
    assert forgetting_max(WORKED) == pytest.approx(0.100)
    assert forgetting_first(WORKED) == pytest.approx(-0.075)


def mammoth_forgetting(R):
    """What mammoth computes: rows of growing length, filled up with zeros, and the maximum of whole columns."""
    padded = np.array([list(row[: i + 1]) + [0.0] * (len(R) - i - 1) for i, row in enumerate(R)])
    return np.mean([padded[:, j].max() - padded[-1, j] for j in range(len(R) - 1)])


@pytest.mark.parametrize("R", MATRICES, ids=lambda R: f"{len(R)}x{len(R)}")
def test_forgetting_of_the_libraries(R):
    assert forgetting_first(R) == pytest.approx(avalanche.forgetting(R)[-1, :-1].mean())
    assert forgetting_max(R) == pytest.approx(mammoth_forgetting(R))
    assert forgetting_max(R) >= forgetting(R) >= forgetting_first(R)
    assert forgetting_max(R) >= 0


@pytest.mark.parametrize("R", MATRICES, ids=lambda R: f"{len(R)}x{len(R)}")
def test_the_others_equal_their_definitions_as_loops(R):
    T = len(R)
    start = np.random.default_rng(T).random(T)
    anytime = sum(sum(R[i][j] for j in range(i + 1)) / (i + 1) for i in range(T)) / T
    lowest = [min(R[row][j] for row in range(j + 1, T)) for j in range(T - 1)]
    assert average_anytime_accuracy(R) == pytest.approx(anytime)
    assert worst_case_accuracy(R) == pytest.approx((R[T - 1][T - 1] + sum(lowest)) / T)
    assert retained(R) == pytest.approx(sum(R[T - 1][:-1]) / (T - 1))
    assert retained(R) * (T - 1) + R[T - 1][T - 1] == pytest.approx(T * average_accuracy(R))
    assert forward_transfer(R, start) == pytest.approx(sum(R[j - 1][j] - start[j] for j in range(1, T)) / (T - 1))
    assert intransigence(R, start) == pytest.approx(start.mean() - learning_accuracy(R))


@pytest.mark.parametrize("R", MATRICES, ids=lambda R: f"{len(R)}x{len(R)}")
def test_inside_experiences_equals_the_curves(R):
    T, rng = len(R), np.random.default_rng(len(R))
    curves = {(i, j): [*rng.random(4), R[i][j]] for i in range(T) for j in range(i)}
    lowest = np.array([[min(curves.get((i, j), [R[i][j]])) for j in range(T)] for i in range(T)])
    dips = [  # of the accuracy from just before the shift to the end of the experience, below the lower of the two
        [max(min(R[i - 1][j], R[i][j]) - each for each in [R[i - 1][j], *curves[i, j]]) for j in range(i)]
        for i in range(1, T)
    ]
    assert stability_gap(R, lowest) == pytest.approx(np.mean([np.mean(each) for each in dips]))
    later = [min(min(curves[i, j]) for i in range(j + 1, T)) for j in range(T - 1)]
    assert continual_worst_case_accuracy(R, lowest) == pytest.approx((R[T - 1][T - 1] + sum(later)) / T)
    assert stability_gap(R, R) == 0
    assert continual_worst_case_accuracy(R, R) == worst_case_accuracy(R)


def test_what_happened_inside_experiences_must_fit_their_ends():
    R = [[0.6, 0.0], [0.9, 0.8]]
    with pytest.raises(ValueError, match=r"^lowest\[1, 0\] = 0.95 is above R\[1, 0\] = 0.9, which it includes$"):
        stability_gap(R, [[0.6, 0.0], [0.95, 0.8]])
    with pytest.raises(ValueError, match=r"^lowest has shape \(1, 1\) and R \(2, 2\): both must be \(T, T\)$"):
        stability_gap(R, [[0.6]])
    assert np.isnan(stability_gap([[0.6]], [[0.6]]))
    assert continual_worst_case_accuracy([[0.6]], [[0.6]]) == 0.6


@pytest.mark.parametrize("R", MATRICES, ids=lambda R: f"{len(R)}x{len(R)}")
def test_equals_the_definition_as_a_loop(R):
    T = len(R)
    fallen = [max(R[row][j] for row in range(j, T - 1)) - R[T - 1][j] for j in range(T - 1)]
    changed = [R[T - 1][j] - R[j][j] for j in range(T - 1)]
    assert forgetting(R) == pytest.approx(sum(fallen) / (T - 1))
    assert backward_transfer(R) == pytest.approx(sum(changed) / (T - 1))
    assert average_accuracy(R) == pytest.approx(sum(R[T - 1]) / T)
    assert learning_accuracy(R) == pytest.approx(sum(R[j][j] for j in range(T)) / T)


def test_perfect_and_no_retention():
    T = 5
    assert (average_accuracy(np.ones((T, T))), forgetting(np.ones((T, T)))) == (1, 0)
    assert backward_transfer(np.ones((T, T))) == 0
    only_current = np.eye(T)
    assert (average_accuracy(only_current), forgetting(only_current)) == (1 / T, 1)
    assert (backward_transfer(only_current), learning_accuracy(only_current)) == (-1, 1)


def test_an_accuracy_before_training_is_not_knowledge():
    lucky = np.array([[0.9, 1.0, 0.0], [0.9, 0.5, 0.0], [0.9, 0.5, 0.9]])
    assert forgetting(lucky) == 0


def test_two_experiences():
    assert forgetting([[0.9, 0.1], [0.6, 0.8]]) == pytest.approx(0.3)
    assert backward_transfer([[0.9, 0.1], [0.6, 0.8]]) == pytest.approx(-0.3)


def test_one_experience():
    assert (average_accuracy([[0.7]]), learning_accuracy([[0.7]])) == (0.7, 0.7)
    assert (average_anytime_accuracy([[0.7]]), worst_case_accuracy([[0.7]])) == (0.7, 0.7)
    assert intransigence([[0.7]], [0.8]) == pytest.approx(0.1)
    for metric in (forgetting, forgetting_max, forgetting_first, backward_transfer, retained):
        assert np.isnan(metric([[0.7]]))
    assert np.isnan(forward_transfer([[0.7]], [0.1]))


OF_R = [average_accuracy, average_anytime_accuracy, learning_accuracy, forgetting, forgetting_max, forgetting_first]
OF_R += [backward_transfer, retained, worst_case_accuracy]


@pytest.mark.parametrize("metric", OF_R)
def test_lower_triangle_is_enough(metric):
    R = MATRICES[2].copy()
    value = metric(R)
    R[np.triu_indices(len(R), 1)] = np.nan
    assert metric(R) == value


@pytest.mark.parametrize("metric", [forgetting, forgetting_max, forgetting_first, backward_transfer, retained])
def test_the_last_experience_has_no_part_in_what_is_forgotten(metric):
    R = WORKED.copy()
    R[2, 2] = np.nan
    assert metric(R) == metric(WORKED)


def test_missing_entry_is_named():
    R = WORKED.copy()
    R[1, 0] = np.nan
    message = r"R\[1, 0\] is missing: the accuracy on experience 0 after training on experience 1$"
    with pytest.raises(ValueError, match=message):
        forgetting(R)
    assert learning_accuracy(R) == learning_accuracy(WORKED)


@pytest.mark.parametrize(
    ("R", "message"),
    [
        ([[0.5, 0.5]], r"R has shape \(1, 2\): a square accuracy matrix"),
        ([], r"R has shape \(0,\)"),
        (np.zeros((0, 0)), r"R has shape \(0, 0\)"),
        ([[90.0]], r"R\[0, 0\] = 90: accuracies are fractions in \[0, 1\]"),
        ([[0.5, -0.1], [0.5, 0.5]], r"R\[0, 1\] = -0.1: accuracies"),
    ],
)
@pytest.mark.parametrize("metric", OF_R)
def test_bad_matrices(metric, R, message):
    with pytest.raises(ValueError, match=message):
        metric(R)


def test_bad_accuracies_of_the_untrained_model():
    with pytest.raises(ValueError, match=r"start has shape \(2,\): one accuracy an experience, \(3,\), is needed"):
        forward_transfer(WORKED, [0.1, 0.1])
    with pytest.raises(ValueError, match=r"start\[1\] = 10: accuracies are fractions"):
        forward_transfer(WORKED, [0.1, 10, 0.1])
    with pytest.raises(
        ValueError, match=r"start\[2\] is missing: the accuracy of the untrained model on experience 2$"
    ):
        forward_transfer(WORKED, [np.nan, 0.1, np.nan])
    with pytest.raises(ValueError, match=r"reference\[0\] is missing"):
        intransigence(WORKED, [np.nan, 0.1, np.nan])
