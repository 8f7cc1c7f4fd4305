"""What all wrappers promise: how a base is named, what errors say, one set of groups and one state."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from tamcl.errors import InputError
from tamcl.optim import SAM, TAM, AdamCM, Lookahead, Switch
from tests.references.trajectory import gradients, parameters, set_gradients

WRAPPERS = [SAM, Lookahead, partial(Switch, then="tam", at=3, damping=0.5)]


def step(optimizer, params, grads):
    set_gradients(params, grads)
    optimizer.step(lambda: 0.0)


@pytest.mark.parametrize("base", ["tam", "tamcl.optim.tam:TAM", TAM, partial(TAM, lr=0.01, gamma=0.5)], ids=str)
def test_a_base_is_a_name_a_path_or_a_callable(base):
    assert type(Lookahead(parameters(), lr=0.1, base=base).base) is TAM


@pytest.mark.parametrize(
    ("base", "options", "error", "message"),
    [
        ("tamm", {}, ValueError, "unknown optimizer 'tamm': did you mean 'tam'?"),
        (3, {}, TypeError, "base must be the name or the class of an optimizer, got 3"),
        (TAM([torch.nn.Parameter(torch.ones(1))]), {}, TypeError, "an optimizer, got an object of TAM"),
        (dict, {}, TypeError, "base must be the name or the class of an optimizer, got <class 'dict'>"),
        ("json:JSONDecoder", {}, InputError, "optimizer 'json:JSONDecoder': is no torch.optim.Optimizer"),
        ("json:loads", {}, InputError, "optimizer 'json:loads': is no class but a function"),
        ("tam", {"momentun": 0.5}, TypeError, "unknown option of 'tam' 'momentun': did you mean 'momentum'? Known:"),
        (TAM, {"momentun": 0.5}, TypeError, "unknown option of TAM 'momentun': did you mean 'momentum'? Known:"),
        ("tam", {"momentum": 1.5}, ValueError, r"momentum must be in \[0, 1\), got 1.5"),
        (partial(SAM, base="tam"), {"momentun": 0.5}, TypeError, "unknown option of 'tam' 'momentun'"),
    ],
)
@pytest.mark.parametrize("wrapper", [SAM, Lookahead])
def test_errors_name_the_base_and_the_option(wrapper, base, options, error, message):
    with pytest.raises(error, match=message.replace("?", r"\?")):
        wrapper(parameters(), lr=0.1, base=base, **options)


def test_without_lr_a_base_takes_its_own():
    assert SAM(parameters(), base="tam").param_groups[0]["lr"] == 0.1
    assert SAM(parameters(), base="adam_cm").param_groups[0]["lr"] == 1e-3


@pytest.mark.parametrize("wrapper", WRAPPERS, ids=["sam", "lookahead", "switch"])
def test_groups_and_state_are_those_of_the_optimizers_underneath(wrapper):
    params = parameters()
    optimizer = wrapper(params[:2], lr=0.01)
    optimizer.add_param_group({"params": params[2:], "lr": 0.02})
    for grads in gradients(5):
        step(optimizer, params, grads)
        for each in optimizer.optimizers:
            assert each.state is optimizer.state
            assert [a is b for a, b in zip(each.param_groups, optimizer.param_groups, strict=True)] == [True, True]
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.02]


@pytest.mark.parametrize("wrapper", WRAPPERS, ids=["sam", "lookahead", "switch"])
def test_a_group_that_is_refused_leaves_everything_as_it_was(wrapper):
    optimizer = wrapper(parameters(), lr=0.01)
    for wrong in ({"lr": -1.0}, {"lr": float("nan")}):
        with pytest.raises(ValueError, match="lr must be a number >= 0"):
            optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))], **wrong})
    with pytest.raises(ValueError, match="some parameters appear in more than one parameter group"):
        optimizer.add_param_group({"params": optimizer.param_groups[0]["params"][:1]})
    assert all(len(each.param_groups) == 1 for each in (optimizer, *optimizer.optimizers))


@pytest.mark.parametrize("wrapper", WRAPPERS, ids=["sam", "lookahead", "switch"])
def test_schedulers_change_the_steps(wrapper):
    params = parameters()
    optimizer = wrapper(params, lr=0.01, momentum=0.0)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.1)
    step(optimizer, params, gradients(1)[0])
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.001)
    before = params[0].detach().clone()
    step(optimizer, params, gradients(1)[0])
    first = (params[0].detach() - before).abs().max()
    scheduler.step()
    before = params[0].detach().clone()
    step(optimizer, params, gradients(1)[0])
    assert (params[0].detach() - before).abs().max() == pytest.approx(0.1 * first.item())


@pytest.mark.parametrize("nested", [partial(SAM, base="adam_cm"), partial(Switch, first=AdamCM, at=4)])
def test_wrappers_go_over_wrappers_and_resume(nested):
    def make(params):
        return Lookahead(params, lr=0.01, base=nested, k=3)

    table, whole, half = gradients(20), parameters(), parameters()
    optimizer = make(whole)
    for grads in table:
        step(optimizer, whole, grads)
    first = make(half)
    for grads in table[:10]:
        step(first, half, grads)
    second = make(half)
    second.load_state_dict(first.state_dict())
    for grads in table[10:]:
        step(second, half, grads)
    for a, b in zip(whole, half, strict=True):
        assert torch.equal(a, b)


def test_torch_optimizers_underneath_see_a_first_parameter_whose_first_gradient_comes_late():
    """The count that Lookahead leaves in its state must not look like a state of Adam."""
    params = parameters()
    optimizer = Lookahead(params, lr=0.01, base="adam", k=2)
    for late in (True, True, False, True):
        for _ in range(2):
            grads = gradients(1)[0]
            step(optimizer, params, [None, *grads[1:]] if late else grads)
            other = Lookahead(params, lr=0.01, base="adam", k=2)
            other.load_state_dict(optimizer.state_dict())
            optimizer = other


def test_hooks_of_loading_are_called():
    called = []
    optimizer = Lookahead(parameters(), lr=0.01)
    optimizer.register_load_state_dict_pre_hook(lambda each, state: called.append(each))
    optimizer.register_load_state_dict_post_hook(called.append)
    optimizer.load_state_dict(optimizer.state_dict())
    assert called == [optimizer, optimizer]


@pytest.mark.parametrize("wrapper", [SAM, Lookahead, partial(Switch, first="tam")], ids=["sam", "lookahead", "switch"])
def test_a_state_of_something_else_is_refused(wrapper):
    tam = TAM(parameters(), lr=0.01)
    with pytest.raises(ValueError, match="the state is not one of .*: its groups have no '(sam|lookahead|switch)_"):
        wrapper(parameters(), lr=0.01).load_state_dict(tam.state_dict())


@pytest.mark.parametrize("wrapper", [Lookahead, partial(Switch, first="tam")])
def test_none_goes_over_its_own_kind(wrapper):
    key = "first" if isinstance(wrapper, partial) else "base"
    with pytest.raises(TypeError, match=r"cannot go over another .*: their options have the same names"):
        wrapper(parameters(), lr=0.01, **{key: wrapper})


def test_repr_names_the_base():
    assert repr(SAM(parameters(), lr=0.01, base="tam")).startswith("SAM over TAM (\nParameter Group 0\n")
