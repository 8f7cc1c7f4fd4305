from __future__ import annotations

import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tamcl import plots
from tamcl.errors import InputError

RANKS = pd.DataFrame({"arm": ["tam", "sgdm", "adam", "adatam", "adam_cm"], "rank": [1.4, 2.0, 2.6, 4.2, 4.8]})
RANKS = RANKS.assign(n_scenarios=12, critical_difference=1.3, p_value=0.004)


def test_critical_differences_join_what_is_not_told_apart() -> None:
    before, ax = RANKS.copy(), Figure().add_subplot()
    assert plots.critical_differences(RANKS.iloc[::-1], ax=ax) is ax
    pd.testing.assert_frame_equal(RANKS, before)
    bars = [found.get_xdata() for found in ax.lines if found.get_linewidth() == 4]
    ends = [[round(low + 0.05, 1), round(high - 0.05, 1)] for low, high in bars]  # drawn a little over
    assert ends == [[1.4, 2.6], [4.2, 4.8]]
    assert [text.get_text() for text in ax.texts] == [
        f"{arm} ({rank:.2f})" for arm, rank in zip(RANKS["arm"], RANKS["rank"], strict=True)
    ]
    assert "12 scenarios; bar: less than the critical difference of 1.30 apart" in ax.get_title(loc="left")
    assert ax.get_xlabel() == "average rank (1 is best)"
    with pytest.raises(InputError, match="critical_differences"):
        plots.critical_differences(RANKS.iloc[:0])


def test_critical_differences_of_overlapping_groups() -> None:
    ax = plots.critical_differences(RANKS.assign(rank=[1.0, 2.0, 3.0, 4.0, 5.0], critical_difference=2.5))
    assert len([found for found in ax.lines if found.get_linewidth() == 4]) == 3  # 1-3, 2-4, 3-5
    ax = plots.critical_differences(RANKS.assign(critical_difference=0.1))
    assert not [found for found in ax.lines if found.get_linewidth() == 4]
    assert plt.get_fignums() == []


def test_critical_differences_have_the_colours_of_the_other_pictures() -> None:
    ranks = RANKS.assign(arm=["zeta", "alpha", "tam", "mine", "sgdm"])
    arms = ["sgdm", "left_out", "zeta", "mine", "tam", "alpha"]
    expected = {line.get_label(): line.get_color() for line in lines_of(arms)}
    drawn = {line.get_label(): line.get_color() for line in plots.critical_differences(ranks, arms=arms).lines}
    assert {arm: drawn[arm] for arm in ranks["arm"]} == {arm: expected[arm] for arm in ranks["arm"]}


def lines_of(arms: list[str]) -> list[Line2D]:
    """What the expected best over trials draws for a study with these arms."""
    table = pd.DataFrame({"scenario": "s", "arm": arms, "trials": 1, "expected": 0.5})
    return plots.expected_best(table, arms=arms).get_lines()


def test_ranks_a_critical_difference_apart_are_not_joined() -> None:
    ax = plots.critical_differences(RANKS.assign(rank=[1.0, 2.0, 3.0, 4.0, 5.0], critical_difference=1.0))
    assert not [found for found in ax.lines if found.get_linewidth() == 4]
