"""Ends of experiences by hand, and NumPy's least squares for the slope."""

from __future__ import annotations

import numpy as np
import pytest

from tamcl.metrics import end_accuracy, end_accuracy_slope
from tamcl.metrics.plasticity import end_accuracies


def random_stream(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 120, size=rng.integers(2, 8))
    n = rng.integers(1, 12, size=lengths.sum())
    return rng.binomial(n, 0.7), n, np.repeat(np.arange(len(lengths)), lengths)


@pytest.mark.parametrize("seed", range(10))
def test_ends_as_a_loop(seed):
    correct, n, experience = random_stream(seed)
    expected = []
    for e in range(max(experience) + 1):
        steps = [t for t in range(len(n)) if experience[t] == e]
        last = steps[-min(50, max(1, len(steps) // 2)) :]
        expected.append(sum(correct[t] for t in last) / sum(n[t] for t in last))
    assert end_accuracies(correct, n, experience) == pytest.approx(expected)
    assert end_accuracy(correct, n, experience) == pytest.approx(np.mean(expected))
    slope = np.polyfit(np.arange(len(expected)), expected, 1)[0]
    assert end_accuracy_slope(correct, n, experience) == pytest.approx(slope)


def test_one_experience_has_an_end_and_no_slope():
    assert end_accuracy([0, 0, 5, 5], [10] * 4, [0] * 4) == 0.5
    assert np.isnan(end_accuracy_slope([0, 0, 5, 5], [10] * 4, [0] * 4))


def test_window_is_checked():
    with pytest.raises(ValueError, match="window=0: needed is window >= 1"):
        end_accuracies([1], [1], [0], window=0)
