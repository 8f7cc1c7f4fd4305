"""Settings are checked in one place, and reach every strategy, somebody's own too, as a scenario has them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Unpack

import pytest

from tamcl.errors import InputError
from tamcl.scenario.load import load_scenario
from tamcl.strategies import Naive, TrainingSettings
from tamcl.strategies.naive import Common
from tamcl.training.build import build_model, build_strategy, load_data, plan
from tamcl.training.resources import Resources
from tamcl.trial import Trial


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"optimizer_state": "rest"},
            "optimizer_state = 'rest': must be 'keep' or 'reset' or 'reset_moments' or 'reset_clock'",
        ),
        ({"target": "word"}, "target = 'word': must be 'class' or 'number' or 'token'"),
        ({"augmentation": "crop"}, "augmentation = 'crop': must be 'none' or 'crop_flip'"),
        ({"batch_size": 0}, "batch_size = 0: must be a whole number, at least 1"),
        ({"batch_size": 2.5}, "batch_size = 2.5: must be a whole number, at least 1"),
        ({"epochs": 0}, "epochs = 0: must be a whole number, at least 1"),
        ({"epochs": True}, "epochs = True: must be a whole number, at least 1"),
        ({"seed": -1}, "seed = -1: must be a whole number, at least 0"),
        ({"restart": "no"}, "restart = 'no': must be True or False"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_in_one_line(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        TrainingSettings(**wrong)


class SmallLogits(Naive):
    def __init__(self, *, strength: float = 0.01, **common: Unpack[Common]) -> None:
        super().__init__(**common)
        self.strength = strength


def test_somebodys_strategy_has_its_option_and_all_that_the_scenario_says(tiny: Path) -> None:
    said = ["optimizer_state=reset", "strength=0.5", "name=tests.strategies.test_settings:SmallLogits"]
    stream = ["stream.batch_size=7", "stream.epochs=2", "stream.oracle=restart", "stream.augmentation=crop_flip"]
    scenario = load_scenario(str(tiny), [*(f"strategy.{setting}" for setting in said), *stream])
    data = load_data("digits", Resources())
    model = build_model(scenario, data, plan(scenario, data, 0), 0)
    plugins = [object()]
    training = build_strategy(scenario, "sgdm", Trial(0.1), model, seed=4, plugins=plugins)
    assert type(training).__name__ == "SmallLogits"
    assert training.strength == 0.5
    assert training.settings == TrainingSettings(
        optimizer_state="reset",
        batch_size=7,
        epochs=2,
        seed=4,
        device=training.settings.device,
        restart=True,
        augmentation="crop_flip",
        plugins=plugins,
    )
    assert (training.train_mb_size, training.train_epochs) == (7, 2)


@pytest.mark.parametrize("strategy", ["naive", "replay", "tests.strategies.test_settings:SmallLogits"])
@pytest.mark.parametrize("key", ["settings", "model", "batch_size", "seed", "restart"])
def test_a_scenario_cannot_give_a_strategy_what_it_is_given(tiny: Path, strategy: str, key: str) -> None:
    with pytest.raises(InputError, match=f"strategy.{key}: unknown key '{key}'"):
        load_scenario(str(tiny), [f"strategy.name={strategy}", f"strategy.{key}=1"])
