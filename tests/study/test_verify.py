"""Some of a study's runs are trained anew, and it is said how far they agree with its tables."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

import pandas as pd
import pytest
import torch

from tamcl.cli.main import main
from tamcl.engines.inline import Inline
from tamcl.errors import InputError
from tamcl.files.records import read_study, write_record
from tamcl.results import TABLES, load_results, write_tables
from tamcl.scenario.load import add_arm, load_scenario, parse
from tamcl.seeding import derive_seed
from tamcl.study.compare import compare
from tamcl.study.verify import _difference, verify
from tamcl.training.build import build_model
from tamcl.training.resources import Resources
from tamcl.training.running import lay_ground
from tests.helpers import StartedFirst, in_this_process


@pytest.fixture
def study(without_oracles: Path, tmp_path: Path) -> Path:
    return shutil.copytree(without_oracles, tmp_path / "study")


def change(study: Path, name: str, edit: Callable[[pd.DataFrame], object]) -> None:
    """Edit a table of a study, and write all as if it were theirs."""
    results = load_results(study)
    tables = {table: getattr(results, table) for table in TABLES}
    edit(tables[name])
    write_tables(study, tables, of="x")


def test_a_study_is_the_same_on_the_machine_that_made_it(study: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in study.rglob("*")}
    found = verify(study, cells=5, engine=Inline())
    assert [check.agreement for check in found.checks] == ["bit by bit"] * 5
    assert {check.arm for check in found.checks} == set(load_results(study).arms)
    assert found.versions == found.left_out == {}
    assert [check[:4] for check in verify(study, cells=2, engine=Inline()).checks] == [c[:4] for c in found.checks[:2]]
    assert {path: path.stat().st_mtime_ns for path in study.rglob("*")} == before


def test_an_engine_that_starts_something_first_trains_in_a_folder_of_its_own(study: Path) -> None:
    engine = StartedFirst()
    assert verify(study, cells=1, engine=engine).checks[0].agreement == "bit by bit"
    (folder,) = engine.trained_in
    around = folder.parent  # which an executor has its logs in
    assert around.parent == Path(tempfile.gettempdir())
    assert not around.exists()


@pytest.mark.parametrize(
    ("there", "here", "difference"),
    [
        (0.5, 0.25, 0.5),
        (float("inf"), 0.25, float("inf")),
        (0.25, float("nan"), float("inf")),
        (float("inf"), float("inf"), 0.0),
    ],
)
def test_a_loss_that_is_no_number_on_one_side_alone_is_another(there: float, here: float, difference: float) -> None:
    online = pd.DataFrame({"n": [1], "loss": [1.0]})
    one, other = ({"online": online, "eval": pd.DataFrame({"loss": [loss]})} for loss in (there, here))
    assert _difference(one, other, "number") == difference


def test_what_differs_is_said(study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("tamcl.engines.local.Local", in_this_process)
    n = len(load_results(study).runs)
    online = load_results(study).online
    arms = load_results(study).arms
    asked = online.groupby(["arm", "lr", "seed"])["n"].sum().iloc[0]

    def one_answer_more(table: pd.DataFrame) -> None:
        """In a run of the first arm; in all of the second every tenth is otherwise."""
        table.loc[(table["arm"] == arms[0]) & (table["experience"] == 0) & (table["step"] == 0), "correct"] += 1
        table.loc[table["arm"] == arms[1], "correct"] += 0.1 * table["n"]

    change(study, "online", one_answer_more)
    change(study, "runs", lambda runs: runs.__setitem__("versions", json.dumps({"torch": "1.0", "tamcl": "0"})))
    assert main(["verify", str(study), "--cells", str(n)]) == 3
    lines = capsys.readouterr().out.splitlines()
    for line in lines[:n]:
        ours = line.startswith(arms[0])
        assert f" {'closely' if ours else 'not'} the same, at most {1 / asked if ours else 0.1:.2g} apart" in line
    assert any(line.startswith("torch: 1.0 there, ") for line in lines[n:])


@pytest.mark.parametrize(("column", "what"), [("fingerprint", "stream"), ("order", "order of the examples")])
def test_a_run_of_another_stream_or_order_is_not_the_same_however_close(study: Path, column: str, what: str) -> None:
    change(study, "runs", lambda runs: runs.__setitem__(column, "other"))
    (found,) = verify(study, cells=1, engine=Inline()).checks
    assert (found.agreement, found.difference) == ("not", 0.0)
    assert found.why == f"first to differ: {what}"


def test_what_a_run_starts_from_and_ends_with_has_digests(study: Path) -> None:
    runs = load_results(study).runs.set_index(["seed", "arm"]).sort_index()
    for seed, of_seed in runs.groupby("seed"):
        assert of_seed[["fingerprint", "order", "initial_weights"]].nunique().eq(1).all(), (
            "all arms start from the same"
        )
        assert of_seed["final_weights"].nunique() == len(of_seed)
        order, model = blake2b(digest_size=8), blake2b(digest_size=8)
        scenario = parse(read_study(study / "study.json")["scenario"])
        ground = lay_ground(scenario, Resources(), seed)
        for position, segment in enumerate(ground.segments):
            generator = torch.Generator().manual_seed(derive_seed(seed, "order", position, 0))
            order.update(torch.randperm(len(segment.train_labels), generator=generator).numpy().tobytes())
        assert of_seed["order"].iloc[0] == order.hexdigest()
        for name, values in build_model(scenario, ground.data, ground.segments, seed).state_dict().items():
            model.update(name.encode() + values.numpy().tobytes())
        assert of_seed["initial_weights"].iloc[0] == model.hexdigest()
    assert runs.groupby("seed")[["order", "initial_weights"]].first().nunique().eq(3).all()
    assert set(runs["device"]) == {"cpu"}


def test_the_first_thing_that_differs_is_named(study: Path) -> None:
    change(study, "runs", lambda runs: runs.__setitem__("final_weights", "other"))
    (found,) = verify(study, cells=1, engine=Inline()).checks
    assert (found.agreement, found.difference, found.why) == ("closely", 0.0, "first to differ: final weights")
    change(study, "runs", lambda runs: runs.__setitem__("initial_weights", "other"))
    (found,) = verify(study, cells=1, engine=Inline()).checks
    assert found.why == "first to differ: initial weights"


def test_code_that_a_folder_names_is_imported_only_if_it_is_named_again(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_of_verify.py").write_text(
        "from pathlib import Path\nimport torch\nPath(__file__).with_name('imported').touch()\n"
        "class Own(torch.optim.SGD): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    scenario = load_scenario(str(tiny), ["protocol.seeds=1", "protocol.tune_seeds=1"], ["sgdm"])
    compare(add_arm(scenario, "own=own_of_verify:Own,lr=[0.1,0.2]")[0], tmp_path / "study", engine=Inline())
    (tmp_path / "imported").unlink()
    monkeypatch.delitem(__import__("sys").modules, "own_of_verify")

    found = verify(tmp_path / "study", cells=9, engine=Inline())
    assert {check.arm for check in found.checks} == {"sgdm"}
    assert list(found.left_out) == ["own"]
    assert found.left_out["own"].endswith("--code own_of_verify")
    assert not (tmp_path / "imported").exists()

    with pytest.raises(InputError, match="unknown module of the study 'own_verify': did you mean 'own_of_verify'"):
        verify(tmp_path / "study", code=["own_verify"], engine=Inline())
    found = verify(tmp_path / "study", cells=9, code=["own_of_verify"], engine=Inline())
    assert {(check.arm, check.agreement) for check in found.checks} == {("sgdm", "bit by bit"), ("own", "bit by bit")}
    assert (tmp_path / "imported").exists()


def test_what_cannot_be_verified_is_refused(study: Path) -> None:
    held = read_study(study / "study.json")
    write_record(study / "study.json", held | {"data": held["data"] | {"checksum": "0123456789"}})
    with pytest.raises(InputError, match="was trained on other data: 01234567 there"):
        verify(study, engine=Inline())
    with pytest.raises(InputError, match="--cells 0: must be at least 1"):
        verify(study, cells=0, engine=Inline())
