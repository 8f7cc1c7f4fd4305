"""One HTML page that answers a study's question: it opens offline, on a phone and on paper, by day and by night."""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from tamcl import stats
from tamcl.files.atomic import write_atomic
from tamcl.findings.answers import answers, confirmed, headline, strip_scale
from tamcl.findings.cautions import cautions, edges
from tamcl.findings.durations import duration
from tamcl.findings.oracles import OracleComparison, oracle_comparisons, sentences
from tamcl.findings.study import Study
from tamcl.findings.verdicts import MARGIN
from tamcl.landscape import Landscape, read_landscape, stale
from tamcl.landscape import sentences as landscape_sentences
from tamcl.metrics import METRICS, Metric, find
from tamcl.metrics.own import OWN
from tamcl.plots import metric_axis, with_direction
from tamcl.report.figures import draw_landscape_pictures, draw_oracle_pictures, draw_pictures, draw_tuning_pictures
from tamcl.report.tables import (
    arm_table,
    center_table,
    comparison_table,
    confirmation_table,
    failure_table,
    metric_table,
    oracle_table,
    other_metrics_table,
    plain_value,
    same_lr_table,
    tuning_table,
)
from tamcl.results import Results, as_results, load_results
from tamcl.scenario.schema import learning_rate, listed, tested_on
from tamcl.scenario.stacking import why_alone, why_not_compiled
from tamcl.stats import ALPHA
from tamcl.trial import values_of

WELL = (
    "A null model is said to do as well where no gain over it is shown, even before Holm, and the 95 % interval leaves"
    f" none of {100 * MARGIN:g} point or more; where it could be larger, the null model could do as well, which is not"
    " known."
)

CONTENTS = [
    ("answer", "Answer"),
    ("pictures", "What happened"),
    ("numbers", "Numbers"),
    ("oracles", "Against oracles"),
    ("landscape", "Landscape"),
    ("tuning", "Tuning"),
    ("setup", "What was run"),
    ("failures", "Runs that did not finish"),
    ("assumptions", "Assumptions"),
    ("repeat", "Repeat it"),
]

LABELS = (
    "Under label flips old labels become wrong, so that forgetting them is part of the task: there, forgetting and"
    " average accuracy describe how far a model has moved on, not how good it is."
)

BADGES = {
    "shown": "difference shown",
    "hint": "a hint, not shown",
    "open": "no difference shown",
    "missing": "cannot be compared",
}


def write_report(directory: str | Path) -> Path:
    """Write ``report.html`` and ``figures/*.png`` from the tables of a study.

    Parameters
    ----------
    directory : path
        The study's folder.

    Returns
    -------
    Path
        Where the report is.

    Raises
    ------
    InputError
        If the folder holds no finished study.
    """
    study = Study(load_results(directory))
    return write_page(study.results.directory, "report.html.j2", _page(study))


def write_page(directory: Path, template: str, values: dict[str, Any]) -> Path:
    """Write a folder's ``report.html`` by a template."""
    loader = jinja2.PackageLoader("tamcl.report")
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)

    def text_of(name: str) -> str:  # not a template: a script of others may hold anything
        return loader.get_source(environment, name)[0]

    page = environment.get_template(template).render(values, text_of=text_of)
    path = directory / "report.html"
    write_atomic(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))
    return path


def outcomes(results: Results | str | Path) -> list[str]:
    """Return a sentence for every claim of the study that was repeated on fresh seeds."""
    return [answer.again[1] for answer in answers(Study(as_results(results))) if answer.again]


def _page(study: Study) -> dict[str, Any]:
    """Return everything that the template shows."""
    scenario = study.scenario
    scale = strip_scale(study)
    label, unit, factor = metric_axis(study.primary)
    axis = with_direction(study.primary, label.lower(), unit)
    main = study.comparisons[study.comparisons["metric"] == study.primary]
    means = "Mean over the reported seeds ± half of its 95 % interval"
    oracles, land = oracle_comparisons(study), read_landscape(study.results.directory)
    present = {"oracles": bool(oracles), "landscape": land is not None}
    pictures, tuning_pictures = draw_pictures(study), draw_tuning_pictures(study)
    oracle_pictures = draw_oracle_pictures(study, oracles)
    return {
        "title": scenario.get("title") or scenario.get("name", "A study"),
        "name": scenario.get("name", ""),
        "question": _question(study),
        "contents": [entry for entry in CONTENTS if present.get(entry[0], True)],
        "headline": headline(study),
        "cautions": cautions(study),
        "answers": answers(study),
        "other_metrics": [
            other_metrics_table(study, f"others-{place}", *pair) for place, pair in enumerate(study.pairs)
        ],
        "badges": BADGES,
        "primary": label.lower(),
        "scale": f"{factor * scale:.2g}",
        "scale_unit": "points" if unit == "%" else unit,
        "confirmed": confirmed(study),
        "confirmation_table": confirmation_table(study),
        "pictures": pictures,
        "tuning_pictures": tuning_pictures,
        "curves_are_live": any(picture.live for picture in (*pictures, *tuning_pictures, *oracle_pictures)),
        "metric_table": metric_table(study, "metrics", means, study.core_metrics),
        "more_metrics": metric_table(
            study, "more-metrics", f"The other metrics: {means[:1].lower()}{means[1:]}", study.more_metrics
        ),
        "center_table": center_table(study),
        "same_lr_table": same_lr_table(study),
        "main_comparisons": comparison_table("comparisons", f"Paired comparisons: {axis}", main, named=False),
        "all_comparisons": comparison_table("all-comparisons", "Paired comparisons on all metrics", study.comparisons),
        "oracles": oracles,
        "oracle_cautions": [caution for each in oracles for caution in each.cautions],
        "oracle_sentences": [(f"Against the {each.name}", sentences(each)) for each in oracles],
        "oracle_pictures": oracle_pictures,
        "oracle_table": oracle_table(study, oracles),
        "oracle_notes": _oracle_notes(study, oracles),
        "has_landscape": land is not None,
        "landscape_text": _landscape_text(land),
        "landscape_cautions": stale(study, land),
        "landscape_sentences": [] if land is None else landscape_sentences(land),
        "landscape_pictures": draw_landscape_pictures(study, land),
        "tuning_text": _tuning_text(study),
        "edges": edges(study),
        "edges_of": "value" if study.tunes_options else "learning rate",
        "tried": "trial" if study.tunes_options else "learning rate that was tried",
        "arm_table": arm_table(study),
        "tuning_table": tuning_table(study),
        "facts": _facts(study),
        "failure_table": failure_table(study),
        "n_runs": len(study.results.runs),
        "notes": _notes(study),
        "definitions": [definition(find(name)) for name in [*METRICS, *OWN] if name in set(study.metrics["metric"])],
        "command": study.results.study.get("command") or f"tamcl compare {scenario.get('name', '')}",
        "versions": [(name, " and ".join(found)) for name, found in study.versions.items()],
    }


def _question(study: Study) -> str:
    pairs = [f"{a} beat {b}" for a, b in study.pairs if (a, b) not in study.nulls]
    is_still = study.scenario.get("stream", {}).get("experiences") == 1
    when = "where nothing shifts" if is_still else "when the data distribution shifts"
    if not pairs:
        return f"How well does {' or '.join(study.arms)} learn {when}?"
    asked = " and ".join(part for part in (", ".join(pairs[:-1]), pairs[-1]) if part)
    return f"Does {asked} {when}: by how much, and how sure is that?"


STATES = {
    "keep": "kept",
    "reset": "reset",
    "reset_moments": "kept but for its moments, which begin anew,",
    "reset_clock": "kept but for its count of steps, which begins anew,",
}
"""What becomes of an optimizer's state, in words."""


def _facts(study: Study) -> list[tuple[str, str]]:
    """Return what was run, as pairs of a term and its words."""
    scenario, runs = study.scenario, study.results.runs
    strategy = dict(scenario.get("strategy", {}))
    kept = STATES.get(strategy.get("optimizer_state", ""), "not recorded")
    facts = [
        ("Stream", described(scenario.get("stream", {}))),
        ("Data", data_words(study.data)),
        ("Model", described(scenario.get("model", {}))),
        ("Strategy", f"{strategy.get('name', '')}; optimizer state is {kept} at every boundary"),
        ("Learning rate", learning_rate(strategy)),
        ("Stacked runs", _stacked(study)),
        ("Evaluation", _evaluation(study)),
        ("Reported seeds", _seeds(study.runs["seed"])),
        ("Tuning seeds", _seeds(runs.loc[runs["phase"] == "tune", "seed"])),
        ("Runs", _counted(runs)),
        ("Time", f"{duration(float(runs['wall_s'].sum()))} in all, summed over runs"),
    ]
    if strategy.get("compiled"):
        facts.insert(5, ("Compiled runs", _compiled(study)))
    if interventions := scenario.get("interventions"):
        facts.insert(4, ("Interventions", f"{listed(interventions)}; in all arms that name none of their own"))
    if source := scenario.get("source"):
        facts.insert(0, ("Protocol", source))
    if measured := scenario.get("diagnostics"):
        facts.insert(-4, ("Diagnostics", f"{', '.join(measured['names'])}; every {measured['every']} updates"))
    return facts


def _stacked(study: Study) -> str:
    """Say which runs were trained together, and why the others were not."""
    runs, arms = study.results.runs, study.scenario.get("arms", {})
    alone = sorted(set(runs.loc[~runs["stacked"], "arm"]), key=list(study.arms).index)
    if not alone:
        return "all: runs of an arm are trained together, which changes no bit of any"
    reasons = {why_alone(study.scenario, arm) for arm in alone if arm in arms}
    why = f": {'; '.join(sorted(reasons - {''}))}" if reasons - {""} else ""
    return f"none{why}" if not runs["stacked"].any() else f"all but {', '.join(alone)}{why}"


def _compiled(study: Study) -> str:
    """Say of which runs each step was one compiled graph, and why that of the others was not."""
    runs, arms = study.results.runs, study.scenario.get("arms", {})
    others = sorted(set(runs.loc[~runs["compiled"], "arm"]), key=list(study.arms).index)
    if not others:
        return "all: each step of a stack is one graph, made by a compiler, whose rounding is its own"
    reasons = {why_not_compiled(study.scenario, arm) for arm in others if arm in arms}
    why = f": {'; '.join(sorted(reasons - {''}))}" if reasons - {""} else ""
    return f"none{why}" if not runs["compiled"].any() else f"all but {', '.join(others)}{why}"


def _evaluation(study: Study) -> str:
    """Say what was tested, how long it took, and what its rows are."""
    evaluation, runs = study.scenario.get("evaluation", {}), study.results.runs
    words = tested_on(evaluation)
    if runs["evaluation_s"].sum():
        words += f"; {runs['evaluation_s'].sum() / runs['wall_s'].sum():.0%} of the time"
    if (batches := evaluation.get("batches", 1)) > 1:
        words += f"; times since a shift are in blocks of {batches} mini-batches"
    return words


def _landscape_text(land: Landscape | None) -> str:
    """Say what a landscape was measured on."""
    if land is None:
        return ""
    asked = land.settings
    whose = "the last experience" if asked["experiences"] == "last" else "all experiences"
    ends = "two arms on one seed" if asked["pairs"] == "arms" else "one arm on two seeds"
    return (
        f"The loss around the final weights: on straight lines between {ends} at {asked['points']} places, on up to"
        f" {asked['samples']} training and as many test images of {whose}. Statistics of batch normalisation are made"
        " anew at every place; the curvature at the ends is that of the training images and of the statistics as they"
        f" were kept. Made by {asked.get('command') or 'tamcl landscape'}."
    )


def _tuning_text(study: Study) -> str:
    tried = study.tuning
    if tried.empty:
        return "Every arm had a single learning rate: nothing was tuned."
    trials = sorted(set(tried.groupby("arm").size()))
    many = str(trials[0]) if len(trials) == 1 else f"{trials[0]} to {trials[-1]}"
    runs = study.results.runs
    cost, all_time = runs.loc[runs["phase"] == "tune", "wall_s"], float(runs["wall_s"].sum())
    share = f", {cost.sum() / all_time:.0%} of the study's time" if all_time else ""
    how = {"random": ", drawn at random between the ends of its grid", "tpe": ", by a tree-structured Parzen estimator"}
    what = "learning rates"
    if study.tunes_options:
        what = f"combinations of a learning rate with values of the options that are tuned with it ({_tuned(study)})"
    return (
        f"Each arm was tried at {many} {what}{how.get(study.protocol.get('search', 'grid'), '')} on seeds that"
        f" serve for nothing else, and is reported at the one with the best mean {find(study.primary).label.lower()}."
        f"{_widened(study)} The {len(cost)} tuning runs took {duration(float(cost.sum()))}{share}."
    )


def _tuned(study: Study) -> str:
    """Say which options of which arms were tuned."""
    found: dict[str, list[str]] = {}
    for arm, options in study.tuning[["arm", "options"]].drop_duplicates("arm").itertuples(index=False):
        if names := ", ".join(values_of(options)):
            found.setdefault(names, []).append(arm)
    order = {arm: place for place, arm in enumerate(study.arms)}
    listed = ((sorted(arms, key=lambda arm: order[arm]), names) for names, arms in found.items())
    return "; ".join(f"{names} of {', '.join(arms)}" for arms, names in listed)


def _widened(study: Study) -> str:
    """Say how the grids were widened."""
    most = max((len(rates) for rates in study.added.values()), default=0)
    if not most:
        return ""
    return (
        f" Of them {most} {'was' if most == 1 else 'were'} added to every arm's grid, one at a time, while the best"
        f"{' rate' * study.tunes_options} of some arm was an end of its grid: beyond the end for such an arm, between"
        f" the best and its better neighbour for the others{', at the best options' * study.tunes_options}."
    )


def _notes(study: Study) -> list[str]:
    """Return the scenario's assumptions and those of every study."""
    options = f" and the options tuned with them ({_tuned(study)})" if study.tunes_options else ""
    return [
        *map(str, study.scenario.get("notes", [])),
        "At the same seed all arms see the same stream in the same order, from the same initial weights. Arms are"
        " therefore compared seed by seed, and the seed is the unit: mini-batches and experiences of one run are not"
        " independent observations.",
        f"Learning rates{options} were chosen on tuning seeds only. Everything else about an arm is as the scenario"
        " gives it.",
        "p-values come from a sign-flip permutation test, adjusted by Holm's method over the pairs that were compared"
        " on a metric, but not over metrics. No evidence of a difference is not evidence of no difference: the"
        " interval says what is still possible.",
        "What happens after a shift depends strongly on the learning rate, and each arm is shown at one. Read drop and"
        " recovery over the learning rate, in the part on tuning.",
        "Seeds needed: how many fresh seeds a paired t-test would need to show the effect seen here with a probability"
        " of 80 %, at 5 % divided by the number of pairs. Effects that were looked for are smaller in truth, and the"
        " sign-flip test needs one or two seeds more where few are needed, so plan for more.",
        *([WELL] if study.nulls else []),
        *([LABELS] if "label" in str(study.scenario.get("stream", {}).get("name", "")) else []),
    ]


def _oracle_notes(study: Study, oracles: list[OracleComparison]) -> list[str]:
    """Return what was assumed of the oracles that are there."""
    kinds, stream = {each.kind for each in oracles}, study.scenario.get("stream", {})
    notes = [
        f"The oracles take the learning rates{' and options' * study.tunes_options} of the study, which were tuned with"
        " the shifts. Regret therefore says what the shifts do to an arm at these; an oracle with its own may be"
        " better.",
        "p-values come from the sign-flip test over seeds, adjusted by Holm's method over the arms against one oracle.",
    ]
    seeds = max((int(each.comparisons["n_pairs"].max()) for each in oracles if len(each.comparisons)), default=0)
    arms = max((len(each.comparisons) for each in oracles), default=0)
    if seeds and (least := stats.smallest_p(seeds, arms)) > ALPHA:
        notes.append(
            f"With {seeds} seeds and {arms} arms no adjusted p-value can be below {least:.2g}, however large a regret"
            f" is: it takes at least {stats.fewest_seeds(arms, alpha=ALPHA)} seeds."
        )
    if "restart" in kinds:
        notes.append(
            "Intransigence is the accuracy that the restart oracle has on an experience's test set right after training"
            " on it, minus that of the arm, as the mean over experiences."
        )
    other_classes = stream.get("name") in ("task_shift", "blurred") and stream.get("setting") != "domain_incremental"
    if "no_shift" in kinds and other_classes:
        notes.append(
            "Here a shift brings other classes. Without shifts the classes of all experiences come mixed, and one of"
            " them all is to be chosen: that may be harder, so that an arm can be above its no-shift oracle."
        )
    return notes


def definition(metric: Metric) -> dict[str, str]:
    """Return what the page says of a metric."""
    low, high = (
        ("−∞" if bound < 0 else "∞") if bound in (inf, -inf) else f"{bound:g}" for bound in (metric.low, metric.high)
    )
    summary = metric.summary.removeprefix("Return ").partition(";")[0].rstrip(".")
    return {
        "name": metric.name,
        "label": metric.label,
        "better": metric.better,
        "range": f"{low} to {high}, {metric.unit}",
        "summary": f"{summary[:1].upper()}{summary[1:]}.",
        "equation": metric.equation,
        "reference": metric.reference,
    }


def described(part: dict[str, Any]) -> str:
    """Return ``name: key value, key value`` of a part of the scenario; what is not set is left out."""
    settings = [
        f"{key.replace('_', ' ')} {plain_value(value)}"
        for key, value in part.items()
        if key != "name" and value is not None
    ]
    return ": ".join(words for words in (str(part.get("name", "")), ", ".join(settings)) if words)


def data_words(data: dict[str, Any]) -> str:
    """Return what the page says of the data."""
    if not data:
        return "not recorded"
    classes, test = data.get("classes"), "test"
    what = f"images, {classes} classes" if classes else "examples with a number each"
    if vocabulary := data.get("vocabulary"):
        test, what = "validation", f"tokens, {vocabulary:,} different ones, domains: {classes}"
    counts = f"{data.get('train', 0):,} training and {data.get('test', 0):,} {test} {what}"
    return f"{data.get('name')}: {counts}; checksum {data.get('checksum')}"


def _seeds(seeds: pd.Series[int]) -> str:
    numbers = sorted(set(seeds))
    if not numbers:
        return "none"
    together = len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1
    return f"{len(numbers)} ({f'{numbers[0]} to {numbers[-1]}' if together else ', '.join(map(str, numbers))})"


def _counted(runs: pd.DataFrame) -> str:
    phases = runs["phase"].value_counts()
    statuses = ", ".join(f"{count} {status}" for status, count in runs["status"].value_counts().items())
    return f"{len(runs)}: {phases.get('tune', 0)} for tuning, {phases.get('report', 0)} reported; {statuses}"
