"""Every scenario that comes with tamcl trains: a few mini-batches of each arm, where its data are there."""

from __future__ import annotations

import os
from math import ceil

import numpy as np
import pytest

from tamcl.data import DATASETS, data_root
from tamcl.errors import InputError
from tamcl.metrics import METRICS, measure
from tamcl.registry import lookup
from tamcl.results import conform
from tamcl.scenario.load import load_scenario, scenarios
from tamcl.streams.base import fingerprint
from tamcl.training.cell import Cell
from tamcl.training.resources import Resources
from tamcl.training.run import run_cell

SHORT = ["stream.samples=20", "stream.epochs=1", "evaluation.samples=20"]


@pytest.mark.parametrize("name", scenarios())
def test_scenario_trains_every_arm(name: str) -> None:
    whole = load_scenario(name).stream
    experiences = min(whole.experiences, 2)
    held_out = ["stream.validation=20"] if hasattr(whole, "validation") else []
    scenario = load_scenario(name, [*SHORT, f"stream.experiences={experiences}", *held_out])
    stream, evaluation = scenario.stream, scenario.evaluation
    try:
        lookup(DATASETS, stream.dataset)().check(data_root(os.environ.get("TAMCL_DATA_DIR")))
    except InputError as error:
        pytest.skip(str(error))
    rows = experiences * ceil(20 / stream.batch_size / evaluation.batches)
    tests = sum(len(evaluation.tested(position, experiences)) for position in range(-1, experiences))
    fingerprints = set()
    for arm, config in scenario.arms.items():
        outcome = run_cell(Cell(scenario, arm, config.lr[-1], 0, "report"), Resources(allow_subset=True))
        assert outcome.runs["status"].item() == "ok", outcome.runs["error"].item()
        fingerprints |= set(outcome.runs["fingerprint"])
        online, evaluated = conform("online", outcome.online), conform("eval", outcome.eval)
        assert len(online) == rows
        assert len(evaluated) == tests
        assert online["loss"].notna().all()
        assert online["correct"].isna().all() == (stream.target == "number")
        values = measure(online, evaluated, outcome.runs).set_index("metric")["value"]
        absent = {"matrix_and_lowest", "inside"} | (set() if stream.target == "token" else {"text_loss"})
        assert set(values.index) == {name for name, metric in METRICS.items() if metric.on not in absent}
        assert np.isfinite(values[scenario.protocol.tune_by])
    assert len(fingerprints) == 1
    arm, config = next(iter(scenario.arms.items()))
    tuned = run_cell(Cell(scenario, arm, config.lr[-1], 1000, "tune"), Resources(allow_subset=True))
    assert tuned.runs["status"].item() == "ok", tuned.runs["error"].item()


@pytest.mark.parametrize("name", scenarios())
def test_streams_differ_over_seeds_and_not_over_arms_and_promise_what_they_are(name: str) -> None:
    stream = load_scenario(name).stream
    classes = lookup(DATASETS, stream.dataset)().classes
    labels = np.arange(400 * classes) % classes if stream.target == "class" else np.zeros(2**20, dtype=np.int64)
    labels = np.sort(np.arange(20_000 * classes) % classes) if stream.target == "token" else labels
    few = {"experiences": min(stream.experiences, 5), "samples": min(stream.samples or 200, 200)}
    few |= {"validation": 20} if hasattr(stream, "validation") else {}
    parts = [stream.model_copy(update=few).segments(labels, labels, classes, seed) for seed in (0, 0, 1)]
    prints = [fingerprint(part, "") for part in parts]
    assert prints[0] == prints[1] != prints[2]
