"""Tables of a report: each number is what pandas and scipy compute."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from tamcl.findings.study import Study
from tamcl.metrics import METRICS
from tamcl.report.tables import metric_table, other_metrics_table
from tamcl.results import load_results
from tests.report.helpers import Page, edited
from tests.synthetic_study import write_study


def test_the_metric_table_is_what_pandas_computes(page: Page, study: Path) -> None:
    table = page.table("metrics").set_index("Arm")
    metrics = pd.read_parquet(study / "metrics.parquet").query("seed < 1000")
    for name, label, factor in [("online_accuracy", "Online accuracy", 100), ("forgetting", "Forgetting", 100)]:
        expected = factor * metrics[metrics["metric"] == name].groupby("arm")["value"].mean()
        for arm in ("sgdm", "tam", "tam_frozen"):
            np.testing.assert_allclose(table.loc[arm, label], expected[arm])
    values = 100 * metrics.query("metric == 'online_accuracy' and arm == 'tam'")["value"]
    half = stats.t.ppf(0.975, 2) * values.std() / np.sqrt(3)
    shown = next(row for row in page.tables["table-metrics"] if row[0][0] == "tam")[1][0]
    number = re.fullmatch(r"([\d.]+) ± ([\d.]+)", shown)
    assert number is not None
    places = len(number[2].partition(".")[2])
    assert shown == f"{values.mean():.{places}f} ± {half:.{places}f}"


def test_the_best_mean_is_bold(page: Page, study: Path) -> None:
    metrics = pd.read_parquet(study / "metrics.parquet").query("seed < 1000")
    means = metrics.groupby(["metric", "arm"])["value"].mean().unstack()
    bold = [float(str(a["data-value"])) for tag, a in page.tags if tag == "td" and a.get("class") == "best"]
    best = [100 * (means.loc[m].min() if m == "forgetting" else means.loc[m].max()) for m in means.index]
    np.testing.assert_allclose(sorted(bold), sorted(best))


def test_an_arm_with_fewer_seeds_is_not_bold(tmp_path: Path) -> None:
    write_study(tmp_path, arms=("sgdm", "tam", "adam"), tune_seeds=1, experiences=2, steps=20, diverged=[("sgdm", 0)])
    study = Study(load_results(tmp_path))
    metrics = pd.read_parquet(tmp_path / "metrics.parquet").query("seed < 1000 and metric == 'online_accuracy'")
    means = metrics.groupby("arm")["value"].mean()
    assert means.idxmax() == "sgdm"
    table = metric_table(study, "metrics", "", ["online_accuracy"])
    bold = [row.fields[0].text for row in table.rows if row.fields[1].classes == "best"]
    assert bold == [means.drop("sgdm").idxmax()]


def test_the_comparisons_are_those_of_the_table_in_the_order_of_the_scenario(page: Page, study: Path) -> None:
    stored = pd.read_parquet(study / "comparisons.parquet").set_index(["metric", "arm_a", "arm_b"])
    table = page.table("comparisons")
    assert table["Pair"].tolist() == ["tam − sgdm", "tam − tam_frozen"]
    for place, pair in enumerate([("tam", "sgdm"), ("tam", "tam_frozen")]):
        row = stored.loc[("online_accuracy", *pair)]
        shown = table.loc[
            place, ["Difference", "95 % interval", "p", "p (Holm)", "First better", "First", "Second", "Seeds"]
        ]
        expected = row[["diff", "ci_low", "p_value", "p_adjusted", "prob_a_better", "mean_a", "mean_b", "n_pairs"]]
        factors = [100, 100, 1, 1, 1, 100, 100, 1]
        np.testing.assert_allclose(shown.to_numpy(dtype=float), expected.to_numpy(dtype=float) * factors)
    assert len(page.table("all-comparisons")) == len(stored)


def test_a_pair_stored_the_other_way_round_is_turned(report: Callable[..., Page]) -> None:
    def turn(table: pd.DataFrame) -> pd.DataFrame:
        renamed = {"arm_a": "arm_b", "arm_b": "arm_a", "mean_a": "mean_b", "mean_b": "mean_a"}
        turned = table.rename(columns=renamed)[table.columns]
        low, high = -turned["ci_high"], -turned["ci_low"]
        return turned.assign(diff=-turned["diff"], ci_low=low, ci_high=high, prob_a_better=1 - turned["prob_a_better"])

    straight = report().table("all-comparisons")
    pd.testing.assert_frame_equal(report(edited("comparisons", turn)).table("all-comparisons"), straight)


def test_the_tuning_table_is_what_pandas_computes(page: Page, study: Path) -> None:
    metrics = pd.read_parquet(study / "metrics.parquet").query("seed >= 1000 and metric == 'online_accuracy'")
    expected = 100 * metrics.groupby(["arm", "lr"])["value"].mean()
    table = page.table("tuning").set_index(["Arm", "Learning rate"])["Online accuracy (%)"].astype(float)
    assert len(table) == len(expected) == 12
    np.testing.assert_allclose(table.sort_index(), expected.sort_index())


def test_the_same_learning_rate_stands_beside_the_tuned_ones_by_hand(page: Page, study: Path) -> None:
    metrics = pd.read_parquet(study / "metrics.parquet").query("seed >= 1000 and metric == 'online_accuracy'")
    means = 100 * metrics.groupby(["arm", "lr"])["value"].mean()
    shared = sorted(set(means["tam"].index) & set(means["tam_frozen"].index))
    gaps = pd.Series({lr: means["tam", lr] - means["tam_frozen", lr] for lr in shared})
    own = means["tam"].max() - means["tam_frozen"].max()
    row = page.table("same-lr").set_index("Pair").loc["tam − tam_frozen"]
    shown = row[["Each at its own", "Lowest at a shared one", "Highest at a shared one"]].astype(float)
    np.testing.assert_allclose(100 * shown, [own, gaps.min(), gaps.max()], atol=1e-9)
    assert row["Shared rates"] == len(shared)
    most = gaps.abs().idxmax()
    ahead = "tam would be ahead of tam_frozen" if gaps[most] > 0 else "tam_frozen would be ahead of tam"
    assert (
        f"At the same learning rate {most:g} {ahead} by {abs(gaps[most]):.1f} points; with each at its own" in page.text
    )


def test_centres_and_seeds_needed_by_hand(page: Page, study: Path) -> None:
    metrics = pd.read_parquet(study / "metrics.parquet").query("seed < 1000 and metric == 'online_accuracy'")
    wide = metrics.pivot_table(index="seed", columns="arm", values="value")
    d = 100 * (wide["tam"] - wide["tam_frozen"])
    row = page.table("centers").set_index("Pair").loc["tam − tam_frozen"]
    found = row[["Mean", "Median", "Interquartile mean"]].astype(float)
    np.testing.assert_allclose(found, [d.mean(), d.median(), stats.trim_mean(d, 0.25)])
    assert row["Seeds"] == 3
    n, effect = int(row["Seeds needed"]), abs(d.mean()) / d.std()
    pairs = len(page.table("centers"))
    reach = 1 - 0.025 / pairs
    power = [stats.nct.sf(stats.t.ppf(reach, m - 1), m - 1, effect * np.sqrt(m)) for m in (n - 1, n)]
    assert power[1] >= 0.8
    assert power[0] < 0.8 or pairs * 2 / 2 ** (n - 1) > 0.05  # so many the sign-flip test needs to reach it at all


def test_core_metrics_come_first_and_the_rest_behind_a_fold(page: Page) -> None:
    heads = [text for text, _ in page.tables["table-metrics"][0]]
    assert heads == [
        "Arm",
        "Online accuracy",
        "Accuracy at the end of an experience",
        "Average accuracy",
        "Learning accuracy",
        "Forgetting",
    ]
    assert [text for text, _ in page.tables["table-more-metrics"][0]] == ["Arm", "Backward transfer"]
    assert "The other 1 metric" in page.text


def test_rates_that_were_added_are_said(report: Callable[..., Page]) -> None:
    def add(folder: Path) -> None:
        study = json.loads((folder / "study.json").read_text())
        arms = study["scenario"]["arms"]
        study["tried"] = {arm: list(own["lr"]) for arm, own in arms.items()}
        for own in arms.values():
            own["lr"] = own["lr"][1:]  # the largest was added
        (folder / "study.json").write_text(json.dumps(study))

    page = report(add)
    assert "Of them 1 was added to every arm's grid, one at a time" in page.text
    assert page.table("tuning").query("Note == 'added'")[["Arm", "Learning rate"]].to_numpy().tolist() == [
        ["sgdm", 0.3],
        ["tam", 0.6],
    ]


def test_a_pair_on_the_other_metrics_has_a_line_a_fact(report: Callable[..., Page], tmp_path: Path) -> None:
    """Backward transfer is made to be forgetting with the other sign, as it is where nothing gets better later."""

    def twice(comparisons: pd.DataFrame) -> pd.DataFrame:
        forgetting = comparisons[comparisons["metric"] == "forgetting"]
        swapped = {"ci_low": -forgetting["ci_high"], "ci_high": -forgetting["ci_low"]}
        turned = {name: -forgetting[name] for name in ("mean_a", "mean_b", "diff")}
        transfer = forgetting.assign(metric="backward_transfer", **turned, **swapped)
        return pd.concat([comparisons[comparisons["metric"] != "backward_transfer"], transfer])

    page = report(edited("comparisons", twice), seeds=6)
    rows = pd.read_parquet(tmp_path / "study" / "comparisons.parquet").set_index("metric")
    heads, *lines = page.tables["table-others-0"]
    assert [head for head, _ in heads][1:] == ["Difference", "95 % interval", "p (Holm)", "Better", "Seeds"]
    assert len(lines) == rows.index.nunique() - 2, "neither the primary metric, nor the same fact again"
    found = {str(line[0][0]): line for line in lines}
    np.testing.assert_allclose(found["Forgetting"][1][1], 100 * rows.loc["forgetting", "diff"])
    assert "Backward transfer" not in found
    for line in lines:
        metric = next(each for each in METRICS.values() if str(line[0][0]).startswith(each.label))
        row = rows.loc[metric.name]
        winner = row["arm_a"] if (row["diff"] > 0) == (metric.better == "higher") else row["arm_b"]
        assert line[4][0] == (winner if row["p_adjusted"] <= 0.05 else "not shown"), metric.name
    assert {line[4][0] for line in lines} > {"not shown"}, "some is shown"


def test_the_line_names_all_metrics_of_the_same_numbers(study: Path) -> None:
    measured = Study(load_results(study))
    rows = measured.comparisons[measured.comparisons["arm_b"] == "sgdm"]
    forgetting = rows[rows["metric"] == "forgetting"]
    swapped = {"ci_low": -forgetting["ci_high"], "ci_high": -forgetting["ci_low"]}
    turned = {name: -forgetting[name] for name in ("mean_a", "mean_b", "diff")}
    same = forgetting.assign(metric="backward_transfer", **turned, **swapped)
    first = forgetting.assign(metric="forgetting_first")
    other = forgetting.assign(metric="forgetting_max", ci_low=forgetting["ci_low"] - 1e-6)
    few = rows[rows["metric"].isin(["forgetting", "online_accuracy"])]
    vars(measured)["comparisons"] = pd.concat([few, same, first, other])
    found = other_metrics_table(measured, "others", "tam", "sgdm")
    assert found is not None
    assert [(row.fields[0].text, row.fields[0].note) for row in found.rows] == [
        (
            "Forgetting",
            "points, lower is better; the same: Backward transfer (with the other sign); Forgetting, first minus last",
        ),
        ("Forgetting, last row included", "points, lower is better"),
    ]
    vars(measured)["comparisons"] = few[few["metric"] == "online_accuracy"]
    assert other_metrics_table(measured, "others", "tam", "sgdm") is None
