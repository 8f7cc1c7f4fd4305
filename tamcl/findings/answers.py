"""What a study says about its pairs of arms, in sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd

from tamcl import stats
from tamcl.findings.study import Study, records
from tamcl.findings.verdicts import Held, full_verdict, is_hint, null_verdict, outcome, verdict
from tamcl.metrics import Metric, find
from tamcl.results import Results, as_results
from tamcl.scenario.groups import listed_groups
from tamcl.scenario.schema import OF_ARMS, listed, of_arm
from tamcl.stats import ALPHA


class Strip(NamedTuple):
    """An interval on a line from 0 to 100 with no difference in the middle; the first arm is better to the right."""

    low: float
    mean: float
    width: float


class Answer(NamedTuple):
    """What is known of one pair of arms."""

    arm_a: str
    arm_b: str
    strength: Literal["shown", "hint", "open", "missing"]
    """Shown: adjusted p at most 0.05. Hint: the p-value is so only without the adjustment for many pairs, or all seeds
    agree and the interval leaves out 0 where their number cannot give a small p-value."""
    sentence: str
    reading: str
    """What the null model means for the answer; empty for other pairs."""
    strip: Strip | None
    same_lr: str = ""
    """How the pair looks at one learning rate for both."""
    again: tuple[Held, str] | None = None
    """What became of it on fresh seeds."""


MECHANISMS = {
    **dict.fromkeys(("tam", "adatam", "adatamw"), "the angle between gradient and momentum"),
    **dict.fromkeys(("adam_cm", "adamw_cm", "sgd_cm"), "the buffer of critical momenta"),
}
"""What an optimizer's null models lack, as far as tamcl knows."""


def answers(study: Study) -> list[Answer]:
    """Return what the study says about each of its pairs."""
    scale = strip_scale(study)
    return [_answer(study, a, b, scale) for a, b in study.pairs]


def verdicts(results: Results | str | Path) -> list[str]:
    """Return a sentence for every pair of arms that a study is about, on the metric that was tuned for.

    Parameters
    ----------
    results : Results or path
        Of a study, or its folder.
    """
    return [answer.sentence for answer in answers(Study(as_results(results)))]


def strip_scale(study: Study) -> float:
    """Return the largest difference that an interval of the answers reaches, in the units of the primary metric."""
    rows = study.comparisons[study.comparisons["metric"] == study.primary]
    return float(rows[["diff", "ci_low", "ci_high"]].abs().max().max()) if len(rows) else 0.0


def _answer(study: Study, a: str, b: str, scale: float) -> Answer:
    rows = _rows(study.comparisons, a, b)
    primary = next(iter(records(rows[rows["metric"] == study.primary])), None)
    if primary is None:
        without = " nor ".join(arm for arm in (a, b) if not study.finished(arm))
        why = f"no run of {without} was finished" if without else "no seed has a value for both"
        sentence = f"{a} and {b} cannot be compared in {find(study.primary).label.lower()}: {why}."
        return Answer(a, b, "missing", sentence, "", None)
    is_null = (a, b) in study.nulls
    sentence = null_verdict(primary, n_seeds=study.n_seeds) if is_null else _with_nulls(study, primary)
    strength = _strength(primary)
    reading = _null_reading(primary, strength) if is_null else ""
    strip, again = _strip(primary, scale), _again(study, a, b)
    return Answer(a, b, strength, sentence, reading, strip, same_lr(study, a, b), again)


def _rows(comparisons: pd.DataFrame, a: str, b: str) -> pd.DataFrame:
    return comparisons[(comparisons["arm_a"] == a) & (comparisons["arm_b"] == b)]


def _with_nulls(study: Study, row: dict[str, Any]) -> str:
    """Say what a pair shows and, in the same breath, what the null models of its method do."""
    of_metric = study.comparisons[study.comparisons["metric"] == study.primary]
    pair = (row["arm_a"], row["arm_b"])
    for method in pair:
        nulls = [null for m, null in study.pairs if m == method and (m, null) in study.nulls and null not in pair]
        rows = [found for null in nulls for found in records(_rows(of_metric, method, null))]
        if rows:
            words = [_null_words(study, method, found["arm_b"]) for found in rows]
            optimizer = study.scenario.get("arms", {}).get(method, {}).get("optimizer", "")
            mechanism = MECHANISMS.get(optimizer, f"the mechanism of {method}")
            return full_verdict(row, rows, words=words, mechanism=mechanism, n_seeds=study.n_seeds)
    return verdict(row, n_seeds=study.n_seeds)


def _null_words(study: Study, method: str, null: str) -> str:
    """Return what a null model is in a few words: in what it differs from its method."""
    arms = study.scenario.get("arms", {})
    other = {key: value for key, value in arms[null].items() if value != arms[method].get(key)}
    other = {key: value for key, value in other.items() if key not in OF_ARMS}
    if (interventions := of_arm(study.scenario, null)) != of_arm(study.scenario, method):
        other["interventions"] = listed(interventions) or "none"
    groups, of_other = (listed_groups(arms[arm].get("groups") or ()) for arm in (null, method))
    if groups != of_other:
        other["groups"] = groups or "none"
    usual = study.scenario.get("strategy", {}).get("optimizer_state", "")
    state, of_method = (arms[arm].get("optimizer_state") or usual for arm in (null, method))
    if state != of_method:
        other["optimizer_state"] = state
    if arms[method].get("optimizer") == "tam" and other == {"damping": 0.5}:
        is_whole = arms[method].get("start") != "zero"
        return f"SGDM at half its learning rate{' after the first step' if is_whole else ''}"
    return f"{method} with {', '.join(f'{key} = {value}' for key, value in other.items())}" if other else ""


def same_lr(study: Study, a: str, b: str) -> str:
    """Say how a pair looks at the shared learning rate where it looks most different, and with each at its own.

    Rates at which a tuning seed is missing are left out: an arm that diverged on it would look better or worse. Where
    less than half of the lead at a shared rate is left with each at its own, it is mostly the learning rate.
    """
    rows = _rows(study.same_lr, a, b)
    rows = rows[(rows["n_pairs"] > 0) & (rows["n_pairs"] == rows["n_pairs"].max())]
    at_best, shared = rows[rows["tuned"]], rows[~rows["tuned"]]
    if at_best.empty or shared.empty:
        return ""
    most, tuned = records(shared.loc[[shared["diff"].abs().idxmax()]])[0], records(at_best)[0]
    metric = find(study.primary)
    ahead, behind = (a, b) if metric.sign * most["diff"] >= 0 else (b, a)
    lead, left = abs(most["diff"]), tuned["diff"] * (1 if most["diff"] >= 0 else -1)
    if _amount(metric, lead) == _amount(metric, 0.0) or most["lr_a"] == tuned["lr_a"] == tuned["lr_b"]:
        return ""
    kept = f"by {_amount(metric, left)}" if left > 0 else f"not at all ({_amount(metric, left)})"
    words = (
        f"At the same learning rate {most['lr_a']:g} {ahead} would be ahead of {behind} by {_amount(metric, lead)};"
        f" with each at its own ({a} {tuned['lr_a']:g}, {b} {tuned['lr_b']:g}) {kept}, on the tuning seeds"
    )
    if study.tunes_options:
        words += ", always at the best options of each that were tried there"
    goes = "that gap goes" if left < lead / 10 else "most of that gap goes"
    return f"{words}: {goes} when each arm takes its best learning rate." if left < lead / 2 else f"{words}."


def _amount(metric: Metric, value: float) -> str:
    factor, unit = (100, "points") if metric.unit == "fraction" else (1, metric.unit)
    unit = f"of {metric.label.lower()}" if unit in metric.label.lower() else unit
    number = f"{round(factor * value, 1) + 0.0:.1f}" if factor == 100 else f"{value:.3g}"
    return f"{number.replace('-', '−')} {unit}"


def _again(study: Study, a: str, b: str) -> tuple[Held, str] | None:
    """Return what became of a pair's claim on fresh seeds."""
    found = study.confirmation
    for claim in found.claims if found and found.done else []:
        if (claim["arm_a"], claim["arm_b"]) == (a, b):
            rows = stats.between(found.comparisons, a, b)  # type: ignore[union-attr]
            for row in records(rows[rows["metric"] == claim["metric"]]):
                return outcome(claim, row, n_seeds=found.n_seeds)  # type: ignore[union-attr]
    return None


def _strength(row: dict[str, Any]) -> Literal["shown", "hint", "open"]:
    if stats.is_shown(row):
        return "shown"
    return "hint" if row["p_value"] <= ALPHA or is_hint(row, alpha=ALPHA) else "open"


def _null_reading(row: dict[str, Any], strength: str) -> str:
    """Say what a comparison with a null model means for the method."""
    method, null = row["arm_a"], row["arm_b"]
    if strength == "shown" and find(row["metric"]).sign * row["diff"] > 0:
        return f"{null} is {method} without its mechanism, so here the mechanism itself does something."
    return (
        f"{null} is {method} without its mechanism. Whatever {method} gains over other arms, this study gives no"
        " evidence that the mechanism is the reason."
    )


def _strip(row: dict[str, Any], scale: float) -> Strip | None:
    sign = find(row["metric"]).sign
    ends = sorted((sign * row["ci_low"], sign * row["ci_high"]))
    if not scale or any(end != end for end in ends):
        return None
    low, mean, high = (round(50 + 48 * value / scale, 2) for value in (ends[0], sign * row["diff"], ends[1]))
    return Strip(low, mean, round(high - low, 2))


def headline(study: Study) -> str:
    """Say in one sentence how many of the comparisons show a difference."""
    found = answers(study)
    label = find(study.primary).label.lower()
    if not found:
        return f"One arm alone has nothing to be compared with in {label}."
    shown = [answer for answer in found if answer.strength == "shown"]
    known = [answer for answer in found if answer.strength != "missing"] or found
    compared = f"{len(known)} comparison{'s' * (len(known) > 1)} in {label}"
    if not shown:
        return f"None of {compared} shows a difference at the 5 % level."
    pairs = ", ".join(f"{answer.arm_a} against {answer.arm_b}" for answer in shown)
    return f"{len(shown)} of {compared} show{'s' * (len(shown) == 1)} a difference at the 5 % level: {pairs}."


def confirmed(study: Study) -> str:
    """Say in one sentence which claims held on fresh seeds; nothing where none were repeated."""
    found = study.confirmation
    kinds = [answer.again[0] for answer in answers(study) if answer.again]
    if not found or not kinds:
        return ""
    count = len(kinds)
    parts = [
        ("held", "held"),
        ("not again", "not shown"),
        ("none again", "again no difference shown"),
        ("now shown", "a difference shown where none was claimed"),
    ]
    listed = ", ".join(f"{kinds.count(kind)} {words}" for kind, words in parts if kind in kinds)
    day = f" (declared {found.declared[:10]}, before they were run)" if found.declared else ""
    return f"{count} claim{'s' * (count > 1)} repeated on {found.n_seeds} fresh seeds{day}: {listed}."
