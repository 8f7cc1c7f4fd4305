"""Every scenario that comes with tamcl trains: a few mini-batches of each arm, where its data are there."""

from __future__ import annotations

import os

import pytest

from tamcl.config import load_scenario, scenarios
from tamcl.data import DATASETS, data_root
from tamcl.errors import InputError
from tamcl.metrics import METRICS, measure
from tamcl.registry import lookup
from tamcl.results import conform
from tamcl.run import Cell, run_cell


@pytest.mark.parametrize("name", scenarios())
def test_scenario_trains_every_arm(name: str) -> None:
    scenario = load_scenario(name, ["stream.samples=30", "stream.epochs=1", "evaluation.samples=20"])
    stream = scenario.stream
    if stream.experiences > 10:
        stream = stream.model_copy(update={"experiences": 10 if stream.name == "task_shift" else 2})
    scenario = scenario.model_copy(update={"stream": stream})
    try:
        lookup(DATASETS, stream.dataset)().check(data_root(os.environ.get("TAMCL_DATA_DIR")))
    except InputError as error:
        pytest.skip(str(error))
    fingerprints = set()
    for arm, config in scenario.arms.items():
        outcome = run_cell(Cell(scenario, arm, config.lr[-1], 0, "report"))
        assert outcome.run["status"].item() == "ok", outcome.run["error"].item()
        fingerprints |= set(outcome.run["fingerprint"])
        online, evaluation = conform("online", outcome.online), conform("eval", outcome.eval)
        assert len(online) == 3 * scenario.stream.experiences
        assert len(evaluation) == (scenario.stream.experiences + 1) * scenario.stream.experiences
        assert not online.isna().any().any()
        assert not evaluation.isna().any().any()
        assert set(measure(online, evaluation, outcome.run)["metric"]) == set(METRICS)
    assert len(fingerprints) == 1
