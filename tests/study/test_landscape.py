"""`tamcl landscape` of a small study: what is measured, what is refused, and what the report says."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from tamcl.cli.main import main
from tamcl.engines.inline import Inline
from tamcl.errors import Damaged, InputError
from tamcl.landscape import Landscape, read_landscape, sentences
from tamcl.landscape.scene import Kept, Scene
from tamcl.landscape.surface import examples
from tamcl.landscape.tables import write_landscape
from tamcl.metrics import barriers
from tamcl.report import write_report
from tamcl.results import load_results
from tamcl.scenario.load import load_scenario, parse
from tamcl.study.compare import compare
from tamcl.study.landscape import landscape
from tamcl.training.build import build_model
from tamcl.training.cell import WEIGHTS, Cell, write_cell
from tamcl.training.resources import Resources
from tamcl.training.run import run_cell
from tamcl.training.running import lay_ground
from tamcl.training.weights import load_weights, read_weights
from tests.normed import NORMED

ONE_RATE = ["arms.sgdm.lr=[0.1]", "arms.tam.lr=[0.15]", "arms.tam_frozen.lr=[0.1]", "protocol.seeds=2"]
SMALL: dict[str, Any] = {"points": 3, "samples": 40}


def train(tiny: Path, folder: Path, *settings: str) -> Path:
    scenario = load_scenario(str(tiny), [*ONE_RATE, "keep_weights=true", *settings])
    return compare(scenario, folder, engine=Inline()).directory


@pytest.fixture(scope="module")
def study(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three arms on two seeds, and their landscape."""
    folder = train(tiny, tmp_path_factory.mktemp("kept") / "study")
    landscape(folder, **SMALL, command="tamcl landscape study")
    return folder


@pytest.fixture
def copy(study: Path, tmp_path: Path) -> Path:
    return shutil.copytree(study, tmp_path / "study")


def found_in(folder: Path) -> Landscape:
    found = read_landscape(folder)
    assert found is not None
    return found


def test_ends_of_lines_and_corners_of_the_plane_have_the_loss_of_the_tables(study: Path) -> None:
    found, results = landscape(study, points=3, samples=50), load_results(study)  # as many test images as the study
    tests = results.phase(results.eval).query("trained_on == 1 and evaluated_on == 1").set_index(["arm", "seed"])
    ends = found.lines[(found.lines["part"] == "test") & found.lines["alpha"].isin([0, 1])]
    assert len(ends) == 2 * 2 * 2  # ends, pairs, seeds
    for row in ends.to_dict("records"):
        there = tests.loc[(row["arm_a"] if row["alpha"] == 0 else row["arm_b"], row["seed_a"])]
        assert (row["loss"], row["accuracy"]) == (there["loss"], there["accuracy"])
    corners = found.plane[(found.plane["arm"] != "") & (found.plane["part"] == "test")]
    assert list(corners["arm"]) == ["sgdm", "tam", "tam_frozen"]
    for row in corners.to_dict("records"):
        assert row["loss"] == pytest.approx(tests.loc[(row["arm"], 0), "loss"], rel=1e-4)
    assert len(found.plane) == 2 * (3 + 3 * 3)
    landscape(study, **SMALL, command="tamcl landscape study")


def test_pairs_are_those_of_the_study(study: Path) -> None:
    found = found_in(study)
    pairs = found.lines[["arm_a", "arm_b", "seed_a", "seed_b"]].drop_duplicates().to_numpy().tolist()
    assert pairs == [[*pair, seed, seed] for seed in (0, 1) for pair in (["tam", "sgdm"], ["tam", "tam_frozen"])]
    assert sorted(found.lines["alpha"].unique()) == [0, 0.5, 1]
    assert found.settings == {
        **{"command": "tamcl landscape study", "points": 3, "samples": 40},
        **{"experiences": "last", "pairs": "arms"},
    }


def test_the_curvature_at_an_end_is_that_of_the_full_hessian(study: Path) -> None:
    """Of the same examples, from PyTorch's own second derivatives."""
    [path] = study.glob(f"cells/sgdm-*-seed1-*/{WEIGHTS}")
    scenario = parse(load_results(study).study["scenario"])
    ground = lay_ground(scenario, Resources(), 1)
    model = build_model(scenario, ground.data, ground.segments, 1)
    load_weights(model, read_weights(path, of=path.parent.name))
    [experience] = examples(ground.benchmark.train_stream, [1], 40)
    assert len(experience.index) == 40
    images, shapes = experience.batch(torch.arange(40)), {name: p.shape for name, p in model.named_parameters()}

    def loss(values: torch.Tensor) -> torch.Tensor:
        parts = values.split([shape.numel() for shape in shapes.values()])
        named = {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
        output = torch.func.functional_call(model, named, (images, 0))
        return torch.nn.functional.cross_entropy(output, experience.labels)

    whole = torch.autograd.functional.hessian(loss, torch.nn.utils.parameters_to_vector(model.parameters()).detach())
    top = found_in(study).ends.set_index(["arm", "seed"]).loc[("sgdm", 1), "hessian_top"]
    assert top == pytest.approx(torch.linalg.eigvalsh(whole)[-1].item(), rel=2e-3)


def test_the_same_question_has_the_same_answer(study: Path, copy: Path) -> None:
    again, before = landscape(copy, **SMALL), found_in(study)
    for name in ("lines", "ends", "plane"):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(before, name), check_exact=True)


def test_batch_normalisation_is_made_anew_along_lines(tiny: Path, tmp_path: Path) -> None:
    scenario = load_scenario(str(tiny), [*ONE_RATE, NORMED, "keep_weights=true"], ["sgdm", "tam"])
    kept, tests = {}, {}
    for arm, config in scenario.arms.items():
        cell = Cell(scenario, arm, config.lr[0], 0, "report")
        outcome = run_cell(cell)
        write_cell(tmp_path, cell, outcome)
        [row] = outcome.runs.to_dict("records")
        tests[arm] = outcome.eval.query("trained_on == 1 and evaluated_on == 1")["loss"].item()
        kept[arm] = Kept(row, tmp_path / cell.id / WEIGHTS, tests[arm])
    scene = Scene(scenario, 0, kept, samples=50, last=True, resources=Resources())
    assert len(scene.renewed) == 3
    losses = {(alpha, part): loss for alpha, part, loss, _ in scene.line(scene.ends["tam"], scene.ends["sgdm"], 3)}
    assert scene.surface.height(scene.ends["tam"], "test").loss == tests["tam"]
    assert losses[0, "test"] != tests["tam"]  # statistics of 50 images are not those that training left
    model, alone = scene.surface.model, scene.ends["sgdm"]
    load_weights(model, alone)
    [experience] = scene.surface.parts["train"]
    hidden = model.body.layers[:2](experience.batch(torch.arange(50)))
    moments = {"running_mean": hidden.mean(0), "running_var": hidden.var(0)}
    by_hand = {f"body.layers.2.{name}": value.detach() for name, value in moments.items()}
    assert losses[1, "test"] == pytest.approx(scene.surface.height({**alone, **by_hand}, "test").loss, rel=1e-5)


def test_a_study_without_kept_weights_is_refused_with_what_makes_them(
    without_oracles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["landscape", str(without_oracles)]) == 2
    assert capsys.readouterr().err == (
        f"tamcl: '{without_oracles}': 4 of 4 runs have kept no weights; its tamcl compare with "
        "--set keep_weights=true trains them again and keeps them\n"
    )
    assert not (without_oracles / "landscape").exists()


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"points": 2}, "--points 2: must be at least 3"),
        ({"samples": 1}, "--samples 1: must be at least 2"),
        ({"experiences": "first"}, "'first'"),
        ({"pairs": "runs"}, "'runs'"),
        ({"arms": ["tamm"]}, "'tamm': did you mean 'tam'"),
        ({"plane": ["tam", "sgdm"]}, "--plane tam,sgdm: names 2 arms, and three are needed"),
        ({"plane": ["tam", "sgdm", "sgdm"]}, "--plane tam,sgdm,sgdm: names 2 arms"),
        ({"plane": ["tam", "sgdm", "adam"]}, "'adam'"),
        ({"pairs": "seeds"}, "the labels of seeds 0 and 1 are not the same in this stream"),
    ],
)
def test_what_cannot_be_asked_is_refused(study: Path, given: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError, match=why.replace("(", r"\(")):
        landscape(study, **{**SMALL, **given})


def test_two_seeds_of_an_arm_where_they_learn_the_same(tiny: Path, tmp_path: Path) -> None:
    folder = train(tiny, tmp_path / "same", "stream.experiences=1", "protocol.seeds=3")
    found = landscape(folder, **SMALL, arms=["sgdm", "tam"], pairs="seeds")
    pairs = found.lines[["arm_a", "seed_a", "arm_b", "seed_b"]].drop_duplicates().to_numpy().tolist()
    assert pairs == [["sgdm", 0, "sgdm", 1], ["tam", 0, "tam", 1]]  # the third has no partner
    assert "between the ends of two seeds of sgdm" in sentences(found)[0]


def test_weights_of_another_run_are_refused(copy: Path) -> None:
    one, other = sorted(copy.glob(f"cells/sgdm-*/{WEIGHTS}"))
    shutil.copy(other, one)
    with pytest.raises(Damaged, match="it is of another run"):
        landscape(copy, **SMALL)


def test_weights_that_do_not_give_the_loss_of_the_tables_are_refused(study: Path) -> None:
    scenario = parse(load_results(study).study["scenario"])
    row = load_results(study).runs.query("arm == 'sgdm' and seed == 0 and phase == 'report'").to_dict("records")[0]
    [path] = study.glob(f"cells/sgdm-*-seed0-*/{WEIGHTS}")
    with pytest.raises(InputError, match=r"has a test loss of .* and the study's table says 0\.001"):
        Scene(scenario, 0, {"sgdm": Kept(row, path, 1e-3)}, samples=40, last=True, resources=Resources())
    elsewhere = row | {"fingerprint": "another"}
    with pytest.raises(InputError, match="sgdm, seed 0: was trained on another stream"):
        Scene(scenario, 0, {"sgdm": Kept(elsewhere, path, 1e-3)}, samples=40, last=True, resources=Resources())


def test_sentences_say_means_and_intervals_by_hand(study: Path) -> None:
    found = found_in(study)
    first, *_, sharp = sentences(found)
    values = barriers(found.lines).query("arm_b == 'sgdm' and part == 'test'")["loss_barrier"]
    assert first.startswith(
        f"On the straight line between the ends of tam and sgdm the barrier is {values.mean():.3f} ("
    )
    assert first.endswith("(2 seeds).")
    ends = found.ends.pivot(index="seed", columns="arm", values="sam_sharpness")
    assert f"tam minus sgdm {(ends['tam'] - ends['sgdm']).mean():+.3g} (" in sharp


def test_the_command_writes_a_part_of_the_report(
    copy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tamcl.report.page.draw_pictures", lambda study: [])
    shutil.rmtree(copy / "landscape")
    command = ["landscape", str(copy), "--points", "3", "--samples", "20", "--plane", "sgdm,tam,tam_frozen"]
    assert main(command) == 0
    out = capsys.readouterr().out
    page = (copy / "report.html").read_text(encoding="utf-8")
    for words in ('<section id="landscape">', "on up to 20 training and as many test images", "--plane sgdm,tam"):
        assert words in page
    assert out.splitlines()[0] == sentences(found_in(copy))[0]
    assert {path.name for path in (copy / "landscape").iterdir()} == {
        *(f"{name}.parquet" for name in ("lines", "ends", "plane")),
        "landscape.json",
    }
    for name in ("landscape_lines", "landscape_plane"):
        assert (copy / "figures" / f"{name}.png").is_file()
    assert "Before you rely on this</h3><ul>\n    <li>The landscape" not in page


def test_the_report_says_where_a_landscape_is_of_other_runs(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tamcl.report.page.draw_pictures", lambda study: [])
    found = found_in(copy)
    ends = found.ends.assign(final_weights=["others", *found.ends["final_weights"][1:]]).iloc[:-1]
    write_landscape(copy, found._replace(ends=ends, plane=found.plane.iloc[:0]))
    page = write_report(copy).read_text(encoding="utf-8")
    assert (
        "The landscape is of 5 runs, of which 1 are not the study&#39;s any more, and 2 reported runs of its arms are "
        "not in it"
    ) in page


@pytest.mark.parametrize("name", ["lines.parquet", "landscape.json"])
def test_a_damaged_landscape_is_one_line(copy: Path, name: str) -> None:
    path = copy / "landscape" / name
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(Damaged, match=rf"{name}' is damaged: .*; tamcl landscape makes it again$"):
        read_landscape(copy)


def test_a_landscape_that_was_not_finished_is_none(copy: Path) -> None:
    (copy / "landscape" / "landscape.json").unlink()
    assert read_landscape(copy) is None
