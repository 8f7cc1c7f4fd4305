"""What a study will take: counted by hand, and timed by known numbers in place of a measurement."""

from __future__ import annotations

import shutil
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tamcl.engines.local import Local
from tamcl.errors import InputError
from tamcl.results import read_table
from tamcl.scenario.load import add_arm, load_scenario, parse
from tamcl.scenario.schema import Scenario
from tamcl.streams import STREAMS
from tamcl.study import compare
from tamcl.study import estimate as public
from tamcl.study.estimate import REPORT_BYTES, START_S, Plan, estimate
from tamcl.training.cell import Cell, Task, failed, write_cell
from tamcl.training.measure import EvaluationTime, Taken
from tamcl.training.resources import Resources
from tests.helpers import train_here
from tests.oracles import scenario_of as scenario_with_oracles

MODULE: Any = import_module("tamcl.study.estimate")  # whose name in the package is that of the function

STEP_S = {"sgdm": 0.01, "tam": 0.02, "tam_frozen": 0.03}
REST_S = 0.5 + 3 * 0.1 + 3 * 0.05
"""Of a run beside its 16 steps: building it, 3 tests of one experience, and the second experience of each."""


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Task]:
    """Known numbers in place of a measurement, and what was asked for."""
    tasks: list[Task] = []

    def measure(task: Task, resources: Resources, seconds: float) -> Taken:
        tasks.append(task)
        return Taken(STEP_S[task[0].arm], 0.5, 0.2, 4.0, bytes_at_least=1000, bytes_a_row=10.0)

    monkeypatch.setattr(MODULE, "measure", measure)
    monkeypatch.setattr(MODULE, "measure_evaluation", lambda *_: EvaluationTime(0.1, 0.05))
    monkeypatch.setattr(MODULE.os, "cpu_count", lambda: 64)
    return tasks


def scenario_of(tiny: Path, *settings: str, arms: list[str] | None = None) -> Scenario:
    return load_scenario(str(tiny), settings, arms)


def plan_of(tiny: Path, *settings: str, jobs: int = 1, **options: Any) -> Plan:
    return estimate(scenario_of(tiny, *settings), engine=Local(jobs), **options)


def test_cells_and_stacks_by_hand(tiny: Path, measured: list[Task]) -> None:
    assert public is estimate
    plan = plan_of(tiny)
    assert (plan.cells, plan.tune, plan.steps, plan.finished) == ((21, 21), (12, 12), 16, 0)
    for arm in plan.arms.values():
        assert (arm.tune, arm.report, arm.tasks, arm.why_alone) == ((4, 4), 3, (4, 3), "")
    # of 12 and 9 cells each of four workers is to have a task, which takes 3 at most
    assert {arm.tasks for arm in plan_of(tiny, jobs=4).arms.values()} == {(2, 2, 3)}
    assert {arm.tasks for arm in plan_of(tiny, "protocol.seeds=20").arms.values()} == {(4, 10, 10)}
    alone = plan_of(tiny, "strategy.stacked=false").arms["tam"]
    assert (alone.tasks, alone.why_alone) == ((1,) * 7, "strategy.stacked is false")
    timed = estimate(scenario_of(tiny), engine=Local(1, timeout=60.0)).arms["tam"]
    assert (timed.tasks, timed.why_alone) == ((1,) * 7, "")


def test_time_by_hand(tiny: Path, measured: list[Task], monkeypatch: pytest.MonkeyPatch) -> None:
    a_run = {arm: REST_S + 16 * step for arm, step in STEP_S.items()}
    one = plan_of(tiny)
    for name, arm in one.arms.items():
        assert arm.ms_per_step == pytest.approx(1000 * STEP_S[name])
        assert arm.seconds == pytest.approx((7 * a_run[name],) * 2)
    assert one.wall_s == pytest.approx((START_S + 7 * sum(a_run.values()),) * 2)
    # two workers: tam beside tam_frozen, then sgdm, which is the quickest, where tam was, in both phases
    longest = a_run["tam"] + a_run["sgdm"]
    assert plan_of(tiny, jobs=2).wall_s[0] == pytest.approx(START_S + 7 * longest)
    monkeypatch.setattr(MODULE.os, "cpu_count", lambda: 1)
    assert plan_of(tiny, jobs=2).wall_s == pytest.approx(one.wall_s)


def test_reported_runs_take_what_they_are_asked_for_inside_experiences(tiny: Path, measured: list[Task]) -> None:
    asked = ["evaluation.every=4", 'diagnostics.names=["damping"]', "diagnostics.every=3", "arms.sgdm.lr=[0.1]"]
    scenario = scenario_of(tiny, *asked, arms=["sgdm"])
    # 2 tests inside each of two experiences, of one experience and of two, and 3 diagnoses in each
    inside = 4 * 0.1 + 2 * 0.05 + 6 * 0.2
    assert estimate(scenario).arms["sgdm"].seconds[0] == pytest.approx(3 * (REST_S + 0.16 + inside))
    # each row of 10 bytes is in a cell's table and in the study's: 16 + 6, and 6 + 6 * 4 in reported runs
    assert estimate(scenario).bytes[0] == REPORT_BYTES + 3 * (1000 + 2 * 10 * (22 + 6 + 24))


def test_what_is_measured_is_a_task_of_each_arm_at_its_least_rate(tiny: Path, measured: list[Task]) -> None:
    plan_of(tiny)
    assert sorted((task[0].arm, len(task)) for task in measured) == [(arm, size) for arm in STEP_S for size in (3, 4)]
    assert {cell.lr for task in measured for cell in task} == {0.05, 0.1}
    del measured[:]
    plan_of(tiny, "protocol.seeds=7")  # stacks of about as many runs take as long
    assert sorted((task[0].arm, len(task), task[0].phase) for task in measured) == [(arm, 4, "tune") for arm in STEP_S]
    del measured[:]
    plan_of(tiny, "protocol.seeds=7", "protocol.extend=2")  # of a learning rate more there are two runs together
    assert sorted((task[0].arm, len(task)) for task in measured) == [(arm, size) for arm in STEP_S for size in (2, 4)]
    del measured[:]
    plan_of(tiny, "protocol.seeds=7", 'diagnostics.names=["damping"]')
    assert sorted((task[0].arm, task[0].phase) for task in measured) == sorted(
        (arm, phase) for arm in STEP_S for phase in ("tune", "report")
    )


STREAM_SETTINGS: dict[str, dict[str, Any]] = {
    "label_flip": {"fraction": 0.5},
    "random_labels": {"samples": 40},
    "task_shift": {"experiences": 5, "setting": "domain_incremental"},
    "classification": {"experiences": 1, "validation": 200},
    "text": {"dataset": "books", "context": 8, "samples": 40},
    "slowly_changing_regression": {"dataset": "bit_patterns", "samples": 40},
}


def scenario_on(stream: str) -> Scenario:
    """A scenario of one arm on a stream that needs no files."""
    model: dict[str, Any] = {"name": "lstm", "hidden": 4} if stream == "text" else {"name": "mlp", "hidden": [4]}
    by = {"tune_by": "online_loss"} if stream == "slowly_changing_regression" else {}
    values = {
        "stream": {"name": stream, "dataset": "digits", "experiences": 2} | STREAM_SETTINGS.get(stream, {}),
        "protocol": {"seeds": 1, "tune_seeds": 1} | by,
        "arms": {"sgd": {"optimizer": "sgd", "lr": [0.1, 0.01]}},
    }
    return parse(values | {"name": stream, "title": "", "model": model, "evaluation": {"samples": 20}})


@pytest.mark.parametrize("stream", STREAMS)
def test_on_every_stream_arms_are_measured(stream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "SECONDS", 0.2)
    plan = estimate(scenario_on(stream))
    arm = plan.arms["sgd"]
    assert (arm.why_unknown, arm.tune, arm.report) == ("", (2, 2), 1)
    assert arm.ms_per_step > 0
    assert arm.seconds[0] > 0


def test_text_is_tuned(tmp_path: Path) -> None:
    runs = compare(scenario_on("text"), tmp_path, progress=False).runs
    assert runs.groupby("phase")["status"].unique().str.join(" ").to_dict() == {"report": "ok", "tune": "ok"}


def test_a_search_is_at_least_and_at_most(tiny: Path, measured: list[Task]) -> None:
    grid, wider = plan_of(tiny), plan_of(tiny, "protocol.extend=2")
    assert wider.cells == (21, 21 + 3 * 2 * 2)  # arms, rates, tuning seeds
    assert wider.tune == (12, 24)
    assert wider.arms["tam"].tasks == (4, 2, 2, 3)
    assert wider.wall_s[0] == pytest.approx(grid.wall_s[0])
    more = 4 * sum(REST_S + 16 * step for step in STEP_S.values())
    assert wider.wall_s[1] == pytest.approx(grid.wall_s[1] + more)
    assert wider.bytes[1] > wider.bytes[0] == grid.bytes[0]
    drawn = plan_of(tiny, "protocol.search=random", "protocol.trials=5")
    assert drawn.cells == (3 * (5 * 2 + 3),) * 2
    assert drawn.arms["tam"].tasks == (2, 2, 2, 2, 2, 3)


def phase_of(cell: Path) -> str:
    return str(read_table(cell, "runs")["phase"].item())


def test_what_is_finished_is_counted_and_not_timed(
    without_oracles: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = scenario_with_oracles(tiny)
    plan = estimate(scenario, directory=without_oracles)
    assert (plan.finished, plan.cells, plan.wall_s) == (8, (8, 8), (0.0, 0.0))
    assert {arm.tasks for arm in plan.arms.values()} == {()}
    assert all(arm.ms_per_step != arm.ms_per_step for arm in plan.arms.values())
    folder = shutil.copytree(without_oracles, tmp_path / "study")
    damaged, other = sorted((folder / "cells").glob("tam-lr0.04-*"))[:2]
    (damaged / "eval.parquet").unlink()
    lost = Cell(scenario, "tam", 0.04, int(other.name.split("seed")[1].split("-")[0]), phase_of(other))
    write_cell(folder / "cells", lost, failed(lost, ValueError("lost")))
    plan = estimate(scenario, directory=folder)
    assert (plan.finished, sum(plan.arms["tam"].tasks), plan.arms["sgdm"].tasks) == (6, 2, ())
    more = estimate(scenario_with_oracles(tiny, "protocol.seeds=4"), directory=without_oracles)
    assert (more.finished, more.cells) == (8, (12, 12))
    assert {arm.tasks for arm in more.arms.values()} == {(2,)}
    monkeypatch.setattr("tamcl.training.cell.__version__", "another")  # whose runs are trained anew
    assert estimate(scenario, directory=without_oracles).finished == 0


def test_what_is_finished_beyond_the_grid_counts_where_it_may_be_tried(
    without_oracles: Path, tiny: Path, tmp_path: Path, measured: list[Task]
) -> None:
    folder = shutil.copytree(without_oracles, tmp_path / "study")
    grid, wider = scenario_with_oracles(tiny), scenario_with_oracles(tiny, "protocol.extend=1")
    cell = Cell(grid, "tam", 0.08, 1000, "tune")
    train_here([cell], folder / "cells")
    assert (estimate(grid, directory=folder).finished, estimate(wider, directory=folder).finished) == (8, 9)
    assert estimate(wider, directory=folder).arms["tam"].tasks == ()


def test_another_study_in_the_folder_is_refused(without_oracles: Path, tiny: Path) -> None:
    with pytest.raises(InputError, match="holds another study"):
        estimate(scenario_with_oracles(tiny, "stream.samples=70"), directory=without_oracles)


OWN = """
import os
import torch

class Own(torch.optim.SGD):
    def __init__(self, params, lr):
        super().__init__(params, lr=lr)

class Ends(Own):
    steps = 0

    def step(self, closure=None):
        self.steps += 1
        if self.steps > 2:
            os._exit(7)
"""


def test_own_code_is_measured_in_a_process_of_its_own(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_rule.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    scenario = scenario_of(tiny, arms=["sgdm"])
    for arm in ("own=own_rule:Own,lr=0.1", "ends=own_rule:Ends,lr=0.1"):
        scenario, _ = add_arm(scenario, arm)
    plan = estimate(scenario, engine=Local(1))
    assert "own_rule" not in sys.modules
    assert plan.arms["own"].ms_per_step > 0
    assert plan.arms["own"].why_alone.startswith("the optimizer own_rule:Own is not one of tamcl's")
    assert plan.arms["ends"].why_unknown == "the process ended with status 7"
    assert plan.arms["ends"].seconds == (0, 0)
    assert plan.wall_s[0] == pytest.approx(START_S + sum(arm.seconds[0] for arm in plan.arms.values()))
