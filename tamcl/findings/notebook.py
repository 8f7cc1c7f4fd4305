"""Results as a notebook shows them."""

from __future__ import annotations

from html import escape

from tamcl.findings.answers import verdicts
from tamcl.findings.study import Study
from tamcl.metrics import find
from tamcl.results import Results
from tamcl.scenario.notebook import html_table


def results_html(results: Results) -> str:
    """Return a study as HTML: its sentences, and a row for each arm with the metric that was tuned for."""
    study = Study(results)
    metric = find(study.primary)
    values = study.metrics[study.metrics["metric"] == study.primary].groupby("arm")["value"]
    scale, unit = (100, " (%)") if metric.unit == "fraction" else (1, "")
    rows = []
    for arm in study.arms:
        found = values.get_group(arm) if arm in values.groups else None
        mean = "-" if found is None else f"{scale * found.mean():.4g}"
        spread = "-" if found is None or len(found) < 2 else f"{scale * found.std():.2g}"
        lr = str(study.trials[arm]).removeprefix("lr ") if arm in study.trials else "-"
        rows.append((arm, lr, "0" if found is None else str(len(found)), mean, spread))
    heads = ("arm", "learning rate", "seeds", f"{metric.label.lower()}{unit}, mean", "standard deviation")
    said = "".join(f"<li>{escape(sentence)}</li>" for sentence in verdicts(results))
    return f"<p>{escape(repr(results))}</p><ul>{said}</ul>{html_table(heads, rows)}"
