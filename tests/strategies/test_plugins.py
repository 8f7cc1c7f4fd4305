"""Avalanche plugins of one's own, named in a scenario."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch

from tamcl.avalanche import SupervisedPlugin
from tamcl.errors import InputError
from tamcl.scenario.load import load_scenario
from tamcl.scenario.stacking import is_stacked
from tamcl.study.checks import check_parts
from tamcl.training.build import load_data
from tamcl.training.cell import Cell
from tamcl.training.resources import Resources
from tamcl.training.run import run_cells


class Frozen(SupervisedPlugin):  # type: ignore[misc]
    """No weight changes in training."""

    made: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).made += 1

    def after_backward(self, strategy: Any, **_: Any) -> None:
        for parameter in strategy.model.parameters():
            parameter.grad = torch.zeros_like(parameter)


class Needs(SupervisedPlugin):  # type: ignore[misc]
    """Cannot be made without an argument."""

    def __init__(self, strength: float) -> None:
        super().__init__()


class Fails(SupervisedPlugin):  # type: ignore[misc]
    """Fails in a step."""

    def before_update(self, strategy: Any, **_: Any) -> None:
        raise ValueError("no step")


def scenario(*names: str, more: tuple[str, ...] = ()) -> Any:
    small = ["stream.experiences=2", "stream.samples=30", *more]
    plugins = ", ".join(f"'{name if ':' in name else f'{__name__}:{name}'}'" for name in names)
    return load_scenario("label_flip_digits", [*small, f"strategy.plugins=[{plugins}]"] if names else small)


def trained(found: Any) -> Any:
    (outcome,) = run_cells((Cell(found, "sgdm", 0.05, 0, "report"),), Resources())
    assert outcome.tables["runs"]["status"].item() == "ok"
    return outcome.tables["eval"].pivot(index="trained_on", columns="evaluated_on", values="loss")


def test_a_plugin_acts_in_training_and_is_made_for_every_run() -> None:
    before = Frozen.made
    frozen = trained(scenario("Frozen"))
    assert Frozen.made == before + 1
    assert (frozen.iloc[0] == frozen.iloc[-1]).all()
    assert (trained(scenario()).iloc[0] != frozen.iloc[-1]).sum() == 0  # the untrained model is the same
    assert (trained(scenario()).iloc[-1] != frozen.iloc[-1]).all()


def test_runs_with_plugins_are_other_runs_and_trained_alone() -> None:
    plain, own = scenario(), scenario("Frozen")
    assert (is_stacked(plain, "sgdm"), is_stacked(own, "sgdm")) == (True, False)
    one, other = (Cell(each, "sgdm", 0.05, 0, "report") for each in (plain, own))
    assert "plugins" not in one.config["strategy"]
    assert one.id != other.id
    assert __name__ in other.config["code"]


@pytest.mark.parametrize(
    ("names", "more", "message"),
    [
        (["replay"], (), "strategy.plugins"),
        (["torch.nn:Linear"], (), "is no tamcl.avalanche.SupervisedPlugin"),
        (["Needs"], (), "strategy.plugins: .*:Needs cannot be made"),
        (["Fails"], (), "its first steps fail"),
        (["Frozen"], ("stream.oracle=restart",), "'restart' makes model and optimizer anew"),
    ],
)
def test_what_is_no_plugin_is_one_line(names: list[str], more: tuple[str, ...], message: str) -> None:
    plugins = ", ".join(f"'{name if name == 'replay' or ':' in name else f'{__name__}:{name}'}'" for name in names)

    def check() -> None:
        found = load_scenario("label_flip_digits", [f"strategy.plugins=[{plugins}]", *more]).only(["sgdm"])
        check_parts(found, load_data("digits", Resources()))

    with pytest.raises(InputError, match=message) as caught:
        check()
    assert "\n" not in str(caught.value)
