"""The page about the scenarios is the one that their files make."""

from __future__ import annotations

import pytest

from tamcl.scenario.catalogue import catalogue
from tamcl.scenario.load import SCENARIO_FOLDER, load_scenario, scenarios


def test_the_page_is_up_to_date() -> None:
    page = (SCENARIO_FOLDER / "README.md").read_text(encoding="utf-8")
    assert page == catalogue(), "run: make scenarios"


@pytest.mark.parametrize("name", scenarios())
def test_source_and_cost_are_stated(name: str) -> None:
    scenario = load_scenario(name)
    assert "http" in scenario.source
    assert "ms a step" in scenario.cost
    assert f"## {name}\n\n{scenario.title}." in catalogue()
