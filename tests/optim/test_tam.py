"""TAM against its reference, its neutral setting and the limits that the paper states."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from tamcl.optim import TAM, Lookahead
from tests.references.tam import TorqueReference
from tests.references.trajectory import TWO_GROUPS, assert_follows, gradients, parameters, set_gradients, two_groups

SEQUENCES = {
    "dense": gradients(),
    "missing": gradients(missing=True),
    "zeros": gradients(zeros=True),
}


READINGS = {
    "precursor": {},
    "others": {"start": "zero", "cosine_on": "decayed", "granularity": "global"},
    "mixed": {"cosine_on": "decayed", "granularity": "tensor"},
    "tensor": {"start": "zero", "granularity": "tensor"},
}


@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
@pytest.mark.parametrize(("weight_decay", "decoupled"), [(0.0, False), (0.1, False), (0.1, True)])
def test_follows_the_equations(reading, weight_decay, decoupled, sequence):
    start, options = [p.detach().numpy() for p in parameters()], {"lr": 0.01, "weight_decay": weight_decay, **reading}
    reference = TorqueReference(start, decoupled=decoupled, **options)
    assert_follows(
        lambda params: TAM(params, decoupled_weight_decay=decoupled, **options), reference, SEQUENCES[sequence]
    )


@pytest.mark.parametrize("cosine_on", ["raw", "decayed"])
@pytest.mark.parametrize("start", ["gradient", "zero"])
@pytest.mark.parametrize("granularity", ["group", "global", "tensor"])
def test_follows_the_equations_with_two_groups(granularity, start, cosine_on):
    options = {"granularity": granularity, "start": start, "cosine_on": cosine_on}
    reference = TorqueReference(
        [p.detach().numpy() for p in parameters()], groups=[0, 0, 1, 1], **options, **TWO_GROUPS
    )
    assert_follows(lambda params: TAM(two_groups(params), **options), reference, gradients(missing=True))


TRACE = [(1, 0), (0, 1), (1, 0), (-1, 0), (0, 1), (1, 1)]
"""Gradients of a trace of the precursor's rule, with lr 0.1 and the constants that are the defaults."""

TRACES = {
    "gradient": (
        [0, 0, 0.08741573, -0.01622014, 0.03409642, 0.12960445],
        [1, 0.5, 0.54370787, 0.49188994, 0.51704822, 0.56480223],
        [1.15322442, 1.35819564],
        [-0.57871819, -0.35947439],
    ),
    "zero": (
        [0, 0, 0.06689647, -0.02996253, 0.04781272, 0.13367368],
        [0.5, 0.5, 0.53344825, 0.48501874, 0.52390637, 0.56683685],
        [0.85810044, 1.36640259],
        [-0.34297596, -0.36098090],
    ),
}
"""Smoothed cosines, dampings, and in the end momentum and parameters, from either start; rounded to 8 digits."""


@pytest.mark.parametrize("way", [{}, {"foreach": False}, {"capturable": True}], ids=str)
@pytest.mark.parametrize("start", TRACES)
def test_follows_the_trace_of_the_precursor(start, way):
    param = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
    optimizer = TAM([param], lr=0.1, start=start, **way)
    smoothed, entering = [], []
    for grad in TRACE:
        before = optimizer.state[param].get("momentum_buffer", torch.zeros(2)).clone()
        param.grad = torch.tensor(grad, dtype=torch.float64)
        optimizer.step()
        state = optimizer.state[param]
        smoothed.append(float(state["smoothed_cosine"]))
        entered = (state["momentum_buffer"] - 0.9 * before) @ param.grad / (param.grad @ param.grad)
        entering.append(entered.item())
        assert entered.item() == pytest.approx(float(state["damping"]), abs=2e-8)
    expected = TRACES[start]
    for found, value in zip(
        (smoothed, entering, state["momentum_buffer"].tolist(), param.tolist()), expected, strict=True
    ):
        assert found == pytest.approx(value, abs=1.01e-8)  # it shows a share of 1/2 without eps
    assert entering[0] == (1.0 if start == "gradient" else pytest.approx(0.5 + 1e-8, abs=1e-15))


def stepped(optimizer, params, grads):
    set_gradients(params, grads)
    optimizer.step()


def test_a_first_gradient_enters_whole_with_its_decay_and_without_eps():
    param = torch.nn.Parameter(torch.tensor([3.0, -2.0], dtype=torch.float64))
    optimizer = TAM([param], lr=0.5, weight_decay=0.5, eps=0.25)
    stepped(optimizer, [param], [np.array([1.0, 4.0])])
    assert optimizer.state[param]["momentum_buffer"].tolist() == [1 + 0.5 * 3, 4 - 0.5 * 2]
    assert param.tolist() == [3 - 0.5 * 2.5, -2 - 0.5 * 3]
    state = optimizer.shared_state
    assert (state["cosine"], state["smoothed_cosine"], state["damping"]) == (0, 0, 1)


@pytest.mark.parametrize("way", [{}, {"foreach": False}, {"capturable": True}], ids=str)
def test_a_first_gradient_that_comes_late_enters_whole_and_has_no_part_in_the_cosine(way):
    early, late = (torch.nn.Parameter(torch.zeros(2, dtype=torch.float64)) for _ in range(2))
    optimizer, params = TAM([early, late], lr=0.0, gamma=0.5, **way), [early, late]
    stepped(optimizer, params, [np.array([1.0, 0.0]), None])
    stepped(optimizer, params, [np.array([3.0, 0.0]), np.array([7.0, -5.0])])  # of both the cosine would be below 1
    assert float(optimizer.shared_state["cosine"]) == pytest.approx(1.0)
    assert float(optimizer.shared_state["smoothed_cosine"]) == pytest.approx(0.5)
    assert optimizer.state[late]["momentum_buffer"].tolist() == [7.0, -5.0]
    stepped(optimizer, params, [None, np.array([7.0, -5.0])])  # from then on it shares the smoothed cosine
    assert float(optimizer.shared_state["smoothed_cosine"]) == pytest.approx(0.75)
    expected = (0.9 + 1e-8 + 1.75 / 2) * np.array([7.0, -5.0])
    np.testing.assert_allclose(optimizer.state[late]["momentum_buffer"].numpy(), expected, rtol=1e-12)


def test_first_gradients_alone_leave_the_smoothed_cosine():
    params = [torch.nn.Parameter(torch.zeros(1, dtype=torch.float64)) for _ in range(2)]
    optimizer = TAM(params, gamma=0.5)
    one = np.ones(1)
    for grads in ([one, None], [one, None], [None, -one]):
        stepped(optimizer, params, grads)
    assert optimizer.shared_state["smoothed_cosine"] == pytest.approx(0.5)
    assert optimizer.state[params[1]]["momentum_buffer"].item() == -1


@pytest.mark.parametrize("cosine_on", ["raw", "decayed"])
def test_each_group_steps_as_it_would_by_itself(cosine_on):
    one, other = parameters(), parameters()
    options = {"cosine_on": cosine_on, "gamma": 0.5}
    together = TAM(two_groups(one), **options)
    apart = [TAM([group], **options) for group in two_groups(other)]
    for grads in gradients(60, missing=True):
        set_gradients(one, grads)
        set_gradients(other, grads)
        for optimizer in (together, *apart):
            optimizer.step()
        assert all(map(torch.equal, one, other))
    for group, optimizer in zip(together.param_groups, apart, strict=True):
        numbers = together.numbers_of(group)
        assert numbers["smoothed_cosine"] == optimizer.shared_state["smoothed_cosine"] != 0


def test_coupled_decay_enters_the_momentum_and_not_the_cosine():
    for cosine_on, cosine in (("raw", 0.0), ("decayed", 1 / math.sqrt(2))):
        param = torch.nn.Parameter(torch.tensor([1.0, 0.0], dtype=torch.float64))
        optimizer = TAM([param], lr=0.0, weight_decay=1.0, cosine_on=cosine_on)
        stepped(optimizer, [param], [np.zeros(2)])  # the momentum is what decays
        stepped(optimizer, [param], [np.array([0.0, 1.0])])
        assert optimizer.shared_state["cosine"] == pytest.approx(cosine)
        share = 1e-8 + (1 + 0.1 * cosine) / 2
        expected = [0.9 + share, share]
        assert optimizer.state[param]["momentum_buffer"].tolist() == pytest.approx(expected)


def test_a_state_from_before_these_were_options_goes_on_as_it_began():
    past = {"start": "zero", "cosine_on": "decayed", "granularity": "global"}
    whole, half = parameters(), parameters()
    before, first = (TAM(params, lr=0.01, weight_decay=0.1, **past) for params in (whole, half))
    table = gradients(30, missing=True)
    for grads in table[:10]:
        stepped(before, whole, grads)
        stepped(first, half, grads)
    saved = copy.deepcopy(first.state_dict())
    for group in saved["param_groups"]:
        del group["start"], group["cosine_on"]
    for resumed in (TAM(half, lr=0.5), Lookahead(half, base="tam", k=10**6)):
        if isinstance(resumed, Lookahead):
            for group in saved["param_groups"]:
                group.update({key: resumed.param_groups[0][key] for key in resumed.own_options})
        resumed.load_state_dict(saved)
        assert {key: resumed.param_groups[0][key] for key in past} == past
    resumed = TAM(half, lr=0.5)
    resumed.load_state_dict(saved)
    for grads in table[10:]:
        stepped(before, whole, grads)
        stepped(resumed, half, grads)
    assert all(map(torch.equal, whole, half))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": "one"}, "start must be one of 'gradient', 'zero', got 'one'"),
        ({"cosine_on": "both"}, "cosine_on must be one of 'raw', 'decayed', got 'both'"),
        ({"granularity": "layer"}, "granularity must be one of 'group', 'global', 'tensor', got 'layer'"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        TAM(parameters(), **options)


@pytest.mark.parametrize(
    "options", [{"beta": 0.0}, {"gamma": 0.0}, {"gamma": 0.99}, {"eps": 0.1}, {"damping": 0.5}, {"damping": 0.0}]
)
def test_follows_the_equations_with_other_constants(options):
    reference = TorqueReference([p.detach().numpy() for p in parameters()], lr=0.01, **options)
    ours = {"momentum" if name == "beta" else name: value for name, value in options.items()}
    assert_follows(lambda params: TAM(params, lr=0.01, **ours), reference, gradients(100))


def test_maximize_follows_the_negated_gradient():
    reference = TorqueReference([p.detach().numpy() for p in parameters()], lr=0.01, weight_decay=0.1)
    params = parameters()
    optimizer = TAM(params, lr=0.01, weight_decay=0.1, maximize=True)
    for grads in gradients(50):
        set_gradients(params, [-g for g in grads])
        optimizer.step()
        reference.step(grads)
    for param, theta in zip(params, reference.theta, strict=True):
        np.testing.assert_allclose(param.detach().numpy(), theta, rtol=1e-10)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_damping_held_at_one_is_sgd_with_momentum(weight_decay):
    ours, torchs = parameters(), parameters()
    tam = TAM(ours, lr=0.01, damping=1.0, eps=0.0, weight_decay=weight_decay)
    sgd = torch.optim.SGD(torchs, lr=0.01, momentum=0.9, weight_decay=weight_decay)
    for grads in gradients(100, missing=True):
        for params, optimizer in ((ours, tam), (torchs, sgd)):
            set_gradients(params, grads)
            optimizer.step()
    for a, b in zip(ours, torchs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-14, atol=1e-14)


def test_a_null_model_takes_the_first_gradient_as_tam_does():
    """Held at d its momentum is d times SGD's, and (1 - d) times what is left of the first gradient."""
    params, table = parameters(), gradients(20)
    optimizer = TAM(params, lr=0.01, damping=0.3, eps=0.0)
    for grads in table:
        stepped(optimizer, params, grads)
    for i, param in enumerate(params):
        sgdm = sum(0.9 ** (19 - t) * grads[i] for t, grads in enumerate(table))
        expected = 0.3 * sgdm + 0.7 * 0.9**19 * table[0][i]
        np.testing.assert_allclose(optimizer.state[param]["momentum_buffer"].numpy(), expected, rtol=1e-12)


def test_damping_held_at_one_half_is_sgd_at_half_the_learning_rate():
    ours, torchs = parameters(), parameters()
    tam = TAM(ours, lr=0.02, damping=0.5, eps=0.0, start="zero")
    sgd = torch.optim.SGD(torchs, lr=0.01, momentum=0.9)
    for grads in gradients(100):
        for params, optimizer in ((ours, tam), (torchs, sgd)):
            set_gradients(params, grads)
            optimizer.step()
    for a, b in zip(ours, torchs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("start", "first"), [("gradient", 1.0), ("zero", 0.5)])
@pytest.mark.parametrize("granularity", ["group", "tensor"])
@pytest.mark.parametrize(
    ("relation", "cosine"),
    [
        (lambda m: 3 * m, 1.0),
        (lambda m: -3 * m, -1.0),
        (lambda m: torch.stack([-m[1], m[0]]), 0.0),
    ],
    ids=["aligned", "opposed", "orthogonal"],
)
def test_limits_of_the_damping(granularity, relation, cosine, start, first):
    param = torch.nn.Parameter(torch.zeros(2))
    optimizer = TAM([param], gamma=0.0, granularity=granularity, start=start)
    param.grad = torch.tensor([1.0, 2.0])
    optimizer.step()
    state = optimizer.state[param]
    assert state["damping"] == first
    param.grad = relation(state["momentum_buffer"]).clone()
    optimizer.step()
    assert state["cosine"] == pytest.approx(cosine, abs=1e-6)
    assert state["damping"] == pytest.approx((1 + cosine) / 2, abs=1e-6)


def test_an_opposed_gradient_hardly_enters():
    param = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = TAM([param], gamma=0.0, momentum=0.9, eps=1e-3)
    for grad in (1.0, -5.0):
        param.grad = torch.tensor([grad], dtype=torch.float64)
        optimizer.step()
    assert optimizer.state[param]["momentum_buffer"].item() == pytest.approx(0.9 * 1 - 1e-3 * 5)


def test_smoothed_cosine_of_a_steady_gradient():
    param = torch.nn.Parameter(torch.zeros(3))
    optimizer = TAM([param], gamma=0.9)
    for t in range(1, 30):
        param.grad = torch.ones(3)
        optimizer.step()
        assert optimizer.shared_state["smoothed_cosine"] == pytest.approx(1 - 0.9 ** (t - 1), abs=1e-5)


@pytest.mark.parametrize("granularity", ["global", "tensor"])
@pytest.mark.parametrize(
    ("scale", "dtype"),
    [
        *((scale, torch.float32) for scale in (1e-38, 1e-25, 1e25)),
        *((scale, torch.float16) for scale in (1e-3, 1e3)),
        *((scale, torch.bfloat16) for scale in (1e-30, 1e30)),
        *((scale, torch.float64) for scale in (1e-200, 1e200)),
    ],
    ids=str,
)
def test_the_cosine_does_not_depend_on_the_size_of_the_gradient(granularity, scale, dtype):
    def smoothed_cosines(scale):
        params = parameters(dtype)
        optimizer = TAM(params, lr=0.0, granularity=granularity)
        for grads in gradients(20):
            set_gradients(params, grads)
            for param in params:
                param.grad = (param.grad.double() * scale).to(dtype)
            optimizer.step()
        return [state["smoothed_cosine"] for state in optimizer.state.values() if "smoothed_cosine" in state]

    tolerance = {torch.float16: 5e-3, torch.bfloat16: 5e-3}.get(dtype, 1e-5)  # scaling rounds the gradients
    assert smoothed_cosines(scale) == pytest.approx(smoothed_cosines(1.0), abs=tolerance)


def test_a_nan_gradient_makes_the_cosine_nan():
    params = parameters(torch.float32)
    optimizer = TAM(params)
    for value in (1.0, math.nan, math.inf):
        for param in params:
            param.grad = torch.full_like(param, value)
        optimizer.step()
    assert math.isnan(optimizer.shared_state["cosine"])


def test_channels_last_momentum_pairs_with_contiguous_gradient():
    rng = torch.Generator().manual_seed(0)
    plain = torch.nn.Parameter(torch.randn(2, 3, 4, 5, generator=rng))
    last = torch.nn.Parameter(plain.detach().clone().to(memory_format=torch.channels_last))
    for _ in range(5):
        grad = torch.randn(2, 3, 4, 5, generator=rng)
        plain.grad, last.grad = grad, grad.clone()
    optimizers = TAM([plain]), TAM([last])
    for _ in range(5):
        grad = torch.randn(2, 3, 4, 5, generator=rng)
        plain.grad, last.grad = grad, grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    assert optimizers[0].shared_state["cosine"] == pytest.approx(optimizers[1].shared_state["cosine"], abs=1e-6)
    torch.testing.assert_close(plain, last, check_stride=False)


def test_a_held_damping_measures_no_cosine():
    param = torch.nn.Parameter(torch.ones(2))
    optimizer = TAM([param], damping=0.5)
    param.grad = torch.ones(2)
    optimizer.step()
    assert set(optimizer.state[param]) == {"momentum_buffer"}
