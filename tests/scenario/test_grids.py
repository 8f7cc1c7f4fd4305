"""Options of an arm that are lists: which have several values, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tamcl.errors import InputError
from tamcl.scenario.load import add_arm, load_scenario
from tamcl.scenario.schema import Scenario
from tamcl.scenario.stacking import is_stacked
from tamcl.scenario.sweeping import points
from tamcl.trial import Trial


def tiny_with(tiny: Path, *settings: str) -> Scenario:
    return load_scenario(str(tiny), settings, ["tam"])


def test_an_arm_is_tried_with_every_combination(tiny: Path) -> None:
    arm = tiny_with(tiny, "arms.tam.weight_decay=[0,0.01]", "arms.tam.momentum=[0.8, 0.9, 0.95]").arms["tam"]
    expected = {
        (lr, f"momentum={momentum}, weight_decay={decay}")
        for lr in (0.2, 0.1)
        for momentum in (0.8, 0.9, 0.95)
        for decay in (0, 0.01)
    }
    assert set(arm.trials) == expected
    assert (len(arm.trials), arm.size) == (12, 12)
    assert arm.options == {}


def test_a_list_of_one_is_that_value_and_is_said(tiny: Path) -> None:
    arm = tiny_with(tiny, "arms.tam.weight_decay=[0.01]", "arms.tam.lr=[0.1]").arms["tam"]
    assert arm.trials == (Trial(0.1, "weight_decay=0.01"),)


@pytest.mark.parametrize(
    ("arm", "grids"),
    [
        ("adam,lr=0.1,betas=[0.5, 0.9]", {}),
        ("adam,lr=0.1,betas=[[0.5, 0.9], [0.9, 0.99]]", {"betas": ([0.5, 0.9], [0.9, 0.99])}),
        ("lookahead,lr=0.1,base=adam,betas=[0.5, 0.9]", {}),  # whose options are **options
        ("lookahead,lr=0.1,base=adam,weight_decay=[0, 0.1]", {"weight_decay": (0, 0.1)}),
        ("torch.optim.rprop:Rprop,lr=0.1,etas=[0.5, 1.2]", {}),
        ("own_sequences:Mine,lr=0.1,steps=[1, 2],more=[3, 4],some=[5, 6]", {"some": (5, 6)}),
    ],
)
def test_a_parameter_that_is_a_sequence_takes_a_list_as_one_value(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arm: str, grids: dict[str, object]
) -> None:
    (tmp_path / "own_sequences.py").write_text(
        "from collections.abc import Sequence\nimport torch\nclass Mine(torch.optim.SGD):\n"
        "    def __init__(self, params, lr, *, steps=(1, 2), more: Sequence[int] | None = None, some=1): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    changed, label = add_arm(load_scenario(str(tiny)), arm)
    assert changed.arms[label].grids == grids


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("weight_decay=[0, 0.1, 0]", "arms.tam.weight_decay: names the value 0 twice"),
        ("weight_decay=[0, 0.0]", "arms.tam.weight_decay: names the value 0 twice"),
        ("weight_decay=[]", "arms.tam.weight_decay: names no value"),
        ("weight_decay=[0, [1]]", "arms.tam.weight_decay: has lists among single values"),
        ("weight_decay=[0, true]", "arms.tam.weight_decay: must be a number, got true"),
        ("weight_decays=[0, 1]", "arms.tam.weight_decays: unknown key 'weight_decays': did you mean 'weight_decay'?"),
        (f"weight_decay={[*range(501)]}", r"arms.tam: has 1002 combinations of lr, weight_decay, and at most 1000"),
    ],
)
def test_lists_that_do_not_fit_are_refused(tiny: Path, setting: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny_with(tiny, f"arms.tam.{setting}")


def test_every_arm_needs_equally_many_trials(tiny: Path) -> None:
    message = (
        r"arms: must have equally many trials, not sgdm 2 \(2 lr\), tam 6 \(2 lr x 3 weight_decay\), "
        r"tam_frozen 2 \(2 lr\)$"
    )
    with pytest.raises(InputError, match=message):
        load_scenario(str(tiny), ["arms.tam.weight_decay=[0,0.1,0.2]"])
    equal = ["arms.tam.weight_decay=[0,0.1,0.2]", "arms.tam.lr=[0.1]", "arms.sgdm.lr=[0.1, 0.2, 0.3]"]
    scenario = load_scenario(str(tiny), equal, ["sgdm", "tam"])
    assert {arm: scenario.trials_of(arm) for arm in scenario.arms} == {"sgdm": 3, "tam": 3}
    assert "3 trials each" in repr(scenario)
    search = ["protocol.search=random", "protocol.trials=5", "arms.tam.weight_decay=[0,0.1,0.2]"]
    assert load_scenario(str(tiny), search).trials_of("tam") == 5
    message = (
        r"arms: must have equally many trials, not sgdm 1, tam 5, tam_frozen 5: an arm with one learning rate and no "
        r"list of values has one; give sgdm several to choose from, as lr=\[0.1,0.03\]"
    )
    for settings in (search, search[:2]):
        with pytest.raises(InputError, match=message):
            load_scenario(str(tiny), [*settings, "arms.sgdm.lr=[0.1]"])


def test_lists_come_from_python_and_a_sweep_is_of_single_values(tiny: Path) -> None:
    scenario = load_scenario(str(tiny), (), ["tam"])
    own = scenario.with_arm(torch.optim.AdamW, lr=[0.1], weight_decay=[0, 0.1], betas=(0.8, 0.9))
    assert own.arms["AdamW"].grids == {"weight_decay": (0, 0.1)}
    assert own.arms["AdamW"].options == {"betas": (0.8, 0.9)}
    swept = points(scenario, {"arms.tam.weight_decay": [0, 0.1]})
    assert [point.scenario.arms["tam"].options for point in swept] == [{"weight_decay": 0}, {"weight_decay": 0.1}]
    assert all(point.scenario.arms["tam"].grids == {} for point in swept)


def test_whether_an_arm_is_stacked_does_not_depend_on_the_trial(tiny: Path) -> None:
    text = "look=lookahead,lr=0.1,base={}"
    bases = ["adam", "sgd"], ["adam", "sam"]
    made = [add_arm(load_scenario(str(tiny)), text.format(json.dumps(base)))[0] for base in bases]
    assert [is_stacked(scenario, "look") for scenario in made] == [True, False]


def test_groups_are_no_values_to_choose_from(tiny: Path) -> None:
    groups = 'arms.tam.groups=[{match="bias", weight_decay=0}, {dims=2, lr_scale=0.5}]'
    arm = tiny_with(tiny, "arms.tam.weight_decay=[0,0.01]", groups).arms["tam"]
    assert arm.grids == {"weight_decay": (0, 0.01)}
    assert (arm.size, len(arm.groups or ())) == (4, 2)
