"""Private draws: each depends on a seed and on how many came before it, and nothing global is drawn from."""

from __future__ import annotations

import torch
from torch import Tensor

from tamcl.seeding import derive_seed


def own_seed(seed: int | None) -> int:
    """Return the seed of private draws: the given one, or that of torch's generator, from which nothing is drawn."""
    return torch.initial_seed() if seed is None else seed


def draw(seed: int, step: int, n: int) -> int:
    """Return one of 0 to n - 1, all equally likely.

    Examples
    --------
    >>> [draw(0, step, 10) for step in range(8)]
    [2, 7, 8, 2, 4, 5, 6, 3]
    """
    return derive_seed(seed, "optimizer", step) % n


def noise_like(tensor: Tensor, seed: int, step: int, place: int) -> Tensor:
    """Return standard normal numbers for a step of the tensor at a place: of its shape and type, on its device.

    Examples
    --------
    >>> noise = noise_like(torch.zeros(3), 0, step=1, place=0)
    >>> bool((noise == noise_like(torch.zeros(3), 0, step=1, place=0)).all())
    True
    >>> bool((noise == noise_like(torch.zeros(3), 0, step=2, place=0)).any())
    False
    """
    generator = torch.Generator(tensor.device).manual_seed(derive_seed(seed, "optimizer", step, place))
    return torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype, device=tensor.device)
