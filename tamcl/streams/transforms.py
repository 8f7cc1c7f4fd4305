"""What an experience can do to its images: permute or turn their pixels, or corrupt them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, conv2d, grid_sample, pad

from tamcl.seeding import derive_seed
from tamcl.streams.base import Transform
from tamcl.streams.fields import CorruptionName


class Permutation(Transform):
    """Put the pixels of every image in another order, the same for all images and channels.

    Parameters
    ----------
    seed : int
        Decides the order.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._orders: dict[int, Tensor] = {}

    def __call__(self, pixels: Tensor, index: Tensor) -> Tensor:
        """Return the images with pixel ``order(...)[i]`` in place i."""
        flat = pixels.flatten(2)
        return flat.gather(2, self.order(flat.shape[2]).expand_as(flat)).view_as(pixels)  # faster than index_select

    def order(self, size: int) -> Tensor:
        """Return the permutation of the pixels of an image of this size, counted row by row."""
        if size not in self._orders:
            self._orders[size] = torch.from_numpy(np.random.default_rng(self.seed).permutation(size))
        return self._orders[size]

    def describe(self) -> str:
        """Return what decides the order."""
        return f"permutation {self.seed}"


class Rotation(Transform):
    """Turn every image about its middle, counter-clockwise; what comes in from outside is black.

    Parameters
    ----------
    degrees : float
    """

    def __init__(self, degrees: float) -> None:
        self.degrees = degrees

    def __call__(self, pixels: Tensor, index: Tensor) -> Tensor:
        """Return the images, interpolated bilinearly."""
        height, width = pixels.shape[2:]
        cos, sin = np.cos(np.radians(self.degrees)), np.sin(np.radians(self.degrees))
        # In the coordinates of affine_grid, -1 to 1 along each side, a turn also carries the sides' ratio.
        theta = torch.tensor([[cos, -sin * height / width, 0], [sin * width / height, cos, 0]], dtype=torch.float32)
        grid = affine_grid(theta.expand(len(pixels), 2, 3), list(pixels.shape), align_corners=False)
        return grid_sample(pixels, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    def describe(self) -> str:
        """Return the angle."""
        return f"rotation {self.degrees!r}"


class Corruption(Transform):
    """Corrupt every image in the manner of CIFAR-10-C.

    These are re-implementations on tensors with the severities of CIFAR-10-C, which were chosen for 32x32 images. They
    are not rounded to whole grey values. The noise of an image depends on the seed and on the image's position in the
    data set alone, so it is the same whenever the image comes.

    Parameters
    ----------
    name : {"gaussian_noise", "shot_noise", "impulse_noise", "gaussian_blur", "contrast", "brightness", "pixelate"}
    severity : int
        From 1 to 5.
    seed : int
        Decides the noise.

    References
    ----------
    D. Hendrycks, T. Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", 2019,
    https://arxiv.org/abs/1903.12261
    """

    def __init__(self, name: CorruptionName, severity: int, seed: int) -> None:
        self.name = name
        self.severity = severity
        self.seed = seed
        self._corrupt, strengths = _CORRUPTIONS[name]
        self._strength = strengths[severity - 1]

    def __call__(self, pixels: Tensor, index: Tensor) -> Tensor:
        """Return the images, between 0 and 255."""
        return self._corrupt(pixels.div_(255), self._strength, self._generators(index)).clamp_(0, 1).mul_(255)

    def _generators(self, index: Tensor) -> list[np.random.Generator]:
        if not self.name.endswith("noise"):
            return []
        return [np.random.default_rng(derive_seed(self.seed, "stream", image)) for image in index.tolist()]

    def describe(self) -> str:
        """Return name, severity and seed."""
        return f"corruption {self.name} {self.severity} {self.seed}"


Generators = list[np.random.Generator]


def gaussian_noise(x: Tensor, deviation: float, generators: Generators) -> Tensor:
    """Add normal noise to every value."""
    noise = _each(x, generators, lambda rng, image: rng.standard_normal(image.shape, np.float32))
    return x.add_(noise, alpha=deviation)


def shot_noise(x: Tensor, photons: float, generators: Generators) -> Tensor:
    """Draw every value from a Poisson distribution, as if white were that many photons."""
    return _each(x, generators, lambda rng, image: rng.poisson(image * photons) / photons)


def impulse_noise(x: Tensor, amount: float, generators: Generators) -> Tensor:
    """Make a share of all values black or white, each as likely."""
    chance = _each(x, generators, lambda rng, image: rng.random(image.shape, np.float32))
    return torch.where(chance < amount, (chance < amount / 2).float(), x)


def gaussian_blur(x: Tensor, deviation: float, generators: Generators) -> Tensor:
    """Blur with a Gaussian of this deviation in pixels, cut off at four deviations; the border is continued."""
    reach = int(4 * deviation + 0.5)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / deviation) ** 2)
    kernel /= kernel.sum()
    single = x.flatten(0, 1)[:, None]
    padded = pad(single, (reach, reach, reach, reach), mode="replicate")
    return conv2d(conv2d(padded, kernel[None, None, None]), kernel[None, None, :, None]).view_as(x)


def contrast(x: Tensor, factor: float, generators: Generators) -> Tensor:
    """Bring every value nearer to the mean of its image and channel."""
    mean = x.mean((2, 3), keepdim=True)
    return x.sub_(mean).mul_(factor).add_(mean)


def brightness(x: Tensor, shift: float, generators: Generators) -> Tensor:
    """Raise the value of every pixel in the HSV sense, its largest channel; hue and saturation stay."""
    value = x.amax(1, keepdim=True)
    raised = (value + shift).clamp_max_(1)
    return torch.where(value > 0, x * (raised / value.clamp_min(1e-6)), raised)


def pixelate(x: Tensor, scale: float, generators: Generators) -> Tensor:
    """Make every pixel the mean of the larger pixel that it falls into, of which there are fewer by this factor."""
    rows, columns = (_block_means(size, max(1, int(size * scale))) for size in x.shape[2:])
    return rows @ x @ columns.T


def _block_means(size: int, blocks: int) -> Tensor:
    """Return the matrix that replaces each of ``size`` values by the mean of its block."""
    block = ((torch.arange(size) + 0.5) * blocks / size).long()
    same = (block[:, None] == block).float()
    return same / same.sum(1, keepdim=True)


def _each(x: Tensor, generators: Generators, draw: Callable[[np.random.Generator, np.ndarray], np.ndarray]) -> Tensor:
    """Draw for one image after the other, each from its own generator."""
    drawn = np.empty(x.shape, np.float32)
    for image, rng, place in zip(x.numpy(), generators, drawn, strict=True):
        place[...] = draw(rng, image)
    return torch.from_numpy(drawn)


_CORRUPTIONS: dict[str, tuple[Callable[[Tensor, float, Generators], Tensor], tuple[float, ...]]] = {
    "gaussian_noise": (gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.10)),
    "shot_noise": (shot_noise, (500, 250, 100, 75, 50)),
    "impulse_noise": (impulse_noise, (0.01, 0.02, 0.03, 0.05, 0.07)),
    "gaussian_blur": (gaussian_blur, (0.4, 0.6, 0.7, 0.8, 1.0)),
    "contrast": (contrast, (0.75, 0.5, 0.4, 0.3, 0.15)),
    "brightness": (brightness, (0.05, 0.1, 0.15, 0.2, 0.3)),
    "pixelate": (pixelate, (0.95, 0.9, 0.85, 0.75, 0.65)),
}
