"""How much longer training takes with diagnostics on: prints ratios, fails above a limit."""

from __future__ import annotations

import time
from statistics import median

import pytest
import torch

from tamcl.diagnostics import DIAGNOSTICS, DiagnosticsCollector
from tamcl.models.classifier import build_classifier
from tamcl.optim import AdamCM
from tamcl.strategies import Naive, TrainingSettings
from tamcl.streams.benchmark import build_benchmark
from tamcl.training.collectors import OnlineCollector
from tests.helpers import noise_data, noise_segments

STEPS, ROUNDS = 200, 5

OF_THE_OPTIMIZER = [path for path in DIAGNOSTICS if path.startswith(("buffer", "momentum", "update", "gradient"))]
OF_THE_MODEL = ["sam_sharpness", "zero_outputs", "dead_units", "dormant_units", "effective_rank", "stable_rank"]


@pytest.mark.parametrize(
    ("names", "every", "limit"),
    [(OF_THE_OPTIMIZER, STEPS, 1.25), (OF_THE_OPTIMIZER, 10, 2.0), (OF_THE_MODEL, 100, 2.0)],
)
def test_training_takes_little_longer(names: list[str], every: int, limit: float) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    data = noise_data(samples=10 * STEPS, shape=(1, 28, 28))
    experience = build_benchmark(data, noise_segments(data, experiences=1)).train_stream[0]
    tasks = {0: tuple(range(10))}
    times: dict[bool, list[float]] = {False: [], True: []}
    for seed in range(ROUNDS):
        for on, seconds in times.items():
            strategy = Naive(
                model=build_classifier("mlp", "single", {}, shape=(1, 28, 28), classes=10, tasks=tasks, seed=seed),
                make_optimizer=lambda parameters: AdamCM(parameters, lr=1e-3),
                settings=TrainingSettings(
                    plugins=[OnlineCollector(), *([DiagnosticsCollector(names, every=every)] if on else [])]
                ),
            )
            start = time.process_time()
            strategy.train(experience, eval_streams=[])
            seconds.append(time.process_time() - start)
    torch.set_num_threads(threads)
    ratio = median(with_it / without for without, with_it in zip(*times.values(), strict=True))
    print(f"\n{len(names)} diagnostics every {every}: {ratio:.2f} x training without them (limit {limit})")
    assert ratio < limit
