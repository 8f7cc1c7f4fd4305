"""A study a value in one folder: what it writes, that it goes on and widens, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from tamcl.engines.inline import Inline
from tamcl.errors import AllFailed, Damaged, InputError
from tamcl.results import Results, load_results
from tamcl.scenario.load import load_scenario
from tamcl.scenario.schema import Scenario
from tamcl.study import compare, estimate_sweep, sweep
from tamcl.study.sweep import write_sweep_tables
from tamcl.sweeps import Sweep, load_sweep
from tamcl.training.cell import Cell, Task

SMALL = ["protocol.seeds=2", "arms.sgdm.lr=[0.1]", "arms.tam.lr=[0.2]", "evaluation.samples=20"]
FRACTION = "stream.fraction"


@pytest.fixture(scope="module")
def scenario(tiny: Path) -> Scenario:
    return load_scenario(str(tiny), SMALL, ["sgdm", "tam"])


@pytest.fixture(scope="module")
def swept(scenario: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return sweep(scenario, {FRACTION: [1, 0.2]}, tmp_path_factory.mktemp("sweep") / "out", engine=Inline())


@pytest.fixture
def folder(swept: Sweep, tmp_path: Path) -> Path:
    return Path(shutil.copytree(swept.directory, tmp_path / "sweep"))


class Counting(Inline):
    """Trains here, and says what it trained."""

    def __init__(self) -> None:
        self.trained: list[str] = []

    def train(self, tasks: Sequence[Task], *arguments: Any) -> Iterator[tuple[Cell, str]]:
        for cell, status in super().train(tasks, *arguments):
            self.trained.append(cell.id)
            yield cell, status


class Stopped(Inline):
    """Trains a cell, and then Ctrl-C comes."""

    def train(self, tasks: Sequence[Task], *arguments: Any) -> Iterator[tuple[Cell, str]]:
        if tasks:
            yield from islice(super().train(tasks, *arguments), 1)
            raise KeyboardInterrupt


def test_each_study_is_what_compare_makes_of_the_scenario_with_the_value(
    swept: Sweep, tiny: Path, tmp_path: Path
) -> None:
    alone = compare(
        load_scenario(str(tiny), [*SMALL, f"{FRACTION}=0.2"], ["sgdm", "tam"]), tmp_path / "alone", engine=Inline()
    )
    one = load_results(swept.directory / "studies" / "stream.fraction=0.2")
    assert one.study["scenario"] == alone.study["scenario"]
    for name in ("online", "eval", "metrics", "comparisons"):
        assert_frame_equal(one.tables[name], alone.tables[name], check_exact=True)


def test_tables_have_the_swept_key_as_a_column_and_the_values_in_order(swept: Sweep) -> None:
    assert [study.name for study in swept.studies] == ["stream.fraction = 0.2", "stream.fraction = 1"]
    metrics = pd.read_parquet(swept.directory / "metrics.parquet")
    assert_frame_equal(metrics, swept.metrics)
    assert list(metrics.columns) == [FRACTION, "scenario", "arm", "lr", "options", "seed", "metric", "value"]
    assert not metrics.duplicated([FRACTION, "arm", "seed", "metric"]).any()
    for value, rows in metrics.groupby(FRACTION):
        held = load_results(swept.directory / "studies" / f"stream.fraction={value:g}").metrics
        assert_frame_equal(rows.drop(columns=FRACTION).reset_index(drop=True), held)
    runs = swept.table("runs")
    assert list(runs.columns[:2]) == [FRACTION, "scenario"]
    assert len(runs) == 8


def test_p_values_are_adjusted_over_all_values(swept: Sweep) -> None:
    rows = pd.read_parquet(swept.directory / "comparisons.parquet").query("metric == 'online_accuracy'")
    assert list(rows[FRACTION]) == [0.2, 1.0]
    p = rows["p_value"].to_numpy()
    least, other = sorted(p)  # of two by hand: the smaller doubled, and the larger at least that
    expected = np.where(p == least, min(1, 2 * least), max(other, min(1, 2 * least)))
    np.testing.assert_allclose(rows["p_adjusted"], expected)


def test_nothing_finished_is_trained_again_and_further_values_widen(folder: Path, scenario: Scenario) -> None:
    before = pd.read_parquet(folder / "metrics.parquet")
    engine = Counting()
    same = sweep(scenario, {FRACTION: [0.2, 1.0]}, folder, engine=engine)
    assert engine.trained == []
    assert_frame_equal(same.metrics, before)
    wider = sweep(scenario, {FRACTION: [0.5]}, folder, engine=engine)
    assert len(engine.trained) == 4
    assert [study.settings for study in wider.studies] == [{FRACTION: 0.2}, {FRACTION: 0.5}, {FRACTION: 1.0}]
    assert_frame_equal(wider.metrics.query("`stream.fraction` != 0.5").reset_index(drop=True), before, check_exact=True)


def test_it_goes_on_after_ctrl_c(scenario: Scenario, swept: Sweep, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        sweep(scenario, {FRACTION: [1, 0.2]}, tmp_path / "sweep", engine=Stopped())
    stopped = load_sweep(tmp_path / "sweep")
    assert [(study.name, study.why) for study in stopped.studies] == [
        ("stream.fraction = 0.2", "was not begun"),
        ("stream.fraction = 1", "was not finished"),
    ]
    assert len(stopped.metrics) == len(stopped.comparisons) == len(stopped.across) == 0
    engine = Counting()
    found = sweep(scenario, {FRACTION: [1, 0.2]}, tmp_path / "sweep", engine=engine)
    assert len(engine.trained) == 7
    assert_frame_equal(found.metrics, swept.metrics, check_exact=True)


def test_a_value_whose_runs_all_fail_is_named_and_the_others_go_on(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("fragile_sgd.py").write_text(
        "import torch\n"
        "class Fragile(torch.optim.SGD):\n"
        "    def __init__(self, params, lr, good=True):\n"
        "        super().__init__(params, lr)\n"
        "        self.good, self.steps = good, 0\n"
        "    def step(self, closure=None):\n"
        "        self.steps += 1\n"
        "        if not self.good and self.steps > 2:\n"
        "            raise RuntimeError('not good')\n"
        "        return super().step(closure)\n"
    )
    settings = [*SMALL, "arms.sgdm={optimizer='fragile_sgd:Fragile', lr=[0.1]}"]
    settings = [each for each in settings if not each.startswith("arms.sgdm.lr")]
    chosen = load_scenario(str(tiny), settings, ["sgdm"])
    monkeypatch.setattr("tamcl.study.checks.call_apart", lambda calls: {name: make() for name, make in calls.items()})
    seen: list[Results] = []
    found = sweep(chosen, {"arms.sgdm.good": [True, False]}, tmp_path / "s", engine=Inline(), on_results=seen.append)
    good, bad = found.studies
    assert good.results is not None
    assert bad.results is None
    assert bad.name == "arms.sgdm.good = false"
    assert "all 2 runs failed" in bad.why
    assert "not good" in bad.why
    assert len(seen) == 1
    assert set(found.metrics["arms.sgdm.good"]) == {"true"}
    with pytest.raises(AllFailed, match=r"no study of .* has results; arms.sgdm.good = false: all 2 runs failed"):
        sweep(chosen, {"arms.sgdm.good": [False]}, tmp_path / "all", engine=Inline())


def test_what_a_folder_cannot_hold_is_refused_before_anything_runs(folder: Path, scenario: Scenario) -> None:
    engine, other = Counting(), load_scenario("label_flip_digits", arms=["sgdm"])
    before = (folder / "sweep.json").read_bytes()
    with pytest.raises(InputError, match="holds another sweep: it is over stream.fraction there and over model.hidden"):
        sweep(scenario, {"model.hidden": [[8]]}, folder, engine=engine)
    with pytest.raises(InputError, match="holds another sweep: name is"):
        sweep(other, {FRACTION: [0.5]}, folder, engine=engine)
    with pytest.raises(InputError, match="protocol.seeds is 2 there and 1 here"):
        sweep(_with(scenario, seeds=1), {FRACTION: [0.5]}, folder, engine=engine)
    with pytest.raises(InputError, match=r"--over stream.fraction = 7: .*must be less than or equal to 1"):
        sweep(scenario, {FRACTION: [0.5, 7]}, folder, engine=engine)
    with pytest.raises(InputError, match="holds a study and no sweep"):
        sweep(scenario, {FRACTION: [0.5]}, folder / "studies" / "stream.fraction=1", engine=engine)
    with pytest.raises(InputError, match="is not empty and holds no sweep"):
        sweep(scenario, {FRACTION: [0.5]}, folder / "studies", engine=engine)
    with pytest.raises(InputError, match="holds a sweep and no study"):
        compare(scenario, folder, engine=engine)
    with pytest.raises(InputError, match="holds a sweep and no study; name one of the folders"):
        load_results(folder)
    assert engine.trained == []
    assert (folder / "sweep.json").read_bytes() == before


def test_a_value_for_which_the_data_do_not_do_is_refused_before_anything_runs(
    scenario: Scenario, tmp_path: Path
) -> None:
    engine = Counting()
    with pytest.raises(InputError, match=r"--over stream.samples = 99999: .*99999"):
        sweep(scenario, {"stream.samples": [80, 99999]}, tmp_path / "s", engine=engine)
    assert engine.trained == []
    assert not (tmp_path / "s").exists()


def test_more_seeds_extend_every_study(folder: Path, scenario: Scenario) -> None:
    engine = Counting()
    found = sweep(_with(scenario, seeds=3), {FRACTION: [0.2, 1]}, folder, engine=engine)
    assert len(engine.trained) == 4
    assert set(found.metrics["seed"]) == {0, 1, 2}


def test_several_keys_make_a_study_for_each_combination(scenario: Scenario, tmp_path: Path) -> None:
    over = {FRACTION: [0.2, 1], "model.hidden": [[8], [4, 4]]}
    one = _with(scenario, seeds=1)
    found = sweep(one, over, tmp_path / "s", engine=Inline())
    assert [tuple(study.settings.values()) for study in found.studies] == [
        (0.2, [8]), (0.2, [4, 4]), (1.0, [8]), (1.0, [4, 4])
    ]  # fmt: skip
    assert found.metrics["model.hidden"].unique().tolist() == ["[8]", "[4, 4]"]
    turned = Counting()
    again = sweep(one, {"model.hidden": [[4, 4]], FRACTION: [0.2]}, tmp_path / "s", engine=turned)
    assert turned.trained == []
    assert len(again.studies) == 4


def test_dry_run_says_what_is_left_of_each_study(folder: Path, scenario: Scenario) -> None:
    plans = estimate_sweep(scenario, {FRACTION: [0.2, 0.6]}, folder)
    assert {name: (plan.finished, plan.cells) for name, plan in plans.items()} == {
        "stream.fraction = 0.2": (4, (4, 4)),
        "stream.fraction = 0.6": (0, (4, 4)),
    }
    assert len(load_sweep(folder).studies) == 2


def test_a_damaged_study_is_named_and_the_others_are_read(folder: Path) -> None:
    (folder / "studies" / "stream.fraction=1" / "metrics.parquet").write_bytes(b"x")
    good, bad = load_sweep(folder).studies
    assert good.results is not None
    assert bad.results is None
    assert "is damaged" in bad.why
    write_sweep_tables(folder)
    assert set(pd.read_parquet(folder / "metrics.parquet")[FRACTION]) == {0.2}


@pytest.mark.parametrize("name", ["../../elsewhere", "/tmp/elsewhere", "..", "a/b", ""])
def test_a_folder_outside_of_the_sweep_is_not_read(folder: Path, name: str) -> None:
    from tamcl.files.digests import dump_json

    held = json.loads((folder / "sweep.json").read_text())
    held["studies"][0]["folder"] = name
    held = {key: value for key, value in held.items() if key != "digest"}
    (folder / "sweep.json").write_bytes(dump_json(held))
    with pytest.raises(Damaged, match="studies.0.folder"):
        load_sweep(folder)


def test_no_sweep(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no sweep: sweep.json not found"):
        load_sweep(tmp_path)


def _with(scenario: Scenario, **protocol: Any) -> Scenario:
    return scenario.model_copy(update={"protocol": scenario.protocol.model_copy(update=protocol)})
