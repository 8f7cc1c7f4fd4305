"""Devices: what is asked for, what there is, and who computes on what; GPUs are faked."""

from __future__ import annotations

import pickle
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch

from tamcl import seeding
from tamcl.cli.main import main
from tamcl.engines import processes
from tamcl.engines.executor import OnExecutor
from tamcl.engines.processes import WorkerDied, Workers, run_calls
from tamcl.errors import InputError
from tamcl.scenario.load import load_scenario
from tamcl.strategies import heartbeat
from tamcl.study.checks import at_hand
from tamcl.training import resources
from tamcl.training.cell import Cell
from tamcl.training.resources import Resources, device_of, name_of
from tamcl.training.run import run_cell
from tamcl.training.running import _mark
from tamcl.training.state_file import read_state, to_bytes
from tests.helpers import refusal

TWO = ["NVIDIA A100", "NVIDIA H200"]


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """As if torch counted two GPUs; the list gets those that it is told to use."""
    used: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: TWO[getattr(device, "index", device) or 0])
    monkeypatch.setattr(torch.cuda, "set_device", used.append)
    return used


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


@pytest.mark.parametrize("gpus", range(1, 5))
@pytest.mark.parametrize("jobs", range(1, 9))
def test_gpus_are_dealt_out_evenly(jobs: int, gpus: int) -> None:
    for asked in ("auto", "cuda"):
        counts = Counter(device_of(asked, place, ["A100"] * gpus) for place in range(jobs))
        assert len(counts) == min(jobs, gpus)
        assert max(counts.values()) - min(counts.values()) <= 1
    assert {device_of("cuda:0", place, ["A100"] * gpus) for place in range(jobs)} == {"cuda:0"}


def test_a_process_computes_on_the_gpu_of_its_place_and_all_of_torch_does(
    two_gpus: list[torch.device], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "_place", 0)
    for place, asked, expected in [(0, "auto", 0), (1, "auto", 1), (2, "cuda", 0), (3, "cuda:1", 1), (1, "cuda:0", 0)]:
        resources.take_place(place)
        assert Resources(device=asked).choose_device() == f"cuda:{expected}"
        assert two_gpus.pop() == torch.device("cuda", expected)
    assert Resources(device="cpu").choose_device() == "cpu"
    assert not two_gpus


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:-1", "cuda:one", "CPU", "cuda:1 ", "", None, 0])
def test_what_is_no_device_is_refused_before_torch_is_asked(device: Any) -> None:
    with pytest.raises(InputError) as caught:
        Resources(device=device)
    assert str(caught.value) == f"device = {device!r}: must be 'auto', 'cpu', 'cuda', or one GPU, such as 'cuda:1'"


def test_a_gpu_that_is_not_there_is_named_with_those_that_are(two_gpus: list[torch.device]) -> None:
    with pytest.raises(InputError) as caught:
        Resources(device="cuda:2").choose_device()
    there = "cpu, cuda:0 (NVIDIA A100), cuda:1 (NVIDIA H200)"
    assert str(caught.value) == f"device = 'cuda:2': torch finds no such GPU here; there is {there}"


@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_a_command_says_in_one_line_that_there_is_no_gpu(
    device: str, no_gpu: None, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refusal(["plan", "label_flip_digits", "--device", device], capsys)
    assert said == f"tamcl: device = '{device}': torch finds no such GPU here; there is cpu\n"
    assert Resources().choose_device() == "cpu"


def test_doctor_lists_devices_as_the_option_takes_them(
    two_gpus: list[torch.device], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--data-dir", str(tmp_path)]) == 0
    assert "cores), cuda:0 (NVIDIA A100), cuda:1 (NVIDIA H200)\n" in capsys.readouterr().out


def test_each_process_that_lives_has_a_place_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Worker:
        def __init__(self, *arguments: Any) -> None:
            self.seat, self.place = arguments[-1], 0

    monkeypatch.setattr(processes, "_Worker", Worker)
    monkeypatch.setattr(processes, "_stop", lambda workers: None)
    workers = Workers(3, first=4)
    assert [worker.seat for worker in workers._idle(3, False, None)] == [4, 5, 6]
    workers._end([workers._workers[1]])  # as one that ran somebody's own code is
    assert [worker.seat for worker in workers._idle(1, False, None)] == [5]


def _place_of_this_process() -> int:
    """Return it, when the end of something like a run of 100 steps was told."""
    with heartbeat.expected(100):
        for step in (40, 70, 70, 70):
            heartbeat.beat(step)
            time.sleep(0.3)
    return resources._place


@pytest.mark.parametrize("apart", [[], [0, 1]])
def test_a_worker_knows_its_place_and_says_how_far_it_is(apart: list[int]) -> None:
    """Also where each call has a fork of the worker to itself."""
    told: set[tuple[int, int]] = set()
    answers = run_calls([_place_of_this_process] * 2, jobs=2, apart=apart, on_steps=told.update)
    assert sorted(place for _, place in answers) == [0, 1]
    assert told <= {(40, 100), (70, 100)}
    assert (70, 100) in told


class Noting(Executor):
    """Notes the places of jobs, and trains none."""

    def __init__(self, places: list[int]) -> None:
        self.places = places

    def submit(self, fn: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        self.places.append(pickle.loads(arguments[1]).place)
        future: Future[Any] = Future()
        future.set_result(pickle.dumps(WorkerDied("not trained")))
        return future


def test_jobs_of_an_executor_are_dealt_out_too_and_checked_on_the_cpu(tmp_path: Path, no_gpu: None) -> None:
    """Where they run there may be GPUs that are not here."""
    scenario, places = load_scenario("label_flip_digits"), []
    cells = [Cell(scenario, "tam", 0.1, seed, "report") for seed in range(3)]
    engine = OnExecutor(partial(Noting, places))
    with engine.kept() as started:
        ended = list(started.train([(cell,) for cell in cells], tmp_path / "cells", Resources(device="cuda")))
        assert at_hand(Resources(device="cuda"), started).choose_device() == "cpu"
    assert [status for _, status in ended] == ["failed"] * 3
    assert places == [0, 1, 2]


def test_a_checkpoint_is_of_a_kind_of_gpu_and_of_none_by_its_number(
    two_gpus: list[torch.device], monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = Cell(load_scenario("label_flip_digits"), "tam", 0.1, 0, "report")
    marks = [_mark(cell, "data", name_of(device)) for device in ("cuda:0", "cuda:1", "cpu")]
    assert len({str(mark) for mark in marks}) == 3  # an A100, an H200 and none
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA A100")
    first, second = (_mark(cell, "data", name_of(device)) for device in ("cuda:0", "cuda:1"))
    assert first == second


def test_a_run_marks_its_checkpoint_by_the_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marked: list[str] = []
    monkeypatch.setattr("tamcl.training.running.name_of", lambda device: f"kind of {device}")
    monkeypatch.setattr("tamcl.training.running._mark", lambda cell, digest, device: {"device": marked.append(device)})
    settings = ["stream.experiences=2", "stream.samples=20", "evaluation.samples=20"]
    cell = Cell(load_scenario("label_flip_digits", settings), "tam", 0.1, 0, "report")
    run_cell(cell, Resources(device="cpu"), tmp_path / "checkpoint")
    assert marked == ["kind of cpu"]


def test_a_state_is_read_to_the_gpu_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the number of the one that it was on, as files of before have it."""
    written = to_bytes(torch.arange(3.0))
    assert b'"cpu"' in written
    elsewhere = written.replace(b'"cpu"', b'"cuda:1"')
    length = int.from_bytes(elsewhere[16:24], "little") + len("cuda:1") - len("cpu")
    moved = elsewhere[:16] + length.to_bytes(8, "little") + elsewhere[24:]
    asked: list[str] = []
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, device: asked.append(device) or tensor)
    assert torch.equal(read_state(BytesIO(moved)), torch.arange(3.0))
    assert asked == ["cuda"]


def test_only_the_generator_of_the_gpu_of_this_process_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of each other would start that GPU, and another machine may have fewer."""
    given: list[torch.Tensor] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda: torch.tensor([7], dtype=torch.uint8))
    monkeypatch.setattr(torch.cuda, "set_rng_state", given.append)
    states = seeding.generator_states()
    assert [state.tolist() for state in states[1]] == [[7]]
    seeding.set_generators(states)
    assert [state.tolist() for state in given] == [[7]]
