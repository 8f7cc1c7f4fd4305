"""States of other versions, other optimizers and torch's distributed checkpoints load, and go on bit by bit."""

from __future__ import annotations

import copy
import warnings
from functools import partial

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

from tamcl.optim import (
    OPTIMIZERS,
    SAM,
    SGDCG,
    SGDCM,
    TAM,
    AdamCG,
    AdamCM,
    AdamWCM,
    AdaTAM,
    AdaTAMW,
    Lookahead,
    RMSpropCG,
    Switch,
)
from tamcl.registry import lookup

LARGE = 2**14

CASES = {name: partial(lookup(OPTIMIZERS, name), lr=0.01) for name in OPTIMIZERS} | {
    "tam[shuffled]": partial(TAM, lr=0.01, damping="shuffled"),
    "tam[zero]": partial(TAM, lr=0.01, start="zero", cosine_on="decayed", granularity="global", weight_decay=0.1),
    "tam[tensor,average]": partial(TAM, lr=0.01, damping="average", granularity="tensor"),
    "adam_cm[paper,amsgrad]": partial(AdamCM, lr=0.01, variant="paper", amsgrad=True, capacity=12),
    "adam_cm[random]": partial(AdamCM, lr=0.01, replacement="random", capacity=2),
    "adam_cm[empty]": partial(AdamCM, lr=0.01, capacity=0),
    "sgd_cm[fifo,bfloat16]": partial(SGDCM, lr=0.01, replacement="fifo", buffer_dtype="bfloat16"),
    "rmsprop_cg[centered]": partial(RMSpropCG, lr=0.01, centered=True, momentum=0.9),
    "sam[adam_cm]": partial(SAM, lr=0.01, base="adam_cm"),
    "lookahead[tam]": partial(Lookahead, lr=0.01, base="tam", k=3),
    "lookahead[adam_cm]": partial(Lookahead, lr=0.01, base="adam_cm", k=3),
}


class Network(nn.Module):
    """A frozen layer first, and a tensor of many entries."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.frozen, self.large, self.last = nn.Linear(3, 128), nn.Linear(128, LARGE // 128), nn.Linear(128, 2)
        self.frozen.requires_grad_(False)

    def forward(self, x):
        return self.last(torch.tanh(self.large(torch.tanh(self.frozen(x)))))


def train(model, optimizer, steps):
    for step in steps:
        x = torch.randn(4, 3, generator=torch.Generator().manual_seed(step))

        def closure(x=x):
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            return loss

        closure()
        optimizer.step(closure)
    return [param.detach().clone() for param in model.parameters()]


def broken_off(make, carry):
    """Train 6 steps, carry model and optimizer over to others, and return both's weights 6 steps on."""
    model = Network()
    optimizer = make(model.parameters())
    train(model, optimizer, range(6))
    other = Network()
    other.load_state_dict(model.state_dict())
    resumed = make(other.parameters())
    carry(model, optimizer, other, resumed)
    return train(model, optimizer, range(6, 12)), train(other, resumed, range(6, 12))


def in_memory(flat):
    options = StateDictOptions(flatten_optimizer_state_dict=flat)

    def carry(model, optimizer, other, resumed):
        state = copy.deepcopy(get_optimizer_state_dict(model, optimizer, options=options))
        set_optimizer_state_dict(other, resumed, state, options=options)

    return carry


def through_files(folder, flat):
    options = StateDictOptions(flatten_optimizer_state_dict=flat)

    def carry(model, optimizer, other, resumed):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=UserWarning)  # that no process group is there
            dcp.save({"optimizer": get_optimizer_state_dict(model, optimizer, options=options)}, checkpoint_id=folder)
            state = {"optimizer": get_optimizer_state_dict(other, resumed, options=options)}
            dcp.load(state, checkpoint_id=folder)
        set_optimizer_state_dict(other, resumed, state["optimizer"], options=options)

    return carry


def plainly(folder):
    """By the optimizer's own state_dict, after a step of the one that is to go on."""

    def carry(model, optimizer, other, resumed):
        start = copy.deepcopy(other.state_dict())
        train(other, resumed, range(1))
        other.load_state_dict(start)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=UserWarning)
            dcp.save({"optimizer": optimizer.state_dict()}, checkpoint_id=folder)
            state = {"optimizer": resumed.state_dict()}
            dcp.load(state, checkpoint_id=folder)
        resumed.load_state_dict(state["optimizer"])

    return carry


@pytest.mark.parametrize("way", ["flat", "nested", "flat in files", "nested in files", "plain in files"])
@pytest.mark.parametrize("name", CASES)
def test_torchs_checkpoints_go_on_bit_by_bit(name, way, tmp_path):
    carry = {
        "flat": in_memory(True),
        "nested": in_memory(False),
        "flat in files": through_files(tmp_path, True),
        "nested in files": through_files(tmp_path, False),
        "plain in files": plainly(tmp_path),
    }[way]
    whole, resumed = broken_off(CASES[name], carry)
    assert all(map(torch.equal, whole, resumed))


OURS = [TAM, AdaTAM, AdaTAMW, AdamCM, AdamWCM, SGDCM, AdamCG, SGDCG, RMSpropCG]


def test_a_flat_state_from_after_a_switch_is_refused():
    """torch leaves out what the new optimizer does not have yet, and puts nothing in place of what is gone."""
    make = partial(Switch, lr=0.01, first="adam", then="tam", at=3)
    with pytest.raises(ValueError, match="the state has no 'step', as if it were of another optimizer"):
        broken_off(make, in_memory(True))


def of_before(state_dict):
    """Return a state in the form that it had when tables were lists of the filled slots, and squares were kept."""
    state_dict = copy.deepcopy(state_dict)
    for state in state_dict["state"].values():
        if "ages" in state:
            filled = int((state["ages"] > 0).sum())
            state["priorities"], state["ages"] = (state[key][:filled].tolist() for key in ("priorities", "ages"))
        for key in {"sizes", "past_dampings"} & state.keys():
            state[key] = state[key].tolist()
        if {"momentum_buffer", "weight"} & state.keys():
            state["momentum_square"] = torch.tensor([7.0, 3.0], dtype=torch.float64)
    # the numbers of the whole stood with the first parameter, trained or not
    frozen, home = 0, next(index for index, state in state_dict["state"].items() if index)
    shared = {
        "priorities",
        "ages",
        "stored",
        "draws",
        "cosine",
        "smoothed_cosine",
        "damping",
        "damping_step",
        "past_dampings",
    }
    if "smoothed_cosine" not in state_dict["state"][home + 1]:  # what each tensor has is not about the whole
        moved = shared & state_dict["state"][home].keys()
        state_dict["state"][frozen] = {key: state_dict["state"][home].pop(key) for key in moved}
    return state_dict


WITH_TABLES = [name for name in CASES if name.startswith(("tam", "ada", "sgd_", "rmsprop_")) and name != "adagrad"]


@pytest.mark.parametrize("name", WITH_TABLES)
def test_states_of_before_go_on_bit_by_bit(name):
    def carry(model, optimizer, other, resumed):
        resumed.load_state_dict(of_before(optimizer.state_dict()))
        assert all("momentum_square" not in state for state in resumed.state.values())

    whole, resumed = broken_off(CASES[name], carry)
    assert all(map(torch.equal, whole, resumed))


@pytest.mark.parametrize("cls", [*OURS, Lookahead, Switch])
def test_options_that_an_older_state_has_not_stay_as_they_are(cls):
    """Those of the group, of all options one by one and together."""
    params = [nn.Parameter(torch.ones(2)) for _ in range(2)]
    groups = [{"params": params[:1]}, {"params": params[1:], "lr": 0.5, "weight_decay": 0.25}]
    optimizer = cls(groups, lr=0.125)
    expected = copy.deepcopy(optimizer.state_dict()["param_groups"])
    names = sorted(expected[0].keys() - {"params"})
    kept = "lookahead_k" if cls is Lookahead else "switch_at" if cls is Switch else ""
    for missing in [*([name] for name in names if name != kept), [name for name in names if name != kept]]:
        older = copy.deepcopy(optimizer.state_dict())
        for group in older["param_groups"]:
            for key in missing:
                del group[key]
        optimizer.load_state_dict(older)
        assert optimizer.state_dict()["param_groups"] == expected
        for param in params:
            param.grad = torch.ones(2)
        optimizer.step()


def table(steps):
    draw = torch.Generator().manual_seed(0)
    return torch.randn(steps, 4, generator=draw, dtype=torch.float64)


def stepped(optimizer, param, grads):
    before = param.detach().clone()
    for grad in grads:
        before = param.detach().clone()
        param.grad = grad.clone()
        optimizer.step()
    return param.detach() - before


def loaded(cls, theirs, grads, **options):
    """Return an optimizer of ours with the state that one of torch's has left, and its parameter."""
    param = nn.Parameter(torch.ones(4, dtype=torch.float64))
    other = theirs([param])
    stepped(other, param, grads)
    optimizer = cls([param], lr=0.1, **options)
    optimizer.load_state_dict(copy.deepcopy(other.state_dict()))
    return optimizer, param


@pytest.mark.parametrize("cls", [TAM, SGDCM, SGDCG])
def test_the_momentum_of_torchs_sgd_is_gone_on_with(cls):
    grads, options = table(6), {"eps": 0.0} if cls is TAM else {}
    optimizer, param = loaded(cls, partial(torch.optim.SGD, lr=0.25, momentum=0.75), grads[:5], **options)
    assert optimizer.param_groups[0]["lr"] == 0.25
    momentum = sum(0.75**k * grad for k, grad in enumerate(grads[:5].flip(0)))
    cosine = nn.functional.cosine_similarity(momentum, grads[5], dim=0)
    share = (1 + 0.1 * cosine) / 2 if cls is TAM else 1.0
    expected = -0.25 * (0.75 * momentum + share * grads[5])
    torch.testing.assert_close(stepped(optimizer, param, grads[5:]), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cls", OURS)
@pytest.mark.parametrize("theirs", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop])
def test_states_of_torchs_optimizers_load_with_what_they_have(cls, theirs):
    optimizer, param = loaded(cls, partial(theirs, lr=0.01), table(3))
    assert torch.isfinite(stepped(optimizer, param, table(4))).all()
    decoupled = {AdaTAMW: True, AdamCM: True, AdamWCM: True, TAM: theirs is torch.optim.AdamW}
    assert optimizer.param_groups[0]["decoupled_weight_decay"] is decoupled.get(cls, False), "not theirs to choose"
    assert type(optimizer.state[param].get("step", 0)) is int


def test_the_moments_of_torchs_adam_are_gone_on_with():
    """Held at a damping of 1/2 the momentum is 5 times Adam's average."""
    grads = table(6)
    adam = partial(torch.optim.Adam, lr=0.01)
    optimizer, param = loaded(AdaTAM, adam, grads[:5], damping=0.5, eps=1e-8)
    whole = nn.Parameter(torch.ones(4, dtype=torch.float64))
    expected = stepped(AdaTAM([whole], lr=0.01, damping=0.5, eps=1e-8, start="zero"), whole, grads)
    torch.testing.assert_close(stepped(optimizer, param, grads[5:]), expected, rtol=1e-7, atol=0)
    optimizer, param = loaded(AdamCG, adam, grads[:5], capacity=0)
    whole = nn.Parameter(torch.ones(4, dtype=torch.float64))
    expected = stepped(adam([whole]), whole, grads)
    torch.testing.assert_close(stepped(optimizer, param, grads[5:]), expected, rtol=1e-12, atol=0)


def test_hooks_before_loading_change_what_is_loaded():
    param = nn.Parameter(torch.ones(2))
    optimizer = TAM([param])
    stepped(optimizer, param, [torch.ones(2)])

    def doubled(optimizer, state_dict):
        state_dict = copy.deepcopy(state_dict)
        state_dict["state"][0]["momentum_buffer"] *= 2
        return state_dict

    expected = 2 * optimizer.state[param]["momentum_buffer"]
    optimizer.register_load_state_dict_pre_hook(doubled)
    optimizer.load_state_dict(optimizer.state_dict())
    assert torch.equal(optimizer.state[param]["momentum_buffer"], expected)


def test_sam_without_a_closure_steps_where_there_is_nowhere_to_climb():
    param = nn.Parameter(torch.ones(2))
    optimizer = SAM([param], lr=0.1, weight_decay=0.5)
    param.grad = torch.zeros(2)
    optimizer.step()
    torch.testing.assert_close(param.detach(), torch.full((2,), 0.95))
    param.grad = torch.ones(2)
    with pytest.raises(TypeError, match="SAM needs a closure"):
        optimizer.step()
