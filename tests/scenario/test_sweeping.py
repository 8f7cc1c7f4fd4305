"""The studies of a sweep: which scenarios they are, how they are called, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tamcl.errors import InputError
from tamcl.scenario.labels import labels
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


L2 = [{"name": "l2_init", "strength": 0.01}]


@pytest.mark.parametrize(
    ("key", "values", "settings"),
    [
        ("interventions", [[], L2], ["interventions=[]", 'interventions=[{name = "l2_init", strength = 0.01}]']),
        ("interventions.0.strength", [0.2, 0.4], ["interventions.0.strength=0.2", "interventions.0.strength=0.4"]),
        ("keep_weights", [False, True], ["keep_weights=false", "keep_weights=true"]),
        ("diagnostics", [{"names": ["gradient_norm"]}], ['diagnostics={"names": ["gradient_norm"]}']),
    ],
)
def test_settings_outside_of_tables_and_places_of_lists_are_swept(
    key: str, values: list[Any], settings: list[str]
) -> None:
    base = ['interventions=[{"name": "l2_init", "strength": 0.1}]']
    found = points(load_scenario("label_flip_digits", base), {key: values})
    assert [point.scenario for point in found] == [
        load_scenario("label_flip_digits", [*base, setting]) for setting in settings
    ]
    assert found[0].scenario != found[-1].scenario or len(found) == 1


def test_tables_are_called_by_their_names_and_by_what_differs() -> None:
    """Of adam's own interventions; the full values stay in the settings, by which studies are told apart."""
    (key, values) = parse_over('arms.adam.interventions=[],[{"name":"l2_init","strength":0.01}]')
    assert values == [[], L2]
    found = points(load_scenario("label_flip_digits"), {key: values})
    assert [point.name for point in found] == [f"{key} = none", f"{key} = l2_init"]
    assert [point.settings for point in found] == [{key: []}, {key: L2}]
    strong = [{"name": "l2_init", "strength": 0.1}, {"name": "redo"}]
    names = [point.name for point in points(load_scenario("label_flip_digits"), {key: [[], L2, strong]})]
    assert names == [f"{key} = {said}" for said in ("none", "l2_init (strength 0.01)", "l2_init (strength 0.1) + redo")]


def test_values_that_would_be_called_alike_are_written_in_full() -> None:
    called = labels([[], {}, [{"name": "redo"}]])
    assert called == {"[]": "[]", "{}": "{}", '[{name = "redo"}]': "redo"}


def test_what_a_table_leaves_open_is_not_written() -> None:
    assert value_text({"name": "mlp", "normalize_inputs": None}) == '{name = "mlp"}'


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
        ({"notes.0": ["a", "b"]}, "'notes.0': is no key in a table of a scenario"),
        ({"arms": [{}]}, "--over arms: each study would be about something else; name a key in it"),
        ({"interventions.0.strength": [1]}, "'0': the list 'interventions' has no place: it is empty"),
        ({"stream.fraction.0": [1]}, "'fraction' holds a value and has no keys"),
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
