"""What a study that was read knows: which rule holds at which learning rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tamcl.findings.study import Study
from tests.findings.helpers import small


def redeclared(study: Study, **arms: dict[str, Any]) -> Study:
    """The study with other options of some arms."""
    study.scenario["arms"].update(arms)
    return study


def test_twice_the_rate_of_sgd_is_a_rule_for_tam_alone(tmp_path: Path) -> None:
    assert small(tmp_path, arms=["sgdm", "tam", "tam_frozen", "adam"]).rules == {"tam": 0.2, "tam_frozen": 0.2}


@pytest.mark.parametrize(
    ("arms", "change"),
    [
        (["sgdm", "tam", "adam"], {"adam": {"optimizer": "sgd", "momentum": 0.5}}),
        (["sgdm", "tam"], {"sgdm": {"optimizer": "sgd", "momentum": 0.0}}),
    ],
    ids=["two with momentum", "none with momentum"],
)
def test_without_one_sgd_with_momentum_there_is_no_rule(
    tmp_path: Path, arms: list[str], change: dict[str, dict[str, Any]]
) -> None:
    assert redeclared(small(tmp_path, arms=arms), **change).rules == {}
