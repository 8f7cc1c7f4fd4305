"""Private draws: each depends on a seed and on how many came before it, and nothing global is drawn from."""

from __future__ import annotations

import torch

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
