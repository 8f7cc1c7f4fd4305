"""Sentences on comparisons, in full."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tamcl.findings.verdicts import full_verdict, null_verdict, oracle_verdict, outcome, verdict
from tamcl.metrics import METRICS
from tamcl.results import TABLES
from tamcl.stats import between, compare


def row(metric="online_accuracy", n=10, diff=0.021, ci=(0.014, 0.028), p=0.00195, adjusted=None, better=1.0):
    return {
        **{"metric": metric, "arm_a": "tam", "arm_b": "sgdm", "n_pairs": n, "diff": diff},
        **{"ci_low": ci[0], "ci_high": ci[1], "p_value": p, "p_adjusted": p if adjusted is None else adjusted},
        "prob_a_better": better,
    }


VERDICTS = [
    (row(), "tam beats sgdm by 2.1 points of online accuracy (95% interval 1.4 to 2.8, 10 seeds, p = 0.002)."),
    (
        row(diff=-0.021, ci=(-0.028, -0.014), adjusted=0.0293, better=0.0),
        "sgdm beats tam by 2.1 points of online accuracy"
        " (95% interval 1.4 to 2.8, 10 seeds, p = 0.002, 0.029 after Holm).",
    ),
    (
        row("forgetting"),
        "sgdm beats tam by 2.1 points less forgetting (95% interval 1.4 to 2.8, 10 seeds, p = 0.002).",
    ),
    (
        row("online_loss", diff=-0.0987, ci=(-0.125, -0.071)),
        "tam beats sgdm by 0.099 less online loss (95% interval 0.071 to 0.125, 10 seeds, p = 0.002).",
    ),
    (
        row("recovery_steps", diff=-12.3, ci=(-15.04, -9.96), p=0.0001, better=1.0),
        "tam beats sgdm by 12.3 mini-batches less time to recover (95% interval 10.0 to 15.0, 10 seeds, p < 0.001).",
    ),
    (
        row(diff=0.0021, ci=(0.0017, 0.0024)),
        "tam beats sgdm by 0.210 points of online accuracy (95% interval 0.170 to 0.240, 10 seeds, p = 0.002).",
    ),
    (
        row(diff=0.021, ci=(0.02099999, 0.02100001)),
        "tam beats sgdm by 2.1000 points of online accuracy (95% interval 2.1000 to 2.1000, 10 seeds, p = 0.002).",
    ),
    (
        row(p=0.02, adjusted=0.3),
        "tam is ahead of sgdm by 2.1 points of online accuracy"
        " (95% interval 1.4 to 2.8, 10 seeds, p = 0.02, 0.3 after Holm): with so many comparisons this may be chance.",
    ),
    (
        row(n=4, p=0.125),
        "tam is ahead of sgdm by 2.1 points of online accuracy, on every seed"
        " (95% interval 1.4 to 2.8, 4 seeds, p = 0.12): a hint, as 4 seeds cannot give a p below 0.12.",
    ),
    (
        row(diff=0.002, ci=(-0.005, 0.009), p=0.61, better=0.6),
        "No evidence of a difference between tam and sgdm in online accuracy:"
        " tam minus sgdm is +0.2 points (95% interval -0.5 to +0.9, 10 seeds, p = 0.61).",
    ),
    (
        row(n=3, diff=0.002, ci=(-0.015, 0.019), p=0.75, better=2 / 3),
        "No evidence of a difference between tam and sgdm in online accuracy: tam minus sgdm is +0.2 points"
        " (95% interval -1.5 to +1.9, 3 seeds, p = 0.75), and 3 seeds cannot give a p below 0.25.",
    ),
    (
        row(n=1, ci=(np.nan, np.nan), p=1.0),
        "tam minus sgdm is +2.1 points of online accuracy on the one seed they share:"
        " one seed says nothing of the next.",
    ),
    (
        row(n=0, diff=np.nan, ci=(np.nan, np.nan), p=np.nan, better=np.nan),
        "tam and sgdm share no seed with a value of online accuracy.",
    ),
    (
        row(diff=0.0, ci=(0.0, 0.0), p=1.0, better=0.5),
        "No evidence of a difference between tam and sgdm in online accuracy:"
        " tam minus sgdm is +0.0 points (95% interval +0.0 to +0.0, 10 seeds, p = 1).",
    ),
]


@pytest.mark.parametrize(("comparison", "sentence"), VERDICTS, ids=range(len(VERDICTS)))
def test_verdict(comparison, sentence):
    assert verdict(comparison) == sentence
    assert verdict(pd.Series(comparison), METRICS[comparison["metric"]]) == sentence
    assert verdict(comparison, n_seeds=comparison["n_pairs"]) == sentence


def test_verdict_says_which_seeds_are_missing():
    assert verdict(row(), n_seeds=12).endswith("p = 0.002). 2 of 12 seeds are missing, where not both arms finished.")


def test_verdict_is_the_same_from_either_side():
    for comparison, sentence in VERDICTS:
        if "beats" in sentence or "ahead" in sentence:
            table = pd.DataFrame([comparison | {"scenario": "flips", "mean_a": 0.0, "mean_b": 0.0}])
            assert verdict(between(table, "sgdm", "tam").iloc[0]) == sentence


NULL_VERDICTS = [
    (
        row(),
        "tam beats sgdm, its null model, by 2.1 points of online accuracy"
        " (95% interval 1.4 to 2.8, 10 seeds, p = 0.002).",
    ),
    (
        row("drop"),
        "sgdm, the null model of tam, beats it by 2.1 points less drop at a shift"
        " (95% interval 1.4 to 2.8, 10 seeds, p = 0.002).",
    ),
    (
        row(diff=0.001, ci=(-0.004, 0.006), p=0.63, better=0.5),
        "sgdm, the null model of tam, does as well in online accuracy:"
        " tam minus sgdm is +0.1 points (95% interval -0.4 to +0.6, 10 seeds, p = 0.63).",
    ),
    (
        row(p=0.02, adjusted=0.3),
        "sgdm, the null model of tam, could do as well: a gain was not shown in online accuracy:"
        " tam minus sgdm is +2.1 points (95% interval +1.4 to +2.8, 10 seeds, p = 0.02, 0.3 after Holm).",
    ),
    (
        row(n=4, p=0.125),
        "sgdm, the null model of tam, could do as well: a gain was not shown in online accuracy: tam minus sgdm is +2.1"
        " points (95% interval +1.4 to +2.8, 4 seeds, p = 0.12), and 4 seeds cannot give a p below 0.12.",
    ),
    (
        row(n=1, ci=(np.nan, np.nan), p=1.0),
        "tam minus sgdm is +2.1 points of online accuracy on the one seed they share:"
        " one seed says nothing of the next.",
    ),
]


@pytest.mark.parametrize(("comparison", "sentence"), NULL_VERDICTS, ids=range(len(NULL_VERDICTS)))
def test_null_verdict(comparison, sentence):
    assert null_verdict(comparison) == sentence


def test_sentences_of_a_real_comparison():
    rng = np.random.default_rng(0)
    common = rng.normal(0.6, 0.1, 10)
    values = {"tam": common + 0.02 + rng.normal(0, 0.003, 10), "sgdm": common}
    rows = [
        ("flips", arm, 0.1, "", seed, "online_accuracy", value)
        for arm in values
        for seed, value in enumerate(values[arm])
    ]
    metrics = pd.DataFrame(rows, columns=list(TABLES["metrics"].columns))
    comparison = compare(metrics, pairs=[("tam", "sgdm")]).iloc[0]
    d = 100 * (values["tam"] - values["sgdm"])
    assert verdict(comparison).startswith(f"tam beats sgdm by {d.mean():.2f} points of online accuracy (95% interval ")
    assert verdict(comparison).endswith(", 10 seeds, p = 0.002).")


BEATS = "tam beats sgdm by 2.1 points of online accuracy (95% interval 1.4 to 2.8, 10 seeds, p = 0.002)"
AS_WELL = row(diff=0.001, ci=(-0.004, 0.006), p=0.63, better=0.5)
FULL = [
    (row(), [AS_WELL | {"arm_b": "n"}], f"{BEATS}; n does as well (+0.1 points, -0.4 to +0.6): no evidence for it."),
    (row(), [row() | {"arm_b": "n"}], f"{BEATS}; tam beats n (+2.1 points, +1.4 to +2.8): evidence for it."),
    (
        row(),
        [row(diff=-0.021, ci=(-0.028, -0.014)) | {"arm_b": "n"}],
        f"{BEATS}; n does better than tam (-2.1 points, -2.8 to -1.4): no evidence for it.",
    ),
    (
        row(),
        [row() | {"arm_b": "m"}, AS_WELL | {"arm_b": "n"}],
        f"{BEATS}; tam beats m (+2.1 points, +1.4 to +2.8), n does as well (+0.1 points, -0.4 to +0.6):"
        " no evidence for it.",
    ),
    (
        row(),
        [AS_WELL | {"arm_b": "m"}, AS_WELL | {"arm_b": "n"}],
        f"{BEATS}; m and n do as well (+0.1 points, -0.4 to +0.6; +0.1 points, -0.4 to +0.6): no evidence for it.",
    ),
    (
        row(),
        [row(p=0.03, adjusted=0.06) | {"arm_b": "n"}],
        f"{BEATS}; n could do as well (+2.1 points, +1.4 to +2.8): no evidence for it.",
    ),
    (row(), [row(n=1) | {"arm_b": "n"}], f"{BEATS}."),
    (row(), [], f"{BEATS}."),
]


@pytest.mark.parametrize(("comparison", "nulls", "sentence"), FULL, ids=range(len(FULL)))
def test_full_verdict(comparison, nulls, sentence):
    assert full_verdict(comparison, nulls, mechanism="it") == sentence


OUTCOMES = [
    ("shown", row(), row(diff=0.01), "held", "Held on fresh seeds: tam beats sgdm by 1.0 points"),
    ("hint", row(), row(), "held", "Held on fresh seeds: tam beats sgdm"),
    ("shown", row(), row(p=0.03, adjusted=0.06), "not again", "Not shown again on fresh seeds: tam is ahead of sgdm"),
    ("hint", row(), row(p=0.03, adjusted=0.06), "not again", "Not shown on fresh seeds either: tam is ahead of sgdm"),
    ("shown", row(), AS_WELL, "not again", "Not shown again on fresh seeds: no evidence of a difference"),
    ("shown", row(), row(diff=-0.02, ci=(-0.03, -0.01)), "not again", "Turned round on fresh seeds: sgdm beats tam"),
    (
        "open",
        AS_WELL,
        AS_WELL,
        "none again",
        "No difference was claimed, and none is shown on fresh seeds: no evidence",
    ),
    ("open", AS_WELL, row(), "now shown", "No difference was claimed, and one is shown on fresh seeds: tam beats sgdm"),
    ("shown", row(), row(n=1, ci=(np.nan, np.nan), p=1.0), "not again", "Not shown again on fresh seeds: tam minus"),
]


@pytest.mark.parametrize(("strength", "claim", "again", "kind", "words"), OUTCOMES, ids=range(len(OUTCOMES)))
def test_outcome(strength, claim, again, kind, words):
    found, sentence = outcome(claim | {"strength": strength}, again)
    assert found == kind
    assert sentence.startswith(words)


ORACLE_VERDICTS = [
    (
        (row(diff=-0.031, ci=(-0.04, -0.022), adjusted=0.0117, better=0.0), "restart"),
        "tam is 3.1 points of online accuracy below its restart oracle (95% interval 2.2 to 4.0, 10 seeds, p = 0.002,"
        " 0.012 after Holm): at its learning rate, starting anew at each shift would have done better.",
    ),
    (
        (row(), "restart"),
        "tam is 2.1 points of online accuracy above its restart oracle (95% interval 1.4 to 2.8, 10 seeds, p = 0.002):"
        " at its learning rate, what it carried over a shift helped.",
    ),
    (
        (row(diff=-0.021, ci=(-0.028, -0.014), better=0.0), "no_shift"),
        "tam is 2.1 points of online accuracy below its no-shift oracle (95% interval 1.4 to 2.8, 10 seeds, p = 0.002):"
        " at its learning rate, that is what the shifts cost.",
    ),
    (
        (row(), "no_shift"),
        "tam is 2.1 points of online accuracy above its no-shift oracle (95% interval 1.4 to 2.8, 10 seeds, p = 0.002):"
        " at its learning rate, it does better with the shifts than without them.",
    ),
    (
        (row(diff=-0.021, ci=(-0.028, -0.014), p=0.02, adjusted=0.3, better=0.0), "restart"),
        "tam is 2.1 points of online accuracy below its restart oracle (95% interval 1.4 to 2.8, 10 seeds, p = 0.02,"
        " 0.3 after Holm): with so many comparisons this may be chance.",
    ),
    (
        (row(n=4, p=0.125), "restart"),
        "tam is 2.1 points of online accuracy above its restart oracle, on every seed"
        " (95% interval 1.4 to 2.8, 4 seeds, p = 0.12): a hint, as 4 seeds cannot give a p below 0.12.",
    ),
    (
        (row(diff=0.001, ci=(-0.004, 0.006), p=0.63, better=0.5), "no_shift"),
        "No evidence of a difference between tam and its no-shift oracle in online accuracy:"
        " tam minus its no-shift oracle is +0.1 points (95% interval -0.4 to +0.6, 10 seeds, p = 0.63).",
    ),
    (
        (row(n=1, ci=(np.nan, np.nan), p=1.0), "restart"),
        "tam minus its restart oracle is +2.1 points of online accuracy on the one seed they share:"
        " one seed says nothing of the next. 9 of 10 seeds are missing, where not both arms finished.",
    ),
    (
        (row(n=0, diff=np.nan, ci=(np.nan, np.nan), p=np.nan), "restart"),
        "tam and its restart oracle share no seed with a value of online accuracy."
        " 10 of 10 seeds are missing, where not both arms finished.",
    ),
]


@pytest.mark.parametrize(("given", "sentence"), ORACLE_VERDICTS)
def test_oracle_verdict(given, sentence):
    comparison, kind = given
    planned = 10 if comparison["n_pairs"] < 2 else comparison["n_pairs"]
    assert oracle_verdict(comparison, kind, n_seeds=planned) == sentence
    assert oracle_verdict(pd.Series(comparison), kind, n_seeds=planned) == sentence


CLOSE = {"p": 0.6, "adjusted": 0.6}


@pytest.mark.parametrize(
    ("null", "words"),
    [
        (row(diff=0.001, ci=(-0.004, 0.006), **CLOSE), "tam_frozen, the null model of tam, does as well in online"),
        (row(diff=-0.03, ci=(-0.06, 0.0), **CLOSE), "tam_frozen, the null model of tam, does as well in online"),
        (row(diff=0.021, ci=(-0.001, 0.043), p=0.059, adjusted=0.059), "could do as well: a gain was not shown"),
        (row(diff=0.08, ci=(-0.02, 0.18), p=0.12, adjusted=0.12), "could do as well: a gain was not shown"),
        (row(diff=0.0, ci=(-0.012, 0.012), **CLOSE), "could do as well: a gain was not shown"),
    ],
)
def test_a_null_model_does_as_well_only_where_no_gain_of_a_point_is_left(null, words):
    null = null | {"arm_b": "tam_frozen"}
    assert words in null_verdict(null)
    does = "could do as well" if words.startswith("could") else "does as well"
    assert f"tam_frozen {does} (" in full_verdict(row(), [null])


def test_agreement_of_a_few_seeds_is_a_hint_only_where_the_interval_leaves_out_no_difference():
    agreed = row(n=3, ci=(-0.013, 0.035), p=0.25)
    assert verdict(agreed).startswith("No evidence of a difference")
    assert "a hint, as 3 seeds cannot" in verdict(row(n=3, ci=(0.013, 0.035), p=0.25))


def test_equal_differences_are_not_said_to_be_nothing():
    assert "by 0.030 points of online accuracy" in verdict(row(diff=0.0003, ci=(0.0003, 0.0003)))
