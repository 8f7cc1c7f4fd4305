"""Short ways to train while diagnostics look on, and to make an update by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from tamcl.avalanche import SupervisedPlugin
from tamcl.diagnostics import DiagnosticsCollector, Update
from tamcl.models import Classifier
from tamcl.models.classifier import build_classifier
from tamcl.optim import OPTIMIZERS
from tamcl.registry import lookup
from tamcl.strategies import Naive, TrainingSettings
from tamcl.streams.benchmark import build_benchmark
from tests.helpers import noise_data, noise_segments

DATA = noise_data(samples=95)
"""Ten mini-batches an experience, the last of 5."""


class Watch(SupervisedPlugin):  # type: ignore[misc]
    """Keep weights and gradients before each update, the weights after it, and the state before and after."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[dict[str, np.ndarray]] = []
        self.grads: list[dict[str, np.ndarray]] = []
        self.ends: list[dict[str, np.ndarray]] = []
        self.states: list[dict[str, dict[str, Any]]] = []

    def before_update(self, strategy: Any, **kwargs: Any) -> None:
        named = dict(strategy.model.named_parameters())
        self.weights.append({name: array(param) for name, param in named.items()})
        self.grads.append({name: array(param.grad) for name, param in named.items() if param.grad is not None})
        self.states.append({name: deepcopy(strategy.optimizer.state.get(param, {})) for name, param in named.items()})

    def after_update(self, strategy: Any, **kwargs: Any) -> None:
        self.ends.append({name: array(param) for name, param in strategy.model.named_parameters()})


def array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().numpy().copy()


def model(hidden: Sequence[int] = (8, 6)) -> Classifier:
    tasks = {0: tuple(range(10))}
    return build_classifier("mlp", "single", {"hidden": list(hidden)}, shape=(1, 4, 4), classes=10, tasks=tasks, seed=0)


def train(
    optimizer: str = "sgd",
    *,
    plugins: Iterable[Any] = (),
    network: nn.Module | None = None,
    experiences: int = 2,
    optimizer_state: str = "keep",
    **options: Any,
) -> Naive:
    """Train on noise; the seed is set for what draws from the global generators."""
    torch.manual_seed(1)
    options = {"lr": 0.05} | options
    strategy = Naive(
        model=network or model(),
        make_optimizer=lambda parameters: lookup(OPTIMIZERS, optimizer)(parameters, **options),
        settings=TrainingSettings(optimizer_state=optimizer_state, plugins=plugins),
    )
    for experience in build_benchmark(DATA, noise_segments(DATA, experiences)).train_stream:
        strategy.train(experience, eval_streams=[])
    return strategy


def measured(optimizer: str, *names: str, every: int = 1, **options: Any) -> tuple[pd.DataFrame, Watch, Naive]:
    """Train and return the rows of some diagnostics, what a plugin saw, and the strategy."""
    watch, collector = Watch(), DiagnosticsCollector(names, every=every)
    strategy = train(optimizer, plugins=[watch, collector], **options)
    return collector.rows(), watch, strategy


def values(rows: pd.DataFrame, diagnostic: str, tensor: str = "") -> pd.Series[float]:
    """Values of a diagnostic by step."""
    found = rows[(rows["diagnostic"] == diagnostic) & (rows["tensor"] == tensor)]
    return found.set_index("step")["value"]


def update(network: nn.Module, x: Tensor, y: Tensor, *, samples: int = 1000, task: int = 0) -> Update:
    """An update of a model on data given as they are, without a strategy around it."""
    rows = {"batch": lambda rows: x[rows], "targets": lambda rows: y[rows]}
    experience = SimpleNamespace(index=torch.arange(len(x)), task=task, **rows)
    strategy = SimpleNamespace(
        model=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.1),
        experience=experience,
        mb_x=x[:1],
        _criterion=nn.CrossEntropyLoss(),
    )
    return Update(strategy, samples)


def whole(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """All tensors as one vector."""
    return np.concatenate([entries.ravel() for entries in arrays.values()])


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a.ravel() @ b.ravel()) / length if length else 0.0
