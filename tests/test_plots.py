from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy import stats

from tamcl import plots
from tamcl.errors import InputError
from tamcl.results import Results, load_results
from tamcl.tuning import by_lr, expected_best, plateau
from tests.synthetic_study import ARMS, write_study

SMALL = ["sgdm", "tam", "adam"]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("plots") / "study"
    return load_results(write_study(folder, arms=SMALL, seeds=4, tune_seeds=2, experiences=3, steps=40))


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """One arm, one seed."""
    folder = tmp_path_factory.mktemp("plots") / "single"
    return load_results(write_study(folder, arms=["tam"], seeds=1, tune_seeds=1, experiences=2, steps=20))


def tuning_table(results: Results) -> pd.DataFrame:
    tuned = results.phase(results.metrics, "tune").query("metric == 'online_accuracy'")
    table = tuned.groupby(["scenario", "arm", "lr"], as_index=False).agg(
        score=("value", "mean"), n_seeds=("seed", "size")
    )
    return table.assign(n_diverged=0, chosen=table["score"] == table.groupby("arm")["score"].transform("max"))


def tables(results: Results) -> dict[str, tuple[Callable[..., Axes], pd.DataFrame, dict[str, Any]]]:
    return {
        "online_accuracy": (plots.online_accuracy, results.phase(results.online), {}),
        "recovery": (plots.recovery, results.phase(results.online), {}),
        "accuracy_matrix": (plots.accuracy_matrix, results.phase(results.eval), {"arm": "tam"}),
        "summary": (plots.summary, results.phase(results.metrics), {"metric": "forgetting"}),
        "lr_sensitivity": (plots.lr_sensitivity, tuning_table(results), {}),
        "forgetting_against_learning": (plots.forgetting_against_learning, results.phase(results.metrics), {}),
        "accuracy_by_fraction": (plots.accuracy_by_fraction, sweep(results), {}),
        "paired_differences": (plots.paired_differences, results.comparisons, {"metric": "online_accuracy"}),
    }


NAMES = ["online_accuracy", "recovery", "accuracy_matrix", "summary", "lr_sensitivity"]
NAMES += ["forgetting_against_learning", "accuracy_by_fraction", "paired_differences"]


def sweep(results: Results) -> pd.DataFrame:
    """The study's metrics as if they were of two fractions; at the larger one everything is 0.1 lower."""
    metrics = results.phase(results.metrics)
    other = metrics.assign(scenario="other", lr=metrics["lr"] / 2, value=metrics["value"] - 0.1)
    return pd.concat([metrics.assign(fraction=0.2), other.assign(fraction=0.8)], ignore_index=True)


def line(ax: Axes, label: str) -> np.ndarray:
    """The points of the line with that label, without the gaps at shifts."""
    found = next(line for line in ax.lines if line.get_label() == label)
    points = np.asarray(found.get_xydata(), dtype=float)
    return points[~np.isnan(points).any(axis=1)]


@pytest.mark.parametrize("name", NAMES)
def test_draws_on_the_given_axes_and_leaves_the_table_alone(study: Results, name: str) -> None:
    plot, table, options = tables(study)[name]
    before, ax = table.copy(deep=True), Figure().add_subplot()
    assert plot(table, ax=ax, **options) is ax
    pd.testing.assert_frame_equal(table, before)
    assert ax.get_xlabel()
    assert ax.get_ylabel() or [label.get_text() for label in ax.get_yticklabels()]
    assert "seed" in ax.get_title(loc="left")


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_of_its_own_is_unknown_to_pyplot(study: Results, name: str) -> None:
    plot, table, options = tables(study)[name]
    assert plot(table, **options).figure is not None
    assert plt.get_fignums() == []


@pytest.mark.parametrize("name", NAMES[:-1])  # a single arm has nothing to be compared with
def test_one_arm_and_one_seed(single: Results, name: str) -> None:
    plot, table, options = tables(single)[name]
    ax = plot(table, **options)
    ax.figure.savefig(Path("/dev/null"), format="png")
    assert "interval" not in ax.get_title(loc="left")
    assert "1 seed" in ax.get_title(loc="left") or "1 tuning seed" in ax.get_title(loc="left")


@pytest.mark.parametrize("name", NAMES[:-1])
def test_an_empty_table_is_refused(study: Results, name: str) -> None:
    plot, table, options = tables(study)[name]
    with pytest.raises(InputError, match=name):
        plot(table.iloc[:0], **options)


def test_online_accuracy_is_the_share_of_right_answers(study: Results) -> None:
    online = study.phase(study.online)
    ax = plots.online_accuracy(online, window=8)
    rows = online[online["arm"] == "tam"]
    shares = rows.assign(block=rows["step"] // 8).groupby(["seed", "block"])[["correct", "n"]].sum()
    by_seed = (100 * shares["correct"] / shares["n"]).groupby("block")
    points = line(ax, "tam")
    np.testing.assert_allclose(points[:, 1], by_seed.mean())
    np.testing.assert_allclose(points[:, 0], np.arange(15) * 8 + 3.5)
    band = next(band for band in ax.collections if to_hex(band.get_facecolor()[0]) == plots.KNOWN["tam"].color.lower())
    edges = np.concatenate([path.vertices[:, 1] for path in band.get_paths()])
    for edge in stats.t.interval(0.95, 3, by_seed.mean(), by_seed.sem()):
        assert all(np.isclose(edges, value).any() for value in edge)


def test_online_accuracy_marks_shifts_and_breaks_the_line_there(study: Results) -> None:
    ax = plots.online_accuracy(study.phase(study.online), window=7)
    shifts = [line.get_xdata()[0] for line in ax.lines if line.get_label().startswith("_")]
    assert shifts == [40, 80]
    x = np.asarray(next(line for line in ax.lines if line.get_label() == "tam").get_xdata())
    y = np.asarray(next(line for line in ax.lines if line.get_label() == "tam").get_ydata())
    assert np.isnan(y).sum() == 2
    assert all(((x < edge) | (x >= edge)).all() for edge in shifts)
    experience = np.searchsorted([40, 80], x[~np.isnan(y)], side="right")
    assert np.bincount(experience).tolist() == [6, 6, 6]  # 40 / 7 mini-batches, rounded: none reaches across a shift


def test_recovery_is_the_mean_over_shifts(study: Results) -> None:
    online = study.phase(study.online)
    ax = plots.recovery(online, window=5)
    rows = online[online["arm"] == "sgdm"]
    expected = []
    for seed in range(4):
        right = rows[rows["seed"] == seed].sort_values("step")["correct"].to_numpy()
        expected.append(np.mean([right[shift : shift + 5].mean() for shift in (40, 80)]))
    points = line(ax, "sgdm")
    np.testing.assert_allclose(points[points[:, 0] == 0, 1], 100 * np.mean(expected) / 10)
    assert points[:, 0].min() == -30
    assert "2 shifts" in ax.get_title(loc="left")


def test_recovery_needs_a_shift(study: Results) -> None:
    online = study.phase(study.online)
    with pytest.raises(InputError, match="recovery: the stream has a single experience"):
        plots.recovery(online[online["experience"] == 0])


def test_accuracy_matrix_shows_the_mean_over_seeds(study: Results) -> None:
    evaluated = study.phase(study.eval)
    ax = plots.accuracy_matrix(evaluated, arm="adam")
    rows = evaluated[evaluated["arm"] == "adam"].groupby(["trained_on", "evaluated_on"])["accuracy"].mean()
    np.testing.assert_allclose(ax.images[0].get_array(), 100 * rows.to_numpy().reshape(4, 3))
    assert [text.get_text() for text in ax.texts] == [f"{100 * value:.0f}" for value in rows]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["none", "0", "1", "2"]
    assert len(ax.figure.axes) == 1
    assert len(plots.accuracy_matrix(evaluated, arm="adam", numbers=False).figure.axes) == 2  # a scale instead


def test_accuracy_matrix_asks_which_arm(study: Results) -> None:
    with pytest.raises(InputError, match="choose one of adam, sgdm, tam"):
        plots.accuracy_matrix(study.phase(study.eval))


def test_summary_shows_mean_interval_and_seeds(study: Results) -> None:
    metrics = study.phase(study.metrics)
    ax = plots.summary(metrics, metric="online_accuracy", arms=SMALL)
    values = 100 * metrics.query("arm == 'tam' and metric == 'online_accuracy'")["value"]
    seeds, interval, mean = ax.lines[3:6]
    np.testing.assert_allclose(seeds.get_xdata(), values)
    np.testing.assert_allclose(interval.get_xdata(), stats.t.interval(0.95, 3, values.mean(), values.sem()))
    np.testing.assert_allclose(mean.get_xdata(), [values.mean()])
    assert ax.get_xlabel() == "Online accuracy (%, higher is better)"
    assert [label.get_text() for label in ax.get_yticklabels()] == SMALL


def test_summary_keeps_the_place_of_an_arm_without_values(study: Results) -> None:
    metrics = study.phase(study.metrics)
    metrics.loc[metrics["arm"] == "tam", "value"] = np.nan
    ax = plots.summary(metrics, metric="forgetting", arms=SMALL)
    assert [label.get_text() for label in ax.get_yticklabels()] == SMALL
    assert {line.get_label() for line in ax.lines} & set(SMALL) == {"sgdm", "adam"}


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
    assert (triangle.get_xdata()[0], triangle.get_color()) == (0.05, plots.KNOWN["tam"].color)
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


def test_forgetting_against_learning_shows_means_and_seeds(study: Results) -> None:
    metrics = study.phase(study.metrics)
    ax = plots.forgetting_against_learning(metrics, arms=SMALL)
    wide = metrics[metrics["arm"] == "adam"].pivot(index="seed", columns="metric", values="value") * 100
    np.testing.assert_allclose(line(ax, "adam"), [[wide["learning_accuracy"].mean(), wide["forgetting"].mean()]])
    own = [found for found in ax.lines if found.get_color() == plots.KNOWN["adam"].color]
    np.testing.assert_allclose(own[0].get_xydata(), wide[["learning_accuracy", "forgetting"]])
    expected = stats.t.interval(0.95, 3, wide["forgetting"].mean(), wide["forgetting"].sem())
    np.testing.assert_allclose(own[2].get_ydata(), expected)
    assert ax.get_xlabel() == "Learning accuracy (%, higher is better)"
    assert ax.get_ylabel() == "Forgetting (%, lower is better)"
    with pytest.raises(InputError, match="no seed has both 'learning_accuracy' and 'forgetting'"):
        plots.forgetting_against_learning(metrics[metrics["metric"] != "forgetting"])


def test_accuracy_by_fraction_is_the_mean_at_each_fraction(study: Results) -> None:
    table = sweep(study)
    ax = plots.accuracy_by_fraction(table, arms=SMALL)
    rows = table[(table["arm"] == "tam") & (table["metric"] == "online_accuracy")]
    points = line(ax, "tam")
    np.testing.assert_allclose(points[:, 1], 100 * rows.groupby("fraction")["value"].mean())
    np.testing.assert_allclose(points[:, 0], [20, 80])  # the second of three arms stands in the middle
    assert ax.get_xlabel() == "labels changed at a shift (%)"
    assert "4 seeds" in ax.get_title(loc="left")
    with pytest.raises(InputError, match="an arm stands at several learning rates of a fraction"):
        plots.accuracy_by_fraction(pd.concat([table, table.assign(lr=9.0)]))


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


def test_paired_differences_shows_points_and_what_an_interval_leaves_open() -> None:
    row = {"scenario": "s", "metric": "online_accuracy", "arm_b": "sgdm", "n_pairs": 9, "p_adjusted": 0.02}
    table = pd.DataFrame(
        [
            row | {"arm_a": "tam", "diff": 0.02, "ci_low": 0.01, "ci_high": 0.03},
            row | {"arm_a": "adam", "diff": -0.01, "ci_low": -0.03, "ci_high": 0.01},
        ]
    )
    ax = plots.paired_differences(table, metric="online_accuracy")
    points = [line for line in ax.lines if line.get_marker() == "o"]
    assert [line.get_xdata()[0] for line in points] == [2.0, -1.0]
    assert to_hex(points[0].get_markerfacecolor()) != to_hex(points[1].get_markerfacecolor())
    np.testing.assert_allclose(ax.lines[1].get_xdata(), [1.0, 3.0])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["tam − sgdm", "adam − sgdm"]
    assert [text.get_text() for text in ax.texts] == ["+2.00, p = 0.02", "−1.00, p = 0.02"]
    assert ax.get_xlabel() == "Difference in online accuracy (points, above 0: the first is better)"
    with pytest.raises(InputError, match="no comparison of 'drop'"):
        plots.paired_differences(table, metric="drop")


def test_an_arm_has_the_same_colour_in_every_picture(study: Results) -> None:
    arms = ["mine", *SMALL, "yours"]
    colors = {arm: look.color for arm, look in plots.looks(arms).items()}
    rename = {"adam": "yours"}
    pictures = [
        plots.online_accuracy(study.phase(study.online).replace({"arm": rename}), arms=arms),
        plots.summary(study.phase(study.metrics).replace({"arm": rename}), metric="forgetting", arms=arms),
        plots.lr_sensitivity(tuning_table(study).replace({"arm": rename}), arms=arms),
    ]
    for ax in pictures:
        drawn = {line.get_label(): line.get_color() for line in ax.lines if line.get_label() in arms}
        assert drawn == {arm: colors[arm] for arm in drawn}
        assert "yours" in drawn


def test_looks_differ() -> None:
    arms = [*ARMS, *(f"arm{i}" for i in range(20))]
    found = plots.looks(arms)
    assert len({(look.color, look.line) for look in found.values()}) == len(arms)
    assert plots.looks(["adam", "tam"])["tam"] == found["tam"]


def test_several_learning_rates_of_an_arm_are_refused(study: Results) -> None:
    with pytest.raises(InputError, match="online_accuracy: arm 'adam' stands at 4 learning rates; pass rows of one"):
        plots.online_accuracy(study.online)


def test_names_beside_the_lines_do_not_overlap(study: Results) -> None:
    same = study.phase(study.online).query("arm == 'tam'")
    ax = plots.online_accuracy(pd.concat([same.assign(arm=arm) for arm in ARMS]))
    figure = ax.figure
    figure.savefig(Path("/dev/null"), format="png")
    boxes = sorted((Text.get_window_extent(text) for text in ax.texts), key=lambda box: box.y0)
    assert {text.get_text() for text in ax.texts} == set(ARMS)
    assert all(upper.y0 >= lower.y1 - 1 for lower, upper in pairwise(boxes))
    assert all(box.x1 <= figure.bbox.x1 + 1 for box in boxes)


def test_theme_turns_ink_and_paper(study: Results) -> None:
    light, dark = plots.theme(), plots.theme(dark=True)
    assert light.keys() == dark.keys()
    assert light["axes.facecolor"] != dark["axes.facecolor"]
    with plt.rc_context(dark):
        ax = plots.summary(study.phase(study.metrics), metric="forgetting")
    assert to_hex(ax.get_facecolor()) == dark["axes.facecolor"].lower()
    assert ax.title.get_color() == dark["text.color"]
