"""SGD, Adam and RMSprop with critical gradients and SGD with critical momenta, and the buffer that they share."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tamcl.optim import SGDCG, SGDCM, AdamCG, AdamCM, RMSpropCG
from tests.references.critical import AdamCGReference, RMSpropCGReference, SGDCGReference, SGDCMReference
from tests.references.trajectory import TWO_GROUPS, assert_follows, gradients, parameters, set_gradients, two_groups

REFERENCES = {SGDCG: SGDCGReference, SGDCM: SGDCMReference, AdamCG: AdamCGReference, RMSpropCG: RMSpropCGReference}
SEQUENCES = {"dense": gradients(120), "missing": gradients(120, missing=True), "zeros": gradients(120, zeros=True)}
OPTIONS = [
    (SGDCG, {}),
    (SGDCG, {"momentum": 0.9, "weight_decay": 0.1}),
    (SGDCM, {}),
    (SGDCM, {"momentum": 0.0, "weight_decay": 0.1}),
    (AdamCG, {"weight_decay": 0.1}),
    (AdamCG, {"betas": (0.5, 0.9), "eps": 0.1}),
    (RMSpropCG, {"weight_decay": 0.1}),
    (RMSpropCG, {"aggregation": "sum", "momentum": 0.9, "centered": True}),
]


def name(value):
    return value.__name__ if isinstance(value, type) else None


@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize("buffer", [{}, {"capacity": 3, "variant": "paper", "replacement": "fifo"}], ids=["", "fifo"])
@pytest.mark.parametrize(("cls", "options"), OPTIONS, ids=name)
def test_follows_the_equations(cls, options, buffer, sequence):
    options = options | buffer
    reference = REFERENCES[cls]([p.detach().numpy() for p in parameters()], lr=0.01, **options)
    assert_follows(lambda params: cls(params, lr=0.01, **options), reference, SEQUENCES[sequence])


@pytest.mark.parametrize("cls", REFERENCES, ids=name)
def test_follows_the_equations_with_two_groups(cls):
    reference = REFERENCES[cls]([p.detach().numpy() for p in parameters()], **TWO_GROUPS)
    assert_follows(lambda params: cls(two_groups(params)), reference, SEQUENCES["missing"])


@pytest.mark.parametrize(
    ("cls", "options", "neutral", "theirs"),
    [
        (SGDCG, {"momentum": 0.9}, torch.optim.SGD, {"momentum": 0.9}),
        (SGDCM, {}, torch.optim.SGD, {"momentum": 0.9}),
        (AdamCG, {}, torch.optim.Adam, {}),
        (RMSpropCG, {"momentum": 0.9, "centered": True}, torch.optim.RMSprop, {"momentum": 0.9, "centered": True}),
    ],
    ids=name,
)
def test_with_an_empty_buffer_it_is_torchs(cls, options, neutral, theirs):
    ours, torchs = parameters(), parameters()
    both = {"lr": 0.01, "weight_decay": 0.1}
    optimizers = cls(ours, capacity=0, **both, **options), neutral(torchs, **both, **theirs)
    for grads in gradients(100, missing=True):
        for params, optimizer in zip((ours, torchs), optimizers, strict=True):
            set_gradients(params, grads)
            optimizer.step()
    for a, b in zip(ours, torchs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


def moves(optimizer, param, grads):
    found = []
    for grad in grads:
        before = param.item()
        param.grad = torch.full_like(param, grad)
        optimizer.step()
        found.append(param.item() - before)
    return found


def single(cls, **options):
    param = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
    return cls([param], lr=1.0, **options), param


@pytest.mark.parametrize(
    ("cls", "options", "expected"),
    [
        # gradients 1, -2, 3 and -1; what is remembered before each step: -; 1; 1, -2; 1, -2, 3
        (SGDCG, {}, [-1, 2 - 1, -3 + 1 / 2, 1 - 2 / 3]),
        (SGDCM, {"momentum": 0.0}, [-1, 2 - 1, -3 + 1 / 2, 1 - 2 / 3]),
        (AdamCG, {"betas": (0.0, 0.0)}, [-1, 1, -1, 1]),
        (RMSpropCG, {"alpha": 0.0}, [-1, -1, 1, -1]),
        (RMSpropCG, {"alpha": 0.0, "aggregation": "sum"}, [-1, 1, -1, 1]),
    ],
    ids=name,
)
def test_first_steps_worked_by_hand(cls, options, expected):
    assert moves(*single(cls, **options), [1.0, -2.0, 3.0, -1.0]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("replacement", "kept"), [("priority", [5.0, 2.0, 3.0]), ("fifo", [2.0, 0.5, 3.0]), ("random", None)]
)
@pytest.mark.parametrize(
    ("cls", "options"),
    [*((cls, {"momentum": 0.0} if cls is SGDCM else {}) for cls in REFERENCES), (AdamCM, {"betas": (0.0, 0.9)})],
    ids=name,
)
def test_what_leaves_a_full_buffer(cls, options, replacement, kept):
    optimizer, param = single(cls, capacity=3, decay=1.0, replacement=replacement, seed=0, **options)
    moves(optimizer, param, [5.0, 1.0, 3.0, 2.0, 0.5])
    found = optimizer.state[param]["buffer"].tolist()
    if kept:
        assert found == kept
    else:
        assert {0.5} < set(found) <= {5.0, 1.0, 3.0, 2.0, 0.5}
    assert len(optimizer.shared_state["ages"]) == len(optimizer.shared_state["priorities"]) == 3


def test_random_replacement_hits_every_slot_alike_and_depends_on_the_seed_alone():
    def ages(seed):
        optimizer, param = single(SGDCG, capacity=4, replacement="random", seed=seed)
        found = []
        for _ in range(400):
            moves(optimizer, param, [1.0])
            found.append(optimizer.shared_state["ages"].tolist().index(1))
        return found[4:]

    assert ages(0) == ages(0) != ages(1)
    assert np.bincount(ages(0), minlength=4).min() > 70


def test_draws_go_on_after_loading():
    whole, broken = parameters(), parameters()

    def make(params):
        return SGDCG(params, lr=0.01, capacity=3, replacement="random")

    optimizer, first, second = make(whole), make(broken), make(broken)
    for t, grads in enumerate(gradients(40)):
        if t == 20:
            torch.manual_seed(1)  # the seed was taken when the first was made
            second = SGDCG(broken, lr=0.01, capacity=3, replacement="random")
            second.load_state_dict(first.state_dict())
        for params, each in ((whole, optimizer), (broken, first if t < 20 else second)):
            set_gradients(params, grads)
            each.step()
    for a, b in zip(whole, broken, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("cls", REFERENCES, ids=name)
def test_variants_rank_gradients_by_different_norms(cls):
    """(3, 4) against (6, 0) in two tensors: the sum of norms prefers the first, the norm of the whole the second."""
    for variant, kept in (("official", 3.0), ("paper", 6.0)):
        params = [torch.nn.Parameter(torch.zeros(())) for _ in range(2)]
        options = {"momentum": 0.0} if cls is SGDCM else {}
        optimizer = cls(params, lr=0.1, capacity=1, decay=1.0, variant=variant, **options)
        for grads in ((0.1, 0.1), (3.0, 4.0), (6.0, 0.0)):
            set_gradients(params, grads)
            optimizer.step()
        assert optimizer.state[params[0]]["buffer"].item() == kept


def test_what_is_remembered_of_weight_decay():
    """SGD remembers the gradient with it and Adam without; neither ranks by it."""
    for cls, remembered in ((SGDCG, 1.5), (SGDCM, 1.5), (AdamCG, 1.0), (RMSpropCG, 1.0)):
        param = torch.nn.Parameter(torch.ones((), dtype=torch.float64))
        optimizer = cls([param], lr=0.1, decay=1.0, weight_decay=0.5)
        moves(optimizer, param, [1.0])
        assert optimizer.state[param]["buffer"][0].item() == remembered
        assert optimizer.shared_state["priorities"][0] == 1.0


@pytest.mark.parametrize("cls", REFERENCES, ids=name)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"capacity": -1}, "capacity must be a whole number >= 0, got -1"),
        ({"decay": 1.5}, "decay must be in [0, 1], got 1.5"),
        ({"replacement": "lifo"}, "replacement must be one of 'priority', 'fifo', 'random', got 'lifo'"),
        ({"variant": "fifo"}, "variant must be one of 'official', 'paper', got 'fifo'"),
        ({"seed": -1}, "seed must be a whole number >= 0, got -1"),
        ({"buffer_dtype": "int8"}, "buffer_dtype must be a floating-point type such as 'bfloat16', got 'int8'"),
    ],
)
def test_bad_options_are_named(cls, options, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        cls(parameters(), **options)
    assert str(caught.value) == message


def test_options_of_one_optimizer_alone_are_checked():
    for cls, options, message in (
        (RMSpropCG, {"aggregation": "mean"}, "aggregation must be one of 'buffer', 'sum', got 'mean'"),
        (RMSpropCG, {"alpha": 1.0}, "alpha must be in [0, 1), got 1.0"),
        (SGDCM, {"momentum": 1.0}, "momentum must be in [0, 1), got 1.0"),
        (AdamCG, {"betas": (0.9, 1.0)}, "betas[1] must be in [0, 1), got 1.0"),
    ):
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            cls(parameters(), **options)
        assert str(caught.value) == message
