"""UPGD against its reference, its limits, and its noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tamcl.optim import UPGD
from tamcl.seeding import derive_seed
from tests.references.trajectory import TWO_GROUPS, assert_follows, gradients, parameters, set_gradients, two_groups
from tests.references.upgd import UPGDReference

SEQUENCES = {"dense": gradients(120), "missing": gradients(120, missing=True), "zeros": gradients(120, zeros=True)}
SEED = 5


def noise(place, step, shape):
    generator = torch.Generator().manual_seed(derive_seed(SEED, "optimizer", step, place))
    return torch.randn(shape, generator=generator, dtype=torch.float64).numpy()


@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize(
    "options", [{}, {"beta_utility": 0.0, "sigma": 0.5}, {"beta_utility": 0.999, "weight_decay": 0.1}], ids=str
)
def test_follows_the_equations(options, sequence):
    reference = UPGDReference([p.detach().numpy() for p in parameters()], 0.01, noise, **options)
    assert_follows(lambda params: UPGD(params, lr=0.01, seed=SEED, **options), reference, SEQUENCES[sequence])


def test_follows_the_equations_with_two_groups():
    reference = UPGDReference([p.detach().numpy() for p in parameters()], noise=noise, **TWO_GROUPS)
    assert_follows(lambda params: UPGD(two_groups(params), seed=SEED), reference, SEQUENCES["missing"])


def test_the_weight_that_matters_most_moves_least():
    """Without smoothing and noise the shares are 1 and -1 of the largest: sigma(1) and sigma(-1) are held back."""
    weight = torch.nn.Parameter(torch.tensor([1.0, 1.0], dtype=torch.float64))
    weight.grad = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    UPGD([weight], lr=1.0, beta_utility=0.0, sigma=0.0).step()
    held = 1 / (1 + np.exp(-1.0))
    assert weight.tolist() == pytest.approx([1 + (1 - held), 1 - held])


def test_noise_is_of_the_seed_and_no_two_steps_or_tensors_share_it():
    def moves(seed, steps=2):
        params = [torch.nn.Parameter(torch.zeros(50)) for _ in range(2)]
        optimizer = UPGD(params, lr=1.0, sigma=1.0, seed=seed)
        found = []
        for _ in range(steps):
            before = [param.detach().clone() for param in params]
            set_gradients(params, [np.zeros(50)] * 2)
            optimizer.step()
            found += [(param.detach() - start) for param, start in zip(params, before, strict=True)]
        return found

    one, again, other = moves(0), moves(0), moves(1)
    assert all(map(torch.equal, one, again))
    drawn = torch.stack([*one, *other])
    assert len({tuple(row.tolist()) for row in drawn}) == 8
    assert torch.allclose(drawn.std(), torch.tensor(0.5), atol=0.05), "half of it, where no weight has any utility"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma": -1.0}, "sigma must be a number >= 0, got -1.0"),
        ({"beta_utility": 1.0}, r"beta_utility must be in \[0, 1\), got 1.0"),
        ({"seed": 0.5}, "seed must be a whole number >= 0, got 0.5"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        UPGD(parameters(), lr=0.1, **options)
