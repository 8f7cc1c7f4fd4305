"""The tables of the report, as text with the number behind it to sort by."""

from __future__ import annotations

from math import floor, isfinite, log10
from typing import Any, NamedTuple

import pandas as pd

from tamcl import stats
from tamcl.findings.answers import answers
from tamcl.findings.oracles import OracleComparison
from tamcl.findings.study import Study, records
from tamcl.findings.sweep import chosen_trials, tunes_options
from tamcl.metrics import METRICS, find
from tamcl.plots import arm_styles, mean_interval, metric_axis, with_direction
from tamcl.scenario.groups import listed_groups
from tamcl.scenario.schema import listed
from tamcl.stats import ALPHA
from tamcl.sweeps import Sweep, row_name
from tamcl.trial import Trial, is_number, values_of


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


def metric_table(study: Study, name: str, caption: str, metrics: list[str]) -> Table:
    """Return the mean of metrics by arm, a row an arm; the best of those with the most seeds is marked.

    An arm with fewer seeds than another is not: where those that it lacks are hard, its mean is too good.
    """
    means = mean_interval(study.metrics.dropna(subset="value"), ["metric", "arm"], "value")
    found = {(row["metric"], row["arm"]): row for row in records(means)}
    best = {}
    for metric in metrics:
        scores = [(row["count"], find(metric).sign * row["mean"]) for (name, _), row in found.items() if name == metric]
        several = len({score for _, score in scores}) > 1
        best[metric] = max(scores) if several else None  # the most seeds first, then the best mean
    styles, rows = arm_styles(study.arms), []
    for arm in study.arms:
        fields = [Field(arm, color=styles[arm].color)]
        for metric in metrics:
            row, factor = found.get((metric, arm)), metric_axis(metric)[2]
            if row is None:
                fields.append(Field("–"))
                continue
            is_best = (row["count"], find(metric).sign * row["mean"]) == best[metric]
            text = _plus_minus(factor * row["mean"], factor * (row["high"] - row["mean"]))
            fields.append(Field(text, factor * row["mean"], "best" if is_best else ""))
        rows.append(Row(fields))
    heads = [
        Field(
            metric_axis(metric)[0], classes="head", note=with_direction(metric, "", metric_axis(metric)[1]).strip(" ()")
        )
        for metric in metrics
    ]
    return Table(name, caption, [Field("Arm"), *heads], rows)


def center_table(study: Study) -> Table:
    """Return mean, median and interquartile mean of the paired differences, and the seeds that each needs."""
    label, unit, factor = metric_axis(study.primary)
    primary = study.differences[study.differences["metric"] == study.primary]
    level = ALPHA / max(1, primary.groupby(["arm_a", "arm_b"]).ngroups)  # what Holm asks of the smallest p-value
    needed = {(row["arm_a"], row["arm_b"]): row["seeds"] for row in records(stats.seeds_for(primary, alpha=level))}
    found = {
        (row["arm_a"], row["arm_b"]): row
        for row in records(stats.centers(primary, by=["arm_a", "arm_b"], column="diff"))
    }
    rows = []
    for pair in (pair for pair in study.pairs if pair in found):
        row, seeds = found[pair], needed[pair]
        digits = _digits(factor * (row["mean_high"] - row["mean_low"]) / 2)
        fields = [Field(" − ".join(pair))]
        for center in ("mean", "median", "iqm"):
            value, low, high = (factor * row[center + end] for end in ("", "_low", "_high"))
            fields.append(Field(_decimal(value, digits, "+"), value, note=_ends(low, high, digits)))
        fields.append(Field(str(row["n"]), row["n"]))
        fields.append(Field(f"{seeds:,.0f}", seeds) if isfinite(seeds) else Field("no effect" if seeds > 0 else "–"))
        rows.append(Row(fields))
    heads = ["Pair", "Mean", "Median", "Interquartile mean", "Seeds", "Seeds needed"]
    caption = f"Centre of the paired differences: {with_direction(study.primary, label.lower(), _points(unit))}"
    return Table("centers", caption, _heads(heads, text=set()), rows)


def same_lr_table(study: Study) -> Table:
    """Return each pair with both at their own learning rates, and the range of differences at shared ones."""
    unit, factor = metric_axis(study.primary)[1:]
    rows = []
    for pair in study.pairs:
        both = study.same_lr[(study.same_lr["arm_a"] == pair[0]) & (study.same_lr["arm_b"] == pair[1])]
        both = both[both["n_pairs"] > 0]
        tuned, shared = both[both["tuned"]], both[~both["tuned"]].sort_values("diff")
        if tuned.empty or shared.empty:
            continue
        fields = [Field(" − ".join(pair))]
        for row in records(pd.concat([tuned, shared.iloc[[0, -1]]])):
            rates = f"at {row['lr_a']:g}" + ("" if row["lr_a"] == row["lr_b"] else f" and {row['lr_b']:g}")
            fields.append(
                Field(_decimal(factor * row["diff"], 1 if factor == 100 else 3, "+"), row["diff"], note=rates)
            )
        rows.append(Row([*fields, Field(str(len(shared)), len(shared))]))
    heads = ["Pair", "Each at its own", "Lowest at a shared one", "Highest at a shared one", "Shared rates"]
    best = "; always with the best options of each" if study.tunes_options else ""
    own, same = ("learning rate and options", "learning rates") if study.tunes_options else ("learning rate", "ones")
    caption = f"Difference with each arm at its own {own}, and at shared {same}"
    caption += f" ({_points(unit)}; tuning seeds{best})"
    return Table("same-lr", caption, _heads(heads, text=set()), rows)


def confirmation_table(study: Study) -> Table:
    """Return the claims that were repeated on fresh seeds, a row a claim."""
    found = study.confirmation
    claims = {(claim["arm_a"], claim["arm_b"]): claim for claim in found.claims} if found else {}
    rows = []
    for answer in answers(study):
        if not (found and answer.again):
            continue
        a, b = answer.arm_a, answer.arm_b
        both = stats.between(found.comparisons, a, b)
        row = records(both[both["metric"] == claims[a, b]["metric"]])[0]
        label, unit, factor = metric_axis(row["metric"])
        claimed, diff, low, high = (
            factor * value for value in (claims[a, b]["diff"], row["diff"], row["ci_low"], row["ci_high"])
        )
        digits = _digits((high - low) / 2)
        fields = [
            Field(f"{a} − {b}", note=f"{label} ({_points(unit)})"),
            Field(CLAIMS[claims[a, b]["strength"]], classes="text"),
            Field(_decimal(claimed, digits, "+"), claimed),
            Field(_decimal(diff, digits, "+"), diff, note=_ends(low, high, digits)),
            Field(_p(row["p_adjusted"]), row["p_adjusted"]),
            Field(str(row["n_pairs"]), row["n_pairs"]),
            Field(HELD[answer.again[0]], classes="text"),
        ]
        rows.append(Row(fields, "chosen" if answer.again[0] == "held" else ""))
    heads = ["Pair", "Claim", "Claimed", "Fresh seeds", "p (Holm)", "Seeds", "Outcome"]
    return Table("confirmation", "Claims repeated on fresh seeds", _heads(heads, text={"Claim", "Outcome"}), rows)


def oracle_table(study: Study, found: list[OracleComparison]) -> Table:
    """Return every arm's online accuracy beside that of its oracles, with regret and intransigence."""
    styles, accuracy = arm_styles(study.arms), study.metrics[study.metrics["metric"] == "online_accuracy"]
    means = {row["arm"]: row for row in records(mean_interval(accuracy, ["arm"], "value"))}
    heads, rows = [Field("Arm"), Field("Online accuracy", classes="head", note="%")], []
    for each in found:
        words = {each.name.capitalize(): "%", f"Regret, {each.name.removesuffix(' oracle')}": "points"}
        words |= {"Intransigence": "points"} if each.kind == "restart" else {}
        heads += [Field(head, classes="head", note=unit) for head, unit in words.items()]
    for arm in (arm for arm in study.arms if arm in means):
        mean, high = 100 * means[arm]["mean"], 100 * means[arm]["high"]
        fields = [Field(arm, color=styles[arm].color), Field(_plus_minus(mean, high - mean), mean)]
        for each in found:
            fields += _oracle_fields(each, arm, _digits(high - mean))
        rows.append(Row(fields))
    return Table("oracles", "Arms against themselves as oracles, and the 95 % interval of the regret", heads, rows)


def _oracle_fields(found: OracleComparison, arm: str, digits: int) -> list[Field]:
    """Return the online accuracy of an arm's oracle, the regret, and against the restart oracle the intransigence."""
    best, regret, intransigence = Field("–"), Field("–"), Field("–")
    for row in records(found.comparisons[(found.comparisons["arm_a"] == arm) & (found.comparisons["n_pairs"] > 0)]):
        mean, diff, low, high = 100 * row["mean_b"], *(-100 * row[end] for end in ("diff", "ci_high", "ci_low"))
        fine = _digits((high - low) / 2)
        best = Field(_decimal(mean, digits), mean)
        regret = Field(_decimal(diff, fine, "+"), diff, note=_ends(low, high, fine))
    known = found.intransigences[found.intransigences["arm"] == arm].dropna()  # nan: not tested on what was just learnt
    for row in records(mean_interval(known, ["arm"], "intransigence")):
        mean = 100 * row["mean"]
        intransigence = Field(_plus_minus(mean, 100 * row["high"] - mean), mean)
    return [best, regret, *([intransigence] if found.kind == "restart" else [])]


CLAIMS = {"shown": "a difference", "hint": "a hint of one", "open": "none shown"}
HELD = {
    "held": "held",
    "not again": "not shown",
    "none again": "again none shown",
    "now shown": "a difference shown",
}
"""How a table says what became of a claim."""


def comparison_table(name: str, caption: str, comparisons: pd.DataFrame, *, named: bool = True) -> Table:
    """Return paired comparisons, a row a pair and metric; ``named``: each row says which metric."""
    rows = []
    for row in records(comparisons):
        label, unit, factor = metric_axis(row["metric"])
        a, b, diff, low, high = (factor * row[c] for c in ("mean_a", "mean_b", "diff", "ci_low", "ci_high"))
        digits = _digits((high - low) / 2)
        fields = [
            Field(f"{row['arm_a']} − {row['arm_b']}", note=with_direction(row["metric"], label, unit) if named else ""),
            Field(_decimal(diff, digits, "+"), diff),
            Field(_ends(low, high, digits) or "–", low),
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


def other_metrics_table(study: Study, name: str, a: str, b: str) -> Table | None:
    """Return a pair of arms on all metrics but the one that the answer is about, a row a metric; None without any.

    Metrics that are of the same numbers in this study, such as some kinds of forgetting, share a row.
    """
    found = study.comparisons[(study.comparisons["arm_a"] == a) & (study.comparisons["arm_b"] == b)]
    order = {name: place for place, name in enumerate(dict.fromkeys([*METRICS, *found["metric"]]))}
    facts: dict[tuple[float, ...], list[dict[str, Any]]] = {}
    for row in records(found.sort_values("metric", key=lambda names: names.map(order))):
        if row["metric"] != study.primary:
            facts.setdefault(_fact(row), []).append(row)
    rows = [_other_metric(*same) for same in facts.values()]
    heads = _heads(["Metric", "Difference", "95 % interval", "p (Holm)", "Better", "Seeds"], text={"Better"})
    return Table(name, f"{a} − {b} on the other metrics", heads, rows, sortable=False) if rows else None


def _fact(row: dict[str, Any]) -> tuple[float, ...]:
    """Return what a row says whatever its metric is called and whichever way it is counted."""
    metric = find(row["metric"])
    ends = sorted(metric.sign * row[end] for end in ("ci_low", "ci_high"))
    sides = (metric.sign * row[column] for column in ("mean_a", "mean_b", "diff"))
    return tuple(round(value, 9) for value in (metric_axis(row["metric"])[2], *sides, *ends, row["n_pairs"]))


def _other_metric(row: dict[str, Any], *same: dict[str, Any]) -> Row:
    """Return the row of a metric and of those that are the same numbers."""
    label, unit, factor = metric_axis(row["metric"])
    diff, low, high = (factor * row[column] for column in ("diff", "ci_low", "ci_high"))
    digits = _digits((high - low) / 2)
    metric, names = find(row["metric"]), []
    for other in (find(each["metric"]) for each in same):
        names.append(other.label + " (with the other sign)" * (other.sign != metric.sign))
    note = with_direction(row["metric"], "", _points(unit)).strip(" ()")
    better = (row["arm_a"] if metric.sign * diff > 0 else row["arm_b"]) if stats.is_shown(row) else "not shown"
    return Row(
        [
            Field(label, note="; the same: ".join(part for part in (note, "; ".join(names)) if part)),
            Field(_decimal(diff, digits, "+"), diff),
            Field(_ends(low, high, digits) or "–", low),
            Field(_p(row["p_adjusted"]), row["p_adjusted"]),
            Field(better, classes="text"),
            Field(str(row["n_pairs"]), row["n_pairs"]),
        ]
    )


def sweep_table(sweep: Sweep) -> Table:
    """Return the mean of the primary metric by value and arm, and the learning rate that the arm took there."""
    label, unit, factor = metric_axis(sweep.primary)
    styles, trials = arm_styles(sweep.arms), chosen_trials(sweep)
    rows = []
    for (study, results), of_study in zip(sweep.finished, trials, strict=True):
        found = Study(results).metrics
        means = mean_interval(found[found["metric"] == sweep.primary].dropna(subset="value"), ["arm"], "value")
        by_arm = {row["arm"]: row for row in records(means)}
        fields = [Field(study.name)]
        for arm in sweep.arms:
            row = by_arm.get(arm)
            if row is None:
                fields.append(Field("–"))
                continue
            text = _plus_minus(factor * row["mean"], factor * (row["high"] - row["mean"]))
            fields.append(Field(text, factor * row["mean"], note=f"{of_study[arm]}, {row['count']} seeds"))
        rows.append(Row(fields))
    chosen = "learning rate, options" if tunes_options(sweep) else "learning rate"
    caption = f"{with_direction(sweep.primary, label, unit)}: mean ± half of its 95 % interval, {chosen}, seeds"
    heads = [Field("Value"), *(Field(arm, classes="head", color=styles[arm].color) for arm in sweep.arms)]
    return Table("metrics", caption, heads, rows)


def sweep_comparison_table(sweep: Sweep, name: str, caption: str, comparisons: pd.DataFrame) -> Table:
    """Return the paired comparisons of a sweep, a row a value, pair and metric."""
    of_pairs = comparison_table(name, caption, comparisons, named=comparisons["metric"].nunique() > 1)
    values = [Field(row_name(row)) for row in records(comparisons[sweep.keys])]
    rows = [Row([value, *row.fields]) for value, row in zip(values, of_pairs.rows, strict=True)]
    return of_pairs._replace(heads=[Field("Value"), *of_pairs.heads], rows=rows)


def arm_table(study: Study) -> Table:
    """Return what every arm is, what it could choose from, and what it cost."""
    styles = arm_styles(study.arms)
    speed = study.runs[study.runs["status"] == "ok"].groupby("arm")["ms_per_step"].mean()
    rows = []
    for arm in study.arms:
        options = dict(study.scenario.get("arms", {}).get(arm, {}))
        optimizer, tried = options.pop("optimizer", arm), options.pop("lr", [])
        if study.protocol.get("search", "grid") != "grid":
            tried = study.tuning.loc[study.tuning["arm"] == arm, "lr"]
        groups = listed_groups(options.pop("groups", None) or ())
        interventions = listed(options.pop("interventions", None) or ())
        told = {key: value for key, value in options.items() if value is not None}
        settings = ", ".join(_setting(study, arm, key, value) for key, value in told.items())
        settings = "; ".join(part for part in (settings, groups, interventions) if part)
        runs = study.runs[study.runs["arm"] == arm]
        trial, finished = study.trials.get(arm), int((runs["status"] == "ok").sum())
        fields = [
            Field(arm, color=styles[arm].color),
            Field(f"{optimizer}, {settings}" if settings else optimizer, classes="text wrap"),
            Field(", ".join(f"{lr:g}" for lr in sorted(tried)) or "–", classes="text wrap", note=_added(study, arm)),
            Field("none left") if trial is None else Field(f"{trial.lr:g}", trial.lr, note=trial.options),
            Field(f"{finished} of {len(runs)}", finished),
            Field(f"{speed[arm]:.2f}", float(speed[arm])) if arm in speed.index else Field("–"),
        ]
        tuning = study.tuning[study.tuning["arm"] == arm]
        edge = tuning["on_edge"].any() or (tuning["options_on_edge"] != "").any()
        rows.append(Row(fields, "flag" if edge or trial is None else ""))
    heads = ["Arm", "Optimizer", "Learning rates tried", "Chosen", "Finished", "ms a batch"]
    return Table(
        "arms",
        "Arms: what they could choose from, reported runs that finished, time a mini-batch",
        _heads(heads, text={"Optimizer", "Learning rates tried"}),
        rows,
    )


def _setting(study: Study, arm: str, name: str, value: Any) -> str:
    """Return an option of an arm in words: its value, or those that it could have."""
    tuned = {name for options in study.tuning.loc[study.tuning["arm"] == arm, "options"] for name in values_of(options)}
    if name not in tuned or len(value) < 2:
        return f"{name} = {plain_value(value[0] if name in tuned else value)}"
    if study.protocol.get("search", "grid") != "grid" and all(map(is_number, value)):
        return f"{name} from {min(value)} to {max(value)}"
    return f"{name} of {', '.join(map(plain_value, value))}"


def _added(study: Study, arm: str) -> str:
    added = ", ".join(str(trial).removeprefix("lr ") for trial in study.added.get(arm, []))
    return f"then {added}" if added else ""


def tuning_table(study: Study) -> Table:
    """Return the score of every trial that was made."""
    label, unit, factor = metric_axis(study.primary)
    order = {arm: place for place, arm in enumerate(study.arms)}
    by = ["arm", "lr", "options"]
    table = study.tuning.sort_values(by, key=lambda c: c.map(order) if c.name == "arm" else c, kind="stable")
    rows = []
    for row in records(table):
        score = factor * row["score"]
        added = "added" if Trial(row["lr"], row["options"]) in study.added.get(row["arm"], []) else ""
        ends = [*["learning rate"] * row["on_edge"], *filter(None, [row["options_on_edge"]])]
        where = f"{', '.join(ends)} " * (ends != ["learning rate"])
        chosen = f"chosen, {where}on the edge of the grid" if ends else "chosen" if row["chosen"] else ""
        note = ", ".join(part for part in (added, chosen) if part)
        fields = [
            Field(row["arm"]),
            Field(f"{row['lr']:g}", row["lr"]),
            *[Field(row["options"], classes="text wrap")] * study.tunes_options,
            Field(_decimal(score, 2), score) if isfinite(score) else Field("–"),
            Field(str(row["n_seeds"]), row["n_seeds"]),
            Field(str(row["n_diverged"]), row["n_diverged"]),
            Field(note, classes="text"),
        ]
        rows.append(Row(fields, "flag" if ends else "chosen" if row["chosen"] else ""))
    heads = ["Arm", "Learning rate", *["Options"] * study.tunes_options, f"{label} ({unit})" if unit else label]
    heads += ["Seeds", "Diverged or failed", "Note"]
    what = "trial" if study.tunes_options else "learning rate"
    return Table("tuning", f"Mean over tuning seeds of every {what}", _heads(heads, text={"Note", "Options"}), rows)


def failure_table(study: Study) -> Table:
    """Return the runs that diverged or failed, and why."""
    runs = study.results.runs
    has_options = bool((runs["options"] != "").any())
    rows = [
        Row(
            [
                Field(row["arm"]),
                Field(f"{row['lr']:g}", row["lr"]),
                *[Field(row["options"], classes="text wrap")] * has_options,
                Field(str(row["seed"]), row["seed"]),
                Field({"tune": "tuning", "report": "reported"}.get(row["phase"], row["phase"]), classes="text"),
                Field(row["status"], classes="text"),
                Field(row["error"], classes="text wrap"),
            ]
        )
        for row in records(runs[runs["status"] != "ok"])
    ]
    heads = ["Arm", "Learning rate", *["Options"] * has_options, "Seed", "For", "Status", "Message"]
    words = {"Options", "For", "Status", "Message"}
    return Table("failures", "Runs that did not finish", _heads(heads, text=words), rows)


def _heads(names: list[str], text: set[str]) -> list[Field]:
    return [Field(name, classes="text" if name in text else "") for name in names]


def _points(unit: str) -> str:
    return "points" if unit == "%" else unit


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


def _ends(low: float, high: float, digits: int) -> str:
    """Return the ends of an interval, or nothing where there is none.

    Examples
    --------
    >>> _ends(-0.24, 1.3, 1)
    '−0.2 to +1.3'
    """
    return f"{_decimal(low, digits, '+')} to {_decimal(high, digits, '+')}" if isfinite(low) else ""


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
