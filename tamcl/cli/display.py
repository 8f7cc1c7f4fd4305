"""How far a study is, drawn: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tamcl.errors import printable
from tamcl.findings.durations import duration
from tamcl.study.state import Arm, State
from tamcl.study.watch import Watcher

if TYPE_CHECKING:
    from tamcl.study.estimate import ArmPlan, Plan, Span
    from tamcl.study.train import Progress

EVERY, LOOK = 10.0, 0.5
"""Seconds between two plain lines at least, where there is no terminal, and between two looks at the files."""

STACKS = "stacks (tasks x cells)"

PHASES = {"tune": "tuning", "report": "reporting"}


class Display:
    """Shows a study while it is trained here: cells done, steps a second, time left, accuracy by arm so far.

    On a terminal it is a table that is drawn anew in place; elsewhere a plain line at the ends of each phase and every
    ten seconds at most.

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
        self.live = Live(console=self.console, refresh_per_second=4, transient=False)
        self.shown = self.looked = -EVERY

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *error: object) -> None:
        self.live.stop()

    def update(self, progress: Progress) -> None:
        """Show one more finished cell."""
        now, at_end = self.clock(), progress.done in (0, progress.total)
        if not at_end and now - self.looked < LOOK:
            return
        self.looked = now
        self.watcher = self.watcher or Watcher(self.directory)
        state = self.watcher.read()
        if self.console.is_terminal:
            self.live.start()
            self.live.update(picture(state))
        elif at_end or now - self.shown >= EVERY:
            self.shown = now
            phase = PHASES.get(progress.phase, progress.phase)
            words = printable(f"{phase} {progress.done}/{progress.total} cells{line(state)}")
            print(words, file=self.console.file, flush=True)


def watch(
    directory: Path, *, once: bool = False, every: float = 2.0, sleep: Callable[[float], object] = time.sleep
) -> State:
    """Show how far a study is until it is finished or nobody trains it any more, and return what was seen last.

    Parameters
    ----------
    directory : Path
    once : bool
        Whether to show it once and leave.
    every : float
        Seconds between two looks.
    sleep : callable
    """
    watcher, console = Watcher(directory), Console(markup=False, emoji=False)
    state = watcher.read()
    if not console.is_terminal:
        console.print(picture(state))
    with Live(picture(state), console=console, auto_refresh=False) if console.is_terminal else nullcontext() as live:
        while not once and _goes_on(state):
            sleep(every)
            before, state = state, watcher.read()
            if live:
                live.update(picture(state), refresh=True)
            elif state.arms != before.arms or not _goes_on(state):
                print(printable(summary(state) + line(state)), file=console.file, flush=True)
    return state


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


def show_plan(plan: Plan, directory: Path | None = None) -> None:
    """Print what a study will take, and how much of it is finished in its folder, if that is there."""
    console = Console(highlight=False, markup=False, emoji=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("arm", "cells", STACKS, "steps", "ms a step", "CPU time"):
        table.add_column(title, justify="left" if title in ("arm", STACKS) else "right", no_wrap=title == "arm")
    for name, arm in plan.arms.items():
        table.add_row(name, *_planned(arm, plan.steps))
    console.print(table)
    for line in _below(plan):
        print(line, file=console.file)
    if directory is not None and directory.is_dir():
        of = _between(plan.cells, "{:.0f}".format)
        rest = ", and not in the times" if plan.finished else ""
        print(f"{plan.finished} of {of} cells are finished already in {directory}{rest}", file=console.file)


def _planned(arm: ArmPlan, steps: int) -> Iterator[str]:
    yield f"{_between(arm.tune, '{:.0f}'.format)} + {arm.report}"
    sizes = Counter(arm.tasks)
    stacks = ", ".join(f"{number} x {size}" for size, number in sorted(sizes.items(), reverse=True))
    yield "one by one" if arm.why_alone else stacks or "-"
    yield str(steps)
    yield "-" if isnan(ms := arm.ms_per_step) else f"{ms:.2f}" if ms < 10 else f"{ms:.0f}"
    yield "not measured" if arm.why_unknown else _between(arm.seconds, duration)


def _below(plan: Plan) -> Iterator[str]:
    """Yield what is said of several arms, and of the whole study."""
    alone: dict[str, list[str]] = {}
    for name, arm in plan.arms.items():
        if arm.why_alone:
            alone.setdefault(arm.why_alone, []).append(name)
        if arm.why_unknown:
            yield f"{name}: not measured, and left out of the time: {arm.why_unknown}"
    for why, names in alone.items():
        yield f"one by one: {', '.join(names)}: {why}"
    others: dict[str, list[str]] = {}
    for name, arm in plan.arms.items():
        if arm.why_not_compiled:
            others.setdefault(arm.why_not_compiled, []).append(name)
    for why, names in others.items():
        yield f"not compiled: {', '.join(names)}: {why}"
    if compiling := {name: arm.compile_s for name, arm in plan.arms.items() if arm.compile_s}:
        each = ", ".join(f"{name} {duration(seconds)}" for name, seconds in compiling.items())
        yield f"to compile, once in every process, less if it was done before on this machine: {each}"
    tune, report = plan.tune, sum(arm.report for arm in plan.arms.values())
    whole = "{:.0f}".format
    yield f"{_between(plan.cells, whole)} cells: {_between(tune, whole)} to choose learning rates, {report} reported"
    jobs = f"{plan.jobs} processes" if plan.jobs > 1 else "1 process"
    yield f"about {_between(plan.wall_s, duration)} with {jobs} on an idle machine, start included, then the report"
    if not any(map(isnan, plan.bytes)):
        yield f"about {_between(plan.bytes, _megabytes)} of disk"


def _between(span: Span, say: Callable[[float], str]) -> str:
    """Return a number, or what it is at least and at most."""
    least, most = map(say, span)
    return least if least == most else f"{least} to {most}"


def _megabytes(number: float) -> str:
    return f"{number / 1e6:.0f} MB" if number < 1e9 else f"{number / 1e9:.1f} GB"


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


def _goes_on(state: State) -> bool:
    return not state.finished if state.running is None else state.running


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
