"""What a reader has to know before relying on the answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tamcl.findings.cautions import cautions
from tamcl.findings.study import Study
from tamcl.scenario.load import load_scenario
from tamcl.study import compare
from tests.findings.helpers import small


def test_a_pair_that_lost_seeds_does_not_make_the_study_too_small(tmp_path: Path) -> None:
    lost = [("tam_frozen", seed) for seed in range(5)]
    study = small(tmp_path, arms=["sgdm", "tam", "tam_frozen"], seeds=8, diverged=lost)
    assert sorted(study.comparisons.query("metric == 'online_accuracy'")["n_pairs"]) == [3, 8]
    assert not [words for words in cautions(study) if "Too few seeds" in words]


@pytest.mark.parametrize(
    ("since", "done", "expected"),
    [
        (0.0, True, []),
        (0.0, False, ["Claims were declared to be repeated on fresh seeds, and that was not finished"]),
        (0.01, True, ["The claims that were repeated on fresh seeds were declared of an earlier state"]),
    ],
    ids=["as declared", "stopped", "other answers by now"],
)
def test_claims_that_are_not_confirmed_as_declared_are_said(
    tmp_path: Path, since: float, done: bool, expected: list[str]
) -> None:
    study = small(tmp_path, arms=["sgdm", "tam"])
    (tmp_path / "confirm").mkdir()
    row = study.comparisons.query("metric == 'online_accuracy'").iloc[0]
    claim = {"arm_a": row["arm_a"], "arm_b": row["arm_b"], "metric": row["metric"], "diff": row["diff"] - since}
    declared = {"seeds": [2000], "claims": [claim], "rates": {}}
    (tmp_path / "confirm" / "claims.json").write_text(json.dumps(declared))
    if done:
        study.results.comparisons.to_parquet(tmp_path / "confirm" / "comparisons.parquet")
    found = [words for words in cautions(study) if "fresh seeds" in words]
    assert [words.startswith(start) for words, start in zip(found, expected, strict=True)] == [True] * len(expected)


def test_runs_whose_weights_did_not_move_are_said(tmp_path: Path) -> None:
    study = small(tmp_path, arms=["sgdm", "tam", "adam"], seeds=3, diverged=[("adam", 0)])
    assert not [words for words in cautions(study) if "nothing was trained" in words]
    runs, again = study.results.runs, Study(study.results)
    still = (runs["arm"] == "tam") & (runs["seed"] < 2) | (runs["arm"] == "adam") & (runs["seed"] == 0)
    runs.loc[still, "final_weights"] = runs["initial_weights"]
    runs.loc[runs["arm"] == "sgdm", ["initial_weights", "final_weights"]] = ""  # by a version that kept no digests
    [said] = [words for words in cautions(again) if "nothing was trained" in words]
    assert said.startswith("2 of 3 reported runs of tam ended with the weights that they began with, to the last bit")


def test_a_clip_that_stops_all_training_is_said_before_and_after(
    tiny: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = ["strategy.clip=1e-30", "protocol.seeds=2", "protocol.tune_seeds=1"]
    results = compare(load_scenario(tiny, settings, ["sgdm", "tam"]), tmp_path, progress=False)
    before = [line for line in capfd.readouterr().err.splitlines() if "move no weight" in line]
    assert [line.partition(";")[0] for line in before] == [
        f"tamcl: arms.{arm}: its first steps move no weight" for arm in ("sgdm", "tam")
    ]
    assert "See strategy.clip = 1e-30, the learning rate and the options of sgd" in before[0]
    after = [words.partition(" ended")[0] for words in cautions(Study(results)) if "nothing was trained" in words]
    assert after == ["2 of 2 reported runs of sgdm", "2 of 2 reported runs of tam"]
