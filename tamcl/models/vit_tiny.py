"""A small vision transformer."""

from __future__ import annotations

from math import sqrt

from torch import Tensor, nn
from torchvision.models import VisionTransformer


class ViTTiny(nn.Module):
    """torchvision's vision transformer in the size of DeiT-Ti: 12 layers of 3 heads, 192 wide.

    Use it to ask whether a result holds without convolutions. It has GELU and no ReLU, so there are no dead units to
    measure.

    Parameters
    ----------
    shape : tuple of int, (channels, height, width)
        Shape of an image, square.
    patch : int
        Pixels on a side of a patch; divides the height. Attention costs the square of the number of patches.
    depth : int
        Layers.

    Attributes
    ----------
    features : int
        192.

    References
    ----------
    A. Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale", 2020,
    https://arxiv.org/abs/2010.11929. H. Touvron et al., "Training data-efficient image transformers & distillation
    through attention", 2020, https://arxiv.org/abs/2012.12877

    Examples
    --------
    >>> import torch
    >>> ViTTiny((3, 32, 32), depth=2)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 192])
    """

    def __init__(self, shape: tuple[int, ...], *, patch: int = 4, depth: int = 12) -> None:
        super().__init__()
        channels, height, width = shape
        if height != width or patch < 1 or height % patch:
            raise ValueError(f"patch = {patch}: must divide a square image, and this one has {height} x {width} pixels")
        if depth < 1:
            raise ValueError(f"depth = {depth}: must be at least 1")
        self.network = VisionTransformer(height, patch, num_layers=depth, num_heads=3, hidden_dim=192, mlp_dim=768)
        self.network.heads = nn.Identity()
        self.network.conv_proj = nn.Conv2d(channels, 192, patch, stride=patch)
        nn.init.trunc_normal_(self.network.conv_proj.weight, std=sqrt(1 / (channels * patch**2)))
        nn.init.zeros_(self.network.conv_proj.bias)
        self.features = 192

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, channels, height, width) to features (n, features)."""
        return self.network(x)  # type: ignore[no-any-return]
