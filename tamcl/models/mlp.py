"""The multilayer perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from math import prod
from typing import Literal

from torch import Tensor, nn

SLOPES = {"relu": 0.0, "leaky_relu": 0.01}
"""What an activation multiplies negative numbers by; that of "leaky_relu" is torch's."""


class MLP(nn.Module):
    """Fully connected layers on the flattened image, each with an activation behind it.

    Parameters
    ----------
    shape : tuple of int, (channels, height, width)
        Shape of an image.
    hidden : sequence of int
        Width of each hidden layer.
    activation : {"relu", "leaky_relu"}
        Negative numbers become 0, or a hundredth of themselves, so that no unit ever stops learning.
    layer_norm : bool
        Whether the outputs of each hidden layer are normalised before its activation, with gains and biases that are
        trained (J. Ba et al., "Layer Normalization", 2016, https://arxiv.org/abs/1607.06450). Its runs are trained one
        by one.

    Attributes
    ----------
    features : int
        Width of the last hidden layer.
    slope : float
        What the activation multiplies negative numbers by.

    Notes
    -----
    The initial weights are torch's: weights and biases of a layer, and of the head, are uniform within 1 / sqrt(inputs
    of the layer).

    Examples
    --------
    >>> import torch
    >>> MLP((1, 28, 28), hidden=[100, 50])(torch.zeros(3, 1, 28, 28)).shape
    torch.Size([3, 50])
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        hidden: Sequence[int] = (100, 100),
        activation: Literal["relu", "leaky_relu"] = "relu",
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        if not hidden or not all(isinstance(width, int) and width >= 1 for width in hidden):
            raise ValueError(f"hidden = {list(hidden)}: must name at least one layer, each at least 1 wide")
        if activation not in SLOPES:
            raise ValueError(f"activation = {activation!r}: must be {' or '.join(map(repr, SLOPES))}")
        self.slope = SLOPES[activation]
        widths, act = [prod(shape), *hidden], partial(nn.LeakyReLU, self.slope) if self.slope else nn.ReLU
        layers = (
            [nn.Linear(before, after), *([nn.LayerNorm(after)] if layer_norm else []), act()]
            for before, after in pairwise(widths)
        )
        self.layers = nn.Sequential(nn.Flatten(), *(nn.Sequential(*layer) for layer in layers))
        self.features = hidden[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, channels, height, width) to features (n, features)."""
        return self.layers(x)  # type: ignore[no-any-return]
