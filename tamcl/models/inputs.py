"""Normalisation of inputs by what was seen so far, in front of any body."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class InputNormalization(nn.Module):
    r"""Shift and scale every number of an image by its running mean and deviation over the images trained on.

    .. math::
        \hat{x} = \frac{x - \mu}{\sqrt{v + \epsilon}}

    with :math:`\mu` and :math:`v` mean and variance of each number over all images so far, an image weighing
    :math:`d` times what the next one does. Those of a mini-batch count before it is normalised. Tests change nothing,
    and before training images are left as they are.

    Parameters
    ----------
    shape : tuple of int, (channels, height, width)
    decay : float
        :math:`d` in (0, 1); 0.999 in the replication of UPGD's protocols.

    Notes
    -----
    Every forward pass in training counts, those of examples from a memory and the second one of an optimizer that makes
    two included, as for batch norm. :math:`\epsilon` is :math:`10^{-5}`, as in torch's normalisations.

    Examples
    --------
    >>> layer = InputNormalization((1, 1, 1), decay=0.5)
    >>> [round(layer(torch.tensor(value).view(1, 1, 1, 1)).item(), 2) for value in (1.0, 4.0)]
    [0.0, 0.71]
    >>> _ = layer.eval()
    >>> [round(layer(torch.tensor(value).view(1, 1, 1, 1)).item(), 2) for value in (3.0, 4.0)]  # the mean is 3
    [0.0, 0.71]
    """

    keeps_units = True
    """It is in front of all units."""

    def __init__(self, shape: tuple[int, ...], *, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.total: Tensor
        self.first: Tensor
        self.second: Tensor
        self.register_buffer("total", torch.zeros((), dtype=torch.float64))
        self.register_buffer("first", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("second", torch.zeros(shape, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """Map images to images."""
        if self.training:
            self._count(x.detach().double())
        if not self.total:
            return x
        mean = self.first / self.total
        deviation = (self.second / self.total - mean.square()).clamp(min=0).add(1e-5).sqrt()
        return ((x - mean) / deviation).to(x.dtype)

    def _count(self, images: Tensor) -> None:
        ages = torch.arange(len(images) - 1, -1, -1, dtype=torch.float64, device=images.device)
        weights = (self.decay**ages).view(-1, *[1] * (images.dim() - 1))
        kept = self.decay ** len(images)
        self.total.mul_(kept).add_(weights.sum())
        self.first.mul_(kept).add_((weights * images).sum(0))
        self.second.mul_(kept).add_((weights * images.square()).sum(0))


class NormalizedInputs(nn.Sequential):
    """A body behind a normalisation of its inputs.

    Parameters
    ----------
    body : torch.nn.Module
    shape, decay
        As of ``InputNormalization``.
    """

    def __init__(self, body: Any, shape: tuple[int, ...], decay: float) -> None:
        super().__init__(InputNormalization(shape, decay=decay), body)
        self.features = body.features
