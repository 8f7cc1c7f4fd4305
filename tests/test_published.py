"""The page that holds studies against published numbers, from tables made by hand."""

from __future__ import annotations

import gzip
import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from tamcl.data.base import DataSet
from tamcl.data.mnist import MNIST
from tamcl.scenario.load import load_scenario, scenarios

ROOT = Path(__file__).parents[1]


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "analysis" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PUBLISHED = script("published")


def results(**tables: pd.DataFrame) -> Any:
    """What a study would give, in which every run is reported."""
    runs = pd.DataFrame({"arm": tables["online"]["arm"].unique()}) if "online" in tables else None
    return SimpleNamespace(phase=lambda table: table, **{"runs": runs, **tables})


def online(correct: dict[str, list[list[int]]]) -> pd.DataFrame:
    """Of each arm a row a seed: right answers of ten in every experience, in two rows of the table."""
    rows = [
        {"arm": arm, "seed": seed, "experience": experience, "n": n, "correct": right, "loss": 0.5 * n}
        for arm, seeds in correct.items()
        for seed, experiences in enumerate(seeds)
        for experience, count in enumerate(experiences)
        for n, right in ((8, count - 1), (2, 1))
    ]
    return pd.DataFrame(rows)


def test_online_accuracy_is_of_the_experiences_asked_for() -> None:
    found = results(online=online({"adam": [[5, 7, 9], [6, 8, 2]], "other": [[1, 1, 1]]}))
    assert PUBLISHED.online(2, 3)(found, "adam").to_dict() == {0: 0.8, 1: 0.5}
    assert PUBLISHED.online(1, 1, "loss")(found, "adam").to_dict() == {0: (8 * 4 + 2 * 1) / 10, 1: 3.4}


def test_one_step_transfer_by_hand() -> None:
    matrix = [[0.9, np.nan, np.nan], [0.5, 0.8, np.nan], [0.1, 0.6, 0.7]]  # trained on, evaluated on
    rows = [
        {"arm": "adam", "seed": 0, "trained_on": t, "evaluated_on": e, "accuracy": matrix[t][e]}
        for t in range(3)
        for e in range(t + 1)
    ]
    rows.append({"arm": "adam", "seed": 0, "trained_on": -1, "evaluated_on": 0, "accuracy": 0.3})
    found = PUBLISHED.one_step_transfer(results(eval=pd.DataFrame(rows)), "adam")
    assert found.to_dict() == {0: pytest.approx(((0.5 - 0.9) + (0.6 - 0.8)) / 2)}


def test_the_interval_is_welchs() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(0.5, 0.1, 6), rng.normal(0.6, 0.3, 11)
    difference, low, high = PUBLISHED.compare(pd.Series(ours), theirs.mean(), theirs.std(ddof=1), 11)
    expected = scipy.stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(0.95)
    assert difference == pytest.approx(ours.mean() - theirs.mean())
    assert (low, high) == pytest.approx(tuple(expected))


@pytest.mark.parametrize(
    ("correct", "deviation", "met"),
    [
        ([[5], [6], [7]], 0.001, "**yes**"),  # the interval holds 0.62
        ([[5], [5], [5]], 0.15, "**yes**"),  # it does not, but single runs differ by as much
        ([[5], [5], [5]], 0.05, "no"),
    ],
)
def test_a_number_is_met_by_its_interval_or_within_the_spread_of_runs(
    correct: list[list[int]], deviation: float, met: str
) -> None:
    row = PUBLISHED.Published("study", "adam", "what", PUBLISHED.online(1, 1), 0.62, deviation, 1000)
    assert PUBLISHED.number_row(row, results(online=online({"adam": correct})))[-1] == met
    for nothing in (None, results(online=online({"other": correct}))):
        assert PUBLISHED.number_row(row, nothing)[-1] == "not run here"


def test_a_figure_is_seen_where_the_interval_is_on_its_side() -> None:
    found = results(online=online({"a": [[9, 4], [8, 4], [9, 5]], "b": [[9, 9], [9, 8], [9, 10]]}))

    def verdict(difference: Any, above: bool) -> str:
        return PUBLISHED.figure_row(PUBLISHED.Shown("study", "what", difference, above), found)[-1]

    falls = PUBLISHED.change("a", (1, 1), (2, 2))
    assert [verdict(falls, above) for above in (False, True)] == ["**yes**", "no"]
    assert verdict(PUBLISHED.change("b", (1, 1), (2, 2)), True) == "cannot say"
    assert verdict(PUBLISHED.gap("b", "a", (2, 2)), True) == "**yes**"


def test_what_lacking_images_are_worth_is_the_slope_times_their_number() -> None:
    def study(count: int, correct: list[list[int]]) -> Any:
        return results(online=online({"adamw": correct}), runs=pd.DataFrame({"data": [json.dumps({"train": count})]}))

    text = PUBLISHED.images(study(58_000, [[6] * 5, [8] * 5]), study(48_000, [[5] * 5, [7] * 5]))
    assert "these runs had 58,000." in text
    assert "With 48,000" in text
    assert "-0.1000 [" in text
    assert text.endswith("the lacking ones are worth +0.0200.")  # a tenth for 10,000, and 2,000 are lacking


def test_every_row_is_about_a_scenario_that_has_its_arm() -> None:
    for row in PUBLISHED.NUMBERS:
        scenario = load_scenario(row.study)
        assert row.arm in scenario.arms
        assert len(scenario.arms[row.arm].lr) == 1 or row.study == "slowly_changing_regression"
    assert {row.study for row in PUBLISHED.FIGURES} <= set(scenarios())


def test_the_committed_page_has_every_row() -> None:
    text = (ROOT / "docs" / "published.md").read_text(encoding="utf-8")
    assert text.startswith("# Published numbers\n")
    for row in PUBLISHED.NUMBERS:
        assert re.search(rf"^\| `{row.study}` \| `{row.arm}` \| {re.escape(row.what)} \|", text, flags=re.MULTILINE)
    for row in PUBLISHED.FIGURES:
        assert f"| `{row.study}` | {row.what} |" in text


def test_fewer_images_are_some_of_them_with_their_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    whole = DataSet(
        "mnist",
        *(rng.integers(0, 256, (30, 1, 28, 28), dtype=np.uint8), rng.integers(0, 10, 30)),
        *(rng.integers(0, 256, (20, 1, 28, 28), dtype=np.uint8), rng.integers(0, 10, 20)),
        classes=10,
        official=(60_000, 10_000),
    )
    with monkeypatch.context() as patch:
        patch.setattr(MNIST, "load", lambda self, root, allow_subset: whole)
        script("fewer_images").keep(12, tmp_path)
    assert gzip.decompress((tmp_path / "MNIST/raw/train-labels-idx1-ubyte.gz").read_bytes())[:8] == bytes(
        [0, 0, 8, 1, 0, 0, 0, 12]
    )
    data = MNIST().load(tmp_path, allow_subset=True)
    places = [int(np.flatnonzero((whole.train_x == image).all((1, 2, 3)))[0]) for image in data.train_x]
    assert places == sorted(set(places))
    assert len(places) == 12
    assert data.train_y.tolist() == whole.train_y[places].tolist()
    np.testing.assert_array_equal(data.test_x, whole.test_x)
