"""Pictures of a line between two ends, and of a plane through three."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tamcl.errors import InputError
from tamcl.plots import arm_styles, loss_on_line, loss_plane

ALPHAS = [0.0, 0.5, 1.0]


@pytest.fixture
def lines() -> pd.DataFrame:
    rows = [
        ("flips", "tam", seed, arm, seed, alpha, part, 1 + seed + 4 * alpha * (1 - alpha), 0.5 + 0.1 * seed)
        for arm in ("sgdm", "adam")
        for seed in range(3)
        for alpha in ALPHAS
        for part in ("train", "test")
    ]
    columns = ["scenario", "arm_a", "seed_a", "arm_b", "seed_b", "alpha", "part", "loss", "accuracy"]
    return pd.DataFrame(rows, columns=columns)


@pytest.fixture
def plane() -> pd.DataFrame:
    corners = {"tam": (0.0, 0.0), "sgdm": (4.0, 0.0), "adam": (1.0, 3.0)}
    places = [(arm, *place) for arm, place in corners.items()]
    places += [("", x, y) for x in np.linspace(-1, 5, 4) for y in np.linspace(-1, 4, 4)]
    rows = [("flips", 0, *place, part, place[1] ** 2 + place[2], 0.5) for place in places for part in ("train", "test")]
    return pd.DataFrame(rows, columns=["scenario", "seed", "arm", "x", "y", "part", "loss", "accuracy"])


def test_a_line_is_the_mean_over_seeds_and_the_dotted_one_joins_its_ends(lines: pd.DataFrame) -> None:
    ax = loss_on_line(lines, arm_a="tam", arm_b="sgdm")
    drawn = {line.get_label(): line.get_xydata().tolist() for line in ax.lines}  # type: ignore[union-attr]
    for part in ("train", "test"):
        np.testing.assert_allclose(drawn[part], [[0, 2], [0.5, 3], [1, 2]])
    dotted = [line.get_xydata() for line in ax.lines if line.get_label() not in ("train", "test")]
    assert len(dotted) == 2
    np.testing.assert_allclose(dotted[0], [[0, 2], [1, 2]])
    assert ax.get_title(loc="left") == "Mean and 95 % interval over 3 seeds"
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert (labels[0], labels[-1]) == ("tam", "sgdm")
    ax = loss_on_line(lines, arm_a="tam", arm_b="sgdm", column="accuracy")
    assert ax.get_ylabel() == "accuracy (%)"
    assert next(line.get_ydata() for line in ax.lines if line.get_label() == "test") == pytest.approx([60, 60, 60])


def test_two_seeds_of_an_arm_are_pairs(lines: pd.DataFrame) -> None:
    seeds = lines.query("arm_b == 'sgdm'").assign(arm_b="tam", seed_a=lambda rows: 2 * rows["seed_b"], seed_b=99)
    ax = loss_on_line(seeds)
    assert ax.get_title(loc="left") == "Mean and 95 % interval over 3 pairs of seeds"
    assert ax.get_xticklabels()[0].get_text() == "one seed"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "must name one pair with rows; here are tam to sgdm, tam to adam"),
        ({"arm_a": "adam"}, "here are no rows to draw"),
        ({"arm_b": "adam", "column": "error"}, "column = 'error': must be 'loss' or 'accuracy'"),
    ],
)
def test_what_is_no_single_line_is_refused(lines: pd.DataFrame, given: dict[str, str], why: str) -> None:
    with pytest.raises(InputError, match=why):
        loss_on_line(lines, **given)  # type: ignore[arg-type]


def test_a_plane_has_its_corners_in_the_colours_of_their_arms(plane: pd.DataFrame) -> None:
    ax = loss_plane(plane, arms=["sgdm", "tam", "adam"])
    styles = arm_styles(["sgdm", "tam", "adam"])
    found = {line.get_color(): line.get_xydata()[0].tolist() for line in ax.lines}  # type: ignore[union-attr]
    assert found == {styles["tam"].color: [0, 0], styles["sgdm"].color: [4, 0], styles["adam"].color: [1, 3]}
    assert [text.get_text() for text in ax.texts] == ["tam: 0", "sgdm: 16", "adam: 4"]
    assert ax.get_title(loc="left") == "Plane through three ends, seed 0"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"part": "all"}, "no loss of the part 'all'"),
        ({"column": "accuracy"}, "the accuracy is the same everywhere, 50"),
    ],
)
def test_what_is_no_plane_is_refused(plane: pd.DataFrame, given: dict[str, str], why: str) -> None:
    with pytest.raises(InputError, match=why):
        loss_plane(plane, **given)  # type: ignore[arg-type]
