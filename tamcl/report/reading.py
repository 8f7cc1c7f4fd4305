"""What a study says: its answers in sentences, and what to know before relying on them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Any, Literal, NamedTuple

import pandas as pd

from tamcl import stats, tuning, verdicts
from tamcl.metrics import METRICS, find
from tamcl.results import Results

ALPHA = 0.05
"""Level of the tests."""


@dataclass(frozen=True)
class Study:
    """A study's results, as the report looks at them."""

    results: Results

    @property
    def scenario(self) -> dict[str, Any]:
        """What was run."""
        found: dict[str, Any] = self.results.study.get("scenario", {})
        return found

    @property
    def protocol(self) -> dict[str, Any]:
        """Seeds, tuning and pairs."""
        found: dict[str, Any] = self.scenario.get("protocol", {})
        return {"tune_by": "online_accuracy", "pairs": []} | found

    @property
    def primary(self) -> str:
        """The metric that the learning rates were chosen by, and that the answer is about."""
        return str(self.protocol["tune_by"])

    @cached_property
    def arms(self) -> list[str]:
        """All arms in the order of the scenario."""
        return list(dict.fromkeys([*self.scenario.get("arms", {}), *self.results.runs["arm"]]))

    @cached_property
    def pairs(self) -> list[tuple[str, str]]:
        """The comparisons that the answer is about: those of the scenario, else every arm against the first."""
        named = [(str(a), str(b)) for a, b in self.protocol["pairs"]]
        return named or [(arm, self.arms[0]) for arm in self.arms[1:]]

    @cached_property
    def nulls(self) -> set[tuple[str, str]]:
        """Pairs of a method and its null model."""
        arms = self.scenario.get("arms", {})
        return {(arm["null_of"], name) for name, arm in arms.items() if arm.get("null_of")}

    @cached_property
    def runs(self) -> pd.DataFrame:
        """Runs of the reported seeds."""
        return self.results.runs[self.results.runs["phase"] == "report"]

    @cached_property
    def online(self) -> pd.DataFrame:
        """Online rows of the reported runs that ended well; what is left of the others is no result."""
        return self._reported(self.results.online)

    @cached_property
    def evaluated(self) -> pd.DataFrame:
        """Evaluations of the reported runs that ended well."""
        return self._reported(self.results.eval)

    @cached_property
    def diagnostics(self) -> pd.DataFrame:
        """Diagnostics of the reported runs that ended well."""
        return self._reported(self.results.diagnostics)

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Metrics of the reported runs that ended well."""
        return self._reported(self.results.metrics)

    def _reported(self, table: pd.DataFrame) -> pd.DataFrame:
        return table.merge(self.runs.loc[self.runs["status"] == "ok", ["scenario", "arm", "lr", "seed"]])

    @property
    def shown_metrics(self) -> list[str]:
        """Metrics that have a value, the one that was tuned for first."""
        present = set(self.metrics.dropna(subset="value")["metric"])
        return sorted(present, key=lambda name: (name != self.primary, [*METRICS, name].index(name)))

    @cached_property
    def comparisons(self) -> pd.DataFrame:
        """The comparisons of the answer, turned as the scenario names them and in its order."""
        rows = [stats.between(self.results.comparisons, a, b) for a, b in self.pairs]
        table = pd.concat([self.results.comparisons.iloc[:0], *rows], ignore_index=True)
        return table[table["diff"].notna()].reset_index(drop=True)

    @cached_property
    def tuning(self) -> pd.DataFrame:
        """Score of every learning rate that was tried."""
        return tuning.select(self.results.metrics, self.results.runs, self.primary)

    @cached_property
    def rates(self) -> dict[str, float]:
        """The learning rate each arm was reported at; an arm that none was left for is absent."""
        found = self.runs.groupby("arm")["lr"].first()
        return {str(arm): float(lr) for arm, lr in found.items()}

    @cached_property
    def data(self) -> dict[str, Any]:
        """What the runs recorded about their data set."""
        return next((found for text in self.results.runs["data"] if (found := json.loads(text or "{}"))), {})

    @cached_property
    def versions(self) -> dict[str, list[str]]:
        """Versions that the runs recorded; a study that was continued elsewhere has several of a package."""
        found: dict[str, list[str]] = {}
        for text in self.results.runs["versions"].unique():
            for name, version in json.loads(text or "{}").items():
                found.setdefault(name, []).append(str(version))
        return {name: list(dict.fromkeys(versions)) for name, versions in found.items()}

    def finished(self, arm: str) -> bool:
        """Tell whether any reported run of an arm ended well."""
        return bool(((self.runs["arm"] == arm) & (self.runs["status"] == "ok")).any())

    @property
    def n_seeds(self) -> int:
        """Reported seeds that were planned."""
        return int(self.protocol.get("seeds", self.runs["seed"].nunique()))


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
    """Shown: adjusted p at most 0.05. Hint: the p-value is so only without the adjustment for many pairs, or every
    seed agrees where their number cannot give a small p-value."""
    sentence: str
    reading: str
    """What the null model means for the answer; empty for other pairs."""
    strip: Strip | None
    others: list[str]
    """Sentences about all other metrics."""


def answers(study: Study) -> list[Answer]:
    """Return what the study says about each of its pairs."""
    scale = strip_scale(study)
    return [_answer(study, a, b, scale) for a, b in study.pairs]


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table's rows by the names of their columns."""
    return [{str(column): value for column, value in row.items()} for row in table.to_dict("records")]


def strip_scale(study: Study) -> float:
    """Return the largest difference that an interval of the answers reaches, in the units of the primary metric."""
    rows = study.comparisons[study.comparisons["metric"] == study.primary]
    return float(rows[["diff", "ci_low", "ci_high"]].abs().max().max()) if len(rows) else 0.0


def _answer(study: Study, a: str, b: str, scale: float) -> Answer:
    rows = study.comparisons[(study.comparisons["arm_a"] == a) & (study.comparisons["arm_b"] == b)]
    sentences, primary = {}, None
    for row in records(rows):
        say = verdicts.null_verdict if (a, b) in study.nulls else verdicts.verdict
        sentences[row["metric"]] = say(row, n_seeds=study.n_seeds)
        primary = row if row["metric"] == study.primary else primary
    if primary is None:
        without = " nor ".join(arm for arm in (a, b) if not study.finished(arm))
        why = f"no run of {without} was finished" if without else "no seed has a value for both"
        sentence = f"{a} and {b} cannot be compared in {find(study.primary).label.lower()}: {why}."
        return Answer(a, b, "missing", sentence, "", None, list(sentences.values()))
    others = [sentences[name] for name in METRICS if name in sentences and name != study.primary]
    strength = _strength(primary)
    reading = _null_reading(primary, strength) if (a, b) in study.nulls else ""
    return Answer(a, b, strength, sentences[study.primary], reading, _strip(primary, scale), others)


def _strength(row: dict[str, Any]) -> Literal["shown", "hint", "open"]:
    if row["p_adjusted"] <= ALPHA:
        return "shown"
    agreed = row["prob_a_better"] in (0, 1) and stats.smallest_p(row["n_pairs"]) > ALPHA
    return "hint" if row["p_value"] <= ALPHA or (agreed and row["n_pairs"] > 1) else "open"


def _null_reading(row: dict[str, Any], strength: str) -> str:
    """Say what a comparison with a null model means for the method."""
    method, null = row["arm_a"], row["arm_b"]
    if strength == "shown" and find(row["metric"]).sign * row["diff"] > 0:
        return f"{null} is {method} without its mechanism, so here the mechanism itself does something."
    return (
        f"{null} is {method} without its mechanism. Whatever {method} gains over other arms, this study gives no"
        " evidence that the mechanism is the reason, rather than the learning rate that it amounts to."
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
    compared = f"{len(found)} comparison{'s' * (len(found) > 1)} in {label}"
    if not shown:
        return f"None of {compared} shows a difference at the 5 % level."
    pairs = ", ".join(f"{answer.arm_a} against {answer.arm_b}" for answer in shown)
    return f"{len(shown)} of {compared} show{'s' * (len(shown) == 1)} a difference at the 5 % level: {pairs}."


def cautions(study: Study) -> list[str]:
    """Return what a reader has to know before relying on the answers."""
    return [*_power(study), *edges(study), *_unfinished(study), *_unfair(study), *_oracle(study), *_same(study)]


def _power(study: Study) -> Iterator[str]:
    """Warn where so few seeds cannot give a small p-value."""
    rows = study.results.comparisons
    rows = rows[rows["metric"] == study.primary]
    if rows.empty:
        return
    seeds, comparisons = int(rows["n_pairs"].max()), len(rows)
    least = stats.smallest_p(seeds, comparisons)
    if least <= ALPHA:
        return
    enough = next(n for n in count(2) if stats.smallest_p(n, comparisons) <= ALPHA)
    adjusted = f" and p-values adjusted for {comparisons} comparisons" if comparisons > 1 else ""
    yield (
        f"Too few seeds for p < 0.05: with {seeds} seed{'s' * (seeds != 1)}{adjusted}, even the largest effect gives"
        f" p = {least:.2g}. It takes at least {enough} seeds (--seeds {enough}). Read the differences as hints."
    )


def edges(study: Study) -> list[str]:
    """Return a warning for every arm whose best learning rate may lie outside its grid."""
    warnings = []
    for row in records(study.tuning[study.tuning["on_edge"]]):
        rates = study.tuning.loc[study.tuning["arm"] == row["arm"], "lr"]
        side = "largest" if row["lr"] == rates.max() else "smallest"
        warnings.append(
            f"{row['arm']}: the best learning rate, {row['lr']:g}, is the {side} that was tried ({rates.min():g} to"
            f" {rates.max():g}). A better one may lie outside, so {row['arm']} may be better than shown."
        )
    return warnings


def _unfinished(study: Study) -> Iterator[str]:
    for name in study.arms:
        if name not in study.rates:
            yield f"{name} has no result: it diverged or failed at every learning rate that was tried."
    bad = study.runs[study.runs["status"] != "ok"]
    for arm, rows in bad.groupby("arm"):
        total = int((study.runs["arm"] == arm).sum())
        how = " and ".join(sorted(rows["status"].unique()))
        yield (
            f"{len(rows)} of {total} reported runs of {arm} {how}. Its numbers rest on the other runs and are too good"
            " if it is the hard seeds that are missing."
        )


def _unfair(study: Study) -> Iterator[str]:
    """Warn where arms were not treated alike, or the data are not the published ones."""
    trials = study.tuning.groupby("arm").size().reindex(study.arms, fill_value=1)
    if trials.min() < trials.max():
        numbers = ", ".join(f"{arm} {number}" for arm, number in trials.items())
        yield f"The arms had different numbers of learning rates to choose from: {numbers}."
    known = study.runs[study.runs["fingerprint"] != ""]
    if len(known) and known.groupby("seed")["fingerprint"].nunique().max() > 1:
        yield "Arms did not all see the same stream at the same seed, so differences are not fully paired."
    for name, versions in study.versions.items():
        if len(versions) > 1:
            yield f"The runs were made with several versions of {name}: {' and '.join(versions)}."
    data = study.data
    official = data.get("official")
    if official and [data.get("train"), data.get("test")] != list(official):
        yield (
            f"The data are a part of {data.get('name')}: {data.get('train')} of {official[0]} training images and"
            f" {data.get('test')} of {official[1]} test images."
        )


def _oracle(study: Study) -> Iterator[str]:
    """Say where the stream was made easier, so that its results are not taken for those of the stream."""
    oracle = study.scenario.get("stream", {}).get("oracle", "none")
    if oracle == "no_shift":
        yield "This is an oracle: the same amount of data without the shifts, to hold a result against."
    if oracle == "restart":
        yield "This is an oracle: model and optimizer were made anew at every shift, to hold a result against."


def tested_on(evaluation: dict[str, Any]) -> str:
    """Say which test images were used and when.

    Examples
    --------
    >>> tested_on({"samples": 100, "on": "seen"})
    '100 test images of every experience trained on so far, after each'
    """
    images = f"{evaluation['samples']} test images" if evaluation.get("samples") else "all test images"
    after = {
        "all": "of every experience, before training and after each",
        "seen": "of every experience trained on so far, after each",
        "current": "of the current experience after each, and of all at the end",
    }
    return f"{images} {after[evaluation.get('on', 'all')]}"


def _same(study: Study) -> Iterator[str]:
    """Say which arms are one and the same thing, so that their results are not taken for two."""
    values = study.metrics.pivot_table(index="arm", columns=["metric", "seed"], values="value")
    for number, arm in enumerate(values.index):
        for other in values.index[:number]:
            if values.loc[arm].equals(values.loc[other]):
                yield (
                    f"{other} and {arm} have the same value of every metric on every seed: at their learning rates they"
                    " act as one optimizer, and what is shown of both is one result, not two."
                )
