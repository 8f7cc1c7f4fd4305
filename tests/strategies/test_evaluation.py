"""Tests see what an experience holds and change nothing; expected values come from a plain loop over the images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tamcl.models.classifier import Classifier, build_classifier
from tamcl.strategies.evaluation import evaluate
from tamcl.streams import LabelFlip, Stream, TaskShift
from tamcl.streams.benchmark import build_benchmark
from tamcl.streams.permuted_inputs import PermutedInputs
from tests.helpers import noise_data

DATA = noise_data(samples=95)
CPU = torch.device("cpu")
STREAMS: dict[str, tuple[Stream, str]] = {
    "flips": (LabelFlip(name="label_flip", dataset="any", experiences=4, fraction=0.8), "single"),
    "tasks": (TaskShift(name="task_shift", dataset="any", experiences=5, setting="task_incremental"), "masked"),
    "permuted": (PermutedInputs(name="permuted_inputs", dataset="any", experiences=3), "single"),
    "normalised by task": (
        TaskShift(name="task_shift", dataset="any", experiences=2, setting="class_incremental", normalization="task"),
        "single",
    ),
}


def model(head: str, tasks: dict[int, tuple[int, ...]]) -> Classifier:
    return build_classifier("mlp", head, {"hidden": [8]}, shape=(1, 4, 4), classes=10, tasks=tasks, seed=0)


@pytest.mark.parametrize("case", STREAMS)
@pytest.mark.parametrize("only", [None, (1,), (0, 1)])
def test_each_experience_as_if_it_were_alone(case: str, only: tuple[int, ...] | None) -> None:
    stream, head = STREAMS[case]
    segments = stream.segments(DATA.train_y, DATA.test_y, DATA.classes, seed=0)
    tests = build_benchmark(DATA, segments, stream.normalization).test_stream
    network = model(head, {segment.task: segment.classes for segment in segments})
    found = evaluate(network, tests, CPU, only)
    assert [result.experience for result in found] == list(range(len(segments)) if only is None else only)
    for result in found:
        images = tests[result.experience].dataset
        with torch.no_grad():
            logits = torch.cat([network(x[None], task) for x, _, task in images])
        labels = torch.tensor([y for _, y, _ in images])
        assert result.n == len(labels) == len(segments[result.experience].test_index)
        assert result.accuracy == pytest.approx((logits.argmax(1) == labels).float().mean().item())
        assert result.loss == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), rel=1e-5)


def test_shared_images_go_through_the_body_once() -> None:
    segments = STREAMS["flips"][0].segments(DATA.train_y, DATA.test_y, DATA.classes, seed=0)
    network = model("single", {0: tuple(range(10))})
    seen: list[int] = []
    network.body.register_forward_hook(lambda body, inputs, output: seen.append(len(output)))
    evaluate(network, build_benchmark(DATA, segments).test_stream, CPU)
    assert sum(seen) == len(DATA.test_y)


def test_numbers_have_a_squared_error_and_no_accuracy() -> None:
    stream = LabelFlip(name="label_flip", dataset="any", experiences=1, fraction=0)
    (segment,) = stream.segments(DATA.train_y, DATA.test_y, DATA.classes, seed=0)
    targets = np.linspace(-1, 1, len(segment.test_index)).astype(np.float32)
    tests = build_benchmark(DATA, [replace(segment, test_labels=targets)]).test_stream
    network = build_classifier("mlp", "single", {"hidden": [8]}, shape=(1, 4, 4), classes=1, tasks={0: (0,)}, seed=0)
    (result,) = evaluate(network, tests, CPU)
    with torch.no_grad():
        outputs = network(tests[0].batch(torch.arange(len(targets))), 0)[:, 0].numpy()
    assert np.isnan(result.accuracy)
    assert result.loss == pytest.approx(((outputs - targets) ** 2).mean(), rel=1e-5)


class Remembering(nn.Module):
    """Keeps a table, and a buffer that it makes, from its first forward pass; a part of it stays in test mode."""

    features = 8

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(16, 8), nn.BatchNorm1d(8).eval()
        self.table: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.norm(self.linear(x.flatten(1)))
        if self.table is None:
            self.table = torch.arange(8.0).cos()
            self.register_buffer("scale", torch.full((8,), 2.0))
        return torch.relu(hidden * self.table * self.scale)


def test_what_a_network_keeps_from_a_test_can_be_trained_with() -> None:
    segments = STREAMS["flips"][0].segments(DATA.train_y, DATA.test_y, DATA.classes, seed=0)
    body = Remembering()
    network = Classifier(body, nn.Linear(8, 10))
    network.head.forward = lambda x, task: nn.Linear.forward(network.head, x)  # type: ignore[method-assign]
    benchmark = build_benchmark(DATA, segments)
    evaluate(network, benchmark.test_stream, CPU)
    assert body.table is not None
    assert not body.table.is_inference()
    network(benchmark.train_stream[0].batch(torch.arange(10))).sum().backward()
    assert body.linear.weight.grad is not None
    assert [module.training for module in (network, body, body.linear, body.norm)] == [True, True, True, False]


def test_a_test_that_fails_leaves_the_mode_as_it_was() -> None:
    segments = STREAMS["flips"][0].segments(DATA.train_y, DATA.test_y, DATA.classes, seed=0)
    network = Classifier(nn.Linear(3, 3), nn.Linear(3, 3))  # does not fit the images
    with pytest.raises(RuntimeError):
        evaluate(network, build_benchmark(DATA, segments).test_stream, CPU)
    assert network.training
    assert network.body.training


def test_a_mean_over_no_images_is_refused() -> None:
    first, *rest = STREAMS["flips"][0].segments(DATA.train_y, DATA.test_y, DATA.classes, seed=0)
    empty = replace(first, test_index=first.test_index[:0], test_labels=first.test_labels[:0])
    tests = build_benchmark(DATA, [*rest, empty]).test_stream
    with pytest.raises(ValueError, match=r"^experience 3 has no test images$"):
        evaluate(model("single", {0: tuple(range(10))}), tests, CPU)
