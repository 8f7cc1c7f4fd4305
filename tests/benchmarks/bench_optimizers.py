"""How long our optimizers take beside torch's: prints a table of ratios, each with its goal.

Run it as ``python -m tests.benchmarks.bench_optimizers``: it takes some minutes, and less with ``--quick``. Everything
is timed in one process with one thread, the optimizers in turn, by the processor's time, on gradients that stay as they
are. A ratio is the median over fresh optimizers, since where tensors lie in memory makes some percent of difference.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time
from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from tamcl.optim import TAM, AdamCM, AdaTAM

Step = Callable[[], object]
Maker = Callable[[Iterable[Tensor]], Optimizer]

OPTIMIZERS: dict[str, Maker] = {
    "SGD foreach": lambda params: SGD(params, lr=1e-6, momentum=0.9, foreach=True),
    "SGD fused": lambda params: SGD(params, lr=1e-6, momentum=0.9, fused=True),
    "Adam foreach": lambda params: Adam(params, lr=1e-6, foreach=True),
    "Adam fused": lambda params: Adam(params, lr=1e-6, fused=True),
    "TAM": lambda params: TAM(params, lr=1e-6),
    "TAM, a cosine a tensor": lambda params: TAM(params, lr=1e-6, granularity="tensor"),
    "AdaTAM": lambda params: AdaTAM(params, lr=1e-6),
    "AdamCM 5": lambda params: AdamCM(params, lr=1e-6),
    "AdamCM 20": lambda params: AdamCM(params, lr=1e-6, capacity=20),
}

if importlib.util.find_spec("pytorch_optimizer"):
    OPTIMIZERS["their TAM"] = lambda params: _theirs("TAM")(params, lr=1e-6)
    OPTIMIZERS["their AdaTAM"] = lambda params: _theirs("AdaTAM")(params, lr=1e-6)


class Goal(NamedTuple):
    """A ratio of times and what it should be at most: for the MLP, ResNet-18 and ViT-tiny."""

    ours: str
    other: str
    most: tuple[float | None, float | None, float | None] = (None, None, None)


GOALS = [
    Goal("TAM", "SGD foreach", (1.40, 1.20, 1.25)),
    Goal("TAM", "SGD fused", (2.20, 1.85, 1.95)),
    Goal("TAM, a cosine a tensor", "SGD foreach"),
    Goal("AdaTAM", "Adam fused", (1.55, 1.75, 1.75)),
    Goal("AdaTAM", "Adam foreach", (0.70, 0.65, 0.65)),
    Goal("AdamCM 5", "Adam fused", (2.20, 3.10, 2.70)),
    Goal("AdamCM 5", "Adam foreach"),
    Goal("AdamCM 20", "AdamCM 5", (1.05, 1.05, 1.05)),
    Goal("TAM", "their TAM", (1 / 5, 1 / 5, 1 / 5)),
    Goal("AdaTAM", "their AdaTAM", (1 / 4, 1 / 4, 1 / 4)),
]

TRAINING_GOALS = [
    Goal("TAM", "SGD foreach", (1.10, None, None)),
    Goal("AdaTAM", "Adam foreach", (0.80, None, None)),
    Goal("AdamCM 5", "Adam foreach", (1.00, None, None)),
]

STATE_GOALS: dict[str, tuple[Maker, float]] = {
    "TAM": (OPTIMIZERS["TAM"], 1),
    "AdaTAM": (OPTIMIZERS["AdaTAM"], 2),
    "AdamCM 5": (OPTIMIZERS["AdamCM 5"], 8),
    "AdamCM 5, bfloat16 slots": (lambda params: AdamCM(params, buffer_dtype="bfloat16"), 5.5),
}
"""Bytes of state in bytes of the parameters."""


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 10))


def resnet() -> nn.Module:
    from torchvision.models import resnet18

    return resnet18()


def vit() -> nn.Module:
    from torchvision.models import VisionTransformer

    return VisionTransformer(224, 16, num_layers=12, num_heads=3, hidden_dim=192, mlp_dim=768)


MODELS = {"MLP": mlp, "ResNet-18": resnet, "ViT-tiny": vit}


def stepping(make: Maker, shapes: Sequence[torch.Size]) -> Step:
    """Return the step of an optimizer over parameters of these shapes, whose gradients stay as they are."""
    params = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    for param in params:
        param.grad = torch.randn_like(param)
    return make(params).step


def training(make: Maker) -> Step:
    """Return a whole training step of the MLP on a batch of 10."""
    model = mlp()
    optimizer = make(model.parameters())
    x, y = torch.randn(10, 784), torch.randint(10, (10,))

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def times(steps: dict[str, Step], rounds: int, seconds: float = 1e-2) -> dict[str, float]:
    """Return the median time of each step in microseconds; they are run in turn, for some seconds each a round."""
    repeats = {name: max(1, int(seconds / min(_once(step) for _ in range(4)))) for name, step in steps.items()}
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            start = time.process_time_ns()
            for _ in range(repeats[name]):
                step()
            taken[name].append((time.process_time_ns() - start) / repeats[name] / 1e3)
    return {name: median(each) for name, each in taken.items()}


def _once(step: Step) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def measure(make_steps: Callable[[], dict[str, Step]], trials: int, rounds: int) -> list[dict[str, float]]:
    """Return the times of several sets of fresh optimizers."""
    return [times(make_steps(), rounds) for _ in range(trials)]


def ratio(trials: list[dict[str, float]], goal: Goal) -> float | None:
    """Return the median ratio of two times, or None if one was not measured."""
    found = [trial[goal.ours] / trial[goal.other] for trial in trials if {goal.ours, goal.other} <= trial.keys()]
    return median(found) if found else None


def state_size(make: Maker) -> float:
    """Return the bytes of tensors in an optimizer's state after some steps, in bytes of its parameters."""
    params = [nn.Parameter(torch.zeros(shape)) for shape in [(100, 784), (100,)]]
    for param in params:
        param.grad = torch.ones_like(param)
    optimizer = make(params)
    for _ in range(3):
        optimizer.step()
    tensors = [value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)]
    return sum(each.nbytes for each in tensors) / sum(each.nbytes for each in params)


def optimizer_trials(model: str, names: Iterable[str], trials: int, rounds: int) -> list[dict[str, float]]:
    """Return the times of some optimizers on the shapes of a model."""
    shapes = [param.shape for param in MODELS[model]().parameters()]
    return measure(lambda: {name: stepping(OPTIMIZERS[name], shapes) for name in names}, trials, rounds)


def training_trials(names: Iterable[str], trials: int, rounds: int) -> list[dict[str, float]]:
    """Return the times of whole training steps."""
    return measure(lambda: {name: training(OPTIMIZERS[name]) for name in names}, trials, rounds)


def cell(found: float | None, most: float | None) -> str:
    """Say a ratio, its goal and whether it is met."""
    if found is None:
        return "-"
    verdict = (
        "" if most is None else f" <= {most:.2f} {'met' if found <= most else f'MISSED by {found / most - 1:.0%}'}"
    )
    return f"{found:.2f}{verdict}"


def print_table(title: str, columns: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> None:
    print(f"\n{title:<36}" + "".join(f"{column:<32}" for column in columns))
    for name, cells in rows:
        print(f"{name:<36}" + "".join(f"{each:<32}" for each in cells).rstrip())


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a rougher measurement in about half a minute")
    quick = parser.parse_args(arguments).quick
    torch.set_num_threads(1)
    print(
        f"torch {torch.__version__}, one thread, load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    if "their TAM" not in OPTIMIZERS:
        print("pytorch_optimizer is not installed: no comparison with its TAM and AdaTAM")

    found = {
        model: optimizer_trials(model, OPTIMIZERS, *((3, 8) if quick else (9, 15) if model == "MLP" else (4, 10)))
        for model in MODELS
    }
    print_table(
        "microseconds a step",
        list(MODELS),
        [(name, [f"{median(trial[name] for trial in found[model]):.0f}" for model in MODELS]) for name in OPTIMIZERS],
    )
    print_table(
        "times of a step, ratio",
        list(MODELS),
        [
            (
                f"{goal.ours} / {goal.other}",
                [cell(ratio(found[m], goal), most) for m, most in zip(MODELS, goal.most, strict=True)],
            )
            for goal in GOALS
        ],
    )
    names = {name for goal in TRAINING_GOALS for name in goal[:2]} | {"SGD fused", "Adam fused"}
    trained = training_trials(sorted(names), *((3, 8) if quick else (9, 15)))
    print_table(
        "times of a training step, ratio",
        ["MLP, batch of 10"],
        [(f"{goal.ours} / {goal.other}", [cell(ratio(trained, goal), goal.most[0])]) for goal in TRAINING_GOALS],
    )
    print_table(
        "bytes of state / of parameters",
        [""],
        [(name, [cell(state_size(make), most)]) for name, (make, most) in STATE_GOALS.items()],
    )


def _theirs(name: str) -> Any:
    import pytorch_optimizer

    return getattr(pytorch_optimizer, name)


if __name__ == "__main__":
    main()
