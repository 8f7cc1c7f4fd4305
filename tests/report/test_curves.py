"""The curves that a page draws itself: their numbers are those of the tables, and no peak is lost."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from tamcl import plots
from tamcl.report import write_report
from tamcl.report.curves import MOST, live
from tamcl.report.figures import Picture
from tests.report.helpers import CURVES, Page, online_means
from tests.synthetic_study import write_study


def embedded(page: str) -> dict[str, Any]:
    """What stands in a page for its script, by the figure."""
    found = re.findall(r'<figure id="figure-(\w+)">(.*?)</figure>', page, re.DOTALL)
    scripts = {name: re.search(r'<script type="application/json">(.*?)</script>', body) for name, body in found}
    return {name: json.loads(script[1]) for name, script in scripts.items() if script}


def table(view: dict[str, Any], arm: str) -> pd.DataFrame:
    """The points of an arm, by their place; a break of the line has none."""
    place, *lines = view["curves"][arm]
    frame = pd.DataFrame(dict(zip(["mean", "low", "high"], lines, strict=False)), index=view["places"][place])
    return frame.astype(float).dropna(subset="mean")


def drawn(values: np.ndarray, arms: list[str], **options: Any) -> dict[str, Any] | None:
    """A stream on which ``values`` of 1000 examples are right at every step, as data for the page."""
    steps = len(values)
    rows = {"scenario": "s", "lr": 0.1, "seed": 0, "experience": 0, "step": np.arange(steps), "n": 1000}
    online = pd.concat([pd.DataFrame({**rows, "arm": arm, "correct": values, "loss": 0.0}) for arm in arms])
    figure = Figure(figsize=(7.4, 3.7))
    plots.online_accuracy(online, ax=figure.add_subplot(), window=1)
    return live(figure, arms, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 750 mini-batches five make a point of the picture."""
    base = tmp_path_factory.mktemp("curves") / "study"
    return write_study(base, arms=["sgdm", "tam"], seeds=3, tune_seeds=1, experiences=3, steps=250)


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return write_report(folder).read_text(encoding="utf-8")


def test_numbers_are_those_of_the_table_in_blocks_and_for_who_zooms_in_at_each_step(folder: Path, page: str) -> None:
    found = embedded(page)
    assert [*found] == CURVES
    [panel] = found["online_accuracy"]["panels"]
    assert (panel["x"], panel["y"]) == ("mini-batches seen (of 10 examples)", "online accuracy (%)")
    for view, block in zip(panel["views"], (5, 1), strict=True):
        expected = online_means(folder, block)
        assert f"by {block} mini-batch" in view["title"]
        assert view["shifts"] == [250, 500]
        for arm in ("sgdm", "tam"):
            points = table(view, arm)
            assert list(points.index) == list(expected.loc[arm].index)
            np.testing.assert_allclose(points, expected.loc[arm], rtol=0, atol=0.0051)
            broken = [x for x in view["places"][0] if x not in points.index]
            assert len(broken) == 2  # no line leads across a shift
            assert all(abs(place - shift) < block for place, shift in zip(broken, (250, 500), strict=True))


def test_an_arm_looks_as_in_the_picture(page: str) -> None:
    arms = embedded(page)["recovery"]["arms"]
    assert [(arm["name"], arm["color"], arm["dash"]) for arm in arms] == [
        ("sgdm", "#0072B2", []),
        ("tam", "#D55E00", []),
    ]


def test_long_curves_keep_their_peaks_and_say_that_points_are_left_out() -> None:
    values = np.random.default_rng(0).integers(400, 600, size=20_000)
    values[7_777], values[12_345] = 999, 1
    found = drawn(values, ["sgdm", "tam"])
    assert found is not None
    [view] = found["panels"][0]["views"]
    every = -(-2 * 40_000 // MOST)
    assert f"; of every {every} points in a row the lowest and the highest" in view["title"]
    points = table(view, "tam")["mean"]
    assert 2 * len(points) <= MOST
    assert (points.idxmax(), points.max(), points.idxmin(), points.min()) == (7_777, 99.9, 12_345, 0.1)
    np.testing.assert_allclose(points, values[points.index] / 10)  # the points are as they were
    runs = pd.Series(values / 10).groupby(np.arange(20_000) // every)
    assert set(runs.max()) | set(runs.min()) == set(points)


def test_of_a_single_seed_there_is_no_interval_and_few_points_are_all_kept() -> None:
    found = drawn(np.array([500, 600, 700]), ["sgdm"])
    assert found is not None
    assert found["panels"][0]["views"][0]["curves"] == {"sgdm": [0, [50, 60, 70]]}
    assert "lowest" not in found["panels"][0]["views"][0]["title"]


def test_what_is_not_finite_is_left_out_and_no_band_has_one_edge_alone() -> None:
    """At the second of three steps a seed's loss is so large that the interval overflows, at the third not finite."""
    rows = [("s", "tam", 0.1, seed, 0, step, 10, 1.0 + seed, 1) for step in range(3) for seed in range(2)]
    columns = ["scenario", "arm", "lr", "seed", "experience", "step", "n", "loss", "correct"]
    online = pd.DataFrame(rows, columns=columns)
    online.loc[[3, 5], "loss"] = [1e200, np.inf]
    figure = Figure()
    with np.errstate(invalid="ignore", over="ignore"):
        plots.online_loss(online, ax=figure.add_subplot(), window=1)
    found = live(figure, ["tam"])
    assert found is not None
    _, mean, low, high = found["panels"][0]["views"][0]["curves"]["tam"]
    assert mean == [1.5, 5e199, None]
    assert [each is None for each in low] == [each is None for each in high] == [False, True, True]
    assert json.dumps(found, allow_nan=False)


def test_a_small_change_of_large_values_keeps_its_digits() -> None:
    figure = Figure()
    rows = [("s", "tam", 0.1, 0, 0, step, "weight_norm", "", 1000 + step / 1000) for step in range(10)]
    columns = ["scenario", "arm", "lr", "seed", "experience", "step", "diagnostic", "tensor", "value"]
    plots.diagnostics(pd.DataFrame(rows, columns=columns), diagnostic="weight_norm", ax=figure.add_subplot())
    found = live(figure, ["tam"])
    assert found is not None
    values = table(found["panels"][0]["views"][0], "tam")["mean"]
    np.testing.assert_allclose(values, 1000 + np.arange(10) / 1000, rtol=0, atol=1e-12)


def test_what_is_no_curve_of_an_arm_stays_a_picture() -> None:
    figure = Figure()
    figure.add_subplot().plot([0, 1], [0, 1], label="tam")
    assert live(figure, ["tam"]) is None
    lines = pd.DataFrame(
        [("a", "b", 0, 0, part, x, 1.0 + x, 0.5) for part in ("test", "train") for x in (0.0, 0.5, 1.0)]
    )
    lines.columns = ["arm_a", "arm_b", "seed_a", "seed_b", "part", "alpha", "loss", "accuracy"]
    figure = Figure()
    plots.loss_on_line(lines, ax=figure.add_subplot())
    assert live(figure, ["a", "b"]) is None


def test_names_cannot_end_the_script_that_holds_them() -> None:
    name = "</script><b>&'\""
    found = drawn(np.array([500, 600, 700]), [name])
    loader = jinja2.PackageLoader("tamcl.report")
    template = jinja2.Environment(loader=loader, autoescape=True).from_string(
        "{% from 'parts.html.j2' import picture %}{{ picture(p) }}"
    )
    sources = dict.fromkeys(["wide", "wide dark", "narrow", "narrow dark"], "data:")
    html = template.render(p=Picture("online_accuracy", "Online", "Words", sources, 1, 1, found))
    assert html.count("</script>") == 1
    assert embedded(html)["online_accuracy"]["arms"][0]["name"] == name


def test_the_drawing_library_stands_in_the_page_whole_with_its_licence(page: str) -> None:
    folder = Path(str(resources.files("tamcl.report"))) / "templates" / "uplot"
    for name in ("uPlot.iife.min.js", "uPlot.min.css", "LICENSE"):
        assert (folder / name).read_text(encoding="utf-8") in page


def test_a_page_without_curves_has_no_library(report: Callable[..., Page]) -> None:
    assert "uPlot" not in report().html
