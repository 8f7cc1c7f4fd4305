"""Barriers of lines worked by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tamcl.metrics import barrier, barriers


def test_a_barrier_stands_on_the_line_between_the_ends() -> None:
    assert barrier([0, 0.25, 0.5, 1], [1.0, 2.0, 2.5, 3.0]) == pytest.approx(0.5)  # at both inner places
    assert barrier([0, 0.5, 1], [1.0, 0.2, 3.0]) == 0
    assert barrier([0, 0.5, 1], [1.0, np.inf, 3.0]) == np.inf
    assert np.isnan(barrier([0, 0.5, 1], [1.0, np.nan, 3.0]))
    assert np.isnan(barrier([0, 0.5, 1], [np.inf, 1.0, 3.0]))


@pytest.mark.parametrize(
    ("alpha", "loss", "why"),
    [
        ([0, 1], [1, 2, 3], "alpha and loss have the shapes"),
        ([0], [1], "alpha and loss have the shapes"),
        ([0, 0.5], [1, 2], "alpha must rise from 0 to 1"),
        ([0, 0.7, 0.5, 1], [1, 2, 3, 4], "alpha must rise from 0 to 1"),
    ],
)
def test_what_is_no_line_is_refused(alpha: list[float], loss: list[float], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        barrier(alpha, loss)


def test_each_line_and_part_has_its_barriers() -> None:
    rows = [
        ("flips", "tam", 0, "sgdm", 0, alpha, part, loss, accuracy)
        for part, losses, right in (("train", [1, 3, 1], [0.9, 0.2, 0.7]), ("test", [2, 2, 4], [np.nan] * 3))
        for alpha, loss, accuracy in zip([1.0, 0.5, 0.0], losses, right, strict=True)
    ]
    columns = ["scenario", "arm_a", "seed_a", "arm_b", "seed_b", "alpha", "part", "loss", "accuracy"]
    found = barriers(pd.DataFrame(rows, columns=columns)).set_index("part")
    assert found.loc["train", "loss_barrier"] == 2
    assert found.loc["train", "accuracy_barrier"] == pytest.approx(0.8 - 0.2)
    assert found.loc["test", "loss_barrier"] == 0
    assert np.isnan(found.loc["test", "accuracy_barrier"])
