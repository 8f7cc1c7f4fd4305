"""ResNet-18."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models import resnet18


class ResNet18(nn.Module):
    """torchvision's ResNet-18, with a first layer that keeps small images large.

    Use it as the full-size network of the field; a step costs about ten times that of ``slim_resnet18``.

    Parameters
    ----------
    shape : tuple of int, (channels, height, width)
        Shape of an image.
    stem : {"small", "large"}
        The first layer: a 3 x 3 convolution alone, for images of 9 pixels or more, or that of ImageNet, which shrinks
        an image four times, for 33 or more. The last map of a smaller image would be a single place, on which batch
        normalisation cannot train with one image.

    Attributes
    ----------
    features : int
        512.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", 2015,
    https://arxiv.org/abs/1512.03385

    Examples
    --------
    >>> import torch
    >>> ResNet18((1, 28, 28))(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 512])
    """

    def __init__(self, shape: tuple[int, ...], *, stem: str = "small") -> None:
        super().__init__()
        channels, height, width = shape
        if stem not in ("small", "large"):
            raise ValueError(f"stem = '{stem}': must be 'small' or 'large'")
        least = 9 if stem == "small" else 33
        if min(height, width) < least:
            raise ValueError(f"images of {height} x {width} pixels: stem = '{stem}' needs at least {least} x {least}")
        self.network = resnet18()
        self.network.fc = nn.Identity()
        size, stride = (3, 1) if stem == "small" else (7, 2)
        self.network.conv1 = nn.Conv2d(channels, 64, size, stride=stride, padding=size // 2, bias=False)
        nn.init.kaiming_normal_(self.network.conv1.weight, mode="fan_out", nonlinearity="relu")
        if stem == "small":
            self.network.maxpool = nn.Identity()
        self.features = 512

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, channels, height, width) to features (n, features)."""
        return self.network(x)  # type: ignore[no-any-return]
