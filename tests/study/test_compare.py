"""Whole studies on a tiny scenario: what they write, and that nothing but the scenario decides it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal

from tamcl.engines import processes as workers
from tamcl.engines.inline import Inline
from tamcl.engines.local import Local
from tamcl.errors import InputError
from tamcl.results import TABLES, Results, load_results
from tamcl.scenario.load import add_arm, load_scenario, parse
from tamcl.scenario.schema import Scenario
from tamcl.study.compare import compare, run
from tamcl.study.folder import is_finished, locked
from tamcl.study.plan import report_cells, tuning_cells
from tamcl.study.train import Progress
from tamcl.training.build import load_data
from tamcl.training.cell import Cell, versions
from tamcl.training.resources import Resources
from tamcl.training.run import run_cell
from tamcl.trial import Trial

SAME = ("online", "eval", "metrics", "comparisons")
"""Tables without times or versions."""


def assert_same_tables(first: Results, second: Results) -> None:
    for name in SAME:
        assert_frame_equal(getattr(first, name), getattr(second, name), check_exact=True)


@pytest.fixture(scope="module")
def scenario(tiny: Path) -> Scenario:
    return load_scenario(str(tiny))


@pytest.fixture(scope="module")
def seen() -> list[Progress]:
    return []


@pytest.fixture(scope="module")
def started() -> list[workers._Worker]:
    return []


@pytest.fixture(scope="module")
def study(
    scenario: Scenario,
    seen: list[Progress],
    started: list[workers._Worker],
    tmp_path_factory: pytest.TempPathFactory,
) -> Results:
    start = workers._Worker.__init__

    def start_and_count(worker: workers._Worker, *arguments: Any) -> None:
        started.append(worker)
        start(worker, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers._Worker, "__init__", start_and_count)
        return compare(scenario, tmp_path_factory.mktemp("study") / "out", engine=Local(2), on_progress=seen.append)


def test_workers_are_started_once_for_tuning_and_reporting(
    study: Results, seen: list[Progress], started: list[workers._Worker]
) -> None:
    assert {progress.phase for progress in seen} == {"tune", "report"}
    assert len(started) == 2
    assert not any(worker.process.is_alive() for worker in started)


def test_every_table_has_its_schema_and_all_its_rows(study: Results, scenario: Scenario) -> None:
    for name, schema in TABLES.items():
        table = getattr(study, name)
        assert list(table.columns) == list(schema.columns)
        assert not table.duplicated(schema.keys).any()
    tune, report = 3 * 2 * 2, 3 * 3
    assert study.runs.groupby("phase").size().to_dict() == {"tune": tune, "report": report}
    assert (study.runs["status"] == "ok").all()
    assert len(study.online) == (tune + report) * 2 * 8
    assert len(study.eval) == (tune + report) * 3 * 2
    assert (study.eval["n"] == 50).all()
    assert set(study.runs["seed"]) == {0, 1, 2, 1000, 1001}
    assert not study.online.isna().any().any()
    assert not study.eval.isna().any().any()


def test_reported_learning_rate_is_the_best_mean_over_tuning_seeds_by_hand(study: Results) -> None:
    online = study.online[study.online["seed"] >= 1000]
    cells = online.groupby(["arm", "lr", "seed"])[["correct", "n"]].sum()
    score = (cells["correct"] / cells["n"]).groupby(["arm", "lr"]).mean()
    best = score.groupby("arm").idxmax().map(lambda pair: pair[1]).to_dict()
    reported = study.runs[study.runs["phase"] == "report"]
    assert reported.groupby("arm")["lr"].unique().map(list).to_dict() == {arm: [lr] for arm, lr in best.items()}


def test_comparison_is_the_mean_of_paired_differences_by_hand(study: Results) -> None:
    report = study.phase(study.metrics)
    values = report[report["metric"] == "online_accuracy"].pivot(index="seed", columns="arm", values="value")
    row = study.comparisons.query("metric == 'online_accuracy' and arm_a == 'sgdm' and arm_b == 'tam'")
    sign = 1
    if row.empty:
        row = study.comparisons.query("metric == 'online_accuracy' and arm_a == 'tam' and arm_b == 'sgdm'")
        sign = -1
    assert row["diff"].item() == pytest.approx(sign * (values["sgdm"] - values["tam"]).mean())
    assert row["n_pairs"].item() == 3


def test_arms_of_a_seed_see_the_same_stream(study: Results) -> None:
    assert (study.runs.groupby("seed")["fingerprint"].nunique() == 1).all()
    assert study.runs["fingerprint"].nunique() == 5


def test_frozen_damping_from_zero_is_sgdm_at_half_the_learning_rate(study: Results, scenario: Scenario) -> None:
    """The null model is what it is called: step by step, tam held at 1/2 with 2 lr is sgdm with lr."""
    columns = ["seed", "step", "correct", "loss"]
    seed, lr = study.phase(study.runs).query("arm == 'sgdm'").iloc[0][["seed", "lr"]]
    frozen = run(scenario.with_arm("tam", "frozen", lr=2 * lr, damping=0.5, start="zero"), "frozen", seed)
    online = study.online.query("arm == 'sgdm' and seed == @seed").reset_index(drop=True)
    assert_frame_equal(frozen.tables["online"][columns], online[columns], rtol=1e-3)


def test_what_decides_a_result_is_recorded(study: Results) -> None:
    row = study.runs[(study.runs["arm"] == "sgdm") & (study.runs["seed"] == 0)].iloc[0]
    config = json.loads(row["config"])
    assert config["optimizer"] == {"name": "sgd", "lr": row["lr"], "momentum": 0.9}
    assert config["stream"]["fraction"] == 0.8
    assert json.loads(row["data"])["train"] == 1442
    assert json.loads(row["versions"]) == versions()
    assert row["optimizer_state"] == "keep"
    assert row["wall_s"] > 0
    assert row["ms_per_step"] > 0


def test_the_main_process_waits_for_neither_torch_nor_avalanche(tiny: Path, tmp_path: Path) -> None:
    script = tmp_path / "main.py"
    script.write_text(f"""
import sys
from tamcl.engines.local import Local
from tamcl.scenario import load_scenario
from tamcl.study import compare

if __name__ == "__main__":
    scenario = load_scenario({str(tiny)!r}, ["protocol.seeds=1", "protocol.tune_seeds=1"], ["sgdm", "tam"])
    compare(scenario, "out", engine=Local(1, timeout=1000), progress=False)
    print([name for name in ("torch", "avalanche", "matplotlib", "sklearn") if name in sys.modules])
""")
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


def test_progress_counts_every_cell(seen: list[Progress], study: Results) -> None:
    assert [p.done for p in seen if p.phase == "tune"] == list(range(13))
    assert [p.done for p in seen if p.phase == "report"] == list(range(10))


def test_one_job_gives_the_same_tables_as_two(study: Results, scenario: Scenario, tmp_path: Path) -> None:
    assert_same_tables(compare(scenario, tmp_path / "out"), study)


def test_a_study_that_was_killed_goes_on_and_ends_the_same(study: Results, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "tamcl.cli", "compare", str(tiny), "--out", str(out), "--jobs", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    while len(finished(out)) < 4:
        assert process.poll() is None, "the study ended before it could be killed"
        time.sleep(0.05)
    process.kill()  # the main process alone: its workers have to notice
    process.communicate(timeout=60)  # their end of the pipe closes when the last of them is gone
    before = finished(out)
    assert 4 <= len(before) < 21
    with pytest.raises(InputError, match="holds no finished study"):
        load_results(out)
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    after = finished(out)
    assert {cell: after[cell] for cell in before} == before
    assert_same_tables(load_results(out), study)


def finished(out: Path) -> dict[str, int]:
    """Cells with all their tables, and when each was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in out.glob("cells/[!.]*/runs.parquet")}


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "tamcl.cli", "compare", str(tiny), "--out", str(out)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, start_new_session=True, **pipes)
    while not finished(out):
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted; a study goes on where it stopped" in errors
    assert "Traceback" not in errors


def test_more_seeds_extend_a_study_and_anything_else_is_refused(
    study: Results, scenario: Scenario, tiny: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    fewer = load_scenario(str(tiny), ["protocol.seeds=1", "title=Another wording"])
    compare(fewer, out, engine=Local(2))
    before = finished(out)
    assert_same_tables(compare(scenario, out, engine=Local(2)), study)
    assert {cell: finished(out)[cell] for cell in before} == before
    for setting, message in [
        ("protocol.seeds=1", "protocol.seeds is 3 there and 1 here"),
        ("stream.fraction=0.5", "stream.fraction is 0.8 there and 0.5 here"),
        ("arms.tam.gamma=0.5", "arms.tam.gamma is null there and 0.5 here"),
    ]:
        with pytest.raises(InputError, match=message):
            compare(load_scenario(str(tiny), [setting]), out)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(InputError, match="is not empty and holds no study"):
        compare(scenario, tmp_path / "mine")


def test_other_data_are_not_mixed_into_a_study(
    scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = load_scenario("label_flip_digits", ["stream.samples=20", "protocol.seeds=1"], ["tam", "sgdm"])
    few, _ = add_arm(few, "tam,lr=0.1")
    few, _ = add_arm(few, "sgdm,lr=0.1")
    compare(few, tmp_path / "out", engine=Inline())
    data = load_data("digits", Resources())
    changed = replace(data, train_y=(data.train_y + 1) % 10)
    monkeypatch.setattr("tamcl.study.checks.load_data", lambda name, resources: changed)
    with pytest.raises(InputError, match=r"was trained on other data: 1442 \+ 355 images, \w{8} there and 1442"):
        compare(few, tmp_path / "out", engine=Inline())


def test_one_process_at_a_time(scenario: Scenario, tmp_path: Path) -> None:
    study = {"command": "", "scenario": scenario.dump(), "data": {"checksum": "x"}}
    with locked(tmp_path, study), pytest.raises(InputError, match="another tamcl is at work there"):
        compare(scenario, tmp_path)


def test_a_damaged_cell_is_trained_again(study: Results, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(study.directory, out)
    cells = sorted(finished(out))
    (out / "cells" / cells[0] / "online.parquet").write_bytes(b"damaged")
    (out / "cells" / cells[1] / "eval.parquet").unlink()
    assert not is_finished(out / "cells" / cells[0])
    assert not is_finished(out / "cells" / cells[1])
    assert is_finished(out / "cells" / cells[2])


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/nowhere"])
def test_a_folder_that_cannot_be_is_refused_before_training(scenario: Scenario, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    chosen, label = add_arm(scenario, "tam,lr=0.1")
    out = tmp_path / place
    with pytest.raises(InputError, match=f"--out {out}: "):
        compare(scenario, out)
    with pytest.raises(InputError, match=f"--out {out}: "):
        run(chosen, label, 0, directory=out)


def test_the_text_of_ones_own_optimizer_is_part_of_a_cell(
    scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ids = set()
    for text in ("class A: ...", "class A: # another\n    ..."):
        Path("own_text.py").write_text(text)
        mine, label = add_arm(scenario, "own_text:A,lr=0.1")
        ids.add(Cell(mine, label, 0.1, 0, "report").id)
    assert len(ids) == 2


def test_the_cell_of_a_worker_that_dies_before_it_has_begun_is_trained_by_another(
    scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    start = workers._Worker.__init__

    def start_and_kill_the_first(worker: workers._Worker, *arguments: Any) -> None:
        start(worker, *arguments)
        started.append(worker)
        if len(started) == 1:
            worker.process.kill()
            worker.process.join()

    monkeypatch.setattr(workers._Worker, "__init__", start_and_kill_the_first)
    cells = [Cell(scenario, "tam", 0.1, seed, "report") for seed in (0, 1)]
    ended = Local().train([(cell,) for cell in cells], tmp_path, Resources())
    assert [(cell.seed, status) for cell, status in ended] == [(0, "ok"), (1, "ok")]


OWN = """
import os, signal, torch

class Slow(torch.optim.SGD):
    "Refuses to be built with a large learning rate."
    def __init__(self, params, lr, bad="none"):
        super().__init__(params, lr=lr)
        self.bad = bad

    def step(self, closure=None):
        if self.bad == "raise" and self.param_groups[0]["lr"] > 0.05:
            raise RuntimeError("cannot go on")
        if self.bad == "kill" and self.param_groups[0]["lr"] > 0.05:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(closure)

class NotOne:
    pass
"""


def test_cells_that_raise_die_or_diverge_are_recorded_and_the_study_goes_on(
    scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_optimizers.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    mixed = scenario.only(["sgdm"])
    mixed, _ = add_arm(mixed, "raises=own_optimizers:Slow,lr=[0.1,0.05],bad=raise")
    mixed, _ = add_arm(mixed, "dies=own_optimizers:Slow,lr=[0.1,0.05],bad=kill")
    mixed, _ = add_arm(mixed, "diverges=sgd,lr=[1e30,0.05]")
    mixed, _ = add_arm(mixed, "hopeless=sgd,lr=[1e30,1e35]")
    results = compare(mixed, tmp_path / "out", engine=Local(2))
    bad = results.runs[results.runs["status"] != "ok"].groupby(["arm", "status"])["error"].unique()
    assert bad["raises", "failed"].tolist() == ["RuntimeError: cannot go on"]
    assert bad["dies", "failed"].tolist() == ["WorkerDied: the process was killed by SIGKILL"]
    assert all("the loss was" in error for error in bad["diverges", "diverged"])
    reported = results.runs[results.runs["phase"] == "report"]
    assert reported.groupby("arm")["lr"].unique().map(list).to_dict() == {
        "sgdm": [results.runs.query("arm == 'sgdm' and phase == 'report'")["lr"].iloc[0]],
        "raises": [0.05],
        "dies": [0.05],
        "diverges": [0.05],
    }
    assert set(results.metrics["arm"]) >= {"sgdm", "raises", "dies", "diverges"}
    # Ours is plain SGD, so where it works it must give what torch's gives.
    online = results.phase(results.online)
    raises, torchs = (online[online["arm"] == arm].drop(columns="arm") for arm in ("raises", "diverges"))
    assert_frame_equal(raises.reset_index(drop=True), torchs.reset_index(drop=True))


def test_an_optimizer_that_is_none_or_refuses_its_arguments_ends_the_study_before_it_starts(
    scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_optimizers2.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    for text, message in [
        (
            "own_optimizers2:NotOne,lr=0.1",
            r"arms.NotOne: optimizer 'own_optimizers2:NotOne': is no torch.optim",
        ),
        ("sgd,lr=0.1,momentum=-1", r"arms.sgd: sgd refuses .*Invalid momentum value: -1"),
        ("tam,lr=0.1,gamma=7", r"arms.tam: tam refuses .*gamma"),
    ]:
        wrong, _ = add_arm(scenario, text)
        with pytest.raises(InputError, match=message):
            compare(wrong, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_cell_is_what_the_study_recorded(study: Results, scenario: Scenario, tmp_path: Path) -> None:
    lr = study.runs.query("arm == 'tam' and phase == 'report'")["lr"].iloc[0]
    chosen, label = add_arm(scenario, f"tam,lr={lr}")
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    status, _, metrics, _ = run(chosen, label, 1, directory=tmp_path / "one")
    torch.set_num_threads(threads)
    recorded = study.metrics.query("arm == 'tam' and seed == 1").set_index("metric")["value"]
    assert status == "ok"
    assert metrics == recorded.to_dict()
    online = pd.read_parquet(tmp_path / "one" / "online.parquet")
    same = study.online.query("arm == 'tam' and seed == 1").reset_index(drop=True)
    assert_frame_equal(online, same, check_exact=True)
    assert {path.stem for path in (tmp_path / "one").iterdir()} == {"online", "eval", "runs", "metrics"}
    with pytest.raises(InputError, match="is not empty"):
        run(chosen, label, 1, directory=tmp_path / "one")


def test_expansion_gives_every_arm_the_same_trials_and_disjoint_seeds(scenario: Scenario) -> None:
    tune = tuning_cells(scenario)
    report = report_cells(scenario, dict.fromkeys(scenario.arms, Trial(0.1)))
    assert {cell.seed for cell in tune}.isdisjoint({cell.seed for cell in report})
    trials = pd.Series([cell.arm for cell in tune]).value_counts()
    assert trials.nunique() == 1
    assert len({cell.id for cell in tune + report}) == len(tune + report)


def test_a_cells_id_changes_with_everything_that_decides_its_result(scenario: Scenario, tiny: Path) -> None:
    base = Cell(scenario, "tam", 0.1, 0, "report")
    for setting in ("arms.tam.gamma=0.5", "stream.fraction=0.4", "model.hidden=[17]", "strategy.optimizer_state=reset"):
        assert Cell(load_scenario(str(tiny), [setting]), "tam", 0.1, 0, "report").id != base.id
    assert Cell(scenario, "tam", 0.1, 1, "report").id != base.id
    assert Cell(load_scenario(str(tiny), ["protocol.seeds=9", "title=x"]), "tam", 0.1, 0, "report").id == base.id


def test_reset_at_boundaries_gives_other_numbers_than_keep(tiny: Path) -> None:
    losses = {}
    for state in ("keep", "reset"):
        scenario = load_scenario(str(tiny), [f"strategy.optimizer_state={state}"])
        outcome = run_cell(Cell(scenario, "sgdm", 0.1, 0, "report"))
        assert outcome.runs["optimizer_state"].item() == state
        losses[state] = outcome.online["loss"].to_numpy()
    assert np.array_equal(losses["keep"][:9], losses["reset"][:9])
    assert not np.array_equal(losses["keep"][9:], losses["reset"][9:])


def test_no_cells_need_no_workers(tmp_path: Path) -> None:
    assert list(Local(4).train([], tmp_path, Resources())) == []


def test_jobs_must_be_positive() -> None:
    with pytest.raises(InputError, match="jobs = 0: must be at least 1"):
        Local(0)


BROKEN = """
import os, sys, torch

class Wrong(torch.optim.SGD):
    def __init__(self, params, lr, ends="raise"):
        super().__init__(params, lr=lr)
        self.ends = ends
    def step(self, closure=None):
        if self.ends == "leave":
            sys.exit(3)
        raise KeyError("exp_avg")

class Frozen(torch.nn.Module):
    features = 64
    def __init__(self, shape):
        super().__init__()
    def forward(self, x):
        return x.flatten(1).round().detach().numpy().sum() if self.training else x.flatten(1)
"""


def test_an_arm_that_cannot_make_a_step_ends_the_study_before_it_starts(
    scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_at_first.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    net = parse(scenario.dump() | {"model": {"name": "broken_at_first:Frozen"}})
    for wrong, message in [
        (scenario.with_arm("broken_at_first:Wrong", lr=[0.1]), "arms.Wrong: its first steps fail: KeyError: 'exp_avg'"),
        (scenario.with_arm("broken_at_first:Wrong", lr=[0.1], ends="leave"), "first steps fail: SystemExit: 3"),
        (net, "arms.sgdm: its first steps fail: "),
    ]:
        with pytest.raises(InputError, match=message):
            compare(wrong, tmp_path / "out", progress=False)
        with pytest.raises(InputError, match=message):
            run(wrong, "Wrong" if "Wrong" in wrong.arms else "sgdm", lr=0.1)
    assert not (tmp_path / "out").exists()


def test_one_job_is_trained_in_the_process_that_calls_without_a_guard_and_gives_the_same_tables(
    study: Results, tiny: Path, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"""
import os, sys, torch
import tamcl

class Here(torch.optim.SGD):
    made = []
    def __init__(self, params, lr, momentum=0.0):
        super().__init__(params, lr=lr, momentum=momentum)
        Here.made.append(os.getpid())

scenario = tamcl.load_scenario({str(tiny)!r}).only(["sgdm"]).with_arm(Here, lr=[0.1, 0.05], momentum=0.9)
results = tamcl.compare(scenario, "out")
print(set(Here.made) == {{os.getpid()}}, "multiprocessing.spawn" in sys.modules)
one = tamcl.run(scenario, "Here", seed=1, lr=results.phase(results.runs).query("arm == 'Here'")["lr"].iloc[0])
again = results.phase(results.metrics).query("arm == 'Here' and seed == 1").set_index("metric")["value"]
print(one.status, one.metrics == again.to_dict())
""")
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith("True")
    assert done.stdout.splitlines()[1] == "ok True"
    told = [line.split(" cells")[0] for line in done.stderr.splitlines() if "checking data" not in line]
    assert told[0] == "tuning 0/8"
    assert told[-1] == "reporting 6/6"
    there = load_results(tmp_path / "out")
    rows = {
        name: found[found["arm"] == "sgdm"].reset_index(drop=True)
        for name, found in [("here", there.online), ("there", study.online)]
    }
    assert_frame_equal(rows["here"], rows["there"], check_exact=True)


def test_a_run_needs_one_learning_rate(scenario: Scenario) -> None:
    with pytest.raises(InputError, match=r"arms.tam: has 2 learning rates; name one, as lr=0.2"):
        run(scenario, "tam")
    with pytest.raises(InputError, match="unknown arm of 'tiny' 'tamm': did you mean 'tam'"):
        run(scenario, "tamm", lr=0.1)
