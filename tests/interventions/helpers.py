"""A short training of which every step is kept: what an intervention does is held against its NumPy twin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from tamcl.avalanche import SupervisedPlugin
from tamcl.interventions import Intervention
from tamcl.models.classifier import Classifier, build_classifier
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


class Step(NamedTuple):
    before: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]
    after: dict[str, np.ndarray]
    outputs: list[np.ndarray]
    """Of the ReLU layers."""


class Recorder(SupervisedPlugin):  # type: ignore[misc]
    """Keeps all steps."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self._outputs: list[np.ndarray] = []

    def watch(self, model: nn.Module) -> None:
        for module in model.modules():
            if isinstance(module, nn.ReLU):
                module.register_forward_hook(lambda module, _, out: self._outputs.append(out.detach().numpy().copy()))

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass

    def before_forward(self, strategy: Any, **kwargs: Any) -> None:
        self._outputs.clear()

    def before_update(self, strategy: Any, **kwargs: Any) -> None:
        self._before = values(strategy.model)
        self._gradients = {
            name: param.grad.numpy().copy()
            for name, param in strategy.model.named_parameters()
            if param.grad is not None
        }

    def after_update(self, strategy: Any, **kwargs: Any) -> None:
        self.steps.append(Step(self._before, self._gradients, values(strategy.model), list(self._outputs)))


def values(model: nn.Module) -> dict[str, np.ndarray]:
    return {name: param.detach().numpy().copy() for name, param in model.named_parameters()}


def classifier(name: str = "mlp", head: str = "multi", side: int = 4, **options: Any) -> Classifier:
    tasks = {segment.task: segment.classes for segment in SEGMENTS}
    if name == "mlp":
        options = {"hidden": [6, 5]} | options
    return build_classifier(name, head, options, shape=(1, side, side), classes=10, tasks=tasks, seed=0)


def train(
    *interventions: Intervention,
    make: Callable[[Any], torch.optim.Optimizer] = lambda params: torch.optim.SGD(params, lr=0.1),
    strategy: str = "naive",
    head: str = "multi",
    model: Classifier | None = None,
    **settings: Any,
) -> tuple[Naive, list[Step]]:
    """Train two experiences, each with a head of its own."""
    model = classifier(head=head) if model is None else model
    recorder = Recorder()
    recorder.watch(model)
    given = {"batch_size": 10, "seed": 1, "plugins": [recorder], "interventions": interventions} | settings
    training = build(lookup(STRATEGIES, strategy), model, make, **given)
    for experience in BENCHMARK.train_stream:
        training.train(experience, eval_streams=[])
    return training, recorder.steps
