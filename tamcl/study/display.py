"""How far a study is while it is trained: a live table on a terminal and in a notebook, plain lines elsewhere."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from math import isnan
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tamcl.arguments import function
from tamcl.errors import printable
from tamcl.findings.durations import duration
from tamcl.study.state import Arm, State
from tamcl.study.train import Progress
from tamcl.study.watch import Watcher

EVERY, LOOK = 10.0, 0.5
"""Seconds between two plain lines at least, where there is no terminal, and between two looks at the files."""

WIDTH, STYLE = 110, "line-height: normal; white-space: pre; overflow-x: auto"
"""Characters of a line in a notebook, and how they are set."""

PHASES = {"tune": "tuning", "report": "reporting"}


class Display:
    """Shows a study while it is trained here: cells done, steps a second, time left, accuracy by arm so far.

    On a terminal and in a notebook it is a table that is drawn anew in place; elsewhere a plain line at the ends of
    each phase and every ten seconds at most.

    Parameters
    ----------
    directory : Path
        The study's folder.
    console : Console, optional
        Where to write; the standard error if absent.
    clock : callable
    """

    def __init__(
        self, directory: Path, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.directory, self.clock = directory, clock
        self.console = console or Console(stderr=True, markup=False, emoji=False)
        self.watcher: Watcher | None = None
        in_notebook = self.console.is_jupyter
        self.live: Any = None
        if in_notebook or self.console.is_terminal:
            self.live = _Cell() if in_notebook else Live(console=self.console, refresh_per_second=4, transient=False)
        self.shown = self.looked = -EVERY

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Show how it ended, and draw nothing any more."""
        if self.live is not None:
            if self.watcher is not None:
                self.live.update(picture(self.watcher.read()))
            self.live.stop()

    def update(self, progress: Progress) -> None:
        """Show one more finished cell."""
        now, at_end = self.clock(), progress.done in (0, progress.total)
        if not at_end and now - self.looked < LOOK:
            return
        self.looked = now
        self.watcher = self.watcher or Watcher(self.directory)
        state = self.watcher.read()
        if self.live is not None:
            self.live.start()
            self.live.update(picture(state))
        elif at_end or now - self.shown >= EVERY:
            self.shown = now
            phase = PHASES.get(progress.phase, progress.phase)
            words = printable(f"{phase} {progress.done}/{progress.total} cells{line(state)}")
            print(words, file=self.console.file, flush=True)


@contextmanager
def shown(
    directory: Path, progress: bool, on_progress: Callable[[Progress], object] | None = None
) -> Iterator[Callable[[Progress], None]]:
    """Give what is to be called after every cell: it shows how far the study is, if asked to, and calls another."""
    if on_progress is not None:
        function("on_progress", on_progress)
    with Display(directory) if progress else nullcontext() as display:

        def tell(now: Progress) -> None:
            if display is not None:
                display.update(now)
            if on_progress is not None:
                on_progress(now)

        yield tell


class _Cell:
    """Stands in for rich's ``Live`` in a notebook, where that needs more packages: the output of a cell, updated."""

    def __init__(self) -> None:
        self.shown: Any = None

    def start(self) -> None:
        """Wait for what is to be shown."""

    def stop(self) -> None:
        """Leave what is shown."""

    def update(self, drawn: RenderableType) -> None:
        """Show a picture in place of the one before."""
        from IPython.display import display

        with io.StringIO() as written:
            console = Console(file=written, record=True, width=WIDTH, force_jupyter=False, markup=False, emoji=False)
            console.print(drawn)
            text = console.export_text(clear=False)
            html = console.export_html(inline_styles=True, code_format=f'<pre style="{STYLE}">{{code}}</pre>')
        data = {"text/plain": text, "text/html": html}
        if self.shown is None:
            self.shown = display(data, raw=True, display_id=True)
        else:
            self.shown.update(data, raw=True)


def picture(state: State) -> RenderableType:
    """Return a line, a bar for each phase, a row for each arm, and a line for each failure."""
    bars = Table.grid(padding=(0, 1))
    for phase, title in PHASES.items():
        done, total = state.count(phase)
        if total:
            bars.add_row(title, ProgressBar(total=total, completed=done, width=30), f"{done}/{total} cells")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    score = printable(f"its {state.tune_by.replace('_', ' ')}")
    titles = ("arm", "tuning", "best lr", score, "reporting", "online accuracy", "")
    for title in titles:
        table.add_column(title, justify="left" if title in ("arm", "") else "right", no_wrap=title == "arm")
    for name, arm in state.arms.items():
        table.add_row(printable(name), *map(printable, _row(arm)))
    failures = [Text(printable(f"failed: {failure}")) for failure in state.failures[:5]]
    if len(state.failures) > 5:
        failures.append(Text(f"and {len(state.failures) - 5} more that failed"))
    return Group(Text(printable(summary(state) + _speed(state))), bars, table, *failures)


def summary(state: State) -> str:
    """Return what the study is doing, and how many cells are done."""
    done, total = (sum(numbers) for numbers in zip(*(state.count(phase) for phase in PHASES), strict=True))
    return f"{state.name}: {_doing(state)}, {done}/{total} cells"


def line(state: State) -> str:
    """Return speed, time left and the accuracy by arm so far, as they go on after a number of cells."""
    parts = [_speed(state)]
    known = [f"{name} {100 * arm.accuracy:.1f}" for name, arm in state.arms.items() if not isnan(arm.accuracy)]
    if known:
        parts.append(f"; online accuracy (%): {', '.join(known)}")
    parts += [f"; {text}" for text in _bad(state.arms.values())]
    return "".join(parts)


def _speed(state: State) -> str:
    if state.finished or state.running is False or isnan(state.steps_per_second):
        return ""
    left = f", {duration(state.seconds_left)} left" if state.seconds_left > 0 else ""
    return f", {state.steps_per_second:.0f} steps/s{left}"


def _doing(state: State) -> str:
    if state.finished:
        return "finished"
    if state.running:
        return "running"
    since = f", last cell {duration(max(0.0, time.time() - state.last))} ago" if not isnan(state.last) else ""
    return f"{'stopped' if state.running is False else 'not finished'}{since}"


def _row(arm: Arm) -> Iterator[str]:
    yield f"{arm.tuned}/{arm.to_tune}" if arm.to_tune else "-"
    yield "-" if isnan(arm.lr) else f"{arm.lr:g}"
    yield "-" if isnan(arm.score) else f"{arm.score:.4g}"
    yield f"{arm.reported}/{arm.to_report}"
    yield "-" if isnan(arm.accuracy) else f"{100 * arm.accuracy:.1f} %"
    yield ", ".join(_bad([arm]))


def _bad(arms: Iterable[Arm]) -> list[str]:
    counts: Counter[str] = Counter()
    for arm in arms:
        counts.update(arm.bad)
    return [f"{count} {status}" for status, count in counts.items()]
