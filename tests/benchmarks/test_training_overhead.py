"""How much longer training takes than a bare loop that does the same updates: prints ratios, fails above a limit."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn

from tamcl.models.classifier import build_classifier
from tamcl.strategies import Naive, TrainingSettings
from tamcl.streams.benchmark import build_benchmark
from tamcl.training.collectors import OnlineCollector
from tests.helpers import noise_data, noise_segments

ROUNDS = 7


def bare_loop(model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor, size: int) -> None:
    criterion = nn.CrossEntropyLoss()
    for rows in torch.randperm(len(y)).split(size):
        optimizer.zero_grad()
        criterion(model(x.index_select(0, rows)), y[rows]).backward()
        optimizer.step()


@pytest.mark.parametrize(("batch_size", "online", "limit"), [(10, True, 1.5), (10, False, 1.5), (128, True, 1.25)])
def test_training_takes_little_longer_than_a_bare_loop(batch_size: int, online: bool, limit: float) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    data = noise_data(samples=batch_size * 200, shape=(1, 28, 28))
    benchmark = build_benchmark(data, noise_segments(data, experiences=1))
    experience = benchmark.train_stream[0]
    x, y = experience.inputs.batch(experience.index), experience.labels
    times: dict[str, list[float]] = {"bare": [], "tamcl": []}
    for seed in range(ROUNDS):
        for kind, seconds in times.items():
            model = build_classifier(
                "mlp", "single", {}, shape=(1, 28, 28), classes=10, tasks={0: tuple(range(10))}, seed=seed
            )
            if kind == "bare":
                optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
                start = time.perf_counter()
                bare_loop(model, optimizer, x, y, batch_size)
            else:
                strategy = Naive(
                    model=model,
                    make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9),
                    settings=TrainingSettings(batch_size=batch_size, plugins=[OnlineCollector()] if online else []),
                )
                start = time.perf_counter()
                strategy.train(experience, eval_streams=[])
            seconds.append(time.perf_counter() - start)
    torch.set_num_threads(threads)
    ratio = min(times["tamcl"]) / min(times["bare"])  # what other work on the machine adds is in neither of the two
    print(f"\nbatch {batch_size}, online rows {'on' if online else 'off'}: {ratio:.2f} x a bare loop (limit {limit})")
    assert ratio < limit
