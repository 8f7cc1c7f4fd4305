"""Kinds of label flips: each takes labels and gives new ones.

A flip of classes is applied to an array that holds the present label of class 0, 1, ...; a flip of examples to the
labels of the examples. ``count`` is how many of them it is about.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tamcl.streams.base import Indices

Flip = Callable[[Indices, int, int, np.random.Generator], Indices]
"""From labels, count, number of classes and generator to labels."""


def cycle(labels: Indices, count: int, classes: int, rng: np.random.Generator) -> Indices:
    """Move ``count`` classes by one place along a random cycle."""
    chosen = rng.permutation(classes)[:count]
    return _send(chosen, np.roll(chosen, 1), classes)[labels]


def permutation(labels: Indices, count: int, classes: int, rng: np.random.Generator) -> Indices:
    """Permute ``count`` classes, any permutation as likely as any other; some may stay."""
    chosen = rng.permutation(classes)[:count]
    return _send(chosen, rng.permutation(chosen), classes)[labels]


def derangement(labels: Indices, count: int, classes: int, rng: np.random.Generator) -> Indices:
    """Permute ``count`` classes so that none stays, any such permutation as likely as any other."""
    chosen = rng.permutation(classes)[:count]
    images = rng.permutation(chosen)
    while (images == chosen).any():  # about one permutation in e has no fixed point
        images = rng.permutation(chosen)
    return _send(chosen, images, classes)[labels]


def swap(labels: Indices, count: int, classes: int, rng: np.random.Generator) -> Indices:
    """Exchange the classes of ``count // 2`` random pairs."""
    chosen = rng.permutation(classes)[: count // 2 * 2]
    return _send(chosen, chosen.reshape(-1, 2)[:, ::-1].ravel(), classes)[labels]


def symmetric(labels: Indices, count: int, classes: int, rng: np.random.Generator) -> Indices:
    """Give ``count`` labels another value, uniform over the other classes."""
    chosen = rng.permutation(len(labels))[:count]
    flipped = labels.copy()
    flipped[chosen] = (labels[chosen] + rng.integers(1, classes, len(chosen))) % classes
    return flipped


def shuffle(labels: Indices, count: int, classes: int, rng: np.random.Generator) -> Indices:
    """Shuffle ``count`` labels among themselves; some may stay as they were."""
    chosen = rng.permutation(len(labels))[:count]
    flipped = labels.copy()
    flipped[chosen] = labels[rng.permutation(chosen)]
    return flipped


def _send(chosen: Indices, images: Indices, classes: int) -> Indices:
    sigma = np.arange(classes)
    sigma[chosen] = images
    return sigma


FLIPS: dict[tuple[str, str], Flip] = {
    ("class", "cycle"): cycle,
    ("class", "permutation"): permutation,
    ("class", "derangement"): derangement,
    ("class", "swap"): swap,
    ("class", "symmetric"): symmetric,
    ("class", "recurring"): cycle,
    ("example", "symmetric"): symmetric,
    ("example", "permutation"): shuffle,
    ("example", "recurring"): symmetric,
}
"""By unit and kind; what is not here is refused."""
