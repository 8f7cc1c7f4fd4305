"""A study of many cells: the same tables whatever is in memory at once, which is little, and each file read once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

from tamcl.errors import AllFailed, Damaged, InputError
from tamcl.metrics import find, measure
from tamcl.metrics.tables import Measuring
from tamcl.results import CELL, LEAST_ROWS, OF_CELLS, TABLES, load_results, read_table
from tamcl.scenario.load import load_scenario
from tamcl.study.folder import is_finished, write_study
from tamcl.study.gather import in_parts, measure_cells, write_results
from tamcl.study.plan import report_cells
from tamcl.study.watch import Watcher
from tamcl.training.cell import Cell, failed, write_cell
from tamcl.trial import Trial
from tests.synthetic_study import plan_of, write_cells

PAIRS = [("tam", "sgdm")]


def make(directory: Path, seeds: int, rows: int = 10) -> list[Path]:
    """Write a study of two arms on so many reported seeds, trained and not gathered, and return its cells' folders."""
    grids = ["arms.sgdm.lr=[0.1]", "arms.tam.lr=[0.2]"]
    scenario = load_scenario("label_flip_digits", [f"protocol.seeds={seeds}", *grids], ["tam", "sgdm"])
    cells = report_cells(scenario, {"tam": Trial(0.2), "sgdm": Trial(0.1)})
    write_cells(directory / "cells", cells, rows=rows)
    write_study(directory, {"command": "", "scenario": scenario.dump(), "data": {"checksum": ""}})
    return [directory / "cells" / cell.id for cell in cells]


def stored(folders: list[Path], name: str) -> pd.DataFrame:
    """The rows of all cells, sorted, in plain pandas."""
    table = pd.concat([pd.read_parquet(folder / f"{name}.parquet") for folder in folders])
    return table.sort_values(TABLES[name].keys, ignore_index=True)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no more than one cell be in memory at once."""
    monkeypatch.setattr("tamcl.study.gather.ROWS", 30)
    monkeypatch.setattr("tamcl.results.ROWS", 30)


def test_gathered_tables_are_those_of_the_cells_whatever_is_in_memory_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = make(tmp_path, seeds=4)
    found = []
    for rows in (1, 30, 10_000):
        monkeypatch.setattr("tamcl.study.gather.ROWS", rows)
        monkeypatch.setattr("tamcl.results.ROWS", rows)
        write_results(tmp_path, folders[::-1], PAIRS)
        found.append({name: pd.read_parquet(tmp_path / f"{name}.parquet") for name in written(tmp_path)})
        results = load_results(tmp_path)
        ok = results.runs.loc[results.runs["seed"] > 1, list(CELL)]
        for name, table in found[-1].items():
            if name != "comparisons":
                assert_frame_equal(results.rows_of(name, ok), table.merge(ok), check_exact=True)
    for name in ("online", "eval", "runs"):
        assert_frame_equal(found[0][name], stored(folders, name), check_exact=True)
    online, evaluated = found[0]["online"], found[0]["eval"]
    assert_frame_equal(found[0]["metrics"], measure(online, evaluated), check_exact=True)
    for tables in found[1:]:
        assert tables.keys() == found[0].keys()
        for name, table in tables.items():
            assert_frame_equal(table, found[0][name], check_exact=True)


def written(directory: Path) -> set[str]:
    return {path.stem for path in directory.glob("*.parquet")}


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Counts files that are decoded, and tables that are checked by pandas."""
    import tamcl.results as module

    counts: Counter[str] = Counter()

    def counted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def count(*arguments: Any, **options: Any) -> Any:
            counts[name] += 1
            return call(*arguments, **options)

        return count

    for name in ("load_parquet", "conform"):
        monkeypatch.setattr(module, name, counted(name, getattr(module, name)))
    return counts


@pytest.mark.parametrize(
    ("step", "decoded", "checked"),
    [
        (lambda out, folders: [is_finished(folder) for folder in folders], 1, 0),
        (lambda out, folders: measure_cells(folders, [find("online_accuracy")]), 3, 5),
        (lambda out, folders: write_results(out, folders, PAIRS), 4, 12),
        (lambda out, folders: Watcher(out).read(), 3, 3),
    ],
    ids=["find", "scores", "gather", "watch"],
)
def test_each_file_is_decoded_a_few_times_and_tables_are_checked_together(
    step: Callable[[Path, list[Path]], object], decoded: int, checked: int, tmp_path: Path, reads: Counter[str]
) -> None:
    for seeds in (2, 6):
        folders = make(tmp_path / str(seeds), seeds)
        reads.clear()
        step(tmp_path / str(seeds), folders)
        assert reads["load_parquet"] == decoded * len(folders)
        assert reads["conform"] <= checked


def test_opening_a_study_decodes_its_runs_alone(tmp_path: Path, reads: Counter[str]) -> None:
    write_results(tmp_path, make(tmp_path, seeds=2), PAIRS)
    reads.clear()
    results = load_results(tmp_path)
    assert reads["load_parquet"] == 1
    assert len(results.online) == 40
    assert reads["load_parquet"] == 2
    assert results.online is results.online


def test_tables_that_were_written_anew_are_not_mixed_with_those_that_were_opened(tmp_path: Path) -> None:
    folders = make(tmp_path, seeds=2)
    write_results(tmp_path, folders[:2], PAIRS)
    before = load_results(tmp_path)
    write_results(tmp_path, folders, PAIRS)
    cells = before.runs[list(CELL)]
    for read in (lambda: before.online, lambda: before.rows_of("eval", cells)):
        with pytest.raises(
            InputError, match=r"'.*parquet' was written anew since the study was opened: open it again$"
        ):
            read()


def test_memory_is_that_of_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = make(tmp_path, seeds=25, rows=10_000)
    monkeypatch.setattr("tamcl.study.gather.ROWS", 20_000)
    before, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    measured, most = Measuring.add, []

    def add(self: Measuring, online: pd.DataFrame, *arguments: Any, **options: Any) -> None:
        most.append(len(online))
        measured(self, online, *arguments, **options)

    monkeypatch.setattr(Measuring, "add", add)
    pa.set_memory_pool(pool)
    try:
        write_results(tmp_path, folders, PAIRS)
    finally:
        pa.set_memory_pool(before)
    assert most == [20_000] * 25
    assert len(read_table(tmp_path, "online")) == 500_000
    assert (pool.max_memory() or 0) < 500_000 * 72 / 2  # 9 columns of 8 bytes, if all were there at once


def test_many_cells_of_few_rows_are_no_more_at_once_than_a_part_has_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = make(tmp_path, seeds=4)
    monkeypatch.setattr("tamcl.study.gather.ROWS", 3 * LEAST_ROWS)
    assert [len(tables["runs"]) for tables in in_parts(folders)] == [3, 3, 2]


def test_cells_that_are_incomplete_are_found_in_other_parts(tmp_path: Path, small_parts: None) -> None:
    folders = make(tmp_path, seeds=3)
    short = make(tmp_path / "short", seeds=3, rows=8)
    tam = [folder for folder in folders if folder.name.startswith("tam")]
    others = [folder for folder in short if folder.name.startswith("sgdm")]
    with pytest.raises(InputError, match=r"^online rows of .*, sgdm, lr 0.1, seed 0: step 8 stands there 0 times"):
        write_results(tmp_path, [*tam, *others], PAIRS)
    assert not written(tmp_path)
    assert not [*tmp_path.glob(".*")]


def test_a_cell_that_stands_twice_is_one_line(tmp_path: Path) -> None:
    folders = make(tmp_path, seeds=2)
    with pytest.raises(Damaged, match=r"^'.*' or one of the 2 after it is damaged: .* two rows"):
        write_results(tmp_path, [*folders[:2], folders[0]], PAIRS)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_what_cannot_be_written_leaves_the_tables_as_they_were(tmp_path: Path) -> None:
    folders = make(tmp_path, seeds=2)
    write_results(tmp_path, folders[:2], PAIRS)
    before = {path: path.read_bytes() for path in tmp_path.glob("*.parquet")}
    (tmp_path / f".online.parquet.{os.getpid()}").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_results(tmp_path, folders, PAIRS)
    assert caught.value.filename == str(tmp_path / "online.parquet")
    assert {path: path.read_bytes() for path in tmp_path.glob("*.parquet")} == before
    assert not [*tmp_path.glob(".*")]


def test_where_all_failed_nothing_is_written(tmp_path: Path) -> None:
    scenario = load_scenario("label_flip_digits", ["arms.tam.lr=[0.2]"], ["tam"])
    cell = Cell(scenario, "tam", 0.2, 0, "report")
    write_cell(tmp_path / "cells", cell, failed(cell, ValueError("no")))
    with pytest.raises(AllFailed, match=r"^all 1 runs failed, .* \(tam lr 0.2 seed 0\) by ValueError: no"):
        write_results(tmp_path, [tmp_path / "cells" / cell.id], PAIRS)
    assert not written(tmp_path)


def test_a_study_without_cells_has_all_tables(tmp_path: Path) -> None:
    write_results(tmp_path, [], [])
    assert written(tmp_path) == {"online", "eval", "runs", "metrics", "comparisons"}
    assert all(read_table(tmp_path, name).empty for name in TABLES)
    assert list(in_parts([])) == []


def test_a_synthetic_cell_is_as_a_trained_one(tiny: Path, tmp_path: Path) -> None:
    """What the benchmark measures on holds for what a study leaves."""
    from tests.helpers import train_here

    cell = Cell(load_scenario(str(tiny)), "tam", 0.1, 0, "report")
    write_cells(tmp_path / "made", [cell])
    train_here([cell], tmp_path / "trained")
    schemas = [
        {path.name: pa.parquet.read_schema(path) for path in (tmp_path / place / cell.id).glob("*.parquet")}
        for place in ("made", "trained")
    ]
    assert schemas[0] == schemas[1]
    assert set(schemas[0]) <= {f"{name}.parquet" for name in OF_CELLS}


def test_the_benchmark_has_as_many_cells_as_it_says() -> None:
    from tests.synthetic_study import scenario_of

    cells = plan_of(scenario_of(250))
    assert len({cell.id for cell in cells}) == 250
    assert sum(cell.phase == "tune" for cell in cells) == 240
