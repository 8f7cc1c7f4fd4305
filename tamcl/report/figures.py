"""The figures of a report: which pictures a study gets, in light and dark, for a wide page and for a phone."""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from tamcl import plots
from tamcl.files.atomic import write_atomic
from tamcl.findings.oracles import OracleComparison
from tamcl.findings.study import Study, records
from tamcl.findings.sweep import tunes_options
from tamcl.landscape import Landscape
from tamcl.metrics import by_epoch, by_experience, find, stability_curves
from tamcl.plots.online import POINTS
from tamcl.report.curves import live
from tamcl.report.layout import Layout
from tamcl.report.themes import Pixels, darkened, draw_light_and_dark
from tamcl.stats import ALPHA, tuning
from tamcl.sweeps import Sweep, row_name

DPI = 200
"""Twice that of a screen, so that lines stay sharp on good screens and on paper."""

FINER = 9_000
"""Points that all curves of a stream have together for who zooms in."""

SMALLER = {8: 0.7, 16: 0.6}
"""With more arms than so many figures are fuller, and drawn with fewer dots for the page to stay below 5 MB."""

WIDTHS = {"wide": 7.4, "narrow": 3.7}
"""Inches; text is set in the same size in both, so a phone needs no magnifying glass."""

WIDE = 5.0
"""Inches from which on panels stand side by side."""

NAME = 0.13
"""Inches that a name at the end of a line takes."""


@dataclass(frozen=True)
class Picture:
    """One figure of the report.

    Attributes
    ----------
    name : str
        Its file is ``figures/<name>.png``.
    title, caption : str
        What it shows, and how to read it.
    sources : dict of str to str
        The images as data URIs: "wide", "wide dark", "narrow", "narrow dark".
    width, height : int
        Size of the wide image in pixels.
    live : dict or None
        What the page draws in its place where it can: ``tamcl.report.curves.live``.
    """

    name: str
    title: str
    caption: str
    sources: dict[str, str]
    width: int
    height: int
    live: dict[str, Any] | None


class Drawing(NamedTuple):
    """What is drawn: a function from a width in inches to a figure."""

    name: str
    title: str
    caption: str
    draw: Callable[[float], Figure]
    panels: Mapping[str, Callable[[float], Figure]] = {}
    """Each of its panels by itself, by the metric, for a page that is too short for all."""
    finer: Callable[[], Axes] | None = None
    """The first panel with more points, for who zooms in."""


def draw_pictures(study: Study) -> list[Picture]:
    """Draw every figure that the study allows, and write it to its folder's ``figures``."""
    return [_picture(study, drawing) for drawing in drawings(study)]


def draw_sweep(sweep: Sweep) -> list[Picture]:
    """Draw the figure of a sweep, if it has results, and write it to its folder's ``figures``."""
    return [draw(drawing, sweep.directory, sweep.arms) for drawing in sweep_drawings(sweep)]


def draw_tuning_pictures(study: Study) -> list[Picture]:
    """Draw the figures of the part on tuning, and write them beside the others."""
    return [_picture(study, drawing) for drawing in tuning_drawings(study)]


def draw_oracle_pictures(study: Study, found: list[OracleComparison]) -> list[Picture]:
    """Draw the figure of the part on oracles, and write it beside the others."""
    return [_picture(study, drawing) for drawing in oracle_drawings(study, found)]


def draw_landscape_pictures(study: Study, found: Landscape | None) -> list[Picture]:
    """Draw the figures of the part on the landscape, and write them beside the others."""
    return [] if found is None else [_picture(study, drawing) for drawing in landscape_drawings(study, found)]


def drawings(study: Study) -> Iterator[Drawing]:
    """Yield the figures of what happened, in the order of the report."""
    of = "tokens" if study.is_text else "examples"
    if not study.online.empty and _what_is_online(study) == "loss":
        yield Drawing(
            "online_loss",
            "Online loss over the stream",
            "Loss on every mini-batch before the model learns from it; lower is better. Dotted lines are shifts."
            + study.is_text * " It is a mean over tokens, in nats.",
            lambda width: _single(width, 3.7, plots.online_loss, study.online, arms=study.arms, of=of),
            finer=_finer(study, plots.online_loss, of),
        )
    if not study.online.empty and study.has_accuracy:
        yield Drawing(
            "online_accuracy",
            "Online accuracy over the stream",
            "Accuracy on every mini-batch before the model learns from it. Steeper is faster; dotted lines are shifts."
            + study.is_text * " It is the share of tokens that the model thought the likeliest.",
            lambda width: _single(width, 3.7, plots.online_accuracy, study.online, arms=study.arms, of=of),
            finer=_finer(study, plots.online_accuracy, of),
        )
    if study.has_accuracy and study.online["experience"].max() > 0:
        yield Drawing(
            "recovery",
            "Recovery after a shift",
            "All shifts laid on one another at 0: how deep accuracy falls, and how fast it comes back.",
            lambda width: _single(width, 3.7, plots.recovery, study.online, arms=study.arms),
        )
    if study.has_accuracy and study.online["experience"].nunique() > 2:
        table = by_experience(study.online)
        yield Drawing(
            "over_experiences",
            "Accuracy at the end of each experience",
            "Accuracy on the last mini-batches of an experience before the model learns from them: is a late experience"
            " still learnt as well as an early one? Where they are equally hard, a line that falls is a loss of"
            " plasticity.",
            lambda width: _single(width, 3.7, plots.over_experiences, table, arms=study.arms),
        )
    curves = stability_curves(study.continual, study.evaluated)
    if curves["change"].notna().any():
        yield Drawing(
            "stability",
            "Earlier experiences after a shift",
            "Accuracy on earlier experiences while a later one is trained, less what it was before the shift. A dip"
            " that comes back is the stability gap; what is still lost at the end is forgetting.",
            lambda width: _single(width, 3.7, plots.stability, curves, arms=study.arms),
        )
    if study.is_tested_by_epoch:
        table = by_epoch(study.continual, study.diagnostics)
        held_out = "validation" if _is_validated(study) else "test"
        more = ", and below it the mean over the epoch of what was measured after updates" * bool(_diagnosed(study))
        yield Drawing(
            "over_epochs",
            "Epoch by epoch",
            f"Accuracy on the {held_out} images of the experience after each epoch{more}.",
            lambda width: _over_epochs(study, table, width),
        )
    if _diagnosed(study):
        yield Drawing(
            "diagnostics",
            "What optimizer and model do over the stream",
            f"Online {_what_is_online(study)}, and below it what was measured after updates, on"
            " one time axis: mean and 95 % interval over seeds. An arm that has no such quantity is not drawn.",
            lambda width: _over_time(study, width),
        )
    if study.core_metrics:
        yield Drawing(
            "summary",
            "Metrics by arm",
            "Mean and 95 % interval over seeds, and below it a point for each seed. Arms share their streams seed by"
            " seed, so overlapping intervals do not mean equal arms: look at the paired differences.",
            partial(_summaries, study, study.core_metrics),
            {name: partial(_summaries, study, [name]) for name in study.core_metrics},
        )
    if not study.comparisons.empty:
        compared = [name for name in study.core_metrics if name in set(study.comparisons["metric"])]
        yield Drawing(
            "differences",
            "Paired differences",
            "Difference between two arms on the same seeds, with its 95 % interval. Filled: a difference is shown, as p"
            f" after Holm is at most {ALPHA:g}. Hollow: none is, though the interval, which is of one pair by itself,"
            " may leave out 0.",
            partial(_differences, study, compared),
            {name: partial(_differences, study, [name]) for name in compared},
        )
    if {"forgetting", "learning_accuracy"} <= set(study.shown_metrics):
        yield Drawing(
            "forgetting",
            "Forgetting against learning",
            "An arm that learns little has little to forget: better is to the right and down, not down alone.",
            lambda width: _beside_legend(width, 3.9, study.arms, plots.forgetting_against_learning, study.metrics),
        )
    if study.is_text and not study.evaluated.empty:
        yield Drawing(
            "perplexity_matrix",
            "Perplexity on every experience as training goes on",
            "Perplexity of the validation texts, of the mean loss over seeds; lower is better, and brighter. Read a"
            " column downwards: an experience is learnt on the diagonal, and then kept or forgotten. What was not"
            " tested is empty; a row 'none' is the untrained model.",
            lambda width: _matrices(study, width, plots.perplexity_matrix, "loss (nats a token)"),
        )
    elif study.evaluated["accuracy"].notna().any():
        yield Drawing(
            "accuracy_matrix",
            "Accuracy on every experience as training goes on",
            "Accuracy in percent, mean over seeds. Read a column downwards: an experience is learnt on the diagonal,"
            " and then kept or forgotten. What was not tested is empty; a row 'none' is the untrained model.",
            lambda width: _matrices(study, width, plots.accuracy_matrix, "accuracy (%)"),
        )


def sweep_drawings(sweep: Sweep) -> Iterator[Drawing]:
    """Yield the figure of a sweep: arms above, their paired differences below, a column for each of further values."""
    rows = sweep.metrics[sweep.metrics["metric"] == sweep.primary].dropna(subset="value")
    if rows.empty:
        return
    label, (first, *others) = plots.metric_axis(sweep.primary)[0], sweep.keys
    own = "learning rate and options, which were" if tunes_options(sweep) else "learning rate, which was"
    yield Drawing(
        "sweep",
        f"{label} over {first}" + (f", by {' and '.join(others)}" if others else ""),
        f"Every arm at its own {own} chosen anew at every value: mean and 95 % interval over seeds."
        " Below, the difference between two arms on the same seeds with its 95 % interval; filled where a difference"
        f" is shown, as p after Holm over all values and pairs is at most {ALPHA:g}.",
        lambda width: _swept(sweep, rows, width),
    )


def _swept(sweep: Sweep, rows: pd.DataFrame, width: float) -> Figure:
    over, *others = sweep.keys
    compared = sweep.comparisons[(sweep.comparisons["metric"] == sweep.primary) & (sweep.comparisons["n_pairs"] > 0)]
    panels = [*rows.groupby(others, sort=False)] if others else [((), rows)]
    kinds = 2 if len(compared) else 1
    columns = min(2, len(panels)) if width >= WIDE else 1
    lines = -(-len(panels) // columns)
    heights = [3.2, 2.6][:kinds] * lines
    figure = _figure(width, sum(heights))
    axes = figure.subplots(len(heights), columns, height_ratios=heights, squeeze=False)
    for place in range(lines * columns):
        line, column = divmod(place, columns)
        above, *below = axes[kinds * line : kinds * (line + 1), column]
        if place >= len(panels):
            for ax in (above, *below):
                ax.remove()
            continue
        values, table = panels[place]
        at = dict(zip(others, values, strict=True))
        plots.sweep(table, over=over, metric=sweep.primary, arms=sweep.arms, ax=above)
        of_panel = compared.loc[(compared[[*at]] == pd.Series(at)).all(axis=1)] if at else compared
        for ax in below:
            if of_panel.empty:
                ax.remove()
            else:
                plots.sweep_differences(of_panel, over=over, metric=sweep.primary, ax=ax)
        _align(above, *(ax for ax in below if ax.figure is not None))
        title = row_name(at)
        for ax in (above, *below):
            said = ax.get_title(loc="left")
            words = textwrap.fill(said, 48 if width < WIDE or columns > 1 else 100)
            ax.set_title(f"{title}\n{words}" if title and ax is above else words, loc="left", size="small")
    return figure


def _align(above: Axes, *below: Axes) -> None:
    """Let axes that stand below one another end at the same values, and say once what these are."""
    ends = [ax.get_xlim() for ax in (above, *below)]
    for ax in (above, *below):
        ax.set_xlim(min(low for low, _ in ends), max(high for _, high in ends))
    if below:
        above.set_xlabel("")
        if all(len(ax.get_xticks()) == len(above.get_xticks()) for ax in below):
            above.tick_params(axis="x", labelbottom=False)


def tuning_drawings(study: Study) -> Iterator[Drawing]:
    """Yield the figures of the part on tuning."""
    if not study.tuning["score"].notna().any():
        return
    triangle = ""
    if study.rules:
        triangle = " Triangle: twice the rate of tuned SGD with momentum, where TAM takes the same steps if gradients"
        triangle += " are at right angles to its momentum."
    yield Drawing(
        "lr_sensitivity",
        "Score against learning rate",
        "What the choice of the learning rate rests on, on the tuning seeds. Broad: within 95 % of the best, so that a"
        " long broad line is an arm that is easy to tune. An arrow at the end of a line means that the grid should be"
        f" widened.{_at_options(study)}{triangle}",
        lambda width: _lr_sensitivity(study, width),
    )
    over_options = tuning.by_option(study.tuning, study.primary)
    if len(over_options):
        yield Drawing(
            "options",
            "Score over learning rate and options",
            "Every option that was tuned together with the learning rate, with the best of the values of the others."
            " Brighter is better, on one scale for all, and the worst quarter is all dark. A frame on the edge means"
            " that a better value may lie beyond.",
            partial(_options, study, over_options),
            {
                f"{place}_{option}": partial(_options, study, rows)
                for place, ((_arm, option), rows) in enumerate(over_options.groupby(["arm", "option"]), 1)
            },
        )
    if names := _over_lr(study):
        by_lr = tuning.by_lr(study.results.metrics, study.results.runs, study.primary, names=names)
        yield Drawing(
            "adaptation_by_lr",
            "What happens after a shift, over the learning rate",
            "The same runs on other metrics. At a single learning rate these mostly read out that rate: compare whole"
            " lines, not rings. Ring: the rate that was chosen for the score above.",
            partial(_adaptation, study, by_lr, names),
            {name: partial(_adaptation, study, by_lr, [name]) for name in names},
        )
    expected = tuning.expected_best(study.tuning, study.primary)
    if len(expected) and expected["trials"].max() > 1:
        yield Drawing(
            "expected_best",
            "Expected best over trials",
            f"How good the best of so many {'trials' if study.tunes_options else 'learning rates'} is on average, drawn"
            " from those that were tried. Where lines cross, the better arm is a matter of how much is tuned.",
            lambda width: _expected_best(study, expected, width),
        )


def oracle_drawings(study: Study, found: list[OracleComparison]) -> Iterator[Drawing]:
    """Yield the figure of the part on oracles."""
    shown = [each for each in found if len(each.regrets)]
    if shown:
        yield Drawing(
            "regret",
            "Regret over the stream",
            "Right answers of the oracle minus those of the arm, summed from the start of the stream. Where a line"
            " rises, the oracle does better in that experience; where it falls, the arm does.",
            lambda width: _regrets(study, shown, width),
        )


def landscape_drawings(study: Study, found: Landscape) -> Iterator[Drawing]:
    """Yield the figures of the part on the landscape."""
    if len(found.lines):
        yield Drawing(
            "landscape_lines",
            "Loss between two ends of training",
            "Loss on the straight line between the final weights of two runs. How far a line rises above the dotted one"
            " is the barrier; without any the two ended in one basin.",
            lambda width: _lines(found.lines, width),
        )
    if len(found.plane):
        yield Drawing(
            "landscape_plane",
            "Loss on a plane through three ends",
            "Test loss on the plane through the final weights of three arms, in units of the distance between weights."
            " Each shade covers an equal area.",
            lambda width: _plane(found.plane, study.arms, width),
        )


def _picture(study: Study, drawing: Drawing) -> Picture:
    return draw(drawing, study.results.directory, study.arms)


def draw(drawing: Drawing, directory: Path, arms: list[str]) -> Picture:
    """Draw a figure for a page of these arms, and write it to the folder's ``figures``."""
    sources, sizes, figures = {}, {}, {}
    dpi = DPI * min(share for most, share in {0: 1.0, **SMALLER}.items() if len(arms) > most)
    for layout, width in WIDTHS.items():
        with mpl.rc_context(plots.theme()):  # type: ignore[arg-type]
            figure = figures[layout] = drawing.draw(width)
            light, dark = draw_light_and_dark(figure, dpi)
        lines = {to_rgb(line.get_color()) for ax in figure.axes for line in ax.lines}
        for name, pixels, kept in ((layout, light, lines), (f"{layout} dark", dark, set(map(darkened, lines)))):
            image = _packed(pixels, sorted(kept))
            sources[name], sizes[name] = _png(image, dpi), image.size
    path = directory / "figures" / f"{drawing.name}.png"
    write_atomic(path, lambda temporary: temporary.write_bytes(sources["wide"]))
    uris = {name: f"data:image/png;base64,{base64.b64encode(png).decode()}" for name, png in sources.items()}
    curves = live(figures["wide"], arms, drawing.finer and drawing.finer())
    return Picture(drawing.name, drawing.title, drawing.caption, uris, *sizes["wide"], curves)


def _png(image: Image.Image, dpi: float) -> bytes:
    png = io.BytesIO()
    image.save(png, "png", dpi=(dpi, dpi))
    return png.getvalue()


def _packed(pixels: Pixels, colors: list[tuple[float, float, float]]) -> Image.Image:
    """Return an image in 256 colours, a third of the size and the same to the eye.

    The colours that lines have and the most frequent ones are kept as they are, so that no arm is drawn in the colour
    of another; those between, as at the edges of lines, become the nearest one of what is left.
    """
    four_bytes = pixels.view(np.uint32).ravel()
    drawn = four_bytes != four_bytes[0]  # the corner has the colour of most of a picture
    places, others = pd.factorize(four_bytes[drawn])  # a table is faster than sorting a million
    found = np.append(four_bytes[0], others)[:, None].view(np.uint8)[:, :3] @ np.array([1 << 16, 1 << 8, 1])
    counts = np.append(len(drawn) - len(places), np.bincount(places, minlength=len(others)))
    kept = np.rint(255 * np.array(colors)).astype(np.int64).reshape(-1, 3) @ np.array([1 << 16, 1 << 8, 1])
    frequent = found[np.lexsort((found, -counts))]
    kept = np.array(list(dict.fromkeys([*kept.tolist(), *frequent.tolist()]))[:128])
    between = np.setdiff1d(found, kept)
    palette = _channels(kept)
    if len(between):
        line = Image.fromarray(_channels(between)[None].astype(np.uint8))
        cut = line.quantize(128, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        palette = np.concatenate([palette, np.array(cut.getpalette()).reshape(-1, 3)])
    nearest = _nearest(_channels(found), palette)
    indices = np.full(len(drawn), nearest[0])
    indices[drawn] = nearest[1:][places]
    packed = Image.fromarray(indices.reshape(pixels.shape[:2]), mode="P")
    packed.putpalette(palette.astype(np.uint8).tobytes())
    return packed


def _nearest(colors: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Return the place in a palette of what is nearest to each colour."""
    colors, palette = colors.astype(np.float32), palette.astype(np.float32)  # exact: squares are below 2**24
    distances = (palette**2).sum(axis=1) - 2 * colors @ palette.T  # and the square of the colour
    return np.asarray(distances.argmin(axis=1), dtype=np.uint8)


def _channels(colors: np.ndarray) -> np.ndarray:
    """Return red, green and blue of colours that are one number each."""
    return np.stack([colors >> 16, colors >> 8 & 255, colors & 255], axis=-1)


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=DPI, layout=Layout())


def _single(
    width: float, height: float, plot: Callable[..., Axes], table: pd.DataFrame, *, arms: list[str], **options: object
) -> Figure:
    figure = _figure(width, max(height, 0.9 + NAME * len(arms)))
    ax = plot(table, ax=figure.add_subplot(), arms=arms, **options)
    if width < WIDE:
        ax.set_title(textwrap.fill(ax.get_title(loc="left"), 48), loc="left", size="small")
    return figure


def _finer(study: Study, plot: Callable[..., Axes], of: str) -> Callable[[], Axes] | None:
    """Return what draws a stream in shorter blocks than its figure does, or None where the page has no room for it."""
    steps = study.online["step"].max() + 1
    window = -(-steps * len(study.arms) // FINER)
    return partial(plot, study.online, arms=study.arms, of=of, window=window) if 2 * window <= steps / POINTS else None


def _panels(width: float, count: int, columns: int, height: float, *, sharey: bool) -> tuple[Figure, list[Axes]]:
    """Return a figure with a grid of axes, `height` inches a row."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = _figure(width, height * rows)
    axes = figure.subplots(rows, columns, sharey=sharey, squeeze=False).ravel()
    for ax in axes[count:]:
        ax.remove()
    return figure, list(axes[:count])


def _diagnosed(study: Study) -> list[str]:
    """Return the diagnostics that have a value of the whole, in the order of the scenario."""
    table = study.diagnostics
    present = set(table.loc[(table["tensor"] == "") & np.isfinite(table["value"]), "diagnostic"])
    return [name for name in (study.scenario.get("diagnostics") or {}).get("names", []) if name in present]


def _what_is_online(study: Study) -> str:
    """Return what is drawn of the online rows first: of text the loss, which it is compared by."""
    return "accuracy" if study.has_accuracy and not study.is_text else "loss"


def _over_time(study: Study, width: float) -> Figure:
    names = _diagnosed(study)
    named = len(study.arms) * NAME < 1.5  # else lines have names in the panel above alone
    heights = [max(3.2, 0.9 + NAME * len(study.arms)), *[1.7] * len(names)]
    figure = _figure(width, sum(heights))
    top, *axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    plot = plots.online_accuracy if _what_is_online(study) == "accuracy" else plots.online_loss
    plot(study.online, arms=study.arms, of="tokens" if study.is_text else "examples", ax=top)
    label = top.get_xlabel()
    for name, ax in zip(names, axes, strict=True):
        plots.diagnostics(study.diagnostics, diagnostic=name, arms=study.arms, ax=ax)
        if not named:
            for text in list(ax.texts):
                text.remove()
        ax.set_title(ax.get_ylabel(), loc="left", size="small")
        ax.set_ylabel("")
    for ax in [top, *axes]:
        ax.set_xlabel("")
    axes[-1].set_xlabel(label)
    if width < WIDE:
        top.set_title(textwrap.fill(top.get_title(loc="left"), 48), loc="left", size="small")
    return figure


def _is_validated(study: Study) -> bool:
    """Whether tests inside experiences are of training images that are held out."""
    return bool(study.scenario.get("stream", {}).get("validation"))


def _over_epochs(study: Study, table: pd.DataFrame, width: float) -> Figure:
    names = ["accuracy", *_diagnosed(study)]
    heights = [max(3.2, 0.9 + NAME * len(study.arms)), *[2.2] * (len(names) - 1)]
    figure = _figure(width, sum(heights))
    axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False).ravel()
    for name, ax in zip(names, axes, strict=True):
        plots.over_epochs(table, quantity=name, arms=study.arms, ax=ax)
        if ax is not axes[0]:
            ax.set_title(ax.get_ylabel(), loc="left", size="small")
            ax.set_ylabel("")
        if ax is not axes[-1]:
            ax.set_xlabel("")
    if _is_validated(study):
        axes[0].set_ylabel("validation accuracy (%)")
    if width < WIDE:
        axes[0].set_title(textwrap.fill(axes[0].get_title(loc="left"), 48), loc="left", size="small")
    return figure


def _summaries(study: Study, names: list[str], width: float) -> Figure:
    height = 0.75 + 0.2 * len(study.arms)
    figure, axes = _panels(width, len(names), 3 if width >= WIDE else 1, height, sharey=width >= WIDE)
    for metric, ax in zip(names, axes, strict=True):
        plots.summary(study.metrics, metric=metric, arms=study.arms, ax=ax)
        unit = plots.metric_axis(metric)[1]
        _name_panel(ax, metric, plots.with_direction(metric, "", unit).strip(" ()"))
    return figure


def _differences(study: Study, names: list[str], width: float) -> Figure:
    pairs = study.comparisons.groupby("metric").size()[names]
    sharey = width >= WIDE and pairs.min() == pairs.max()  # else a metric lacks a pair, and rows would not line up
    columns = 3 if width >= WIDE else 1
    figure, axes = _panels(width, len(names), columns, 0.9 + 0.22 * pairs.max(), sharey=sharey)
    for metric, ax in zip(names, axes, strict=True):
        plots.paired_differences(study.comparisons, metric=metric, values=False, ax=ax)
        unit = plots.metric_axis(metric)[1]
        _name_panel(ax, metric, f"{'points' if unit == '%' else unit}\n{plots.better_side(metric)}".strip())
    if any("\n" in label.get_text() for ax in axes for label in ax.get_yticklabels()):  # long names, on two lines
        figure.set_figheight(figure.get_figheight() + 0.14 * pairs.max() * -(-len(names) // columns))
    return figure


def _name_panel(ax: Axes, metric: str, unit: str) -> None:
    """Say in a small panel what a figure of its own says in a long line."""
    ax.set_title(textwrap.fill(plots.metric_axis(metric)[0], 24), loc="left", size="medium")
    ax.set_xlabel(unit, size="small")
    ax.tick_params(axis="x", labelsize="small")
    ax.xaxis.set_major_locator(MaxNLocator(4))


def _regrets(study: Study, found: list[OracleComparison], width: float) -> Figure:
    height = max(3.2, 0.9 + NAME * len(study.arms))
    figure, axes = _panels(width, len(found), 2 if width >= WIDE else 1, height, sharey=False)
    for each, ax in zip(found, axes, strict=True):
        plots.regret(each.regrets, arms=study.arms, ax=ax)
        ax.set_title(
            f"Against the {each.name}\n{textwrap.fill(ax.get_title(loc='left'), 48)}", loc="left", size="small"
        )
    return figure


def _lines(lines: pd.DataFrame, width: float) -> Figure:
    pairs = lines[["arm_a", "arm_b"]].drop_duplicates().to_numpy().tolist()
    figure, axes = _panels(width, len(pairs), 2 if width >= WIDE else 1, 3.0, sharey=False)
    for (arm_a, arm_b), ax in zip(pairs, axes, strict=True):
        plots.loss_on_line(lines, arm_a=arm_a, arm_b=arm_b, ax=ax)
        ax.set_title(textwrap.fill(ax.get_title(loc="left"), 48), loc="left", size="small")
    return figure


def _plane(plane: pd.DataFrame, arms: list[str], width: float) -> Figure:
    figure = _figure(width, 4.2 if width >= WIDE else 3.4)
    plots.loss_plane(plane, arms=arms, ax=figure.add_subplot())
    return figure


def _matrices(study: Study, width: float, plot: Callable[..., Axes], label: str) -> Figure:
    arms = [arm for arm in study.arms if arm in set(study.evaluated["arm"])]
    wide, titles = width >= WIDE, plots.short_names(study.arms)
    numbers = wide and study.evaluated["evaluated_on"].max() < 12
    figure, axes = _panels(width, len(arms), 3 if wide else 2, 2.3 if numbers else 2.1, sharey=True)
    for arm, ax in zip(arms, axes, strict=True):
        plot(study.evaluated, arm=arm, numbers=numbers, colorbar=False, ax=ax)
        ax.set_title(titles[arm], loc="left", size="medium")
        ax.tick_params(labelsize="small")
        ax.set_xlabel("")
        ax.set_ylabel("")
    figure.supxlabel("tested on experience", size="medium")
    figure.supylabel("after training on experience", size="medium")
    if not numbers:
        figure.set_figheight(figure.get_figheight() + 0.6)
        figure.colorbar(axes[0].images[0], ax=axes, label=label, location="top", aspect=40)
    return figure


def _lr_sensitivity(study: Study, width: float) -> Figure:
    plateaus = tuning.plateau(study.tuning, study.primary)
    draw = partial(plots.lr_sensitivity, score=study.primary, plateaus=plateaus, rules=study.rules or None)
    return _beside_legend(width, 3.5, study.arms, draw, study.tuning)


def _expected_best(study: Study, expected: pd.DataFrame, width: float) -> Figure:
    figure = _single(width, 3.5, plots.expected_best, expected, score=study.primary, arms=study.arms)
    if study.tunes_options:
        figure.axes[0].set_xlabel("trials (learning rates with options tried)")
    return figure


def _at_options(study: Study) -> str:
    """Say what a line is where options were tuned, too."""
    if not study.tunes_options:
        return ""
    if study.protocol.get("search", "grid") == "grid":
        return " Where options were tuned, too, a line is at the chosen ones."
    return " Where options were drawn with the learning rate, every trial is a point."


def _options(study: Study, table: pd.DataFrame, width: float) -> Figure:
    drawn = {(row["arm"], row["option"]): None for row in records(table)}
    pairs = sorted(drawn, key=lambda pair: study.arms.index(pair[0]))
    limits = plots.shade_limits(table, study.primary)
    figure, axes = _panels(width, len(pairs), 2 if width >= WIDE else 1, 2.4, sharey=False)
    titles = plots.short_names(study.arms)
    for (arm, option), ax in zip(pairs, axes, strict=True):
        plots.option_map(table, score=study.primary, arm=arm, option=option, limits=limits, colorbar=False, ax=ax)
        ax.set_title(titles[arm], loc="left", size="medium")
        ax.tick_params(labelsize="small")
    label, unit, _ = plots.metric_axis(study.primary)
    figure.set_figheight(figure.get_figheight() + 0.6)
    colors = axes[0].images[0] if axes[0].images else axes[0].collections[-1]
    figure.colorbar(
        colors,
        ax=axes,
        label=f"{label} ({unit})" if unit else label,
        location="top",
        aspect=40,
        extend="min" if find(study.primary).sign > 0 else "max",
    )
    return figure


def _over_lr(study: Study) -> list[str]:
    """Return the metrics of adaptation that stand over the learning rate beside the score."""
    names = ["recovery_auc", "learning_curve_area", "drop", "area_lost", "recovery_steps", "recovered", "end_accuracy"]
    present = set(study.results.phase(study.results.metrics, "tune").dropna(subset="value")["metric"])
    return [name for name in names if name in present and name != study.primary]


def _adaptation(study: Study, table: pd.DataFrame, names: list[str], width: float) -> Figure:
    figure, axes = _panels(width, len(names), 2 if width >= WIDE else 1, 2.5, sharey=False)
    for name, ax in zip(names, axes, strict=True):
        rows = table[table["metric"] == name].assign(on_edge=False)
        plots.lr_sensitivity(rows, score=name, arms=study.arms, ax=ax)
        label, unit, _ = plots.metric_axis(name)
        ax.set_title(label, loc="left", size="medium")
        ax.set_ylabel(plots.with_direction(name, "", unit).strip(" ()"), size="small")
        ax.tick_params(labelsize="small")
        if ax is not axes[-1]:
            ax.set_xlabel("")
    return _legend_below(figure, width)


def _beside_legend(
    width: float, height: float, arms: list[str], plot: Callable[..., Axes], table: pd.DataFrame
) -> Figure:
    """Draw a figure whose legend stands beside it, or below it on a phone."""
    if width >= WIDE:
        return _single(width, max(height, 0.6 + 0.19 * len(arms)), plot, table, arms=arms)
    return _legend_below(_single(width, height, plot, table, arms=arms), width)


def _legend_below(figure: Figure, width: float) -> Figure:
    """Replace the legends beside the axes by a single one below them all, and make the figure higher by that."""
    handles: dict[str, Artist] = {}
    for ax in figure.axes:
        handles |= {arm: handle for handle, arm in zip(*ax.get_legend_handles_labels(), strict=True)}
        ax.get_legend().remove()  # type: ignore[union-attr]
    names = list(plots.short_names(handles).values())
    room = width / (0.5 + 0.065 * max(map(len, names)))
    columns = max(1, min(int(room), 6 if width >= WIDE else 3))
    figure.set_figheight(figure.get_figheight() + 0.3 + 0.18 * -(-len(names) // columns))
    options: dict[str, Any] = {"frameon": False, "fontsize": "small", "loc": "outside lower center"}
    figure.legend(list(handles.values()), names, ncols=columns, columnspacing=1.2, **options)
    return figure
