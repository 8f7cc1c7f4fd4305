"""Several diagnostics of an arm on one time axis, and correlations beside their nulls."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tamcl.errors import InputError
from tamcl.plots import correlations_over_time, diagnostics_together
from tamcl.stats import correlation_over_time, mean_correlation_over_time


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    found = [
        ("flips", arm, 0.1, seed, step // 50, step, name, "", scale * rng.normal())
        for arm in ("sgdm", "tam")
        for seed in range(3)
        for step in range(0, 150, 5)
        for name, scale in (("cosine", 1), ("damping", 1), ("hessian_top", 100))
    ]
    columns = ["scenario", "arm", "lr", "seed", "experience", "step", "diagnostic", "tensor", "value"]
    return pd.DataFrame(found, columns=columns)


def test_lines_are_means_over_seeds_against_their_axes(rows: pd.DataFrame) -> None:
    ax = diagnostics_together(rows, left=["damping", "cosine"], right="hessian_top", arm="tam")
    (other,) = [each for each in ax.figure.axes if each is not ax]
    for drawn, name in ((ax, "damping"), (ax, "cosine"), (other, "hessian_top")):
        (line,) = [each for each in drawn.lines if each.get_label() == name]
        means = rows.query(f"arm == 'tam' and diagnostic == '{name}'").groupby("step")["value"].mean()
        points = np.asarray(line.get_xydata(), dtype=float)
        points = points[np.isfinite(points).all(1)]
        np.testing.assert_allclose(points, np.column_stack([means.index, means]))
    assert ax.get_title(loc="left") == "tam: mean and 95 % interval over 3 seeds; dotted: shifts"
    assert (ax.get_ylabel(), other.get_ylabel()) == ("damping, cosine", "hessian top")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "one is drawn"),
        ({"arm": "adam"}, "one is drawn"),
        ({"arm": "tam", "left": ["torque"]}, "the rows of 'tam' have no 'torque'"),
    ],
)
def test_what_cannot_be_drawn_is_refused(rows: pd.DataFrame, given: dict[str, object], why: str) -> None:
    with pytest.raises(InputError, match=why):
        diagnostics_together(rows, **{"left": ["damping"], "right": "hessian_top", **given})  # type: ignore[arg-type]


def test_a_dot_is_the_mean_and_a_bar_what_chance_makes_of_it(rows: pd.DataFrame) -> None:
    pair = "damping", "hessian_top"
    means, runs = mean_correlation_over_time(rows, *pair), correlation_over_time(rows, *pair)
    ax = correlations_over_time(means, runs)
    dots = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "o"]  # type: ignore[index]
    assert dots == means["correlation"].tolist()
    bars = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in ax.patches]
    np.testing.assert_allclose(bars, means[["null_low", "null_high"]])
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels[:3] == ["sgdm: shuffled time", "sgdm: turned series", "sgdm: other order of experiences"]
    with pytest.raises(InputError, match="no rows to draw"):
        correlations_over_time(means.iloc[:0], runs)
