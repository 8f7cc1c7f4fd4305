"""Digests of what a run starts from and ends with: of two runs of one cell they say what was the first to differ."""

from __future__ import annotations

from hashlib import blake2b

import torch
from torch import Tensor, nn

from tamcl.strategies.loader import BatchLoader
from tamcl.streams.benchmark import ExperienceStream


def digest_of_weights(model: nn.Module) -> str:
    """Return a digest of a model's parameters and buffers, by their names, to the last bit.

    Examples
    --------
    >>> model = nn.Linear(2, 1)
    >>> before = digest_of_weights(model)
    >>> with torch.no_grad():
    ...     _ = model.bias.add_(1e-3)
    >>> digest_of_weights(model) == before
    False
    """
    found = blake2b(digest_size=8)
    for name, tensor in model.state_dict().items():
        found.update(name.encode())
        found.update(_bytes(tensor))
    return found.hexdigest()


def digest_of_order(
    stream: ExperienceStream, seed: int, epochs: int, batch_size: int = 1, drop_last: bool = False
) -> str:
    """Return a digest of the order in which a run of a seed is given the examples of a stream, in every pass."""
    found = blake2b(digest_size=8)
    for position in range(len(stream)):
        loader = BatchLoader(stream[position], batch_size, seed, position, torch.device("cpu"), drop_last=drop_last)
        for epoch in range(epochs):
            found.update(_bytes(loader.order(epoch)[: loader.used]))
    return found.hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
