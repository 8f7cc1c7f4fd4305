"""Scenario files: what they mean, and what is said when they are wrong."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tamcl.errors import InputError
from tamcl.scenario.load import add_arm, load_scenario, parse, scenarios
from tamcl.scenario.settings import parse_options, parse_value

GOOD = """
title = "Try"
stream = { name = "label_flip", dataset = "digits", experiences = 3, fraction = 0.5 }
model = { name = "mlp", hidden = [10] }
protocol = { pairs = [["tam", "sgdm"]] }
[arms.sgdm]
optimizer = "sgd"
lr = [0.1, 1e-2]
momentum = 0.9
[arms.tam]
optimizer = "tam"
lr = [0.2, 2e-2]
"""


def write(folder: Path, text: str) -> str:
    path = folder / "try.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", scenarios())
def test_every_scenario_survives_a_round_trip(name: str) -> None:
    scenario = load_scenario(name)
    assert scenario.name == name
    assert parse(scenario.dump()) == scenario


OURS = [name for name in scenarios() if name.startswith(("label_flip", "task_shift"))]
OURS.remove("label_flip_emnist_partial")  # somebody else's protocol, with the arms that they compare


@pytest.mark.parametrize("name", OURS)
def test_every_stream_has_the_arms_and_questions_of_the_project(name: str) -> None:
    scenario = load_scenario(name)
    assert {"sgdm", "tam", "tam_frozen", "adam", "adatam", "adam_cm"} <= set(scenario.arms)
    assert {("tam", "sgdm"), ("tam", "tam_frozen")} <= set(scenario.protocol.pairs)
    assert scenario.arms["tam_frozen"].options == {"damping": 0.5}
    assert scenario.arms["tam_frozen"].lr == scenario.arms["tam"].lr


def test_a_scenario_file_reads_as_written(tmp_path: Path) -> None:
    scenario = load_scenario(write(tmp_path, GOOD))
    assert scenario.arms["sgdm"].lr == (0.1, 0.01)
    assert scenario.arms["sgdm"].options == {"momentum": 0.9}
    assert scenario.model.options == {"hidden": [10]}
    assert scenario.stream.batch_size == 10
    assert scenario.strategy.optimizer_state == "keep"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("fraction = 0.5", "fraction = 1.5", "stream.fraction = 1.5: must be less than or equal to 1"),
        ("fraction = 0.5", "fraction = -0.1", "stream.fraction = -0.1: must be greater than or equal to 0"),
        ("fraction = 0.5", "fracton = 0.5", "stream.fracton: unknown key: did you mean 'fraction'?"),
        ("fraction = 0.5", "epochs = 1", "stream.fraction: is missing"),
        ("experiences = 3", "experiences = 0", "stream.experiences = 0: must be greater than or equal to 1"),
        ("experiences = 3", "experiences = 2.5", "stream.experiences = 2.5: must be a whole number"),
        ("experiences = 3", "experiences = 3, batch_size = 0", "stream.batch_size = 0: must be greater than or"),
        ('"digits"', '"digit"', "stream.dataset: unknown data set 'digit': did you mean 'digits'?"),
        ('"label_flip"', '"label_flop"', "unknown stream 'label_flop': did you mean 'label_flip'?"),
        ('"mlp"', '"mpl"', "model.name: unknown model 'mpl': did you mean 'mlp'?"),
        ("hidden", "hiden", "model.hiden: unknown key 'hiden': did you mean 'hidden'?"),
        ('name = "mlp"', 'name = "mlp", head = "masked"', "model.head: 'masked' needs a stream that tells the task"),
        ("experiences = 3", "experiences = true", "stream.experiences = True: must be a whole number"),
        ("experiences = 3", "experiences = '3'", "stream.experiences = '3': must be a whole number"),
        ('"tam", "sgdm"]', '"tam", "tam"]', "protocol.pairs: ['tam', 'tam'] is an arm against itself, or comes twice"),
        ('["tam", "sgdm"]', '["tam", "sgdm"], ["sgdm", "tam"]', "protocol.pairs: ['sgdm', 'tam'] is an arm against"),
        ('"mlp"', '"mlp", head = "maskd"', "model.head: unknown head 'maskd': did you mean 'masked'?"),
        ('= "tam"', '= "tamm"', "arms.tam.optimizer: unknown optimizer 'tamm': did you mean 'tam'?"),
        ("momentum = 0.9", "momentm = 0.9", "arms.sgdm.momentm: unknown key 'momentm': did you mean 'momentum'?"),
        ("lr = [0.2, 2e-2]", "lr = [0.2, 0]", "arms.tam.lr.1 = 0: must be greater than 0"),
        ("lr = [0.2, 2e-2]", "lr = [0.2, -1e-3]", "arms.tam.lr.1 = -0.001: must be greater than 0"),
        ("lr = [0.2, 2e-2]", "lr = [0.2, nan]", "arms.tam.lr.1 = nan: must be"),
        ("lr = [0.2, 2e-2]", "lr = [0.2, 2e-2]\neps = inf", "arms.tam.eps = inf: must be a finite number"),
        ("lr = [0.2, 2e-2]", "lr = [0.2, 0.2]", "arms.tam.lr: names a learning rate twice"),
        ("lr = [0.2, 2e-2]", "lr = []", "arms.tam.lr: names no learning rate"),
        ("lr = [0.2, 2e-2]", "lr = [0.2]", "arms: must have equally many learning rates, not sgdm 2, tam 1"),
        ("pairs =", "seeds = 0, pairs =", "protocol.seeds = 0: must be greater than or equal to 1"),
        ("pairs =", "seds = 1, pairs =", "protocol.seds: unknown key: did you mean 'seeds'?"),
        (
            "protocol = {",
            "evaluation = { batches = 4 }\nprotocol = { tune_by = 'drop',",
            "protocol.tune_by: 'drop' needs evaluation.batches = 1, not 4: it counts single mini-batches",
        ),
        ("pairs =", "tune_by = 'onlin', pairs =", "protocol.tune_by: unknown metric 'onlin'"),
        ('["tam", "sgdm"]', '["tam", "sgd"]', "protocol.pairs: unknown arm 'sgd': did you mean 'sgdm'?"),
        ("title =", "strategy = { stacked = 'yes' }\ntitle =", "strategy.stacked = 'yes': must be true or false"),
        ("title =", "strategy = { stacked = 1 }\ntitle =", "strategy.stacked = 1: must be true or false"),
        ("momentum = 0.9", "nesterov = 'no'", "arms.sgdm.nesterov: must be true or false, got 'no'"),
        ("momentum = 0.9", "foreach = 0", "arms.sgdm.foreach: must be true or false, got 0"),
        ("momentum = 0.9", "momentum = true", "arms.sgdm.momentum: must be a number, got true"),
        ("title =", "titel =", "titel: unknown key: did you mean 'title'?"),
        ("title =", "name = 'x'\ntitle =", "name: is the file's name and cannot be set"),
        ("title =", "title", "Expected '='"),
    ],
)  # fmt: skip
def test_each_mistake_is_said_in_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(InputError) as caught:
        load_scenario(write(tmp_path, GOOD.replace(old, new)))
    lines = str(caught.value).splitlines()
    assert any(message in line for line in lines), lines
    assert all("try" in line or "stream" in line for line in lines)
    assert len(lines) <= 2  # a misspelt key is also a missing one


def test_two_mistakes_are_two_lines(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_scenario(write(tmp_path, GOOD.replace("0.2, 2e-2", "-1, 0")))
    assert len(str(caught.value).splitlines()) == 2


def test_unknown_scenario_offers_the_nearest() -> None:
    with pytest.raises(InputError, match="unknown scenario 'label_flip_digit': did you mean 'label_flip_digits'"):
        load_scenario("label_flip_digit")


def test_missing_scenario_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.toml': No such file"):
        load_scenario(str(tmp_path / "none.toml"))


def test_settings_change_one_value_and_are_checked() -> None:
    with pytest.raises(InputError, match="strategy.stacked = 'yes': must be true or false"):
        load_scenario("label_flip_digits", ["strategy.stacked=yes"])
    scenario = load_scenario("label_flip_digits", ["stream.samples=50", "arms.tam.gamma=0.5", "title=Mine"])
    assert scenario.stream.samples == 50
    assert scenario.arms["tam"].options == {"gamma": 0.5}
    assert scenario.title == "Mine"
    for setting, message in [
        ("strem.samples=5", "strem: unknown key: did you mean 'stream'?"),
        ("stream.samples=none", "stream.samples = 'none': must be a whole number"),
        ("stream.samples", "is not key=value"),
        ("title.x=5", "'title' holds a value"),
    ]:
        with pytest.raises(InputError, match=message.replace("?", r"\?")):
            load_scenario("label_flip_digits", [setting])


def test_an_arm_is_added_changed_or_refused() -> None:
    scenario = load_scenario("label_flip_digits")
    own, label = add_arm(scenario, "torch.optim.asgd:ASGD,lr=0.1,weight_decay=1e-4")
    assert label == "ASGD"
    assert own.arms[label].lr == (0.1,)
    assert own.arms[label].options == {"weight_decay": 1e-4}
    changed, label = add_arm(scenario, "tam,granularity=tensor")
    assert changed.arms[label].lr == scenario.arms["tam"].lr
    assert changed.arms[label].options == {"granularity": "tensor"}
    betas, label = add_arm(scenario, "mine=adam,betas=[0.5, 0.99],lr=[0.1,0.2]")
    assert label == "mine"
    assert betas.arms["mine"].options == {"betas": (0.5, 0.99)}
    for text, message in [
        ("tamm,lr=0.1", "unknown optimizer 'tamm': did you mean 'tam'"),
        ("adamw", "needs a learning rate"),
        ("tam,lr", "'lr' is not key=value"),
        ("tam,lr=-1", "arms.tam.lr.0 = -1: must be greater than 0"),
        ("adamw,lr=0.1,momentum=1", "unknown key 'momentum'"),
        ("a/b=tam", "arms: 'a/b' is no label"),
        ("名=tam", "arms: '名' is no label"),
        ("x" * 65 + "=tam", "is no label"),
        ("sgdm=tam,lr=0.1", "there is an arm 'sgdm' already; write LABEL=tam with another label"),
        ("..=tam", r"arms: '\.\.' is no label"),
    ]:
        with pytest.raises(InputError, match=message):
            add_arm(scenario, text)


def test_a_stream_that_tells_the_task_needs_a_head_that_uses_it() -> None:
    with pytest.raises(InputError, match="model.head: 'single' does not use the task that this stream tells"):
        load_scenario("task_shift_digits", ["model.head=single"])
    changed = load_scenario("task_shift_digits", ["model.head=single", "stream.setting=class_incremental"])
    assert changed.model.head == "single"


def test_every_arm_is_compared() -> None:
    scenario = load_scenario("label_flip_digits", arms=["tam", "sgdm", "adam"])
    assert scenario.protocol.pairs == (("tam", "sgdm"), ("adam", "tam"))
    scenario, _ = add_arm(scenario, "adamw,lr=0.1")
    assert scenario.protocol.pairs[2:] == (("adamw", "tam"), ("adamw", "sgdm"), ("adamw", "adam"))


def test_a_method_is_compared_with_its_null_models() -> None:
    scenario, _ = add_arm(load_scenario("label_flip_digits"), "tam_half=tam,damping=0.25,null_of=tam")
    pairs = scenario.protocol.pairs
    assert pairs[0] == ("tam", "sgdm")
    assert set(pairs[1:3]) == {("tam", "tam_frozen"), ("tam", "tam_half")}
    assert ("tam_half", "tam") not in pairs
    assert ("tam_half", "adam") in pairs
    assert load_scenario("label_flip_digits", arms=["sgdm", "tam_frozen"]).arms["tam_frozen"].null_of is None
    with pytest.raises(InputError, match="arms.tam_frozen.null_of: unknown arm 'tan': did you mean 'tam'"):
        load_scenario("label_flip_digits", ["arms.tam_frozen.null_of=tan"])


def test_only_keeps_the_arms_named_and_their_pairs() -> None:
    scenario = load_scenario("label_flip_digits").only(["tam", "sgdm"])
    assert list(scenario.arms) == ["tam", "sgdm"]
    assert scenario.protocol.pairs == (("tam", "sgdm"),)
    with pytest.raises(InputError, match="unknown arm of 'label_flip_digits' 'tan': did you mean 'tam'"):
        scenario.only(["tan"])


def test_a_byte_order_mark_changes_nothing_and_other_encodings_are_named(tmp_path: Path) -> None:
    plain = load_scenario(write(tmp_path, GOOD))
    for content, why in [
        (b"\xef\xbb\xbf" + GOOD.encode(), ""),
        (b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode(), ""),
        (GOOD.encode("utf-16"), "is UTF-16; save it as UTF-8"),
        (GOOD.encode("utf-16-be").join([b"\xfe\xff", b""]), "is UTF-16; save it as UTF-8"),
        (GOOD.encode("utf-16-le"), "is UTF-16; save it as UTF-8"),
        (GOOD.encode("utf-16-be"), "is UTF-16; save it as UTF-8"),
        (GOOD.replace("Try", "Versuch für zwei").encode("latin-1"), "is not UTF-8 (byte 0xfc at 19); save it as UTF-8"),
        (b"#" * 2**20 + b"#", "has more than 1048576 bytes"),
    ]:
        (tmp_path / "try.toml").write_bytes(content)
        if why:
            with pytest.raises(InputError) as caught:
                load_scenario(str(tmp_path / "try.toml"))
            assert str(caught.value) == f"scenario file '{tmp_path / 'try.toml'}': {why}"
        else:
            assert load_scenario(str(tmp_path / "try.toml")) == plain


@pytest.mark.parametrize("name", ["con", "Nul", "aux.old", "LPT9", "ends.", "ends "])
def test_a_scenario_whose_name_no_folder_can_have_everywhere_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.toml").write_text(GOOD)
    with pytest.raises(InputError, match="Windows.*; name it otherwise$"):
        load_scenario(str(tmp_path / f"{name}.toml"))


def test_options_are_split_outside_brackets_and_quotes_alone() -> None:
    name, options = parse_options("adam,betas=[0.5, 0.99],note=\"a,b\",other='x]',table={a=1, b=[2]},last=don't")
    assert name == "adam"
    assert options == {
        "betas": [0.5, 0.99],
        "note": "a,b",
        "other": "x]",
        "table": {"a": 1, "b": [2]},
        "last": "don't",
    }
    assert parse_value("null") is None
    assert parse_value("1\nother = 2") == "1\nother = 2", "one value, or text"


def test_plain_values_that_are_no_scenario_are_refused_in_python_too() -> None:
    values = load_scenario("label_flip_digits").dump()
    for wrong, message in [
        ([1], "scenario [1]: must be a table"),
        (values | {"title": "a\ud800"}, "title = 'a\\ud800': holds the character U+D800"),
        (values | {"model": {"name": "mlp", "hidden": [2**70]}}, "model.hidden.0 = 1180591620717411303424: must be a"),
        (values | {"model": {"name": "mlp", "hidden": {1, 2}}}, "model.hidden = {1, 2}: is a set; must be a text, a"),
        (values | {"model": {"name": "mlp", "a\nb": 1}}, "model: key 'a\\nb': holds the character U+000A"),
    ]:
        with pytest.raises(InputError) as caught:
            parse(wrong)  # type: ignore[arg-type]
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_grid_has_no_more_rates_than_a_search_may_try(tmp_path: Path) -> None:
    grid = str([0.1 / (number + 1) for number in range(1001)])
    with pytest.raises(InputError, match="arms.tam.lr: names 1001 learning rates, and at most 1000 are tried"):
        load_scenario(write(tmp_path, GOOD.replace("[0.2, 2e-2]", grid)))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("arms.tam.lr=0.05", "arms.tam.lr = 0.05: must be a list, such as [0.05]"),
        ("arms={}", "arms = {}: holds 0, and must hold at least 1"),
        ("notes=all", "notes = 'all': must be a list, such as ['all']"),
        ("evaluation=all", "evaluation = 'all': must be a table"),
        ("stream={a=1}", "stream.a: unknown key: Known: augmentation, batch_size, dataset, drop_last, epochs"),
        ('protocol.pairs=[["tam","adam","sgdm"]]', "['tam', 'adam', 'sgdm']: holds 3, and must hold at most 2"),
        ("strategy.compiled=maybe", "strategy.compiled = 'maybe': must be true or false"),
        ("keep_weights=maybe", "keep_weights = 'maybe': must be true or false"),
        ("title=3", "title = 3: must be a text"),
        ("model.hidden=100", "model.hidden: must be a list, got 100"),
        ("arms.tam.gamma=high", "arms.tam.gamma: must be a number, got 'high'"),
        ('strategy.plugins=["a:B","a:B"]', "strategy.plugins: names 'a:B' twice"),
    ],
)
def test_a_wrong_kind_of_value_is_said_in_words_of_the_file(setting: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_scenario("label_flip_digits", [setting])
    assert message in str(caught.value)


WRONG: list[Any] = [None, [], {}, "", "x", 0, -1, 1.5, True, [None], [[]], {"a": 1}, ["x"], [{}], {"name": "x"}]

OF_PYDANTIC = re.compile(r"valid (string|integer|number|tuple|list|dictionary|boolean)|instance of|should|Extra inputs")


def test_no_wrong_value_is_said_in_pydantics_words() -> None:
    values = load_scenario("interventions_digits").dump()
    values["strategy"] |= {"schedule": {"name": "step", "at": [0.5], "factor": 0.1}, "clip": 1.0}
    values["diagnostics"] = {"names": ["damping"], "every": 3, "options": {"damping": {}}}
    said = []
    for place, wrong in product(places(values), WRONG):
        try:
            parse(changed(values, place, wrong))
        except InputError as error:
            said += str(error).splitlines()
    assert len(said) > 500
    assert [line for line in said if OF_PYDANTIC.search(line)] == []


def places(values: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in nested values, but for the arms after the first, which are like it."""
    pairs = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, part in pairs:
        yield (*above, key)
        if above != ("arms",) or key == next(iter(values)):
            yield from places(part, (*above, key))


def changed(values: dict[str, Any], place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """The values with another one at a place."""
    found = copy.deepcopy(values)
    at: Any = found
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    return found


def test_model_and_strategy_without_arguments_are_their_names_alone() -> None:
    scenario = load_scenario("label_flip_digits", ["model=mlp", "strategy=replay"])
    assert scenario == load_scenario("label_flip_digits", ['model={name="mlp"}', 'strategy={name="replay"}'])
