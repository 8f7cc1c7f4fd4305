"""Groups by rule and parameters by name: an arm has the optimizer that one would build by hand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tamcl.errors import InputError
from tamcl.optim import SAM, TAM, Lookahead, Switch
from tamcl.scenario.groups import Group
from tamcl.scenario.load import add_arm, load_scenario
from tamcl.scenario.schema import Scenario
from tamcl.scenario.stacking import why_not_compiled
from tamcl.scenario.sweeping import points
from tamcl.strategies import Naive
from tamcl.study.estimate import estimate
from tamcl.testing import check_optimizer
from tamcl.testing.examine import examine_named
from tamcl.training.build import build_optimizer
from tamcl.training.cell import Cell
from tamcl.training.groups import known_parameters, split
from tamcl.training.run import run_cell
from tamcl.trial import Trial

SHORT = ["stream.experiences=3", "stream.samples=60", "model.hidden=[8]", "evaluation.samples=20"]
RULES = '[{match="bias",weight_decay=0},{match="^head",lr_scale=0.1}]'
HERE = __name__

Named = Iterable[tuple[str, nn.Parameter]]


def by_hand(named: Named, lr: float, **of_biases: Any) -> list[dict[str, Any]]:
    """The groups of RULES, made without them."""
    groups: dict[str, list[nn.Parameter]] = {"biases": [], "head": [], "others": []}
    for name, param in named:
        kind = "biases" if param.dim() == 1 else "head" if name.split(".")[0] == "head" else "others"
        groups[kind].append(param)
    biases, head, others = ({"params": params} for params in groups.values())
    return [biases | {"weight_decay": 0} | of_biases, head | {"lr": 0.1 * lr}, others]


class AdamWByHand(torch.optim.AdamW):
    def __init__(self, named_parameters: Named, lr: float) -> None:
        super().__init__(by_hand(named_parameters, lr), lr=lr, weight_decay=0.5)


class TAMByHand(TAM):
    def __init__(self, named_params: Named, lr: float) -> None:
        super().__init__(by_hand(named_params, lr), lr=lr, weight_decay=0.01, granularity="group")


class SAMByHand(SAM):
    def __init__(self, named_params: Named, lr: float) -> None:
        super().__init__(by_hand(named_params, lr, sam_rho=0.2), lr=lr, base="tam", weight_decay=0.01)


class LookaheadByHand(Lookahead):
    def __init__(self, named_params: Named, lr: float) -> None:
        super().__init__(by_hand(named_params, lr), lr=lr, base="adamw", k=3, weight_decay=0.5)


class SwitchByHand(Switch):
    def __init__(self, named_params: Named, lr: float) -> None:
        super().__init__(by_hand(named_params, lr), lr=lr, first="tam", then="sgd", at=5, weight_decay=0.01)


class NamedSGD(torch.optim.SGD):
    """Refuses parameters without names."""

    def __init__(self, named_params: Any, lr: float, slow: str = "") -> None:
        if not isinstance(named_params, list):
            raise TypeError("parameters without a list of names")
        super().__init__(named_params, lr=lr)
        for group in self.param_groups:
            if not all(isinstance(name, str) for name in group["param_names"]):
                raise TypeError("parameters without names")
        self.slow = slow

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for name, param in zip(group["param_names"], group["params"], strict=True):
                if param.grad is not None and self.slow and self.slow in name:
                    param.grad.mul_(0.5)
        return super().step(closure)


class NamedTAM(TAM):
    """Refuses parameters without names; https://arxiv.org/abs/2412.18790 is what it steps by."""

    def __init__(self, named_params: Any, lr: float = 0.1, **options: Any) -> None:
        super().__init__(named_params, lr, **options)
        if not all("param_names" in group for group in self.param_groups):
            raise TypeError("parameters without names")


class Drawing(torch.optim.SGD):
    """Draws a number, and has hooks on its parameters, when it is made."""

    def __init__(self, params: Any, lr: float, scale: float = 1.0) -> None:
        super().__init__(params, lr=lr)
        self.defaults["scale"] = scale
        self.drawn = torch.rand(1).item()
        for group in self.param_groups:
            for param in group["params"]:
                param.register_hook(lambda grad: grad)


class Frozen(Naive):
    """Trains all but the first parameter."""

    def __init__(self, **common: Any) -> None:
        make = common.pop("make_optimizer")
        super().__init__(make_optimizer=lambda params: make([*params][1:]), **common)


def scenario_of(*settings: str, name: str = "label_flip_digits") -> Scenario:
    return load_scenario(name, [*SHORT, *settings])


def trained(text: str, *settings: str, name: str = "label_flip_digits", rate: float = 0.05) -> Any:
    scenario, arm = add_arm(scenario_of(*settings, name=name), f"{text},lr={rate}")
    outcome = run_cell(Cell(scenario, arm, rate, seed=0, phase="report"))
    assert outcome.runs["status"].item() == "ok", outcome.runs["error"].item()
    return outcome


ALONE, STACKED = "strategy.stacked=false", "strategy.stacked=true"


@pytest.mark.parametrize(
    ("arm", "theirs", "settings"),
    [
        ("adamw,weight_decay=0.5", AdamWByHand, [ALONE]),
        ("adamw,weight_decay=0.5", AdamWByHand, [ALONE, "strategy.schedule=cosine"]),
        ("adamw,weight_decay=0.5", AdamWByHand, [ALONE, "strategy.optimizer_state=reset"]),
        ("adamw,weight_decay=0.5", AdamWByHand, [ALONE, "stream.oracle=restart"]),
        ("adamw,weight_decay=0.5", AdamWByHand, [ALONE, 'interventions=[{name="l2_init"}]', "strategy.clip=1.0"]),
        ("tam,weight_decay=0.01,granularity=group", TAMByHand, [ALONE]),
        ("tam,weight_decay=0.01,granularity=group", TAMByHand, [STACKED, "strategy.schedule=cosine"]),
        ("tam,weight_decay=0.01,granularity=group", TAMByHand, [STACKED, "strategy.optimizer_state=reset"]),
        ("lookahead,base=adamw,k=3,weight_decay=0.5", LookaheadByHand, [STACKED]),
        ("switch,at=5,weight_decay=0.01,granularity=group", SwitchByHand, [STACKED, "strategy.schedule=step"]),
    ],
)
def test_is_the_optimizer_that_is_built_by_hand(arm: str, theirs: type, settings: list[str]) -> None:
    found = trained(f"x={arm},groups={RULES}", *settings)
    expected = trained(f"x={HERE}:{theirs.__name__}", *settings)
    without = trained(f"x={arm}", *settings)
    assert found.online.equals(expected.online)
    assert found.runs["final_weights"].item() == expected.runs["final_weights"].item()
    assert found.runs["final_weights"].item() != without.runs["final_weights"].item()


def test_a_wrapper_that_needs_a_closure_reads_its_own_option_of_a_group() -> None:
    rules = RULES.replace("weight_decay=0", "weight_decay=0,sam_rho=0.2")
    found = trained(f"x=sam,base=tam,weight_decay=0.01,granularity=group,groups={rules}")
    assert found.online.equals(trained(f"x={HERE}:SAMByHand").online)


@pytest.mark.parametrize("setting", [ALONE, STACKED])
def test_heads_that_begin_later_are_in_their_groups(setting: str) -> None:
    arm, where = "tam,weight_decay=0.01,granularity=group", {"name": "task_shift_digits"}
    settings = [setting, "model.head=multi", "stream.experiences=5"]
    found = trained(f"x={arm},groups={RULES}", *settings, **where)
    expected = trained(f"x={HERE}:TAMByHand", *settings, **where)
    assert found.runs["final_weights"].item() == expected.runs["final_weights"].item()


def test_one_step_by_hand_in_numpy() -> None:
    """SGD: of each group its own rate and decay, the rest those of the arm."""
    model = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2), nn.Linear(2, 2))
    scenario, arm = add_arm(
        scenario_of(ALONE),
        'x=sgd,weight_decay=0.1,lr=0.5,groups=[{match="norm",weight_decay=0},{dims=2,match="^2",lr_scale=0.2}]',
    )
    optimizer = build_optimizer(scenario, arm, Trial(0.5), model.parameters(), known_parameters(model))
    before = {name: param.detach().numpy().copy() for name, param in model.named_parameters()}
    grads = {name: np.full(value.shape, 1.0 + place) for place, (name, value) in enumerate(before.items())}
    for name, param in model.named_parameters():
        param.grad = torch.from_numpy(grads[name]).float()
    optimizer.step()
    rates = {"2.weight": 0.1}
    for name, param in model.named_parameters():
        decay = 0.0 if name.startswith("1.") else 0.1  # 1 is the LayerNorm
        expected = before[name] - rates.get(name, 0.5) * (grads[name] + decay * before[name])
        np.testing.assert_allclose(param.detach().numpy(), expected, rtol=1e-6, err_msg=name)


def test_a_parameter_is_of_the_first_rule_and_normalisation_is_found_by_the_class() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2))
    known = known_parameters(model)
    names = [each.name for each in known]
    assert names == ["0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "2.bias"]
    groups = [Group(match="bias", weight_decay=0), Group(match="NORM", lr_scale=0.5), Group(dims=4, lr_scale=2.0)]
    parts = [[names[place] for place in part] for part in split(groups, known, "arms.x")]
    assert parts == [["0.bias", "1.bias", "2.bias"], ["1.weight"], ["0.weight"], ["2.weight"]]
    assert split([Group(match="", lr_scale=2.0)], known, "arms.x") == [list(range(6))]  # none is left


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (
            '[{match="bais",weight_decay=0}]',
            "arms.x.groups.0: 'bais' matches none of the model's 4 parameters, such as",
        ),
        ('[{match="bias",lr_scale=2},{dims=1,lr_scale=3}]', "arms.x.groups.1: 'dims 1' matches only parameters of the"),
        ('[{match="bias",weight_decay=-1}]', "arms.x.groups.0: adamw refuses {"),
        ('[{match="bias",wd=1}]', "arms.x.groups.0.wd: unknown key 'wd': Known: amsgrad, betas, "),
        ('[{match="bias",lr=1.0}]', "arms.x.groups.0.lr: is the arm's, which is tuned; 'lr_scale' multiplies it"),
        ('[{match="bias",amsgrad=1}]', "arms.x.groups.0.amsgrad: must be true or false, got 1"),
        ('[{match="bias",lr_scale=-1.0}]', "arms.x.groups.0.lr_scale = -1.0: must be greater than or equal to 0"),
        ('[{match="(",lr_scale=2}]', "arms.x.groups.0.match: '(' is no regular expression: "),
        ("[{lr_scale=2}]", "arms.x.groups.0: has no rule: 'match', a regular expression, or 'dims', a number of"),
        ('[{match="bias"}]', "arms.x.groups.0: changes nothing: it has neither an option of the optimizer nor"),
        ('[{match="bias",weight_decay=[0,0.1]}]', "arms.x.groups.0.weight_decay: has a list of values, and options of"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_trained(groups: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        estimate(add_arm(scenario_of(), f"x=adamw,lr=0.01,groups={groups}")[0].only(["x"]))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_message_shows_no_option_that_nobody_gave() -> None:
    with pytest.raises(InputError, match=r"x: adam refuses {'lr': 0.01, 'weight_decay': -1}: "):
        estimate(add_arm(scenario_of(), "x=adam,lr=0.01,weight_decay=-1")[0].only(["x"]))


def test_an_empty_list_of_groups_is_none() -> None:
    scenario = add_arm(scenario_of(), "x=sgd,lr=0.01")[0].only(["x"])
    none, some = points(scenario, {"arms.x.groups": [[], [{"match": "bias", "weight_decay": 0.1}]]})
    assert none.name == "arms.x.groups = none"
    runs = [Cell(each, "x", 0.01, 0, "report").config for each in (scenario, none.scenario, some.scenario)]
    assert runs[0] == runs[1] != runs[2]
    assert isinstance(build_optimizer(none.scenario, "x", Trial(0.01), nn.Linear(2, 1).parameters()), torch.optim.SGD)


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        ('sam,groups=[{match="bias",rho=0.1}]', "unknown option of a group 'rho': did you mean 'sam_rho'?"),
        ('switch,groups=[{match="bias",at=3}]', "unknown option of a group 'at': "),
        ('tam,groups=[{match="bias",granularity="tensor"}]', "granularity must be the same in all groups: 'tensor' in"),
        ('sam,groups=[{match="bias",momentun=0.1}]', "unknown option of a group 'momentun': did you mean 'momentum'?"),
        ('sam,groups=[{match="bias",nesterov=true}]', "arms.x.groups.0: sam refuses "),
    ],
)
def test_an_option_that_no_group_can_have_is_refused(arm: str, message: str) -> None:
    """It would stand in the group, and be read by nobody."""
    scenario, label = add_arm(scenario_of(), f"x={arm},lr=0.01")
    model = nn.Linear(2, 2)
    with pytest.raises(InputError, match="^arms.x") as caught:
        build_optimizer(scenario, label, Trial(0.01), model.parameters(), known_parameters(model))
    assert message in str(caught.value)


@pytest.mark.parametrize("arm", ["tam", "adatam", "adatamw", "sam,base=tam", "switch,at=5"])
def test_groups_that_would_make_another_method_are_refused_unless_it_is_named(arm: str) -> None:
    same = f'x={arm},weight_decay=0.01,groups=[{{match="bias",weight_decay=0.01}}]'
    scenario, label = add_arm(scenario_of(), f"{same},lr=0.01")
    model = nn.Linear(2, 2)
    with pytest.raises(InputError, match="one damping a group of parameters by default.*say granularity = 'global'"):
        build_optimizer(scenario, label, Trial(0.01), model.parameters(), known_parameters(model))
    told = same.replace("groups=", "granularity=global,groups=")
    without = f"x={arm},weight_decay=0.01,granularity=global"
    losses = [trained(each, ALONE).online["loss"] for each in (told, without)]
    np.testing.assert_allclose(*losses, rtol=1e-4)  # rounding alone: sums go by groups


def test_a_plan_says_what_is_in_which_group_and_why_nothing_is_compiled() -> None:
    scenario = add_arm(scenario_of("model.layer_norm=true"), f"x=adamw,lr=0.01,groups={RULES}")[0].only(["x"])
    plan = estimate(scenario)
    assert plan.arms["x"].groups == "bias: weight_decay 0 (3); ^head: lr_scale 0.1 (1); all others (2)"
    stacked = add_arm(scenario_of(), f"x=adamw,lr=0.01,groups={RULES}")[0]
    assert why_not_compiled(stacked.dump(), "x") == "its parameters are in groups, and a graph has one"


def test_a_run_without_groups_is_named_as_ever_and_one_with_them_by_what_was_set() -> None:
    scenario, _ = add_arm(scenario_of(), f"x=adamw,lr=0.01,groups={RULES}")
    plain, _ = add_arm(scenario_of(), "x=adamw,lr=0.01")
    cell, other = (Cell(each, "x", 0.01, seed=0, phase="report") for each in (scenario, plain))
    assert other.config["optimizer"] == {"name": "adamw", "lr": 0.01}
    of_biases, of_head = {"match": "bias", "weight_decay": 0}, {"match": "^head", "lr_scale": 0.1}
    assert cell.config["optimizer"] == {"name": "adamw", "lr": 0.01, "groups": [of_biases, of_head]}
    assert cell.id != other.id


def test_groups_from_python_may_hold_numbers_of_numpy() -> None:
    groups = [{"match": "bias", "weight_decay": np.float64(0.5)}]
    scenario = scenario_of().with_arm(torch.optim.AdamW, "x", lr=0.1, groups=groups)
    assert scenario.arms["x"].groups == (Group(match="bias", weight_decay=0.5),)


def test_what_wants_names_gets_them_also_below_a_wrapper() -> None:
    plain = trained("x=sgd", ALONE)
    assert trained(f"x={HERE}:NamedSGD", ALONE).online.equals(plain.online)
    halved = trained('x=sgd,groups=[{match="bias",lr_scale=0.5}]', ALONE)
    assert trained(f"x={HERE}:NamedSGD,slow=bias", ALONE).online.equals(halved.online)
    below = trained(f"x=lookahead,base={HERE}:NamedSGD,slow=bias", ALONE)
    assert below.online.equals(trained('x=lookahead,base=sgd,groups=[{match="bias",lr_scale=0.5}]', ALONE).online)


def test_the_promises_of_what_wants_names_can_be_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    check_optimizer(NamedTAM, lr=0.01)
    monkeypatch.setattr("tamcl.testing.examine.CAN_FORK", False)  # in this process
    assert examine_named(f"{HERE}:NamedTAM", {"lr": 0.01}).passed


def test_a_strategy_that_trains_a_part_of_the_model_is_told_that_names_are_not_known() -> None:
    settings = f"strategy={{name='{HERE}:Frozen'}}"
    trained("x=sgd", settings)
    for arm in ('x=sgd,groups=[{match="bias",lr_scale=0.5}]', f"x={HERE}:NamedSGD"):
        with pytest.raises(InputError, match="arms.x: needs names of parameters, and the strategy gives its optimizer"):
            trained(arm, settings)


def test_making_sure_of_the_options_draws_nothing_and_leaves_no_hook() -> None:
    model = nn.Linear(2, 2)
    scenario, arm = add_arm(scenario_of(), f'x={HERE}:Drawing,lr=0.01,groups=[{{match="bias",scale=0.5}}]')
    torch.manual_seed(3)
    drawn = [torch.rand(1).item(), torch.rand(1).item()]
    torch.manual_seed(3)
    made = build_optimizer(scenario, arm, Trial(0.01), model.parameters(), known_parameters(model))
    assert [made.drawn, torch.rand(1).item()] == drawn
    assert [len(param._backward_hooks or ()) for param in model.parameters()] == [1, 1]
