"""How far a study is, drawn: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
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
from tamcl.files.records import read_sweep
from tamcl.findings.durations import duration
from tamcl.study.state import Arm, State
from tamcl.study.watch import Watcher, is_locked
from tamcl.sweeps import STUDIES, SWEEP, ordered

if TYPE_CHECKING:
    from tamcl.study.estimate import ArmPlan, Plan, Span
    from tamcl.study.train import Progress
    from tamcl.sweeps import SweptStudy

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


class SweepDisplay:
    """Shows a sweep while it is trained here: a line for each study, and below it how far that one is.

    Parameters
    ----------
    total : int
        Number of studies.
    """

    def __init__(self, total: int) -> None:
        self.total, self.number = total, 0
        self.display: Display | None = None

    def __enter__(self) -> SweepDisplay:
        return self

    def __exit__(self, *error: object) -> None:
        self.pause()

    def pause(self) -> None:
        """Leave what is shown as it is, as before something else is printed."""
        if self.display is not None:
            self.display.live.stop()

    def begin(self, study: SweptStudy) -> None:
        """Show the next study."""
        self.pause()
        self.number += 1
        self.display = Display(study.directory)
        words = printable(f"{study.name} (study {self.number} of {self.total})")
        print(words, file=self.display.console.file, flush=True)

    def update(self, progress: Progress) -> None:
        """Show one more finished cell of the study."""
        if self.display is not None:
            self.display.update(progress)


def watch_sweep(
    directory: Path, *, once: bool = False, every: float = 2.0, sleep: Callable[[float], object] = time.sleep
) -> list[str]:
    """Show how far a sweep is, a line a study, until nobody trains it any more, and return what was seen last.

    Parameters
    ----------
    directory, once, every, sleep
        As of ``watch``.
    """
    console, watchers = Console(markup=False, emoji=False), dict[Path, Watcher]()
    seen: list[str] = []
    with Live(console=console, auto_refresh=False) if console.is_terminal else nullcontext() as live:
        while True:
            running = is_locked(directory)
            before, seen = seen, _sweep_lines(directory, watchers, running)
            if live:
                live.update(Text("\n".join(seen)), refresh=True)
            else:
                for words in seen if not before else [words for words in seen if words not in before]:
                    print(words, file=console.file, flush=True)
            if once or not running:
                return seen
            sleep(every)


def _sweep_lines(directory: Path, watchers: dict[Path, Watcher], running: bool | None) -> list[str]:
    """Return what a sweep is doing, and how far each of its studies is."""
    lines, finished = [], 0
    held = read_sweep(directory / SWEEP)
    for each in ordered(held["studies"]):
        folder = directory / STUDIES / each["folder"]
        if not (folder / "study.json").is_file():
            lines.append(f"{each['name']}: {each.get('error') or 'not begun'}")
            continue
        state = watchers.setdefault(folder, Watcher(folder)).read()
        finished += state.finished
        failed = f"; {each['error']}" if each.get("error") and not state.running else ""
        lines.append(f"{each['name']}: {summary(state).partition(': ')[2]}{line(state)}{failed}")
    doing = "running" if running else "finished" if finished == len(lines) else "not finished"
    name = held["scenario"].get("name", "")
    return [printable(each) for each in (f"{name}: {doing}, {finished}/{len(lines)} studies finished", *lines)]


def show_sweep_plan(plans: Mapping[str, Plan], directory: Path) -> None:
    """Print what each study of a sweep will take, and all of them."""
    console = Console(highlight=False, markup=False, emoji=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("study", "cells", "finished", "time"):
        table.add_column(title, justify="left" if title == "study" else "right")
    for name, plan in plans.items():
        cells = _between(plan.cells, "{:.0f}".format)
        table.add_row(printable(name), cells, str(plan.finished), _between(plan.wall_s, duration))
    console.print(table)
    for why in dict.fromkeys(
        f"{arm}: not measured, and left out of the time: {each.why_unknown}"
        for plan in plans.values()
        for arm, each in plan.arms.items()
        if each.why_unknown
    ):
        print(why, file=console.file)
    jobs = next(iter(plans.values())).jobs
    wall, size = (_summed(getattr(plan, name) for plan in plans.values()) for name in ("wall_s", "bytes"))
    processes = f"{jobs} processes" if jobs > 1 else "1 process"
    time_ = f"about {_between(wall, duration)} with {processes} on an idle machine"
    print(f"{len(plans)} studies in {directory}: {time_}, then the reports", file=console.file)
    if not any(map(isnan, size)):
        print(f"about {_between(size, _megabytes)} of disk", file=console.file)


def _summed(spans: Iterable[Span]) -> Span:
    least, most = map(sum, zip(*spans, strict=True))
    return least, most


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
