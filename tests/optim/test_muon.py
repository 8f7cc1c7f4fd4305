"""Muon against its reference, torch's Muon and torch's AdamW."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tamcl.optim import Muon
from tests.references.muon import MuonReference
from tests.references.trajectory import assert_follows, gradients, parameters, set_gradients

SCALES = {
    "match_rms_adamw": lambda rows, columns: 0.2 * np.sqrt(max(rows, columns)),
    "original": lambda rows, columns: np.sqrt(max(1, rows / columns)),
    "spectral_unclamped": lambda rows, columns: np.sqrt(rows / columns),
}


@pytest.mark.parametrize("options", [{}, {"nesterov": False, "momentum": 0.5, "weight_decay": 0.1}], ids=str)
@pytest.mark.parametrize("adjustment", SCALES)
def test_follows_the_equations_as_far_as_bfloat16_does(adjustment, options):
    """Entries of a step are right to a hundredth; 40 of them move a matrix by up to 0.4."""
    reference = MuonReference([p.detach().numpy() for p in parameters()], 0.01, scale=SCALES[adjustment], **options)
    make = {"lr": 0.01, "adjust_lr_fn": adjustment, **options}
    assert_follows(lambda params: Muon(params, **make), reference, gradients(40, missing=True), tolerance=1e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_matrix_is_torchs_muon_bit_by_bit_and_the_others_are_its_adamw(dtype):
    ours, torchs = parameters(dtype), parameters(dtype)
    matrices = [param for param in torchs if param.dim() == 2]
    others = [param for param in torchs if param.dim() != 2]
    both = {"lr": 0.01, "weight_decay": 0.1}
    optimizer = Muon(ours, **both)
    theirs = torch.optim.Muon(matrices, adjust_lr_fn="match_rms_adamw", **both), torch.optim.AdamW(others, **both)
    assert matrices
    assert others
    for grads in gradients(60, missing=True):
        set_gradients(ours, grads)
        set_gradients(torchs, grads)
        for each in (optimizer, *theirs):
            each.step()
    for a, b in zip(ours, torchs, strict=True):
        tolerance = 0.0 if a.dim() == 2 else 1e-10 if dtype is torch.float64 else 1e-5
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def test_groups_have_their_own_momentum_and_adjustment():
    def moved(*groups):
        matrices = [torch.nn.Parameter(torch.zeros(4, 3)) for _ in range(2)]
        optimizer = Muon([{"params": [param], **options} for param, options in zip(matrices, groups, strict=True)])
        for step in range(5):
            for param in matrices:
                param.grad = torch.arange(12.0).reshape(4, 3).add(step).sin()
            optimizer.step()
        return matrices

    alone = [moved(options, options)[0] for options in ({"momentum": 0.5}, {"adjust_lr_fn": "original"})]
    together = moved({"momentum": 0.5}, {"adjust_lr_fn": "original"})
    assert all(map(torch.equal, alone, together))
    assert not torch.equal(*together)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nesterov": 1.5}, "nesterov must be one of True, False, got 1.5"),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\), got 1.0"),
        ({"adjust_lr_fn": "rms"}, "adjust_lr_fn must be one of 'match_rms_adamw', 'original', 'spectral_unclamped', g"),
    ],
    ids=str,
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        Muon(parameters(), lr=0.1, **options)
