from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from tamcl import plots
from tamcl.errors import InputError
from tamcl.plots.style import KNOWN
from tamcl.results import Results
from tamcl.stats.tuning import by_lr, expected_best, plateau
from tests.plots.helpers import SMALL, line, tuning_table


def test_lr_sensitivity_marks_chosen_and_diverged(study: Results) -> None:
    table = tuning_table(study)
    largest = table["lr"] == table.groupby("arm")["lr"].transform("max")
    broken = table.assign(n_diverged=np.where(largest & (table["arm"] == "sgdm"), 1, 0))
    ax = plots.lr_sensitivity(broken, arms=SMALL)
    assert ax.get_xscale() == "log"
    rings = [line for line in ax.lines if line.get_markerfacecolor() == "none" and len(line.get_xdata())]
    chosen = broken[broken["chosen"]].set_index("arm").loc[SMALL]
    np.testing.assert_allclose([ring.get_xdata()[0] for ring in rings], chosen["lr"])
    np.testing.assert_allclose([ring.get_ydata()[0] for ring in rings], 100 * chosen["score"])
    crosses = [x for line in ax.lines if line.get_marker() == "x" for x in line.get_xdata()]
    assert crosses == [broken.loc[largest & (broken["arm"] == "sgdm"), "lr"].item()]
    assert len(line(ax, "sgdm")) == 3


def test_lr_sensitivity_shows_plateaus_rules_and_ends_of_the_grid(study: Results) -> None:
    table = tuning_table(study).assign(on_edge=False)
    edge = (table["arm"] == "adam") & (table["lr"] == table.loc[table["arm"] == "adam", "lr"].max())
    table["chosen"] = np.where(table["arm"] == "adam", edge, table["chosen"])
    table["on_edge"] = edge
    wide = plateau(table, "online_accuracy")
    ax = plots.lr_sensitivity(table, arms=SMALL, plateaus=wide, rules={"tam": 0.05})
    broad = [line for line in ax.lines if line.get_linewidth() == 9]
    assert [(line.get_xdata()[0], line.get_xdata()[-1]) for line in broad] == [
        tuple(wide.set_index("arm").loc[arm, ["lr_low", "lr_high"]]) for arm in SMALL
    ]
    triangle = next(line for line in ax.lines if line.get_marker() == "v" and line.get_markersize() == 7)
    assert (triangle.get_xdata()[0], triangle.get_color()) == (0.05, KNOWN["tam"].color)
    assert [(text.xy[0], text.get_position()) for text in ax.texts] == [(table.loc[edge, "lr"].item(), (26, 0))]
    title = ax.get_title(loc="left")
    for words in ("broad: nearly as good", "triangle: by the rule", "arrow: better ones may lie beyond"):
        assert words in title
        assert words not in plots.lr_sensitivity(tuning_table(study)).get_title(loc="left")


def test_lr_sensitivity_draws_any_metric_over_the_rate(study: Results) -> None:
    table = by_lr(study.metrics, study.runs, "online_accuracy", names=["forgetting"])
    ax = plots.lr_sensitivity(table, score="forgetting", arms=SMALL)
    np.testing.assert_allclose(line(ax, "tam")[:, 1], 100 * table.loc[table["arm"] == "tam", "score"])
    assert ax.get_ylabel() == "Forgetting (%)"


def test_expected_best_rises_with_the_trials(study: Results) -> None:
    table = expected_best(tuning_table(study), "online_accuracy")
    before, ax = table.copy(), Figure().add_subplot()
    assert plots.expected_best(table, arms=SMALL, ax=ax) is ax
    pd.testing.assert_frame_equal(table, before)
    points = line(ax, "tam")
    np.testing.assert_allclose(points[:, 1], 100 * table.loc[table["arm"] == "tam", "expected"])
    assert points[:, 0].tolist() == [1, 2, 3, 4]
    assert (np.diff(points[:, 1]) > 0).all()
    assert ax.get_xlabel() == "trials (learning rates tried)"
    with pytest.raises(InputError, match="expected_best: the table has no rows"):
        plots.expected_best(table.iloc[:0])
    with pytest.raises(InputError, match="expected_best: 2 scenarios; pass rows of one"):
        plots.expected_best(pd.concat([table, table.assign(scenario="other")]))


@pytest.mark.parametrize("low", [0.05, 0.025, 0.0015, 0.00005, 1e-7])
def test_labels_of_learning_rates_do_not_touch(low: float) -> None:
    rows = [("tam", lr, 0.8, 3, 0, lr == 0.05) for lr in dict.fromkeys([low, 0.05])]
    tuning = pd.DataFrame(rows, columns=["arm", "lr", "score", "n_seeds", "n_diverged", "chosen"])
    figure = Figure(figsize=(3.7, 2.5), layout="constrained")
    ax = plots.lr_sensitivity(tuning, ax=figure.add_subplot())
    figure.draw_without_rendering()
    left, right = ax.get_xlim()
    shown = [text for text in ax.get_xticklabels() if text.get_text() and left <= text.get_position()[0] <= right]
    boxes = sorted((text.get_window_extent().x0, text.get_window_extent().x1) for text in shown)
    assert boxes
    assert all(end < start for (_, end), (start, _) in pairwise(boxes))
