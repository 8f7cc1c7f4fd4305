"""Tests see what an experience holds and change nothing; expected values come from a plain loop over the images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

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
