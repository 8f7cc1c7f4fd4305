"""What is tried next, by hand, and that a study whose grids were widened is the same however it was come by."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from tamcl.errors import InputError
from tamcl.results import load_results
from tamcl.scenario.load import load_scenario, parse
from tamcl.scenario.schema import Scenario
from tamcl.stats.tuning import select
from tamcl.study.compare import compare
from tamcl.study.search import Trials, first_trials, next_trials, widened
from tamcl.trial import Trial
from tests.helpers import in_this_process


@pytest.fixture
def scenario(tiny: Path) -> Scenario:
    return load_scenario(str(tiny), ["protocol.extend=2"], ["sgdm", "tam"])


def scores(
    values: dict[str, dict[float, float]], diverged: tuple[tuple[str, float], ...] = (), metric: str = "online_accuracy"
) -> pd.DataFrame:
    """The tuning table of one seed an arm and rate."""
    rows = [(arm, lr, value) for arm, own in values.items() for lr, value in own.items()]
    cells = pd.DataFrame(rows, columns=["arm", "lr", "value"]).assign(scenario="tiny", seed=1000)
    status = ["diverged" if key in diverged else "ok" for key in zip(cells["arm"], cells["lr"], strict=True)]
    runs = cells.drop(columns="value").assign(phase="tune", status=status)
    return select(cells.assign(metric=metric), runs, metric)


def trials(rates: dict[str, list[float]]) -> Trials:
    return {arm: [*map(Trial, own)] for arm, own in rates.items()}


@pytest.mark.parametrize(
    ("values", "diverged", "expected"),
    [
        ({0.1: 0.5, 0.2: 0.6, 0.4: 0.7}, (), 0.8),
        ({0.1: 0.7, 0.2: 0.6, 0.4: 0.5}, (), 0.05),
        ({0.1: 0.6, 0.2: 0.7, 0.4: 0.5}, (), np.sqrt(0.1 * 0.2)),
        ({0.1: 0.5, 0.2: 0.7, 0.4: 0.6}, (), np.sqrt(0.2 * 0.4)),
        ({0.1: 0.5, 0.2: 0.7, 0.4: 0.6}, (0.4,), np.sqrt(0.1 * 0.2)),
        ({0.1: 0.5, 0.2: 0.7}, (0.1, 0.2), 0.05),
    ],
    ids=["above", "below", "between lower", "between upper", "not beside one that diverged", "all diverged"],
)
def test_widened(values: dict[float, float], diverged: tuple[float, ...], expected: float) -> None:
    table = scores({"tam": values}, tuple(("tam", lr) for lr in diverged))
    lr, options = widened(table, "online_accuracy")
    assert lr == pytest.approx(expected, rel=1e-5)
    assert options == ""


def test_widened_not_beside_a_rate_without_a_value_on_one_seed() -> None:
    cells = pd.DataFrame({"lr": [0.1, 0.2, 0.4]}).merge(pd.DataFrame({"seed": [1000, 1001]}), how="cross")
    cells = cells.assign(scenario="tiny", arm="tam")
    metrics = cells.assign(metric="online_accuracy", value=[0.5, 0.5, 0.7, 0.7, 0.6, np.nan])
    table = select(metrics, cells.assign(phase="tune", status="ok"), "online_accuracy")
    assert widened(table, "online_accuracy").lr == pytest.approx(np.sqrt(0.1 * 0.2), rel=1e-5)


def test_one_edge_gives_every_arm_one_more_rate_until_the_limit(scenario: Scenario) -> None:
    tried = first_trials(scenario)
    assert tried == trials({"sgdm": [0.1, 0.05], "tam": [0.2, 0.1]})
    inside = {0.2: 0.5, 0.1: 0.7, 0.05: 0.6}
    assert next_trials(scenario, tried, scores({"sgdm": {0.1: 0.7, 0.05: 0.6}, "tam": inside})) == trials(
        {"sgdm": [0.2], "tam": [0.0707107]}
    )
    assert next_trials(scenario, tried, scores({"sgdm": inside, "tam": inside})) == {}
    full = trials({"sgdm": [0.1, 0.05, 0.2, 0.4], "tam": [0.2, 0.1, 0.05, 0.07]})
    assert next_trials(scenario, full, scores({"sgdm": {0.4: 0.7, 0.2: 0.6}, "tam": inside})) == {}


def test_grids_are_widened_for_an_arm_that_diverged_at_every_rate(scenario: Scenario) -> None:
    inside = {0.2: 0.5, 0.1: 0.7, 0.05: 0.6}
    table = scores({"sgdm": {0.1: 0.5, 0.05: 0.5}, "tam": inside}, (("sgdm", 0.1), ("sgdm", 0.05)))
    assert next_trials(scenario, first_trials(scenario), table)["sgdm"] == [Trial(0.025)]


def test_a_study_extended_in_place_or_continued_is_the_one_extended_at_once(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tamcl.engines.local.Local", in_this_process)
    small = ["protocol.seeds=2", "protocol.tune_seeds=1", "arms.sgdm.lr=[0.01, 0.005]"]
    plain = load_scenario(str(tiny), small, ["sgdm", "tam"])
    wide = load_scenario(str(tiny), [*small, "protocol.extend=2"], ["sgdm", "tam"])
    compare(plain, tmp_path / "place")
    before = {path.name for path in (tmp_path / "place" / "cells").iterdir()}
    first = compare(wide, tmp_path / "place")
    assert before < {path.name for path in (tmp_path / "place" / "cells").iterdir()}
    tried = json.loads((tmp_path / "place" / "study.json").read_text())["tried"]
    assert first.runs.query("phase == 'tune'").groupby("arm")["lr"].nunique().to_dict() == {"sgdm": 4, "tam": 4}
    assert {arm: sorted(rates) for arm, rates in tried.items()} == {
        arm: sorted(own["lr"]) for arm, own in first.runs.query("phase == 'tune'").groupby("arm")
    }
    assert tried["sgdm"][2] == 0.02  # an end of its grid was best there

    (tmp_path / "stopped").mkdir()
    shutil.copy(tmp_path / "place" / "study.json", tmp_path / "stopped")
    for path in sorted((tmp_path / "place" / "cells").iterdir())[::2]:
        shutil.copytree(path, tmp_path / "stopped" / "cells" / path.name)
    second = compare(wide, tmp_path / "stopped")
    for name in ("online", "metrics", "comparisons"):
        assert_frame_equal(getattr(first, name), getattr(second, name), check_exact=True)
    with pytest.raises(InputError, match="extend is 2 there and 0 here"):
        compare(plain, tmp_path / "place")
    assert load_results(tmp_path / "place").study["tried"] == load_results(tmp_path / "stopped").study["tried"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["protocol.search=random"], "protocol.trials: is for the searches"),
        (["protocol.trials=4"], "protocol.trials: is for the searches"),
        (["protocol.search=tpe", "protocol.trials=4", "protocol.extend=1"], "protocol.extend: is for search = 'grid'"),
        (["protocol.search=bayes"], "protocol.search = 'bayes': must be 'grid', 'random' or 'tpe'"),
        (["protocol.extend=-1"], "protocol.extend = -1: must be greater than or equal to 0"),
    ],
)
def test_what_does_not_fit_is_refused(tiny: Path, settings: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_scenario(str(tiny), settings)


@pytest.mark.parametrize("kind", ["random", "tpe"])
def test_a_search_between_ends_that_are_one_number_to_six_digits_ends(scenario: Scenario, kind: str) -> None:
    values = scenario.dump()
    values["protocol"] |= {"search": kind, "trials": 4, "extend": 0, "pairs": []}
    narrow = {"optimizer": "sgd", "lr": [0.1], "momentum": [0.9999996, 0.9999997]}
    known = pd.DataFrame({"scenario": "tiny", "arm": "x", "lr": [0.1], "options": ["momentum=0.9999996"]})
    scores = known.assign(score=0.5, eligible=True, chosen=True, on_edge=False)
    changed = parse(values | {"arms": {"x": narrow}})
    tried = first_trials(changed)
    assert tried["x"] == [Trial(0.1, "momentum=0.9999997")], "1, to six digits, is beyond the ends"
    with pytest.raises(InputError, match="arms.x: after 1 trials the search draws nothing new"):
        next_trials(changed, tried, scores.assign(options="momentum=0.9999997"))


def test_without_optuna_a_search_says_what_to_install(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=r"needs Optuna, which is not installed: pip install 'tamcl\[search\]'"):
        first_trials(load_scenario(str(tiny), ["protocol.search=tpe", "protocol.trials=4"]))


@pytest.mark.parametrize("kind", ["random", "tpe"])
def test_a_search_depends_on_what_was_found_alone(tiny: Path, kind: str) -> None:
    pytest.importorskip("optuna", reason="Optuna is not installed")
    scenario = load_scenario(str(tiny), [f"protocol.search={kind}", "protocol.trials=14"])

    def search() -> dict[str, list[float]]:
        tried = first_trials(scenario)
        for _ in range(20):
            found = {arm: {lr: -abs(np.log(lr / 0.13)) for lr, _ in made} for arm, made in tried.items()}
            more = next_trials(scenario, tried, scores(found, (("tam", tried["tam"][0].lr),)))
            tried = {arm: [*made, *more.get(arm, [])] for arm, made in tried.items()}
        return {arm: [lr for lr, _ in made] for arm, made in tried.items()}

    tried = search()
    assert tried == search()
    assert {arm: len(set(rates)) for arm, rates in tried.items()} == dict.fromkeys(scenario.arms, 14)
    for arm, config in scenario.arms.items():
        assert min(config.lr) <= min(tried[arm]) < max(tried[arm]) <= max(config.lr)


@pytest.mark.parametrize(("metric", "better"), [("online_accuracy", 1), ("online_loss", -1)])
def test_a_short_tpe_search_follows_the_scores_in_the_direction_of_the_metric(
    tiny: Path, metric: str, better: int
) -> None:
    pytest.importorskip("optuna", reason="Optuna is not installed")
    settings = ["protocol.search=tpe", "protocol.trials=8", f"protocol.tune_by={metric}", "arms.tam.lr=[0.001, 1.0]"]
    scenario = load_scenario(str(tiny), settings, ["tam"])

    def search(slope: int) -> list[float]:
        tried = first_trials(scenario)
        for _ in range(7):
            found = {"tam": {lr: slope * float(np.log10(lr)) for lr, _ in tried["tam"]}}
            tried = {"tam": [*tried["tam"], *next_trials(scenario, tried, scores(found, metric=metric))["tam"]]}
        return [lr for lr, _ in tried["tam"]]

    large, small = search(better), search(-better)
    assert large[:2] == small[:2]
    assert set(large[2:]).isdisjoint(small[2:])
    assert np.mean(np.log10(large[2:])) > np.mean(np.log10(small[2:])) + 0.5
