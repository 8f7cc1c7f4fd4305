from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from tamcl import plots
from tamcl.errors import InputError


def test_paired_differences_shows_points_and_fills_those_that_are_shown_after_holm() -> None:
    row = {"scenario": "s", "metric": "online_accuracy", "arm_b": "sgdm", "n_pairs": 9}
    table = pd.DataFrame(
        [
            row | {"arm_a": "tam", "diff": 0.02, "ci_low": 0.01, "ci_high": 0.03, "p_adjusted": 0.02},
            row | {"arm_a": "adam", "diff": -0.01, "ci_low": -0.03, "ci_high": -0.001, "p_adjusted": 0.06},
        ]
    )
    ax = plots.paired_differences(table, metric="online_accuracy")
    points = [line for line in ax.lines if line.get_marker() == "o"]
    assert [line.get_xdata()[0] for line in points] == [2.0, -1.0]
    filled = [to_hex(point.get_markerfacecolor()) == to_hex(point.get_markeredgecolor()) for point in points]
    assert filled == [True, False]  # by p after Holm: the interval of the second leaves out 0 too
    assert "filled: p ≤ 0.05 after Holm" in ax.get_title(loc="left")
    np.testing.assert_allclose(ax.lines[1].get_xdata(), [1.0, 3.0])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["tam − sgdm", "adam − sgdm"]
    assert [text.get_text() for text in ax.texts] == ["+2.00, p = 0.02", "−1.00, p = 0.06"]
    assert ax.get_xlabel() == "Difference in online accuracy (points, above 0: the first is better)"
    with pytest.raises(InputError, match="no comparison of 'drop'"):
        plots.paired_differences(table, metric="drop")
