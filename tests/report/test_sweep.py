"""The page of a sweep: its figure, what it says at each value and over all, and the studies that it lacks."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from tamcl.cli.main import main
from tamcl.errors import InputError
from tamcl.files.records import read_sweep, write_record
from tamcl.findings.study import Study
from tamcl.findings.sweep import over_values, study_at, sweep_cautions, sweep_headline
from tamcl.report import sweep_verdicts, write_sweep_report
from tamcl.sweeps import Sweep, load_sweep
from tests.report.helpers import Page, write_sweep

KEY = "stream.fraction"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two studies, one that was not begun, and one that failed."""
    return write_sweep(tmp_path_factory.mktemp("swept") / "sweep")


@pytest.fixture(scope="module")
def swept(folder: Path) -> Sweep:
    return load_sweep(folder)


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page(write_sweep_report(folder).read_text(encoding="utf-8"))


def test_page_has_the_figure_the_sentences_and_the_way_to_each_study(folder: Path, page: Page) -> None:
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert [link for link in links if not str(link).startswith(("#", "http"))] == [
        "studies/stream.fraction%3D0.2/report.html",
        "studies/stream.fraction%3D0.8/report.html",
    ]
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert html.index("figure-sweep") < html.index('id="values"') < html.index('id="numbers"')
    (image,) = re.findall(r'<img src="data:image/png;base64,([^"]+)"[^>]*alt="Online accuracy over', html)[:1]
    assert base64.b64decode(image) == (folder / "figures" / "sweep.png").read_bytes()
    with Image.open(folder / "figures" / "sweep.png") as picture:
        assert picture.width > 1000
    assert "tamcl sweep x" in html
    assert "&lt;b&gt;so&lt;/b&gt;" in html
    assert "<b>so</b>" not in html


def test_what_is_missing_is_named(folder: Path, swept: Sweep) -> None:
    said = [
        f"{KEY} = 0.4: no results, left out of everything here: was not begun.",
        f"{KEY} = 0.6: no results, left out of everything here: all 9 runs failed, <b>so</b> there is nothing.",
    ]
    assert sweep_cautions(swept)[:2] == said
    assert sweep_verdicts(swept)[:2] == said
    assert set(swept.metrics[KEY]) == {0.2, 0.8}


def test_sentences_at_a_value_have_the_p_of_the_whole_sweep(swept: Sweep) -> None:
    alone = pd.concat([results.comparisons for _, results in swept.finished])
    of_metric = alone[alone["metric"] == "online_accuracy"]["p_value"]
    assert len(of_metric) == 4
    for study, results in swept.finished:
        rows = study_at(swept, study, results).comparisons.query("metric == 'online_accuracy'")
        before = Study(results).comparisons.query("metric == 'online_accuracy'")
        assert rows["p_value"].tolist() == before["p_value"].tolist()
        assert rows["p_adjusted"].max() == min(1, 4 * of_metric.min())  # of three seeds all p are 0.25 or more
    assert sweep_headline(swept, []) == "Nothing can be compared in online accuracy at any value of stream.fraction."


def test_over_all_values(swept: Sweep) -> None:
    pairs = {(pair.arm_a, pair.arm_b): pair for pair in over_values(swept)}
    assert set(pairs) == {("tam", "sgdm"), ("tam", "tam_frozen")}
    mean, change = pairs["tam", "sgdm"].sentences
    wide = swept.metrics.query("metric == 'online_accuracy'").pivot(index=[KEY, "seed"], columns="arm", values="value")
    difference = (wide["tam"] - wide["sgdm"]).unstack(KEY)
    assert mean.startswith("As the mean over 2 values: ")
    assert f"{100 * difference.mean(axis=1).mean():+.1f}" in mean
    assert f"{100 * (difference[0.8] - difference[0.2]).mean():+.1f}" in change
    assert "from stream.fraction = 0.2 to stream.fraction = 0.8" in change
    assert "tam_frozen, the null model of tam" in pairs["tam", "tam_frozen"].sentences[0]


def test_without_results_there_is_no_report(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_bytes((folder / "sweep.json").read_bytes())
    with pytest.raises(InputError, match="no study of the sweep has results; stream.fraction = 0.2: was not begun"):
        write_sweep_report(tmp_path)


def test_several_keys_have_a_panel_each(folder: Path, tmp_path: Path) -> None:
    from tamcl.report.figures import WIDTHS, sweep_drawings

    record = dict(load_sweep(folder).sweep)
    names = [each["folder"] for each in record["studies"][:2]]
    for size, study in zip(([8], [16]), record["studies"], strict=False):
        study["values"] = {KEY: 0.2, "model.hidden": size}
    write_record(tmp_path / "sweep.json", record | {"studies": record["studies"][:2]})
    (tmp_path / "studies").symlink_to(folder / "studies")
    (drawing,) = sweep_drawings(load_sweep(tmp_path))
    figure = drawing.draw(WIDTHS["wide"])
    assert len(names) == 2
    titles = [ax.get_title(loc="left").splitlines()[0] for ax in figure.axes]
    assert [title for title in titles if title.startswith("model.hidden")] == [
        "model.hidden = [8]",
        "model.hidden = [16]",
    ]
    assert drawing.title == "Online accuracy over stream.fraction, by model.hidden"


def test_command_line(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []
    monkeypatch.setattr("tamcl.report.write_report", made.append)
    assert main(["report", str(folder)]) == 0
    assert capsys.readouterr().out == f"report: {folder / 'report.html'}\n"
    assert set(pd.read_parquet(folder / "comparisons.parquet")[KEY]) == {0.2, 0.8}
    assert set(pd.read_parquet(folder / "across.parquet")["effect"]) == {"mean", KEY}
    assert main(["watch", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "label_flip_digits: not finished, 2/4 studies finished"
    assert lines[1].startswith(f"{KEY} = 0.2: finished, 33/33 cells; online accuracy (%): sgdm ")
    assert lines[2] == f"{KEY} = 0.4: not begun"
    assert lines[3] == f"{KEY} = 0.6: all 9 runs failed, <b>so</b> there is nothing"
    assert main(["confirm", str(folder)]) == 2
    assert "holds a sweep and no study" in capsys.readouterr().err


def test_values_that_are_tables_have_short_names_and_stand_in_full_in_what_was_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tamcl.report.sweep.draw_sweep", lambda sweep: [])
    folder = write_sweep(tmp_path / "sweep")
    record = read_sweep(folder / "sweep.json")
    weak, strong = ([{"name": "l2_init", "strength": strength}] for strength in (0.01, 0.1))
    for study, value in zip(record["studies"], ([], weak, strong, [*strong, {"name": "redo"}]), strict=True):
        study["values"] = {"interventions": value}
    write_record(folder / "sweep.json", record)
    sweep = load_sweep(folder)
    names = ["none", "l2_init (strength 0.01)", "l2_init (strength 0.1)", "l2_init (strength 0.1) + redo"]
    assert [study.name for study in sweep.studies] == [f"interventions = {name}" for name in names]
    assert list(sweep.metrics["interventions"].unique()) == names[:2]
    page = Page(write_sweep_report(folder).read_text(encoding="utf-8"))
    assert set(page.table("metrics")["Value"]) == {f"interventions = {name}" for name in names[:2]}
    full = '[{name = "l2_init", strength = 0.1}, {name = "redo"}]'
    assert f"l2_init (strength 0.1) + redo: {full}" in page.text
