"""TAM with another damping: other functions of the cosine, and the same dampings at other times."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tamcl.optim import TAM, Switch
from tamcl.optim.damping import MEMORY
from tests.references.tam import TorqueReference
from tests.references.trajectory import assert_follows, gradients, parameters, set_gradients


class DampingReference(TorqueReference):
    """``damping`` and ``function`` as TAM's ``damping`` and ``damping_function``; shuffled is not here."""

    def __init__(self, params, lr, function="linear", timing=None, **options):
        super().__init__(params, lr, **options)
        self.function, self.timing = function, timing
        self.past = [[] for _ in self.theta]

    def damp(self, i):
        c = (1 + self.s[i]) / 2
        d = {"linear": c, "quadratic": c**2, "reversed": 1 - c}[self.function]
        self.past[i].append(d)
        return np.mean(self.past[i]) if self.timing == "average" else d


SEQUENCES = {"dense": gradients(120), "missing": gradients(120, missing=True)}


@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize("granularity", ["group", "tensor"])
@pytest.mark.parametrize("timing", [None, "average"])
@pytest.mark.parametrize("function", ["linear", "quadratic", "reversed"])
def test_follows_the_equations(function, timing, granularity, sequence):
    start = [p.detach().numpy() for p in parameters()]
    reference = DampingReference(start, lr=0.01, function=function, timing=timing, granularity=granularity)
    assert_follows(
        lambda params: TAM(params, lr=0.01, damping_function=function, damping=timing, granularity=granularity),
        reference,
        SEQUENCES[sequence],
    )


def dampings(optimizer, params, table):
    """Return the damping used and the one that the cosine says, of every step."""
    used, said = [], []
    for grads in table:
        set_gradients(params, grads)
        optimizer.step()
        used.append(float(optimizer.shared_state["damping"]))
        said.append((1 + float(optimizer.shared_state["smoothed_cosine"])) / 2)
    return used, said


def test_shuffled_dampings_are_past_ones_at_other_times():
    params = parameters()
    used, said = dampings(TAM(params, lr=0.0, damping="shuffled", seed=0), params, gradients(800))
    assert used[0] == 1, "a first gradient enters whole, and is none of the dampings that are drawn"
    for t in range(1, 800):
        assert used[t] in said[1 : t + 1]
    late = slice(200, 800)
    assert np.mean(used[late]) == pytest.approx(np.mean(said[late]), abs=0.02)
    assert np.std(used[late]) == pytest.approx(np.std(said[late]), rel=0.15)
    assert abs(np.corrcoef(used[late], said[late])[0, 1]) < 0.15


def test_shuffled_dampings_depend_on_the_seed_and_not_on_the_global_generator():
    runs = []
    for seed, globally in ((0, 0), (0, 1), (1, 0)):
        torch.manual_seed(globally)
        params = parameters()
        runs.append(dampings(TAM(params, lr=0.0, damping="shuffled", seed=seed), params, gradients(50))[0])
    assert runs[0] == runs[1] != runs[2]


def test_without_a_seed_it_is_that_of_the_run():
    seeds = []
    for globally in (0, 1, 0):
        torch.manual_seed(globally)
        seeds.append(TAM(parameters(), damping="shuffled").param_groups[0]["seed"])
    assert seeds[0] == seeds[2] != seeds[1]


def test_old_dampings_are_forgotten_and_memory_does_not_grow():
    params = [torch.nn.Parameter(torch.ones(1))]
    optimizer = TAM(params, lr=0.0, damping="shuffled", gamma=0.0)
    for t in range(2 * MEMORY):
        params[0].grad = torch.tensor([1.0 if t < MEMORY else (-1.0) ** t])
        optimizer.step()
    past = optimizer.shared_state["past_dampings"]
    assert len(past) == MEMORY
    assert past.mean() < 0.6


@pytest.mark.parametrize("granularity", ["group", "tensor"])
@pytest.mark.parametrize("damping", ["average", "shuffled"])
def test_goes_on_bit_by_bit_after_loading(damping, granularity):
    def make(params):
        return TAM(params, lr=0.01, damping=damping, granularity=granularity)

    whole, half, table = parameters(), parameters(), gradients(40)
    dampings_of = [make(whole), make(half)]
    for t, grads in enumerate(table):
        if t == 20:
            saved = dampings_of[1].state_dict()
            dampings_of[1] = make(half)
            dampings_of[1].load_state_dict(saved)
        for params, optimizer in zip((whole, half), dampings_of, strict=True):
            set_gradients(params, grads)
            optimizer.step()
    for a, b in zip(whole, half, strict=True):
        assert torch.equal(a, b)


def test_a_warm_up_counts_with_the_damping_of_the_function():
    for function, factor in (("linear", 0.6), ("quadratic", 0.36), ("reversed", 0.4)):
        params = parameters()
        switch = Switch(params, lr=0.01, at=1, s=0.2, damping_function=function)
        set_gradients(params, gradients(1)[0])
        switch.step()
        assert switch.state[params[0]]["switch_factor"] == pytest.approx(factor)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"damping": "mean"}, "damping must be a number in [0, 1], 'average' or 'shuffled', got 'mean'"),
        (
            {"damping_function": "sine"},
            "damping_function must be one of 'linear', 'quadratic', 'reversed', got 'sine'",
        ),
        ({"seed": -1}, "seed must be a whole number >= 0, got -1"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        TAM(parameters(), **options)
    assert str(caught.value) == message
