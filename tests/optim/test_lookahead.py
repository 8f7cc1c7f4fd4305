"""Lookahead against its reference over several bases, and its neutral settings."""

from __future__ import annotations

import pytest
import torch

from tamcl.optim import TAM, AdamCM, Lookahead
from tests.references.adam_cm import AdamCMReference
from tests.references.tam import TorqueReference
from tests.references.trajectory import assert_follows, gradients, parameters, set_gradients
from tests.references.wrappers import LookaheadReference, SGDReference

SEQUENCES = {"dense": gradients(), "missing": gradients(missing=True)}
BASES = {"sgd": SGDReference, "tam": TorqueReference, "adam_cm": AdamCMReference}


@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize(("k", "alpha"), [(5, 0.5), (1, 0.8), (7, 0.0)])
@pytest.mark.parametrize("base", BASES)
def test_follows_the_equations(base, k, alpha, sequence):
    reference = LookaheadReference(BASES[base]([p.detach().numpy() for p in parameters()], lr=0.01), k, alpha)
    assert_follows(
        lambda params: Lookahead(params, lr=0.01, base=base, k=k, alpha=alpha), reference, SEQUENCES[sequence]
    )


@pytest.mark.parametrize("base", [TAM, AdamCM, torch.optim.Adam])
def test_all_of_the_way_is_the_base_bit_by_bit(base):
    ours, plain = parameters(torch.float32), parameters(torch.float32)
    optimizers = Lookahead(ours, lr=0.01, base=base, alpha=1.0), base(plain, lr=0.01)
    for grads in gradients(30, missing=True):
        for params, optimizer in zip((ours, plain), optimizers, strict=True):
            set_gradients(params, grads)
            optimizer.step()
    for a, b in zip(ours, plain, strict=True):
        assert torch.equal(a, b)


def test_groups_may_look_ahead_at_different_steps():
    params = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = Lookahead([{"params": params[:1]}, {"params": params[1:], "lookahead_k": 3}], lr=1.0, k=2, alpha=0.5)
    path = []
    for _ in range(6):
        for param in params:
            param.grad = -torch.ones(1)
        optimizer.step()
        path.append([param.item() for param in params])
    assert path == [[1, 1], [1, 2], [2, 1.5], [2, 2.5], [3, 3.5], [3, 3]]


def test_slow_weights_of_bfloat16_parameters_are_float32_and_stay_so():
    params = parameters(torch.bfloat16)
    optimizer = Lookahead(params, lr=0.01, base="adam")
    for grads in gradients(6):
        set_gradients(params, grads)
        optimizer.step()
    other = Lookahead(params, lr=0.01, base="adam")
    other.load_state_dict(optimizer.state_dict())
    for param in params:
        assert optimizer.state[param]["slow"].dtype is other.state[param]["slow"].dtype is torch.float32
        assert torch.equal(optimizer.state[param]["slow"], other.state[param]["slow"])
        assert optimizer.state[param]["slow"] is not other.state[param]["slow"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k must be a whole number >= 1, got 0"),
        ({"k": 2.0}, r"k must be a whole number >= 1, got 2\.0"),
        ({"alpha": 1.1}, r"alpha must be in \[0, 1\], got 1\.1"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        Lookahead(parameters(), lr=0.1, **options)
