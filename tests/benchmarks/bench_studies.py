"""How long a whole study takes beside the same cells through Avalanche one by one, and a test of a model.

Run it as ``python -m tests.benchmarks.bench_studies``: some minutes, and less with ``--quick``. Studies are run from
the command line with two jobs, start-up, tests and report included; MNIST is read from ``$TAMCL_DATA_DIR``, and noise
stands in for it where there is none. Avalanche trains in this process, with its data already loaded: some cells of each
arm, which stand for all of them.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from tamcl.avalanche import AvalancheDataset
from tamcl.data import DataSet
from tamcl.results import load_results
from tamcl.scenario.load import load_scenario
from tamcl.scenario.schema import Scenario
from tamcl.strategies.evaluation import evaluate
from tamcl.streams.benchmark import Experience, build_benchmark
from tamcl.training.build import build_model, load_data, make_optimizer, plan
from tamcl.training.resources import Resources
from tests.data.layouts import idx

JOBS = 2
WHOLE_STUDY, ONE_TEST = 10.0, 15.0
"""Goals: times Avalanche's wall-clock time, and times its processor's time at 256 images a mini-batch."""


class Seconds(NamedTuple):
    """What something took, by the clock, and of all processors."""

    wall: float
    cpu: float

    @classmethod
    def of(cls, call: Callable[[], object], who: int) -> Seconds:
        """Measure a call of this process (``RUSAGE_SELF``), or of those that it starts (``RUSAGE_CHILDREN``)."""
        wall, before = time.perf_counter(), resource.getrusage(who)
        call()
        after = resource.getrusage(who)
        return cls(time.perf_counter() - wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def as_avalanches(experience: Experience) -> AvalancheDataset:
    """Return an experience's data as Avalanche takes them, as tensors in memory."""
    from avalanche.benchmarks.utils import DataAttribute, TaskLabels
    from torch.utils.data import TensorDataset

    labels = experience.labels.tolist()
    return AvalancheDataset(
        [TensorDataset(experience.inputs.batch(experience.index), experience.labels)],
        data_attributes=[DataAttribute(labels, "targets"), TaskLabels([0] * len(labels))],
    )


def avalanches(
    scenario: Scenario, arm: str, lr: float, seed: int, data: DataSet, mb_size: int = 256
) -> tuple[Any, Any]:
    """Return Avalanche's own strategy, with accuracy and loss of every mini-batch, and its benchmark of a cell."""
    from avalanche.benchmarks import benchmark_from_datasets
    from avalanche.evaluation.metrics import accuracy_metrics, loss_metrics
    from avalanche.training import Naive
    from avalanche.training.plugins import EvaluationPlugin

    segments = plan(scenario, data, seed)
    ours = build_benchmark(data, segments)
    streams = {"train": ours.train_stream, "test": ours.test_stream}
    benchmark = benchmark_from_datasets(**{name: [as_avalanches(each) for each in s] for name, s in streams.items()})
    model, config = build_model(scenario, data, segments, seed), scenario.arms[arm]
    metrics = [accuracy_metrics(minibatch=True, stream=True), loss_metrics(minibatch=True)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        strategy = Naive(
            model=model,
            optimizer=make_optimizer(config.optimizer, model.parameters(), {"lr": lr} | config.options, arm),
            criterion=nn.CrossEntropyLoss(),
            train_mb_size=scenario.stream.batch_size,
            train_epochs=scenario.stream.epochs,
            eval_mb_size=mb_size,
            evaluator=EvaluationPlugin(*metrics, loggers=[]),
        )
    return strategy, benchmark


def train_by_avalanche(scenario: Scenario, arm: str, lr: float, seed: int, data: DataSet) -> None:
    strategy, benchmark = avalanches(scenario, arm, lr, seed, data)
    for experience in benchmark.train_stream:
        strategy.train(experience, eval_streams=[], num_workers=0)
        strategy.eval(benchmark.test_stream, num_workers=0)


def compare(name: str, settings: Sequence[str], root: Path, samples: int) -> None:
    """Print what a study took, and what its cells would have taken."""
    with tempfile.TemporaryDirectory() as out:
        given = [option for setting in settings for option in ("--set", setting)]
        command = [sys.executable, "-m", "tamcl.cli", "compare", name, *given, "--out", out, "--jobs", str(JOBS)]
        environment = os.environ | {"TAMCL_DATA_DIR": str(root), "OMP_NUM_THREADS": "1"}

        def study() -> None:
            subprocess.run([*command, "--allow-subset"], env=environment, check=True, capture_output=True)

        ours = Seconds.of(study, resource.RUSAGE_CHILDREN)
        report = Seconds.of(
            lambda: subprocess.run([*command[:3], "report", out], check=True, capture_output=True),
            resource.RUSAGE_CHILDREN,
        )
        cells = load_results(out).runs.groupby("arm").size()
    scenario = load_scenario(name, settings)
    data = load_data(scenario.stream.dataset, Resources(data_dir=root, allow_subset=True))
    theirs = []
    for arm, config in scenario.arms.items():
        lr = sorted(config.lr)[len(config.lr) // 2]
        each = [
            Seconds.of(
                lambda arm=arm, lr=lr, seed=seed: train_by_avalanche(scenario, arm, lr, seed, data),
                resource.RUSAGE_SELF,
            )  # type: ignore[misc]
            for seed in range(samples)
        ]
        theirs.append(Seconds(*(cells[arm] * mean(values) for values in zip(*each, strict=True))))
        print(f"  {arm:12} a cell of Avalanche's {theirs[-1].cpu / cells[arm]:6.2f} s of CPU time", flush=True)
    stock = Seconds(*map(sum, zip(*theirs, strict=True)))
    print(f"{name} {' '.join(settings)}: {cells.sum()} cells, --jobs {JOBS}; seconds (of CPU time)")
    print(f"  tamcl compare     {ours.wall:7.1f} ({ours.cpu:.1f}), of which a report by itself takes {report.cpu:.1f}")
    print(f"  Avalanche's cells {stock.wall:7.1f} ({stock.cpu:.1f}), one by one, from {samples} of each arm")
    reached = stock.wall / ours.wall
    missed = "" if reached >= WHOLE_STUDY else ": missed"
    print(f"  {reached:.1f} x by the clock, goal {WHOLE_STUDY:g}{missed}; {stock.cpu / ours.cpu:.1f} x of CPU time")


def stand_in(root: Path) -> None:
    """Write noise in the form of MNIST: an image a class, each with noise of its own, which a model can learn."""
    rng = np.random.default_rng(0)
    raw, means = root / "MNIST" / "raw", rng.integers(0, 256, (10, 28, 28))
    raw.mkdir(parents=True)
    for part, count in (("train", 20_000), ("t10k", 2_000)):
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        images = (means[labels] // 2 + rng.integers(0, 128, (count, 28, 28))).astype(np.uint8)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))


def tests(name: str, settings: Sequence[str], root: Path, rounds: int) -> None:
    """Print what a test of a model on all experiences takes: thousands of images a second of one core."""
    scenario = load_scenario(name, settings)
    data = load_data(scenario.stream.dataset, Resources(data_dir=root, allow_subset=True))
    segments = plan(scenario, data, 0)
    images = sum(len(segment.test_index) for segment in segments)
    stream, model = build_benchmark(data, segments).test_stream, build_model(scenario, data, segments, 0)
    ways: dict[str, Callable[[], object]] = {"tamcl": lambda: evaluate(model, stream, torch.device("cpu"))}
    for mb_size in (256, 1):
        strategy, benchmark = avalanches(scenario, "sgdm", 0.1, 0, data, mb_size)
        ways[f"Avalanche, {mb_size} at once"] = lambda strategy=strategy, benchmark=benchmark: strategy.eval(  # type: ignore[misc]
            benchmark.test_stream, num_workers=0
        )
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for way, test in ways.items():
            best[way] = min(best[way], Seconds.of(test, resource.RUSAGE_SELF).cpu)
    print(f"test of {name}, {len(segments)} experiences of {len(segments[0].test_index)} images, as tensors in memory")
    for way, took in best.items():
        print(f"  {way:22} {images / took / 1000:8.1f} thousand images/s, tamcl {took / best['tamcl']:.1f} x as fast")
    reached = best["Avalanche, 256 at once"] / best["tamcl"]
    print(f"  {reached:.1f} x, goal {ONE_TEST:g}{'' if reached >= ONE_TEST else ': missed'}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the cells, and two instead of four of Avalanche"
    )
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(os.environ.get("TAMCL_DATA_DIR", folder))
        if not (root / "MNIST").is_dir():
            root = Path(folder)
            stand_in(root)
        print("MNIST is noise in its form" if root == Path(folder) else "MNIST is that of $TAMCL_DATA_DIR")
        few = ["protocol.seeds=2", "protocol.tune_seeds=1"] if quick else []
        shortened = ["stream.experiences=6", "stream.samples=1000", "evaluation.samples=300"]
        mlp = ["model.hidden=[100, 100]", "stream.experiences=10", "stream.samples=10", "evaluation.samples=1000"]
        for name in ("label_flip_mnist", "permuted_mnist"):
            tests(name, mlp, root, 3)
        compare("label_flip_digits", few, root, 2 if quick else 4)
        compare("label_flip_mnist", [*shortened, *(few or ["protocol.seeds=5", "protocol.tune_seeds=2"])], root, 2)


if __name__ == "__main__":
    main()
