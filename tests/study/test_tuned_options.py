"""Studies whose arms tune options together with the learning rate: small ones, trained, and looked at another way."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from tamcl.engines.inline import Inline
from tamcl.engines.local import Local
from tamcl.errors import Damaged, InputError
from tamcl.findings.cautions import edges
from tamcl.findings.oracles import oracle_comparisons
from tamcl.findings.study import Study
from tamcl.results import TABLES, Results, load_results
from tamcl.scenario.load import load_scenario
from tamcl.scenario.schema import Scenario
from tamcl.study.compare import compare, run
from tamcl.study.confirm import confirm
from tamcl.study.estimate import estimate
from tamcl.study.merge import merge
from tamcl.study.plan import pack, tuning_cells
from tamcl.study.regret import train_oracle
from tamcl.study.search import first_trials, next_trials, widened
from tamcl.study.verify import verify
from tamcl.study.watch import Watcher
from tamcl.training.cell import Cell, Task
from tamcl.training.resources import Resources
from tamcl.training.run import run_cells
from tamcl.trial import Trial
from tests.helpers import in_this_process

SAME = ("online", "eval", "metrics", "comparisons")
TUNED = ("arms.tam.weight_decay=[0, 0.05]", "arms.sgdm.momentum=[0.5, 0.9]")


def tuned(tiny: Path, *settings: str) -> Scenario:
    """Two arms of four trials each."""
    return load_scenario(str(tiny), ["protocol.seeds=2", *TUNED, *settings], ["sgdm", "tam"])


class Refuses:
    """An engine that is asked to train nothing."""

    jobs = 1

    def train(self, tasks: Sequence[Task], directory: Path, resources: Resources) -> list[object]:
        assert list(tasks) == []
        return []


@pytest.fixture(scope="module")
def whole(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    return compare(tuned(tiny), tmp_path_factory.mktemp("tuned") / "study", engine=Inline())


def assert_same(first: Results, second: Results) -> None:
    for name in SAME:
        assert_frame_equal(getattr(first, name), getattr(second, name), check_exact=True)


def trained(directory: Path) -> pd.DataFrame:
    """Online accuracy and optimizer of every cell, from its own files."""
    rows = []
    for cell in (directory / "cells").iterdir():
        runs, online = (pd.read_parquet(cell / f"{name}.parquet") for name in ("runs", "online"))
        optimizer = json.loads(runs["config"].item())["optimizer"]
        kept = {"arm": runs["arm"].item(), "phase": runs["phase"].item(), "seed": runs["seed"].item()}
        score = online["correct"].sum() / online["n"].sum()
        rows.append(
            kept | {"option": "momentum" if kept["arm"] == "sgdm" else "weight_decay", "score": score} | optimizer
        )
    table = pd.DataFrame(rows)
    table["value"] = [row[row["option"]] for row in table.to_dict("records")]
    return table


def test_the_reported_trial_is_the_best_by_the_cells_own_files(whole: Results) -> None:
    cells = trained(whole.directory)
    tune = cells[cells["phase"] == "tune"]
    assert tune.groupby("arm").apply(lambda own: len(own[["lr", "value"]].drop_duplicates())).to_dict() == {
        "sgdm": 4,
        "tam": 4,
    }
    means = tune.groupby(["arm", "lr", "value"])["score"].mean()
    best = {arm: means[arm].idxmax() for arm in ("sgdm", "tam")}
    report = cells[cells["phase"] == "report"]
    for arm, (lr, value) in best.items():
        own = report[report["arm"] == arm]
        assert sorted(own["seed"]) == [0, 1]
        assert set(own["lr"]) == {lr}
        assert set(own["value"]) == {value}
    names = {"sgdm": "momentum", "tam": "weight_decay"}
    study = Study(whole)
    assert study.trials == {arm: Trial(lr, f"{names[arm]}={value:g}") for arm, (lr, value) in best.items()}
    shown = study.tuning.set_index(["arm", "lr", "options"])["score"]
    for (arm, lr, value), mean in means.items():
        assert shown[arm, lr, f"{names[arm]}={value:g}"] == pytest.approx(mean, rel=1e-12)
    assert [trial["options"] for trial in whole.study["tried"]["tam"]] == ["weight_decay=0", "weight_decay=0.05"] * 2


def test_a_tuned_value_trains_what_a_value_that_was_given_does(tiny: Path) -> None:
    given = load_scenario(str(tiny), ["arms.tam.weight_decay=0.05"], ["tam"])
    plain = Cell(given, "tam", 0.2, 0, "report")
    chosen = Cell(tuned(tiny), "tam", 0.2, 0, "report", options="weight_decay=0.05")
    assert chosen.config == plain.config
    assert chosen.id.rpartition("-")[2] == plain.id.rpartition("-")[2]
    (one,), (other,) = (run_cells((cell,), Resources()) for cell in (plain, chosen))
    assert_frame_equal(one.online.drop(columns="options"), other.online.drop(columns="options"), check_exact=True)
    assert set(other.online["options"]) == {"weight_decay=0.05"}
    with pytest.raises(InputError, match="arms.tam: tuned options are weight_decay, and a run has ''"):
        Cell(tuned(tiny), "tam", 0.2, 0, "report")


def test_runs_of_other_options_in_a_stack_leave_a_run_as_it_is(tiny: Path) -> None:
    cells = [cell for cell in tuning_cells(tuned(tiny)) if cell.seed == 1000 and cell.arm == "sgdm"]
    assert len({cell.options for cell in cells}) == 2
    assert all(cell.is_stacked for cell in cells)
    together = run_cells(tuple(cells), Resources())
    for cell, outcome in zip(cells, together, strict=True):
        (alone,) = run_cells((cell,), Resources())
        assert_frame_equal(outcome.online, alone.online, check_exact=True)


def test_a_compiled_task_is_of_one_optimizer_with_its_options(tiny: Path) -> None:
    cells = tuning_cells(tuned(tiny, "strategy.compiled=true"))
    tasks = pack(cells, 1)
    assert all(len({(cell.arm, cell.options) for cell in task}) == 1 for task in tasks)
    assert sorted(cell.id for task in tasks for cell in task) == sorted(cell.id for cell in cells)
    assert len(pack(tuning_cells(tuned(tiny)), 1)) == 2


def test_two_processes_leave_the_tables_of_one(tiny: Path, whole: Results, tmp_path: Path) -> None:
    assert_same(compare(tuned(tiny), tmp_path / "study", engine=Local(2)), whole)


def test_a_study_that_was_stopped_goes_on(tiny: Path, whole: Results, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    shutil.copy(whole.directory / "study.json", folder)
    for path in sorted((whole.directory / "cells").iterdir())[::2]:
        shutil.copytree(path, folder / "cells" / path.name)
    assert_same(compare(tuned(tiny), folder, engine=Inline()), whole)
    assert_same(compare(tuned(tiny), folder, engine=Refuses()), whole)


def test_machines_that_had_other_values_are_joined_to_one_study(tiny: Path, whole: Results, tmp_path: Path) -> None:
    parts = []
    for place in range(2):
        values = f"arms.tam.weight_decay=[{(0, 0.05)[place]}]", f"arms.sgdm.momentum=[{(0.5, 0.9)[place]}]"
        scenario = tuned(tiny, *values)
        parts.append(compare(scenario, tmp_path / str(place), engine=Inline()).directory)
    joined = merge(parts, tmp_path / "joined").results
    assert_frame_equal(joined.online, whole.online, check_exact=True)
    assert Study(joined).trials == Study(whole).trials
    assert joined.study["tried"] == whole.study["tried"]
    assert joined.study["scenario"]["arms"]["tam"]["weight_decay"] == [0, 0.05]
    with pytest.raises(InputError, match=r"no folder has the tuning run of sgdm at lr 0.1, momentum=0.9 and seed 1000"):
        merge([parts[0], _other_seeds(tiny, tmp_path)], tmp_path / "lacks")


def _other_seeds(tiny: Path, tmp_path: Path) -> Path:
    """A part of other values of one arm alone, so that combinations are missing."""
    settings = ["protocol.first_seed=2", "arms.tam.weight_decay=[0]", "arms.sgdm.momentum=[0.9]", "arms.sgdm.lr=[0.05]"]
    scenario = load_scenario(str(tiny), ["protocol.seeds=1", *settings, "arms.tam.lr=[0.1]"], ["sgdm", "tam"])
    return compare(scenario, tmp_path / "other", engine=Inline()).directory


def test_what_is_repeated_keeps_the_chosen_options(
    whole: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tamcl.engines.local.Local", in_this_process)
    folder = shutil.copytree(whole.directory, tmp_path / "study")
    chosen = Study(whole).trials
    again = confirm(folder, seeds=2, engine=Inline())
    assert Study(again).trials == chosen
    declared = json.loads((folder / "confirm" / "claims.json").read_text())
    assert declared["options"] == {arm: trial.options for arm, trial in chosen.items()}
    assert_same(confirm(folder, seeds=2, engine=Inline()), again)
    oracle = train_oracle(folder, "restart", engine=Inline())
    assert Study(oracle).trials == chosen
    (found,) = oracle_comparisons(Study(load_results(folder)))
    assert found.trained == {"sgdm": 2, "tam": 2}
    assert {check.agreement for check in verify(folder, cells=4).checks} == {"bit by bit"}
    state = Watcher(folder).read()
    assert {name: (arm.trial, arm.tuned, arm.reported) for name, arm in state.arms.items()} == {
        name: (trial, 8, 2) for name, trial in chosen.items()
    }


def test_a_plan_counts_trials_and_what_is_finished(tiny: Path, whole: Results) -> None:
    plan = estimate(tuned(tiny), directory=whole.directory)
    assert (plan.cells, plan.finished) == ((20, 20), 20)
    more = tuned(tiny, "arms.tam.weight_decay=[0, 0.05, 0.1]", "arms.sgdm.momentum=[0.5, 0.9, 0.8]")
    assert {name: arm.tune for name, arm in estimate(more).arms.items()} == {"sgdm": (12, 12), "tam": (12, 12)}


def test_tables_of_before_have_no_options_and_are_not_trained_again(tiny: Path, tmp_path: Path) -> None:
    scenario = load_scenario(str(tiny), ["protocol.seeds=2", "protocol.tune_seeds=1"], ["sgdm", "tam"])
    new = compare(scenario, tmp_path / "study", engine=Inline())
    tables = {name: getattr(new, name) for name in SAME}
    for path in new.directory.rglob("*.parquet"):
        table = pd.read_parquet(path)
        table.drop(columns="options", errors="ignore").to_parquet(path, index=False)
    old = load_results(new.directory)
    for name, table in tables.items():
        assert_frame_equal(getattr(old, name), table, check_exact=True)
        assert list(getattr(old, name)) == list(TABLES[name].columns)
    assert set(old.runs["options"]) == {""}
    assert_same(compare(scenario, new.directory, engine=Refuses()), old)
    stored = pd.read_parquet(new.directory / "online.parquet")  # gathered again
    assert set(stored["options"]) == {""}


def test_options_that_are_none_are_damage(whole: Results, tmp_path: Path) -> None:
    folder = shutil.copytree(whole.directory, tmp_path / "study")
    runs = pd.read_parquet(folder / "runs.parquet").assign(options="weight_decay")
    runs.to_parquet(folder / "runs.parquet")
    with pytest.raises(Damaged, match="'weight_decay' are no options of a trial"):
        load_results(folder)


def test_one_run_needs_one_trial(tiny: Path) -> None:
    cure = r"name one, as scenario.with_arm\('sgdm', momentum=0.5\)$"
    with pytest.raises(InputError, match=f"arms.sgdm: has several values of momentum; {cure}"):
        run(tuned(tiny), "sgdm", lr=0.1)
    found = run(tuned(tiny, "arms.sgdm.momentum=[0.5]", "arms.tam.weight_decay=[0]"), "sgdm", lr=0.1)
    assert set(found.tables["online"]["options"]) == {"momentum=0.5"}


def test_a_value_with_which_no_step_can_be_made_is_refused_before_any_run(tiny: Path, tmp_path: Path) -> None:
    for settings, message in [
        (['arms.tam.weight_decay=[0, "no"]'], "arms.tam.weight_decay: must be a number, got 'no'"),
        (['arms.tam.start=["gradient", "no"]', "arms.tam.weight_decay=0"], "arms.tam: tam refuses .*'no'"),
        (["arms.sgdm.momentum=[0.9, -1]"], "arms.sgdm: sgd refuses .*momentum.*-1"),
        (["arms.sgdm.momentum=[0, 0.9]", "arms.sgdm.nesterov=true"], "arms.sgdm: sgd refuses .*esterov"),
    ]:
        with pytest.raises(InputError, match=message):
            compare(tuned(tiny, *settings), tmp_path / "study", engine=Inline())
    assert not (tmp_path / "study" / "cells").exists()


def fake(scenario: Scenario, values: dict[str, dict[Trial, float]]) -> pd.DataFrame:
    """The tuning table of one seed a trial."""
    from tamcl.stats.tuning import select

    rows = [(arm, *trial, value) for arm, own in values.items() for trial, value in own.items()]
    cells = pd.DataFrame(rows, columns=["arm", "lr", "options", "value"]).assign(scenario=scenario.name, seed=1000)
    runs = cells.drop(columns="value").assign(phase="tune", status="ok")
    return select(cells.assign(metric="online_accuracy"), runs, "online_accuracy")


def test_a_grid_is_widened_at_the_best_options(tiny: Path) -> None:
    scenario = tuned(tiny, "protocol.extend=2")
    tried = first_trials(scenario)
    assert {arm: len(trials) for arm, trials in tried.items()} == {"sgdm": 4, "tam": 4}
    best = {"sgdm": Trial(0.1, "momentum=0.5"), "tam": Trial(0.1, "weight_decay=0")}
    values = {arm: {trial: 0.9 if trial == best[arm] else 0.5 for trial in trials} for arm, trials in tried.items()}
    more = next_trials(scenario, tried, fake(scenario, values))
    assert more == {"sgdm": [Trial(0.2, "momentum=0.5")], "tam": [Trial(0.05, "weight_decay=0")]}
    tried = {arm: [*trials, *more[arm]] for arm, trials in tried.items()}
    values["sgdm"][more["sgdm"][0]], values["tam"][more["tam"][0]] = 0.95, 0.1
    scores = fake(scenario, values)
    assert scores.query("chosen").set_index("arm")["on_edge"].to_dict() == {"sgdm": True, "tam": False}
    again = next_trials(scenario, tried, scores)
    assert again["sgdm"] == [Trial(0.4, "momentum=0.5")]
    assert again["tam"][0].options == "weight_decay=0"
    assert again["tam"][0].lr == pytest.approx(np.sqrt(0.1 * 0.2), rel=1e-5)
    full = {arm: [*trials, *again[arm]] for arm, trials in tried.items()}
    assert next_trials(scenario, full, scores) == {}
    values["sgdm"][Trial(0.1, "momentum=0.9")] = 0.99  # the largest that was tried with this momentum
    assert widened(fake(scenario, values).query("arm == 'sgdm'"), "online_accuracy") == Trial(0.2, "momentum=0.9")


SHORT = ["protocol.search=random", "protocol.trials=4"]


def searched(scenario: Scenario, score: object = lambda trial: 0.0) -> dict[str, list[Trial]]:
    tried = first_trials(scenario)
    while True:
        values = {arm: {trial: score(trial) for trial in trials} for arm, trials in tried.items()}  # type: ignore[operator]
        more = next_trials(scenario, tried, fake(scenario, values))
        if not more:
            return tried
        tried = {arm: [*trials, *more[arm]] for arm, trials in tried.items()}


def test_a_search_draws_each_option_on_its_scale(tiny: Path) -> None:
    pytest.importorskip("optuna", reason="Optuna is not installed")
    options = ["weight_decay=[1e-5, 1e-3, 1e-1]", "momentum=[0.5, 0.99]", "gamma=[0, 0.5]", "seed=[3, 9]"]
    options += ["maximize=[false, true]", 'damping=[0.5, "shuffled"]', "eps=[1e-8]"]
    settings = [f"arms.tam.{option}" for option in options]
    scenario = load_scenario(str(tiny), [*settings, "protocol.search=random", "protocol.trials=24"], ["tam"])
    tried = searched(scenario)["tam"]
    assert tried[:4] == searched(load_scenario(str(tiny), [*settings, *SHORT], ["tam"]))["tam"]
    assert len(set(tried)) == 24
    drawn = pd.DataFrame([{"lr": trial.lr, **trial.arguments} for trial in tried])
    for name, low, high in [("lr", 0.1, 0.2), ("weight_decay", 1e-5, 1e-1), ("momentum", 0.5, 0.99), ("gamma", 0, 0.5)]:
        assert drawn[name].between(low, high).all()
        assert drawn[name].nunique() == 24
    assert -4 < np.log10(drawn["weight_decay"]).mean() < -2  # in the middle by ratio, where 0.05 would be by difference
    assert 0.68 < drawn["momentum"].mean() < 0.81
    assert 0.15 < drawn["gamma"].mean() < 0.35  # from 0 on there is no logarithm
    assert set(drawn["seed"]) <= {3, 4, 5, 6, 7, 8, 9}
    assert drawn["seed"].nunique() > 3
    assert all(isinstance(trial.arguments["seed"], int) for trial in tried)
    assert set(drawn["maximize"]) == {False, True}
    assert set(drawn["damping"]) == {0.5, "shuffled"}
    assert set(drawn["eps"]) == {1e-8}
    assert all(f"{value:.6g}" == f"{value:g}" and float(f"{value:.6g}") == value for value in drawn["weight_decay"])


def test_a_search_follows_the_scores_of_an_option(tiny: Path) -> None:
    pytest.importorskip("optuna", reason="Optuna is not installed")
    settings = ["arms.tam.momentum=[0.5, 0.99]", "protocol.search=tpe", "protocol.trials=24"]
    scenario = load_scenario(str(tiny), settings, ["tam"])
    up, down = (
        searched(scenario, lambda trial, sign=sign: sign * trial.arguments["momentum"])["tam"] for sign in (1, -1)
    )
    assert up[:8] == down[:8]
    late = [np.mean([trial.arguments["momentum"] for trial in trials[12:]]) for trials in (up, down)]
    assert late[0] > late[1] + 0.1


def test_a_search_of_few_values_makes_no_trial_twice(tiny: Path) -> None:
    pytest.importorskip("optuna", reason="Optuna is not installed")
    settings = ["arms.tam.lr=[0.1]", "arms.tam.weight_decay=[1, 5]", "protocol.search=random"]
    scenario = load_scenario(str(tiny), [*settings, "protocol.trials=5"], ["tam"])
    assert {trial.options for trial in searched(scenario)["tam"]} == {f"weight_decay={value}" for value in range(1, 6)}
    with pytest.raises(InputError, match="arms.tam: has 5 different trials, fewer than protocol.trials = 6"):
        first_trials(load_scenario(str(tiny), [*settings, "protocol.trials=6"], ["tam"]))


def test_warnings_name_the_option_whose_best_value_is_an_end(whole: Results) -> None:
    found = Study(whole)
    said = [line for line in edges(found) if "learning rate" not in line]
    expected = []
    for arm, trial in found.trials.items():
        ((name, value),) = trial.arguments.items()
        low, high = {"momentum": (0.5, 0.9), "weight_decay": (0, 0.05)}[name]
        if value:  # below a weight decay of 0 there is nothing
            side = "largest" if value == high else "smallest"
            expected.append(
                f"{arm}: the best {name}, {value:g}, is the {side} that was tried ({low:g} to {high:g}). A better one"
                f" may lie outside, so {arm} may be better than shown."
            )
    assert said == expected
    assert said


def test_a_warning_counts_numbers_alone(tiny: Path) -> None:
    damping = {
        Trial(0.1, f"damping={value}"): score for value, score in [("0.3", 0.1), ("0.5", 0.9), ("shuffled", 0.2)]
    }
    study = SimpleNamespace(tuning=fake(tuned(tiny), {"tam": damping}), protocol={})
    (line,) = edges(study)  # type: ignore[arg-type]
    assert line.startswith("tam: the best damping, 0.5, is the largest that was tried (0.3 to 0.5). A better one may")
