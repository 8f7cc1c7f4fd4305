"""Answers of a study: how strong each is, what pandas and scipy say, and the same at equal learning rates."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tamcl.findings.answers import _amount, answers, same_lr
from tamcl.metrics import METRICS
from tamcl.report import verdicts
from tamcl.results import load_results
from tamcl.stats import compare
from tests.findings.helpers import small
from tests.synthetic_study import write_study


def by_hand(folder: Path, metric: str = "online_accuracy") -> dict[tuple[str, str], dict[str, float]]:
    """The paired comparisons of a study from its parquet files, in plain pandas and scipy."""
    runs = pd.read_parquet(folder / "runs.parquet")
    reported = runs[(runs["phase"] == "report") & (runs["status"] == "ok")][["arm", "lr", "seed"]]
    values = pd.read_parquet(folder / "metrics.parquet").merge(reported).query("metric == @metric")
    wide = values.pivot(index="seed", columns="arm", values="value")
    pairs = [tuple(p) for p in json.loads((folder / "study.json").read_text())["scenario"]["protocol"]["pairs"]]
    found = {}
    for a, b in pairs:
        d = (wide[a] - wide[b]).dropna().to_numpy()
        test = stats.permutation_test(
            (d,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", n_resamples=np.inf, vectorized=True
        )
        low, high = stats.ttest_1samp(d, 0).confidence_interval(0.95)  # Student's, as for all below 6 seeds
        found[a, b] = {"diff": d.mean(), "low": low, "high": high, "p": test.pvalue, "n": len(d)}
    ordered = sorted(found, key=lambda pair: found[pair]["p"])
    least = 0.0
    for place, pair in enumerate(ordered):
        least = max(least, min(1.0, found[pair]["p"] * (len(ordered) - place)))
        found[pair]["holm"] = least
    return found


def test_verdict_sentences_agree_with_pandas_and_scipy(tmp_path: Path) -> None:
    """Five seeds, so that the interval is Student's; adam_cm is 8 points below adam, and tam_frozen like tam."""
    arms = ["sgdm", "tam", "tam_frozen", "adam", "adam_cm"]
    folder = write_study(tmp_path, arms=arms, seeds=5, tune_seeds=2, experiences=3, steps=30)
    tables = {name: pd.read_parquet(folder / f"{name}.parquet") for name in ("metrics", "runs")}
    pairs = [("tam", "sgdm"), ("tam", "tam_frozen"), ("adam_cm", "adam")]
    compare(tables["metrics"], tables["runs"], pairs=pairs).to_parquet(folder / "comparisons.parquet")
    hand = by_hand(folder)
    for sentence, pair in zip(verdicts(load_results(folder)), pairs, strict=True):
        own = {key: 100 * value if key in ("diff", "low", "high") else value for key, value in hand[pair].items()}
        numbers = re.search(r"95% interval ([+-]?[\d.]+) to ([+-]?[\d.]+), (\d+) seeds, p = ([\d.]+)", sentence)
        assert numbers, sentence
        places = len(numbers[1].partition(".")[2])
        turned = -1 if sentence.startswith(f"{pair[1]} is ahead") else 1
        ends = sorted((turned * own["low"], turned * own["high"]))
        assert [float(numbers[1]), float(numbers[2])] == pytest.approx(ends, abs=0.51 * 10**-places)
        assert f"{turned * own['diff']:+.{places}f}".lstrip("+") in sentence
        assert numbers[3] == "5"
        assert float(numbers[4]) == pytest.approx(own["p"], rel=0.05)
        if own["holm"] != own["p"]:
            after = re.search(r", ([\d.]+) after Holm", sentence)
            assert after, sentence
            assert float(after[1]) == pytest.approx(own["holm"], rel=0.05)
    frozen = {key: 100 * hand["tam", "tam_frozen"][key] for key in ("diff", "low", "high")}
    first = verdicts(load_results(folder))[0]
    clause = re.search(
        r"; tam_frozen \(SGDM at half its learning rate after the first step\) could do as well \(([^)]*)\): (.*)",
        first,
    )
    assert clause, first
    shown = [float(number) for number in re.findall(r"[+-][\d.]+", clause[1])]
    assert shown == pytest.approx([frozen["diff"], frozen["low"], frozen["high"]], abs=0.051)
    assert clause[2] == "no evidence for the angle between gradient and momentum."


@pytest.mark.parametrize(
    ("row", "strength"),
    [
        pytest.param((8, 0.01, 0.02, 0.9, 0.1, 0.3), "shown", id="shown"),
        pytest.param((8, 0.03, 0.06, 0.9, 0.1, 0.3), "hint", id="not after Holm"),
        pytest.param((8, 0.10, 0.10, 0.9, -0.1, 0.3), "open", id="open"),
        pytest.param((4, 0.125, 0.125, 1.0, 0.1, 0.3), "hint", id="all of few seeds"),
        pytest.param((4, 0.125, 0.125, 0.0, -0.3, -0.1), "hint", id="none of few seeds"),
        pytest.param((4, 0.125, 0.125, 1.0, -0.1, 0.3), "open", id="all of few seeds that lie far apart"),
        pytest.param((4, 0.500, 0.500, 0.75, 0.1, 0.3), "open", id="most of few seeds"),
        pytest.param((1, 1.000, 1.000, 1.0, np.nan, np.nan), "open", id="one seed"),
    ],
)
def test_strength_of_an_answer(tmp_path: Path, row: tuple[float, ...], strength: str) -> None:
    study = small(tmp_path, arms=["sgdm", "tam"])
    columns = ["n_pairs", "p_value", "p_adjusted", "prob_a_better", "ci_low", "ci_high"]
    study.results.comparisons[columns] = row
    assert [answer.strength for answer in answers(study)] == [strength]


@pytest.mark.parametrize(
    ("best", "words"),
    [
        (0.71, "(tam 0.2, tam_frozen 0.067) by 9.0 points, on the tuning seeds: most of that gap goes when"),
        (0.69, "(tam 0.2, tam_frozen 0.067) by 11.0 points, on the tuning seeds."),
        (0.85, "(tam 0.2, tam_frozen 0.067) not at all (−5.0 points), on the tuning seeds: that gap goes when"),
    ],
    ids=["less than half is left", "more than half is left", "turned"],
)
def test_a_gap_goes_if_less_than_half_of_it_is_left_at_the_own_rates(tmp_path: Path, best: float, words: str) -> None:
    """At 0.2 tam is 20 points ahead, which is the most; tam_frozen's own rate is 0.067."""
    study = small(tmp_path, arms=["tam", "tam_frozen"])
    metrics = study.results.metrics
    table = metrics[metrics["metric"] == "online_accuracy"]
    score = {("tam", 0.2): 0.8, ("tam_frozen", 0.067): best}
    otherwise = {"tam": 0.7, "tam_frozen": 0.6}
    keys = zip(table["arm"], table["lr"], strict=True)
    metrics.loc[table.index, "value"] = [score.get(key, otherwise[key[0]]) for key in keys]
    said = same_lr(study, "tam", "tam_frozen")
    assert said.startswith("At the same learning rate 0.2 tam would be ahead of tam_frozen by 20.0 points;")
    assert words in said


def test_an_amount_has_its_unit_and_no_minus_before_a_zero() -> None:
    assert _amount(METRICS["online_accuracy"], -0.0004) == "0.0 points"
    assert _amount(METRICS["online_accuracy"], -0.0104) == "−1.0 points"
    assert _amount(METRICS["online_loss"], 0.0987) == "0.0987 of online loss"
    assert _amount(METRICS["recovery_steps"], 12.3) == "12.3 mini-batches"


def test_a_pair_at_one_rate_has_no_other_rate_to_be_shown_at(tmp_path: Path) -> None:
    study = small(tmp_path, arms=["tam", "tam_frozen"])
    metrics = study.results.metrics
    table = metrics[metrics["metric"] == "online_accuracy"]
    score = {("tam", 0.2): 0.9, ("tam_frozen", 0.2): 0.7}
    metrics.loc[table.index, "value"] = [score.get(key, 0.6) for key in zip(table["arm"], table["lr"], strict=True)]
    assert same_lr(study, "tam", "tam_frozen") == ""
