"""Tables are written whole or not at all, and what is wrong with a folder is said in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from tamcl.errors import Damaged, InputError
from tamcl.files.atomic import write_atomic
from tamcl.results import TABLES, conform, empty, load_results, read_table, write_table
from tests.synthetic_study import write_study

ROW = {"scenario": "flips", "arm": "tam", "lr": 0.1, "options": "", "seed": 0, "metric": "forgetting", "value": 0.5}


def study(folder: Path) -> Path:
    for name in TABLES:
        write_table(folder, name, empty(name))
    (folder / "study.json").write_text(json.dumps({"command": "tamcl", "scenario": {"name": "flips"}}))
    return folder


def test_a_table_reads_back_as_it_was_written(tmp_path: Path) -> None:
    table = pd.DataFrame([ROW | {"seed": seed} for seed in (2, 0, 1)])
    write_table(tmp_path, "metrics", table)
    assert_frame_equal(read_table(tmp_path, "metrics"), table.sort_values("seed", ignore_index=True))
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.parquet"]


@pytest.mark.parametrize("name", TABLES)
def test_empty_tables_keep_their_types(name: str, tmp_path: Path) -> None:
    write_table(tmp_path, name, empty(name))
    assert_frame_equal(read_table(tmp_path, name), empty(name))


def test_columns_and_keys_are_checked() -> None:
    with pytest.raises(ValueError, match=r"table 'metrics' has columns .*'valeu'.*, not .*'value'"):
        conform("metrics", pd.DataFrame([ROW]).rename(columns={"value": "valeu"}))
    with pytest.raises(
        ValueError, match="table 'metrics' has two rows of the same scenario, arm, lr, options, seed, metric"
    ):
        conform("metrics", pd.DataFrame([ROW, ROW]))


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, fail)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_wrong_with_a_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no finished study: study.json, online.parquet"):
        load_results(tmp_path)
    folder = study(tmp_path / "study")
    assert load_results(folder).study["scenario"] == {"name": "flips"}
    (folder / "eval.parquet").write_bytes((folder / "eval.parquet").read_bytes()[:100])
    with pytest.raises(InputError, match="holds a damaged table"):
        load_results(folder)
    for damage in ("", "{", "[]", '{"command": "x"}'):
        (folder / "study.json").write_text(damage)
        with pytest.raises(InputError, match=r"study.json' is damaged"):
            load_results(folder)


def test_a_folder_of_an_older_tamcl_gets_the_columns_that_it_lacks(tmp_path: Path) -> None:
    folder = write_study(tmp_path, arms=["sgdm", "tam"], seeds=2, experiences=2, steps=20)
    optimizer = {"name": "mine.sub:Mine", "lr": 0.1, "source": "0f"}
    mine = {"optimizer": optimizer, "code": {"mine.models": "1e"}, "evaluation": {"batches": 4}}
    runs = read_table(folder, "runs")
    config = [json.dumps(mine) if arm == "tam" else '{"optimizer": {"name": "sgd"}}' for arm in runs["arm"]]
    digests = ["order", "initial_weights", "final_weights", "device"]
    old = runs.assign(config=config).drop(columns=["batches", "stacked", "compiled", "optimizer", "code", *digests])
    old.to_parquet(folder / "runs.parquet")
    found = load_results(folder).runs
    assert list(found) == list(TABLES["runs"].columns)
    assert_frame_equal(found[list(old)], old)
    tam, sgdm = (found[found["arm"] == arm].iloc[0] for arm in ("tam", "sgdm"))
    assert (tam["batches"], json.loads(tam["optimizer"])) == (4, optimizer)
    assert json.loads(tam["code"]) == {"mine.models": "1e", "mine.sub": "0f"}
    assert (sgdm["batches"], sgdm["optimizer"], sgdm["code"]) == (1, '{"name": "sgd"}', "{}")
    assert (found[digests] == "").all(axis=None)
    for damage in ("{", "[]", '{"evaluation": {"batches": "many"}}'):
        old.assign(config=damage).to_parquet(folder / "runs.parquet")
        with pytest.raises(Damaged, match=r"holds a damaged table: .*runs.parquet' is damaged: .*gathers it again"):
            load_results(folder)
