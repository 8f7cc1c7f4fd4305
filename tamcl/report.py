"""One HTML page that answers a study's question: it opens offline, on a phone and on paper, by day and by night."""

from __future__ import annotations

import json
from collections.abc import Iterable
from math import ceil, floor, isfinite, log10, nan
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import pandas as pd

from tamcl.figures import Tables, draw_pictures
from tamcl.metrics import METRICS, Metric, find
from tamcl.plots import looks, mean_interval, metric_axis
from tamcl.reading import Study, answers, cautions, edges, headline, records, strip_scale
from tamcl.results import Results, load_results, write_atomic

CONTENTS = [
    ("answer", "Answer"),
    ("pictures", "What happened"),
    ("numbers", "Numbers"),
    ("tuning", "Tuning"),
    ("setup", "What was run"),
    ("failures", "Runs that did not finish"),
    ("assumptions", "Assumptions"),
    ("repeat", "Repeat it"),
]


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
    loader = jinja2.PackageLoader("tamcl")
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    page = environment.get_template("report.html.j2").render(_page(study))
    path = Path(directory) / "report.html"
    write_atomic(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))
    return path


def verdicts(results: Results) -> list[str]:
    """Return a sentence for every pair of arms that the study is about, on the metric that was tuned for."""
    return [answer.sentence for answer in answers(Study(results))]


class Field(NamedTuple):
    """A field of a table."""

    text: str
    value: float | None = None
    """What is sorted by; the text if None."""
    classes: str = ""
    color: str = ""


class Row(NamedTuple):
    """A row of a table; its first field is its head."""

    fields: list[Field]
    classes: str = ""


class Table(NamedTuple):
    """A table of the page; ``heads`` beginning with "<" are those of columns of text."""

    name: str
    caption: str
    heads: list[str]
    rows: list[Row]
    sortable: bool = True


def _page(study: Study) -> dict[str, Any]:
    """Return everything that the template shows."""
    scenario = study.scenario
    scale = strip_scale(study)
    label, unit, factor = metric_axis(study.primary)
    main = study.comparisons[study.comparisons["metric"] == study.primary]
    return {
        "title": scenario.get("title") or scenario.get("name", "A study"),
        "name": scenario.get("name", ""),
        "question": _question(study),
        "contents": CONTENTS,
        "headline": headline(study),
        "cautions": cautions(study),
        "answers": answers(study),
        "primary": label.lower(),
        "scale": f"{factor * scale:.2g}",
        "scale_unit": "points" if unit == "%" else unit,
        "pictures": draw_pictures(_drawn(study), study.results.directory),
        "metric_table": _metric_table(study),
        "main_comparisons": _comparison_table("comparisons", f"Paired comparisons in {label.lower()}", main),
        "all_comparisons": _comparison_table("all-comparisons", "Paired comparisons on all metrics", study.comparisons),
        "tuning_text": _tuning_text(study),
        "edges": edges(study),
        "arm_table": _arm_table(study),
        "tuning_table": _tuning_table(study),
        "facts": _facts(study),
        "failure_text": "Their rows up to that point are in the tables; they are left out of all means and comparisons.",
        "failure_table": _failure_table(study),
        "notes": _notes(study),
        "definitions": [_definition(METRICS[name]) for name in METRICS if name in set(study.metrics["metric"])],
        "command": study.results.study.get("command") or f"tamcl compare {scenario.get('name', '')}",
        "versions": _versions(study),
    }


def _drawn(study: Study) -> Tables:
    online, evaluated = study.reported(study.results.online), study.reported(study.results.eval)
    return Tables(online, evaluated, study.metrics, study.comparisons, study.tuning, study.arms, study.primary)


def _question(study: Study) -> str:
    pairs = [f"{a} beat {b}" for a, b in study.pairs if (a, b) not in study.nulls]
    asked = ", ".join(pairs[:-1]) + (" and " if len(pairs) > 1 else "") + pairs[-1] if pairs else "one arm learn well"
    return f"Does {asked} when the data distribution shifts: by how much, and how sure is that?"


def _metric_table(study: Study) -> Table:
    """Return the mean of every metric by arm, a row a metric."""
    styles = looks(study.arms)
    means = mean_interval(study.metrics.dropna(subset="value"), ["metric", "arm"], "value").set_index(["metric", "arm"])
    rows = []
    for name in Tables_order(study):
        label, unit, factor = metric_axis(name)
