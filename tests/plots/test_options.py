"""The map of the score over the learning rate and an option."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tamcl import plots
from tamcl.errors import InputError
from tamcl.stats.tuning import by_option

RATES, VALUES = (0.01, 0.1, 1.0), ("0", "0.001", "0.01")


def grid(best: str = "0.001", diverged: str = "0.01") -> pd.DataFrame:
    rows = [
        ("flips", "adam", lr, f"weight_decay={value}", 0.5 + 0.1 * (value == best) + lr / 100)
        for lr in RATES
        for value in VALUES
    ]
    table = pd.DataFrame(rows, columns=["scenario", "arm", "lr", "options", "score"]).assign(n_seeds=2, n_diverged=0)
    broken = (table["options"] == f"weight_decay={diverged}") & (table["lr"] == 1.0)
    table["eligible"] = ~broken
    table["chosen"] = table["score"] == table["score"].max()
    return by_option(table, "online_accuracy")


def drawn(values: np.ndarray) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        ("flips", "adam", lr, f"weight_decay={value}")
        for lr, value in zip(rng.random(len(values)), values, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["scenario", "arm", "lr", "options"]).assign(n_seeds=2, n_diverged=0)
    table = table.assign(score=rng.random(len(values)), eligible=True)
    return by_option(table.assign(chosen=table["score"] == table["score"].max()), "online_accuracy")


def numbers(ax: Axes) -> dict[tuple[float, float], str]:
    return {text.get_position(): text.get_text() for text in ax.texts}


def test_a_grid_has_a_field_for_every_rate_and_value() -> None:
    table, ax = grid(), Figure().add_subplot()
    before = table.copy()
    assert plots.option_map(table, ax=ax) is ax
    pd.testing.assert_frame_equal(table, before)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0.01", "0.1", "1"]
    assert [label.get_text() for label in ax.get_yticklabels()] == [*VALUES]
    (image,) = ax.images
    shown = np.ma.filled(image.get_array(), np.nan)
    for y, value in enumerate(VALUES):
        for x, lr in enumerate(RATES):
            score = 100 * (0.5 + 0.1 * (value == "0.001") + lr / 100)
            if (value, lr) == ("0.01", 1.0):
                assert np.isnan(shown[y, x])
                assert (x, y) not in numbers(ax)
            else:
                assert shown[y, x] == pytest.approx(score)
                assert numbers(ax)[x, y] == f"{score:.1f}"
    crosses = [(line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines if line.get_marker() == "x"]
    assert crosses == [(2, 2)]
    (frame,) = ax.patches
    assert (frame.get_x() + frame.get_width() / 2, frame.get_y() + frame.get_height() / 2) == pytest.approx((2, 1))
    assert ax.get_title(loc="left") == "adam: mean over 2 tuning seeds; frame: chosen; cross: diverged or failed"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("learning rate", "weight decay")


@pytest.mark.parametrize(("low", "high", "scale"), [(1e-6, 1e-1, "log"), (0.5, 0.9, "linear")])
def test_a_search_has_a_point_for_every_trial(low: float, high: float, scale: str) -> None:
    values = np.geomspace(low, high, 20)
    table = drawn(values)
    ax = plots.option_map(table)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", scale)
    assert not ax.images
    points = ax.collections[-1].get_offsets()
    assert sorted(map(tuple, points)) == sorted(zip(table["lr"], table["number"], strict=True))
    frame = ax.collections[0].get_offsets()
    assert frame.tolist() == table.loc[table["chosen"], ["lr", "number"]].to_numpy().tolist()


def test_the_worst_quarter_has_one_shade_and_brighter_is_better() -> None:
    table = drawn(np.geomspace(1e-6, 1e-1, 21))
    scores = np.sort(table["score"].to_numpy())
    assert plots.shade_limits(table, "online_accuracy") == pytest.approx((scores[5], scores[-1]))
    assert plots.shade_limits(table, "online_loss") == pytest.approx((scores[0], scores[15]))
    colors = {
        score: plots.option_map(table, score=score).collections[-1].get_cmap()
        for score in ("online_accuracy", "online_loss")
    }
    bright = [sum(cmap(end)[:3]) for cmap, end in zip(colors.values(), (1.0, 0.0), strict=True)]
    assert min(bright) > 1.5


def test_one_arm_and_one_option_are_drawn() -> None:
    two = pd.concat([grid(), grid().assign(arm="sgd")])
    with pytest.raises(
        InputError, match=r"option_map: arm = None: one is drawn, and the rows are of \['adam', 'sgd'\]"
    ):
        plots.option_map(two)
    assert plots.option_map(two, arm="sgd").get_title(loc="left").startswith("sgd: ")
    with pytest.raises(InputError, match=r"option_map: arm = None: one is drawn, and the rows are of none"):
        plots.option_map(two.iloc[:0])


def test_the_curve_over_the_rate_is_at_the_chosen_options() -> None:
    table = grid()
    tuning = table.assign(options="weight_decay=" + table["value"], on_edge=False)
    ax = plots.lr_sensitivity(tuning)
    curve = next(line for line in ax.lines if line.get_label() == "adam")
    assert curve.get_xdata().tolist() == [*RATES]
    assert curve.get_ydata().tolist() == pytest.approx([100 * (0.6 + lr / 100) for lr in RATES])
    assert curve.get_linestyle() != "None"
    searched = drawn(np.geomspace(1e-6, 1e-1, 20))
    searched = searched.assign(options="weight_decay=" + searched["value"], on_edge=False)
    points = next(line for line in plots.lr_sensitivity(searched).lines if line.get_label() == "adam")
    assert len(points.get_xdata()) == 20
    assert points.get_linestyle() == "None"
