"""Every optimizer can be an arm of a scenario: wrappers name their base there, and errors name the arm."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tamcl.errors import InputError
from tamcl.scenario.load import add_arm, load_scenario
from tamcl.scenario.schema import Scenario
from tamcl.training.build import build_optimizer
from tamcl.training.cell import Cell
from tamcl.training.run import run_cell
from tamcl.trial import Trial

ARMS = {
    "sam_adam": 'optimizer = "sam"\nlr = [0.01]\nbase = "adam"\nrho = 0.1',
    "sam_tam": 'optimizer = "sam"\nlr = [0.1]\nbase = "tam"\nmomentum = 0.99',
    "sam_cm": 'optimizer = "sam"\nlr = [0.001]\nbase = "adam_cm"\ncapacity = 3\nbetas = [0.9, 0.99]',
    "lookahead": 'optimizer = "lookahead"\nlr = [0.1]\nbase = "tam"\nk = 3',
    "warm_up": 'optimizer = "switch"\nlr = [0.1]\nfirst = "tam"\nthen = "sgd"\nat = 7',
    "adamw_cm": 'optimizer = "adamw_cm"\nlr = [0.001]',
    "sgd_cm": 'optimizer = "sgd_cm"\nlr = [0.01]\nreplacement = "random"',
    "adam_cg": 'optimizer = "adam_cg"\nlr = [0.001]',
    "sgd_cg": 'optimizer = "sgd_cg"\nlr = [0.05]\nmomentum = 0.9',
    "rmsprop_cg": 'optimizer = "rmsprop_cg"\nlr = [0.001]',
    "adam_rel": 'optimizer = "adam_rel"\nlr = [0.001]',
    "ademamix": 'optimizer = "ademamix"\nlr = [0.001]\nwarmup = 10',
    "cautious": 'optimizer = "cautious"\nlr = [0.1]\nbase = "tam"\nxi = 0',
    "fade": 'optimizer = "fade"\nlr = [0.05]',
    "hgm": 'optimizer = "hgm"\nlr = [0.001]\ngamma = 0.5',
    "lion": 'optimizer = "lion"\nlr = [0.001]',
    "muon": 'optimizer = "muon"\nlr = [0.001]',
    "schedule_free": 'optimizer = "schedule_free"\nlr = [0.001]',
    "upgd": 'optimizer = "upgd"\nlr = [0.01]\nsigma = 0.01',
    "adam_mv": 'optimizer = "adam_cm"\nlr = [0.001]\ncapacity = 0',
}


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    lines = [
        'title = "Arms"',
        'stream = { name = "label_flip", dataset = "digits", experiences = 2, samples = 60, fraction = 0.8 }',
        'model = { name = "mlp", hidden = [8] }',
        "evaluation = { samples = 20 }",
        *(f"[arms.{arm}]\n{text}" for arm, text in ARMS.items()),
    ]
    path: Path = tmp_path_factory.mktemp("scenario") / "arms.toml"
    path.write_text("\n".join(lines))
    return load_scenario(str(path))


@pytest.mark.parametrize("arm", ARMS)
def test_an_arm_trains_and_is_the_same_again(arm: str, scenario: Scenario) -> None:
    cell = Cell(scenario, arm, scenario.arms[arm].lr[0], seed=0, phase="report")
    first, again = run_cell(cell), run_cell(cell)
    assert first.runs["status"].item() == "ok"
    assert len(first.online) == 12
    assert first.online.equals(again.online)
    assert first.eval.equals(again.eval)


def test_an_arm_may_be_given_on_the_command_line(scenario: Scenario) -> None:
    changed, label = add_arm(scenario, "sam,base=tam,rho=0.2,gamma=0.5,lr=[0.1]")
    optimizer = build_optimizer(changed, label, Trial(0.1), [torch.nn.Parameter(torch.ones(2))])
    assert repr(optimizer).startswith("SAM over TAM (")
    assert optimizer.param_groups[0]["sam_rho"] == 0.2


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        ("x=sam,base=tam,momentun=0.5", "unknown option of 'tam' 'momentun': did you mean 'momentum'? Known: "),
        ("x=sam,base=tamm", "unknown optimizer 'tamm': did you mean 'tam'? Known: "),
        ("x=lookahead,base=tam,k=0", "k must be a whole number >= 1, got 0"),
        ("x=switch,first=tam,then=sgd,nesterow=true", "unknown option of 'tam' and 'sgd' 'nesterow': did you mean"),
    ],
)
def test_a_mistake_in_a_base_is_named_when_the_arm_is_built(arm: str, message: str, scenario: Scenario) -> None:
    changed, label = add_arm(scenario, f"{arm},lr=0.1")
    with pytest.raises(InputError) as caught:
        build_optimizer(changed, label, Trial(0.1), [torch.nn.Parameter(torch.ones(2))])
    assert str(caught.value).startswith("arms.x: ")
    assert message in str(caught.value)


def test_draws_of_an_optimizer_differ_between_the_seeds_of_a_run(scenario: Scenario) -> None:
    seeds = []
    for seed in (0, 1, 0):
        torch.manual_seed(seed)
        optimizer = build_optimizer(scenario, "sgd_cm", Trial(0.01), [torch.nn.Parameter(torch.ones(2))])
        seeds.append(optimizer.param_groups[0]["seed"])
    assert seeds[0] == seeds[2] != seeds[1]
