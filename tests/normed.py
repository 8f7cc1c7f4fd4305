"""A small network with batch normalisation, as somebody's own model."""

from __future__ import annotations

from math import prod

from torch import Tensor, nn


class NormedMLP(nn.Module):
    """One hidden layer, normalised."""

    def __init__(self, shape: tuple[int, ...], *, hidden: int = 16) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(prod(shape), hidden), nn.BatchNorm1d(hidden), nn.ReLU())
        self.features = hidden

    def forward(self, x: Tensor) -> Tensor:
        """Map images to features."""
        return self.layers(x)  # type: ignore[no-any-return]


NORMED = "model={name='tests.normed:NormedMLP'}"
