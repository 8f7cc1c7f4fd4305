"""One HTML page for a sweep: its figure, what is seen at each value and over all, and the way to each study's page."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tamcl.errors import InputError
from tamcl.findings.answers import Answer
from tamcl.findings.durations import duration
from tamcl.findings.study import Study
from tamcl.findings.sweep import answers_by_value, missing, over_values, sweep_cautions, sweep_headline, tunes_options
from tamcl.metrics import METRICS, find
from tamcl.metrics.own import OWN
from tamcl.plots import metric_axis, with_direction
from tamcl.report.figures import draw_sweep
from tamcl.report.page import BADGES, LABELS, WELL, data_words, definition, described, write_page
from tamcl.report.tables import sweep_comparison_table, sweep_table
from tamcl.sweeps import STUDIES, Sweep, SweptStudy, load_sweep


def write_sweep_report(directory: str | Path) -> Path:
    """Write ``report.html`` and ``figures/sweep.png`` from the studies of a sweep, as far as they are finished.

    Parameters
    ----------
    directory : path
        The sweep's folder.

    Returns
    -------
    Path
        Where the report is.

    Raises
    ------
    InputError
        If the folder holds no sweep, or one of which no study is finished.
    """
    sweep = load_sweep(directory)
    if not sweep.finished:
        first = sweep.studies[0]
        raise InputError(f"'{directory}': no study of the sweep has results; {first.name}: {first.why}")
    return write_page(sweep.directory, "sweep.html.j2", _page(sweep))


def sweep_verdicts(sweep: Sweep) -> list[str]:
    """Return a sentence for every pair of arms over all values, and for each study that has no results."""
    return [*missing(sweep), *(sentence for pair in over_values(sweep) for sentence in pair.sentences)]


def _page(sweep: Sweep) -> dict[str, Any]:
    """Return everything that the template shows."""
    scenario, by_value = sweep.sweep["scenario"], answers_by_value(sweep)
    label, unit, _ = metric_axis(sweep.primary)
    shown = sweep.comparisons[sweep.comparisons["n_pairs"] > 0]
    core = [name for name, metric in (METRICS | OWN).items() if metric.core or name == sweep.primary]
    main = shown[shown["metric"] == sweep.primary]
    more = shown[shown["metric"].isin(core) & (shown["metric"] != sweep.primary)]
    axis = with_direction(sweep.primary, label.lower(), unit)
    caption = "Paired comparisons at every value, adjusted over the whole sweep"
    return {
        "title": f"{scenario.get('title') or scenario.get('name', 'A sweep')}, over {' and '.join(sweep.keys)}",
        "name": scenario.get("name", ""),
        "keys": sweep.keys,
        "headline": sweep_headline(sweep, by_value),
        "cautions": sweep_cautions(sweep),
        "badges": BADGES,
        "primary": label.lower(),
        "pictures": draw_sweep(sweep),
        "pairs": over_values(sweep),
        "by_value": [_at(sweep, study, answers) for study, answers in by_value],
        "missing": [(study.name, study.why) for study in sweep.studies if study.results is None],
        "metric_table": sweep_table(sweep),
        "main_comparisons": sweep_comparison_table(sweep, "comparisons", f"{caption}: {axis}", main),
        "more_comparisons": sweep_comparison_table(sweep, "more-comparisons", caption, more),
        "facts": _facts(sweep),
        "notes": _notes(sweep),
        "definitions": [definition(find(name)) for name in core if name in set(shown["metric"])],
        "command": sweep.sweep.get("command") or f"tamcl sweep {scenario.get('name', '')}",
    }


def _at(sweep: Sweep, study: SweptStudy, answers: list[Answer]) -> dict[str, Any]:
    """Return what is shown of one study, with the way to its own page from that of the sweep."""
    page = study.directory / "report.html"
    link = f"{STUDIES}/{quote(study.directory.name)}/report.html" if os.path.lexists(page) else ""
    return {"name": study.name, "link": link, "answers": answers}


def _facts(sweep: Sweep) -> list[tuple[str, str]]:
    """Return what was run, as pairs of a term and its words; of what was swept all values."""
    scenario = sweep.sweep["scenario"]
    studies = [Study(results) for _, results in sweep.finished]
    runs = [results.runs for _, results in sweep.finished]
    values = {
        key: ", ".join(called) if [*called] == [*called.values()] else "; ".join(f"{b}: {a}" for a, b in called.items())
        for key, called in sweep.labels.items()
    }
    parts = {}
    for part in ("stream", "model", "strategy"):
        changed = {key.removeprefix(f"{part}.") for key in sweep.keys}
        parts[part] = described({key: value for key, value in scenario.get(part, {}).items() if key not in changed})
    data = list(dict.fromkeys(data_words(study.data) for study in studies))
    number, seconds = sum(map(len, runs)), sum(float(table["wall_s"].sum()) for table in runs)
    return [
        *values.items(),
        ("Stream", parts["stream"]),
        ("Data", "; ".join(data)),
        ("Model", parts["model"]),
        ("Strategy", parts["strategy"]),
        ("Arms", ", ".join(sweep.arms)),
        ("Runs", f"{number} of {len(studies)} studies"),
        ("Time", f"{duration(seconds)} in all, summed over runs"),
    ]


def _notes(sweep: Sweep) -> list[str]:
    """Return how the numbers were made."""
    stream = str(sweep.sweep["scenario"].get("stream", {}).get("name", ""))
    is_null = any(Study(results).nulls for _, results in sweep.finished)
    return [
        f"Each value is a study by itself: learning rates{' and options' * tunes_options(sweep)} are chosen anew on its"
        " tuning seeds, and arms are compared seed by seed on the reported ones. The seed is the unit.",
        "p-values at a value come from a sign-flip permutation test, adjusted by Holm's method over all values and"
        " pairs of the sweep on a metric, since a reader looks at all of them for one where an arm wins; not over"
        " metrics. The page of each study adjusts for its own pairs alone, so that its p-values can be smaller: they"
        " are right for somebody who asked about that value and no other.",
        "Over all values each seed gives one number for a pair: the mean of its differences, and by how much they"
        " change from the least to the largest value on a straight line (by the logarithm where values span decades)."
        " Runs of a seed at several values are not independent, and are not counted as if they were. These p-values"
        " are adjusted by Holm's method among one another; seeds that lack a value are left out.",
        "A straight line says nothing of a rise that is followed by a fall: look at the figure.",
        "No evidence of a difference is not evidence of no difference: the interval says what is still possible.",
        *([WELL] if is_null else []),
        *([LABELS] if "label" in stream else []),
    ]
