"""Schedule-Free against its reference at both of its points, and its switch."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from tamcl.errors import InputError
from tamcl.optim import Lookahead, ScheduleFree
from tamcl.optim.phases import tell_of_training, weights_to_test
from tests.references.schedule_free import ScheduleFreeReference
from tests.references.trajectory import TWO_GROUPS, assert_follows, gradients, parameters, set_gradients, two_groups

SEQUENCES = {"dense": gradients(80), "missing": gradients(80, missing=True), "zeros": gradients(80, zeros=True)}


@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize("options", [{}, {"betas": (0.5, 0.9), "warmup": 30, "eps": 0.1, "weight_decay": 0.1}], ids=str)
def test_follows_the_equations_and_tests_the_average(options, sequence):
    reference = ScheduleFreeReference([p.detach().numpy() for p in parameters()], 0.01, **options)
    optimizer = assert_follows(lambda params: ScheduleFree(params, lr=0.01, **options), reference, SEQUENCES[sequence])
    with weights_to_test(optimizer):
        for param, x in zip(optimizer.param_groups[0]["params"], reference.x, strict=True):
            np.testing.assert_allclose(param.detach().numpy(), x, rtol=1e-9, atol=1e-9)
    for param, y in zip(optimizer.param_groups[0]["params"], reference.theta, strict=True):
        np.testing.assert_allclose(param.detach().numpy(), y, rtol=1e-10, atol=1e-10)


def test_follows_the_equations_with_two_groups():
    reference = ScheduleFreeReference([p.detach().numpy() for p in parameters()], **TWO_GROUPS)
    assert_follows(lambda params: ScheduleFree(two_groups(params)), reference, SEQUENCES["missing"])


def stepped(params, optimizer, steps):
    for grads in steps:
        set_gradients(params, grads)
        optimizer.step()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("make", [ScheduleFree, lambda params, lr: Lookahead(params, lr, base="schedule_free")])
def test_a_test_changes_no_bit_of_the_training(make, dtype):
    """Wherever it comes, twice, and where a copy and a state are made while it is on."""
    plain, tested = parameters(dtype), parameters(dtype)
    one, other = make(plain, lr=0.1), make(tested, lr=0.1)
    for grads in gradients(12, missing=True):
        stepped(plain, one, [grads])
        with weights_to_test(other), weights_to_test(other):
            pass
        stepped(tested, other, [grads])
        with weights_to_test(other):
            state, (copies, copied) = copy.deepcopy(other.state_dict()), copy.deepcopy((tested, other))
        other.load_state_dict(state)
        tell_of_training(other)
        tell_of_training(copied)
        for a, b, c in zip(plain, tested, copies, strict=True):
            assert torch.equal(a, b)
            assert torch.equal(a, c)


def test_a_step_between_eval_and_train_is_refused():
    params = parameters()
    optimizer = ScheduleFree(params, lr=0.1)
    stepped(params, optimizer, gradients(2))
    optimizer.eval()
    with pytest.raises(InputError, match=r"ScheduleFree's parameters are those to be tested: call train\(\) before"):
        stepped(params, optimizer, gradients(1))
    optimizer.train()
    stepped(params, optimizer, gradients(1))


def test_other_optimizers_are_not_touched():
    param = torch.nn.Parameter(torch.ones(2))
    for optimizer in (torch.optim.SGD([param], lr=0.1), Lookahead([param], lr=0.1)):
        with weights_to_test(optimizer):
            assert torch.equal(param, torch.ones(2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"betas": (0.0, 0.9)}, r"betas\[0\] must be in \(0, 1\), got 0.0"),
        ({"warmup": -1}, "warmup must be a whole number >= 0, got -1"),
    ],
    ids=str,
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        ScheduleFree(parameters(), lr=0.1, **options)
