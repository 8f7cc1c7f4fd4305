"""What is measured, when, and that it leaves no trace in training."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tamcl import diagnostics
from tamcl.diagnostics import DIAGNOSTICS, FRACTIONS, Diagnostic, DiagnosticsCollector, Update
from tamcl.errors import InputError
from tamcl.models import Classifier
from tamcl.models.classifier import build_classifier
from tamcl.optim import TAM
from tamcl.registry import lookup, signature
from tamcl.strategies import Naive, TrainingSettings
from tamcl.streams import TaskShift
from tamcl.streams.benchmark import build_benchmark
from tests.diagnostics.helpers import DATA, measured, model, train, values
from tests.helpers import noise_segments

ARMS = {
    "sgd": ("sgd", {"momentum": 0.9}),
    "tam": ("tam", {}),
    "tam[tensor]": ("tam", {"granularity": "tensor"}),
    "tam[frozen]": ("tam", {"damping": 0.5}),
    "adam": ("adam", {}),
    "adam_cm": ("adam_cm", {"lr": 0.005}),
    "sgd_cm": ("sgd_cm", {"capacity": 2}),
    "sam": ("sam", {"base": "adam_cm", "lr": 0.005}),
    "lookahead": ("lookahead", {"base": "tam"}),
    "switch": ("switch", {"at": 5}),
}

ANY = {"gradient_norm", "update_norm", "update_per_gradient", "distance_from_init", "effective_lr"} | {
    "hessian_top", "sam_sharpness", "sample_plasticity", "zero_outputs", "dead_units", "dormant_units",
    "effective_rank", "approximate_rank", "stable_rank",
}  # fmt: skip
"""Diagnostics that every optimizer has."""

TORQUE = {"cosine", "smoothed_cosine", "damping"}
BUFFER = {"buffer_occupancy", "buffer_age", "buffer_priority", "buffer_accepted", "buffer_cosine"}
ANGLE = {"momentum_gradient_cosine"}


class Noisy(nn.Module):
    """A body whose batch norm counts and whose dropout draws; it draws even in evaluation mode."""

    features = 6

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.3))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x + 0.01 * torch.rand_like(x))


def noisy_model() -> Classifier:
    return Classifier(Noisy(), model().head.__class__(6, 10, {0: tuple(range(10))}))


def everything_after(strategy: Naive) -> list[Any]:
    """Weights, buffers, optimizer state and the state of every global generator."""
    state = strategy.optimizer.state_dict()["state"]
    flat = [value for entries in state.values() for _, value in sorted(entries.items())]
    generators = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    return [*strategy.model.state_dict().values(), *flat, *generators]


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("make", [model, noisy_model])
def test_training_is_bitwise_the_same_with_every_diagnostic_on(arm: str, make: Any) -> None:
    name, options = ARMS[arm]
    results = []
    for plugins in ([], [DiagnosticsCollector(list(DIAGNOSTICS), samples=30)]):
        torch.manual_seed(2)
        network = make()
        for _ in range(2 if make is noisy_model else 1):  # again with the other seed inside: nothing is left behind
            strategy = train(name, plugins=plugins, network=network, **options)
        results.append(everything_after(strategy))
        assert all(module.training for module in network.modules())
        assert not any(module._forward_hooks for module in network.modules())
    assert len(results[0]) == len(results[1])
    for without, with_it in zip(*results, strict=True):
        assert torch.equal(without, with_it) if isinstance(without, Tensor) else without == with_it


@pytest.mark.parametrize(
    ("arm", "more"),
    [
        ("sgd", ANGLE),
        ("tam", ANGLE | TORQUE),
        ("tam[tensor]", ANGLE | TORQUE),
        ("tam[frozen]", ANGLE | {"damping"}),
        ("adam", ANGLE),
        ("adam_cm", ANGLE | BUFFER),
        ("sgd_cm", ANGLE | BUFFER),
        ("sam", ANGLE | BUFFER),
        ("lookahead", ANGLE | TORQUE),
        ("switch", ANGLE | TORQUE),
    ],
)
def test_an_optimizer_has_rows_of_what_it_has_and_no_others(arm: str, more: set[str]) -> None:
    name, options = ARMS[arm]
    rows, _, strategy = measured(name, *DIAGNOSTICS, **options)
    assert set(rows["diagnostic"]) == ANY | more
    assert not rows.duplicated(["experience", "step", "diagnostic", "tensor"]).any()
    assert np.isfinite(rows["value"]).all()
    assert set(rows["tensor"]) - {""} - {n for n, _ in strategy.model.named_parameters()} == {
        "body.layers.1.1",
        "body.layers.2.1",
    }
    assert (rows.groupby("diagnostic")["tensor"].agg(lambda tensors: "" in set(tensors))).all()
    shares = rows[rows["diagnostic"].isin(FRACTIONS)]["value"]
    assert shares.between(0, 1).all()


def test_every_diagnostic_is_seen_in_some_arm_above() -> None:
    assert set(DIAGNOSTICS) == ANY | TORQUE | BUFFER | ANGLE
    assert set(DIAGNOSTICS) > FRACTIONS


def test_an_optimizer_nobody_knows_has_what_needs_no_knowledge() -> None:
    collector = DiagnosticsCollector(list(DIAGNOSTICS), every=5)
    strategy = Naive(model=model(), make_optimizer=_Odd, settings=TrainingSettings(plugins=[collector]))
    _train_on(strategy)
    assert set(collector.rows()["diagnostic"]) == ANY


class _Odd(torch.optim.Optimizer):
    """Keeps nothing, or things of any kind under names of its own."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 0.01})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for param in group["params"]:
                param -= 0.01 * param.grad.sign()
                self.state[param]["notes"] = {"momentum": [1, 2]}


def test_updates_are_counted_from_each_shift() -> None:
    rows, _, _ = measured("sgd", "update_norm", every=4, experiences=3)
    steps = rows[rows["tensor"] == ""]
    assert steps["step"].tolist() == [0, 4, 8, 10, 14, 18, 20, 24, 28]
    assert steps["experience"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    rows, _, _ = measured("sgd", "update_norm", every=100, experiences=3)
    assert rows["step"].unique().tolist() == [0, 10, 20]


class Calls(Diagnostic):
    """Counts what it is asked for."""

    def __init__(self, *, factor: float = 1.0) -> None:
        self.calls: list[str] = []
        self.factor = factor

    def prepare(self, update: Update) -> None:
        self.calls.append("prepare")
        self.before = update.strategy.model.head.linear.bias[0].item()

    def measure(self, update: Update) -> Iterable[tuple[str, float]]:
        self.calls.append("measure")
        assert self.before != update.strategy.model.head.linear.bias[0].item()
        return [("", self.factor * len(self.calls))]


def test_between_measurements_nothing_is_asked() -> None:
    collector = DiagnosticsCollector([f"{__name__}:Calls"], every=4, options={f"{__name__}:Calls": {"factor": 10}})
    train("sgd", plugins=[collector])
    [diagnostic] = collector._diagnostics.values()
    assert diagnostic.calls == ["prepare", "measure"] * 6
    assert collector._observing == []
    rows = collector.rows()
    assert rows["value"].tolist() == [20, 40, 60, 80, 100, 120]
    assert set(rows["diagnostic"]) == {f"{__name__}:Calls"}
    assert 0 < collector.seconds < 10


def test_the_table_of_a_run_without_updates_has_its_columns() -> None:
    rows = DiagnosticsCollector(["update_norm"]).rows()
    assert list(rows.columns) == ["experience", "step", "diagnostic", "tensor", "value"]
    assert rows.empty


@pytest.mark.parametrize(
    ("names", "settings", "message"),
    [
        (["dampin"], {}, "unknown diagnostic 'dampin': did you mean 'damping'?"),
        (["damping"], {"every": 0}, "diagnostics.every = 0: must be at least 1"),
        (["damping"], {"samples": 0}, "diagnostics.samples = 0: must be at least 1"),
        (["torch.nn:ReLU"], {}, "diagnostic 'torch.nn:ReLU': is no tamcl.diagnostics.Diagnostic"),
        (
            ["damping"],
            {"options": {"damping": {"tau": 1}}},
            "diagnostics.options.damping: Damping() takes no arguments",
        ),
        (["dormant_units"], {"options": {"dormant_units": {"tau": -1}}}, "tau = -1: must be at least 0"),
        (["sam_sharpness"], {"options": {"sam_sharpness": {"rho": -1}}}, "rho = -1: must be at least 0"),
        (["hessian_top"], {"options": {"hessian_top": {"iterations": 0}}}, "iterations = 0: must be at least 1"),
        (["stable_rank"], {"options": {"stable_rank": {"share": 0}}}, "share = 0: must be above 0 and at most 1"),
    ],
)
def test_mistakes_are_said(names: list[str], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        DiagnosticsCollector(names, **settings)
    assert message in str(error.value)


@pytest.mark.parametrize("head", ["masked", "multi"])
def test_heads_that_know_tasks_are_measured_on_their_task(head: str) -> None:
    stream = TaskShift(name="task_shift", dataset="noise", experiences=2, setting="task_incremental")
    parts = stream.segments(DATA.train_y, DATA.test_y, DATA.classes, seed=0)
    tasks = {segment.task: segment.classes for segment in parts}
    network = build_classifier("mlp", head, {"hidden": [8]}, shape=(1, 4, 4), classes=10, tasks=tasks, seed=0)
    collector = DiagnosticsCollector(list(DIAGNOSTICS), every=1)
    strategy = Naive(
        model=network,
        make_optimizer=lambda parameters: TAM(parameters, lr=0.05, granularity="tensor"),
        settings=TrainingSettings(plugins=[collector]),
    )
    for experience in build_benchmark(DATA, parts).train_stream:
        strategy.train(experience, eval_streams=[])
    rows = collector.rows()
    assert np.isfinite(rows["value"]).all()
    if head == "multi":
        for name, absent in (("head.linears.0.weight", 1), ("head.linears.1.weight", 0)):
            of_tensor = rows[rows["tensor"] == name]
            for diagnostic in ("gradient_norm", "damping", "momentum_gradient_cosine"):
                assert set(of_tensor[of_tensor["diagnostic"] == diagnostic]["experience"]) == {1 - absent}
            assert set(of_tensor[of_tensor["diagnostic"] == "update_norm"]["experience"]) == {0, 1}


def test_an_optimizer_made_anew_at_a_boundary_is_followed() -> None:
    rows, watch, strategy = measured("tam", "damping", "distance_from_init", optimizer_state="reset")
    assert values(rows, "damping")[10] == 1.0
    moved = [param.detach().numpy() - watch.weights[0][name] for name, param in strategy.model.named_parameters()]
    expected = np.sqrt(sum((part**2).sum() for part in moved))
    assert values(rows, "distance_from_init")[19] == pytest.approx(expected, rel=1e-6)


def test_a_model_that_has_diverged_gives_rows_and_no_error() -> None:
    rows, _, _ = measured("sgd", *DIAGNOSTICS, lr=1e30, momentum=0.9)
    last = rows[(rows["step"] == 19) & (rows["tensor"] == "")].set_index("diagnostic")["value"]
    for name in ("update_norm", "hessian_top", "sam_sharpness", "effective_rank", "stable_rank", "approximate_rank"):
        assert np.isnan(last[name]), name


def test_public_names_are_there_and_importing_the_table_imports_nothing_heavy() -> None:
    for name in diagnostics.__all__:
        assert getattr(diagnostics, name) is not None
    for path in DIAGNOSTICS.values():
        assert getattr(diagnostics, path.partition(":")[2]).__doc__
    with pytest.raises(AttributeError):
        diagnostics.no_such_name  # noqa: B018
    code = "import sys, tamcl.diagnostics as d; assert not {'torch', 'avalanche', 'pandas'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", DIAGNOSTICS)
def test_every_diagnostic_says_what_it_is(name: str) -> None:
    assert issubclass(lookup(DIAGNOSTICS, name), Diagnostic)
    summary = signature(DIAGNOSTICS.path(name)).summary
    assert summary.endswith(".")
    assert len(summary) < 110


def _train_on(strategy: Naive) -> None:
    for experience in build_benchmark(DATA, noise_segments(DATA)).train_stream:
        strategy.train(experience, eval_streams=[])
