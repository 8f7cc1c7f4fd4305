from __future__ import annotations

import numpy as np
import pytest
import torch

from tamcl.toys import escape_ratio, flat_sharp, largest_step, trajectory
from tamcl.toys.escape import sharp_starts
from tamcl.toys.surfaces import barrier

SGDM = {"sgdm": {"optimizer": "sgd", "lr": 0.03, "momentum": 0.9}}


class Visitor(torch.optim.Optimizer):
    """Goes to the flat minimum, and every tenth step back to the sharp one."""

    def __init__(self, params, lr: float) -> None:
        super().__init__(params, {"lr": lr})
        self.steps = 0

    def step(self, closure=None) -> None:
        self.steps += 1
        for param in self.param_groups[0]["params"]:
            param.data.fill_(1.0 if self.steps % 10 == 0 else -1.0)


def test_heavy_ball_leaves_sharp_minima_and_not_flat_ones() -> None:
    table = escape_ratio(SGDM, sharpness=[2, 8, 32, 128, 512], starts=16)
    ratio = table.groupby("sharpness")["escaped"].mean()
    assert ratio.is_monotonic_increasing
    assert ratio[2] == 0
    assert ratio[512] == 1
    assert list(table.columns) == ["arm", "lr", "sharpness", "start", "end", "escaped"]


def test_short_steps_stay_in_the_sharp_basin() -> None:
    table = escape_ratio({"sgd": {"optimizer": "sgd", "lr": 1e-4}}, sharpness=[2, 64, 1024], starts=9, steps=500)
    assert not table["escaped"].any()
    assert (table["end"] > barrier(table["sharpness"])).all()
    assert ((table["end"] - 1).abs() <= (table["start"] - 1).abs()).all()


@pytest.mark.parametrize(("steps", "escaped"), [(30, False), (31, False), (26, True)])
def test_a_visit_to_the_flat_minimum_does_not_count(steps: int, escaped: bool) -> None:
    # the last tenth of 30 or 31 steps holds the return at step 30, that of 26 steps holds none
    table = escape_ratio({"visitor": {"optimizer": Visitor, "lr": 1.0}}, sharpness=[4.0], starts=2, steps=steps)
    assert (table["escaped"] == escaped).all()


def test_a_run_that_diverges_has_not_escaped() -> None:
    table = escape_ratio({"sgd": {"optimizer": "sgd", "lr": 1e3}}, sharpness=[4.0], steps=400)
    assert table["end"].isna().all()
    assert not table["escaped"].any()


def test_starts_are_spread_over_the_basin() -> None:
    starts = sharp_starts([2.0, 100.0], 5)
    assert starts.shape == (2, 5)
    np.testing.assert_allclose(starts.mean(1), 1)
    assert (starts > barrier([2.0, 100.0])[:, None]).all()
    for row, sharpness in zip(starts, (2.0, 100.0), strict=True):
        assert (flat_sharp(sharpness).gradient(row[:, None])[:, 0] * (row - 1) >= 0).all()  # downhill is towards 1


@pytest.mark.parametrize(("name", "capacity"), [("sgd", 0), ("sgd_cm", 5)])
def test_what_leaves_is_what_is_unstable(name: str, capacity: int) -> None:
    sharpness = 64.0
    options = {"capacity": capacity, "replacement": "fifo"} if capacity else {}
    for factor, stays in ((0.9, True), (1.1, False)):
        lr = factor * largest_step(0.9, capacity) / sharpness
        path = trajectory(flat_sharp(sharpness), name, [1 + 1e-6], 800, lr=lr, momentum=0.9, **options)
        assert (np.abs(path[-100:] - 1).max() < 1e-6) == stays


def test_arms_and_rates_do_not_touch_one_another() -> None:
    arms = {"tam": {"optimizer": "tam", "lr": [0.02, 0.2]}, "adam_cm": {"optimizer": "adam_cm", "lr": 0.1}}
    both = escape_ratio(arms, sharpness=[4, 64], starts=3, steps=50)
    one = escape_ratio({"tam": {"optimizer": "tam", "lr": 0.2}}, sharpness=[64], starts=3, steps=50)
    rows = both[(both["arm"] == "tam") & (both["lr"] == 0.2) & (both["sharpness"] == 64)]
    np.testing.assert_allclose(rows[["start", "end"]], one[["start", "end"]], rtol=1e-12)
    assert len(both) == 3 * 2 * 3
