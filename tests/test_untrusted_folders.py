"""A study's folder is something people send each other: to read one runs nothing that it holds or names."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tamcl.cli.main import main
from tamcl.data import cache
from tamcl.engines.inline import Inline
from tamcl.errors import InputError
from tamcl.files.bounds import read_plain
from tamcl.files.paths import read_bounded
from tamcl.report import write_report
from tamcl.results import TABLES
from tamcl.study.compare import compare
from tamcl.study.confirm import confirm
from tests.helpers import noise_data
from tests.oracles import scenario_of
from tests.synthetic_study import write_study

MARK = "ran"


class Runs:
    """Makes a file in the present folder when a pickle of it is read."""

    def __reduce__(self) -> Any:
        return os.mkdir, (MARK,)


def parquet(**columns: Any) -> bytes:
    content = io.BytesIO()
    pq.write_table(pa.table(columns), content)
    return content.getvalue()


def retyped(content: bytes) -> bytes:
    """A table whose numbers are lists of them."""
    table = pq.read_table(io.BytesIO(content))
    lists = {name: pa.array([[value] for value in table[name].to_pylist()]) for name in table.column_names}
    return parquet(**lists)


CRAFTED: dict[str, Callable[[bytes], bytes]] = {
    "a pickle": lambda whole: pickle.dumps(Runs()),
    "the first half": lambda whole: whole[: len(whole) // 2],
    "a list": lambda whole: b"[]",
    "a number": lambda whole: b"7",
    "other types": lambda whole: b'{"scenario": {"arms": [1], "protocol": 3}, "claims": {}, "seeds": "all"}',
    "other columns": lambda whole: parquet(arm=["tam"], value=[1.0]),
    "columns of lists": lambda whole: retyped(whole) if whole[:4] == b"PAR1" else b"{}",
    "an array with a pickle": lambda whole: with_pickle(),
    "nothing": lambda whole: b"",
}


def with_pickle() -> bytes:
    content = io.BytesIO()
    np.save(content, np.array([Runs()], dtype=object), allow_pickle=True)
    return content.getvalue()


@pytest.fixture(scope="module")
def finished(with_oracles: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with everything that a folder may hold."""
    folder = shutil.copytree(with_oracles, tmp_path_factory.mktemp("sent") / "study")
    confirm(folder, seeds=2, engine=Inline())
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tamcl.report.page.draw_pictures", lambda study: [])
    monkeypatch.setattr("tamcl.report.page.draw_tuning_pictures", lambda study: [])


def written(folder: Path) -> dict[str, bytes]:
    """What is in a study's folder, but for what a report is made of."""
    files = (path for path in folder.rglob("*") if path.is_file())
    kept = [path for path in files if path.suffix in (".parquet", ".json")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in kept}


def answered(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> int:
    """The status of a command, which says one line where it is 2."""
    capsys.readouterr()
    status = main(arguments)
    errors = capsys.readouterr().err
    assert status in (0, 2)
    assert errors.count("\n") == (status == 2)
    assert "Traceback" not in errors
    return status


GATHERED = ["study.json", *(f"{name}.parquet" for name in TABLES if name != "diagnostics")]
MORE = ["confirm/claims.json", "confirm/metrics.parquet", "oracles/restart/study.json"]
"""Of what the report has without."""


@pytest.mark.parametrize("file", GATHERED)
def test_a_crafted_file_of_a_study_is_one_line_and_runs_nothing(
    file: str, finished: Path, here: Path, no_pictures: None, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished, here / "study")
    whole = (here / "study" / file).read_bytes()
    for name, craft in CRAFTED.items():
        (here / "study" / file).write_bytes(craft(whole))
        before = written(here / "study")
        assert answered(["report", "study"], capsys) == 2, name
        if name == "a pickle" or file == "study.json":
            for command in (["ranks", str(finished)], ["confirm"], ["regret"]):
                assert answered([command[0], "study", *command[1:]], capsys) == 2, name
            assert answered(["watch", "study", "--once"], capsys) == (2 if file == "study.json" else 0)
        assert written(here / "study") == before
        assert not (here / MARK).exists()


@pytest.mark.parametrize("file", MORE)
def test_a_crafted_file_of_a_part_of_a_study_is_one_line_and_runs_nothing(
    file: str, finished: Path, here: Path, no_pictures: None, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished, here / "study")
    for name in ("a pickle", "other types"):
        (here / "study" / file).write_bytes(CRAFTED[name](b""))
        before = written(here / "study")
        answered(["report", "study"], capsys)
        assert written(here / "study") == before
        assert not (here / MARK).exists()


def test_a_pipe_in_place_of_a_file_is_not_waited_for(finished: Path, here: Path, capsys: Any) -> None:
    if sys.platform == "win32":
        return
    for file in ("study.json", "runs.parquet"):
        shutil.copytree(finished, here / file, symlinks=True)
        (here / file / file).unlink()
        os.mkfifo(here / file / file)
        assert answered(["report", file], capsys) == 2


def test_crafted_cells_are_trained_again_and_the_study_is_what_it_was(
    tiny: Path, finished: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file of every cell is another thing, and each has a checkpoint that is none."""
    shutil.copytree(finished, here / "study")
    crafts = [*CRAFTED.values()]
    for place, file in enumerate(sorted((here / "study" / "cells").rglob("*.parquet"))):
        file.write_bytes(crafts[place % len(crafts)](file.read_bytes()))
        (file.parent / "checkpoint").write_bytes(crafts[place // 3 % len(crafts)](b"PAR2" + bytes(100)))
    compare(scenario_of(tiny), "study", engine=Inline())
    assert not (here / MARK).exists()
    for name in ("online", "eval", "continual", "metrics", "comparisons"):
        assert (here / "study" / f"{name}.parquet").read_bytes() == (finished / f"{name}.parquet").read_bytes()


def test_a_crafted_copy_of_decoded_images_counts_as_none(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = cache.load_or_make(here / "kept", noise_data)
    assert cache.load(here / "kept") is not None
    for file in sorted((here / "kept").iterdir()):
        content = file.read_bytes()
        for name, craft in CRAFTED.items():
            file.write_bytes(craft(content))
            assert cache.load(here / "kept") is None, name
        file.write_bytes(content)
    np.save(here / "kept" / "train_x.npy", whole.train_x.astype(float))
    assert cache.load(here / "kept") is None
    assert not (here / MARK).exists()


def test_the_copy_of_decoded_images_says_nothing_of_other_files(here: Path) -> None:
    cache.load_or_make(here / "kept", noise_data)
    meta = json.loads((here / "kept" / "meta.json").read_text())
    meta["digests"] = {"/dev/zero": "00000000"}  # whose end is never reached
    (here / "kept" / "meta.json").write_bytes(cache.dump_json(meta))
    assert len(cache.load_or_make(here / "kept", noise_data).train_x) == 100


OWN = """
from pathlib import Path
Path({mark!r}).touch()
import torch
class Mine(torch.optim.SGD):
    pass
"""


@pytest.fixture
def named(finished: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study that names modules in the present folder and on the path, wherever it can name some."""
    (here / "sent_along.py").write_text(OWN.format(mark=str(here / MARK)))
    (here / "path").mkdir()
    (here / "path" / "on_the_path.py").write_text(OWN.format(mark=str(here / MARK)))
    monkeypatch.syspath_prepend(here / "path")
    for folder in ("study", "study/confirm", "study/oracles/restart", "study/oracles/no_shift"):
        if folder == "study":
            shutil.copytree(finished, here / "study")
        path = here / folder / "study.json"
        study = json.loads(path.read_text())
        del study["digest"]
        scenario = study["scenario"]
        scenario["arms"]["tam"]["optimizer"] = "sent_along:Mine"
        scenario["arms"]["sgdm"]["base"] = "on_the_path:Mine"
        scenario["stream"]["dataset"] = scenario["stream"]["name"] = "sent_along:Data"
        scenario["model"]["name"] = "on_the_path:Net"
        scenario["strategy"]["name"] = "sent_along:Strategy"
        scenario["diagnostics"] = {"names": ["on_the_path:Norm"], "every": 5, "samples": 10, "options": {}}
        path.write_text(json.dumps(study))
    return here


def test_to_read_a_study_imports_nothing_that_it_names(
    named: Path, no_pictures: None, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_study(tmp_path_factory.mktemp("other") / "study", arms=("tam", "sgdm"), seeds=2)
    assert answered(["report", "study"], capsys) == 0
    assert answered(["watch", "study", "--once"], capsys) == 0
    answered(["ranks", "study", str(other)], capsys)
    assert not (named / MARK).exists()
    assert not {"sent_along", "on_the_path"} & sys.modules.keys()


def test_to_train_in_a_study_imports_what_the_given_scenario_names_alone(
    named: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match="holds another study"):
        compare(scenario_of(tiny), "study", engine=Inline())
    assert not (named / MARK).exists()


@pytest.mark.parametrize("command", [["confirm"], ["regret", "--oracles", "restart"]])
def test_what_trains_a_study_again_says_before_what_it_imports(
    command: list[str], named: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []

    def note(name: str) -> Any:
        said.append(capsys.readouterr().err)
        raise ImportError(name)

    monkeypatch.setattr("tamcl.registry.importlib.import_module", note)
    assert main([*command, "study"]) == 2
    assert not (named / MARK).exists()
    assert said[0].splitlines() == [
        f"tamcl: imports on_the_path ({named}/path/on_the_path.py): 'study' names it",
        f"tamcl: imports sent_along ({named}/sent_along.py): 'study' names it",
    ]


class Tags(HTMLParser):
    """The tags of a page with the names of their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[tuple[str, ...]] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.add((tag, *sorted(name for name, _ in attributes)))


WICKED = "<img src=x onerror=alert(1)>'\"><script>alert(2)</script>{{ 7 * 7 }}[/red]$\\frac$"
TERMINAL = "\x1b]0;title\x07"


def wicked(folder: Path) -> Path:
    """Let every text of a study be one that would be a tag, a template, a formula or a command of a terminal."""
    tables = {path: pd.read_parquet(path) for path in folder.glob("*.parquet")}
    study = json.loads((folder / "study.json").read_text())

    def spoilt(arm: str) -> str:
        return f"{arm}{WICKED}"

    for path, table in tables.items():
        for column in ("arm", "arm_a", "arm_b"):
            if column in table:
                table[column] = table[column].map(spoilt)
        if "error" in table:
            table["error"] = table["error"].map(lambda error: error and WICKED + TERMINAL)
            table["fingerprint"] = table["fingerprint"] + WICKED
            table["data"] = json.dumps({"name": WICKED, "train": 10, "test": 5, "classes": 10, "checksum": WICKED})
            table["versions"] = json.dumps({"tamcl": WICKED, WICKED: "1"})
        table.to_parquet(path, index=False)
    scenario = study["scenario"]
    study["command"] = scenario["title"] = scenario["source"] = scenario["cost"] = WICKED
    scenario["notes"] = [WICKED]
    scenario["name"] = WICKED + TERMINAL
    scenario["model"]["name"] = scenario["stream"]["dataset"] = scenario["strategy"]["name"] = WICKED
    arms = {spoilt(name): arm for name, arm in scenario["arms"].items()}
    for arm in arms.values():
        arm["optimizer"] = WICKED
        if "null_of" in arm:
            arm["null_of"] = spoilt(arm["null_of"])
    scenario["arms"] = arms
    scenario["protocol"]["pairs"] = [[spoilt(a), spoilt(b)] for a, b in scenario["protocol"]["pairs"]]
    (folder / "study.json").write_text(json.dumps(study))
    return folder


def test_no_text_of_a_study_is_a_tag_a_template_a_formula_or_a_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arms = ("tam", "sgdm", "tam_frozen")
    size = {"seeds": 3, "tune_seeds": 1, "experiences": 2, "steps": 20, "diverged": [("tam", 1)]}
    folders = [write_study(tmp_path / name, arms=arms, **size) for name in ("plain", "wicked")]
    wicked(folders[1])
    plain, spoilt = (write_report(folder).read_text() for folder in folders)
    assert Tags(spoilt).found <= Tags(plain).found
    assert "49" not in spoilt.partition("</title>")[0]
    assert spoilt.count("&lt;script&gt;alert(2)") > 5
    assert spoilt.count("<script") == plain.count("<script")
    capsys.readouterr()
    assert main(["watch", str(folders[1]), "--once"]) == 0
    assert main(["ranks", *map(str, folders), "--out", str(tmp_path / "ranks")]) in (0, 2)
    output = "".join(capsys.readouterr())
    assert not [each for each in output if not each.isprintable() and each != "\n"]


def test_a_table_that_would_fill_the_memory_is_refused_before_it_is_read() -> None:
    rows = 3_000_000
    constant = pa.table({"arm": pa.array(["tam"] * rows).dictionary_encode(), "n": np.zeros(rows, np.int64)})
    content = io.BytesIO()
    pq.write_table(constant, content)
    assert len(content.getvalue()) < 30_000
    assert read_plain(content).num_rows == rows
    with pytest.raises(ValueError, match=r"^2 columns of 3000000 rows take 0.048 GB, more than this machine has"):
        read_plain(content, most=40_000_000)


def test_a_long_text_in_many_rows_is_refused_before_each_row_has_it() -> None:
    content = io.BytesIO()
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 10_000, pa.int32()), ["x" * 10**6])
    pq.write_table(pa.table({"error": texts}), content)
    assert len(content.getvalue()) < 200_000
    most = pa.default_memory_pool().max_memory()
    with pytest.raises(ValueError, match=r"^its rows take more than 1 GB"):  # 10 GB
        read_plain(content, most=10**9)
    assert pa.default_memory_pool().max_memory() - most < 10**8


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[1]]),
        pa.array([{"a": 1}]),
        pa.array([b"x"]),
        pa.array([1], pa.timestamp("ns")),
        pa.array([pa.scalar(1).as_py()], pa.decimal128(5)),
    ],
    ids=str,
)
def test_columns_of_other_kinds_are_refused(column: pa.Array) -> None:
    content = io.BytesIO()
    pq.write_table(pa.table({"x": column}), content)
    with pytest.raises(ValueError, match=r"^column 'x' holds .*, not numbers or texts$"):
        read_plain(content)


def test_a_record_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "study.json").open("wb") as file:
        file.truncate(10**12)  # of which nothing is on the disk
    with pytest.raises(ValueError, match="it has 1000000000000 bytes, and at most 100 are read"):
        read_bounded(tmp_path / "study.json", 100)
