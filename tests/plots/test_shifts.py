from __future__ import annotations

import numpy as np
import pytest

from tamcl import plots
from tamcl.errors import InputError
from tamcl.results import Results
from tests.plots.helpers import curves, line


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


def test_recovery_shows_what_all_shifts_have(study: Results) -> None:
    online = study.phase(study.online)
    short = online[(online["experience"] < 2) | (online["step"] < 92)]  # 40, 40 and 12 mini-batches
    ax = plots.recovery(short)
    rows = short[(short["arm"] == "tam")].pivot(index="seed", columns="step", values="correct").to_numpy() / 10
    points = line(ax, "tam")
    assert points[:, 0].tolist() == [*range(-30, -9), *range(7)]  # 12 mini-batches have 7 windows of half of them
    for k in (0, 3, 6):
        expected = (rows[:, 40 + k : 50 + k].mean(axis=1) + rows[:, 80 + k : 86 + k].mean(axis=1)) / 2
        np.testing.assert_allclose(points[points[:, 0] == k, 1], 100 * expected.mean())
    assert ax.get_title(loc="left") == "Mean over 2 shifts and 95 % interval over 4 seeds"
    assert ax.get_ylabel() == "accuracy over the next 6 to 10 (%)"
    assert plots.recovery(online).get_ylabel() == "accuracy over the next 10 (%)"
    all_short = online[online["step"] % 40 < 12].assign(step=lambda rows: rows["step"] // 40 * 12 + rows["step"] % 40)
    assert plots.recovery(all_short).get_ylabel() == "accuracy over the next 6 (%)"


def test_stability_starts_at_no_change_and_is_the_mean_over_seeds(study: Results) -> None:
    table = curves(study)
    ax = plots.stability(table)
    points = line(ax, "tam")
    assert points[0].tolist() == [0, 0]
    for since in (1, 17, 40):
        mean = table[(table["arm"] == "tam") & (table["since_shift"] == since)]["change"].mean()
        assert points[points[:, 0] == since, 1].item() == pytest.approx(100 * mean)
    assert ax.get_title(loc="left") == "Mean over 2 shifts and 95 % interval over 4 seeds"


def test_recovery_ends_where_points_are_of_fewer_shifts(study: Results) -> None:
    online = study.phase(study.online)
    ends_early = (online["experience"] == 2) & (online["step"] >= 100)  # 20 mini-batches, 11 windows of 10
    ax = plots.recovery(online[~ends_early])
    assert line(ax, "tam")[-1, 0] == 10
    assert "2 shifts" in ax.get_title(loc="left")


def test_stability_ends_with_the_shortest_experience(study: Results) -> None:
    table = curves(study)
    later = table["since_shift"] > 25
    ax = plots.stability(table.assign(n_shifts=table["n_shifts"] - later))
    assert line(ax, "tam")[-1, 0] == 25
    assert ax.get_xlim() == (0, 25)


def test_recovery_needs_a_shift(study: Results) -> None:
    online = study.phase(study.online)
    with pytest.raises(InputError, match="recovery: the stream has a single experience"):
        plots.recovery(online[online["experience"] == 0])


def test_lines_end_where_a_seed_ends(study: Results) -> None:
    table = curves(study)
    short = (table["seed"] == 3) & (table["since_shift"] > 30)
    assert line(plots.stability(table[~short]), "tam")[-1, 0] == 30
