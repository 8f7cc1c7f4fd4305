from __future__ import annotations

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex, to_rgb

from tamcl import plots
from tamcl.results import Results
from tests.plots.helpers import SMALL, tuning_table
from tests.synthetic_study import ARMS


def test_looks_differ() -> None:
    arms = [*ARMS, *(f"arm{i}" for i in range(20))]
    found = plots.arm_styles(arms)
    assert len({(style.color, style.line) for style in found.values()}) == len(arms)
    assert plots.arm_styles(["adam", "tam"])["tam"] == found["tam"]


def test_own_arms_differ_in_colour_and_line_and_in_colour_and_marker() -> None:
    found = plots.arm_styles(f"arm{i}" for i in range(40)).values()
    assert len({(style.color, style.line) for style in found}) == 40
    assert len({(style.color, style.marker) for style in found}) == 40


def test_long_names_are_shortened_and_stay_apart() -> None:
    common = "x" * 31
    for arms in ([f"{common}{i:02}{common}" for i in range(30)], [f"{i:02}{common * 2}" for i in range(30)]):
        short = plots.short_names([*arms, "tam"])
        assert short["tam"] == "tam"
        assert len(set(short.values())) == 31
        assert max(map(len, short.values())) <= 20


def test_colours_are_told_apart_until_one_has_to_come_again() -> None:
    found = plots.arm_styles([*ARMS, *(f"arm{i}" for i in range(6))])
    colors = np.array([to_rgb(style.color) for style in found.values()])
    apart = np.linalg.norm(colors[:, None] - colors[None], axis=2)[np.triu_indices(len(colors), 1)]
    assert apart.min() > 0.15


def test_an_arm_has_the_same_colour_in_every_picture(study: Results) -> None:
    arms = ["mine", *SMALL, "yours"]
    colors = {arm: style.color for arm, style in plots.arm_styles(arms).items()}
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


def test_theme_turns_ink_and_paper(study: Results) -> None:
    light, dark = plots.theme(), plots.theme(dark=True)
    assert light.keys() == dark.keys()
    assert light["axes.facecolor"] != dark["axes.facecolor"]
    with plt.rc_context(dark):
        ax = plots.summary(study.phase(study.metrics), metric="forgetting")
    assert to_hex(ax.get_facecolor()) == dark["axes.facecolor"].lower()
    assert ax.title.get_color() == dark["text.color"]
