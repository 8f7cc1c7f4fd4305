"""What a killed process left is removed, and nothing else: whatever is hidden in a study's folder may be somebody's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tamcl.errors import InputError
from tamcl.scenario.load import load_scenario
from tamcl.study.folder import LOCK, check_folder, locked, write_study
from tamcl.training.cell import Cell, failed, write_cell

STUDY = {"command": "", "scenario": {"name": "flips"}, "data": {"checksum": "0f", "train": 1, "test": 1}}
NOBODY = 99_999_999
"""No process has this number."""

OURS = [
    ".study.json.{}",
    ".online.parquet.{}",
    ".diagnostics.parquet.{}",
    ".report.html.{}",
    "figures/.online_accuracy.png.{}",
    "cells/tam-lr0.1-seed0-0123abcd/.checkpoint.{}",
    "cells/.tam-lr0.1-seed0-0123abcd.{}/online.parquet",
    "cells/.my-own.arm_2+-lr1e-05-seed1000-ffffffff.{}/runs.parquet",
]
SOMEBODYS = [
    ".DS_Store",
    ".git/config",
    ".env.123",
    ".online.parquet",
    ".online.parquet.bak",
    ".thesis.parquet.99999999",
    "cells/.DS_Store",
    "cells/.ssh/id_ed25519",
    "cells/.nfs000000000abc",
    "cells/.tam-lr0.1-seed0-0123abcd/online.parquet",
    "cells/.tam-lr0.1-seed0.99999999/online.parquet",
    "cells/tam-lr0.1-seed0-0123abcd/.notes",
]


def make(folder: Path, names: list[str]) -> list[Path]:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
    return [folder / name for name in names]


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    dead = make(tmp_path, [name.format(NOBODY) for name in OURS])
    alive = make(tmp_path, [name.format(os.getppid()) for name in OURS])
    others = make(tmp_path, SOMEBODYS)
    with locked(tmp_path, STUDY):
        assert not [path for path in dead if path.exists()]
        assert not [path for path in [*alive, *others] if not path.exists()]
    assert not (tmp_path / f"cells/.tam-lr0.1-seed0-0123abcd.{NOBODY}").exists()


def test_no_link_is_followed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    kept = make(home, [f".tam-lr0.1-seed0-0123abcd.{NOBODY}/online.parquet", ".ssh/id_ed25519"])
    study = tmp_path / "study"
    study.mkdir()
    (study / "cells").symlink_to(home)
    (study / f".online.parquet.{NOBODY}").symlink_to(kept[1])
    with locked(study, STUDY):
        pass
    (study / "cells").unlink()
    (study / "cells").mkdir()
    (study / "cells" / f".sgd-lr0.1-seed0-0123abcd.{NOBODY}").symlink_to(home / ".ssh")
    (study / "cells" / "tam-lr0.1-seed0-0123abcd").symlink_to(home)
    with locked(study, STUDY):
        pass
    assert all(path.exists() for path in kept)


def test_a_lock_that_was_left_is_no_study(tmp_path: Path) -> None:
    (tmp_path / LOCK).touch()
    check_folder(tmp_path, {})
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InputError, match="is not empty and holds no study"):
        check_folder(tmp_path, {})


def test_cells_that_are_no_folder_are_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "cells").symlink_to(tmp_path / "gone")
    with pytest.raises(InputError, match=f"^--out {tmp_path}: 'cells' is no folder; "), locked(tmp_path, STUDY):
        pass


def test_a_damaged_study_is_refused_before_training_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(
        InputError, match=f"^--out {tmp_path}: '.*study.json' is damaged: .*; put a copy in its place, "
    ):
        check_folder(tmp_path, {})


@pytest.fixture
def cell(tiny: Path) -> Cell:
    return Cell(load_scenario(str(tiny)), "tam", 0.1, 0, "report")


def test_a_cell_takes_over_nothing_of_what_a_killed_process_of_its_number_left(cell: Cell, tmp_path: Path) -> None:
    make(tmp_path, [f".{cell.id}.{os.getpid()}/diagnostics.parquet", f"{cell.id}/continual.parquet"])
    write_cell(tmp_path, cell, failed(cell, ValueError("no")))
    assert [path.name for path in tmp_path.iterdir()] == [cell.id]
    assert {path.stem for path in (tmp_path / cell.id).iterdir()} == {"online", "eval", "runs"}


def test_a_cell_takes_the_place_of_a_file_or_a_link_and_leaves_what_that_led_to(cell: Cell, tmp_path: Path) -> None:
    kept = make(tmp_path, ["elsewhere/file"])
    for place in (lambda path: path.write_text("x"), lambda path: path.symlink_to(tmp_path / "elsewhere")):
        place(tmp_path / cell.id)
        write_cell(tmp_path, cell, failed(cell, ValueError("no")))
        assert (tmp_path / cell.id / "runs.parquet").is_file()
        assert kept[0].exists()
        for path in (tmp_path / cell.id).iterdir():
            path.unlink()
        (tmp_path / cell.id).rmdir()


def test_a_cell_that_cannot_be_written_names_its_place_and_leaves_nothing(
    cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        written(path, content[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_cell(tmp_path, cell, failed(cell, ValueError("no")))
    assert caught.value.filename == str(tmp_path / cell.id)
    assert not [*tmp_path.iterdir()]


def test_a_study_of_before_interventions_goes_on(tmp_path: Path) -> None:
    scenario = load_scenario("label_flip_digits").dump()
    new = ("interventions", "optimizer_state")
    before = {key: value for key, value in scenario.items() if key != "interventions"}
    arms = scenario["arms"].items()
    before["arms"] = {name: {key: value for key, value in arm.items() if key not in new} for name, arm in arms}
    before["model"] = {key: value for key, value in scenario["model"].items() if key != "normalize_inputs"}
    write_study(tmp_path, {"command": "", "scenario": before, "data": {}})
    check_folder(tmp_path, scenario)
    changed = load_scenario("label_flip_digits", ['interventions=[{name="redo"}]']).dump()
    with pytest.raises(InputError, match=r'holds another study: interventions is \[\] there and \[{"name": "redo"}\]'):
        check_folder(tmp_path, changed)


def test_a_study_of_before_stacks_goes_on(tmp_path: Path) -> None:
    scenario = load_scenario("label_flip_digits").dump()
    before = scenario | {"strategy": {"name": "naive", "optimizer_state": "keep"}}
    write_study(tmp_path, {"command": "", "scenario": before, "data": {}})
    check_folder(tmp_path, scenario)
    scenario["strategy"]["stacked"] = False
    with pytest.raises(InputError, match="holds another study: strategy.stacked"):
        check_folder(tmp_path, scenario)
