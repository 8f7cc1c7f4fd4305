"""What a reader has to know before relying on the answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tamcl.findings.cautions import cautions
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
