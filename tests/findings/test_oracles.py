"""What is said of a study beside its oracles: numbers by pandas and scipy, and what cannot be paired."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

from tamcl.report import oracle_verdicts, write_report
from tamcl.results import load_results
from tests.oracles import ARMS, KINDS, by_hand, said
from tests.report.helpers import Page

pytestmark = pytest.mark.usefixtures("oracles_in_this_process")


@pytest.mark.parametrize("kind", KINDS)
def test_sentences_say_what_pandas_and_scipy_compute(with_oracles: Path, kind: str) -> None:
    regret = by_hand(with_oracles, kind)
    p = {arm: 0.5 if regret[arm].min() * regret[arm].max() > 0 else 1.0 for arm in ARMS}  # of 4 patterns of signs
    adjusted = {arm: 1.0 if min(p.values()) == 0.5 else p[arm] for arm in ARMS}  # by Holm over two arms
    for arm, sentence in zip(ARMS, said(with_oracles, kind), strict=True):
        below, ends = regret[arm].mean(), stats.ttest_1samp(regret[arm], 0).confidence_interval(0.95)  # Student's
        numbers = re.search(r"95% interval ([+-]?[\d.]+) to ([+-]?[\d.]+), 2 seeds, p = ([\d.]+)", sentence)
        assert numbers, sentence
        if p[arm] == 1 or ends.low < 0 < ends.high:
            assert sentence.startswith("No evidence of a difference")
            assert f"{arm} minus its {kind.replace('_', '-')} oracle is {-below:+.1f} points" in sentence
            shown = [-ends.high, -ends.low]
        else:
            side = 1 if below > 0 else -1
            how = f"{side * below:.1f} points of online accuracy {'below' if below > 0 else 'above'} its "
            assert sentence.startswith(f"{arm} is {how}")
            assert "on every seed" in sentence
            shown = sorted([side * ends.low, side * ends.high])
        assert [float(numbers[1]), float(numbers[2])] == pytest.approx(shown, abs=0.051)
        assert float(numbers[3]) == p[arm]
        assert ("1 after Holm" in sentence) == (adjusted[arm] != p[arm])


CHANGES: dict[str, tuple[str, Callable[[pd.DataFrame], pd.DataFrame], list[str]]] = {
    "diverged": (
        "runs",
        lambda runs: runs.assign(status=runs["status"].where((runs["arm"] == "tam") | (runs["seed"] == 0), "diverged")),
        ["sgdm minus its restart oracle is .* on the one seed they share: .* 1 of 2 seeds are missing, where not"],
    ),
    "none left": (
        "runs",
        lambda runs: runs.assign(status=runs["status"].where(runs["arm"] == "tam", "failed")),
        ["sgdm and its restart oracle share no seed with a value of online accuracy. 2 of 2 seeds are missing,"],
    ),
    "another rate": (
        "runs",
        lambda runs: runs.assign(lr=runs["lr"].where(runs["arm"] == "tam", 0.7)),
        ["2 of 4 reported runs have no counterpart in the restart oracle, since the study has more seeds, or other"],
    ),
    "another optimizer file": (
        "runs",
        lambda runs: runs.assign(optimizer=runs["optimizer"].str.replace('"sgd"', '"sgd", "source": "a"')),
        ["2 of 4 reported runs have no counterpart in the restart oracle"],
    ),
    "another stream": (
        "runs",
        lambda runs: runs.assign(fingerprint=runs["fingerprint"].where(runs["seed"] == 0, "other")),
        ["2 of 4 runs of the restart oracle saw another stream than the study's and are left out."],
    ),
    "another version": (
        "runs",
        lambda runs: runs.assign(versions=json.dumps({"torch": "0.1"})),
        ["The restart oracle was trained with other versions of torch than the study: 0.1, not "],
    ),
    "other mini-batches": (
        "online",
        lambda online: online.assign(n=online["n"] + 1),
        ["lr 0.02, seed 0 and its oracle differ in their mini-batches: they cannot be held together."],
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_cannot_be_paired_is_left_out_and_said(with_changed_oracle: Callable[..., Path], change: str) -> None:
    table, edit, words = CHANGES[change]
    folder = with_changed_oracle(table, edit)
    sentences = oracle_verdicts(load_results(folder))
    page = Page(write_report(folder).read_text(encoding="utf-8"))
    for pattern in words:
        assert any(re.search(pattern, sentence) for sentence in sentences), sentences
    assert all(sentence in page.text for sentence in sentences)
    assert "nan" not in page.text


def test_an_oracle_without_shifts_that_has_those_of_the_study_is_no_oracle(with_oracles: Path, tmp_path: Path) -> None:
    """As of a stream of one's own that takes no notice of the oracle."""
    folder = shutil.copytree(with_oracles, tmp_path / "same")
    path = folder / "oracles" / "no_shift" / "runs.parquet"
    here, there = pd.read_parquet(folder / "runs.parquet"), pd.read_parquet(path)
    stream = here.groupby("seed")["fingerprint"].first()
    there.assign(fingerprint=there["seed"].map(stream)).to_parquet(path)
    said = oracle_verdicts(load_results(folder))
    assert any("4 of 4 runs of the no-shift oracle saw the study's own stream" in sentence for sentence in said), said
    assert not any("its no-shift oracle on" in sentence for sentence in said)
