"""How fast runs are trained stacked, beside Avalanche's own Naive and beside one by one: prints tables of ratios.

Run it as ``python -m tests.benchmarks.bench_stacks``: some minutes, and less with ``--quick``. Everything is timed in
one process with one thread, the ways in turn, by the processor's time; a figure is the best of the rounds, since what
other work on the machine adds is in none. All train the MLP 784-100-100-10 on the same tensors. What compiling took is
printed, and is in no figure; empty torch's cache of graphs (``TORCHINDUCTOR_CACHE_DIR``) to see it cold.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from tamcl.avalanche import AvalancheDataset
from tamcl.models.classifier import Classifier, build_classifier
from tamcl.optim import TAM, AdamCM
from tamcl.strategies import Naive, TrainingSettings
from tamcl.strategies.compiled import COMPILING, Compiled
from tamcl.strategies.stacked import ExperienceStack, Stacked
from tamcl.streams.benchmark import build_benchmark
from tamcl.training.collectors import OnlineCollector
from tests.helpers import noise_data, noise_segments

OPTIMIZERS: dict[str, Callable[[Iterable[Tensor]], Optimizer]] = {
    "sgd": lambda params: SGD(params, lr=0.01, momentum=0.9),
    "tam": lambda params: TAM(params, lr=0.01),
    "adam": lambda params: Adam(params, lr=1e-3),
    "adam_cm": lambda params: AdamCM(params, lr=1e-4),
}
STACKED = OPTIMIZERS | {
    "sgd": lambda params: SGD(params, lr=0.01, momentum=0.9, fused=True),
    "adam": lambda params: Adam(params, lr=1e-3, fused=True),
}
"""As a study makes them in a stack."""

GOALS = {"sgd": 4.5, "tam": 4.5, "adam": 3.5, "adam_cm": 3.0}
"""Samples a second of a run, by those of Avalanche's Naive, of the best stack at batch 10."""

COMPILED_GOALS = {"sgd": 6.5, "tam": 6.5, "adam": 6.5, "adam_cm": 5.0}
"""The same of stacks whose step is one compiled graph."""


COMPILED_COUNTS = [4, 8]
"""Places of a compiled graph: 8 is what a study takes of this model."""


def build(seed: int) -> Classifier:
    return build_classifier("mlp", "single", {}, shape=(1, 28, 28), classes=10, tasks={0: tuple(range(10))}, seed=seed)


def benchmark_of(samples: int) -> Any:
    data = noise_data(samples=samples, shape=(1, 28, 28))
    return build_benchmark(data, noise_segments(data, experiences=1))


def settings(batch_size: int, seed: int = 0) -> TrainingSettings:
    return TrainingSettings(batch_size=batch_size, seed=seed, plugins=[OnlineCollector()])


def avalanches(name: str, batch_size: int, samples: int) -> Callable[[], object]:
    """Avalanche's own strategy on tensors in memory, with the accuracy of every mini-batch."""
    from avalanche.benchmarks import benchmark_from_datasets
    from avalanche.benchmarks.utils import DataAttribute, TaskLabels
    from avalanche.evaluation.metrics import accuracy_metrics, loss_metrics
    from avalanche.training import Naive as AvalanchesNaive
    from avalanche.training.plugins import EvaluationPlugin
    from torch.utils.data import TensorDataset

    experience = benchmark_of(samples).train_stream[0]
    images = experience.inputs.batch(experience.index)
    data = AvalancheDataset(
        [TensorDataset(images, experience.labels)],
        data_attributes=[
            DataAttribute(experience.labels.tolist(), "targets"),
            TaskLabels([0] * len(experience.labels)),
        ],
    )
    stream = benchmark_from_datasets(train=[data]).train_stream
    model = build(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metrics = [accuracy_metrics(minibatch=True), loss_metrics(minibatch=True)]
        strategy = AvalanchesNaive(
            model=model,
            optimizer=OPTIMIZERS[name](model.parameters()),
            criterion=nn.CrossEntropyLoss(),
            train_mb_size=batch_size,
            evaluator=EvaluationPlugin(*metrics, loggers=[]),
        )
    return lambda: strategy.train(stream[0], eval_streams=[], num_workers=0)


def single(name: str, batch_size: int, samples: int) -> Callable[[], object]:
    strategy = Naive(model=build(0), make_optimizer=OPTIMIZERS[name], settings=settings(batch_size))
    experience = benchmark_of(samples).train_stream[0]
    return lambda: strategy.train(experience, eval_streams=[])


def stacked(name: str, batch_size: int, samples: int, count: int) -> Callable[[], object]:
    runs = [
        Naive(model=build(seed), make_optimizer=STACKED[name], settings=settings(batch_size, seed))
        for seed in range(count)
    ]
    strategy = Stacked(runs=runs, draws_in_steps=False)
    experience = benchmark_of(samples).train_stream[0]
    return lambda: strategy.train(ExperienceStack([experience] * count), eval_streams=[])


def compiled(name: str, batch_size: int, samples: int, count: int) -> Callable[[], object]:
    runs = [
        Naive(model=build(seed), make_optimizer=STACKED[name], settings=settings(batch_size, seed))
        for seed in range(count)
    ]
    strategy = Compiled(optimizer=name, places=count, runs=runs, draws_in_steps=False)
    experience = benchmark_of(samples).train_stream[0]
    return lambda: strategy.train(ExperienceStack([experience] * count), eval_streams=[])


def seconds(train: Callable[[], object]) -> float:
    before = time.process_time()
    train()
    return time.process_time() - before


def measure(name: str, batch_size: int, steps: int, counts: list[int], rounds: int) -> None:
    """Print a line for each size of a stack: samples a second of all its runs, and by those of the others."""
    samples = steps * batch_size
    ways: dict[str, tuple[int, Callable[[], object]]] = {
        "Avalanche": (1, avalanches(name, batch_size, samples)),
        "single": (1, single(name, batch_size, samples)),
    }
    ways |= {f"R = {count}": (count, stacked(name, batch_size, samples, count)) for count in counts}
    ways |= {f"R = {count} compiled": (count, compiled(name, batch_size, samples, count)) for count in COMPILED_COUNTS}
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for way, (count, train) in ways.items():
            best[way] = min(best[way], seconds(train) / count)
    for way, each in best.items():
        by_avalanche, by_single = best["Avalanche"] / each, best["single"] / each
        print(
            f"{name:8} batch {batch_size:3} {way:14} {samples / each / 1000:7.1f} thousand samples/s a core"
            f" {by_avalanche:6.2f} x Avalanche {by_single:6.2f} x single",
            flush=True,
        )
    took = ", ".join(f"{each:.1f} s" for each in COMPILING[-len(COMPILED_COUNTS) :])
    print(f"{name:8} batch {batch_size:3} to compile: {took}")
    if batch_size == 10:
        eager = [f"R = {count}" for count in counts]
        for words, goal, among in (
            ("", GOALS[name], eager),
            ("compiled ", COMPILED_GOALS[name], [way for way in ways if way.endswith("compiled")]),
        ):
            reached = best["Avalanche"] / min(best[way] for way in among)
            print(f"{name:8} {words}best {reached:.2f}, goal {goal}{'' if reached >= goal else ': missed'}")


def memory(counts: list[int]) -> None:
    """Print what a run more takes of memory, with SGD with momentum."""
    held = []
    stacked("sgd", 10, 1000, 1)()  # what a process needs once
    for count in counts:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        train = stacked("sgd", 10, 1000, count)
        train()
        held.append((count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
    for count, kilobytes in held:
        print(f"memory    R = {count}: grew by {kilobytes / 1024:.1f} MB, {kilobytes / 1024 / count:.2f} a run")


def ceiling(rounds: int) -> float:
    """Return the floating-point operations a second of a large product."""
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    best = min(seconds(lambda: [a @ b for _ in range(10)]) for _ in range(rounds))
    return 10 * 2 * 1024**3 / best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and sizes")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    memory([8, 32])
    counts, rounds = ([1, 8], 3) if quick else ([1, 4, 8, 16, 32], 5)
    for batch_size, steps in ((10, 200), (1, 200)):
        for name in OPTIMIZERS:
            measure(name, batch_size, steps, counts, rounds)
    train = stacked("sgd", 10, 2000, 8)
    took = min(seconds(train) for _ in range(rounds))
    weights = 784 * 100 + 100 * 100 + 100 * 10
    products = 8 * 200 * 10 * 2 * (3 * weights - 784 * 100)  # the first layer's inputs need no gradient
    print(f"sgd      R = 8 does {products / took / ceiling(rounds):.0%} of the operations a second of a large product")


if __name__ == "__main__":
    main()
