from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from tamcl.errors import InputError
from tamcl.toys import SURFACES, flat_sharp, outcomes, path_table, quadratic, trajectory
from tamcl.toys import trajectories as module
from tamcl.toys.trajectories import best_lrs

STARTS = np.array([[-1.2, 1.0], [0.5, 0.2], [1.5, 2.0]])

OPTIMIZERS = {
    "sgd": {"momentum": 0.9},
    "adam": {},
    "tam": {},
    "adatam": {},
    "adam_cm": {},
    "sgd_cm": {"momentum": 0.5, "replacement": "random", "seed": 3},
    "sam": {"base": "tam", "rho": 0.1},
    "lookahead": {"base": "sgd"},
    "switch": {"at": 10},
}


def test_is_heavy_ball_worked_out_by_hand() -> None:
    curvatures, theta, m = np.array([0.1, 1.0]), np.array([2.0, -1.0]), np.zeros(2)
    expected = [theta]
    for _ in range(20):
        m = 0.9 * m + curvatures * theta
        theta = theta - 0.3 * m
        expected.append(theta)
    path = trajectory(quadratic(10.0), "sgd", [2.0, -1.0], 20, lr=0.3, momentum=0.9)
    np.testing.assert_allclose(path, expected, rtol=1e-12)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_start_is_followed_as_if_it_were_alone(name: str) -> None:
    options = {"lr": 1e-4, **OPTIMIZERS[name]}
    together = trajectory("rosenbrock", name, STARTS, 30, **options)
    assert together.shape == (31, 3, 2)
    for i, start in enumerate(STARTS):
        np.testing.assert_allclose(together[:, i], trajectory("rosenbrock", name, start, 30, **options), rtol=1e-12)
    assert (together[-1] != STARTS).all()


@pytest.mark.parametrize("cls", sorted(module.ELEMENTWISE, key=lambda cls: cls.__name__))
def test_one_optimizer_for_all_starts_is_as_good_as_one_for_each(cls, monkeypatch: pytest.MonkeyPatch) -> None:
    together = trajectory("rosenbrock", cls, STARTS, 30, lr=1e-4)
    monkeypatch.setattr(module, "ELEMENTWISE", set())
    np.testing.assert_allclose(together, trajectory("rosenbrock", cls, STARTS, 30, lr=1e-4), rtol=1e-12)


def test_a_closure_sees_the_surface_of_its_own_row() -> None:
    sharpness, start = [2.0, 50.0], [[1.3], [1.3]]
    together = trajectory(flat_sharp(sharpness), "sam", start, 20, lr=0.01, rho=0.1)
    for row, kappa in enumerate(sharpness):
        alone = trajectory(flat_sharp(kappa), "sam", start[row], 20, lr=0.01, rho=0.1)
        np.testing.assert_allclose(together[:, row], alone, rtol=1e-12)


def test_sam_takes_the_gradient_uphill() -> None:
    surface, start, rho = quadratic(10.0), np.array([2.0, -1.0]), 0.5
    g = surface.gradient(start)
    expected = start - 0.1 * surface.gradient(start + rho * g / np.linalg.norm(g))
    np.testing.assert_allclose(trajectory(surface, "sam", start, 1, lr=0.1, rho=rho)[1], expected)


def test_noise_is_normal_and_the_same_for_all_optimizers() -> None:
    surface, start = quadratic(4.0, noise=0.3), np.ones((50, 2))
    paths = [trajectory(surface, torch.optim.SGD, start, 40, lr=lr) for lr in (0.1, 0.01)]
    curvatures = np.array([0.25, 1.0])
    noises = [(path[:-1] - path[1:]) / lr - curvatures * path[:-1] for path, lr in zip(paths, (0.1, 0.01), strict=True)]
    np.testing.assert_allclose(*noises, atol=1e-9)
    assert noises[0].mean() == pytest.approx(0, abs=4 * 0.3 / np.sqrt(noises[0].size))
    assert noises[0].std() == pytest.approx(0.3, rel=0.05)
    assert abs(np.corrcoef(noises[0][:, 0].ravel(), noises[0][:, 1].ravel())[0, 1]) < 0.4


def test_noise_depends_on_its_seed_and_on_the_place_of_the_start_alone() -> None:
    run = partial(trajectory, quadratic(4.0, noise=0.3), "tam", steps=10, lr=0.1)
    many = run(start=np.ones((3, 2)))
    np.testing.assert_array_equal(many, run(start=np.ones((3, 2))))
    np.testing.assert_array_equal(many[:, :1], run(start=np.ones((1, 2))))
    assert (many[-1, 0] != many[-1, 1]).all()
    assert (many[-1] != run(start=np.ones((3, 2)), noise_seed=1)[-1]).all()


def test_a_path_that_overflows_is_nan_and_the_others_go_on() -> None:
    for name, options in OPTIMIZERS.items():
        start = np.array([[1.0, 1.0], [1e200, -1e200]])
        path = trajectory("rosenbrock", name, start, 5, **{"lr": 1e-4, **options})
        assert np.isnan(path[1:, 1]).all()
        assert np.isfinite(path[:, 0]).all()


def test_no_step_is_the_start_and_nothing_global_is_drawn_or_changed() -> None:
    start, state = STARTS.copy(), torch.get_rng_state()
    path = trajectory("rosenbrock", "sgd_cm", start, 0, lr=0.1)
    np.testing.assert_array_equal(path, STARTS[None])
    trajectory(quadratic(3.0, noise=1.0), "sgd_cm", start, 10, lr=0.1)
    np.testing.assert_array_equal(start, STARTS)
    assert torch.equal(torch.get_rng_state(), state)


def test_an_optimizer_may_be_a_class_or_anything_that_makes_one() -> None:
    by_name = trajectory("ackley", "sgd", [1.0, 2.0], 5, lr=0.01, momentum=0.9)
    for other in (torch.optim.SGD, "torch.optim:SGD", lambda params, lr: torch.optim.SGD(params, lr, momentum=0.9)):
        options = {} if callable(other) and not isinstance(other, type) else {"momentum": 0.9}
        np.testing.assert_array_equal(trajectory("ackley", other, [1.0, 2.0], 5, lr=0.01, **options), by_name)


ARMS = {
    "sgdm": {"optimizer": "sgd", "lr": [0.001, 0.0005], "momentum": 0.9},
    "tam": {"optimizer": "tam", "lr": 0.002},
}


def test_the_table_is_the_paths() -> None:
    table = path_table("rosenbrock", ARMS, STARTS, 12)
    assert list(table.columns) == ["arm", "lr", "start", "step", "x", "y", "loss"]
    assert len(table) == 3 * 3 * 13
    rows = table[(table["arm"] == "tam") & (table["start"] == 1)]
    path = trajectory("rosenbrock", "tam", STARTS[1], 12, lr=0.002)
    np.testing.assert_allclose(rows[["x", "y"]], path, rtol=1e-12)
    np.testing.assert_allclose(rows["loss"], SURFACES["rosenbrock"].value(path))
    assert list(rows["step"]) == list(range(13))
    pd.testing.assert_frame_equal(table, path_table("rosenbrock", ARMS, STARTS, 12))


def test_outcomes_are_the_ends_of_the_paths() -> None:
    arms = ARMS | {"tam": {"optimizer": "tam", "lr": 1e-6}}
    table, ended = (make("goldstein_price", arms, STARTS, 20) for make in (path_table, outcomes))
    paths = table.groupby(["arm", "lr", "start"], sort=False)
    last = paths.nth(20)
    np.testing.assert_allclose(ended["loss"], (last["loss"].to_numpy() + paths.nth(19)["loss"].to_numpy()) / 2 - 3)
    np.testing.assert_allclose(ended["lowest_loss"], paths["loss"].min() - 3)
    np.testing.assert_allclose(ended["distance"], np.hypot(last["x"], last["y"] + 1))
    assert ended["loss"].isna().any()


def test_the_best_learning_rate_has_the_lowest_mean() -> None:
    rows = [("b", 0.1, [1, 1, 9]), ("b", 0.2, [2, 2, 2]), ("a", 0.3, [5, 5, 5]), ("a", 0.4, [0, 0, np.nan])]
    table = pd.DataFrame(rows, columns=["arm", "lr", "loss"]).explode("loss").astype({"loss": float})
    assert best_lrs(table) == {"b": 0.2, "a": 0.3}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: trajectory("ackley", "sgd", [1.0], 3), r"start must have shape \(2,\) or \(starts, 2\), got \(1,\)"),
        (lambda: trajectory("ackley", "sgd", [1.0, 2.0], -1), "steps must be at least 0, got -1"),
        (lambda: trajectory("ackly", "sgd", [1.0, 2.0], 1), "unknown surface 'ackly': did you mean 'ackley'?"),
        (lambda: trajectory("ackley", "tamm", [1.0, 2.0], 1), "unknown optimizer 'tamm': did you mean 'tam'?"),
        (lambda: trajectory("ackley", "tam", [1.0, 2.0], 1, momentum=2.0), "momentum"),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_an_arm_without_optimizer_or_rate_is_named() -> None:
    with pytest.raises(InputError, match="arm 'mine': lr and optimizer missing"):
        path_table("ackley", {"mine": {}}, [1.0, 2.0], 1)
