"""A metric of one's own, by its path: measured, compared, tuned by, shown, and read again where its code is not."""

from __future__ import annotations

import shutil
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tamcl
from tamcl.errors import InputError
from tamcl.files.records import read_study
from tamcl.findings.answers import verdicts
from tamcl.findings.study import Study
from tamcl.metrics import METRICS, Metric, find
from tamcl.metrics.own import OWN, recall
from tamcl.plots.labels import bounds, metric_axis
from tamcl.report import paper_table
from tamcl.report.page import write_report
from tamcl.report.ranking import rank_studies
from tamcl.scenario.load import load_scenario


def _spread(R: Any) -> float:
    """Return how far apart the final accuracies are; lower is better."""
    return float(np.ptp(np.asarray(R)[-1]))


def _first(correct: Any, n: Any, experience: Any) -> float:
    return float(correct[0] / n[0])


def _fails(R: Any) -> float:
    raise KeyError("nothing there")


def metric(function: Any, on: Any, better: Any, label: str) -> Metric:
    return Metric("any", function, on, better, 0, inf, "fraction", label, "f(R)", "this test", core=True)


spread = metric(_spread, "matrix", "lower", "Spread")
first = metric(_first, "online", "higher", "First accuracy")
fails = metric(_fails, "matrix", "lower", "Fails")
inside = metric(_first, "inside", "higher", "Inside")
percent = replace(metric(lambda R: 100 * float(np.mean(R)), "matrix", "higher", "Percent"), high=1)
NAMES = SPREAD, FIRST, FAILS, INSIDE, PERCENT = [
    f"{__name__}:{name}" for name in ("spread", "first", "fails", "inside", "percent")
]

SMALL = ["stream.experiences=2", "stream.samples=40", "protocol.seeds=2", "protocol.tune_seeds=1"]


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delitem(OWN, name, raising=False)


def scenario(*settings: str) -> Any:
    return load_scenario("label_flip_digits", [*SMALL, *settings]).only(["sgdm", "tam"])


def test_it_is_measured_compared_tuned_by_and_shown(tmp_path: Path) -> None:
    plain = tamcl.compare(scenario(), tmp_path / "out", jobs=1, progress=False).metrics
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("cells/*/online.parquet")}
    asked = scenario(f"metrics=['{SPREAD}']")
    results = tamcl.compare(asked, tmp_path / "out", jobs=1, progress=False)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished, "it trained again"
    own = results.metrics["metric"] == SPREAD
    pd.testing.assert_frame_equal(results.metrics[~own].reset_index(drop=True), plain)
    table = results.eval[results.eval["trained_on"] == 1].groupby(["arm", "lr", "seed"])["accuracy"]
    found = results.metrics[own].set_index(["arm", "lr", "seed"])["value"]
    pd.testing.assert_series_equal((table.max() - table.min()).loc[found.index], found, check_names=False)
    assert SPREAD in set(results.comparisons["metric"])
    kept = read_study(tmp_path / "out" / "study.json")["metrics"]
    assert [(each["name"], each["label"], each["high"]) for each in kept] == [(SPREAD, "Spread", None)]
    assert __name__ in kept[0]["code"]

    del OWN[SPREAD]  # as in a process that reads it and has not its code
    read = tamcl.load_results(tmp_path / "out")
    assert find(SPREAD).label == "Spread"
    assert SPREAD in Study(read).core_metrics
    assert (metric_axis(SPREAD), bounds(SPREAD)) == (("Spread", "%", 100.0), (0.0, inf))
    write_report(tmp_path / "out")
    assert "Spread (%, lower is better)" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    with pytest.raises(InputError, match=f"Known: .*{SPREAD}"):
        paper_table([tmp_path / "out"], metrics=["spread"])

    del OWN[SPREAD]  # studies can be ranked by it where nothing else was read before
    again = shutil.copytree(tmp_path / "out", tmp_path / "again")
    ranks = rank_studies([tmp_path / "out", again], SPREAD).set_index("arm")["rank"]
    means = results.phase(results.metrics[results.metrics["metric"] == SPREAD]).groupby("arm")["value"].mean()
    assert ranks.to_dict() == means.rank().to_dict()  # the lower the better


def test_learning_rates_can_be_chosen_by_it(tmp_path: Path) -> None:
    results = tamcl.compare(scenario(f"protocol.tune_by={FIRST}"), tmp_path / "out", jobs=1, progress=False)
    study, metrics = Study(results), results.metrics[results.metrics["metric"] == FIRST]
    tuned = results.runs[results.runs["phase"] == "tune"].merge(metrics)
    for arm, lr in study.rates.items():
        scores = tuned[tuned["arm"] == arm].groupby("lr")["value"].mean()
        assert scores[lr] == scores.max()
    assert "first accuracy" in verdicts(results)[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["metrics=['forgetting']"], "'forgetting' is measured in every study; name those of your own"),
        (["metrics=['forgetful']"], "unknown metric 'forgetful'"),
        (["metrics=['shutil:rmtree']"], "metric 'shutil:rmtree': is a function, and must be a tamcl.metrics.Metric"),
        ([f"metrics=['{__name__}:none']"], f"in {__name__} 'none'"),
        (["metrics=['no_module:m']"], "there is no module 'no_module'"),
        ([f"protocol.tune_by={INSIDE}"], "is measured inside experiences, in reported runs alone"),
        (["protocol.tune_by=online"], "unknown metric 'online': did you mean 'online_loss'"),
        ([f"metrics=['{SPREAD}']", "protocol.tune_by=spread"], f"stability_gap, {SPREAD}, validation_loss"),
    ],
)
def test_what_is_no_metric_is_one_line(settings: list[str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        scenario(*settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_metric_that_fails_is_named_and_what_was_trained_stays(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"metric '{FAILS}': fails on .*nothing there"):
        tamcl.compare(scenario(f"metrics=['{FAILS}']"), tmp_path / "out", jobs=1, progress=False)
    assert len([*(tmp_path / "out").glob("cells/*/online.parquet")]) > 0


def test_a_value_outside_of_its_range_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"metric '{PERCENT}': is \d\d\.\d+ on .*, outside of its range from 0 to 1"):
        tamcl.compare(scenario(f"metrics=['{PERCENT}']"), tmp_path / "out", jobs=1, progress=False)


def test_one_that_was_read_of_is_not_in_the_table_and_cannot_be_computed() -> None:
    recall(
        [
            {
                "name": "else:where", "on": "matrix", "better": "lower", "low": None, "high": 1, "unit": "fraction",
                "label": "Elsewhere", "equation": "", "reference": "", "core": False, "per_batch": False, "code": {},
            }
        ]
    )  # fmt: skip
    known = OWN.pop("else:where")
    assert "else:where" not in METRICS
    assert (known.low, known.high) == (-inf, 1)
    with pytest.raises(InputError, match="was read of"):
        known.function([[1.0]])
    with pytest.raises(InputError, match="unknown metric"):
        find("else:where")
