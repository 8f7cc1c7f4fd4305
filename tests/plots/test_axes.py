from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from scipy.optimize import isotonic_regression

from tamcl import plots
from tamcl.metrics import by_experience
from tamcl.plots import axes
from tamcl.results import Results
from tests.plots.helpers import line
from tests.synthetic_study import ARMS


def test_names_beside_the_lines_do_not_overlap(study: Results) -> None:
    same = study.phase(study.online).query("arm == 'tam'")
    ax = plots.online_accuracy(pd.concat([same.assign(arm=arm) for arm in ARMS]))
    figure = ax.figure
    figure.savefig(Path("/dev/null"), format="png")
    boxes = sorted((Text.get_window_extent(text) for text in ax.texts), key=lambda box: box.y0)
    assert {text.get_text() for text in ax.texts} == set(ARMS)
    assert all(upper.y0 >= lower.y1 - 1 for lower, upper in pairwise(boxes))
    assert all(box.x1 <= figure.bbox.x1 + 1 for box in boxes)


def test_names_are_moved_as_isotonic_regression_says() -> None:
    rng = np.random.default_rng(0)
    for count in range(1, 30):
        values = rng.normal(size=count)
        assert axes._rising(values) == pytest.approx(isotonic_regression(values).x, abs=1e-12)


def test_bands_are_seen_and_let_what_is_behind_them_be_seen(study: Results) -> None:
    ax = plots.online_accuracy(study.phase(study.online))
    opacities = [float(band.get_facecolor()[0, 3]) for band in ax.collections]
    assert len(opacities) == 3
    assert all(0.05 < opacity < 0.5 for opacity in opacities)


def stream(lengths: list[int], seeds: int = 3) -> pd.DataFrame:
    """The online rows of two arms over experiences of these lengths, which are learnt again and again."""
    experience = np.repeat(np.arange(len(lengths)), lengths)
    since = np.concatenate([np.arange(length) for length in lengths])
    rng, tables = np.random.default_rng(0), []
    for arm, best in (("sgdm", 0.7), ("tam", 0.9)):
        for seed in range(seeds):
            right = rng.binomial(100, best * (1 - np.exp(-(since + 1) / 5)))
            rows = {"experience": experience, "step": np.arange(len(since)), "n": 100, "loss": 1.0, "correct": right}
            tables.append(pd.DataFrame({"scenario": "s", "arm": arm, "lr": 0.1, "seed": seed} | rows))
    return pd.concat(tables, ignore_index=True)


def unseen(ax: Axes, arm: str) -> int:
    """How many points of a line have neither a neighbour to be joined with nor a marker."""
    line = next(line for line in ax.lines if line.get_label() == arm)
    known = np.isfinite(np.asarray(line.get_ydata(), dtype=float))
    joined = np.zeros(len(known), dtype=bool)
    joined[:-1] |= known[:-1] & known[1:]
    joined[1:] |= known[:-1] & known[1:]
    marked = np.isin(np.arange(len(known)), line.get_markevery()) & (line.get_marker() != "None")
    assert known.any()
    return int((known & ~joined & ~marked).sum())


@pytest.mark.parametrize("width", [3.7, 7.4])
@pytest.mark.parametrize(
    "lengths",
    [[100] * 100, [50] * 200, [1] * 400, [1000], [1], [1, 1], [40, 1, 40, 1, 1, 40], [600, *[4] * 40], [100] * 20],
    ids=["100 x 100", "200 x 50", "400 x 1", "one", "1 x 1", "2 x 1", "some short", "then short", "20 x 100"],
)
def test_every_point_of_a_line_is_seen_and_shifts_are_told_apart(lengths: list[int], width: float) -> None:
    figure = Figure(figsize=(width, 3.7), dpi=100, layout="constrained")
    ax = plots.online_accuracy(stream(lengths), ax=figure.add_subplot())
    figure.draw_without_rendering()
    assert unseen(ax, "sgdm") == unseen(ax, "tam") == 0
    marks = [float(line.get_xdata()[0]) for line in ax.lines if str(line.get_label()).startswith("_")]  # type: ignore[index]
    places = np.sort(ax.transData.transform([(x, 0.0) for x in marks] or np.zeros((0, 2)))[:, 0])
    assert (np.diff(places) > 6).all()  # pixels of a screen
    title, shifts = ax.get_title(loc="left"), len(lengths) - 1
    if marks and len(marks) < shifts:
        assert f"dotted: {len(marks)} of {shifts} shifts" in title
    elif shifts:
        assert "dotted: shifts" in title if marks else f"{shifts} shifts, too close to be marked" in title


def test_a_line_of_many_shifts_is_the_mean_of_each_experience() -> None:
    online = stream([50] * 200)
    ax = plots.online_accuracy(online)
    rows = online[online["arm"] == "tam"].groupby("experience")
    np.testing.assert_allclose(line(ax, "tam"), np.column_stack([rows["step"].mean(), rows["correct"].mean()]))
    assert "by experience; 199 shifts" in ax.get_title(loc="left")
    low, high = ax.collections[1].get_paths()[0].get_extents().intervaly
    assert low < rows["correct"].mean().min() < rows["correct"].mean().max() < high


def test_a_point_between_unknown_ones_is_marked() -> None:
    table = by_experience(stream([20] * 7)).assign(
        end_accuracy=lambda rows: rows["end_accuracy"].mask(rows["experience"].isin([2, 4, 6]))
    )
    ax = plots.over_experiences(table)
    assert unseen(ax, "tam") == 0
    assert next(line for line in ax.lines if line.get_label() == "tam").get_markevery() == [3, 5]
    assert {text.get_text() for text in ax.texts} == {"sgdm", "tam"}  # though the last point is unknown


def test_leaders_join_the_end_of_a_line_and_the_middle_of_its_name(study: Results) -> None:
    same = study.phase(study.online).query("arm == 'tam'")
    ax = plots.online_accuracy(pd.concat([same.assign(arm=arm) for arm in ARMS]))
    figure = ax.figure
    figure.savefig(Path("/dev/null"), format="png", dpi=figure.dpi)
    for text in ax.texts:
        assert isinstance(text, Annotation)
        assert text.arrow_patch is not None
        ends = text.arrow_patch.get_transform().transform(text.arrow_patch.get_path().vertices)
        box, point = Text.get_window_extent(text), 72 / figure.dpi
        np.testing.assert_allclose(ends[0], [box.x0, (box.y0 + box.y1) / 2], atol=3 / point)
        np.testing.assert_allclose(ends[-1], ax.transData.transform(line(ax, text.get_text())[-1]), atol=1 / point)


def test_axes_of_accuracy_end_where_accuracy_ends(study: Results) -> None:
    """Two seeds far apart: Student's interval would run from -250 to 300 %."""
    online = study.phase(study.online).query("seed < 2")
    online = online.assign(correct=np.where(online["seed"] == 0, 1, 9))
    for ax in (plots.online_accuracy(online), plots.recovery(online), plots.over_experiences(by_experience(online))):
        assert ax.get_ylim() == (0, 100)
        for band in ax.collections:
            assert band.get_paths()[0].get_extents().intervaly.tolist() == [0, 100]
    metrics = study.phase(study.metrics).query("seed < 2")
    metrics = metrics.assign(value=np.where(metrics["seed"] == 0, 0.05, 0.95))
    assert plots.summary(metrics, metric="online_accuracy").get_xlim() == (0, 100)
    ax = plots.forgetting_against_learning(metrics)
    assert (ax.get_xlim(), ax.get_ylim()) == ((0, 100), (-100, 100))


def test_bands_without_an_end_do_not_flatten_the_lines() -> None:
    online = stream([30] * 2, seeds=2)
    online["loss"] = 3 - online["correct"] / 50 + np.where(online["seed"] == 0, -1.0, 1.0)  # bands 25 high
    ax = plots.online_loss(online, window=1)
    values = np.concatenate([line(ax, arm)[:, 1] for arm in ("sgdm", "tam")])
    low, high = ax.get_ylim()
    assert high - low <= 3 * (values.max() - values.min()) + 1e-9
    assert low <= values.min() < values.max() <= high
    assert low >= min(0, online["loss"].min())


def test_the_first_experience_is_no_shift_where_its_first_rows_are_missing() -> None:
    online = stream([20] * 3)
    ax = plots.online_accuracy(online[online["step"] % 5 == 4])  # as of what is measured every 5 updates
    assert [float(line.get_xdata()[0]) for line in ax.lines if str(line.get_label()).startswith("_")] == [24, 44]  # type: ignore[index]
