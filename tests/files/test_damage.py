"""A file that was damaged is never read as if it were whole, whatever was done to it, and never ends in a traceback."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

from tamcl.cli.main import main
from tamcl.errors import Damaged, InputError
from tamcl.files.atomic import write_atomic
from tamcl.files.digests import digest_in, digest_of
from tamcl.files.records import read_claims, read_study, write_record
from tamcl.results import OF_CELLS, TABLES, load_results, read_table, write_table, write_tables
from tamcl.scenario.load import load_scenario
from tamcl.scenario.schema import Scenario
from tamcl.study.compare import compare
from tamcl.study.folder import is_finished, read_cell
from tamcl.training import checkpoint
from tests.helpers import in_this_process

CLAIM = {"metric": "online_accuracy", "arm_a": "tam", "arm_b": "sgdm", "n_pairs": 3, "diff": 0.0375}
CLAIM |= {"ci_low": -0.01, "ci_high": float("nan"), "p_value": 0.25, "p_adjusted": 0.5, "strength": "shown"}
CLAIMS = {"declared": "2025-01-01", "seeds": [2000, 2001], "level": 0.05, "rates": {"tam": 0.1}, "claims": [CLAIM]}
SCENARIO = {
    "name": "flips",
    "protocol": {"seeds": 4, "pairs": [["tam", "sgdm"]]},
    "arms": {"tam": {"lr": [0.0001]}, "sgdm": {"lr": [0.1]}},
}
STUDY = {"command": "tamcl compare flips", "scenario": SCENARIO, "data": {"checksum": "0f", "train": 10, "test": 5}}


def small(name: str) -> pd.DataFrame:
    """A table of 40 rows that differ in their numbers."""
    texts = {"config": '{"seed": 1}', "phase": "report", "status": "ok", "options": "word=1"}
    texts |= dict.fromkeys(["optimizer", "code", "data", "versions"], "{}")
    columns: dict[str, Any] = {}
    for place, (column, dtype) in enumerate(TABLES[name].columns.items()):
        values = [row * (place + 1) for row in range(40)]
        columns[column] = [texts.get(column, "word")] * 40 if dtype == "str" else [value / 3 for value in values]
        if dtype == "int64":
            columns[column] = values
        if dtype == "bool":
            columns[column] = [value % 2 == 0 for value in values]
        if column == "arm_b":  # the last word of the key of comparisons, which has no numbers
            columns[column] = [f"arm{row:02}" for row in range(40)]
    return pd.DataFrame(columns)


def flipped(content: bytes, count: int) -> Iterator[bytes]:
    """The content with one bit of it turned, at so many places from its start to its end."""
    for turn in range(count):
        at = turn * (len(content) - 1) // (count - 1)
        yield content[:at] + bytes([content[at] ^ (1 << turn % 8)]) + content[at + 1 :]


def refused(path: Path, read: Callable[[], Any], same: Callable[[Any], object], count: int = 60) -> int:
    """Turn bits of a file, and return how often it was refused; where it is read, `same` must hold."""
    whole, times = path.read_bytes(), 0
    for content in flipped(whole, count):
        path.write_bytes(content)
        try:
            found = read()
        except Damaged as error:
            times += str(path) in str(error) and "\n" not in str(error)
        else:
            same(found)
    path.write_bytes(whole)
    same(read())
    return times


@pytest.mark.parametrize("name", TABLES)
def test_a_flipped_bit_of_a_table_changes_no_value(name: str, tmp_path: Path) -> None:
    table = small(name)
    write_table(tmp_path, name, table)
    whole = read_table(tmp_path, name)
    assert_frame_equal(whole, table, check_dtype=False)

    def same(found: pd.DataFrame) -> None:
        assert_frame_equal(found, whole, check_exact=True)

    assert refused(tmp_path / f"{name}.parquet", lambda: read_table(tmp_path, name), same) >= 57


@pytest.mark.parametrize(("read", "values"), [(read_study, STUDY), (read_claims, CLAIMS)])
def test_a_flipped_bit_of_a_record_changes_no_value(
    read: Callable[[Path], dict[str, Any]], values: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "record.json"
    write_record(path, values)

    def same(found: dict[str, Any]) -> None:  # in words, as nan is not equal to itself
        assert {key: json.dumps(found[key]) for key in values} == {key: json.dumps(values[key]) for key in values}

    assert refused(path, lambda: read(path), same, count=300) >= 270


@pytest.mark.parametrize("name", ["online", "runs"])
def test_a_table_of_an_older_version_opens_and_is_refused_in_one_line_when_damaged(name: str, tmp_path: Path) -> None:
    path, table = tmp_path / f"{name}.parquet", small(name)
    table.to_parquet(path, index=False)
    assert_frame_equal(read_table(tmp_path, name), table, check_dtype=False)
    times = refused(path, lambda: read_table(tmp_path, name), lambda found: None, count=400)
    assert times > 100  # without a digest pixels of values may be others, and what is read of the form is refused


@pytest.mark.parametrize("size", [40, 100, 1 << 20, (1 << 20) + 40, 5 << 20])
def test_the_digest_of_a_file_is_that_of_its_content(size: int) -> None:
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    for at in (0, 8, size // 2, size - 32):
        assert digest_in(io.BytesIO(content), at) == digest_of(content, at)
        whole = content[:at] + digest_of(content, at) + content[at + 32 :]
        assert digest_in(io.BytesIO(whole), at) == digest_of(content, at)


def test_pages_have_checksums_for_other_programs(tmp_path: Path) -> None:
    write_table(tmp_path, "online", small("online"))
    path = tmp_path / "online.parquet"
    column, content = pq.ParquetFile(path).metadata.row_group(0).column(7), bytearray(path.read_bytes())
    content[column.dictionary_page_offset + column.total_compressed_size - 1] ^= 1  # in the last page, past its header
    path.write_bytes(content)
    with pytest.raises(OSError, match="CRC"):
        pq.read_table(path, page_checksum_verification=True)


def write_float_seeds(path: Path) -> None:
    small("online").assign(seed=lambda table: table["seed"] + 0.5).to_parquet(path)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "without its end": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "zeros in the middle": lambda path: path.write_bytes(path.read_bytes()[:500] + bytes(50) + path.read_bytes()[550:]),
    "more at its end": lambda path: path.write_bytes(path.read_bytes() * 2),
    "no table": lambda path: path.write_text("online"),
    "another table": lambda path: shutil.copy(path.with_name("eval.parquet"), path),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "parts of seeds": write_float_seeds,
    "words for numbers": lambda path: small("online").assign(loss="0.5").to_parquet(path),
    "numbers for words": lambda path: small("online").assign(arm=1).to_parquet(path),
    "words for seeds": lambda path: small("online").astype({"seed": "str"}).to_parquet(path),
    "no arms": lambda path: small("online").assign(arm=None).to_parquet(path),
    "truth for numbers": lambda path: small("online").assign(correct=True).to_parquet(path),
    "dates for numbers": lambda path: small("online").assign(n=pd.Timestamp("2025-01-01")).to_parquet(path),
    "lists for numbers": lambda path: small("online").assign(loss=[[0.5]] * 40).to_parquet(path),
    "a column less": lambda path: small("online").drop(columns="loss").to_parquet(path),
    "a row twice": lambda path: pd.concat([small("online")] * 2).to_parquet(path),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_what_is_no_such_table_is_one_line(damage: Callable[[Path], object], tmp_path: Path) -> None:
    for name in ("online", "eval"):
        write_table(tmp_path, name, small(name))
    damage(tmp_path / "online.parquet")
    with pytest.raises(Damaged, match=r"^'.*online.parquet' is damaged: [^\n]+$"):
        read_table(tmp_path, "online")


def test_other_types_that_hold_the_same_values_are_taken(tmp_path: Path) -> None:
    table = small("online")
    write_table(tmp_path, "online", table)
    whole = read_table(tmp_path, "online")
    others = {"seed": "int32", "n": "float64", "arm": "category", "lr": "float64"}
    table.astype(others).assign(correct=table["correct"].astype("Float64")).to_parquet(tmp_path / "online.parquet")
    assert_frame_equal(read_table(tmp_path, "online"), whole, check_exact=True)


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_table(tmp_path, "online", small("online"))
    (tmp_path / "study.json").touch()

    def refuse(path: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    for read in (lambda: read_table(tmp_path, "online"), lambda: read_study(tmp_path / "study.json")):
        with pytest.raises(InputError, match=r"': Permission denied$") as caught:
            read()
        assert not isinstance(caught.value, Damaged)


def test_an_error_of_writing_names_the_file_and_leaves_nothing(tmp_path: Path) -> None:
    def full(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left on device") as caught:
        write_atomic(tmp_path / "below" / "file", full)
    assert (caught.value.errno, caught.value.filename) == (28, str(tmp_path / "below" / "file"))
    assert not [*(tmp_path / "below").iterdir()]


def test_tables_that_were_not_written_together_are_no_study(tmp_path: Path) -> None:
    tables = {name: small(name) for name in TABLES}
    for place in ("one", "other"):
        write_tables(tmp_path / place, tables, of=place)
        write_record(tmp_path / place / "study.json", STUDY)
    assert_frame_equal(load_results(tmp_path / "one").metrics, read_table(tmp_path / "one", "metrics"))
    shutil.copy(tmp_path / "other" / "metrics.parquet", tmp_path / "one")
    with pytest.raises(Damaged, match=r"metrics.parquet' is damaged: it was not written together with online.parquet;"):
        load_results(tmp_path / "one")
    asked = STUDY | {"scenario": SCENARIO | {"diagnostics": {"names": ["update_norm"], "every": 1}}}
    write_record(tmp_path / "other" / "study.json", asked)
    (tmp_path / "other" / "diagnostics.parquet").unlink()
    with pytest.raises(Damaged, match=r"holds a damaged table: '.*diagnostics.parquet' is missing"):
        load_results(tmp_path / "other")
    read_table(tmp_path / "one", "metrics").to_parquet(tmp_path / "one" / "metrics.parquet")  # somebody's own wish
    assert len(load_results(tmp_path / "one").metrics) == 40


def test_what_is_written_without_rows_replaces_what_was_there(tmp_path: Path) -> None:
    tables = {name: small(name) for name in TABLES}
    write_tables(tmp_path, tables, of="one")
    write_tables(tmp_path, tables | {"diagnostics": tables["diagnostics"].iloc[:0]}, of="two")
    assert read_table(tmp_path, "diagnostics").empty


@pytest.fixture(scope="module")
def scenario(tiny: Path) -> Scenario:
    """Two cells, one for each arm."""
    settings = ["protocol.seeds=1", "arms.sgdm.lr=[0.1]", "arms.tam.lr=[0.2]", "evaluation.every=4"]
    return load_scenario(str(tiny), settings, ["sgdm", "tam"])


@pytest.fixture(scope="module")
def whole(scenario: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tamcl.engines.local.Local", in_this_process)
        compare(scenario, out)
    return out


@pytest.fixture
def study(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tamcl.engines.local.Local", in_this_process)
    shutil.copytree(whole, tmp_path / "out")
    return tmp_path / "out"


def cell_of(study: Path, arm: str) -> Path:
    return next((study / "cells").glob(f"{arm}-*"))


OF_A_CELL: dict[str, Callable[[Path, Path], object]] = {
    "a bit": lambda cell, other: flip(cell / "online.parquet"),
    "a table of another cell": lambda cell, other: shutil.copy(other / "eval.parquet", cell),
    "all of another cell": lambda cell, other: (shutil.rmtree(cell), shutil.copytree(other, cell)),
    "a table less": lambda cell, other: (cell / "continual.parquet").unlink(),
    "no runs": lambda cell, other: (cell / "runs.parquet").unlink(),
    "a file": lambda cell, other: (shutil.rmtree(cell), cell.write_text("x")),
    "a link": lambda cell, other: (shutil.rmtree(cell), cell.symlink_to(other)),
    "old, of two cells": lambda cell, other: unmarked(other / "eval.parquet", cell / "eval.parquet"),
}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)


def unmarked(path: Path, copy: Path) -> None:
    pd.read_parquet(path).to_parquet(copy, index=False)


@pytest.mark.parametrize("damage", OF_A_CELL.values(), ids=OF_A_CELL)
def test_a_damaged_cell_is_trained_again_and_said(
    damage: Callable[[Path, Path], object],
    study: Path,
    whole: Path,
    scenario: Scenario,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checkpoint, "EVERY_S", 0.0)  # through a link they would go to the other cell
    cell, other = cell_of(study, "sgdm"), cell_of(study, "tam")
    kept = {path: path.read_bytes() for path in other.iterdir()}
    damage(cell, other)
    assert not is_finished(cell)
    assert is_finished(other)
    compare(scenario, study, progress=False)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith(f"tamcl: '{cell}")
    assert said[0].endswith("; the run is trained again")
    assert {path: path.read_bytes() for path in other.iterdir()} == kept
    assert not cell.is_symlink()
    first, again = (read_cell(place) for place in (cell_of(whole, "sgdm"), cell))
    for name in set(OF_CELLS) - {"runs"}:
        assert_frame_equal(again[name], first[name], check_exact=True)


def test_a_damaged_gathered_table_is_one_line_until_it_is_gathered_again_and_said(
    study: Path, whole: Path, scenario: Scenario, capsys: pytest.CaptureFixture[str]
) -> None:
    flip(study / "metrics.parquet")
    for command in (["report", study], ["confirm", study], ["regret", study], ["ranks", study, whole]):
        assert main([*map(str, command)]) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"tamcl: '{study}' holds a damaged table: '{study / 'metrics.parquet'}' is damaged: ")
        assert said.count("\n") == 1
    compare(scenario, study, progress=False)
    said = capsys.readouterr().err
    assert said.startswith(f"tamcl: '{study / 'metrics.parquet'}' is damaged: ")
    assert said.endswith("; it is gathered again from the cells\n")
    assert_frame_equal(load_results(study).metrics, load_results(whole).metrics, check_exact=True)


def test_a_study_of_an_older_version_opens_and_goes_on(study: Path, whole: Path, scenario: Scenario) -> None:
    for path in study.rglob("*.parquet"):
        unmarked(path, path)
    held = read_study(study / "study.json")
    (study / "study.json").write_text(json.dumps(held, indent=2) + "\n")
    trained = {path: path.stat().st_mtime_ns for path in (study / "cells").iterdir()}
    for opened in (lambda: load_results(study), lambda: compare(scenario, study)):
        results = opened()
        assert results.study == load_results(whole).study
        for name in TABLES:
            assert_frame_equal(getattr(results, name), getattr(load_results(whole), name), check_exact=True)
    assert {path: path.stat().st_mtime_ns for path in (study / "cells").iterdir()} == trained


WRONG: list[tuple[str, Any, str]] = [
    ("scenario.arms", [], "scenario.arms = []: must be an object"),
    ("scenario.arms.tam.lr", 0.2, "scenario.arms.tam.lr = 0.2: must be a list, such as [0.2]"),
    ("scenario.arms.tam.lr", [], "scenario.arms.tam.lr = []: holds 0, and must hold at least 1"),
    ("scenario.protocol", None, "scenario.protocol = null: must be "),
    ("scenario.protocol.seeds", "3", 'scenario.protocol.seeds = "3": must be a whole number'),
    ("scenario.protocol.pairs", [["tam"]], 'scenario.protocol.pairs.0 = ["tam"]: '),
    ("scenario.protocol.pairs", [["tam", "adam"]], 'it names an arm "adam" that scenario.arms does not have'),
    ("scenario.evaluation.on", "", 'scenario.evaluation.on = "": must be '),
    ("scenario.evaluation.batches", 0, "scenario.evaluation.batches = 0: must be greater than or equal to 1"),
    ("scenario.evaluation.every", "week", "scenario.evaluation.every"),
    ("scenario.strategy.schedule", 3, "scenario.strategy.schedule = 3: must be an object"),
    ("scenario.strategy.clip", "1", 'scenario.strategy.clip = "1": must be a number'),
    ("scenario.name", "\ud800", "surrogates not allowed"),
    ("tried", {"tam": None}, "tried.tam = null: must be a list"),
    ("data", 7, "data = 7: must be "),
]


@pytest.mark.parametrize(("place", "value", "said"), WRONG)
def test_a_study_of_other_types_is_one_line(
    place: str, value: Any, said: str, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held = read_study(study / "study.json")
    *tables, key = place.split(".")
    table = held
    for name in tables:
        table = table[name]
    table[key] = value
    (study / "study.json").write_text(json.dumps(held))
    with pytest.raises(Damaged, match=rf"study.json' is damaged: .*{re.escape(said)}"):
        read_study(study / "study.json")
    for command in (["watch", "--once"], ["report"], ["confirm"]):
        assert main([*command, str(study)]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"tamcl: '{study / 'study.json'}' is damaged: ")
        assert error.endswith("; put a copy in its place, or make the study again in another folder\n")
        assert error.count("\n") == 1


@pytest.mark.parametrize("text", ["null", "3", "[]", "{", "", "[" * 100_000, '{"scenario": null}', "\xff"])
def test_a_study_that_is_none_is_one_line(text: str, study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (study / "study.json").write_bytes(text.encode("latin1"))
    for command in (["watch", "--once"], ["report"]):
        assert main([*command, str(study)]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"tamcl: '{study / 'study.json'}' is damaged: ")
        assert error.endswith("; put a copy in its place, or make the study again in another folder\n")
        assert error.count("\n") == 1


def test_a_record_that_was_edited_on_purpose_opens_without_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    write_record(path, STUDY)
    path.write_text(path.read_text().replace("tamcl compare flips", "tamcl compare mine"))
    with pytest.raises(Damaged, match="where it was edited on purpose, remove the digest"):
        read_study(path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-2], lines[-1]]).replace("},\n}", "}\n}"))
    assert read_study(path)["command"] == "tamcl compare mine"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())  # as Windows' editor marks it
    assert read_study(path)["command"] == "tamcl compare mine"
