"""The figures of a study or a sweep for a paper: files of a given width, with text of 8 points."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text

from tamcl import plots
from tamcl.errors import InputError, unknown_name
from tamcl.files.atomic import write_atomic
from tamcl.findings.oracles import oracle_comparisons
from tamcl.findings.study import Study
from tamcl.landscape import read_landscape
from tamcl.report.figures import (
    Drawing,
    drawings,
    landscape_drawings,
    oracle_drawings,
    sweep_drawings,
    tuning_drawings,
)
from tamcl.results import load_results
from tamcl.sweeps import is_sweep, load_sweep

FORMATS = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}
"""Formats by name, and what of a file is left empty for the same study to give the same bytes."""

COLUMN = 3.3
"""Inches: a column of most two-column papers."""

LEAST, MOST = 3.0, 12.0
"""Inches between which names, numbers and lines find room."""

POINTS = 8.0
"""Size of text, which journals want to be at least 6 to 8."""

THEME: dict[Any, Any] = plots.theme() | {"font.size": POINTS, "pdf.fonttype": 42, "svg.hashsalt": "tamcl"}

PAGE = 9.0
"""Inches that a page of a paper is high."""

DPI = 600
"""Of a png, as journals ask for drawings of lines."""


def write_figures(directory: str | Path, *, format: str = "pdf", width: float = COLUMN) -> list[Path]:
    """Write every figure of a study's or a sweep's report for a paper, and leave the report as it is.

    Figures are ``width`` inches wide, to be included without scaling, and their text is of 8 points; letters are
    smaller only where many arms stand beside one another. A pdf has its fonts inside (TrueType).

    Parameters
    ----------
    directory : path
        The folder of a finished study, or of a sweep.
    format : {"pdf", "svg", "png"}
        What is written: ``figures/<name>.<format>``. A png takes the place of the report's own file, which
        ``tamcl report`` makes again.
    width : float
        Inches, 3 to 12: 3.3 is a column, 6.8 a page of two columns. From 5 on panels stand side by side.

    Returns
    -------
    list of Path
        The files, in the order of the report; of a figure that is higher than a page each panel has its own.

    Raises
    ------
    InputError
        If the folder holds no finished study, the format is unknown or the width is out of range.
    """
    if format not in FORMATS:
        raise unknown_name("--format", format, FORMATS)
    if not LEAST <= width <= MOST:
        raise InputError(f"--width {width:g}: must be a number of inches, {LEAST:g} to {MOST:g}")
    folder, found = _drawings(directory)
    paths = []
    for drawing in found:
        for name, draw in _pages(drawing, width).items():
            paths.append(folder / "figures" / f"{name}.{format}")
            _write(draw, paths[-1], width)
    return paths


def _drawings(directory: str | Path) -> tuple[Path, Iterator[Drawing]]:
    """Return the folder of a study or a sweep, and its figures in the order of its report."""
    if is_sweep(directory):
        sweep = load_sweep(directory)
        return sweep.directory, sweep_drawings(sweep)
    study = Study(load_results(directory))
    return study.results.directory, _of_study(study)


def _of_study(study: Study) -> Iterator[Drawing]:
    yield from drawings(study)
    yield from oracle_drawings(study, oracle_comparisons(study))
    if (land := read_landscape(study.results.directory)) is not None:
        yield from landscape_drawings(study, land)
    yield from tuning_drawings(study)


def _pages(drawing: Drawing, width: float) -> dict[str, Callable[[float], Figure]]:
    """Return what is drawn by the name of its file: the panels one by one where all are too high for a page."""
    with mpl.rc_context(THEME):
        is_high = bool(drawing.panels) and drawing.draw(width).get_figheight() > PAGE
    return (
        {f"{drawing.name}_{name}": draw for name, draw in drawing.panels.items()}
        if is_high
        else {drawing.name: drawing.draw}
    )


def _write(draw: Callable[[float], Figure], path: Path, width: float) -> None:
    save: dict[str, Any] = {"format": path.suffix[1:], "dpi": DPI, "metadata": FORMATS[path.suffix[1:]]}
    with mpl.rc_context(THEME):
        figure = draw(width)
        fit(figure)
        write_atomic(path, lambda temporary: figure.savefig(temporary, **save))


def fit(figure: Figure) -> None:
    """Set the text of a figure in one size, and break lines that do not fit."""
    small = FontProperties(size="small").get_size_in_points()
    for text in figure.findobj(Text):
        if text.get_fontsize() == small:
            text.set_fontsize(POINTS)
    FigureCanvasAgg(figure)
    for _ in range(3):  # a line more moves the axes, and what fits beside them
        figure.draw_without_rendering()
        broken = [_break(text, side) for text, side in _lines(figure)]
        if not any(broken):
            return


def _lines(figure: Figure) -> Iterator[tuple[Text, int]]:
    """Yield titles and labels of axes, and along which side of the figure each runs: 0 is the width, 1 the height."""
    for ax in figure.axes:
        yield from ((each, 0) for each in ax.get_children() if isinstance(each, Text) and each not in ax.texts)
        yield from ((ax.xaxis.label, 0), (ax.yaxis.label, 1))
    yield from ((text, int(text.get_rotation() == 90)) for text in figure.texts)


def _break(text: Text, side: int) -> bool:
    """Break the lines of a text that reach beyond the figure; return whether there were any."""
    words = text.get_text()
    box, page = text.get_window_extent(), text.get_figure(root=True).bbox  # type: ignore[union-attr]
    (low, high), end = ((box.x0, box.x1), page.x1) if side == 0 else ((box.y0, box.y1), page.y1)
    over = max(-low, 0) + max(high - end, 0)
    if not words or over < 1:
        return False
    lines = words.splitlines()
    longest = max(map(len, lines))
    room = max(8, int(longest * (1 - over / (high - low))))
    broken = "\n".join(part for line in lines for part in textwrap.wrap(line, room) or [""])
    text.set_text(broken)
    return broken != words
