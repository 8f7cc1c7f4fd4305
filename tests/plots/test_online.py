from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex
from scipy import stats

from tamcl import plots
from tamcl.errors import InputError
from tamcl.plots.style import KNOWN
from tamcl.results import Results
from tests.plots.helpers import SMALL, line


def test_online_accuracy_is_the_share_of_right_answers(study: Results) -> None:
    online = study.phase(study.online)
    ax = plots.online_accuracy(online, window=8)
    rows = online[online["arm"] == "tam"]
    shares = rows.assign(block=rows["step"] // 8).groupby(["seed", "block"])[["correct", "n"]].sum()
    by_seed = (100 * shares["correct"] / shares["n"]).groupby("block")
    points = line(ax, "tam")
    np.testing.assert_allclose(points[:, 1], by_seed.mean())
    np.testing.assert_allclose(points[:, 0], np.arange(15) * 8 + 3.5)
    band = next(band for band in ax.collections if to_hex(band.get_facecolor()[0]) == KNOWN["tam"].color.lower())
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


def test_several_learning_rates_of_an_arm_are_refused(study: Results) -> None:
    with pytest.raises(InputError, match="online_accuracy: arm 'adam' stands at 4 learning rates; pass rows of one"):
        plots.online_accuracy(study.online)


def test_online_loss_is_the_mean_over_examples(study: Results) -> None:
    online = study.phase(study.online)
    uneven = online.assign(n=np.where(online["step"] % 2, 10, 4), correct=np.nan)  # regression has no right answers
    ax = plots.online_loss(uneven, arms=SMALL, window=8)
    rows = uneven[uneven["arm"] == "tam"]
    by_seed = [
        [np.average(block["loss"], weights=block["n"]) for _, block in own.groupby(own["step"] // 8)]
        for _, own in rows.groupby("seed")
    ]
    points = line(ax, "tam")
    np.testing.assert_allclose(points[:, 1], np.mean(by_seed, axis=0))
    np.testing.assert_allclose(points[:, 0], np.arange(15) * 8 + 3.5)
    assert ax.get_ylabel() == "online loss"
    assert ax.get_title(loc="left") == plots.online_accuracy(online, window=8).get_title(loc="left")


def test_online_loss_refuses_several_learning_rates_in_its_own_name(study: Results) -> None:
    with pytest.raises(InputError, match="online_loss: arm 'adam' stands at 4 learning rates; pass rows of one"):
        plots.online_loss(study.online)


def test_every_point_is_of_all_seeds_where_experiences_have_other_lengths(study: Results) -> None:
    online = study.phase(study.online)
    short = (online["seed"] > 1) & (online["step"] % 40 >= 33)  # 33 mini-batches where other seeds have 40
    online = online[~short & (online["arm"] == "tam")]
    ax = plots.online_accuracy(online, window=10)
    points = line(ax, "tam")
    assert len(points) == 3 * 3  # as many blocks an experience as 33 mini-batches give
    third = []
    for _, own in online[online["experience"] == 0].groupby("seed"):
        blocks = np.arange(len(own)) * 3 // len(own)
        last = own.sort_values("step")[blocks == 2]
        third.append((last["correct"].sum() / last["n"].sum(), last["step"].mean()))
    np.testing.assert_allclose(points[2], [np.mean([at for _, at in third]), 100 * np.mean([v for v, _ in third])])
    low, high = ax.collections[0].get_datalim(ax.transData).intervaly
    assert low > 0
    assert high < 100


def test_arms_that_the_table_does_not_have_are_named(study: Results) -> None:
    with pytest.raises(InputError, match=r"^online_accuracy: arms = nope: the table has adam, sgdm, tam$"):
        plots.online_accuracy(study.phase(study.online), arms=["nope"])
