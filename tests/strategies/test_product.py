"""Every optimizer with every strategy over every head, and every strategy with every option: what works, what not."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from tamcl.errors import InputError
from tamcl.models import HEADS
from tamcl.models.classifier import build_classifier
from tamcl.optim import OPTIMIZERS
from tamcl.registry import lookup
from tamcl.strategies import STRATEGIES, Naive
from tamcl.streams import TaskShift
from tamcl.streams.benchmark import build_benchmark
from tests.helpers import noise_data
from tests.strategies.helpers import build

DATA = noise_data(samples=60)
TASKS = TaskShift(name="task_shift", dataset="noise", experiences=2, setting="task_incremental")
SEGMENTS = TASKS.segments(DATA.train_y, DATA.test_y, DATA.classes, seed=0)
BENCHMARK = build_benchmark(DATA, SEGMENTS)
NUMBERS = build_benchmark(
    DATA,
    [
        replace(part, train_labels=part.train_labels / np.float32(9), test_labels=part.test_labels / np.float32(9))
        for part in SEGMENTS
    ],
)

SETTINGS: dict[str, dict[str, Any]] = {
    "reset": {"optimizer_state": "reset"},
    "restart": {"restart": True},
    "number": {"target": "number"},
    "augmented": {"augmentation": "crop_flip"},
    "two epochs": {"epochs": 2},
    "one by one": {"batch_size": 1},
}
_RESTART = "restart = True: {} has nothing to pull new weights back to"
REFUSED = {
    ("ewc", "restart"): _RESTART.format("EWC"),
    ("si", "restart"): _RESTART.format("SI"),
    ("mas", "restart"): _RESTART.format("MAS"),
    ("lwf", "number"): "target = 'number': LwF compares what is said about classes",
}
"""Strategies that refuse a setting, with what they say."""

REFUSED_HEADS = {("fade", "multi"): "FADE knows the curvature where a model's output is that of its last layer"}
"""Optimizers that refuse a head. All else works: optimizers and heads go with every strategy."""


def train(strategy: str, head: str = "masked", optimizer: str = "sgd", **options: Any) -> Naive:
    tasks = {segment.task: segment.classes for segment in SEGMENTS}
    model = build_classifier("mlp", head, {"hidden": [6]}, shape=(1, 4, 4), classes=10, tasks=tasks, seed=0)
    settings = {"lr": 0.01} | ({"at": 3} if optimizer == "switch" else {})
    training = build(
        lookup(STRATEGIES, strategy),
        model,
        lambda parameters: lookup(OPTIMIZERS, optimizer)(parameters, **settings),
        **{"batch_size": 10, "seed": 1} | options,
    )
    for experience in (NUMBERS if training.settings.target == "number" else BENCHMARK).train_stream:
        training.train(experience, eval_streams=[])
    return training


def weights(training: Naive) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in training.model.parameters()])


def trained(training: Naive) -> bool:
    """Whether the weights are finite, and each layer of the body has others than at the start."""
    start = build_classifier("mlp", "single", {"hidden": [6]}, shape=(1, 4, 4), classes=1, tasks={0: (0,)}, seed=0)
    pairs = zip(training.model.body.parameters(), start.body.parameters(), strict=True)
    return bool(weights(training).isfinite().all()) and not any(torch.equal(now, before) for now, before in pairs)


@pytest.mark.parametrize(("strategy", "head"), list(product(STRATEGIES, HEADS)))
def test_every_optimizer_trains_with_every_strategy_over_every_head(strategy: str, head: str) -> None:
    for optimizer in OPTIMIZERS:
        if refusal := REFUSED_HEADS.get((optimizer, head)):
            with pytest.raises(InputError, match=refusal):
                train(strategy, head, optimizer)
            continue
        training = train(strategy, head, optimizer)
        assert trained(training), optimizer
        assert all(np.isfinite(result.loss) for result in training.eval(BENCHMARK.test_stream)), optimizer


@pytest.mark.parametrize(("strategy", "setting"), list(product(STRATEGIES, SETTINGS)))
def test_every_strategy_takes_every_setting_or_refuses_it(strategy: str, setting: str) -> None:
    if refusal := REFUSED.get((strategy, setting)):
        with pytest.raises(ValueError, match=refusal):
            train(strategy, **SETTINGS[setting])
    else:
        head = "single" if setting == "number" else "masked"
        assert trained(train(strategy, head, **SETTINGS[setting]))


def test_refusals_are_of_what_there_is() -> None:
    assert set(REFUSED) <= set(product(STRATEGIES, SETTINGS))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_seed_decides_and_global_generators_do_not(strategy: str) -> None:
    torch.manual_seed(1)
    first = weights(train(strategy))
    torch.manual_seed(2)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    assert torch.equal(first, weights(train(strategy)))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002
    assert random.getstate() == states[2]
    assert not torch.equal(first, weights(train(strategy, seed=2)))
