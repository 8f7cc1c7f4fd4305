"""The tables of the report, as text with the number behind it to sort by."""

from __future__ import annotations

from math import floor, isfinite, log10
from typing import Any, NamedTuple

import pandas as pd

from tamcl.metrics import METRICS
from tamcl.plots import looks, mean_interval, metric_axis, with_direction
from tamcl.report.reading import Study, records


class Field(NamedTuple):
    """A field of a table."""

    text: str
    value: float | None = None
    """What is sorted by; the text if None."""
    classes: str = ""
    color: str = ""
    note: str = ""
    """A second line in small letters."""


class Row(NamedTuple):
    """A row of a table; its first field is its head."""

    fields: list[Field]
    classes: str = ""


class Table(NamedTuple):
    """A table of the page."""

    name: str
    caption: str
    heads: list[Field]
    rows: list[Row]
    sortable: bool = True


def metric_table(study: Study) -> Table:
    """Return the mean of every metric by arm, a row a metric."""
    means = mean_interval(study.metrics.dropna(subset="value"), ["metric", "arm"], "value")
    rows = []
    for name in study.shown_metrics:
        label, unit, factor = metric_axis(name)
        sign = METRICS[name].sign if name in METRICS else 0
        found = {row["arm"]: row for row in records(means[means["metric"] == name])}
        scores = [sign * row["mean"] for row in found.values()]
        best = max(scores) if max(scores) > min(scores) else None
        fields = [Field(label, note=with_direction(name, "", unit).strip(" ()"))]
        for arm in study.arms:
            if arm not in found:
                fields.append(Field("–"))
                continue
            mean, high = factor * found[arm]["mean"], factor * found[arm]["high"]
            is_best = sign * found[arm]["mean"] == best
            fields.append(Field(_plus_minus(mean, high - mean), mean, "best" if is_best else ""))
        rows.append(Row(fields))
    styles = looks(study.arms)
    heads = [Field("Metric"), *(Field(arm, color=styles[arm].color) for arm in study.arms)]
    return Table("metrics", "Mean over the reported seeds ± half of its 95 % interval", heads, rows, sortable=False)


def comparison_table(name: str, caption: str, comparisons: pd.DataFrame, *, named: bool = True) -> Table:
    """Return paired comparisons, a row a pair and metric; ``named``: each row says which metric."""
    rows = []
    for row in records(comparisons):
        label, unit, factor = metric_axis(row["metric"])
        a, b, diff, low, high = (factor * row[c] for c in ("mean_a", "mean_b", "diff", "ci_low", "ci_high"))
        digits = _digits((high - low) / 2)
        interval = f"{_decimal(low, digits, '+')} to {_decimal(high, digits, '+')}" if isfinite(low) else "–"
        fields = [
            Field(f"{row['arm_a']} − {row['arm_b']}", note=with_direction(row["metric"], label, unit) if named else ""),
            Field(_decimal(diff, digits, "+"), diff),
            Field(interval, low),
            Field(_p(row["p_value"]), row["p_value"]),
            Field(_p(row["p_adjusted"]), row["p_adjusted"]),
            Field(f"{row['prob_a_better']:.0%}", row["prob_a_better"]),
            Field(_decimal(a, digits), a),
            Field(_decimal(b, digits), b),
            Field(str(row["n_pairs"]), row["n_pairs"]),
        ]
        rows.append(Row(fields))
    heads = ["Pair", "Difference", "95 % interval", "p", "p (Holm)", "First better", "First", "Second", "Seeds"]
    return Table(name, caption, _heads(heads, text=set()), rows)


def arm_table(study: Study) -> Table:
    """Return what every arm is, what it could choose from, and what it cost."""
    styles = looks(study.arms)
    speed = study.runs[study.runs["status"] == "ok"].groupby("arm")["ms_per_step"].mean()
    rows = []
    for arm in study.arms:
        options = dict(study.scenario.get("arms", {}).get(arm, {}))
        optimizer, tried = options.pop("optimizer", arm), options.pop("lr", [])
        settings = ", ".join(f"{key} = {plain_value(value)}" for key, value in options.items() if value is not None)
        runs = study.runs[study.runs["arm"] == arm]
        rate, finished = study.rates.get(arm), int((runs["status"] == "ok").sum())
        fields = [
            Field(arm, color=styles[arm].color),
            Field(f"{optimizer}, {settings}" if settings else optimizer, classes="text wrap"),
            Field(", ".join(f"{lr:g}" for lr in sorted(tried)) or "–", classes="text wrap"),
            Field("none left" if rate is None else f"{rate:g}", rate),
            Field(f"{finished} of {len(runs)}", finished),
            Field(f"{speed[arm]:.2f}", float(speed[arm])) if arm in speed.index else Field("–"),
        ]
        edge = bool(study.tuning.loc[study.tuning["arm"] == arm, "on_edge"].any())
        rows.append(Row(fields, "flag" if edge or rate is None else ""))
    heads = ["Arm", "Optimizer", "Learning rates tried", "Chosen", "Finished", "ms a batch"]
    return Table(
        "arms",
        "Arms: what they could choose from, reported runs that finished, time a mini-batch",
        _heads(heads, text={"Optimizer", "Learning rates tried"}),
        rows,
    )


def tuning_table(study: Study) -> Table:
    """Return the score of every learning rate that was tried."""
    label, unit, factor = metric_axis(study.primary)
    order = {arm: place for place, arm in enumerate(study.arms)}
    table = study.tuning.sort_values(["arm", "lr"], key=lambda c: c.map(order) if c.name == "arm" else c)
    rows = []
    for row in records(table):
        score = factor * row["score"]
        note = "chosen, on the edge of the grid" if row["on_edge"] else "chosen" if row["chosen"] else ""
        fields = [
            Field(row["arm"]),
            Field(f"{row['lr']:g}", row["lr"]),
            Field(_decimal(score, 2), score) if isfinite(score) else Field("–"),
            Field(str(row["n_seeds"]), row["n_seeds"]),
            Field(str(row["n_diverged"]), row["n_diverged"]),
            Field(note, classes="text"),
        ]
        rows.append(Row(fields, "flag" if row["on_edge"] else "chosen" if row["chosen"] else ""))
    heads = ["Arm", "Learning rate", f"{label} ({unit})" if unit else label, "Seeds", "Diverged or failed", "Note"]
    return Table("tuning", "Mean over tuning seeds of every learning rate", _heads(heads, text={"Note"}), rows)


def failure_table(study: Study) -> Table:
    """Return the runs that diverged or failed, and why."""
    runs = study.results.runs
    rows = [
        Row(
            [
                Field(row["arm"]),
                Field(f"{row['lr']:g}", row["lr"]),
                Field(str(row["seed"]), row["seed"]),
                Field({"tune": "tuning", "report": "reported"}.get(row["phase"], row["phase"]), classes="text"),
                Field(row["status"], classes="text"),
                Field(row["error"], classes="text wrap"),
            ]
        )
        for row in records(runs[runs["status"] != "ok"])
    ]
    heads = ["Arm", "Learning rate", "Seed", "For", "Status", "Message"]
    return Table("failures", "Runs that did not finish", _heads(heads, text={"For", "Status", "Message"}), rows)


def _heads(names: list[str], text: set[str]) -> list[Field]:
    return [Field(name, classes="text" if name in text else "") for name in names]


def plain_value(value: Any) -> str:
    """Return an option's value as text."""
    return " × ".join(map(str, value)) if isinstance(value, list) else str(value)


def _digits(half: float) -> int:
    """Return the decimals to show beside half an interval: its first two digits, at most three decimals."""
    if not isfinite(half):
        return 2
    return min(3, max(0, 1 - floor(log10(half)))) if half > 0 else 1


def _decimal(value: float, digits: int, sign: str = "") -> str:
    """Return a number with so many decimals, a true minus, and no minus before a zero.

    Examples
    --------
    >>> _decimal(-1.234, 1), _decimal(-0.001, 2, "+")
    ('−1.2', '+0.00')
    """
    return f"{round(value, digits) + 0.0:{sign}.{digits}f}".replace("-", "−")


def _plus_minus(mean: float, half: float) -> str:
    """Return mean and half an interval.

    Examples
    --------
    >>> _plus_minus(75.912, 1.934), _plus_minus(12.3456, float("nan"))
    ('75.9 ± 1.9', '12.35')
    """
    text = _decimal(mean, _digits(half))
    return f"{text} ± {_decimal(half, _digits(half))}" if isfinite(half) else text


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.2g}"
