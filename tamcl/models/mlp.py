"""The multilayer perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import Tensor, nn


class MLP(nn.Module):
    """Fully connected layers with ReLU on the flattened image.

    Parameters
    ----------
    shape : tuple of int, (channels, height, width)
        Shape of an image.
    hidden : sequence of int
        Width of each hidden layer.

    Attributes
    ----------
    features : int
        Width of the last hidden layer.

    Examples
    --------
    >>> import torch
    >>> MLP((1, 28, 28), hidden=[100, 50])(torch.zeros(3, 1, 28, 28)).shape
    torch.Size([3, 50])
    """

    def __init__(self, shape: tuple[int, ...], *, hidden: Sequence[int] = (100, 100)) -> None:
        super().__init__()
        if not hidden or min(hidden) < 1:
            raise ValueError(f"hidden = {list(hidden)}: must name at least one layer, each at least 1 wide")
        widths = [prod(shape), *hidden]
        layers = [nn.Sequential(nn.Linear(before, after), nn.ReLU()) for before, after in pairwise(widths)]
        self.layers = nn.Sequential(nn.Flatten(), *layers)
        self.features = hidden[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, channels, height, width) to features (n, features)."""
        return self.layers(x)  # type: ignore[no-any-return]
