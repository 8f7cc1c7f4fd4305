"""The pictures of a report, looked at: decoded pixels, whatever matplotlib is told elsewhere."""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from PIL import Image

from tamcl import plots
from tamcl.findings.study import Study
from tamcl.report import figures, write_report
from tamcl.report.figures import Drawing, Picture, drawings, tuning_drawings
from tamcl.results import load_results
from tests.synthetic_study import ARMS, write_study

HOSTILE = {
    "savefig.dpi": 37,
    "savefig.bbox": "tight",
    "savefig.transparent": True,
    "figure.dpi": 10,
    "figure.autolayout": True,
    "font.size": 30,
    "lines.marker": "o",
    "lines.markerfacecolor": "red",
    "image.origin": "lower",
    "axes.spines.left": False,
    "path.sketch": (10, 10, 10),
    "text.usetex": True,  # would ask for a LaTeX
}
LONG = [f"optimizer_{i}_with_a_name_that_is_as_long_as_a_label_may_be_at_all" for i in range(3)]


def named(count: int) -> list[str]:
    return [*ARMS, *(f"method_{i}" for i in range(count))][:count]


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def decoded(source: str) -> bytes:
    return base64.b64decode(source.partition(",")[2])


def drawing(study: Study, name: str) -> Drawing:
    return next(each for each in [*drawings(study), *tuning_drawings(study)] if each.name == name)


def pictured(study: Study, name: str) -> Picture:
    return figures._picture(study, drawing(study, name))


@pytest.fixture
def small(tmp_path: Path) -> Study:
    folder = write_study(tmp_path / "study", arms=["sgdm", "tam"], seeds=2, tune_seeds=1, experiences=2, steps=6)
    return Study(load_results(folder))


@pytest.mark.parametrize("count", [8, 9, 25])
def test_every_arm_is_seen_in_its_colour_along_its_curve(tmp_path: Path, count: int) -> None:
    """Arm i is right in 10 + 3 i percent of all mini-batches of both seeds, so that lines do not hide one another."""
    folder = write_study(tmp_path / "study", arms=named(count), seeds=2, tune_seeds=1, experiences=2, steps=20)
    results = load_results(folder)
    level = results.online["arm"].map({arm: 10 + 3 * i for i, arm in enumerate(named(count))})
    spread = results.online["seed"] - 0.5  # half a point up or down by seed: bands of 6 points lie over all lines
    online = results.online.assign(n=1000, correct=10 * level + 5 * spread)
    results = replace(results, tables={**results.tables, "online": online})
    study = Study(results)
    picture = pictured(study, "online_accuracy")
    stored = pixels((folder / "figures" / "online_accuracy.png").read_bytes())
    dpi = stored.shape[1] / 7.4
    with mpl.rc_context(plots.theme()):
        figure = drawing(study, "online_accuracy").draw(figures.WIDTHS["wide"])
        figures.draw_light_and_dark(figure, dpi)
    assert stored.shape[:2] == (picture.height, picture.width) == tuple(int(n) for n in figure.bbox.size[::-1])
    steps = np.concatenate([np.linspace(2, 17, 200), np.linspace(22, 37, 200)])  # away from the shift at 20
    for image in (stored, pixels(decoded(picture.sources["wide"]))):
        for i, (arm, style) in enumerate(plots.arm_styles(named(count)).items()):
            curve = np.column_stack([steps, np.full(len(steps), 10.0 + 3 * i)])
            x, y = np.rint(figure.axes[0].transData.transform(curve)).astype(int).T
            color = np.rint(255 * np.array(to_rgb(style.color))).astype(int)
            near = np.stack([image[image.shape[0] - 1 - y + row, x] for row in (-1, 0, 1)])
            seen = (near == color).all(axis=2).any(axis=0)  # no other colour will do
            assert seen.mean() > (0.95 if style.line == "-" else 0.15), (arm, seen.mean())  # the others have gaps


def test_pictures_do_not_depend_on_settings_of_the_user(small: Study) -> None:
    expected = pictured(small, "online_accuracy").sources
    before = dict(mpl.rcParams)
    with mpl.rc_context(HOSTILE):  # type: ignore[arg-type]
        hostile = dict(mpl.rcParams)
        assert pictured(small, "online_accuracy").sources == expected
        assert dict(mpl.rcParams) == hostile
    plt.style.use("dark_background")
    try:
        assert pictured(small, "online_accuracy").sources == expected
    finally:
        mpl.rcParams.update(before)
    assert plt.get_fignums() == []


def test_a_report_from_a_shell_does_not_depend_on_a_matplotlibrc_or_backend(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", arms=["tam"], seeds=1, tune_seeds=1, experiences=1, steps=3)
    expected = write_report(folder).read_bytes()
    rc = [f"{name}: {', '.join(map(str, v)) if isinstance(v, tuple) else v}" for name, v in HOSTILE.items()]
    (tmp_path / "matplotlibrc").write_text("\n".join([*rc, "backend: none_such", "none.such: 3", "lines.linewidth: x"]))
    (folder / "report.html").unlink()
    code = "import sys; from tamcl.cli import main; sys.argv[1:] = ['report', 'study']; sys.exit(main())"
    hostile = os.environ | {"MATPLOTLIBRC": str(tmp_path), "MPLBACKEND": "none_such"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=hostile, check=True, capture_output=True)
    assert (folder / "report.html").read_bytes() == expected


def test_both_pictures_are_those_that_matplotlib_draws_in_their_theme(tmp_path: Path) -> None:
    pairs = [["tam", "sgdm"]]
    folder = write_study(tmp_path, arms=named(3), seeds=2, tune_seeds=1, experiences=3, steps=6, pairs=pairs)
    study = Study(load_results(folder))
    for each in [*drawings(study), *tuning_drawings(study)]:
        for layout in figures.WIDTHS:
            with mpl.rc_context(plots.theme()):
                both = figures.draw_light_and_dark(each.draw(figures.WIDTHS[layout]), 80)
            for dark, found in zip((False, True), both, strict=True):
                with mpl.rc_context(plots.theme(dark)):
                    canvas = FigureCanvasAgg(each.draw(figures.WIDTHS[layout]))
                    canvas.figure.set_dpi(80)
                    canvas.draw()
                assert np.array_equal(found, np.asarray(canvas.buffer_rgba())), (each.name, layout, dark)


def test_axes_stand_where_the_layout_of_matplotlib_puts_them(tmp_path: Path) -> None:
    """That measures twice: a label that then has another width may move them by a few points."""
    folder = write_study(tmp_path, arms=named(6), seeds=3, tune_seeds=2, experiences=12, steps=6)
    study = Study(load_results(folder))
    for each in [*drawings(study), *tuning_drawings(study)]:
        for layout in figures.WIDTHS:
            with mpl.rc_context(plots.theme()):
                ours, theirs = each.draw(figures.WIDTHS[layout]), each.draw(figures.WIDTHS[layout])
                theirs.set_layout_engine("constrained")
                figures.draw_light_and_dark(ours, 80)
                figures.draw_light_and_dark(theirs, 80)
            places = [[ax.get_position().extents for ax in figure.axes] for figure in (ours, theirs)]
            apart = np.abs(np.subtract(*places)) * np.tile(ours.get_size_inches(), 2)
            assert apart.max() < 0.1, (each.name, layout, apart)


def test_a_packed_picture_has_at_most_256_colours_and_is_the_same_to_the_eye() -> None:
    rng = np.random.default_rng(0)
    pixels = np.full((60, 50, 4), 255, dtype=np.uint8)
    pixels[5:20, :, :3] = (213, 94, 0)
    pixels[20:30, :, :3] = rng.integers(0, 256, (10, 50, 3))  # 500 colours
    packed = figures._packed(pixels, [(0.0, 0.25, 0.5)])
    assert packed.mode == "P"
    seen = np.asarray(packed.convert("RGB")).astype(int)
    assert (seen[:20] == pixels[:20, :, :3]).all()
    assert (seen[30:] == 255).all()
    assert np.abs(seen[20:30] - pixels[20:30, :, :3]).max() < 100
    assert packed.getpalette()[:3] == [0, 64, 128]


@pytest.mark.parametrize("layout", ["wide", "narrow"])
@pytest.mark.parametrize("arms", [named(25), LONG], ids=["25 arms", "names of 64 letters"])
def test_no_text_falls_out_of_a_picture(tmp_path: Path, arms: list[str], layout: str) -> None:
    pairs = [[arm, arms[0]] for arm in arms[1:5]]
    folder = write_study(tmp_path, arms=arms, seeds=2, tune_seeds=1, experiences=3, steps=6, pairs=pairs)
    study = Study(load_results(folder))
    for each in [*drawings(study), *tuning_drawings(study)]:
        with mpl.rc_context(plots.theme()):
            figure = each.draw(figures.WIDTHS[layout])
            figures.draw_light_and_dark(figure, dpi=100)
            drawn = figure.get_tightbbox()  # inches, of all that is drawn
        assert figure.axes[0].get_window_extent().width > 0.35 * figure.bbox.width / (3 if layout == "wide" else 2)
        size = figure.get_size_inches()
        assert min(drawn.x0, drawn.y0, size[0] - drawn.x1, size[1] - drawn.y1) > -0.01, (each.name, drawn, size)
