"""The convolutional network of the TinyImageNet studies with 40 tasks."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PCCNN(nn.Module):
    """Four convolutions of stride 2, each with 160 channels, and two fully connected layers, each 640 wide; ReLU.

    Use it to compare with published results on TinyImageNet. Every image halves four times, so 64 x 64 pixels become
    4 x 4; there is no batch normalisation, so single examples can be trained on.

    Parameters
    ----------
    shape : tuple of int, (channels, height, width)
        Shape of an image.

    Attributes
    ----------
    features : int
        640.

    References
    ----------
    G. Gupta, K. Yadav, L. Paull, "La-MAML: Look-ahead Meta Learning for Continual Learning", 2020,
    https://arxiv.org/abs/2007.13904

    Examples
    --------
    >>> PCCNN((3, 64, 64))(torch.zeros(2, 3, 64, 64)).shape
    torch.Size([2, 640])
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        channels, height, width = shape
        convolutions = [
            nn.Sequential(nn.Conv2d(before, 160, 3, stride=2, padding=1), nn.ReLU())
            for before in (channels, *[160] * 3)
        ]
        height, width = (-(-side // 16) for side in (height, width))
        self.layers = nn.Sequential(
            *convolutions,
            nn.Flatten(),
            nn.Sequential(nn.Linear(160 * height * width, 640), nn.ReLU()),
            nn.Sequential(nn.Linear(640, 640), nn.ReLU()),
        )
        self.features = 640

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, channels, height, width) to features (n, features)."""
        x = x.contiguous(memory_format=torch.channels_last)  # on a CPU 0.96 of the time with 10 images, 0.72 with 64
        return self.layers(x)  # type: ignore[no-any-return]
