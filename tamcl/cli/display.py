"""What a study will take, and how far one is that another process trains, drawn on the terminal."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tamcl.errors import printable
from tamcl.files.records import read_sweep
from tamcl.findings.durations import duration
from tamcl.study.display import Display, Running, later, line, picture, summary
from tamcl.study.state import State
from tamcl.study.watch import Watcher, is_locked
from tamcl.sweeps import STUDIES, SWEEP, ordered

if TYPE_CHECKING:
    from tamcl.study.estimate import ArmPlan, Plan, Span
    from tamcl.study.train import Progress
    from tamcl.sweeps import SweptStudy

STACKS = "stacks (tasks x cells)"


class SweepDisplay:
    """Shows a sweep while it is trained here: a line for each study, and below it how far that one is.

    Parameters
    ----------
    name : str
        Of the scenario.
    total : int
        Number of studies.
    """

    def __init__(self, name: str, total: int) -> None:
        self.name, self.total, self.number = name, total, 0
        self.display: Display | None = None

    def __enter__(self) -> SweepDisplay:
        self.checking = later(printable(f"{self.name}: checking {self.total} studies"), sys.stderr)
        return self

    def __exit__(self, *error: object) -> None:
        self.pause()

    def pause(self) -> None:
        """Leave what is shown as it is, as before something else is printed."""
        self.checking.cancel()
        if self.display is not None:
            self.display.stop()

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

    def steps(self, running: Running) -> None:
        """Show how far the runs are that are trained now."""
        if self.display is not None:
            self.display.steps(running)


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


def show_plan(plan: Plan, directory: Path | None = None) -> None:
    """Print what a study will take, and how much of it is finished in its folder, if that is there."""
    console = Console(highlight=False, markup=False, emoji=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("arm", "cells", STACKS, "steps", "ms a step", "CPU time"):
        table.add_column(title, justify="left" if title in ("arm", STACKS) else "right", no_wrap=title == "arm")
    for name, arm in plan.arms.items():
        table.add_row(name, *_planned(arm, plan.steps))
    console.print(table)
    for said in _below(plan):
        print(said, file=console.file)
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
    changed: dict[str, list[str]] = {}
    for name, arm in plan.arms.items():
        if arm.interventions:
            changed.setdefault(arm.interventions, []).append(name)
    for what, names in changed.items():
        yield f"with {what}: {', '.join(names)}"
    for name, arm in plan.arms.items():
        if arm.groups:
            yield f"{name}: parameters in groups: {arm.groups}"
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


def _goes_on(state: State) -> bool:
    return not state.finished if state.running is None else state.running
