"""How far the weights move, against NumPy on the weights that a plugin saw."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tamcl.diagnostics import DiagnosticsCollector
from tamcl.optim import TAM
from tamcl.strategies import Naive, TrainingSettings
from tamcl.streams.benchmark import build_benchmark
from tests.diagnostics.helpers import DATA, measured, model, values, whole
from tests.helpers import noise_segments


def test_norms_and_distances_of_all_and_of_each() -> None:
    names = ("gradient_norm", "update_norm", "update_per_gradient", "distance_from_init")
    rows, watch, _ = measured("tam", *names)
    for step in range(20):
        before, after, grads = watch.weights[step], watch.ends[step], watch.grads[step]
        for name in ["", *before]:
            pick = whole if name == "" else lambda arrays, name=name: arrays[name]
            moved = np.linalg.norm(pick(after) - pick(before))
            gradient = np.linalg.norm(pick(grads))
            distance = np.linalg.norm(pick(after) - pick(watch.weights[0]))
            found = [values(rows, diagnostic, name)[step] for diagnostic in names]
            assert found == pytest.approx([gradient, moved, moved / gradient, distance], rel=1e-9)


def test_distance_starts_before_the_first_update_however_seldom_it_is_measured() -> None:
    rows, watch, _ = measured("sgd", "distance_from_init", every=7)
    assert values(rows, "distance_from_init").index.tolist() == [0, 7, 10, 17]
    expected = np.linalg.norm(whole(watch.ends[17]) - whole(watch.weights[0]))
    assert values(rows, "distance_from_init")[17] == pytest.approx(expected, rel=1e-9)


def test_update_per_gradient_of_plain_sgd_is_its_learning_rate() -> None:
    rows, _, _ = measured("sgd", "update_per_gradient", "effective_lr", lr=0.03)
    np.testing.assert_allclose(values(rows, "update_per_gradient"), 0.03, rtol=1e-4)
    np.testing.assert_allclose(values(rows, "effective_lr"), 0.03)
    assert set(rows[rows["diagnostic"] == "effective_lr"]["tensor"]) == {""}


@pytest.mark.parametrize("granularity", ["global", "tensor"])
def test_effective_lr_is_the_first_update_of_tam_and_lr_times_damping_later(granularity: str) -> None:
    """Without momentum TAM's update is the gradient times the effective learning rate."""
    names = ("effective_lr", "update_per_gradient", "damping")
    rows, _, _ = measured("tam", *names, granularity=granularity, momentum=0.0, lr=0.2)
    tensors = [""] if granularity == "global" else [name for name in rows["tensor"].unique() if name]
    for name in tensors:
        np.testing.assert_allclose(
            values(rows, "effective_lr", name), values(rows, "update_per_gradient", name), rtol=1e-4
        )
    np.testing.assert_allclose(values(rows, "effective_lr"), 0.2 * values(rows, "damping"), rtol=1e-9)
    assert values(rows, "effective_lr")[0] == pytest.approx(0.2)


def test_effective_lr_after_a_switch_is_that_of_the_second() -> None:
    rows, _, _ = measured("switch", "effective_lr", at=6, lr=0.1, s=0.5)
    assert (values(rows, "effective_lr").loc[1:4] < 0.06).all()
    np.testing.assert_allclose(values(rows, "effective_lr").loc[5:], 0.1 * 1.5 / 2)


def test_groups_and_tensors_with_learning_rates_of_their_own() -> None:
    collector = DiagnosticsCollector(["effective_lr"])

    def make(parameters: list[torch.nn.Parameter]) -> TAM:
        first, *others = parameters
        return TAM(
            [{"params": [first], "lr": torch.tensor(0.4)}, {"params": others, "lr": 0.1}], damping=0.5, start="zero"
        )

    strategy = Naive(model=model(), make_optimizer=make, settings=TrainingSettings(plugins=[collector]))
    for experience in build_benchmark(DATA, noise_segments(DATA, 1)).train_stream:
        strategy.train(experience, eval_streams=[])
    first, *others = [name for name, _ in strategy.model.named_parameters()]
    rows = collector.rows()
    np.testing.assert_allclose(values(rows, "effective_lr", first), 0.2)
    for name in others:
        np.testing.assert_allclose(values(rows, "effective_lr", name), 0.05)
    np.testing.assert_allclose(values(rows, "effective_lr"), (0.2 + 5 * 0.05) / 6)


def test_a_parameter_that_the_optimizer_does_not_have_is_left_out() -> None:
    collector = DiagnosticsCollector(["gradient_norm", "update_norm"])
    strategy = Naive(
        model=model(),
        make_optimizer=lambda ps: torch.optim.SGD(list(ps)[:2], lr=0.1),
        settings=TrainingSettings(plugins=[collector]),
    )
    for experience in build_benchmark(DATA, noise_segments(DATA, 1)).train_stream:
        strategy.train(experience, eval_streams=[])
    assert set(collector.rows()["tensor"]) == {"", "body.layers.1.0.weight", "body.layers.1.0.bias"}
