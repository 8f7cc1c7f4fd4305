"""A report: every section is there, the file is whole, and what has to be said is said."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tamcl.errors import InputError
from tamcl.report import verdicts, write_report
from tamcl.results import load_results
from tests.report.helpers import FIGURES, SECTIONS, Page, edited
from tests.synthetic_study import SCENARIO


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
        runs = runs.drop(columns=["batches", "stacked", "compiled", "optimizer", "code"])  # as of an older tamcl
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
        (
            "runs",
            lambda runs: runs.assign(device=["" if seed == 0 else f"GPU {seed % 2}" for seed in runs["seed"]]),
            "The runs were trained on several devices: GPU 0 and GPU 1.",
        ),
    ],
    ids=["other streams", "a part of the data", "unequal grids", "two versions", "two devices"],
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
