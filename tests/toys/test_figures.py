from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from tamcl.errors import InputError
from tamcl.plots import arm_styles, theme
from tamcl.toys import SURFACES, convergence_rates, escape_ratio, figures, path_table, quadratic

ARMS = {
    "sgdm": {"optimizer": "sgd", "lr": 0.001, "momentum": 0.9},
    "tam": {"optimizer": "tam", "lr": 0.002},
    "mine": {"optimizer": "adam", "lr": 0.1},
}

PATHS = path_table("rosenbrock", ARMS, [[-1.2, 1.0], [0.0, 0.0]], 15)
ESCAPES = escape_ratio(ARMS, sharpness=[4, 256], starts=3, steps=20)
RATES = convergence_rates([4.0, 40.0], simulated=[4.0])
NOISY = path_table(quadratic(10.0, noise=0.1), ARMS, np.ones((4, 2)), 8)
FAMILY = pd.DataFrame({"sharpness": [4.0, 4.0, 9.0, 9.0], "x": [-1.0, 1.0] * 2, "value": [0.0, 0.5, 0.0, 2.0]})
LAW = pd.DataFrame({"cause": ["walk"] * 2, "momentum": [0, 0.9], "error": [2.0, 4.0], "measured": [2.2, np.nan]})
FOLLOWERS = pd.DataFrame({"arm": ["tam", "tam", "fade"], "momentum": [0, 0.9, np.nan], "error": [0.4, 0.7, 0.5]})

DRAWN = {
    "contours": (figures.contours, PATHS, {"surface": "rosenbrock"}),
    "escape": (figures.escape, ESCAPES, {}),
    "convergence": (figures.convergence, RATES, {}),
    "losses": (figures.losses, NOISY, {}),
    "curves": (figures.curves, FAMILY, {}),
    "drift_law": (figures.drift_law, LAW, {}),
    "tracking": (figures.tracking, FOLLOWERS, {"lowest": 0.3}),
}


def lines(ax: Axes, start: str) -> list[np.ndarray]:
    found = [line for line in ax.lines if str(line.get_label()).startswith(start)]
    return [np.asarray(line.get_xydata(), dtype=float) for line in found]


@pytest.mark.parametrize("name", DRAWN)
def test_draws_on_the_given_axes_and_leaves_the_table_alone(name: str) -> None:
    plot, table, options = DRAWN[name]
    before, ax = table.copy(deep=True), Figure().add_subplot()
    assert plot(table, ax=ax, **options) is ax
    pd.testing.assert_frame_equal(table, before)
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    assert ax.get_title(loc="left")
    assert ax.get_legend() is not None


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_of_its_own_is_unknown_to_pyplot(name: str) -> None:
    plot, table, options = DRAWN[name]
    plot(table, **options).figure.savefig(Path("/dev/null"), format="png")
    assert plt.get_fignums() == []


@pytest.mark.parametrize("name", DRAWN)
def test_axes_are_labelled_by_numbers_as_the_theme_writes_them(name: str) -> None:
    plot, table, options = DRAWN[name]
    with rc_context(theme()):
        ax = plot(table, **options)
        ax.figure.canvas.draw()
        labels = [label.get_text() for label in (*ax.get_xticklabels(which="both"), *ax.get_yticklabels(which="both"))]
    assert any(labels)
    assert not [label for label in labels if "$" in label]


def test_the_law_is_drawn_by_what_there_is_without_momentum() -> None:
    line, measured = (each.get_xydata() for each in figures.drift_law(LAW).lines)
    np.testing.assert_allclose(line, [[1, 1], [10, 2]])
    np.testing.assert_allclose(measured, [[1, 1.1], [10, np.nan]])


def test_an_optimizer_without_momentum_is_a_point() -> None:
    drawn = figures.tracking(FOLLOWERS, lowest=0.3)
    np.testing.assert_allclose(lines(drawn, "tam")[0], [[1, 0.4], [10, 0.7]])
    np.testing.assert_allclose(lines(drawn, "fade")[0], [[1, 0.5]])


@pytest.mark.parametrize("name", DRAWN)
def test_an_empty_table_is_refused(name: str) -> None:
    plot, table, options = DRAWN[name]
    with pytest.raises(InputError, match=f"{name}: the table has no rows to draw"):
        plot(table.iloc[:0], **options)


@pytest.mark.parametrize("name", ["contours", "escape", "losses"])
def test_arms_have_their_colours_in_every_picture(name: str) -> None:
    plot, table, options = DRAWN[name]
    ax = plot(table[table["arm"] != "tam"], arms=["yours", *ARMS], **options)
    for arm in ("sgdm", "mine"):
        colors = {to_hex(line.get_color()) for line in ax.lines if str(line.get_label()).split(",")[0] == arm}
        assert colors == {arm_styles(["yours", *ARMS])[arm].color.lower()}
    assert "tam" not in {text.get_text().split(",")[0] for text in ax.get_legend().get_texts()}


@pytest.mark.parametrize("name", ["contours", "escape", "losses"])
def test_several_rates_of_an_arm_and_unnamed_arms_are_refused(name: str) -> None:
    plot, table, options = DRAWN[name]
    with pytest.raises(InputError, match=f"{name}: arm 'tam' stands at 2 learning rates"):
        plot(pd.concat([table, table.assign(lr=1.0)[table["arm"] == "tam"]]), **options)
    with pytest.raises(InputError, match=f"{name}: arm 'tam' of the table is not among arms"):
        plot(table, arms=["sgdm", "mine"], **options)


def test_contours_hold_the_paths_and_the_minimum() -> None:
    ax = figures.contours(PATHS, surface="rosenbrock")
    drawn = lines(ax, "tam")
    assert len(drawn) == 2
    for start, path in enumerate(drawn):
        rows = PATHS[(PATHS["arm"] == "tam") & (PATHS["start"] == start)]
        np.testing.assert_allclose(path, rows[["x", "y"]])
    stars = [line.get_xydata() for line in ax.lines if line.get_marker() == "*"]
    np.testing.assert_array_equal(stars, [SURFACES["rosenbrock"].minima])
    assert (ax.get_xlim(), ax.get_ylim()) == SURFACES["rosenbrock"].bounds


def test_contours_draw_a_path_up_to_where_it_overflows() -> None:
    table = path_table("rosenbrock", {"sgd": {"optimizer": "sgd", "lr": 1.0}}, [[-1.2, 1.0]], 30)
    assert table["x"].isna().any()
    [path] = lines(figures.contours(table, surface="rosenbrock"), "sgd")
    assert len(path) == table["x"].notna().sum()


def test_contours_of_more_than_two_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="contours: quadratic of condition number 9 has 3 coordinates, and 2 can be"):
        figures.contours(NOISY, surface=quadratic(9.0, dimension=3))


def test_escape_is_the_share_of_runs() -> None:
    ax = figures.escape(ESCAPES, limits={"sgdm": 33.0})
    for arm in ARMS:
        [drawn] = lines(ax, f"{arm},")
        rows = ESCAPES[ESCAPES["arm"] == arm]
        assert drawn.tolist() == [[k, 100 * rows.loc[rows["sharpness"] == k, "escaped"].mean()] for k in (4, 256)]
    [dotted] = [line.get_xdata() for line in ax.lines if str(line.get_label()).startswith("_")]
    assert list(dotted) == [33.0, 33.0]
    assert "3 starts" in ax.get_title(loc="left")


def test_convergence_is_one_minus_rho() -> None:
    ax = figures.convergence(RATES)
    for label, capacity, momentum in (
        ("heavy ball; α, β best", 0, "best"),
        ("critical momenta, C = 5; α best, β = 0.9", 5, "0.9"),
    ):
        rows = RATES[(RATES["capacity"] == capacity) & (RATES["momentum"] == momentum)]
        [drawn] = lines(ax, label)
        np.testing.assert_allclose(drawn, np.column_stack([rows["condition_number"], 1 - rows["rho"]]))
    styles = {str(line.get_label()): line.get_linestyle() for line in ax.lines}
    assert styles["heavy ball; α best, β = 0.9"] == "--"
    circles = [line for line in ax.lines if line.get_marker() == "o"]
    assert np.isfinite(np.concatenate([line.get_ydata() for line in circles])).sum() == 4


def test_losses_are_medians_with_quartiles() -> None:
    ax = figures.losses(NOISY, slopes={"sgdm": 0.9})
    rows = NOISY[NOISY["arm"] == "mine"].pivot(index="step", columns="start", values="loss")
    [drawn] = lines(ax, "mine,")
    np.testing.assert_allclose(drawn[:, 1], np.median(rows, axis=1))
    color = arm_styles(ARMS)["mine"].color.lower()
    band = next(band for band in ax.collections if to_hex(band.get_facecolor()[0]) == color)
    edges = np.concatenate([path.vertices[:, 1] for path in band.get_paths()])
    for quartile in (25, 75):
        assert np.isin(np.percentile(rows, quartile, axis=1).round(12), edges.round(12)).all()
    [slope] = [line.get_ydata() for line in ax.lines if line.get_linestyle() == ":"]
    np.testing.assert_allclose(slope[1:] / slope[:-1], 0.81)
    assert "4 runs" in ax.get_title(loc="left")


def test_curves_are_the_functions() -> None:
    ax = figures.curves(FAMILY)
    np.testing.assert_array_equal(lines(ax, "9")[0], [[-1, 0], [1, 2]])
