"""Arms from Python: a class or a name, the same arm as the command line's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tamcl.errors import InputError
from tamcl.optim import TAM
from tamcl.scenario.load import add_arm, load_scenario
from tamcl.scenario.schema import Scenario


class Mine(torch.optim.SGD):
    """One of this file."""


@pytest.fixture
def scenario() -> Scenario:
    return load_scenario("label_flip_digits", arms=["sgdm", "tam"])


@pytest.mark.parametrize(
    ("text", "optimizer", "label", "options"),
    [
        ("mine=adam,lr=[0.1,0.2],betas=[0.5,0.9]", "adam", "mine", {"lr": [0.1, 0.2], "betas": (0.5, 0.9)}),
        ("tam,gamma=0.5", "tam", "", {"gamma": 0.5}),
        ("half=tam,damping=0.25,null_of=tam", "tam", "half", {"damping": 0.25, "null_of": "tam"}),
        ("torch.optim:ASGD,lr=0.1", "torch.optim:ASGD", "", {"lr": 0.1}),
    ],
)
def test_it_is_the_arm_of_the_command_line(
    scenario: Scenario, text: str, optimizer: str, label: str, options: dict[str, object]
) -> None:
    assert scenario.with_arm(optimizer, label, **options) == add_arm(scenario, text)[0]


def test_a_class_is_named_by_its_module_and_one_of_the_table_by_its_short_name(scenario: Scenario) -> None:
    more = scenario.with_arm(Mine, lr=0.1).with_arm(TAM, lr=0.1).with_arm(torch.optim.SGD, "plain", lr=0.1)
    names = {label: arm.optimizer for label, arm in more.arms.items()}
    assert names == {"sgdm": "sgd", "tam": "tam", "Mine": f"{__name__}:Mine", "TAM": "tam", "plain": "sgd"}
    assert ("Mine", "sgdm") in more.protocol.pairs
    assert ("Mine", "tam") in more.protocol.pairs


def test_a_cell_that_is_run_again_replaces_its_arm(scenario: Scenario) -> None:
    again = scenario.with_arm(Mine, lr=0.1).with_arm(Mine, lr=[0.2, 0.3], momentum=0.5)
    assert again.arms["Mine"].lr == (0.2, 0.3)
    assert again == scenario.with_arm(Mine, lr=[0.2, 0.3], momentum=0.5)


def test_numbers_and_arrays_of_numpy_are_plain_ones(scenario: Scenario) -> None:
    arm = scenario.with_arm(Mine, lr=np.logspace(-2, -1, 2), momentum=np.float64(0.5)).arms["Mine"]
    assert arm == scenario.with_arm(Mine, lr=[0.01, 0.1], momentum=0.5).arms["Mine"]
    assert type(arm.options["momentum"]) is float


def local_class() -> type:
    class Hidden(torch.optim.SGD):
        pass

    return Hidden


def test_what_cannot_be_an_arm_is_refused_in_a_line(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    for optimizer, label, options, why in [
        (Mine, "", {}, "arm 'Mine': needs a learning rate, as lr=0.1 or"),
        (Mine, "", {"lr": []}, "arm 'Mine': needs a learning rate"),
        (Mine, "tam", {"lr": 0.1}, "arm 'tam': is there already, with another optimizer; give another label"),
        (local_class(), "", {"lr": 0.1}, r"has no local_class.<locals>.Hidden, .* define it at the top"),
        (lambda params, lr: None, "", {"lr": 0.1}, "must be a class, or the name of one"),
        (
            Mine([torch.zeros(1)], lr=0.1),
            "",
            {"lr": 0.1},
            r"^optimizer Mine \(.+\): must be a class, or the name of one$",
        ),
        ("tamm", "", {"lr": 0.1}, "unknown optimizer 'tamm': did you mean 'tam'"),
        (TAM, "", {"lr": 0.1, "gama": 1}, "unknown key 'gama': did you mean 'gamma'"),
        (Mine, "a b", {"lr": 0.1}, "'a b' is no label"),
    ]:
        with pytest.raises(InputError, match=why):
            scenario.with_arm(optimizer, label, **options)  # type: ignore[arg-type]
    old = Mine
    monkeypatch.setitem(globals(), "Mine", type("Mine", (Mine,), {"__module__": __name__}))
    with pytest.raises(InputError, match="has no Mine, or another one by now"):
        scenario.with_arm(old, lr=0.1)


def test_the_page_of_python_needs_as_many_learning_rates_as_the_scenario_has(scenario: Scenario) -> None:
    page = (Path(__file__).parents[2] / "docs/how-to/python.md").read_text(encoding="utf-8")
    (given,) = [line for line in page.splitlines() if ".with_arm(SignDescent, lr=" in line]
    assert len(given[given.index("[", given.index("lr=")) :].split(",")) == len(scenario.arms["sgdm"].lr)
