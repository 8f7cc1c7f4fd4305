"""Switch: what the second optimizer takes over, and going on exactly on either side."""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import pytest
import torch

from tamcl.optim import OPTIMIZERS, TAM, AdamCM, Switch, transfer_lr
from tamcl.registry import lookup
from tests.references.tam import TorqueReference
from tests.references.trajectory import gradients, parameters, set_gradients
from tests.references.wrappers import SGDReference


def run(optimizer, params, table):
    for grads in table:
        set_gradients(params, grads)
        optimizer.step()


def assert_equal(ours, expected, tolerance=0.0):
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a.detach(), torch.as_tensor(b).detach(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("carry", ["velocity", "buffer", "nothing"])
@pytest.mark.parametrize("s", [0.0, 0.5, None])
def test_follows_tam_and_then_sgd_with_momentum(s, carry):
    table, params = gradients(60), parameters()
    tam = TorqueReference([p.detach().numpy() for p in params], lr=0.01)
    for grads in table[:25]:
        tam.step(grads)
    factor = (1 + (tam.s[0] if s is None else s)) / 2
    sgd = SGDReference(tam.theta, lr=0.01 * factor, momentum=0.9)
    sgd.m = [{"velocity": m / factor, "buffer": m, "nothing": 0 * m}[carry] for m in tam.m]
    for grads in table[25:]:
        sgd.step(grads)
    run(Switch(params, lr=0.01, first="tam", then="sgd", at=25, s=s, carry=carry), params, table)
    assert_equal(params, sgd.theta, 1e-10)


@pytest.mark.parametrize("at", [1, 7, 100])
def test_a_tam_with_held_damping_goes_over_without_a_trace(at):
    """It is SGD with the learning rate times the damping, before and after; so is the way back."""
    for first, then, lr in (("tam", "sgd", 0.02), ("sgd", "tam", 0.008)):
        ours, plain = parameters(), parameters()
        options = {"damping": 0.4, "eps": 0.0, "momentum": 0.9, "start": "zero"}
        switch = Switch(ours, lr=lr, first=first, then=then, at=at, carry="velocity", **options)
        for params, optimizer in ((ours, switch), (plain, torch.optim.SGD(plain, lr=0.008, momentum=0.9))):
            run(optimizer, params, gradients(50))
        assert_equal(ours, plain, 1e-12)


def test_granularity_tensor_takes_the_mean_of_the_smoothed_cosines():
    params = parameters()
    switch = Switch(params, lr=0.01, at=5, s=None, granularity="tensor")
    tam = TAM(twins := parameters(), lr=0.01, granularity="tensor")
    run(switch, params, gradients(5))
    run(tam, twins, gradients(5))
    mean = np.mean([float(state["smoothed_cosine"]) for state in tam.state.values()])
    assert switch.state[params[0]]["switch_factor"] == pytest.approx((1 + mean) / 2)


@pytest.mark.parametrize("pair", [("tam", "sgd"), ("adatam", "adamw"), ("sgd", "tam")])
def test_the_second_is_a_new_one_at_its_own_learning_rate(pair):
    first, then = pair
    params, twins = parameters(), parameters()
    switch = Switch(params, lr=0.02, first=first, then=then, at=10, lr_then=0.005, weight_decay=0.1)
    run(switch, params, gradients(10))
    one, other = lookup(OPTIMIZERS, first), lookup(OPTIMIZERS, then)
    run(one(twins, lr=0.02, weight_decay=0.1), twins, gradients(10))
    resumed = Switch(loaded := copy.deepcopy(params), lr=0.3, first=first, then=then, at=3)
    resumed.load_state_dict(switch.state_dict())
    momentum = {"momentum": 0.9} if pair == ("tam", "sgd") else {}
    alone = other(twins, lr=0.005, weight_decay=0.1, **momentum)
    for some, optimizer in ((params, switch), (loaded, resumed), (twins, alone)):
        run(optimizer, some, gradients(30)[10:])
    assert_equal(params, twins, 1e-14)
    assert_equal(loaded, params)


def test_schedulers_and_groups_have_the_same_part_of_the_second_learning_rate():
    params = [torch.nn.Parameter(torch.zeros(1, dtype=torch.float64)) for _ in range(2)]
    groups = [{"params": params[:1]}, {"params": params[1:], "lr": 0.5}]
    switch = Switch(groups, lr=1.0, first="sgd", then="sgd", at=1, lr_then=0.1)
    for rate, moved in ((1.0, (1.0, 0.5)), (1.0, (0.1, 0.05)), (0.3, (0.03, 0.015))):
        switch.param_groups[0]["lr"], switch.param_groups[1]["lr"] = rate, rate / 2
        before = [param.item() for param in params]
        run(switch, params, [[-np.ones(1)] * 2])
        assert [param.item() - start for param, start in zip(params, before, strict=True)] == pytest.approx(moved)


def test_the_first_state_is_thrown_away_unless_it_is_carried():
    for carry, kept in (("nothing", False), ("velocity", True), ("buffer", True)):
        params = parameters()
        switch = Switch(params, lr=0.01, at=5, carry=carry)
        run(switch, params, gradients(5))
        assert all(("momentum_buffer" in switch.state[param]) is kept for param in params)


def test_a_momentum_that_tam_takes_over_is_no_first_gradient():
    """From SGD: the next gradient enters damped, with a cosine."""
    params, table = parameters(), gradients(6)
    switch = Switch(params, lr=0.01, first="sgd", then="tam", at=5, carry="buffer", momentum=0.9)
    run(switch, params, table)
    m = [sum(0.9 ** (4 - t) * grads[i] for t, grads in enumerate(table[:5])) for i in range(len(params))]
    cosine = TorqueReference.cosine(m, table[5])
    for param, momentum, grad in zip(params, m, table[5], strict=True):
        expected = 0.9 * momentum + (1e-8 + (1 + 0.1 * cosine) / 2) * grad
        np.testing.assert_allclose(switch.state[param]["momentum_buffer"].numpy(), expected, rtol=1e-10)


def test_between_other_optimizers_state_starts_anew_and_the_learning_rate_stays():
    params, twins = parameters(), parameters()
    run(Switch(params, lr=0.01, first="adam_cm", then="adam", at=10), params, gradients(30))
    run(AdamCM(twins, lr=0.01), twins, gradients(30)[:10])
    run(torch.optim.Adam(twins, lr=0.01), twins, gradients(30)[10:])
    assert_equal(params, twins)


NAMES = [name for name in OPTIMIZERS if name not in ("sam", "lookahead", "cautious", "switch")]


@pytest.mark.parametrize("options", [{"weight_decay": 0.5}, {}], ids=["decay", "plain"])
@pytest.mark.parametrize("first", NAMES)
def test_each_steps_as_it_would_alone(first, options):
    """After the switch the second goes on as a new one with the same options does, whatever the first was."""
    for then in NAMES:
        params, twins = parameters(), parameters()
        switch = Switch(params, lr=0.02, first=first, then=then, at=3, **options)
        one, other = lookup(OPTIMIZERS, first), lookup(OPTIMIZERS, then)
        run(switch, params, gradients(3))
        run(one(twins, lr=0.02, **options), twins, gradients(3))
        assert_equal(params, twins)
        factor = {("tam", "sgd"): 0.5, ("sgd", "tam"): 2.0}.get((first, then), 1.0)
        momentum = {"momentum": 0.9} if (first, then) == ("tam", "sgd") else {}
        copied = copy.deepcopy((params, switch))
        resumed = Switch(loaded := copy.deepcopy(params), lr=0.3, first=first, then=then, at=3, **options)
        resumed.load_state_dict(switch.state_dict())
        for some, optimizer in (
            (params, switch),
            copied,
            (loaded, resumed),
            (twins, other(twins, lr=0.02 * factor, **momentum, **options)),
        ):
            run(optimizer, some, gradients(12)[3:])
        assert_equal(params, twins)
        assert_equal(copied[0], twins)
        assert_equal(loaded, twins)


def test_options_of_a_group_and_of_an_added_one_are_those_of_both():
    params, twins = parameters(), parameters()
    switch = Switch(
        [{"params": params[:2], "weight_decay": 0.3}], lr=0.02, first="tam", then="adamw", at=3, carry="nothing"
    )
    switch.add_param_group({"params": params[2:], "weight_decay": 0.1, "lr": 0.01})
    run(switch, params, gradients(3))
    for cls in (TAM, torch.optim.AdamW):
        groups = [{"params": twins[:2], "weight_decay": 0.3}, {"params": twins[2:], "weight_decay": 0.1, "lr": 0.01}]
        alone = cls(groups, lr=0.02)
        run(alone, twins, gradients(3) if cls is TAM else gradients(9)[3:])
    run(switch, params, gradients(9)[3:])
    assert_equal(params, twins)
    assert switch.param_groups[0]["weight_decay"] == 0.3, "the groups speak of the first again"


def test_options_changed_in_the_groups_are_used():
    params, twins = parameters(), parameters()
    switch = Switch(params, lr=0.02, first="adam", then="adamw", at=3)
    run(switch, params, gradients(3))
    run(torch.optim.Adam(twins, lr=0.02), twins, gradients(3))
    [group] = switch.param_groups
    assert group["switch_then"] == {"weight_decay": 0.01, "decoupled_weight_decay": True}
    group["lr"], group["betas"], group["switch_then"]["weight_decay"] = 0.04, (0.8, 0.9), 0.2
    run(switch, params, gradients(9)[3:])
    run(torch.optim.AdamW(twins, lr=0.04, betas=(0.8, 0.9), weight_decay=0.2), twins, gradients(9)[3:])
    assert_equal(params, twins)


def test_named_parameters_keep_their_names():
    named = [(f"layer.{i}", param) for i, param in enumerate(parameters())]
    switch = Switch(named[:2], lr=0.01, first="tam", then="adam")
    switch.add_param_group({"params": named[2:]})
    assert [group["param_names"] for group in switch.param_groups] == [["layer.0", "layer.1"], ["layer.2", "layer.3"]]


def test_options_of_a_partial_are_its_own():
    switch = Switch(parameters(), first=partial(TAM, momentum=0.8), then=partial(torch.optim.SGD, momentum=0.5), at=1)
    assert switch.param_groups[0]["momentum"] == 0.8
    assert switch.param_groups[0]["switch_then"] == {"momentum": 0.5}


@pytest.mark.parametrize("then", ["adam", "adam_cm", "sgd_cm", "adatam", "rmsprop"])
def test_only_between_tam_and_sgd_the_learning_rate_is_divided(then):
    for pair in (("tam", then), (then, "tam")):
        switch = Switch(params := parameters(), first=pair[0], then=pair[1], at=2)
        run(switch, params, gradients(3))
        assert switch.state[params[0]]["switch_factor"] == 1


def test_steps_without_gradient_do_not_count():
    params = parameters()
    switch = Switch(params, lr=0.01, at=3)
    none = [None] * len(params)
    run(switch, params, [gradients(1)[0], none, none, gradients(1)[0]])
    assert isinstance(switch.base, TAM)
    run(switch, params, gradients(1))
    assert isinstance(switch.base, torch.optim.SGD)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("at", [9, 10, 11])
@pytest.mark.parametrize("pair", [("tam", "sgd"), ("adam", "tam"), ("tam", "adam_cm"), ("sgd", "adam")])
def test_goes_on_bit_by_bit_on_either_side_of_the_switch(pair, at, dtype):
    table = gradients(20)

    def make(params):
        return Switch(params, lr=0.01, first=pair[0], then=pair[1], at=at)

    whole, half = parameters(dtype), parameters(dtype)
    run(make(whole), whole, table)
    before = make(half)
    run(before, half, table[:10])
    copied, twin = copy.deepcopy((half, before))
    after = make(half)
    after.load_state_dict(copy.deepcopy(before.state_dict()))
    run(after, half, table[10:])
    run(twin, copied, table[10:])
    assert_equal(half, whole)
    assert_equal(copied, whole)


def test_schedulers_speak_of_the_first_learning_rate():
    param = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    switch = Switch([param], lr=1.0, at=2, momentum=0.0, eps=0.0, damping=0.5, start="zero")
    scheduler = torch.optim.lr_scheduler.LambdaLR(switch, lambda epoch: 1 / (epoch + 1))
    moves, rates = [], []
    for _ in range(4):
        before = param.item()
        param.grad = -torch.ones_like(param)
        switch.step()
        moves.append(param.item() - before)
        rates.append(switch.param_groups[0]["lr"])
        scheduler.step()
    assert rates == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4])
    assert moves == pytest.approx([rate / 2 for rate in rates])


def test_clearing_the_state_starts_with_the_first_again():
    params = parameters()
    switch = Switch(params, lr=0.01, at=3)
    run(switch, params, gradients(5))
    switch.state[params[0]] = {}
    assert isinstance(switch.base, torch.optim.SGD), "the others know"
    switch.state.clear()
    assert isinstance(switch.base, TAM)


def test_options_go_to_whom_they_belong_and_shared_ones_to_both():
    switch = Switch(parameters(), lr=0.01, first="tam", then="sgd", gamma=0.5, nesterov=True, weight_decay=0.1)
    [group] = switch.param_groups
    assert (group["gamma"], group["nesterov"], group["weight_decay"], group["momentum"]) == (0.5, True, 0.1, 0.9)
    assert all(optimizer.param_groups[0] is group for optimizer in switch.optimizers)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"at": 0}, ValueError, "at must be a whole number >= 1, got 0"),
        ({"s": -1.0}, ValueError, r"s must be in \(-1, 1\], got -1\.0"),
        ({"s": "x"}, ValueError, r"s must be in \(-1, 1\], got 'x'"),
        ({"carry": "all"}, ValueError, "carry must be one of 'nothing', 'velocity', 'buffer', got 'all'"),
        ({"lr_then": -1.0}, ValueError, "lr_then must be a number >= 0, got -1.0"),
        ({"lr_then": 0}, ValueError, "lr_then must be greater than 0, got 0"),
        ({"lr_then": "x"}, ValueError, "lr_then must be a number >= 0, got 'x'"),
        ({"momentun": 0.5}, TypeError, "unknown option of 'tam' and 'sgd' 'momentun': did you mean 'momentum'?"),
        ({"then": "sgdd"}, ValueError, "unknown optimizer 'sgdd': did you mean 'sgd'?"),
    ],
)
def test_options_are_checked(options, error, message):
    with pytest.raises(error, match=message):
        Switch(parameters(), lr=0.1, **options)


def test_options_of_the_whole_optimizer_must_agree():
    switch = Switch([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    for wrong in ({"switch_at": 5}, {"gamma": 0.5}):
        with pytest.raises(ValueError, match="must be the same in all groups"):
            switch.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))], **wrong})
    assert [len(optimizer.param_groups) for optimizer in switch.optimizers] == [1, 1]


@pytest.mark.parametrize("s", [-0.5, 0.0, 1.0])
def test_transfer_lr_gives_tam_the_steps_of_sgd(s):
    """A damping held where TAM settles takes SGD's steps at the transferred learning rate."""
    ours, plain = parameters(), parameters()
    run(TAM(ours, lr=transfer_lr(0.01, s), damping=(1 + s) / 2, eps=0.0, start="zero"), ours, gradients(30))
    run(torch.optim.SGD(plain, lr=0.01, momentum=0.9), plain, gradients(30))
    assert_equal(ours, plain, 1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-0.1,), "lr_sgdm must be a number >= 0, got -0.1"),
        ((float("nan"),), "lr_sgdm must be a number >= 0, got nan"),
        ((float("inf"),), "lr_sgdm must be a number >= 0, got inf"),
        (("a",), "lr_sgdm must be a number >= 0, got 'a'"),
        ((True,), "lr_sgdm must be a number >= 0, got True"),
        ((0.1, None), r"s must be in \(-1, 1\], got None"),
        ((0.1, -1.0), r"s must be in \(-1, 1\], got -1.0"),
        ((0.1, 1.1), r"s must be in \(-1, 1\], got 1.1"),
    ],
)
def test_transfer_lr_checks_what_it_is_given(arguments, message):
    with pytest.raises(ValueError, match=message):
        transfer_lr(*arguments)
