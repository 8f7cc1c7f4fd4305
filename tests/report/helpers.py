"""A report as a browser would see it, and changes of the study that it is of."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tamcl.files.records import write_record
from tamcl.findings.study import Study
from tamcl.report import write_report
from tamcl.report.figures import WIDTHS, drawings, tuning_drawings
from tamcl.results import load_results
from tests.synthetic_study import write_study

VOID = {"meta", "img", "source", "br", "link", "input"}
SECTIONS = ["answer", "pictures", "numbers", "tuning", "setup", "failures", "assumptions", "repeat"]
FIGURES = ["online_accuracy", "recovery", "summary", "differences", "forgetting", "accuracy_matrix"]
FIGURES += ["over_experiences", "lr_sensitivity", "adaptation_by_lr", "expected_best"]
CURVES = ["online_accuracy", "recovery", "over_experiences", "expected_best"]


class Page(HTMLParser):
    """What a browser would see: tags, text, and tables as rows of (text, number) fields."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.html = html
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.tables: dict[str, list[list[tuple[str, float | None]]]] = {}
        self.rows: list[list[tuple[str, float | None]]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.tags.append((tag, found))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.rows = self.tables[str(found["id"])] = []
        elif tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            value = found.get("data-value")
            self.rows[-1].append(("", None if value is None else float(value)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"{tag} closed out of order"

    def handle_data(self, data: str) -> None:
        if "style" in self.open or "script" in self.open:
            return
        self.texts.append(data)
        if {"td", "th"} & set(self.open) and "small" not in self.open:
            text, value = self.rows[-1][-1]
            self.rows[-1][-1] = (text + data.strip(), value)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    @property
    def ids(self) -> set[str | None]:
        return {attributes["id"] for _, attributes in self.tags if "id" in attributes}

    def table(self, name: str) -> pd.DataFrame:
        heads, *rows = self.tables[f"table-{name}"]
        return pd.DataFrame(
            [[text if v is None else v for text, v in row] for row in rows], columns=[h for h, _ in heads]
        )


def online_means(folder: Path, block: int) -> pd.DataFrame:
    """Mean over seeds and its 95 % interval of the accuracy over so many mini-batches, by arm and their middle."""
    online = Study(load_results(folder)).online
    middle = online["step"] // block * block + (block - 1) / 2
    sums = online.groupby(["arm", middle, "seed"])[["correct", "n"]].sum()
    seeds = (100 * sums["correct"] / sums["n"]).groupby(["arm", "step"])
    half = stats.t.ppf(0.975, seeds.count() - 1) * seeds.std() / np.sqrt(seeds.count())
    ends = {"low": seeds.mean() - half, "high": seeds.mean() + half}
    return pd.DataFrame({"mean": seeds.mean(), **{end: value.clip(0, 100) for end, value in ends.items()}})


def edited(name: str, edit: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], object]:
    """Return a change of one table of a study."""
    return lambda folder: edit(pd.read_parquet(folder / f"{name}.parquet")).to_parquet(folder / f"{name}.parquet")


def write_sweep(base: Path) -> Path:
    """Write a sweep of two studies, one that was not begun, and one that failed."""
    studies = []
    for value, why in ((0.8, ""), (0.2, ""), (0.4, ""), (0.6, "all 9 runs failed, <b>so</b> there is nothing")):
        name = f"stream.fraction={value}"
        values = {"stream.fraction": value}
        studies.append({"folder": name, "name": f"stream.fraction = {value}", "values": values, "error": why})
        if value in (0.2, 0.8):
            arms = ["sgdm", "tam", "tam_frozen"]
            size = {"seeds": 3, "tune_seeds": 2, "experiences": 2, "steps": int(50 * value)}
            write_study(base / "studies" / name, arms=arms, **size)
            (base / "studies" / name / "report.html").touch()
    scenario = load_results(base / "studies" / "stream.fraction=0.2").study["scenario"]
    write_record(base / "sweep.json", {"command": "tamcl sweep x", "scenario": scenario, "studies": studies})
    return base


def without_pictures(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Page, set[str]]:
    """The report of a study, and the figures that it would hold, each drawn once and not four times."""
    study = Study(load_results(folder))
    drawn = [*drawings(study), *tuning_drawings(study)]
    for drawing in drawn:
        drawing.draw(WIDTHS["narrow"]).draw_without_rendering()
    monkeypatch.setattr("tamcl.report.page.draw_pictures", lambda study: [])
    monkeypatch.setattr("tamcl.report.page.draw_tuning_pictures", lambda study: [])
    return Page(write_report(folder).read_text(encoding="utf-8")), {drawing.name for drawing in drawn}
