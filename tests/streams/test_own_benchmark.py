"""An Avalanche benchmark of one's own as a stream."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from tamcl.avalanche import CLScenario
from tamcl.errors import InputError
from tamcl.scenario.load import load_scenario
from tamcl.streams.base import fingerprint
from tamcl.streams.benchmark import build_benchmark
from tamcl.study.checks import check_data
from tamcl.training.build import load_data, plan
from tamcl.training.cell import Cell
from tamcl.training.resources import Resources
from tamcl.training.run import run_cells


def examples(count: int, seed: int, shape: tuple[int, ...] = (1, 8, 8)) -> Any:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 4
    data: Any = TensorDataset(torch.randn(count, *shape, generator=generator), labels)
    data.targets = labels.tolist()
    return data


def benchmark(task_labels: bool, **options: Any) -> CLScenario:
    from avalanche.benchmarks import nc_benchmark

    data = examples(80, options.pop("seed", 0)), examples(40, 1)
    return nc_benchmark(*data, n_experiences=2, task_labels=task_labels, seed=3, **options)


def plain() -> CLScenario:
    return benchmark(task_labels=False)


def tasks() -> CLScenario:
    return benchmark(task_labels=True)


def drawn() -> CLScenario:
    return benchmark(task_labels=False, seed=int(np.random.default_rng().integers(2**31)))


def broken() -> CLScenario:
    raise OSError("no disk")


def silent():  # type: ignore[no-untyped-def]
    raise AssertionError("was called")


def scenario(function: Any, *settings: str, more: str = "") -> Any:
    stream = f"stream={{name='{__name__}:{function.__name__}', experiences=2{more}}}"
    return load_scenario("label_flip_digits", [stream, *settings])


@pytest.mark.parametrize(("function", "more", "head"), [(plain, "", "single"), (tasks, ", task_labels=true", "multi")])
def test_experiences_have_the_inputs_labels_and_tasks_of_the_benchmark(function: Any, more: str, head: str) -> None:
    found, own = scenario(function, f"model.head={head}", more=more), function()
    data = load_data(found.stream.dataset, Resources())
    segments = plan(found, data, seed=0)
    built = build_benchmark(data, segments, found.stream.normalization)
    for ours, theirs in ((built.train_stream, own.train_stream), (built.test_stream, own.test_stream)):
        for experience, expected in zip(ours, theirs, strict=True):
            inputs = torch.stack([x for x, *_ in expected.dataset])
            assert torch.equal(experience.batch(torch.arange(len(inputs))), inputs)
            assert experience.labels.tolist() == [int(y) for _, y, *_ in expected.dataset]
            assert experience.task == (expected.task_label if head == "multi" else 0)
    expected_classes = [sorted(each.classes_in_this_experience) for each in own.train_stream]
    assert [list(each.classes) for each in segments] == (expected_classes if head == "multi" else [[0, 1, 2, 3]] * 2)
    again = fingerprint(plan(found, data, seed=1), data.checksum)
    assert fingerprint(segments, data.checksum) == again


def test_it_is_trained_on() -> None:
    found = scenario(tasks, "model.head=multi", more=", task_labels=true")
    (outcome,) = run_cells((Cell(found, "tam", 0.05, 0, "report"),), Resources())
    assert outcome.tables["runs"]["status"].item() == "ok"
    assert outcome.tables["online"].groupby("experience")["n"].sum().tolist() == [40, 40]
    assert np.isfinite(outcome.tables["eval"]["accuracy"]).all()


@pytest.mark.parametrize(
    ("function", "more", "message"),
    [
        (tasks, "", r"has the task labels \[0, 1\]; say whether the model is told them"),
        (plain, ", samples=3", "stream.samples = 3: the benchmark says how many examples there are"),
        (plain, ", oracle='no_shift'", "stream.oracle = 'no_shift': nothing says what the benchmark would be"),
        (drawn, "", "loaded twice it gave different images or labels"),
        (broken, "", "load raised OSError: no disk"),
        (silent, "", "does not say that it returns a avalanche.benchmarks.CLScenario"),
        (plain, ", dataset='digits'", "a benchmark of one's own has its data; leave it out"),
        (plain, ", wrong=1", "stream.wrong: unknown key"),
    ],
)
def test_what_does_not_fit_is_one_line(function: Any, more: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        check_data(scenario(function, more=more), Resources())
    assert "\n" not in str(caught.value)


def test_more_experiences_than_there_are_are_refused() -> None:
    found = load_scenario("label_flip_digits", [f"stream={{name='{__name__}:plain', experiences=3}}"])
    with pytest.raises(InputError, match=r"stream.experiences = 3: the benchmark has 2"):
        check_data(found, Resources())
