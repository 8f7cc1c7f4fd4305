"""The reduced ResNet-18 of the continual learning literature."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

_WIDTHS = (20, 20, 40, 80, 160)


class SlimResNet18(nn.Module):
    """ResNet-18 with a third of the channels: 20, 40, 80 and 160 in its four stages of two blocks.

    Use it for 5-dataset and split CIFAR-100, where most published results are its. Features are the last map, pooled
    by 4 x 4: 160 for images of 25 to 63 pixels, 640 at 64.

    Parameters
    ----------
    shape : tuple of int, (channels, height, width)
        Shape of an image, at least 25 x 25. So no map has fewer than 4 x 4 places, and batch normalisation has
        something to average over even in a mini-batch of one image.
    convs_per_block : {1, 2}
        1 is the block of TAG: convolution, ReLU, batch norm, shortcut added, ReLU, batch norm. 2 is the usual block of
        ResNet-18, and that of GEM.

    Attributes
    ----------
    features : int

    References
    ----------
    P. Malviya, B. Ravindran, S. Chandar, "TAG: Task-based Accumulated Gradients for Lifelong learning", 2021,
    https://arxiv.org/abs/2105.05155. D. Lopez-Paz, M. Ranzato, "Gradient Episodic Memory for Continual Learning", 2017,
    https://arxiv.org/abs/1706.08840

    Examples
    --------
    >>> SlimResNet18((3, 32, 32))(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 160])
    """

    def __init__(self, shape: tuple[int, ...], *, convs_per_block: int = 1) -> None:
        super().__init__()
        channels, height, width = shape
        if min(height, width) < 25:
            raise ValueError(f"images of {height} x {width} pixels: slim_resnet18 needs at least 25 x 25")
        if convs_per_block not in (1, 2):
            raise ValueError(f"convs_per_block = {convs_per_block}: must be 1 or 2")
        block = _ShortBlock if convs_per_block == 1 else _Block
        blocks: list[nn.Module] = []
        for stage, (before, after) in enumerate(pairwise(_WIDTHS)):
            blocks += [block(before, after, stride=2 if stage else 1), block(after, after, stride=1)]
        stem = nn.Sequential(_conv(channels, _WIDTHS[0], 3, 1), nn.BatchNorm2d(_WIDTHS[0]), nn.ReLU())
        self.layers = nn.Sequential(stem, *blocks, nn.AvgPool2d(4), nn.Flatten())
        self.features = _WIDTHS[-1] * (-(-height // 8) // 4) * (-(-width // 8) // 4)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, channels, height, width) to features (n, features)."""
        x = x.contiguous(memory_format=torch.channels_last)  # on a CPU 0.8 of the time with 10 images, 0.65 with 64
        return self.layers(x)  # type: ignore[no-any-return]


class _ShortBlock(nn.Module):
    """TAG's block, with one convolution."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(_conv(before, after, 3, stride), nn.ReLU(), nn.BatchNorm2d(after))
        self.shortcut = nn.Identity() if before == after else _conv(before, after, 1, stride)
        self.out = nn.Sequential(nn.ReLU(), nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.residual(x) + self.shortcut(x))  # type: ignore[no-any-return]


class _Block(nn.Module):
    """The usual block, with two convolutions."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        first = _conv(before, after, 3, stride), nn.BatchNorm2d(after), nn.ReLU()
        self.residual = nn.Sequential(*first, _conv(after, after, 3, 1), nn.BatchNorm2d(after))
        projection = nn.Sequential(_conv(before, after, 1, stride), nn.BatchNorm2d(after))
        self.shortcut = nn.Identity() if before == after else projection
        self.out = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.residual(x) + self.shortcut(x))  # type: ignore[no-any-return]


def _conv(before: int, after: int, size: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, size, stride=stride, padding=size // 2, bias=False)
