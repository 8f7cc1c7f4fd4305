"""What a sweep says: its pairs of arms over all values and at each, and what to know before relying on that."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import pandas as pd

from tamcl import stats
from tamcl.findings import verdicts
from tamcl.findings.answers import Answer, answers
from tamcl.findings.study import Study, records
from tamcl.metrics import find
from tamcl.results import Results
from tamcl.scenario.settings import value_text
from tamcl.stats import ALPHA
from tamcl.sweeps import Sweep, SweptStudy
from tamcl.trial import Trial, values_of


class PairOverValues(NamedTuple):
    """What is known of a pair of arms over all values of a sweep."""

    arm_a: str
    arm_b: str
    shown: bool
    """Whether a difference over all values, or a change of it, is shown."""
    sentences: list[str]


def study_at(sweep: Sweep, study: SweptStudy, results: Results) -> Study:
    """Return one study of a sweep, its comparisons with the p-values that are adjusted over the whole sweep."""
    table = sweep.comparisons
    place = [each for each, _ in sweep.finished].index(study)
    sizes = [len(each.comparisons) for _, each in sweep.finished]
    start = sum(sizes[:place])
    rows = table.iloc[start : start + sizes[place]].drop(columns=sweep.keys).reset_index(drop=True)
    tables: Mapping[str, pd.DataFrame] = ChainMap({"comparisons": rows}, results.tables)  # type: ignore[arg-type]
    return Study(replace(results, tables=tables))


def answers_by_value(sweep: Sweep) -> list[tuple[SweptStudy, list[Answer]]]:
    """Return what each finished study says about its pairs, held against all comparisons of the sweep."""
    return [(study, answers(study_at(sweep, study, results))) for study, results in sweep.finished]


def sweep_headline(sweep: Sweep, by_value: list[tuple[SweptStudy, list[Answer]]]) -> str:
    """Say in one sentence at how many values which pairs show a difference."""
    label, name = find(sweep.primary).label.lower(), " and ".join(sweep.keys)
    found = [(study, answer) for study, each in by_value for answer in each if answer.strength != "missing"]
    if not found:
        return f"Nothing can be compared in {label} at any value of {name}."
    compared = f"{len(found)} comparison{'s' * (len(found) > 1)} in {label} at {_values(len(by_value))} of {name}"
    shown = [f"{answer.arm_a} against {answer.arm_b} at {study.name}" for study, answer in found if _is(answer)]
    if not shown:
        return f"None of {compared} shows a difference at the 5 % level."
    listed = "; ".join(shown[:6]) + (f"; and {len(shown) - 6} more" if len(shown) > 6 else "")
    return f"{len(shown)} of {compared} show{'s' * (len(shown) == 1)} a difference at the 5 % level: {listed}."


def _is(answer: Answer) -> bool:
    return answer.strength == "shown"


def _values(number: int) -> str:
    return f"{number} value{'s' * (number != 1)}"


def over_values(sweep: Sweep) -> list[PairOverValues]:
    """Return what is seen of every pair over all values, on the metric that was tuned for."""
    rows = sweep.across[sweep.across["metric"] == sweep.primary]
    nulls = {pair for study, results in sweep.finished for pair in Study(results).nulls}
    found = []
    for (a, b), of_pair in rows.groupby(["arm_a", "arm_b"], sort=False):
        effects = records(of_pair)
        sentences = [_sentence(sweep, row, (a, b) in nulls) for row in effects]
        found.append(PairOverValues(str(a), str(b), any(map(stats.is_shown, effects)), sentences))
    return found


def _sentence(sweep: Sweep, row: dict[str, Any], is_null: bool) -> str:
    if row["effect"] == "mean":
        say = verdicts.null_verdict if is_null else verdicts.verdict
        said = say(row).replace("No evidence", "no evidence", 1)
        return f"As the mean over {_values(len(sweep.finished))}: {said}"
    values = sorted(study.settings[row["effect"]] for study, _ in sweep.finished)
    ends = (f"{row['effect']} = {value_text(values[0])}", f"{row['effect']} = {value_text(values[-1])}")
    return verdicts.change_verdict(row, ends)


def missing(sweep: Sweep) -> list[str]:
    """Return a sentence for each study that has no results."""
    return [f"{study.name}: no results, left out of everything here: {study.why}." for study in _without(sweep)]


def _without(sweep: Sweep) -> list[SweptStudy]:
    return [study for study in sweep.studies if study.results is None]


def sweep_cautions(sweep: Sweep) -> list[str]:
    """Return what a reader has to know before relying on a sweep."""
    return [*missing(sweep), *_extended(sweep), *_failed(sweep), *_power(sweep), *_edges(sweep)]


def _extended(sweep: Sweep) -> Iterator[str]:
    """Say where studies are of other numbers of seeds than the sweep is by now."""
    if "protocol.seeds" in sweep.keys:
        return
    wanted = sweep.sweep["scenario"].get("protocol", {}).get("seeds")
    for study, results in sweep.finished:
        seeds = results.study["scenario"].get("protocol", {}).get("seeds")
        if seeds != wanted:
            yield f"{study.name}: has {seeds} reported seeds, and the sweep {wanted}; the same command trains the rest."


def _failed(sweep: Sweep) -> Iterator[str]:
    """Say where reported runs are missing, by which means are of fewer seeds."""
    for study, results in sweep.finished:
        runs = results.runs[results.runs["phase"] == "report"]
        bad = runs[runs["status"] != "ok"]
        parts = [f"{len(rows)} of {arm} {status}" for (arm, status), rows in bad.groupby(["arm", "status"], sort=False)]
        parts += [f"{arm} has none" for arm in results.arms if arm not in set(runs["arm"])]
        if parts:
            yield f"{study.name}: reported runs are missing: {', '.join(parts)}."


def _power(sweep: Sweep) -> Iterator[str]:
    rows = sweep.comparisons
    rows = rows[(rows["metric"] == sweep.primary) & rows["p_value"].notna()]
    if rows.empty:
        return
    seeds, comparisons = int(rows["n_pairs"].max()), len(rows)
    least = stats.smallest_p(seeds, comparisons)
    if least > ALPHA:
        enough = stats.fewest_seeds(comparisons, alpha=ALPHA)
        yield (
            f"Too few seeds for p < 0.05 at a single value: with {seeds} seed{'s' * (seeds != 1)} and p-values adjusted"
            f" for {comparisons} comparisons, even the largest effect gives p = {least:.2g}. It takes at least {enough}"
            f" seeds (--seeds {enough}). Read the differences at a value as hints."
        )


def _edges(sweep: Sweep) -> Iterator[str]:
    """Say at which values an arm's best learning rate is an end of its grid, an arm a line."""
    found: dict[tuple[str, str], list[str]] = {}
    for study, results in sweep.finished:
        for row in records(Study(results).tuning.query("on_edge or options_on_edge != ''")):
            if row["on_edge"]:
                found.setdefault((row["arm"], "learning rate"), []).append(f"{row['lr']:g} at {study.name}")
            best = values_of(row["options"])
            for name in filter(None, row["options_on_edge"].split(", ")):
                found.setdefault((row["arm"], name), []).append(f"{best[name]:g} at {study.name}")
    for (arm, what), places in found.items():
        cure = " (see --extend)" if what == "learning rate" else ""
        yield (
            f"{arm}: the best {what} is an end of its grid: {'; '.join(places)}. A better one may lie outside,"
            f" so {arm} may be better there than shown{cure}."
        )


def tunes_options(sweep: Sweep) -> bool:
    """Whether any arm had values of options to choose from beside learning rates, at any value."""
    return any((results.runs["options"] != "").any() for _, results in sweep.finished)


def chosen_trials(sweep: Sweep) -> list[dict[str, Trial]]:
    """Return the trial that each arm was reported at, of every study in their order."""
    return [Study(results).trials for _, results in sweep.finished]
