"""Cautious against its reference over several bases, what it leaves out, and what it does not go over."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from tamcl.errors import InputError
from tamcl.optim import SAM, UPGD, Cautious, Lookahead, Switch
from tests.references.adam import AdamWReference
from tests.references.adam_cm import AdamCMReference
from tests.references.tam import TorqueReference
from tests.references.trajectory import assert_follows, gradients, parameters, set_gradients
from tests.references.wrappers import CautiousReference, SGDReference

SEQUENCES = {"dense": gradients(120), "missing": gradients(120, missing=True), "zeros": gradients(120, zeros=True)}
BASES = {
    "sgd": partial(SGDReference, momentum=0.9),
    "adamw": AdamWReference,
    "tam": TorqueReference,
    "adam_cm": AdamCMReference,
}
OPTIONS = {"sgd": {"momentum": 0.9}, "adamw": {"weight_decay": 0.1}}


def start():
    return [p.detach().numpy() for p in parameters()]


@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize("xi", [1.0, 0.0])
@pytest.mark.parametrize("base", BASES)
def test_follows_the_equations(base, xi, sequence):
    options = OPTIONS.get(base, {})
    reference = CautiousReference(BASES[base](start(), lr=0.01), xi, options.get("weight_decay", 0.0))
    assert_follows(
        lambda params: Cautious(params, lr=0.01, base=base, xi=xi, **options), reference, SEQUENCES[sequence]
    )


def test_coupled_weight_decay_is_part_of_the_gradient():
    """A gradient of -1 and a decay of 2 times a weight of 1 point down together: the step of SGD is kept."""
    weight = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = Cautious([weight], lr=0.1, base="sgd", weight_decay=2.0, xi=0.0)
    weight.grad = -torch.ones_like(weight)
    optimizer.step()
    assert weight.item() == pytest.approx(0.9)


def test_decoupled_weight_decay_is_never_left_out():
    weight = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizer = Cautious([weight], lr=0.1, base="adamw", weight_decay=0.5)
    weight.grad = torch.zeros_like(weight)
    optimizer.step()
    assert weight.tolist() == pytest.approx([0.95] * 3)
    assert optimizer.param_groups[0]["weight_decay"] == 0.5


def test_nothing_ever_moves_against_the_gradient_and_the_base_s_state_is_its_own():
    params, twins = parameters(), parameters()
    cautious = Cautious(params, lr=0.01, base="adam")
    plain = torch.optim.Adam(twins, lr=0.01)
    for grads in gradients(60):
        before = [param.detach().clone() for param in params]
        for some, optimizer in ((params, cautious), (twins, plain)):
            set_gradients(some, grads)
            optimizer.step()
        for param, old, grad in zip(params, before, grads, strict=True):
            assert ((param.detach() - old).numpy() * np.asarray(grad) <= 0).all()
    for param, twin in zip(params, twins, strict=True):
        assert torch.equal(cautious.state[param]["exp_avg"], plain.state[twin]["exp_avg"])


@pytest.mark.parametrize(
    ("base", "why"),
    [
        (partial(SAM, base="tam"), "Cautious cannot go over SAM: it goes over other optimizers"),
        (partial(Lookahead, base="tam"), "Cautious cannot go over Lookahead: it goes over"),
        (Switch, "Cautious cannot go over Switch: it goes over"),
        (torch.optim.LBFGS, "Cautious cannot go over LBFGS: its step needs a closure"),
        (UPGD, "Cautious cannot go over UPGD: its steps have decay in them"),
    ],
    ids=["sam", "lookahead", "switch", "lbfgs", "upgd"],
)
def test_what_has_no_steps_to_be_masked_is_refused(base, why):
    with pytest.raises(TypeError, match=why):
        Cautious(parameters(), lr=0.1, base=base)


def test_weight_decay_of_unknown_meaning_is_refused():
    Cautious(parameters(), lr=0.1, base=torch.optim.Adadelta)
    with pytest.raises(InputError, match="weight_decay=0.1: it is not known whether that of Adadelta is part of"):
        Cautious(parameters(), lr=0.1, base=torch.optim.Adadelta, weight_decay=0.1)


def test_options_are_checked():
    with pytest.raises(ValueError, match="xi must be a number >= 0, got -1"):
        Cautious(parameters(), lr=0.1, xi=-1)


def test_steps_are_taken_whose_product_with_the_gradient_is_too_small_to_be_a_number():
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.full((2,), 1e-25)
    Cautious([weight], lr=1e-10, base="sgd", xi=0.0).step()
    assert weight.tolist() == pytest.approx([-1e-35] * 2, rel=1e-3)
