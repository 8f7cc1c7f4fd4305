"""What a study says: its answers in sentences, and what to know before relying on them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd

from tamcl import stats, tuning, verdicts
from tamcl.errors import Damaged
from tamcl.metrics import METRICS, Metric, find
from tamcl.optim.transfer import transfer_lr
from tamcl.records import read_claims
from tamcl.results import Results, read_table
from tamcl.stats import ALPHA


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
        return self.results.arms

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
    def continual(self) -> pd.DataFrame:
        """Tests inside experiences of the reported runs that ended well."""
        return self._reported(self.results.continual)

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

    @property
    def core_metrics(self) -> list[str]:
        """Metrics that are shown first: those that say most, and the one that was tuned for."""
        return [name for name in self.shown_metrics if name == self.primary or find(name).core]

    @property
    def more_metrics(self) -> list[str]:
        """Metrics that say more of the same or of special cases."""
        return [name for name in self.shown_metrics if name not in self.core_metrics]

    @property
    def has_accuracy(self) -> bool:
        """Whether classes were learnt; where numbers are, there is a loss alone."""
        return bool(self.online["correct"].notna().any())

    @cached_property
    def differences(self) -> pd.DataFrame:
        """Paired differences of the answer's pairs, a row a seed and metric."""
        known = set(self.metrics["arm"])
        return stats.differences(self.metrics, pairs=[pair for pair in self.pairs if set(pair) <= known])

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
    def same_lr(self) -> pd.DataFrame:
        """The answer's pairs at every learning rate that both tried, and each arm at its own, on the tuning seeds."""
        table = tuning.same_lr(self.results.metrics, self.results.runs, self.primary, pairs=self.pairs)
        return table.astype({"tuned": bool})  # which an empty table has not

    @cached_property
    def added(self) -> dict[str, list[float]]:
        """Learning rates that were tried beyond each arm's grid; empty where no grid was widened."""
        tried, arms = self.results.study.get("tried", {}), self.scenario.get("arms", {})
        if self.protocol.get("search", "grid") != "grid":
            return {}
        more = {arm: [lr for lr in rates if lr not in arms.get(arm, {}).get("lr", [])] for arm, rates in tried.items()}
        return {arm: rates for arm, rates in more.items() if rates}

    @cached_property
    def rules(self) -> dict[str, float]:
        """The learning rate at which TAM with a cosine near 0 takes the steps of tuned SGD with momentum, by arm."""
        arms = self.scenario.get("arms", {})
        momenta = [
            arm for arm, options in arms.items() if options.get("optimizer") == "sgd" and options.get("momentum")
        ]
        chosen = self.tuning.loc[self.tuning["chosen"]].set_index("arm")["lr"]
        if len(momenta) != 1 or momenta[0] not in chosen.index:
            return {}
        rule = transfer_lr(float(chosen[momenta[0]]))
        return {arm: rule for arm, options in arms.items() if options.get("optimizer") == "tam"}

    @cached_property
    def confirmation(self) -> Confirmation | None:
        """What was declared and what became of it, if ``tamcl confirm`` was asked for."""
        folder = self.results.directory / "confirm"
        if not (folder / "claims.json").is_file():
            return None
        declared = read_claims(folder / "claims.json")
        claims, seeds = list(declared["claims"]), len(declared["seeds"])
        was = {(row["arm_a"], row["arm_b"]): row["diff"] for row in claims}
        own = records(self.comparisons[self.comparisons["metric"] == self.primary])
        now = {(row["arm_a"], row["arm_b"]): row["diff"] for row in own}
        found = _finished(folder)
        table = self.results.comparisons.iloc[:0] if found is None else found
        done, declared_on = found is not None, str(declared.get("declared", ""))
        return Confirmation(declared_on, seeds, claims, table, done, current=was == now)

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


def _finished(folder: Path) -> pd.DataFrame | None:
    """Return the comparisons of a confirmation; None if there are none that can be used, as before its end."""
    try:
        return read_table(folder, "comparisons")
    except FileNotFoundError:
        return None
    except Damaged as error:
        print(f"tamcl: {error}; tamcl confirm makes it again", file=sys.stderr)
        return None


class Confirmation(NamedTuple):
    """Claims that were declared and then repeated on fresh seeds."""

    declared: str
    """When."""
    n_seeds: int
    claims: list[dict[str, Any]]
    comparisons: pd.DataFrame
    """The same pairs on the fresh seeds."""
    done: bool
    """Whether they were run to the end."""
    current: bool
    """Whether the study still says what was claimed."""


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
    others: list[str]
    """Sentences about all other metrics."""
    same_lr: str = ""
    """How the pair looks at one learning rate for both."""
    again: tuple[verdicts.Held, str] | None = None
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


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table's rows by the names of their columns."""
    return [{str(column): value for column, value in row.items()} for row in table.to_dict("records")]


def strip_scale(study: Study) -> float:
    """Return the largest difference that an interval of the answers reaches, in the units of the primary metric."""
    rows = study.comparisons[study.comparisons["metric"] == study.primary]
    return float(rows[["diff", "ci_low", "ci_high"]].abs().max().max()) if len(rows) else 0.0


def _answer(study: Study, a: str, b: str, scale: float) -> Answer:
    sentences, primary = {}, None
    for row in records(_rows(study.comparisons, a, b)):
        say = verdicts.null_verdict if (a, b) in study.nulls else verdicts.verdict
        sentences[row["metric"]] = say(row, n_seeds=study.n_seeds)
        if row["metric"] == study.primary:
            primary = row
            sentences[study.primary] = sentences[study.primary] if (a, b) in study.nulls else _with_nulls(study, row)
    if primary is None:
        without = " nor ".join(arm for arm in (a, b) if not study.finished(arm))
        why = f"no run of {without} was finished" if without else "no seed has a value for both"
        sentence = f"{a} and {b} cannot be compared in {find(study.primary).label.lower()}: {why}."
        return Answer(a, b, "missing", sentence, "", None, list(sentences.values()))
    others = [sentences[name] for name in METRICS if name in sentences and name != study.primary]
    strength = _strength(primary)
    reading = _null_reading(primary, strength) if (a, b) in study.nulls else ""
    strip, again = _strip(primary, scale), _again(study, a, b)
    return Answer(a, b, strength, sentences[study.primary], reading, strip, others, same_lr(study, a, b), again)


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
            return verdicts.full_verdict(row, rows, words=words, mechanism=mechanism, n_seeds=study.n_seeds)
    return verdicts.verdict(row, n_seeds=study.n_seeds)


def _null_words(study: Study, method: str, null: str) -> str:
    """Return what a null model is in a few words: in what it differs from its method."""
    arms = study.scenario.get("arms", {})
    other = {key: value for key, value in arms[null].items() if value != arms[method].get(key)}
    other = {key: value for key, value in other.items() if key not in {"lr", "null_of", "optimizer"}}
    if arms[method].get("optimizer") == "tam" and other == {"damping": 0.5}:
        return "SGDM at half its learning rate"
    return f"{method} with {', '.join(f'{key} = {value}' for key, value in other.items())}" if other else ""


def same_lr(study: Study, a: str, b: str) -> str:
    """Say how a pair looks at the shared learning rate where it looks most different, and with each at its own.

    Rates at which a tuning seed is missing are left out: an arm that diverged on it would look better or worse. Where
    less than half of the lead at a shared rate is left with each at its own, it is mostly the learning rate.
    """
    rows = _rows(study.same_lr, a, b)
    rows = rows[(rows["n_pairs"] > 0) & (rows["n_pairs"] == rows["n_pairs"].max())]
    own, shared = rows[rows["tuned"]], rows[~rows["tuned"]]
    if own.empty or shared.empty:
        return ""
    most, tuned = records(shared.loc[[shared["diff"].abs().idxmax()]])[0], records(own)[0]
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
    goes = "that gap goes" if left < lead / 10 else "most of that gap goes"
    return f"{words}: {goes} when each arm takes its best learning rate." if left < lead / 2 else f"{words}."


def _amount(metric: Metric, value: float) -> str:
    factor, unit = (100, "points") if metric.unit == "fraction" else (1, metric.unit)
    return f"{factor * value:.{1 if factor == 100 else 3}{'f' if factor == 100 else 'g'}} {unit}".replace("-", "−")


def _again(study: Study, a: str, b: str) -> tuple[verdicts.Held, str] | None:
    """Return what became of a pair's claim on fresh seeds."""
    found = study.confirmation
    for claim in found.claims if found and found.done else []:
        if (claim["arm_a"], claim["arm_b"]) == (a, b):
            rows = stats.between(found.comparisons, a, b)  # type: ignore[union-attr]
            for row in records(rows[rows["metric"] == claim["metric"]]):
                return verdicts.outcome(claim, row, n_seeds=found.n_seeds)  # type: ignore[union-attr]
    return None


def _strength(row: dict[str, Any]) -> Literal["shown", "hint", "open"]:
    if stats.is_shown(row):
        return "shown"
    return "hint" if row["p_value"] <= ALPHA or verdicts.is_hint(row, alpha=ALPHA) else "open"


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


def cautions(study: Study) -> list[str]:
    """Return what a reader has to know before relying on the answers."""
    return [
        *_power(study),
        *edges(study),
        *_unfinished(study),
        *_unfair(study),
        *_oracle(study),
        *_same(study),
        *_unconfirmed(study),
    ]


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


def _unconfirmed(study: Study) -> Iterator[str]:
    found = study.confirmation
    if found and not found.done:
        yield "Claims were declared to be repeated on fresh seeds, and that was not finished: see tamcl confirm."
    if found and not found.current:
        yield (
            "The claims that were repeated on fresh seeds were declared of an earlier state of this study: its answers"
            " are others now."
        )


def _power(study: Study) -> Iterator[str]:
    """Warn where so few seeds cannot give a small p-value."""
    rows = study.results.comparisons
    rows = rows[(rows["metric"] == study.primary) & rows["p_value"].notna()]
    if rows.empty:
        return
    seeds, comparisons = int(rows["n_pairs"].max()), len(rows)
    least = stats.smallest_p(seeds, comparisons)
    if least <= ALPHA:
        return
    enough = stats.fewest_seeds(comparisons, alpha=ALPHA)
    takes = f"It takes at least {enough} seeds (--seeds {enough})."
    if stats.smallest_p(enough, comparisons) > ALPHA:
        takes = "No number of seeds gives less than 0.05: it takes fewer pairs."
    adjusted = f" and p-values adjusted for {comparisons} comparisons" if comparisons > 1 else ""
    yield (
        f"Too few seeds for p < 0.05: with {seeds} seed{'s' * (seeds != 1)}{adjusted}, even the largest effect gives"
        f" p = {least:.2g}. {takes} Read the differences as hints."
    )


def edges(study: Study) -> list[str]:
    """Return a warning for every arm whose best learning rate may lie outside its grid."""
    protocol, warnings = study.protocol, []
    widens = protocol.get("search", "grid") == "grid" and not protocol.get("extend")
    cure = " (see --extend)" if widens else ""
    for row in records(study.tuning[study.tuning["on_edge"]]):
        rates = study.tuning.loc[study.tuning["arm"] == row["arm"], "lr"]
        side = "largest" if row["lr"] == rates.max() else "smallest"
        warnings.append(
            f"{row['arm']}: the best learning rate, {row['lr']:g}, is the {side} that was tried ({rates.min():g} to"
            f" {rates.max():g}). A better one may lie outside, so {row['arm']} may be better than shown{cure}."
        )
    return warnings


def _unfinished(study: Study) -> Iterator[str]:
    for name in study.arms:
        if name not in study.rates:
            label = find(study.primary).label.lower()
            yield f"{name} has no result: no learning rate that was tried has a value of {label} on every tuning seed."
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
    every = evaluation.get("every")
    inside = f"; in reported runs also inside experiences, every {every} updates" if every else ""
    return f"{images} {after[evaluation.get('on', 'all')]}{inside}"


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
