"""Which figures a study gets, by what was measured in it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tamcl.findings.study import Study
from tamcl.metrics import METRICS, measure
from tamcl.report import write_report
from tamcl.report.figures import WIDTHS, Drawing, drawings, tuning_drawings
from tamcl.results import load_results
from tamcl.stats import compare
from tests.findings.helpers import small
from tests.report.helpers import without_pictures
from tests.synthetic_study import write_study


def test_figures_are_drawn_without_the_arm_that_has_no_result(tmp_path: Path) -> None:
    folder = write_study(
        tmp_path, arms=["sgdm", "tam"], seeds=1, tune_seeds=1, experiences=1, steps=10, untunable=["tam"]
    )
    write_report(folder)
    drawn = sorted(path.stem for path in (folder / "figures").glob("*.png"))
    assert drawn == [
        "accuracy_matrix",
        "adaptation_by_lr",
        "expected_best",
        "lr_sensitivity",
        "online_accuracy",
        "summary",
    ]  # no shift, no pair


def numbers_learnt(folder: Path) -> None:
    """Turn a study of classes into one of numbers: losses alone, tuned by the loss."""
    for name, column in (("online", "correct"), ("eval", "accuracy")):
        pd.read_parquet(folder / f"{name}.parquet").assign(**{column: np.nan}).to_parquet(folder / f"{name}.parquet")
    study = json.loads((folder / "study.json").read_text())
    study["scenario"]["protocol"]["tune_by"] = "online_loss"
    study["scenario"]["stream"]["name"] = "slowly_changing_regression"
    (folder / "study.json").write_text(json.dumps(study))
    metrics = measure(*(pd.read_parquet(folder / f"{name}.parquet") for name in ("online", "eval", "runs")))
    metrics.to_parquet(folder / "metrics.parquet")
    runs = pd.read_parquet(folder / "runs.parquet")
    pairs = study["scenario"]["protocol"]["pairs"]
    compare(metrics, runs, pairs=pairs).to_parquet(folder / "comparisons.parquet")


def test_where_numbers_are_learnt_the_page_is_about_the_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_study(tmp_path, arms=["sgdm", "tam", "tam_frozen"], seeds=3, tune_seeds=1, experiences=2, steps=20)
    numbers_learnt(folder)
    page, drawn = without_pictures(folder, monkeypatch)
    assert drawn == {"differences", "expected_best", "lr_sensitivity", "online_loss", "summary"}
    assert "less online loss" in page.text or "No evidence of a difference" in page.text
    assert "Under label flips" not in page.text
    assert [text for text, _ in page.tables["table-metrics"][0]] == ["Arm", "Online loss"]
    assert "nan" not in page.text


def text_learnt(folder: Path) -> None:
    """Turn a study of images into one of text, tuned by the validation loss."""
    evaluated = pd.read_parquet(folder / "eval.parquet")
    evaluated.assign(loss=2 - evaluated["accuracy"]).to_parquet(folder / "eval.parquet")
    runs = pd.read_parquet(folder / "runs.parquet")
    described = {"name": "books", "train": 387387, "test": 43042, "classes": 3, "official": [387387, 43042]}
    described |= {"checksum": "0", "vocabulary": 82}
    runs.assign(data=json.dumps(described)).to_parquet(folder / "runs.parquet")
    study = json.loads((folder / "study.json").read_text())
    study["scenario"]["protocol"]["tune_by"] = "validation_loss"
    (folder / "study.json").write_text(json.dumps(study))
    measured_again(folder, batches=1)


def test_where_text_is_learnt_the_page_is_about_losses_and_perplexities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_study(tmp_path, arms=["sgdm", "tam", "tam_frozen"], seeds=3, tune_seeds=1, experiences=2, steps=20)
    text_learnt(folder)
    labels = {drawing.name: axis_labels(drawing) for drawing in drawings(Study(load_results(folder)))}
    assert labels["online_loss"] == {"online loss (nats a token)"}
    assert labels["perplexity_matrix"] == {""}
    page, drawn = without_pictures(folder, monkeypatch)
    assert {"online_loss", "online_accuracy", "perplexity_matrix"} <= drawn
    assert "accuracy_matrix" not in drawn
    assert [text for text, _ in page.tables["table-metrics"][0]][:2] == ["Arm", "Validation loss"]
    assert "less validation loss" in page.text or "No evidence of a difference" in page.text
    assert "books: 387,387 training and 43,042 validation tokens, 82 different ones, domains: 3" in page.text
    assert "nan" not in page.text


def axis_labels(drawing: Drawing) -> set[str]:
    return {ax.get_ylabel() for ax in drawing.draw(WIDTHS["wide"]).axes}


def measured_again(folder: Path, batches: int) -> None:
    """Give a study all metrics, as of online rows that are so many mini-batches each."""
    online, evaluated, runs = (pd.read_parquet(folder / f"{name}.parquet") for name in ("online", "eval", "runs"))
    runs = runs.assign(batches=batches)
    runs.to_parquet(folder / "runs.parquet")
    metrics = measure(online, evaluated, runs)
    metrics.to_parquet(folder / "metrics.parquet")
    pairs = json.loads((folder / "study.json").read_text())["scenario"]["protocol"]["pairs"]
    compare(metrics[metrics["seed"] < 1000], runs, pairs=pairs).to_parquet(folder / "comparisons.parquet")


@pytest.mark.parametrize("batches", [1, 4])
def test_every_metric_of_adaptation_that_has_a_value_stands_over_the_learning_rate(
    tmp_path: Path, batches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_study(tmp_path, arms=["sgdm", "tam"], seeds=2, tune_seeds=1, experiences=3, steps=20)
    measured_again(folder, batches)
    figure = next(each for each in tuning_drawings(Study(load_results(folder))) if each.name == "adaptation_by_lr")
    shown = {ax.get_title(loc="left") for ax in figure.draw(WIDTHS["wide"]).axes}
    of_rows = {metric.label for metric in METRICS.values() if metric.function.__module__.endswith("adaptation")}
    of_shifts = of_rows - {"Online accuracy", "Online loss"} if batches == 1 else set()
    assert shown == of_shifts | {"Accuracy at the end of an experience"}
    page, drawn = without_pictures(folder, monkeypatch)
    assert {"summary", "differences", "recovery", "over_experiences"} <= drawn
    assert ("Time to recover" in [text for text, _ in page.tables["table-metrics"][0]]) == (batches == 1)
    assert "nan" not in page.text


@pytest.mark.parametrize("kept", ["seen", "current"])
def test_where_not_all_experiences_are_tested_the_page_is_whole(
    tmp_path: Path, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_study(tmp_path, arms=["sgdm", "tam"], seeds=2, tune_seeds=1, experiences=3, steps=20)
    table = pd.read_parquet(folder / "eval.parquet")
    own = (
        table["trained_on"] == table["evaluated_on"]
        if kept == "current"
        else table["trained_on"] >= table["evaluated_on"]
    )
    table = table[own | (table["trained_on"] == 2)]
    table.to_parquet(folder / "eval.parquet")
    online, runs = (pd.read_parquet(folder / f"{name}.parquet") for name in ("online", "runs"))
    metrics = measure(online, table, runs)
    metrics.to_parquet(folder / "metrics.parquet")
    compare(metrics, runs, pairs=[("tam", "sgdm")]).to_parquet(folder / "comparisons.parquet")
    page, drawn = without_pictures(folder, monkeypatch)
    assert "accuracy_matrix" in drawn
    assert ("forgetting" in drawn) == (kept == "seen")
    assert "nan" not in page.text


def test_what_happens_after_a_shift_is_drawn_over_the_learning_rate(tmp_path: Path) -> None:
    study = small(tmp_path, arms=["sgdm", "tam"])
    results = study.results
    metrics = measure(results.online, results.eval, results.runs)
    measured = Study(replace(results, tables={**results.tables, "metrics": metrics}))
    drawing = next(found for found in tuning_drawings(measured) if found.name == "adaptation_by_lr")
    titles = [ax.get_title(loc="left") for ax in drawing.draw(WIDTHS["narrow"]).axes]
    online = [name for name, metric in METRICS.items() if metric.on == "online"]
    elsewhere = {"online_accuracy", "end_accuracy_slope"}  # the score itself, and no adaptation
    assert set(titles) == {METRICS[name].label for name in online if name not in elsewhere}
