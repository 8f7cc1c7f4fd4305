"""The part of a report that is about oracles: its table, its figure, and when it is not there."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tamcl.report import oracle_verdicts, write_report
from tamcl.results import load_results
from tests.oracles import ARMS, KINDS, by_hand, said, tables
from tests.report.helpers import Page

pytestmark = pytest.mark.usefixtures("oracles_in_this_process")


def test_the_report_has_a_table_and_a_figure_of_what_pandas_computes(with_oracles: Path) -> None:
    page = Page(write_report(with_oracles).read_text(encoding="utf-8"))
    assert {"oracles", "figure-regret"} <= page.ids
    assert (with_oracles / "figures" / "regret.png").is_file()
    assert "The oracles take the learning rates of the study, which were tuned with the shifts." in page.text
    assert "With 2 seeds and 2 arms no adjusted p-value can be below 1, however large a regret is" in page.text
    assert "it takes at least 7 seeds." in page.text
    assert all(sentence in page.text for kind in KINDS for sentence in said(with_oracles, kind))
    heads = [text for text, _ in page.tables["table-oracles"][0]]
    assert heads[:5] == ["Arm", "Online accuracy", "Restart oracle", "Regret, restart", "Intransigence"]
    assert heads[5:] == ["No-shift oracle", "Regret, no-shift"]
    table = page.table("oracles").set_index("Arm").astype(float).loc[ARMS]
    assert "sortable" in [a.get("class") for tag, a in page.tags if tag == "table" and a["id"] == "table-oracles"]
    for kind, column in zip(KINDS, ("restart", "no-shift"), strict=True):
        own, oracle = (each.groupby("arm")[["correct", "n"]].sum() for each in tables(with_oracles, "online", kind))
        np.testing.assert_allclose(table[f"{column.capitalize()} oracle"], 100 * oracle["correct"] / oracle["n"])
        np.testing.assert_allclose(table["Online accuracy"], 100 * own["correct"] / own["n"])
        np.testing.assert_allclose(table[f"Regret, {column}"], by_hand(with_oracles, kind).mean())
        for arm in ARMS:
            low, high = stats.ttest_1samp(by_hand(with_oracles, kind)[arm], 0).confidence_interval(0.95)
            places = min(3, max(0, 1 - math.floor(math.log10((high - low) / 2))))
            assert f"{low:+.{places}f} to {high:+.{places}f}".replace("-", "−") in page.text
    learnt = [
        each[each["trained_on"] == each["evaluated_on"]].groupby("arm")["accuracy"].mean()
        for each in tables(with_oracles, "eval", "restart")
    ]
    np.testing.assert_allclose(table["Intransigence"], 100 * (learnt[1] - learnt[0]))


@pytest.mark.parametrize(
    ("setting", "harder"), [("task_incremental", True), ("class_incremental", True), ("domain_incremental", False)]
)
def test_where_a_shift_brings_other_classes_the_oracle_without_has_another_question(
    with_changed_oracle: Callable[..., Path], setting: str, harder: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tamcl.report.page.draw_oracle_pictures", lambda study, found: [])
    folder = with_changed_oracle("runs", lambda runs: runs)
    study = json.loads((folder / "study.json").read_text())
    study["scenario"]["stream"] |= {"name": "task_shift", "setting": setting}
    (folder / "study.json").write_text(json.dumps(study))
    text = Page(write_report(folder).read_text(encoding="utf-8")).text
    assert ("Here a shift brings other classes." in text) == harder


def test_without_oracles_the_report_says_nothing_of_them(without_oracles: Path) -> None:
    page = Page(write_report(without_oracles).read_text(encoding="utf-8"))
    assert "oracles" not in page.ids
    assert "Against oracles" not in page.text
    assert oracle_verdicts(load_results(without_oracles)) == []
