"""The studies of a sweep: which scenarios they are, how they are called, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tamcl.errors import InputError
from tamcl.scenario.load import load_scenario, scenarios
from tamcl.scenario.settings import parse_over, parse_value, value_text
from tamcl.scenario.sweeping import points, read_over


@pytest.mark.parametrize(
    "value",
    [0.2, 1.0, 1e-7, 12345678901234567.0, -3, True, "keep", "true", "1e-3", "a b", "a,b", "", 'q"q', [1, [2.5, "a"]],
     [{"name": "x", "b c": 1}], "Größe"],
)  # fmt: skip
def test_a_value_is_written_as_it_is_read(value: Any) -> None:
    assert parse_value(value_text(value)) == value
    assert parse_over(f"a.b={value_text(value)},7") == ("a.b", [value, 7])


@pytest.mark.parametrize("name", sorted(scenarios()))
def test_a_value_that_the_scenario_has_changes_nothing(name: str) -> None:
    scenario = load_scenario(name)
    (point,) = points(scenario, {"stream.batch_size": [scenario.stream.batch_size]})
    assert point.scenario == scenario


def test_each_point_is_the_scenario_with_that_setting() -> None:
    scenario = load_scenario("label_flip_digits")
    over = {"stream.fraction": [0, 0.5], "arms.tam.gamma": [0.5, 0.9]}
    found = points(scenario, over)
    assert [tuple(point.settings.values()) for point in found] == [(0.0, 0.5), (0.0, 0.9), (0.5, 0.5), (0.5, 0.9)]
    settings = ["stream.fraction=0.5", "arms.tam.gamma=0.9"]
    assert found[3].scenario == load_scenario("label_flip_digits", settings)


def test_another_stream_takes_what_the_scenario_says_of_both() -> None:
    scenario = load_scenario("permuted_mnist")
    found = points(scenario, {"stream.name": [scenario.stream.name, "random_labels"]})
    assert [point.scenario.stream.name for point in found] == [scenario.stream.name, "random_labels"]


def test_folders_have_names_that_every_system_takes() -> None:
    scenario = load_scenario("label_flip_digits")
    over = {"model.hidden": [[100, 100], [100]], "stream.fraction": [0.2]}
    names = [point.folder for point in points(scenario, over)]
    assert names[0].startswith("model.hidden=_100,_100_,stream.fraction=0.2-")
    assert len(set(names)) == 2
    assert [point.folder for point in points(scenario, {"stream.fraction": [1]})] == ["stream.fraction=1"]


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({}, "--over: names no key"),
        ({"stream.fractoin": [1]}, "stream.fractoin: unknown key: did you mean 'fraction'?"),
        ({"strem.fraction": [1]}, "strem: unknown key: did you mean 'stream'?"),
        ({"fraction": [1]}, "'fraction': is no key in a table of a scenario; did you mean 'stream.fraction'?"),
        ({"title": ["a", "b"]}, "'title': is no key in a table of a scenario, such as stream.fraction"),
        ({"arms.tma.gamma": [1]}, "unknown arm in --over 'arms.tma.gamma' 'tma': did you mean 'tam'?"),
        ({"arms.tam.gama": [1]}, "did you mean 'gamma'?"),
        ({"stream.fraction": [0.2, 1.5]}, "--over stream.fraction = 1.5: .*must be less than or equal to 1"),
        ({"stream.fraction": [0, 0.0]}, "--over: names stream.fraction = 0 twice"),
        ({"stream.fraction": "0.2"}, "--over stream.fraction = '0.2': must be one value or more in a list"),
        ({"stream.fraction": []}, "must be one value or more"),
        ({"stream.fraction.x": [1]}, "'fraction' holds a value and has no keys"),
        ({"protocol.seeds": [2, 3]}, "changes no run, but how many there are; say --seeds"),
        ({"protocol.tune_by": ["forgetting"]}, "each study would be about another metric"),
    ],
)
def test_refused(over: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message.replace("(", r"\(").replace("?", r"\?")):
        points(load_scenario("label_flip_digits"), over)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["stream.fraction"], "is not key=value,value"),
        (["stream.fraction="], "is not key=value,value"),
        (["=1"], "is not key=value,value"),
        (["stream.fraction=1,,2"], "has a comma without a value beside it"),
        (["stream.fraction=1", "stream.fraction=2"], "is swept by another --over"),
    ],
)
def test_refused_texts(texts: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_over(texts)
