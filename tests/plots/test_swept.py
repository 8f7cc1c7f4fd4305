"""Arms and their differences over what a sweep changed: where points stand, and which are filled."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from tamcl import plots
from tamcl.errors import InputError
from tamcl.plots.style import paper
from tamcl.results import Results
from tests.plots.helpers import SMALL, line, sweep


def labels(ax: Axes) -> list[str]:
    return [label.get_text() for label in ax.get_xticklabels()]


def test_mean_and_interval_at_each_value(study: Results) -> None:
    table = sweep(study)
    ax = plots.sweep(table, over="fraction", arms=SMALL)
    rows = table[(table["arm"] == "tam") & (table["metric"] == "online_accuracy")]
    points = line(ax, "tam")
    np.testing.assert_allclose(points[:, 1], 100 * rows.groupby("fraction")["value"].mean())
    np.testing.assert_allclose(points[:, 0], [0.2, 0.8])  # the second of three arms stands in the middle
    assert line(ax, "sgdm")[0, 0] < 0.2 < line(ax, "adam")[0, 0]
    assert ax.get_xticks().tolist() == [0.2, 0.8]
    assert ax.get_xlabel() == "fraction"
    assert "4 seeds" in ax.get_title(loc="left")
    of_tam = ax.collections[1].get_segments()[0]
    wide = rows[rows["fraction"] == 0.2]["value"]
    np.testing.assert_allclose(np.mean(of_tam[:, 1]), 100 * wide.mean())
    with pytest.raises(InputError, match="an arm stands twice at a value of 'fraction'"):
        plots.sweep(pd.concat([table, table.assign(lr=9.0)]), over="fraction")


def of_values(values: list[Any]) -> pd.DataFrame:
    rows = [(v, "tam", 0.1, s, "online_accuracy", 0.5 + 0.1 * i) for i, v in enumerate(values) for s in range(2)]
    return pd.DataFrame(rows, columns=["x", "arm", "lr", "seed", "metric", "value"])


def test_values_that_span_decades_stand_on_a_logarithmic_axis() -> None:
    ax = plots.sweep(of_values([512, 8, 64]), over="x")
    assert ax.get_xscale() == "log"
    np.testing.assert_allclose(line(ax, "tam")[:, 0], [8, 64, 512])
    np.testing.assert_allclose(line(ax, "tam")[:, 1], [60, 70, 50])
    assert labels(ax) == ["8", "64", "512"]


@pytest.mark.parametrize("values", [["relu", "tanh", "[4, 4]"], [0.0, 1e-4, 0.1]])
def test_names_stand_in_equal_steps_in_their_order(values: list[Any]) -> None:
    ax = plots.sweep(of_values(values), over="x")
    np.testing.assert_allclose(line(ax, "tam")[:, 0], [0, 1, 2])
    assert labels(ax) == [f"{value:g}" if isinstance(value, float) else value for value in values]


def test_values_whose_labels_would_lie_on_each_other_stand_in_equal_steps() -> None:
    ax = plots.sweep(of_values([0.0, 0.999, 0.99]), over="x")
    assert labels(ax) == ["0", "0.99", "0.999"]
    np.testing.assert_allclose(ax.get_xticks(), [0, 1, 2])


def test_long_names_stand_on_several_lines_and_leave_room_for_the_lines() -> None:
    long = "l2_init (strength 0.1) + shrink_and_perturb"
    ax = plots.sweep(of_values(["none", "l2_init (strength 0.01)", long]), over="x")
    assert labels(ax) == ["none", "l2_init (strength\n0.01)", "l2_init (strength\n0.1) +\nshrink_and_perturb"]
    ax.figure.draw_without_rendering()  # a layout without room for the axes would warn
    boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
    assert not any(one.overlaps(other) for one, other in pairwise(boxes))
    assert ax.get_window_extent().height > 0.5 * ax.figure.bbox.height
    huge = [f"{{a = {letter * 200}, b = {i}}}" for i, letter in enumerate("xyz")]
    ax = plots.sweep(of_values(huge), over="x")
    assert all(len(label) <= 24 for label in labels(ax))
    assert len(set(labels(ax))) == 3


def test_a_single_value_is_drawn() -> None:
    assert line(plots.sweep(of_values([0.5]), over="x"), "tam").tolist() == [[0.5, 50.0]]


def test_differences_are_filled_where_one_is_shown() -> None:
    row = {"metric": "forgetting", "arm_a": "tam", "arm_b": "sgdm", "n_pairs": 8, "ci_low": -0.03, "ci_high": 0.01}
    rows = [{**row, "x": x, "diff": -0.01, "p_adjusted": p} for x, p in ((0.2, 0.01), (0.4, 0.2), (0.6, 0.05))]
    table = pd.DataFrame([*rows, {**row, "x": 0.8, "diff": np.nan, "p_adjusted": np.nan, "n_pairs": 0}])
    ax = plots.sweep_differences(table, over="x", metric="forgetting")
    name = "tam − sgdm"
    np.testing.assert_allclose(line(ax, name), [[0.2, -1], [0.4, -1], [0.6, -1]])
    filled = {
        float(x): to_rgb(found.get_markerfacecolor()) != to_rgb(paper())
        for found in ax.lines
        if found.get_linestyle() == "None"
        for x in np.asarray(found.get_xdata())
    }
    assert filled == {0.2: True, 0.4: False, 0.6: True}
    assert ax.get_ylabel() == "Difference (points)\nbelow 0: the first is better"
    with pytest.raises(InputError, match="a pair stands twice at a value of 'x'"):
        plots.sweep_differences(pd.concat([table, table]), over="x", metric="forgetting")
