"""Figures for a paper: exactly as wide as asked, text of one size, nothing outside, and the report as it was."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.text import Text
from PIL import Image

from tamcl.cli.main import main
from tamcl.errors import InputError
from tamcl.findings.study import Study
from tamcl.report import paper_figures, write_figures
from tamcl.report.figures import drawings, tuning_drawings
from tamcl.results import load_results
from tests.report.helpers import FIGURES, write_sweep
from tests.synthetic_study import write_study

COLUMN = 3.3
LONG = [f"{'a_long_name_' * 5}{i}" for i in range(4)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    arms = ["sgdm", "tam", "tam_frozen"]
    return write_study(
        tmp_path_factory.mktemp("paper") / "study", arms=arms, seeds=3, tune_seeds=2, experiences=3, steps=20
    )


def width_of(path: Path) -> float:
    """Inches, as the file itself says."""
    if path.suffix == ".png":
        with Image.open(path) as picture:
            return picture.width / 600
    content = path.read_bytes()
    found = re.search(
        rb"/MediaBox \[ 0 0 ([0-9.]+) " if path.suffix == ".pdf" else rb'<svg [^>]*?width="([0-9.]+)pt"', content
    )
    assert found
    return float(found[1]) / 72


@pytest.mark.parametrize(("format", "width"), [("pdf", COLUMN), ("svg", 6.8), ("png", 3.0)])
def test_files_are_as_wide_as_asked_and_the_report_stays(
    folder: Path, format: str, width: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "study"
    shutil.copytree(folder, study)
    (study / "report.html").write_text("as it was")
    assert main(["report", str(study), "--format", format, "--width", str(width)]) == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(paths) == sorted((study / "figures").iterdir())
    assert {path.suffix for path in paths} == {f".{format}"}
    assert [width_of(path) for path in paths] == pytest.approx([width] * len(paths), abs=0.002)
    found = {
        next(name for name in sorted(FIGURES, key=len, reverse=True) if path.stem.startswith(name)) for path in paths
    }
    assert found == set(FIGURES)
    assert (study / "report.html").read_text() == "as it was"


def test_a_pdf_holds_its_fonts_and_is_the_same_every_time(folder: Path, tmp_path: Path) -> None:
    first, second = ([*write_figures(shutil.copytree(folder, tmp_path / name))] for name in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    for path in first:
        assert b"/FontFile2" in path.read_bytes(), path
        assert b"/Type3" not in path.read_bytes(), path


def test_panels_that_no_page_has_room_for_are_files_of_their_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "summary" in [path.stem for path in write_figures(folder)]
    monkeypatch.setattr(paper_figures, "PAGE", 4.0)
    names = [path.stem for path in write_figures(folder)]
    core = Study(load_results(folder)).core_metrics
    assert len(core) > 3
    assert [name for name in names if name.startswith("summary")] == [f"summary_{name}" for name in core]


@pytest.mark.parametrize("width", [3.0, COLUMN, 5.5])
@pytest.mark.parametrize("arms", [["sgdm", "tam", "adam"], LONG], ids=["short names", "names of 61 letters"])
def test_text_is_of_8_points_and_inside_of_the_figure(tmp_path: Path, arms: list[str], width: float) -> None:
    pairs = [[arm, arms[0]] for arm in arms[1:]]
    study = Study(
        load_results(write_study(tmp_path, arms=arms, seeds=2, tune_seeds=1, experiences=3, steps=6, pairs=pairs))
    )
    for each in [*drawings(study), *tuning_drawings(study)]:
        with mpl.rc_context(paper_figures.THEME):
            figure = each.draw(width)
            paper_figures.fit(figure)
            figure.draw_without_rendering()
        sizes = {round(text.get_fontsize(), 3) for text in figure.findobj(Text) if text.get_text()}
        assert max(sizes) == 8.0, each.name
        assert min(sizes) >= (6.5 if each.name == "accuracy_matrix" else 8.0), (each.name, sizes)  # numbers in fields
        drawn, size = figure.get_tightbbox(), figure.get_size_inches()
        assert min(drawn.x0, drawn.y0, size[0] - drawn.x1, size[1] - drawn.y1) > -0.01, (each.name, drawn, size)


def test_a_sweep_has_its_figure(tmp_path: Path) -> None:
    (path,) = write_figures(write_sweep(tmp_path / "sweep"))
    assert path == tmp_path / "sweep" / "figures" / "sweep.pdf"
    assert width_of(path) == pytest.approx(COLUMN)


@pytest.mark.parametrize("width", [2.9, 12.1, float("nan"), -3.0])
def test_a_width_that_no_page_has_is_refused(folder: Path, width: float) -> None:
    with pytest.raises(InputError, match=r"^--width \S+: must be a number of inches, 3 to 12$"):
        write_figures(folder, width=width)


def test_what_cannot_be_written_is_said_in_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, words in [
        ([str(folder), "--format", "pfd"], "unknown --format 'pfd': did you mean 'pdf'? Known: pdf, png, svg."),
        (
            [str(folder), "--width", "3.3"],
            "--width 3.3: is that of figures for a paper: name their --format, pdf, svg or png",
        ),
    ]:
        assert main(["report", *arguments]) == 2
        assert capsys.readouterr().err == f"tamcl: {words}\n"
    assert main(["report", str(tmp_path), "--format", "pdf"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
