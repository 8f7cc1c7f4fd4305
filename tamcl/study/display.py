"""How far a study is while it is trained: a live table on a terminal and in a notebook, plain lines elsewhere."""

from __future__ import annotations

import io
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from math import isnan
from pathlib import Path
from threading import Timer
from typing import IO, Any, NamedTuple

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tamcl.arguments import function
from tamcl.engines.processes import OnSteps
from tamcl.errors import printable
from tamcl.findings.durations import duration
from tamcl.study.state import Arm, State
from tamcl.study.train import Progress
from tamcl.study.watch import Watcher

EVERY, LOOK = 10.0, 0.5
"""Seconds between two plain lines at least, where there is no terminal, and between two looks at the files."""

FIRST = 2.0
"""Seconds until the first line says what is going on, where nothing is finished yet."""

WIDTH, STYLE = 110, "line-height: normal; white-space: pre; overflow-x: auto"
"""Characters of a line in a notebook, and how they are set."""

Running = Sequence[tuple[int, int]]
"""The steps that each run, or stack of runs, has done, and all of them."""

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
        self.shown = self.looked = self.told = -EVERY
        self.state: State | None = None
        self.checking: Timer | None = None
        self.progress = Progress("", 0, 0, "")

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Show how it ended, and draw nothing any more."""
        self._checked()
        if self.live is not None:
            if self.watcher is not None:
                self.live.update(picture(self.watcher.read()))
            self.live.stop()

    def begin(self, what: str) -> None:
        """Say what is looked at before anything is trained, if that takes its time."""
        words = printable(f"{what}: checking data, model and a step of each arm")
        if isinstance(self.live, _Cell):
            self.live.update(Text(words))
        else:
            self.checking = later(words, self.console.file)

    def _checked(self) -> None:
        if self.checking is not None:
            self.checking.cancel()

    def steps(self, running: Running) -> None:
        """Show how far the runs are that are trained now."""
        now = self.clock()
        if self.state is None or not running:
            return
        if self.live is not None:
            if now - self.told >= 2 * LOOK:
                self.told = now
                self.live.update(picture(self.state, running))
        elif now - max(self.shown, self.told) >= (FIRST if self.told < 0 else EVERY):
            self.told = now
            print(printable(f"{self._cells()}, {steps_line(running)}"), file=self.console.file, flush=True)

    def _cells(self) -> str:
        phase, done, total, _ = self.progress
        return f"{PHASES.get(phase, phase)} {done}/{total} cells"

    def update(self, progress: Progress) -> None:
        """Show one more finished cell."""
        self._checked()
        now, at_end = self.clock(), progress.done in (0, progress.total)
        if not at_end and now - self.looked < LOOK:
            return
        self.looked, self.progress = now, progress
        self.watcher = self.watcher or Watcher(self.directory)
        self.state = state = self.watcher.read()
        if self.live is not None:
            self.live.start()
            self.live.update(picture(state))
        elif at_end or now - self.shown >= EVERY:
            self.shown = now
            print(printable(f"{self._cells()}{line(state)}"), file=self.console.file, flush=True)


def later(words: str, file: IO[str]) -> Timer:
    """Print a line some seconds from now, unless what this returns is cancelled before."""
    timer = Timer(FIRST, partial(print, words, file=file, flush=True))
    timer.daemon = True
    timer.start()
    return timer


class Told(NamedTuple):
    """What is to be called while a study is trained."""

    progress: Callable[[Progress], None]
    """After every cell."""
    steps: Callable[[Running], None]
    """While cells are trained, about twice a second."""


@contextmanager
def shown(
    directory: Path,
    name: str,
    progress: bool,
    on_progress: Callable[[Progress], object] | None = None,
    on_steps: OnSteps | None = None,
) -> Iterator[Told]:
    """Give what is to be called while a study is trained: it shows how far it is, if asked to, and calls others."""
    for what, given in (("on_progress", on_progress), ("on_steps", on_steps)):
        if given is not None:
            function(what, given)
    with Display(directory) if progress else nullcontext() as display:
        if display is not None:
            display.begin(name)

        def tell(now: Progress) -> None:
            if display is not None:
                display.update(now)
            if on_progress is not None:
                on_progress(now)

        def tell_steps(running: Running) -> None:
            if display is not None:
                display.steps(running)
            if on_steps is not None:
                on_steps(running)

        yield Told(tell, tell_steps)


class RunDisplay:
    """Shows how far runs are that belong to no study: a plain line now and then.

    Parameters
    ----------
    what : str
        What is trained.
    clock : callable
    """

    def __init__(self, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.what, self.clock, self.due, self.is_starting = what, clock, clock() + FIRST, False

    def steps(self, running: Running) -> None:
        """Show how far they are."""
        if self.clock() < self.due or (self.is_starting and not running):
            return
        self.is_starting = not running
        self.due = self.clock() + (EVERY if running else FIRST)
        doing = steps_line(running) if running else "starting"
        print(printable(f"{self.what}: {doing}"), file=sys.stderr, flush=True)


def steps_line(running: Running) -> str:
    """Say how far runs are that are trained at the same time.

    Examples
    --------
    >>> steps_line([(120, 5000)]), steps_line([(5000, 5000), (1000, 5000), (70, 90)])
    ('at step 120 of 5000', 'at step 1000 of 5000 to step 5000 of 5000, in 3 processes')
    """
    least, *_, most = sorted([*running, *running], key=lambda each: each[0] / max(1, each[1]))
    if len(running) == 1:
        return f"at step {least[0]} of {least[1]}"
    return f"at step {least[0]} of {least[1]} to step {most[0]} of {most[1]}, in {len(running)} processes"


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


def picture(state: State, running: Running = ()) -> RenderableType:
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
    steps = f", {steps_line(running)}" if running else ""
    return Group(Text(printable(summary(state) + _speed(state) + steps)), bars, table, *failures)


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
    yield "-" if arm.trial is None else str(arm.trial).removeprefix("lr ")
    yield "-" if isnan(arm.score) else f"{arm.score:.4g}"
    yield f"{arm.reported}/{arm.to_report}"
    yield "-" if isnan(arm.accuracy) else f"{100 * arm.accuracy:.1f} %"
    yield ", ".join(_bad([arm]))


def _bad(arms: Iterable[Arm]) -> list[str]:
    counts: Counter[str] = Counter()
    for arm in arms:
        counts.update(arm.bad)
    return [f"{count} {status}" for status, count in counts.items()]
