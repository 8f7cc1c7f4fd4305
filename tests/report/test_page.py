from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats

from tamcl.errors import InputError
from tamcl.findings.answers import answers, same_lr
from tamcl.findings.cautions import cautions
from tamcl.findings.study import Study
from tamcl.metrics import METRICS, measure
from tamcl.report import verdicts, write_report
from tamcl.report.figures import drawings, tuning_drawings
from tamcl.report.tables import metric_table
from tamcl.results import load_results
from tamcl.stats import compare
from tests.synthetic_study import SCENARIO, write_study

VOID = {"meta", "img", "source", "br", "link", "input"}
SECTIONS = ["answer", "pictures", "numbers", "tuning", "setup", "failures", "assumptions", "repeat"]
FIGURES = ["online_accuracy", "recovery", "summary", "differences", "forgetting", "accuracy_matrix"]
FIGURES += ["over_experiences", "lr_sensitivity", "adaptation_by_lr", "expected_best"]


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


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of three arms with its report and figures."""
    folder = write_study(
        tmp_path_factory.mktemp("report") / "study",
        arms=["sgdm", "tam", "tam_frozen"], seeds=3, tune_seeds=2, experiences=3, steps=30, edge=["tam"],
    )  # fmt: skip
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def page(study: Path) -> Page:
    return Page((study / "report.html").read_text(encoding="utf-8"))


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Page]:
    """Write a study, change its files, and read its report without figures, which take seconds."""
    monkeypatch.setattr("tamcl.report.page.draw_pictures", lambda study: [])
    monkeypatch.setattr("tamcl.report.page.draw_tuning_pictures", lambda study: [])

    def write(change: Callable[[Path], object] = lambda folder: None, **options: Any) -> Page:
        small = {"seeds": 2, "tune_seeds": 2, "experiences": 2, "steps": 20, "arms": ["sgdm", "tam"]}
        folder = write_study(tmp_path / "study", **(small | options))
        change(folder)
        return Page(write_report(folder).read_text(encoding="utf-8"))

    return write


def edited(name: str, edit: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], object]:
    """Return a change of one table of a study."""
    return lambda folder: edit(pd.read_parquet(folder / f"{name}.parquet")).to_parquet(folder / f"{name}.parquet")


def test_every_section_and_figure_is_there(page: Page, study: Path) -> None:
    assert {*SECTIONS, *(f"figure-{name}" for name in FIGURES)} <= page.ids
    assert sorted(path.stem for path in (study / "figures").glob("*.png")) == sorted(FIGURES)
    assert {f"#{name}" for name in SECTIONS} <= {attributes.get("href") for tag, attributes in page.tags if tag == "a"}
    assert ("html", {"lang": "en"}) in page.tags
    assert any(tag == "meta" and attributes.get("name") == "viewport" for tag, attributes in page.tags)


def test_the_file_is_whole_and_loads_nothing(page: Page, study: Path) -> None:
    assert (study / "report.html").stat().st_size < 5e6
    loading = [
        attributes[key]
        for tag, attributes in page.tags
        for key in ("src", "srcset", "data", "poster", "action", "background", "xlink:href")
        if key in attributes
    ]
    assert loading
    assert all(str(source).startswith("data:image/png;base64,") for source in loading)
    assert not {"link", "iframe", "object", "embed", "base"} & {tag for tag, _ in page.tags}
    assert "@import" not in page.html
    assert "url(" not in page.html
    policy = next(
        a["content"] for t, a in page.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def test_figures_come_for_day_and_night_and_for_a_phone(page: Page, study: Path) -> None:
    images = [a for tag, a in page.tags if tag == "img"]
    phones = [a for tag, a in page.tags if tag == "source"]
    assert len(images) == len(phones) == 2 * len(FIGURES)
    assert all(a["alt"] for a in images)

    def opened(uri: str | None) -> Image.Image:
        return Image.open(io.BytesIO(base64.b64decode(str(uri).partition(",")[2]))).convert("RGB")

    light, dark, phone = opened(images[0]["src"]), opened(images[1]["src"]), opened(phones[0]["srcset"])
    assert light.getpixel((0, 0)) == (255, 255, 255)
    assert max(dark.getpixel((0, 0))) < 64  # type: ignore[arg-type, type-var]
    assert light.size == dark.size == (int(str(images[0]["width"])), int(str(images[0]["height"])))
    assert phone.width == light.width // 2
    with Image.open(study / "figures" / "online_accuracy.png") as stored:
        assert stored.size == light.size


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


def test_verdicts_stand_in_the_page_with_the_null_model(page: Page, study: Path) -> None:
    sentences = verdicts(load_results(study))
    assert len(sentences) == 2
    assert all(sentence in page.text for sentence in sentences)
    assert sentences[1].startswith("tam_frozen, the null model of tam,")
    assert "tam_frozen is tam without its mechanism" in page.text
    assert "Does tam beat sgdm when the data distribution shifts" in page.text  # the null model is no competitor


def test_too_few_seeds_are_said(page: Page) -> None:
    assert "with 3 seeds and p-values adjusted for 2 comparisons, even the largest effect gives p = 0.5" in page.text
    assert "It takes at least 7 seeds (--seeds 7)" in page.text
    assert "None of 2 comparisons in online accuracy shows a difference at the 5 % level." in page.text


def test_enough_seeds_give_a_verdict_and_no_warning(report: Callable[..., Page]) -> None:
    page = report(seeds=8, arms=["adam", "adam_cm"])
    assert "Too few seeds" not in page.text
    assert (
        "1 of 1 comparison in online accuracy shows a difference at the 5 % level: adam_cm against adam." in page.text
    )
    assert "adam beats adam_cm by" in page.text
    assert "difference shown" in page.text


def test_a_best_learning_rate_on_the_edge_is_said(page: Page) -> None:
    warning = "tam: the best learning rate, 0.2, is the largest that was tried (0.0074 to 0.2)."
    assert page.text.count(warning) == 2  # beside the answer and in the part on tuning
    table = page.table("tuning")
    assert table.loc[table["Note"] == "chosen, on the edge of the grid", "Arm"].tolist() == ["tam"]
    assert table.loc[table["Note"] == "chosen", ["Arm", "Learning rate"]].to_numpy().tolist() == [
        ["sgdm", 0.1],
        ["tam_frozen", 0.2],
    ]


def test_the_tuning_table_is_what_pandas_computes(page: Page, study: Path) -> None:
    metrics = pd.read_parquet(study / "metrics.parquet").query("seed >= 1000 and metric == 'online_accuracy'")
    expected = 100 * metrics.groupby(["arm", "lr"])["value"].mean()
    table = page.table("tuning").set_index(["Arm", "Learning rate"])["Online accuracy (%)"].astype(float)
    assert len(table) == len(expected) == 12
    np.testing.assert_allclose(table.sort_index(), expected.sort_index())


def test_what_was_run_is_said(page: Page) -> None:
    for words in [
        "label_flip: dataset digits, experiences 3, fraction 0.8, unit class, epochs 1, batch size 10",
        "digits: 1,437 training and 360 test images, 10 classes; checksum 9f8e7d6c5b4a",
        "mlp: hidden 100 × 100",
        "optimizer state is kept at every boundary",
        "3 (0 to 2)",
        "2 (1000, 1001)",
        "33: 24 for tuning, 9 reported; 33 ok",
        "every run ended well",
        f"tamcl compare {SCENARIO} --out out/demo --jobs 2",
        "python 3.11.7",
        "mean_j R[T-1, j]",
        "Every boundary gives 80 % of the classes other labels",
    ]:
        assert words in page.text, words


def test_diverged_runs_are_named_and_left_out(report: Callable[..., Page], tmp_path: Path) -> None:
    page = report(seeds=3, diverged=[("tam", 1)])
    assert "1 of 3 reported runs of tam diverged." in page.text
    failures = page.table("failures")
    assert failures[["Arm", "Seed", "For", "Status"]].to_numpy().tolist() == [["tam", 1, "reported", "diverged"]]
    assert failures["Message"].tolist() == ["loss is nan at step 212 (experience 1)"]
    metrics = pd.read_parquet(tmp_path / "study" / "metrics.parquet").query(
        "metric == 'online_accuracy' and arm == 'tam'"
    )
    shown = page.table("metrics").set_index("Arm").loc["tam", "Online accuracy"]
    np.testing.assert_allclose(shown, 100 * metrics.query("seed in (0, 2)")["value"].mean())
    assert "1 of 3 seeds are missing" in page.text


def test_an_arm_without_any_learning_rate_left(report: Callable[..., Page]) -> None:
    page = report(untunable=["tam"])
    assert "tam has no result: no learning rate that was tried has a value of online accuracy on every" in page.text
    assert "tam and sgdm cannot be compared in online accuracy: no run of tam was finished." in page.text
    assert page.table("arms").set_index("Arm").loc["tam", "Chosen"] == "none left"
    assert page.table("metrics").set_index("Arm").loc["tam"].unique().tolist() == ["–"]


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


def test_a_study_without_any_finished_run(report: Callable[..., Page]) -> None:
    page = report(untunable=["sgdm", "tam"])
    assert "sgdm has no result" in page.text
    assert "No run was finished, so there is nothing to draw." in page.text


def test_one_arm_alone(report: Callable[..., Page]) -> None:
    page = report(arms=["tam"], seeds=1)
    assert "One arm alone has nothing to be compared with in online accuracy." in page.text
    assert "table-comparisons" not in page.tables


def test_without_pairs_every_arm_is_compared_with_the_first(report: Callable[..., Page], tmp_path: Path) -> None:
    def forget_pairs(folder: Path) -> None:
        study = json.loads((folder / "study.json").read_text())
        study["scenario"]["protocol"]["pairs"] = []
        (folder / "study.json").write_text(json.dumps(study))

    report(forget_pairs)
    assert len(verdicts(load_results(tmp_path / "study"))) == 1


def test_little_is_known(report: Callable[..., Page]) -> None:
    def forget(folder: Path) -> None:
        (folder / "study.json").write_text(json.dumps({"scenario": {"name": "mine"}}))
        runs = pd.read_parquet(folder / "runs.parquet")
        runs.assign(data="{}", versions="{}", config="", fingerprint="").to_parquet(folder / "runs.parquet")

    page = report(forget)
    assert "tamcl compare mine" in page.text
    assert "not recorded" in page.text


def test_names_are_escaped(report: Callable[..., Page]) -> None:
    def name(folder: Path) -> None:
        study = json.loads((folder / "study.json").read_text())
        study["scenario"]["title"] = "<script>alert(1)</script> & <b>more</b>"
        study["command"] = "tamcl compare 'a&b' --arm '<i>'"
        (folder / "study.json").write_text(json.dumps(study))

    page = report(name)
    assert "<script>alert" not in page.html
    assert "<script>alert(1)</script> & <b>more</b>" in page.text
    assert "tamcl compare 'a&b' --arm '<i>'" in page.text


@pytest.mark.parametrize(
    ("name", "edit", "words"),
    [
        (
            "runs",
            lambda runs: runs.assign(fingerprint=runs["arm"]),
            "Arms did not all see the same stream at the same seed",
        ),
        (
            "runs",
            lambda runs: runs.assign(
                data=json.dumps({"name": "mnist", "train": 900, "test": 100, "classes": 10, "official": [60000, 10000]})
            ),
            "The data are a part of mnist: 900 of 60000 training images and 100 of 10000 test images.",
        ),
        (
            "runs",
            lambda runs: runs[(runs["phase"] == "report") | (runs["arm"] == "tam") | (runs["lr"] < 0.1)],
            "The arms had different numbers of learning rates to choose from: sgdm 2, tam 4.",
        ),
        (
            "runs",
            lambda runs: runs.assign(
                versions=[json.dumps({"torch": "2.6" if phase == "tune" else "2.9"}) for phase in runs["phase"]]
            ),
            "The runs were made with several versions of torch: 2.6 and 2.9.",
        ),
    ],
    ids=["other streams", "a part of the data", "unequal grids", "two versions"],
)
def test_what_is_not_as_it_should_be_is_said(
    report: Callable[..., Page], name: str, edit: Callable[[pd.DataFrame], pd.DataFrame], words: str
) -> None:
    assert words in report(edited(name, edit)).text


def test_arms_that_are_one_and_the_same_are_named(report: Callable[..., Page]) -> None:
    def copy(metrics: pd.DataFrame) -> pd.DataFrame:
        others = metrics[metrics["arm"] != "tam_frozen"]
        same = metrics[(metrics["arm"] == "tam") & (metrics["lr"] == 0.2)].assign(arm="tam_frozen")
        return pd.concat([others, same])

    arms = ["sgdm", "tam", "tam_frozen"]
    assert "the same value of every metric" not in report(arms=arms).text
    page = report(edited("metrics", copy), arms=arms)
    assert page.text.count("the same value of every metric") == 1
    assert "tam and tam_frozen have the same value of every metric on every seed" in page.text


def test_the_same_tables_give_the_same_report(study: Path) -> None:
    before = (study / "report.html").read_bytes()
    assert write_report(str(study)) == study / "report.html"
    assert (study / "report.html").read_bytes() == before
    assert not list(study.glob(".*"))


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no finished study"):
        write_report(tmp_path)


def test_a_report_needs_no_torch() -> None:
    code = "import sys, tamcl.report; print({'torch', 'avalanche'} & {name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def by_hand(folder: Path, metric: str = "online_accuracy") -> dict[tuple[str, str], dict[str, float]]:
    """The paired comparisons of a study from its parquet files, in plain pandas and scipy."""
    runs = pd.read_parquet(folder / "runs.parquet")
    reported = runs[(runs["phase"] == "report") & (runs["status"] == "ok")][["arm", "lr", "seed"]]
    values = pd.read_parquet(folder / "metrics.parquet").merge(reported).query("metric == @metric")
    wide = values.pivot(index="seed", columns="arm", values="value")
    pairs = [tuple(p) for p in json.loads((folder / "study.json").read_text())["scenario"]["protocol"]["pairs"]]
    found = {}
    for a, b in pairs:
        d = (wide[a] - wide[b]).dropna().to_numpy()
        test = stats.permutation_test(
            (d,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", n_resamples=np.inf, vectorized=True
        )
        low, high = stats.ttest_1samp(d, 0).confidence_interval(0.95)  # Student's, as for all below 6 seeds
        found[a, b] = {"diff": d.mean(), "low": low, "high": high, "p": test.pvalue, "n": len(d)}
    ordered = sorted(found, key=lambda pair: found[pair]["p"])
    least = 0.0
    for place, pair in enumerate(ordered):
        least = max(least, min(1.0, found[pair]["p"] * (len(ordered) - place)))
        found[pair]["holm"] = least
    return found


def test_verdict_sentences_agree_with_pandas_and_scipy(tmp_path: Path) -> None:
    """Five seeds, so that the interval is Student's; adam_cm is 8 points below adam, and tam_frozen like tam."""
    arms = ["sgdm", "tam", "tam_frozen", "adam", "adam_cm"]
    folder = write_study(tmp_path, arms=arms, seeds=5, tune_seeds=2, experiences=3, steps=30)
    tables = {name: pd.read_parquet(folder / f"{name}.parquet") for name in ("metrics", "runs")}
    pairs = [("tam", "sgdm"), ("tam", "tam_frozen"), ("adam_cm", "adam")]
    compare(tables["metrics"], tables["runs"], pairs=pairs).to_parquet(folder / "comparisons.parquet")
    hand = by_hand(folder)
    for sentence, pair in zip(verdicts(load_results(folder)), pairs, strict=True):
        own = {key: 100 * value if key in ("diff", "low", "high") else value for key, value in hand[pair].items()}
        numbers = re.search(r"95% interval ([+-]?[\d.]+) to ([+-]?[\d.]+), (\d+) seeds, p = ([\d.]+)", sentence)
        assert numbers, sentence
        places = len(numbers[1].partition(".")[2])
        turned = -1 if sentence.startswith(f"{pair[1]} is ahead") else 1
        ends = sorted((turned * own["low"], turned * own["high"]))
        assert [float(numbers[1]), float(numbers[2])] == pytest.approx(ends, abs=0.51 * 10**-places)
        assert f"{turned * own['diff']:+.{places}f}".lstrip("+") in sentence
        assert numbers[3] == "5"
        assert float(numbers[4]) == pytest.approx(own["p"], rel=0.05)
        if own["holm"] != own["p"]:
            after = re.search(r", ([\d.]+) after Holm", sentence)
            assert after, sentence
            assert float(after[1]) == pytest.approx(own["holm"], rel=0.05)
    frozen = {key: 100 * hand["tam", "tam_frozen"][key] for key in ("diff", "low", "high")}
    first = verdicts(load_results(folder))[0]
    clause = re.search(r"; tam_frozen \(SGDM at half its learning rate\) could do as well \(([^)]*)\): (.*)", first)
    assert clause, first
    shown = [float(number) for number in re.findall(r"[+-][\d.]+", clause[1])]
    assert shown == pytest.approx([frozen["diff"], frozen["low"], frozen["high"]], abs=0.051)
    assert clause[2] == "no evidence for the angle between gradient and momentum."


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


def without_pictures(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Page, set[str]]:
    """The report of a study, and the figures that it would hold, each drawn once and not four times."""
    study = Study(load_results(folder))
    drawn = [*drawings(study), *tuning_drawings(study)]
    for drawing in drawn:
        drawing.draw("narrow").draw_without_rendering()
    monkeypatch.setattr("tamcl.report.page.draw_pictures", lambda study: [])
    monkeypatch.setattr("tamcl.report.page.draw_tuning_pictures", lambda study: [])
    return Page(write_report(folder).read_text(encoding="utf-8")), {drawing.name for drawing in drawn}


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


def measured_again(folder: Path, batches: int) -> None:
    """Give a study all metrics, as of online rows that are so many mini-batches each."""
    online, evaluated, runs = (pd.read_parquet(folder / f"{name}.parquet") for name in ("online", "eval", "runs"))
    runs = runs.assign(config=json.dumps({"evaluation": {"batches": batches}}))
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
    shown = {ax.get_title(loc="left") for ax in figure.draw("wide").axes}
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


def small(folder: Path, **options: Any) -> Study:
    """A study whose sentences are read without a page."""
    few = {"seeds": 1, "tune_seeds": 1, "experiences": 2, "steps": 20}
    return Study(load_results(write_study(folder, **(few | options))))


def redeclared(study: Study, **arms: dict[str, Any]) -> Study:
    """The study with other options of some arms."""
    study.scenario["arms"].update(arms)
    return study


def test_twice_the_rate_of_sgd_is_a_rule_for_tam_alone(tmp_path: Path) -> None:
    assert small(tmp_path, arms=["sgdm", "tam", "tam_frozen", "adam"]).rules == {"tam": 0.2, "tam_frozen": 0.2}


@pytest.mark.parametrize(
    ("arms", "change"),
    [
        (["sgdm", "tam", "adam"], {"adam": {"optimizer": "sgd", "momentum": 0.5}}),
        (["sgdm", "tam"], {"sgdm": {"optimizer": "sgd", "momentum": 0.0}}),
    ],
    ids=["two with momentum", "none with momentum"],
)
def test_without_one_sgd_with_momentum_there_is_no_rule(
    tmp_path: Path, arms: list[str], change: dict[str, dict[str, Any]]
) -> None:
    assert redeclared(small(tmp_path, arms=arms), **change).rules == {}


@pytest.mark.parametrize(
    ("best", "words"),
    [
        (0.71, "(tam 0.2, tam_frozen 0.067) by 9.0 points, on the tuning seeds: most of that gap goes when"),
        (0.69, "(tam 0.2, tam_frozen 0.067) by 11.0 points, on the tuning seeds."),
        (0.85, "(tam 0.2, tam_frozen 0.067) not at all (−5.0 points), on the tuning seeds: that gap goes when"),
    ],
    ids=["less than half is left", "more than half is left", "turned"],
)
def test_a_gap_goes_if_less_than_half_of_it_is_left_at_the_own_rates(tmp_path: Path, best: float, words: str) -> None:
    """At 0.2 tam is 20 points ahead, which is the most; tam_frozen's own rate is 0.067."""
    study = small(tmp_path, arms=["tam", "tam_frozen"])
    metrics = study.results.metrics
    table = metrics[metrics["metric"] == "online_accuracy"]
    score = {("tam", 0.2): 0.8, ("tam_frozen", 0.067): best}
    otherwise = {"tam": 0.7, "tam_frozen": 0.6}
    keys = zip(table["arm"], table["lr"], strict=True)
    metrics.loc[table.index, "value"] = [score.get(key, otherwise[key[0]]) for key in keys]
    said = same_lr(study, "tam", "tam_frozen")
    assert said.startswith("At the same learning rate 0.2 tam would be ahead of tam_frozen by 20.0 points;")
    assert words in said


@pytest.mark.parametrize(
    ("row", "strength"),
    [
        pytest.param((8, 0.01, 0.02, 0.9, 0.1, 0.3), "shown", id="shown"),
        pytest.param((8, 0.03, 0.06, 0.9, 0.1, 0.3), "hint", id="not after Holm"),
        pytest.param((8, 0.10, 0.10, 0.9, -0.1, 0.3), "open", id="open"),
        pytest.param((4, 0.125, 0.125, 1.0, 0.1, 0.3), "hint", id="all of few seeds"),
        pytest.param((4, 0.125, 0.125, 0.0, -0.3, -0.1), "hint", id="none of few seeds"),
        pytest.param((4, 0.125, 0.125, 1.0, -0.1, 0.3), "open", id="all of few seeds that lie far apart"),
        pytest.param((4, 0.500, 0.500, 0.75, 0.1, 0.3), "open", id="most of few seeds"),
        pytest.param((1, 1.000, 1.000, 1.0, np.nan, np.nan), "open", id="one seed"),
    ],
)
def test_strength_of_an_answer(tmp_path: Path, row: tuple[float, ...], strength: str) -> None:
    study = small(tmp_path, arms=["sgdm", "tam"])
    columns = ["n_pairs", "p_value", "p_adjusted", "prob_a_better", "ci_low", "ci_high"]
    study.results.comparisons[columns] = row
    assert [answer.strength for answer in answers(study)] == [strength]


def test_a_pair_that_lost_seeds_does_not_make_the_study_too_small(tmp_path: Path) -> None:
    lost = [("tam_frozen", seed) for seed in range(5)]
    study = small(tmp_path, arms=["sgdm", "tam", "tam_frozen"], seeds=8, diverged=lost)
    assert sorted(study.comparisons.query("metric == 'online_accuracy'")["n_pairs"]) == [3, 8]
    assert not [words for words in cautions(study) if "Too few seeds" in words]


@pytest.mark.parametrize(
    ("since", "done", "expected"),
    [
        (0.0, True, []),
        (0.0, False, ["Claims were declared to be repeated on fresh seeds, and that was not finished"]),
        (0.01, True, ["The claims that were repeated on fresh seeds were declared of an earlier state"]),
    ],
    ids=["as declared", "stopped", "other answers by now"],
)
def test_claims_that_are_not_confirmed_as_declared_are_said(
    tmp_path: Path, since: float, done: bool, expected: list[str]
) -> None:
    study = small(tmp_path, arms=["sgdm", "tam"])
    (tmp_path / "confirm").mkdir()
    row = study.comparisons.query("metric == 'online_accuracy'").iloc[0]
    claim = {"arm_a": row["arm_a"], "arm_b": row["arm_b"], "metric": row["metric"], "diff": row["diff"] - since}
    declared = {"seeds": [2000], "claims": [claim], "rates": {}}
    (tmp_path / "confirm" / "claims.json").write_text(json.dumps(declared))
    if done:
        study.results.comparisons.to_parquet(tmp_path / "confirm" / "comparisons.parquet")
    found = [words for words in cautions(study) if "fresh seeds" in words]
    assert [words.startswith(start) for words, start in zip(found, expected, strict=True)] == [True] * len(expected)


def test_what_happens_after_a_shift_is_drawn_over_the_learning_rate(tmp_path: Path) -> None:
    study = small(tmp_path, arms=["sgdm", "tam"])
    results = study.results
    measured = Study(replace(results, metrics=measure(results.online, results.eval, results.runs)))
    drawing = next(found for found in tuning_drawings(measured) if found.name == "adaptation_by_lr")
    titles = [ax.get_title(loc="left") for ax in drawing.draw("narrow").axes]
    online = [name for name, metric in METRICS.items() if metric.on == "online"]
    elsewhere = {"online_accuracy", "end_accuracy_slope"}  # the score itself, and no adaptation
    assert set(titles) == {METRICS[name].label for name in online if name not in elsewhere}


def test_a_pair_at_one_rate_has_no_other_rate_to_be_shown_at(tmp_path: Path) -> None:
    study = small(tmp_path, arms=["tam", "tam_frozen"])
    metrics = study.results.metrics
    table = metrics[metrics["metric"] == "online_accuracy"]
    score = {("tam", 0.2): 0.9, ("tam_frozen", 0.2): 0.7}
    metrics.loc[table.index, "value"] = [score.get(key, 0.6) for key in zip(table["arm"], table["lr"], strict=True)]
    assert same_lr(study, "tam", "tam_frozen") == ""
