"""The results of studies as a table for a paper: a row an arm, or a row a study, in LaTeX, Markdown or CSV."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence
from math import floor, isfinite, log10
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from tamcl.errors import InputError, printable, unknown_name
from tamcl.findings.study import Study, records
from tamcl.metrics import find
from tamcl.plots import mean_interval, metric_axis
from tamcl.results import load_results
from tamcl.scenario.settings import value_text
from tamcl.sweeps import is_sweep, load_sweep

CONFIDENCE = "Mean ± half of its 95 % interval (Student's t)"
ARROWS = {"higher": "↑", "lower": "↓"}


def paper_table(
    directories: str | Path | Sequence[str | Path],
    *,
    format: str = "latex",
    metrics: Sequence[str] | None = None,
    arms: Sequence[str] | None = None,
) -> str:
    r"""Return the means of the reported runs as a table for a paper.

    Of one study each arm has a row and each metric a column. Of several, or of a sweep, each study or value has a row
    and each arm a column, on a single metric. What is written after ± is half of the 95 % interval of the mean. The
    best mean is bold, and those that read the same; an arm with fewer seeds than another is not, as those that it lacks
    may be hard. Null models have a dagger.

    Parameters
    ----------
    directories : path, or sequence of path
        Folders of finished studies, or of sweeps.
    format : {"latex", "markdown", "csv"}
        LaTeX needs the package ``booktabs``. CSV has a row for each study, arm and metric, with numbers in full.
    metrics : sequence of str, optional
        Which metrics. If absent, the one that was tuned by and, of one study, what was kept: average and learning
        accuracy and forgetting, or perplexity.
    arms : sequence of str, optional
        Which arms, in this order; all if absent.

    Raises
    ------
    InputError
        If a folder holds no finished study, a name is unknown, nothing has a value, or studies leave open which metric.
    """
    if format not in WRITERS:
        raise unknown_name("--format", format, WRITERS)
    given = [directories] if isinstance(directories, str | Path) else list(directories)
    shown = _with_arms(_with_metrics(_read(given), metrics), arms)
    return WRITERS[format](shown, _values(shown))


class Shown(NamedTuple):
    """What a table shows."""

    studies: dict[str, Study]
    """By what stands at the head of a row."""
    missing: list[str]
    """Values of a sweep that have no results."""
    corner: str
    """What stands above the heads of rows: the keys of a single sweep."""
    has_rows: bool
    """Whether each study has a row, as of several and of a sweep."""
    metrics: Sequence[str] = ()
    arms: Sequence[str] = ()


def _read(directories: list[str | Path]) -> Shown:
    """Read studies and sweeps; a study is called by its scenario, or by its folder where that is not enough."""
    places, swept, missing = list[tuple[str, Study]](), list[tuple[str, Study]](), list[str]()
    corner = ""
    for directory in directories:
        if is_sweep(directory):
            sweep = load_sweep(directory)
            corner = ", ".join(sweep.keys) if len(directories) == 1 else ""
            for study, results in sweep.finished:
                values = ", ".join(sweep.labels[key][value_text(study.settings[key])] for key in sweep.keys)
                swept.append((values if corner else study.name, Study(results)))
            missing += [study.name for study in sweep.studies if study.results is None]
        else:
            places.append((str(directory), Study(load_results(directory))))
    names = [str(study.scenario.get("name", "")) for _, study in places]
    is_enough = len(set(names)) == len(names) and all(names)
    named = [(name if is_enough else place, study) for name, (place, study) in zip(names, places, strict=True)]
    studies = [*named, *swept]
    if not studies:
        raise InputError(f"DIR = {', '.join(map(str, directories)) or 'none'}: there is no study with results")
    if twice := [name for name, _ in studies if [other for other, _ in studies].count(name) > 1]:
        raise InputError(f"DIR: two rows would be called '{twice[0]}': give each folder once, and sweeps one by one")
    return Shown(dict(studies), missing, corner, has_rows=bool(swept) or len(studies) > 1)


def _with_metrics(shown: Shown, metrics: Sequence[str] | None) -> Shown:
    first = next(iter(shown.studies.values()))
    why = "--metrics names"
    if metrics is None:
        primaries = [study.primary for study in shown.studies.values()]
        why, metrics = "the studies were tuned by", primaries if shown.has_rows else _usual(first)
    chosen = list(dict.fromkeys(metrics))
    for name in chosen:
        find(name)
    if shown.has_rows and len(chosen) > 1:
        raise InputError(f"{why} {', '.join(chosen)}: a table of several studies is of one metric; name it (--metrics)")
    return shown._replace(metrics=chosen)


def _usual(study: Study) -> list[str]:
    """Return the metrics of a study that a page has room for."""
    return [name for name in study.core_metrics if name == study.primary or find(name).on in ("matrix", "text_loss")]


def _with_arms(shown: Shown, arms: Sequence[str] | None) -> Shown:
    known = list(dict.fromkeys(arm for study in shown.studies.values() for arm in study.arms))
    for arm in arms or ():
        if arm not in known:
            raise unknown_name("arm", arm, known)
    return shown._replace(arms=known if arms is None else list(dict.fromkeys(arms)))


def _values(shown: Shown) -> pd.DataFrame:
    """Return a row for each study, arm and metric that has a value, in the units that are shown."""
    parts = []
    for name, study in shown.studies.items():
        rows = study.metrics[study.metrics["metric"].isin(shown.metrics) & study.metrics["arm"].isin(shown.arms)]
        means = mean_interval(rows.dropna(subset="value"), ["arm", "metric"], "value")
        nulls, units = (
            {null: method for method, null in study.nulls},
            means["metric"].map(lambda name: metric_axis(name)[1]),
        )
        factors = means["metric"].map(lambda name: metric_axis(name)[2]).astype("float64")
        part = {
            "study": name,
            "arm": means["arm"],
            "null_of": means["arm"].map(lambda arm, nulls=nulls: nulls.get(arm, "")),
            "metric": means["metric"],
            "unit": units,
            "mean": factors * means["mean"],
            "half": factors * (means["high"] - means["mean"]),
            "seeds": means["count"],
        }
        places = {"arm": shown.arms.index, "metric": shown.metrics.index}
        parts.append(pd.DataFrame(part).sort_values(["arm", "metric"], key=lambda c: c.map(places[str(c.name)])))
    table = pd.concat(parts, ignore_index=True)
    if none := [metric for metric in shown.metrics if metric not in set(table["metric"])]:
        raise InputError(f"--metrics {none[0]}: no finished run of these arms has a value of it")
    if table.empty:
        raise InputError("--metrics: no finished run of these arms has a value of any metric")
    table["decimals"] = table.groupby("metric")["half"].transform(_decimals)
    table.loc[table["unit"] == "%", "decimals"] = table["decimals"].clip(lower=1)
    return table.assign(best=pd.concat([_best(rows) for _, rows in table.groupby(["study", "metric"])]))


def _decimals(halves: pd.Series) -> int:
    """Return the decimals that show the first digit of the half intervals' median, at most 3."""
    middle = halves[halves > 0].median()
    return min(3, max(0, -floor(log10(middle)))) if middle > 0 else 0


def _best(rows: pd.DataFrame) -> pd.Series[bool]:
    """Say which arms of a study are best on a metric, as printed, among those with the most seeds; none if all are."""
    sign, decimals = find(rows["metric"].iloc[0]).sign, int(rows["decimals"].iloc[0])
    printed = sign * rows["mean"].round(decimals)
    best = printed.eq(printed[rows["seeds"] == rows["seeds"].max()].max()) & (rows["seeds"] == rows["seeds"].max())
    found: pd.Series[bool] = best & (printed.nunique() > 1)
    return found


class Cell(NamedTuple):
    """A number of a table."""

    text: str
    best: bool = False


NONE = Cell("–")


class Layout(NamedTuple):
    """A table as it is read: heads, rows with a name each, and sentences below."""

    heads: list[str]
    rows: list[tuple[str, list[Cell]]]
    caption: str


def _layout(shown: Shown, values: pd.DataFrame) -> Layout:
    nulls = set(values.loc[values["null_of"] != "", "arm"])
    arms = {arm: f"{arm}†" if arm in nulls else arm for arm in shown.arms}
    most = int(values["seeds"].max())
    cells = {(row["study"], row["arm"], row["metric"]): _cell(row, most) for row in records(values)}
    if shown.has_rows:
        (metric,) = shown.metrics
        of = [(name, [cells.get((name, arm, metric), NONE) for arm in arms]) for name in shown.studies]
        return Layout(list(arms.values()), of, _caption(shown, values))
    (name,) = shown.studies
    of = [(words, [cells.get((name, arm, each), NONE) for each in shown.metrics]) for arm, words in arms.items()]
    return Layout([_head(each) for each in shown.metrics], of, _caption(shown, values))


def _cell(row: dict[str, Any], most: int) -> Cell:
    mean, half = (f"{round(row[name], row['decimals']) + 0.0:.{row['decimals']}f}" for name in ("mean", "half"))
    text = f"{mean} ± {half}" if isfinite(row["half"]) else mean
    fewer = f" ({row['seeds']})" if row["seeds"] < most else ""
    return Cell(f"{text}{fewer}".replace("-", "−"), row["best"])


def _head(metric: str) -> str:
    label, unit, _ = metric_axis(metric)
    is_said = unit in label.lower()  # as of a loss
    return " ".join(part for part in (label, "" if is_said else f"({unit})", ARROWS[find(metric).better]) if part)


def _caption(shown: Shown, values: pd.DataFrame) -> str:
    most, least = int(values["seeds"].max()), int(values["seeds"].min())
    seeds = f"{most} seed{'s' * (most != 1)}"
    if shown.has_rows:
        sentences = [f"{_head(values['metric'].iloc[0])}."]
    else:
        (study,) = shown.studies.values()
        sentences = [f"{study.scenario.get('title') or study.scenario.get('name', 'A study')}."]
    is_sure = bool(values["half"].notna().any())
    own = "learning rate" + " and options" * any(study.tunes_options for study in shown.studies.values())
    sentences.append(f"{CONFIDENCE if is_sure else 'Mean'} over {seeds}, each arm at its own {own}.")
    if least < most:
        sentences.append("In brackets: seeds, where there are fewer.")
    if values["best"].any():
        line = "row" if shown.has_rows else "column"
        sentences.append(f"Bold: the best mean of a {line}, which is no test of a difference.")
    nulls = {row["arm"]: row["null_of"] for row in records(values) if row["null_of"]}
    if nulls:
        listed = ", ".join(f"{null} of {method}" for null, method in nulls.items())
        sentences.append(f"† Null model, a method without its mechanism: {listed}.")
    if shown.missing:
        sentences.append(f"Without results, and left out: {', '.join(shown.missing)}.")
    return " ".join(sentences)


def _latex(shown: Shown, values: pd.DataFrame) -> str:
    layout = _layout(shown, values)
    kind = "table*" if len(layout.heads) > 3 else "table"
    lines = [" & ".join([latex_text(shown.corner), *map(_stacked, layout.heads)]) + r" \\", r"\midrule"]
    for name, cells in layout.rows:
        texts = [rf"\textbf{{{latex_text(cell.text)}}}" if cell.best else latex_text(cell.text) for cell in cells]
        lines.append(" & ".join([latex_text(name), *texts]) + r" \\")
    first = next(iter(shown.studies.values()))
    label = re.sub(r"[^A-Za-z0-9]+", "-", str(first.scenario.get("name", ""))).strip("-") or "results"
    parts = [
        r"% needs \usepackage{booktabs}",
        rf"\begin{{{kind}}}",
        r"\centering\small\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{latex_text(layout.caption)}}}\medskip",
        rf"\label{{tab:{label}}}",
        rf"\begin{{tabular}}{{l{'r' * len(layout.heads)}}}",
        r"\toprule",
        *lines,
        r"\bottomrule",
        r"\end{tabular}",
        rf"\end{{{kind}}}",
    ]
    return "\n".join(parts) + "\n"


def _stacked(head: str) -> str:
    """Return a head on several short lines, for columns to be as narrow as their numbers."""
    lines = map(latex_text, textwrap.wrap(head, 10, break_long_words=False))
    return r"\shortstack[r]{" + r"\\".join(lines) + "}"


def _markdown(shown: Shown, values: pd.DataFrame) -> str:
    layout = _layout(shown, values)
    rows = [[_escaped(shown.corner), *map(_escaped, layout.heads)], ["---", *["---:"] * len(layout.heads)]]
    for name, cells in layout.rows:
        rows.append([_escaped(name), *(f"**{cell.text}**" if cell.best else cell.text for cell in cells)])
    return "\n".join([*(f"| {' | '.join(row)} |" for row in rows), "", _escaped(layout.caption), ""])


def _csv(shown: Shown, values: pd.DataFrame) -> str:
    return values.drop(columns="decimals").rename(columns={"half": "half_of_95_interval"}).to_csv(index=False)


WRITERS: dict[str, Callable[[Shown, pd.DataFrame], str]] = {"latex": _latex, "markdown": _markdown, "csv": _csv}
"""Formats of a table by name."""

LATEX = {
    "\\": r"\textbackslash{}",
    **{each: f"\\{each}" for each in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "†": r"$^\dagger$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "…": r"\ldots{}",
}
"""How a character is written in LaTeX that means something else there, or that its fonts lack."""


def latex_text(text: str) -> str:
    r"""Return a text as LaTeX prints it.

    Examples
    --------
    >>> print(latex_text("tam_frozen: 95 % ± 0.1"))
    tam\_frozen: 95~\% $\pm$ 0.1
    """
    found = "".join(LATEX.get(each, each) for each in printable(text)).replace(r" \%", r"~\%")
    return "{}" + found if found.startswith("[") else found  # which begins an option of the command before it


def _escaped(text: str) -> str:
    """Return a text as Markdown prints it."""
    return re.sub(r"([\\`*_{}\[\]<>|#~$])", r"\\\1", printable(text))
