"""Interventions and the optimizer's state in scenarios: for all arms and for one, in cells, plans and words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tamcl.cli.display import show_plan
from tamcl.cli.main import main
from tamcl.errors import InputError
from tamcl.findings import answers
from tamcl.interventions import INTERVENTIONS
from tamcl.scenario.load import add_arm, load_scenario, parse
from tamcl.scenario.schema import listed
from tamcl.study.estimate import ArmPlan, Plan
from tamcl.study.verify import _needs_code
from tamcl.training.cell import Cell

CLIP = 'interventions=[{name="weight_clipping",kappa=2.0}]'


def cell(*settings: str, arm: str = "tam") -> Cell:
    return Cell(load_scenario("label_flip_digits", settings), arm, 0.05, 0, "report")


def test_an_arms_own_take_the_place_of_the_scenarios() -> None:
    scenario = load_scenario("label_flip_digits", [CLIP, "arms.sgdm.interventions=[]", f"arms.adam.{L2}"])
    names = {arm: [each.name for each in scenario.interventions_of(arm)] for arm in ("tam", "sgdm", "adam")}
    assert names == {"tam": ["weight_clipping"], "sgdm": [], "adam": ["l2_init", "redo"]}
    assert parse(scenario.dump()) == scenario
    assert scenario.only(["adam"]).interventions_of("adam") == scenario.interventions_of("adam")


L2 = 'interventions=[{name="l2_init"},{name="redo",every=7}]'


def test_they_are_part_of_what_a_cell_is_and_nothing_if_there_are_none() -> None:
    plain, clipped, other = cell(), cell(CLIP), cell(CLIP.replace("2.0", "1.0"))
    assert len({plain.id, clipped.id, other.id}) == 3
    assert clipped.config["interventions"] == [{"name": "weight_clipping", "kappa": 2.0}]
    assert "interventions" not in plain.config
    assert cell("interventions=[]").id == cell(CLIP, "arms.tam.interventions=[]").id == plain.id
    assert cell(f"arms.tam.{CLIP}").id == clipped.id


def test_the_optimizers_state_is_an_arms_own() -> None:
    scenario = load_scenario("label_flip_digits", ["arms.adam.optimizer_state=reset_clock"])
    assert scenario.optimizer_state("adam") == "reset_clock"
    assert scenario.optimizer_state("tam") == "keep"
    config = Cell(scenario, "adam", 0.01, 0, "report").config
    assert config["strategy"]["optimizer_state"] == "reset_clock"
    assert "optimizer_state" not in config["optimizer"]
    asked_of_all = load_scenario("label_flip_digits", ["strategy.optimizer_state=reset_clock"])
    assert Cell(asked_of_all, "adam", 0.01, 0, "report").id == Cell(scenario, "adam", 0.01, 0, "report").id
    assert cell(arm="tam").config["strategy"] == {"name": "naive", "optimizer_state": "keep"}


def test_an_arm_with_some_is_added_from_the_command_line() -> None:
    scenario, label = add_arm(load_scenario("label_flip_digits"), f"mine=adam,lr=0.01,optimizer_state=reset,{L2}")
    assert [each.name for each in scenario.interventions_of(label)] == ["l2_init", "redo"]
    assert scenario.arms[label].options == {}
    assert scenario.optimizer_state(label) == "reset"


def test_one_without_options_is_its_name_alone() -> None:
    by_name = load_scenario("label_flip_digits", ['interventions=["l2_init","redo"]', "arms.tam.interventions=[]"])
    assert by_name == load_scenario(
        "label_flip_digits", ['interventions=[{name="l2_init"},{name="redo"}]', "arms.tam.interventions=[]"]
    )
    assert [each["name"] for each in by_name.dump()["interventions"]] == ["l2_init", "redo"]


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        (
            'interventions=[{name="weight_clip"}]',
            "interventions.0.name: unknown intervention 'weight_clip': did you mean",
        ),
        ('interventions=[{name="redo",tua=1}]', "interventions.0.tua: unknown key 'tua': did you mean 'tau'?"),
        ("interventions=[{kappa=1}]", "interventions.0.name: is missing"),
        ("arms.tam.interventions=[3]", "arms.tam.interventions.0 = 3: must be a table"),
        ('interventions=["mlp"]', "interventions.0.name: unknown intervention 'mlp': Known: "),
        ('interventions=["redo",{name="redo",every=7}]', "interventions: names 'redo' twice"),
        (
            'arms.tam.interventions=["redo",{name="tamcl.interventions.redo:ReDo"}]',
            "arms.tam.interventions: names 'tamcl.interventions.redo:ReDo' twice",
        ),
        ('interventions=[{name="l2_init",strength="x"}]', "interventions.0.strength: must be a number, got 'x'"),
        ("arms.tam.optimizer_state=clock", "arms.tam.optimizer_state = 'clock': must be 'keep', 'reset', 'reset_mo"),
    ],
)
def test_mistakes_are_a_line_with_their_place(setting: str, why: str) -> None:
    with pytest.raises(InputError) as caught:
        load_scenario("label_flip_digits", [setting])
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("strategy.optimizer_state=reset_clock", "has no count of steps that its updates depend on"),
        (
            'interventions=[{name="weight_clipping",kappa=-1}]',
            "interventions: weight_clipping: kappa = -1: must be a number",
        ),
        ('interventions=[{name="tests.scenario.test_interventions:NoIntervention"}]', "is no tamcl.interventions.base"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_trained(
    setting: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["run", "label_flip_digits", "--arm", "tam,lr=0.1", "--set", setting, "--out", str(tmp_path / "o")]) == 2
    )
    assert why in capsys.readouterr().err


class NoIntervention:
    """Of another kind."""


def test_list_has_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "interventions"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(INTERVENTIONS)


def test_a_plan_says_which_arm_has_which(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    row = ((5, 5), 10, (5,), "", 0.1, (1.0, 1.0))
    arms = {name: ArmPlan(*row, interventions=words) for name, words in [("a", "redo"), ("b", ""), ("c", "redo")]}
    show_plan(Plan("x", arms, 200, 2, (1.0, 1.0), (5e6, 5e6), 0), tmp_path / "none")
    assert "with redo: a, c" in capsys.readouterr().out.splitlines()


def test_a_module_of_ones_own_is_not_imported_unasked_to_verify() -> None:
    named = load_scenario("label_flip_digits", ['interventions=[{name="mine.own:Thing"}]', "arms.tam.interventions=[]"])
    found = _needs_code(named, [])
    assert "arms.sgdm names mine.own" in found["sgdm"]
    assert "tam" not in found


class _Study:
    """As much of a study as the words about arms need."""

    def __init__(self, *settings: str) -> None:
        self.scenario = json.loads(json.dumps(load_scenario("label_flip_digits", settings).dump()))


def test_words_of_a_null_model_say_what_differs() -> None:
    study = _Study(CLIP, "arms.tam_frozen.interventions=[]", "arms.tam_frozen.optimizer_state=reset")
    words = answers._null_words(study, "tam", "tam_frozen")  # type: ignore[arg-type]
    assert words == "tam with damping = 0.5, interventions = none, optimizer_state = reset"
    words = answers._null_words(_Study(), "tam", "tam_frozen")  # type: ignore[arg-type]
    assert words == "SGDM at half its learning rate after the first step"
    assert listed(study.scenario["interventions"]) == "weight_clipping (kappa 2.0)"
