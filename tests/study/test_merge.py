"""Folders that were trained on several machines are joined to what one machine would have made, or refused."""

from __future__ import annotations

import json
import shutil
from itertools import count
from math import inf, nan
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from tamcl.cli.main import main
from tamcl.engines.inline import Inline
from tamcl.errors import InputError
from tamcl.files.records import read_study, write_record
from tamcl.results import TABLES, load_results, read_table, write_tables
from tamcl.scenario.load import load_scenario, parse
from tamcl.study.compare import compare
from tamcl.study.merge import _difference, merge
from tests.helpers import refusal

RATES = "arms.tam.lr=[0.2, 0.1]", "arms.sgdm.lr=[0.001, 0.01]"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """A study as one machine trains it, and parts of it."""
    root = tmp_path_factory.mktemp("parts")

    def train(name: str, *settings: str, arms: str = "tam sgdm") -> None:
        scenario = load_scenario(str(tiny), ["protocol.seeds=4", *settings], arms.split())
        compare(scenario, root / name, engine=Inline())

    train("whole", *RATES)
    train("tam", RATES[0], arms="tam")
    train("sgdm", RATES[1], arms="sgdm")
    train("first", *RATES, "protocol.seeds=1")
    train("last", *RATES, "protocol.seeds=3", "protocol.first_seed=1")
    train("high", "arms.tam.lr=[0.4, 0.2]", "arms.sgdm.lr=[0.01, 0.1]", "protocol.seeds=1")
    train("untuned", "arms.tam.lr=[0.4]", "arms.sgdm.lr=[0.1]", "protocol.seeds=1")
    train("milder", *RATES, "stream.fraction=0.4")
    return root


@pytest.mark.parametrize("parts", ["tam sgdm", "first last", "last first", "tam first last"])
def test_parts_are_joined_to_the_study_of_one_machine(folders: Path, tmp_path: Path, parts: str) -> None:
    joined = merge([folders / part for part in parts.split()], tmp_path / "joined").results
    whole = load_results(folders / "whole")
    for name in ("online", "eval", "metrics"):
        assert_frame_equal(getattr(joined, name), getattr(whole, name), check_exact=True)
    assert list(joined.runs["seed"]) == list(whole.runs["seed"])
    pair = joined.comparisons.query("metric == 'online_accuracy'").iloc[0]
    assert pair["n_pairs"] == 4
    assert abs(pair["diff"]) == abs(whole.comparisons.query("metric == 'online_accuracy'")["diff"].item())


def test_weights_are_joined_where_all_parts_have_kept_them(tiny: Path, tmp_path: Path) -> None:
    for seed, keep in (0, "true"), (1, "true"), (2, "false"):
        own = ["arms.tam.lr=[0.1]", "protocol.seeds=1", f"protocol.first_seed={seed}", f"keep_weights={keep}"]
        compare(load_scenario(str(tiny), own, ["tam"]), tmp_path / str(seed), engine=Inline())
    both = merge([tmp_path / "0", tmp_path / "1"], tmp_path / "both").results
    assert both.study["scenario"]["keep_weights"]
    assert len([*(tmp_path / "both").glob("cells/*/weights")]) == 2
    mixed = merge([tmp_path / "1", tmp_path / "2"], tmp_path / "mixed").results
    assert not mixed.study["scenario"]["keep_weights"]


def test_learning_rates_are_chosen_among_those_of_all_parts(folders: Path, tmp_path: Path) -> None:
    parts = [folders / "first", folders / "high"]
    assert main(["merge", *map(str, parts), "--out", str(tmp_path / "joined")]) == 0
    joined = load_results(tmp_path / "joined")
    metrics = pd.concat([load_results(part).metrics for part in parts]).drop_duplicates()
    scores = metrics.query("metric == 'online_accuracy' and seed >= 1000").groupby(["arm", "lr"])["value"].mean()
    chosen = joined.runs.query("phase == 'report'").set_index("arm")["lr"]
    assert dict(chosen) == {arm: scores[arm].idxmax() for arm in ("sgdm", "tam")}
    assert len(joined.runs.query("phase == 'tune'")) == (3 + 3) * 2
    assert (tmp_path / "joined" / "report.html").is_file()


def test_grids_are_widened_as_one_machine_would_have(tiny: Path, tmp_path: Path) -> None:
    def train(name: str, extend: int, *arms: str, first_seed: int = 0) -> Path:
        settings = ["protocol.seeds=1", "protocol.tune_seeds=1", f"protocol.extend={extend}"]
        settings += [f"protocol.first_seed={first_seed}", "arms.tam.lr=[2e-5, 1e-5]"]
        settings += [f"arms.sgdm.lr={[1e-4, 0.05, 10.0] if name == 'wide' else [1e-4, 0.05]}"]
        return compare(load_scenario(str(tiny), settings, arms), tmp_path / name, engine=Inline()).directory

    tam, sgdm, narrow = train("tam", 2, "tam"), train("sgdm", 1, "sgdm"), train("narrow", 0, "tam")
    with pytest.raises(InputError, match="by different numbers of learning rates: tam 2, sgdm 1; with --extend train"):
        merge([tam, sgdm], tmp_path / "joined")
    with pytest.raises(InputError, match="by different numbers of learning rates: tam 0, sgdm 1"):
        merge([narrow, sgdm], tmp_path / "joined")
    with pytest.raises(InputError, match="would have widened the grids further, that of tam by lr "):
        merge([narrow, train("wide", 1, "sgdm")], tmp_path / "joined")
    assert not (tmp_path / "joined").exists()
    both = [train(f"both{seed}", 2, "tam", "sgdm", first_seed=seed) for seed in (0, 1)]
    joined = merge(both, tmp_path / "joined").results
    assert joined.study["tried"] == load_results(both[0]).study["tried"]
    assert min(len(rates) for rates in joined.study["tried"].values()) > 2


def test_a_joined_study_goes_on_where_its_parts_ended(folders: Path, tmp_path: Path) -> None:
    merge([folders / "tam", folders / "sgdm"], tmp_path / "joined")
    scenario = parse(read_study(tmp_path / "joined" / "study.json")["scenario"])
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "joined" / "cells").iterdir()}
    compare(scenario, tmp_path / "joined", engine=Inline())
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "joined" / "cells").iterdir()} == before


def test_a_loss_that_is_no_number_in_one_folder_alone_is_another() -> None:
    tables = [
        {"online": pd.DataFrame({"n": [1], "loss": [loss]}), "eval": pd.DataFrame({"loss": [1.0]}), "continual": none}
        for none in [pd.DataFrame()]
        for loss in (1.0, inf, nan)
    ]
    assert [_difference(tables[0], other, "number") for other in tables] == [0.0, inf, inf]
    assert _difference(tables[1], tables[1], "number") == 0.0


def test_runs_that_several_folders_have_are_compared(folders: Path, tmp_path: Path) -> None:
    shutil.copytree(folders / "last", tmp_path / "other")
    (cell,) = (tmp_path / "other" / "cells").glob("tam-lr0.2-seed1000-*")
    tables = {name: read_table(cell, name) for name in ("online", "eval", "runs", "diagnostics", "continual")}
    tables["online"].loc[0, "correct"] += 1  # one answer more, of all that were asked
    write_tables(cell, tables, of=cell.name)
    differences = merge([folders / "first", tmp_path / "other"], tmp_path / "joined").differences
    assert len(differences) == 2 * 2 * len(set(load_results(folders / "first").runs.query("phase == 'tune'")["seed"]))
    assert sorted(differences)[:-1] == [0.0] * (len(differences) - 1)
    assert max(differences) == pytest.approx(1 / tables["online"]["n"].sum())


def test_a_run_that_failed_in_one_folder_is_taken_from_another(folders: Path, tmp_path: Path) -> None:
    shutil.copytree(folders / "first", tmp_path / "other")
    (cell,) = (tmp_path / "other" / "cells").glob("tam-lr0.2-seed1000-*")
    for folder in (cell, tmp_path / "other"):
        names = [name for name in TABLES if name not in ("metrics", "comparisons") or folder != cell]
        tables = {name: read_table(folder, name) for name in names if (folder / f"{name}.parquet").is_file()}
        fails = tables["runs"].eval("arm == 'tam' and lr == 0.2 and seed == 1000")
        tables["runs"] = tables["runs"].assign(status=tables["runs"]["status"].mask(fails, "failed"))
        write_tables(folder, tables, of=folder.name)
    joined = merge([tmp_path / "other", folders / "last"], tmp_path / "joined")
    assert set(joined.results.runs["status"]) == {"ok"}
    assert set(joined.differences) == {0.0}


def test_an_interrupted_merge_goes_on_when_it_is_asked_for_again(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, copies = [folders / "first", folders / "last"], count()

    def cut_off(source: Path, target: Path) -> None:
        if next(copies) == 3:
            target.mkdir(parents=True)
            shutil.copy(source / "online.parquet", target)
            raise KeyboardInterrupt
        copytree(source, target)

    copytree = shutil.copytree
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copytree", cut_off)
        with pytest.raises(KeyboardInterrupt):
            merge(parts, tmp_path / "joined")
    with pytest.raises(InputError, match="holds no finished study"):
        load_results(tmp_path / "joined")
    joined = merge(parts, tmp_path / "joined").results
    assert_frame_equal(joined.online, load_results(folders / "whole").online, check_exact=True)
    with pytest.raises(InputError, match="holds a study that is finished; name another folder"):
        merge(parts, tmp_path / "joined")


def test_a_value_that_is_written_in_two_ways_is_refused(tiny: Path, tmp_path: Path) -> None:
    for name, values in (("one", "[0]"), ("other", "[0.0, 0.9]")):
        settings = [f"arms.sgdm.momentum={values}", "arms.sgdm.lr=[0.1]", "protocol.seeds=1", "protocol.tune_seeds=1"]
        compare(load_scenario(str(tiny), settings, ["sgdm"]), tmp_path / name, progress=False)
    with pytest.raises(InputError, match="arms.sgdm.momentum is 0 there and 0.0 here"):
        merge([tmp_path / "one", tmp_path / "other"], tmp_path / "joined")


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ("whole milder", "stream.fraction is 0.8 there and 0.4 here"),
        ("first", "needs two folders or more"),
        ("first first", "none of them twice"),
        ("whole nowhere", "holds no finished study"),
        ("tam first", "no folder has the reported run of sgdm at lr "),
        ("first untuned", "no folder has the tuning run of tam at lr 0.4 and seed 1000 and 3 more"),
    ],
)
def test_what_does_not_fit_is_refused(
    folders: Path, tmp_path: Path, parts: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "joined"
    assert why in refusal(["merge", *(str(folders / part) for part in parts.split()), "--out", str(out)], capsys)
    assert not out.exists()


@pytest.mark.parametrize("what", ["data", "fingerprint", "version", "optimizer"])
def test_a_part_that_was_trained_otherwise_is_refused(folders: Path, tmp_path: Path, what: str) -> None:
    shutil.copytree(folders / "last", part := tmp_path / "other")
    if what == "data":
        study = read_study(part / "study.json")
        study["data"]["checksum"] = "0123"
        write_record(part / "study.json", study)
    else:
        names = ("online", "eval", "runs", "metrics", "comparisons")
        tables = {name: read_table(part, name) for name in names}
        runs = tables["runs"]
        configs = [json.loads(text) for text in runs["config"]]
        if what == "fingerprint":
            runs["fingerprint"] = "other"
        if what == "version":
            runs["config"] = [json.dumps(config | {"tamcl": "0.0.1"}) for config in configs]
        if what == "optimizer":
            changed = [config | {"optimizer": config["optimizer"] | {"nesterov": True}} for config in configs]
            runs["config"] = [json.dumps(config) for config in changed]
        write_tables(part, tables, of="x")
    said = {"data": "data.checksum is", "fingerprint": "the stream of seed", "version": "tamcl is"}
    with pytest.raises(InputError, match=said.get(what, "arms.sgdm.optimizer.nesterov")):
        merge([folders / "first", part], tmp_path / "joined")
    assert not (tmp_path / "joined").exists()
