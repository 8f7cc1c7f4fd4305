"""Kept weights: those that were tested, in a file that is data alone; a finished run without them is trained again."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pandas.testing import assert_frame_equal
from torch import nn

from tamcl.engines.inline import Inline
from tamcl.errors import Damaged, InputError
from tamcl.files.digests import after_digest
from tamcl.scenario.load import load_scenario
from tamcl.strategies.evaluation import evaluate
from tamcl.study.compare import compare
from tamcl.study.estimate import estimate
from tamcl.training.build import build_model
from tamcl.training.cell import WEIGHTS, Cell, write_cell
from tamcl.training.resources import Resources
from tamcl.training.run import run_cell
from tamcl.training.running import lay_ground
from tamcl.training.weights import dump_weights, load_weights, read_weights, weights_of
from tests.normed import NORMED

KEPT = "keep_weights=true"


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param([], id="stacked"),
        pytest.param(["strategy.stacked=false"], id="alone"),
        pytest.param([NORMED], id="running means"),
        pytest.param(["arms.tam={optimizer='schedule_free',lr=[0.1]}"], id="tested weights are not those trained"),
    ],
)
def test_kept_weights_are_those_that_were_tested_last(settings: list[str], tiny: Path, tmp_path: Path) -> None:
    scenario = load_scenario(str(tiny), [KEPT, *settings], ["tam"])
    cell = Cell(scenario, "tam", 0.1, 0, "report")
    outcome = run_cell(cell)
    write_cell(tmp_path, cell, outcome)
    ground = lay_ground(scenario, Resources(), 0)
    model = build_model(scenario, ground.data, ground.segments, 0)
    load_weights(model, read_weights(tmp_path / cell.id / WEIGHTS, of=cell.id))
    found = evaluate(model, ground.benchmark.test_stream, torch.device("cpu"))
    last = outcome.eval[outcome.eval["trained_on"] == 1]
    assert [each.loss for each in found] == last["loss"].tolist()
    assert [each.accuracy for each in found] == last["accuracy"].tolist()


def test_only_reported_runs_of_a_study_that_keeps_them_have_weights(tiny: Path) -> None:
    with_weights, without = load_scenario(str(tiny), [KEPT], ["tam"]), load_scenario(str(tiny), [], ["tam"])
    assert run_cell(Cell(with_weights, "tam", 0.1, 0, "report")).weights
    assert not run_cell(Cell(with_weights, "tam", 0.1, 0, "tune")).weights
    assert not run_cell(Cell(without, "tam", 0.1, 0, "report")).weights


def test_a_finished_run_without_weights_is_trained_again(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = ["protocol.seeds=2", "arms.tam.lr=[0.1]"]
    folder = tmp_path / "study"
    before = compare(load_scenario(str(tiny), one, ["tam"]), folder, engine=Inline())
    tables = before.online.copy(), before.eval.copy()
    keeping = load_scenario(str(tiny), [*one, KEPT], ["tam"])
    assert estimate(keeping, directory=folder).finished == 0
    after = compare(keeping, folder, engine=Inline())
    assert "2 runs in" in capsys.readouterr().err
    assert_frame_equal(after.online, tables[0], check_exact=True)
    assert_frame_equal(after.eval, tables[1], check_exact=True)
    first, second = sorted(folder.glob(f"cells/*/{WEIGHTS}"))
    kept, written = second.read_bytes(), second.stat().st_mtime_ns
    first.write_bytes(kept[:-1])
    assert estimate(keeping, directory=folder).finished == 1
    compare(keeping, folder, engine=Inline())
    assert "1 runs in" in capsys.readouterr().err
    assert second.stat().st_mtime_ns == written
    assert read_weights(first, of=first.parent.name)
    with pytest.raises(InputError, match="keep_weights is true there and false here"):
        compare(load_scenario(str(tiny), one, ["tam"]), folder, engine=Inline())


def test_a_plan_counts_the_bytes_of_kept_weights(tiny: Path) -> None:
    large = ["model.hidden=[2000]", "protocol.seeds=2", "arms.tam.lr=[0.1]"]
    scenario = load_scenario(str(tiny), [*large, KEPT], ["tam"])
    with_weights, without = (estimate(each).bytes[1] for each in (scenario, load_scenario(str(tiny), large, ["tam"])))
    kept = len(run_cell(Cell(scenario, "tam", 0.1, 0, "report")).weights)
    assert kept > 4 * (64 * 2000 + 2000 * 10)
    assert with_weights - without == pytest.approx(2 * kept, rel=0.01)


def small() -> nn.Module:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    model.register_buffer("left_out", torch.arange(3.0), persistent=False)
    return model


def test_all_parameters_and_buffers_come_back(tmp_path: Path) -> None:
    model, other = small(), small()
    model[1](torch.ones(4, 3) * torch.arange(4.0)[:, None])
    (tmp_path / WEIGHTS).write_bytes(dump_weights(model, of="run"))
    load_weights(other, read_weights(tmp_path / WEIGHTS, of="run"))
    held = weights_of(other)
    assert list(held) == [name for name, _ in [*model.named_parameters(), *model.named_buffers()]]
    for name, tensor in weights_of(model).items():
        assert torch.equal(held[name], tensor)


CRAFTED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut off": (lambda whole: whole[:-1], "its digest is not that of what it holds"),
    "changed": (lambda whole: whole[:-1] + bytes([whole[-1] ^ 1]), "its digest is not that of what it holds"),
    "a pickle": (lambda whole: pickle.dumps({}), "its digest is not that of what it holds"),
    "a pickle with a digest": (
        lambda whole: after_digest(pickle.dumps({})),
        "it is of another version, or no checkpoint",
    ),
    "of another run": (lambda whole: dump_weights(small(), of="another"), "it is of another run, 'another'"),
}


@pytest.mark.parametrize("what", CRAFTED)
def test_a_file_that_is_not_what_was_written_is_refused(what: str, tmp_path: Path) -> None:
    change, why = CRAFTED[what]
    path = tmp_path / WEIGHTS
    path.write_bytes(change(dump_weights(small(), of="run")))
    with pytest.raises(Damaged) as error:
        read_weights(path, of="run")
    assert str(error.value) == f"'{path}' is damaged: {why}"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda held: held.pop("0.bias"), "'0.bias' is in the model or in the weights alone"),
        (lambda held: held.update(x=torch.ones(1)), "'x' is in the model or in the weights alone"),
        (
            lambda held: held.update({"0.bias": torch.ones(2)}),
            "'0.bias' is torch.float32 (2,) in the weights and torch.float32 (3,) in the model",
        ),
        (
            lambda held: held.update({"0.bias": torch.ones(3).double()}),
            "'0.bias' is torch.float64 (3,) in the weights and torch.float32 (3,) in the model",
        ),
    ],
)
def test_weights_of_another_model_are_refused(change: Callable[[dict[str, Any]], object], why: str) -> None:
    model = small()
    before = {name: tensor.clone() for name, tensor in weights_of(model).items()}
    weights = {name: tensor + 1 for name, tensor in before.items()}
    change(weights)
    with pytest.raises(ValueError, match=f"^{re.escape(why)}$"):
        load_weights(model, weights)
    for name, tensor in weights_of(model).items():
        assert torch.equal(tensor, before[name])
