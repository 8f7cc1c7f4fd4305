"""A small ConvNeXt."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torchvision.models import ConvNeXt
from torchvision.models.convnext import CNBlockConfig

_WIDTHS, _DEPTHS = (40, 80, 160, 320), (2, 2, 6, 2)


class ConvNeXtAtto(nn.Module):
    """torchvision's ConvNeXt in the size called atto: 2, 2, 6 and 2 blocks, 40, 80, 160 and 320 wide.

    Use it to ask whether a result holds for a modern convolutional network, with layer norm and GELU. It has no ReLU,
    so there are no dead units to measure.

    Parameters
    ----------
    shape : tuple of int, (channels, height, width)
        Shape of an image, at least 8 patches high and wide.
    patch : int
        Pixels on a side of a patch of the first layer; 4 for images of ImageNet's size.

    Attributes
    ----------
    features : int
        320.

    References
    ----------
    Z. Liu et al., "A ConvNet for the 2020s", 2022, https://arxiv.org/abs/2201.03545. S. Woo et al., "ConvNeXt V2:
    Co-designing and Scaling ConvNets with Masked Autoencoders", 2023, https://arxiv.org/abs/2301.00808

    Examples
    --------
    >>> import torch
    >>> ConvNeXtAtto((3, 32, 32))(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 320])
    """

    def __init__(self, shape: tuple[int, ...], *, patch: int = 2) -> None:
        super().__init__()
        channels, height, width = shape
        if patch < 1 or min(height, width) < 8 * patch:
            raise ValueError(f"patch = {patch}: images of {height} x {width} pixels must be 8 patches high and wide")
        stages = zip(pairwise((*_WIDTHS, None)), _DEPTHS, strict=True)
        self.network = ConvNeXt([CNBlockConfig(before, after, depth) for (before, after), depth in stages])
        self.network.features[0][0] = nn.Conv2d(channels, _WIDTHS[0], patch, stride=patch)
        nn.init.trunc_normal_(self.network.features[0][0].weight, std=0.02)
        nn.init.zeros_(self.network.features[0][0].bias)
        self.network.classifier[-1] = nn.Identity()
        self.features = _WIDTHS[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, channels, height, width) to features (n, features)."""
        return self.network(x)  # type: ignore[no-any-return]
