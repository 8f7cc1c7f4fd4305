"""How far a study is, read from files: counts and rates by hand, no lock taken, nothing in the folder changed."""

from __future__ import annotations

import io
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from tamcl.cli.display import watch
from tamcl.cli.main import main
from tamcl.errors import InputError
from tamcl.findings.durations import duration
from tamcl.results import empty, read_table, write_table
from tamcl.scenario.load import load_scenario
from tamcl.strategies import heartbeat
from tamcl.study.compare import compare
from tamcl.study.display import Display, RunDisplay, line, picture, summary
from tamcl.study.folder import LOCK, locked
from tamcl.study.state import Done, state
from tamcl.study.train import Progress
from tamcl.study.watch import Watcher, is_locked
from tests.synthetic_study import write_study

ARMS = ("sgdm", "tam")
NOW = 1_700_000_000.0


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study as its tables alone: 2 arms x (4 lr x 3 tuning seeds + 5 seeds)."""
    directory = tmp_path_factory.mktemp("whole")
    write_study(directory, arms=ARMS, experiences=2, steps=20)
    return directory


def cut(whole: Path, directory: Path, phase: str = "tune", count: int = 99, seconds: float = 2.0) -> None:
    """Write the first cells of a phase as folders of their own, finished one after the other."""
    runs, online, evaluated = (read_table(whole, name) for name in ("runs", "online", "eval"))
    shutil.copy(whole / "study.json", directory / "study.json")
    for place, (_, run) in enumerate(runs[runs["phase"] == phase].head(count).iterrows()):
        cell = directory / "cells" / f"{run['arm']}-{run['lr']}-{run['seed']}"
        own = {"arm": run["arm"], "lr": run["lr"], "seed": run["seed"]}
        write_table(cell, "runs", run.to_frame().T.assign(wall_s=seconds))
        for name, table in (("online", online), ("eval", evaluated)):
            write_table(cell, name, table[(table[list(own)] == own).all(axis=1)])
        os.utime(cell, (NOW + 2 * place, NOW + 2 * place))


def replace(cell: Path, **values: Any) -> None:
    """Change values of a cell's row of runs; it has no rows of its own any more."""
    write_table(cell, "runs", read_table(cell, "runs").assign(**values))
    for name in ("online", "eval"):
        write_table(cell, name, empty(name))


def test_counts_best_rate_and_accuracy_by_hand(whole: Path, tmp_path: Path) -> None:
    cut(whole, tmp_path)
    state = Watcher(tmp_path).read()
    assert (state.count("tune"), state.count("report")) == ((24, 24), (0, 10))
    assert state.running is False
    assert not state.finished
    online = read_table(whole, "online")
    tuned = online[online["seed"] >= 1000].groupby(["arm", "lr", "seed"])[["correct", "n"]].sum()
    means = (tuned["correct"] / tuned["n"]).groupby(["arm", "lr"]).mean()
    for arm in ARMS:
        assert state.arms[arm].trial.lr == means[arm].idxmax()
        assert state.arms[arm].score == pytest.approx(means[arm].max())
        assert state.arms[arm].accuracy == pytest.approx(means[arm].max())
        assert state.arms[arm][:4] == (12, 12, 0, 5)


def test_speed_and_time_left_are_those_of_the_last_cells(whole: Path, tmp_path: Path) -> None:
    cut(whole, tmp_path)
    state = Watcher(tmp_path).read()  # a cell of 40 mini-batches every 2 seconds, and 10 are left
    assert state.steps_per_second == pytest.approx(20)
    assert state.seconds_left == pytest.approx(20)
    assert summary(state).startswith("label_flip_digits: stopped, last cell ")
    assert line(state).startswith("; online accuracy (%): sgdm ")


def test_speed_counts_mini_batches_where_a_row_holds_several(whole: Path, tmp_path: Path) -> None:
    cut(whole, tmp_path)
    study = json.loads((whole / "study.json").read_text())
    study["scenario"]["evaluation"] = {"batches": 5}
    (tmp_path / "study.json").write_text(json.dumps(study))
    assert Watcher(tmp_path).read().steps_per_second == pytest.approx(5 * 20)


def test_a_study_is_unfinished_while_a_cell_is_newer_than_its_tables(whole: Path, tmp_path: Path) -> None:
    cut(whole, tmp_path, count=3)
    last, tables = NOW + 2 * 2, tmp_path / "comparisons.parquet"
    shutil.copy(whole / "comparisons.parquet", tables)
    found = []
    for written in (last - 1, last + 1):
        os.utime(tables, (written, written))
        found.append(Watcher(tmp_path).read().finished)
    assert found == [False, True]


def test_a_clock_that_went_back_makes_no_finished_study_unfinished(whole: Path, tmp_path: Path) -> None:
    cut(whole, tmp_path)
    cells = [*(tmp_path / "cells").iterdir()]
    run = read_table(cells[0], "runs").assign(status="failed", wall_s=float("nan"))
    write_table(cells[0], "runs", run)
    gathered = read_table(whole, "runs").assign(wall_s=2.0)
    key = ["arm", "lr", "seed"]
    gathered = gathered[(gathered[key] != run[key].iloc[0]).any(axis=1)]
    write_table(tmp_path, "runs", pd.concat([gathered, run]))
    shutil.copy(whole / "comparisons.parquet", tmp_path)
    os.utime(tmp_path / "comparisons.parquet", (NOW - 3600, NOW - 3600))
    for cell in cells:
        os.utime(cell, (NOW, NOW))
    assert Watcher(tmp_path).read().finished
    assert summary(Watcher(tmp_path).read()).startswith("label_flip_digits: finished, ")
    write_table(cells[1], "runs", read_table(cells[1], "runs").assign(wall_s=3.0))  # trained again, not gathered
    os.utime(cells[1], (NOW, NOW))
    assert not Watcher(tmp_path).read().finished


def test_more_reported_seeds_than_are_asked_for_are_all_counted(whole: Path, tmp_path: Path) -> None:
    cut(whole, tmp_path, "report")
    study = json.loads((whole / "study.json").read_text())
    study["scenario"]["protocol"]["seeds"] = 2
    (tmp_path / "study.json").write_text(json.dumps(study))
    assert Watcher(tmp_path).read().count("report") == (10, 10)


def test_cells_trained_at_once_and_a_pause_are_seen(whole: Path, tmp_path: Path) -> None:
    cut(whole, tmp_path, seconds=4.0)  # every 2 seconds a cell that took 4: two at once
    cells = sorted((tmp_path / "cells").iterdir(), key=lambda path: path.stat().st_mtime)
    os.utime(cells[0], (NOW - 9999, NOW - 9999))
    for cell in cells[1:15]:
        os.utime(cell, (NOW - 5000, NOW - 5000))
    state = Watcher(tmp_path).read()
    assert state.steps_per_second == pytest.approx(9 * 40 / 20)  # nine cells, from 4 s before the first one's end
    assert state.seconds_left == pytest.approx(10 * 4 / (9 * 4 / 20))


def finish(cells: Sequence[Path], at: float) -> None:
    """Let cells have been written one right after the other, the last of them then."""
    for place, cell in enumerate(reversed(cells)):
        os.utime(cell, (at - 0.02 * place, at - 0.02 * place))


def cells_of(directory: Path, arm: str) -> list[Path]:
    return sorted((directory / "cells").glob(f"{arm}-*"))


def test_a_stack_is_one_computation_of_which_each_cell_has_a_share(whole: Path, tmp_path: Path) -> None:
    cut(whole, tmp_path, seconds=10.0)  # 2 arms x 12 cells of 40 rows
    cells = cells_of(tmp_path, "sgdm")
    for path in [*cells[4:], *cells_of(tmp_path, "tam")]:
        shutil.rmtree(path)
    finish(cells[:4], NOW)  # four cells in 40 s, and 8 + 12 + 10 are left
    state = Watcher(tmp_path).read()
    assert state.steps_per_second == pytest.approx(4 * 40 / 40)
    assert state.seconds_left == pytest.approx(30 * 10)
    for cell in cells[2:4]:  # while the last two are being written
        shutil.rmtree(cell)
    assert Watcher(tmp_path).read().steps_per_second == pytest.approx(2 * 40 / 20)


def done(seed: int, finished: float, seconds: float) -> Done:
    """A finished tuning cell of 100 rows."""
    cell = {"arm": "sgdm", "lr": 0.1, "options": "", "seed": seed, "phase": "tune"}
    row = cell | {"status": "ok", "error": "", "stacked": False}
    return Done(**row, accuracy=0.5, score=0.5, steps=100, seconds=seconds, finished=finished)


def test_what_was_finished_before_a_study_went_on_is_not_in_its_speed() -> None:
    protocol = {"seeds": 0, "tune_seeds": 20, "tune_by": "online_accuracy"}
    study = {"scenario": {"name": "s", "arms": {"sgdm": {"lr": [0.1, 0.2]}}, "protocol": protocol}}
    of_four = [done(seed, finished=10.0 * (1 + seed // 4), seconds=10.0) for seed in range(12)]  # processes, up to 30 s
    read = partial(state, study, running=True, finished=False)
    assert read(of_four).seconds_left == pytest.approx(28 * 10 / 4)
    again = read(of_four, since=45.0)  # by one process
    assert math.isnan(again.steps_per_second)
    assert math.isnan(again.seconds_left)
    with_one = read([*of_four, done(12, finished=57.0, seconds=10.0)], since=45.0)
    assert with_one.steps_per_second == pytest.approx(100 / 10)
    assert with_one.seconds_left == pytest.approx(27 * 10)
    from_checkpoint = read([*of_four, done(12, finished=50.0, seconds=10.0)], since=45.0)  # half of it was done before
    assert from_checkpoint.seconds_left == pytest.approx(27 * 10)


def test_since_when_a_study_is_trained_is_told_by_its_lock(whole: Path, tmp_path: Path) -> None:
    cut(whole, tmp_path)  # 24 cells, one every two seconds
    assert Watcher(tmp_path).read().steps_per_second == pytest.approx(20)
    left_behind = tmp_path / LOCK
    left_behind.touch()
    os.utime(left_behind, (NOW + 45, NOW + 45))  # the last was finished a second later
    assert Watcher(tmp_path).read().steps_per_second == pytest.approx(40)
    with locked(tmp_path, json.loads((tmp_path / "study.json").read_text())):
        assert math.isnan(Watcher(tmp_path).read().seconds_left)


@pytest.mark.parametrize(("ends", "at_once"), [((40, 80, 120), 1.0), ((40, 40.1, 80, 80.1, 120, 120.1), 2.0)])
def test_stacks_one_after_another_or_two_at_a_time(
    ends: tuple[float, ...], at_once: float, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tamcl.study.state.RECENT", 8)
    cut(whole, tmp_path, seconds=10.0)
    cells = [cells_of(tmp_path, arm) for arm in ("sgdm", "tam")]
    stacks = [own[place : place + 4] for place in (0, 4, 8) for own in cells][:: 2 if len(ends) == 3 else 1]
    for cell in {*cells[0], *cells[1]} - {cell for stack in stacks for cell in stack}:
        shutil.rmtree(cell)
    for stack, end in zip(stacks, ends, strict=True):
        finish(stack, NOW + end)
    state = Watcher(tmp_path).read()
    assert state.steps_per_second == pytest.approx(at_once * 4 * 40 / 40, rel=0.01)
    assert state.seconds_left == pytest.approx((34 - 4 * len(ends)) * 10 / at_once, rel=0.01)


def test_cells_trained_alone_that_end_together_are_no_stack(whole: Path, tmp_path: Path) -> None:
    cut(whole, tmp_path, seconds=10.0)
    cells = cells_of(tmp_path, "sgdm")
    for path in [*cells[4:], *cells_of(tmp_path, "tam")]:
        shutil.rmtree(path)
    for cell in cells[:4]:
        write_table(cell, "runs", read_table(cell, "runs").assign(stacked=False))
    finish(cells[:4], NOW)  # by four processes
    assert Watcher(tmp_path).read().steps_per_second == pytest.approx(4 * 40 / 10, rel=0.01)


def test_what_is_left_takes_what_cells_of_its_phase_take(whole: Path, tmp_path: Path) -> None:
    cut(whole, tmp_path, count=24, seconds=2.0)
    cut(whole, tmp_path, "report", count=1, seconds=8.0)  # sgdm's first, with its diagnostics
    os.utime(max((tmp_path / "cells").iterdir(), key=lambda path: "1000" not in path.name), (NOW + 54, NOW + 54))
    state = Watcher(tmp_path).read()
    assert state.count("report")[0] == 1
    assert state.seconds_left == pytest.approx(4 * 8 + 5 * 2)  # tam's are known by its tuning cells alone


def test_cells_that_differ_in_their_code_alone_are_both_read_and_the_newest_counts(whole: Path, tmp_path: Path) -> None:
    cut(whole, tmp_path, count=3)
    (first, *_) = sorted((tmp_path / "cells").iterdir(), key=lambda path: path.stat().st_mtime)
    newer = shutil.copytree(first, first.with_name("newer"))
    write_table(newer, "online", read_table(newer, "online").assign(correct=0))
    os.utime(newer, (NOW + 99, NOW + 99))
    watcher = Watcher(tmp_path)
    assert watcher.read().count("tune") == (3, 24)
    assert len(watcher.cells) == 4
    assert (watcher.cells["newer"].accuracy, watcher.cells["newer"].steps) == (0.0, 40)
    assert watcher.cells[first.name].accuracy > 0


def test_failed_diverged_and_damaged_cells(whole: Path, tmp_path: Path) -> None:
    cut(whole, tmp_path)
    best = Watcher(tmp_path).read().arms["tam"].trial.lr
    cells = {path.name: path for path in (tmp_path / "cells").iterdir()}
    replace(cells[f"tam-{best}-1000"], status="diverged", error="the loss was nan")
    replace(cells[f"tam-{best}-1001"], status="failed", error="WorkerDied: the process was killed by SIGKILL")
    (cells["sgdm-0.1-1000"] / "online.parquet").write_bytes(b"half a ta")
    (tmp_path / "cells" / ".sgdm-being-written.1").mkdir()
    (tmp_path / "cells" / "sgdm-just-replaced").mkdir()
    state = Watcher(tmp_path).read()
    assert state.arms["tam"].bad == {"diverged": 1, "failed": 1}
    assert state.arms["tam"].tuned == 11  # one that failed is tried again
    assert state.arms["sgdm"].tuned == 11
    assert state.arms["tam"].trial.lr != best
    assert state.failures == (f"tam lr {best:g} seed 1001: WorkerDied: the process was killed by SIGKILL",)
    shown = io.StringIO()
    Console(file=shown, width=120).print(picture(state))
    assert "1 diverged, 1 failed" in shown.getvalue()
    assert "failed: tam lr" in shown.getvalue()


def test_a_watcher_sees_cells_come_change_and_go(whole: Path, tmp_path: Path) -> None:
    cut(whole, tmp_path, count=3)
    watcher = Watcher(tmp_path)
    assert watcher.read().count("tune") == (3, 24)
    cut(whole, tmp_path, count=4)
    assert watcher.read().count("tune") == (4, 24)
    shutil.rmtree(next((tmp_path / "cells").iterdir()))
    assert watcher.read().count("tune") == (3, 24)


def test_reported_cells_of_a_rate_chosen_before_do_not_count(whole: Path, tmp_path: Path) -> None:
    cut(whole, tmp_path)
    cut(whole, tmp_path, phase="report")
    best = Watcher(tmp_path).read().arms["tam"].trial.lr
    reported = [path for path in (tmp_path / "cells").iterdir() if path.name.split("-")[0] == "tam"]
    reported = sorted(path for path in reported if int(path.name.split("-")[-1]) < 1000)
    assert len(reported) == 5
    for path in reported:  # as if another rate had been chosen then, and its accuracy had been 0
        for name in ("runs", "online", "eval"):
            table = read_table(path, name).assign(lr=9.0)
            write_table(path, name, table.assign(correct=0) if name == "online" else table)
        os.utime(path, (NOW - 100, NOW - 100))
    state = Watcher(tmp_path).read()
    assert (state.arms["tam"].trial.lr, state.arms["tam"].reported, state.arms["tam"].to_report) == (best, 0, 5)
    assert state.arms["tam"].accuracy > 0
    assert state.seconds_left > 0
    new = tmp_path / "cells" / "new"
    shutil.copytree(reported[0], new)
    online = read_table(whole, "online").query("arm == 'tam' and seed == 0")
    write_table(new, "runs", read_table(new, "runs").assign(lr=best))
    write_table(new, "online", online)
    write_table(new, "eval", read_table(whole, "eval").query("arm == 'tam' and seed == 0"))
    os.utime(new, (NOW + 999, NOW + 999))
    state = Watcher(tmp_path).read()
    assert (state.arms["tam"].trial.lr, state.arms["tam"].reported) == (best, 1)
    assert state.arms["tam"].accuracy == pytest.approx(online["correct"].sum() / online["n"].sum())
    assert state.arms["sgdm"].reported == 5


def test_repeated_cells_of_another_rate_do_not_count(whole: Path, tmp_path: Path) -> None:
    cut(whole, tmp_path, phase="report")
    study = json.loads((whole / "study.json").read_text())
    for arm in ARMS:
        study["scenario"]["arms"][arm]["lr"] = [0.05 if arm == "tam" else 0.1]
    (tmp_path / "study.json").write_text(json.dumps(study))
    arms = Watcher(tmp_path).read().arms
    assert (arms["tam"].trial.lr, arms["tam"].reported, arms["sgdm"].reported) == (0.05, 0, 5)


def test_a_finished_study_is_read_from_its_tables_where_the_cells_are_gone(whole: Path) -> None:
    state = Watcher(whole).read()
    assert state.finished
    assert (state.count("tune"), state.count("report")) == ((24, 24), (10, 10))
    online = read_table(whole, "online").query("seed < 1000 and arm == 'tam'").groupby("seed")[["correct", "n"]].sum()
    assert state.arms["tam"].accuracy == pytest.approx((online["correct"] / online["n"]).mean())
    assert state.seconds_left == 0
    assert summary(state) == "label_flip_digits: finished, 34/34 cells"


def test_arms_of_one_rate_searches_and_rates_added_are_counted(whole: Path, tmp_path: Path) -> None:
    study = json.loads((whole / "study.json").read_text())
    study["scenario"]["arms"]["sgdm"]["lr"] = [0.1]
    study["tried"] = {"tam": [0.1, 0.2, 0.4, 0.8, 1.6]}
    (tmp_path / "study.json").write_text(json.dumps(study))
    state = Watcher(tmp_path).read()
    assert (state.arms["sgdm"].to_tune, state.arms["tam"].to_tune) == (0, 15)
    assert state.arms["sgdm"].trial.lr == 0.1
    assert all(math.isnan(value) for value in (state.steps_per_second, state.seconds_left, state.last))
    study["scenario"]["protocol"]["trials"] = 7
    (tmp_path / "study.json").write_text(json.dumps(study | {"tried": {}}))
    assert Watcher(tmp_path).read().arms["tam"].to_tune == 21


def test_who_trains_is_seen_without_taking_the_lock(whole: Path, tmp_path: Path) -> None:
    study = json.loads((whole / "study.json").read_text()) | {"data": {"checksum": ""}}
    assert is_locked(tmp_path) is False
    with locked(tmp_path, study):
        assert is_locked(tmp_path) is True
        assert Watcher(tmp_path).read().running is True
        with pytest.raises(InputError, match="another tamcl is at work"), locked(tmp_path, study):
            pass
    assert is_locked(tmp_path) is False


def test_without_locks_it_is_not_known(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tamcl.files.lock.KNOWN", False)
    (tmp_path / LOCK).touch()  # as whoever trains has it
    cut(whole, tmp_path, count=2)
    looks = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        for path in whole.glob("*.parquet"):
            shutil.copy(path, tmp_path)

    assert watch(tmp_path, sleep=sleep).finished
    assert looks == [2.0]
    assert capsys.readouterr().out.splitlines()[-1].startswith("label_flip_digits: finished, 2/34 cells")


def test_watch_changes_nothing_in_the_folder(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut(whole, tmp_path, count=3)
    before = {path: path.stat().st_mtime_ns for path in [tmp_path, *tmp_path.rglob("*")]}
    assert main(["watch", str(tmp_path), "--once"]) == 0
    assert {path: path.stat().st_mtime_ns for path in [tmp_path, *tmp_path.rglob("*")]} == before
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "3/24 cells" in printed
    assert main(["watch", str(tmp_path)]) == 0  # nobody is at work: there is nothing to wait for


@pytest.mark.parametrize("place", ["nothing", "empty"])
def test_a_wrong_folder_is_one_line_and_status_2(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["watch", str(tmp_path / place)]) == 2
    assert capsys.readouterr().err == f"tamcl: '{tmp_path / place}' holds no study: study.json not found\n"


def test_ctrl_c_ends_watch_with_130_and_without_a_word(whole: Path, tmp_path: Path) -> None:
    study = json.loads((whole / "study.json").read_text()) | {"data": {"checksum": ""}}
    with locked(tmp_path, study):
        code = f"import sys; from tamcl.cli import main; sys.exit(main(['watch', {str(tmp_path)!r}]))"
        with subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout
            assert process.stdout.readline().startswith("label_flip_digits: running, 0/34 cells")
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
            assert process.stderr
            assert process.stderr.read() == ""


def test_display_writes_plain_lines_where_there_is_no_terminal(whole: Path, tmp_path: Path) -> None:
    cut(whole, tmp_path, count=4)
    written, times = io.StringIO(), iter([0.0, 1.0, 1.1, 9.0, 12.0, 13.0])
    with Display(tmp_path, Console(file=written), clock=lambda: next(times)) as display:
        for done, total in [(0, 24), (1, 24), (2, 24), (3, 24), (4, 24), (24, 24)]:
            display.update(Progress("tune", done, total, "ok"))
    lines = written.getvalue().splitlines()
    assert [text.split(" cells")[0] for text in lines] == ["tuning 0/24", "tuning 4/24", "tuning 24/24"]
    assert "online accuracy (%): sgdm " in lines[0]
    assert "\x1b" not in written.getvalue()


def test_display_says_within_seconds_how_far_runs_are_of_which_none_is_finished(whole: Path, tmp_path: Path) -> None:
    cut(whole, tmp_path, count=0)
    written, at = io.StringIO(), [0.0]
    with Display(tmp_path, Console(file=written), clock=lambda: at[0]) as display:
        display.begin("flips")  # which is not said where the check takes no time
        display.steps([(1, 100)])  # before it is known what is trained
        display.update(Progress("tune", 0, 24, "found"))
        for at[0], running in [
            (1.0, [(3, 100)]),
            (2.5, []),
            (3.0, [(9, 100)]),
            (9.0, [(20, 100)]),
            (13.0, [(40, 100)]),
        ]:
            display.steps(running)
        at[0] = 14.0
        display.update(Progress("tune", 24, 24, "ok"))
        display.steps([(50, 100)])
        at[0] = 24.5
        display.steps([(5, 100), (80, 100), (60, 100)])
    assert written.getvalue().splitlines() == [
        "tuning 0/24 cells",
        "tuning 0/24 cells, at step 9 of 100",
        "tuning 0/24 cells, at step 40 of 100",
        "tuning 24/24 cells",
        "tuning 24/24 cells, at step 5 of 100 to step 80 of 100, in 3 processes",
    ]


@pytest.mark.parametrize("is_terminal", [False, True])
def test_display_says_what_is_checked_where_that_takes_its_time(
    is_terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tamcl.study.display.FIRST", 0.05)
    written = io.StringIO()
    with Display(tmp_path, Console(file=written, force_terminal=is_terminal)) as display:
        display.begin("flips")
        assert display.checking is not None
        display.checking.join()
    assert written.getvalue().startswith("flips: checking data, model and a step of each arm\n")


def test_display_shows_steps_in_the_table_of_a_terminal(whole: Path, tmp_path: Path) -> None:
    cut(whole, tmp_path, count=4)
    written = io.StringIO()
    with Display(tmp_path, Console(file=written, force_terminal=True, width=120)) as display:
        display.update(Progress("tune", 4, 24, "ok"))
        display.steps([(30, 100)])
        assert display.live is not None
        display.live.refresh()
    assert "4/24 cells" in written.getvalue()
    assert "at step 30 of 100" in written.getvalue()


def test_a_single_run_says_once_that_it_starts_and_then_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    at = [0.0]
    display = RunDisplay("tam on digits, seed 0", clock=lambda: at[0])
    for at[0], running in [(1.0, []), (2.5, []), (5.0, []), (7.0, [(3, 100)]), (9.0, [(20, 100)]), (18.0, [(40, 100)])]:
        display.steps(running)
    doing = ["starting", "at step 3 of 100", "at step 40 of 100"]
    assert capsys.readouterr().err.splitlines() == [f"tam on digits, seed 0: {each}" for each in doing]


@pytest.mark.parametrize("stacked", ["true", "false"])
def test_a_study_of_this_process_tells_the_steps_of_its_runs(
    stacked: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "EVERY_S", 0.0)
    told: list[Sequence[tuple[int, int]]] = []
    settings = ["stream.epochs=2", "protocol.seeds=2", f"strategy.stacked={stacked}"]
    scenario = load_scenario(str(tiny), settings, ["sgdm"]).with_arm("sgdm", lr=0.1)
    compare(scenario, tmp_path / "study", progress=False, on_steps=told.append)
    assert {of for ((_, of),) in told} == {2 * 2 * 8}  # experiences, epochs, mini-batches of 10 of 80 images
    done = [step for ((step, _),) in told]
    assert max(done) == 32
    runs = 1 if stacked == "true" else 2
    assert sum(after < before for before, after in pairwise(done)) == runs - 1
    assert heartbeat.steps() == (0, 0)


def test_display_draws_a_table_on_a_terminal(whole: Path, tmp_path: Path) -> None:
    cut(whole, tmp_path, count=4)
    written = io.StringIO()
    with Display(tmp_path, Console(file=written, force_terminal=True, width=120)) as display:
        display.update(Progress("tune", 4, 24, "ok"))
    assert "reporting" in written.getvalue()
    assert "4/24 cells" in written.getvalue()


def test_durations_in_words() -> None:
    assert [duration(seconds) for seconds in (0.4, 59.4, 59.6, 89, 3599.4, 3600, 36_000)] == [
        "0 s",
        "59 s",
        "1 min 0 s",
        "1 min 29 s",
        "59 min 59 s",
        "1 h 0 min",
        "10 h 0 min",
    ]
