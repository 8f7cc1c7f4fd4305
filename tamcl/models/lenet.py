"""A small convolutional network after LeNet-5."""

from __future__ import annotations

from torch import Tensor, nn


class LeNet(nn.Module):
    """Two convolutions with pooling, 6 and 16 channels, and two fully connected layers, 120 and 84 wide.

    Use it for small images where an MLP is too weak and a ResNet too slow. As in the code of the reference, ReLU
    follows the fully connected layers and not the convolutions, whose only nonlinearity is the pooling.

    Parameters
    ----------
    shape : tuple of int, (channels, height, width)
        Shape of an image, at least 16 x 16.

    Attributes
    ----------
    features : int
        84.

    References
    ----------
    M. Elsayed, A. R. Mahmood, "Addressing Loss of Plasticity and Catastrophic Forgetting in Continual Learning", 2024,
    https://arxiv.org/abs/2404.00781. Y. LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998,
    https://doi.org/10.1109/5.726791

    Examples
    --------
    >>> import torch
    >>> LeNet((1, 28, 28))(torch.zeros(3, 1, 28, 28)).shape
    torch.Size([3, 84])
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        channels, height, width = shape
        if min(height, width) < 16:
            raise ValueError(f"images of {height} x {width} pixels: lenet needs at least 16 x 16")
        height, width = (((side - 4) // 2 - 4) // 2 for side in (height, width))
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 6, 5),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Sequential(nn.Linear(16 * height * width, 120), nn.ReLU()),
            nn.Sequential(nn.Linear(120, 84), nn.ReLU()),
        )
        self.features = 84

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, channels, height, width) to features (n, features)."""
        return self.layers(x)  # type: ignore[no-any-return]
