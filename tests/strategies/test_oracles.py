"""Our strategies against Avalanche's plugins on the same mini-batches in float64, where the two agree."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from avalanche.benchmarks.utils import as_taskaware_classification_dataset
from avalanche.training import Naive as AvalanchesNaive
from avalanche.training.plugins import (
    AGEMPlugin,
    EvaluationPlugin,
    EWCPlugin,
    LwFPlugin,
    MASPlugin,
    ReplayPlugin,
    SynapticIntelligencePlugin,
)
from torch import Tensor, nn

from tamcl.avalanche import SupervisedPlugin
from tamcl.models import MLP, Classifier
from tamcl.models.heads import SingleHead
from tamcl.strategies import AGEM, EWC, MAS, SI, LwF, Naive, Replay
from tamcl.strategies.loader import BatchLoader
from tamcl.streams import LabelFlip
from tamcl.streams.benchmark import build_benchmark
from tests.helpers import noise_data
from tests.strategies.helpers import build

DATA = noise_data(samples=40)
BATCH = 8


class InDouble(nn.Module):
    """A body that turns its images into float64."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.features = body.features

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x.double())


class Silent(SupervisedPlugin):  # type: ignore[misc]
    def log_metrics(self, values: object) -> None: ...


def copy_weights(model: Any, target: Any, excluded_parameters: Any) -> None:
    """What Avalanche's SI does at each step, but with copies: its own are views of the weights on a CPU."""
    for name, weight in SynapticIntelligencePlugin.allowed_parameters(model, excluded_parameters):
        target[name].data = weight.detach().clone().flatten()


def model() -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Classifier(InDouble(MLP((1, 4, 4), hidden=[8])), SingleHead(8, 10, {}))


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.05)


def weights(network: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def stream(experiences: int) -> Any:
    flips = LabelFlip(name="label_flip", dataset="noise", experiences=experiences, fraction=0.8, batch_size=BATCH)
    return build_benchmark(DATA, flips.segments(DATA.train_y, DATA.test_y, DATA.classes, seed=0)).train_stream


@pytest.fixture(autouse=True)
def in_order_and_in_double(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(BatchLoader, "order", lambda self, epoch: torch.arange(len(self.experience.labels)))
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def ours(strategy: type[Naive], experiences: int, **options: Any) -> Naive:
    training = build(strategy, model(), sgd, batch_size=BATCH, **options)
    for experience in stream(experiences):
        training.train(experience, eval_streams=[])
    return training


def theirs(plugin: Any, experiences: int) -> Any:
    network = model()
    training = AvalanchesNaive(
        model=network,
        optimizer=sgd(network.parameters()),
        train_mb_size=BATCH,
        train_epochs=1,
        plugins=[plugin],
        evaluator=EvaluationPlugin(loggers=[Silent()]),
    )
    # Avalanche calls what it and NumPy have deprecated, and has the former said whatever the filter.
    with warnings.catch_warnings(record=True), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        for experience in stream(experiences):
            experience.__dict__["dataset"] = as_taskaware_classification_dataset(experience.dataset)  # for LwF
            training.train(experience, eval_streams=[], shuffle=False)
    return training


CASES = {
    "ewc": (EWC, {"strength": 64.0}, lambda: EWCPlugin(64.0), 3),
    "ewc[decay]": (EWC, {"strength": 64.0, "decay": 0.5}, lambda: EWCPlugin(64.0, "online", 0.5), 3),
    "mas": (MAS, {"strength": 0.5, "alpha": 0.25}, lambda: MASPlugin(0.5, 0.25), 3),
    "si": (SI, {"strength": 4000.0, "damping": 50.0}, lambda: SynapticIntelligencePlugin(8000.0, eps=50.0), 2),
    "lwf": (LwF, {"strength": 2.0, "temperature": 3.0}, lambda: LwFPlugin(2.0, 3.0), 3),
    "a_gem": (AGEM, {"memory": 40, "memory_batch": 40}, lambda: AGEMPlugin(40, 40), 2),
    "replay": (Replay, {"memory": 40, "memory_batch": 40}, lambda: ReplayPlugin(40, batch_size_mem=40), 2),
}
"""Where Avalanche draws examples at random, the memory and its share of a mini-batch are all there are."""


@pytest.mark.parametrize("case", CASES)
def test_weights_are_those_of_avalanches_plugin(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SynapticIntelligencePlugin, "extract_weights", copy_weights)
    strategy, options, plugin, experiences = CASES[case]
    found = weights(ours(strategy, experiences, **options).model)
    torch.testing.assert_close(found, weights(theirs(plugin(), experiences).model), rtol=1e-10, atol=1e-12)
    assert (found - weights(ours(Naive, experiences).model)).abs().max() > 1e-4, "the strategy does nothing here"


def test_importance_of_si_is_that_of_avalanches_plugin_where_the_penalty_is_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(SynapticIntelligencePlugin, "extract_weights", copy_weights)
    plugin = SynapticIntelligencePlugin(0.0, eps=50.0)
    theirs(plugin, 3)
    importance = torch.cat([omega.flatten() for omega in ours(SI, 3, strength=0.0, damping=50.0).importance])
    expected = torch.cat([omega.data for omega in plugin.ewc_data[1].values()])
    assert importance.max() > 1e-5
    torch.testing.assert_close(importance, expected.clamp(min=0), rtol=1e-8, atol=1e-9)


def test_avalanches_own_si_does_nothing_on_a_cpu() -> None:
    plugin = SynapticIntelligencePlugin(1000.0)
    assert torch.equal(weights(theirs(plugin, 2).model), weights(ours(Naive, 2).model))
