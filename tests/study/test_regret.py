"""Oracles of a study: what is trained, and what goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from tamcl.errors import InputError
from tamcl.report import oracle_verdicts, write_report
from tamcl.results import load_results
from tamcl.study.compare import compare
from tamcl.study.regret import train_oracle
from tests.helpers import interrupted
from tests.oracles import ARMS, KINDS, RATES, scenario_of, tables
from tests.report.helpers import Page

pytestmark = pytest.mark.usefixtures("oracles_in_this_process")


@pytest.fixture
def study(without_oracles: Path, tmp_path: Path) -> Path:
    return shutil.copytree(without_oracles, tmp_path / "study")


@pytest.mark.parametrize("kind", KINDS)
def test_an_oracle_has_the_arms_rates_seeds_and_mini_batches_of_the_study(with_oracles: Path, kind: str) -> None:
    own, oracle = tables(with_oracles, "runs", kind)
    cells = ["arm", "lr", "seed", "status"]
    assert_frame_equal(own[cells].reset_index(drop=True), oracle[cells], check_exact=True)
    assert own.groupby("arm")["lr"].first().to_dict() == RATES
    assert set(oracle["phase"]) == {"report"}
    assert [json.loads(config)["stream"]["oracle"] for config in oracle["config"]] == [kind] * 4
    assert (own["fingerprint"].to_numpy() == oracle["fingerprint"].to_numpy()).all() == (kind == "restart")
    own, oracle = tables(with_oracles, "online", kind)
    batches = ["arm", "lr", "seed", "experience", "step", "n"]
    assert_frame_equal(own[batches].reset_index(drop=True), oracle[batches], check_exact=True)
    # Before the first shift nothing differs, and after it everything may.
    first = own["experience"].to_numpy() == 0
    assert (own["loss"].to_numpy() == oracle["loss"].to_numpy())[first].all()
    assert not (own["loss"].to_numpy() == oracle["loss"].to_numpy())[~first].all()
    assert not (
        with_oracles / "oracles" / kind / "continual.parquet"
    ).is_file()  # it changes no result, so it is left out


def test_the_restart_oracle_starts_anew_at_every_shift(with_oracles: Path) -> None:
    _, oracle = tables(with_oracles, "online", "restart")
    starts = oracle.groupby(["arm", "seed", "experience"]).head(1)
    np.testing.assert_allclose(starts["loss"], np.log(10), atol=0.5)  # as before any training


def test_an_oracle_that_was_stopped_goes_on(study: Path, with_oracles: Path) -> None:
    with interrupted(after=2):
        train_oracle(study, "restart")
    unfinished = "The restart oracle was asked for and not trained to its end: see tamcl regret."
    assert oracle_verdicts(load_results(study)) == [unfinished]
    assert unfinished in Page(write_report(study).read_text(encoding="utf-8")).text
    seen = []
    stopped = train_oracle(study, "restart", on_progress=seen.append)
    assert [progress.done for progress in seen] == [2, 3, 4]
    assert {progress.phase for progress in seen} == {"restart oracle"}
    at_once = load_results(with_oracles / "oracles" / "restart")
    for name in ("online", "eval", "metrics", "comparisons"):
        assert_frame_equal(getattr(stopped, name), getattr(at_once, name), check_exact=True)


def test_more_seeds_and_other_rates_of_the_study_are_trained_as_well(study: Path, tiny: Path) -> None:
    train_oracle(study, "no_shift")
    compare(scenario_of(tiny, "protocol.seeds=3", "protocol.extend=1"), study)
    rates = load_results(study).phase(load_results(study).runs).groupby("arm")["lr"].first().to_dict()
    missing = sum(3 if rates[arm] != rate else 1 for arm, rate in RATES.items())
    assert missing > 2  # a rate has moved
    caution = (
        f"{missing} of 6 reported runs have no counterpart in the no-shift oracle, since the study has more seeds,"
    )
    assert oracle_verdicts(load_results(study))[0].startswith(caution)
    trained = []
    oracle = train_oracle(study, "no_shift", on_progress=trained.append)
    assert [progress.done for progress in trained] == list(range(6 - missing, 7))
    assert oracle.runs.groupby("arm")["lr"].unique().map(list).to_dict() == {arm: [rates[arm]] for arm in ARMS}
    assert set(oracle.runs["seed"]) == {0, 1, 2}
    assert oracle.study["scenario"]["protocol"]["seeds"] == 3
    sentences = oracle_verdicts(load_results(study))
    assert len(sentences) == 2
    assert all("3 seeds" in sentence for sentence in sentences)


def test_a_study_without_a_result_has_no_oracle(study: Path) -> None:
    runs = pd.read_parquet(study / "runs.parquet")
    runs[runs["phase"] == "tune"].to_parquet(study / "runs.parquet")
    with pytest.raises(InputError, match="reports no arm, so there is nothing to hold against an oracle"):
        train_oracle(study, "restart")
    with pytest.raises(InputError, match="unknown oracle 'none': Known: no_shift, restart."):
        train_oracle(study, "none")
