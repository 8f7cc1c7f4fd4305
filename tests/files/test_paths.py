"""`~` is the home folder wherever a path is taken, and what is no path is said to be none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tamcl.cli.display import watch
from tamcl.cli.main import main
from tamcl.data import cache_root, data_root
from tamcl.engines.processes import run_calls
from tamcl.errors import InputError
from tamcl.files.paths import user_path
from tamcl.report.ranking import rank_studies, write_ranks
from tamcl.results import load_results
from tamcl.scenario.load import load_scenario
from tamcl.study.compare import compare, run
from tamcl.study.confirm import confirm
from tamcl.study.regret import train_oracle
from tamcl.training.cell import Cell
from tamcl.training.logs import Log
from tamcl.training.run import run_cell
from tests.helpers import in_this_process, refusal
from tests.synthetic_study import write_study


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder, and another one to stand in."""
    (tmp_path / "home").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "home"


def test_what_reads_a_study_finds_it_at_home(home: Path) -> None:
    for name in ("a", "b"):
        write_study(home / name, arms=["sgdm", "tam"], seeds=2, steps=20)
    assert load_results("~/a").directory == home / "a"
    ranks = rank_studies(["~/a", Path("~/b")], "online_accuracy")
    assert write_ranks(ranks, "~/ranks") == home / "ranks" / "critical_differences.png"
    with pytest.raises(InputError, match="is given twice"):
        rank_studies(["~/a", home / "a"])
    assert watch(Path("~/a"), once=True).finished
    for again in (confirm, lambda directory: train_oracle(directory, "restart")):
        with pytest.raises(InputError) as caught:
            again("~/missing")
        assert str(caught.value).startswith(f"'{home / 'missing'}' holds no finished study")
    assert Log("csv", Path("~/logs")).directory == home / "logs"
    assert not list(Path().iterdir())


@pytest.mark.parametrize("command", ["report", "watch", "confirm", "regret", "ranks"])
def test_what_the_command_line_does_not_find_it_looked_for_at_home(
    home: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    given = ["~/x", "~/y"] if command == "ranks" else ["~/x"]
    assert str(home / "x") in refusal([command, *given], capsys)


def test_data_and_cache_are_at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert data_root("~/images") == home / "images"
    monkeypatch.setenv("TAMCL_CACHE_DIR", "~/cache")
    monkeypatch.delenv("TAMCL_DATA_DIR", raising=False)
    assert (cache_root(), data_root()) == (home / "cache", home / "cache" / "data")
    monkeypatch.setenv("TAMCL_DATA_DIR", "~/data")
    assert data_root() == home / "data"


def test_a_study_and_a_run_go_home(
    home: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "mine.toml").write_text(tiny.read_text())
    settings = ["protocol.seeds=2", *(f"arms.{arm}.lr=[0.1]" for arm in ("sgdm", "tam", "tam_frozen"))]
    scenario = load_scenario("~/mine.toml", settings, ["sgdm", "tam"])
    monkeypatch.setattr("tamcl.engines.local.Local", in_this_process)
    assert compare(scenario, "~/study").directory == home / "study"
    outcome = run_cell(Cell(scenario, "tam", 0.1, 0, "report"))
    monkeypatch.setattr("tamcl.engines.local.run_apart", lambda *_: outcome)
    run(scenario, "tam", 0, directory="~/one")
    changes = [part for setting in settings for part in ("--set", setting)]
    assert main(["run", "~/mine.toml", "--arm", "tam,lr=0.1", "--out=~/two", *changes]) == 0
    assert capsys.readouterr().out.endswith(f"tables in {home / 'two'}\n")
    assert {path.name for path in home.iterdir() if path.is_dir()} >= {"study", "one", "two"}
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "it is empty"),
        ("a\0b", "it holds a null byte"),
        ("~nobody-of-this-name/x", "Could not determine home directory."),
        ("\ud800", "surrogates not allowed"),
        ("x" * 10_000, "it has 10000 bytes"),
    ],
)
def test_what_is_no_path_is_one_line(path: str, why: str, tmp_path: Path) -> None:
    takers: list[Callable[[str], object]] = [user_path, load_results, data_root]
    for take in takers if path else takers[:2]:
        with pytest.raises(InputError) as caught:
            take(path)
        assert str(caught.value).startswith("path ")
        assert why in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_path_names_the_option(capsys: pytest.CaptureFixture[str]) -> None:
    line = refusal(["compare", "label_flip_digits", "--out", "~nobody-of-this-name/x"], capsys)
    assert line.startswith("tamcl: Invalid value for '--out': path '~nobody-of-this-name/x': is none: ")


def test_workers_keep_decoded_data_where_the_main_process_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TAMCL_CACHE_DIR", "~/cache")
    assert list(run_calls([cache_root])) == [(0, tmp_path / "cache")]
