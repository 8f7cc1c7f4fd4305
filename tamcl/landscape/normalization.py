"""Batch normalisation between two ends of training, whose running means are of neither end."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

Call = Callable[[], object]


@torch.no_grad()
def renew_statistics(model: nn.Module, passes: Iterable[Call]) -> None:
    """Make the statistics of batch normalisation anew: their mean over mini-batches, each of which counts the same.

    Other modules stay as they are, in evaluation mode or not, and nothing is done for a model without such statistics.

    Parameters
    ----------
    model : torch.nn.Module
    passes : iterable of callable
        Each passes a mini-batch through the model.

    References
    ----------
    Averaging Weights Leads to Wider Optima and Better Generalization, 2018, https://arxiv.org/abs/1803.05407

    Examples
    --------
    >>> layer = nn.BatchNorm1d(1).eval()
    >>> batches = torch.tensor([[[0.0], [2.0]], [[4.0], [8.0]]])
    >>> renew_statistics(layer, [lambda batch=batch: layer(batch) for batch in batches])
    >>> layer.running_mean.item(), layer.running_var.item()  # of means 1 and 6, variances 2 and 8
    (3.5, 5.0)
    """
    layers = [module for module in normalized(model) if module.running_mean is not None]
    if not layers:
        return
    kept = [(layer, layer.momentum, layer.training) for layer in layers]
    try:
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # a mean over all mini-batches
            layer.train()
        for make_pass in passes:
            make_pass()
    finally:
        for layer, momentum, training in kept:
            layer.momentum = momentum
            layer.train(training)


def normalized(model: nn.Module) -> list[_BatchNorm]:
    """Return the layers of batch normalisation."""
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


def statistics_of(model: nn.Module) -> set[str]:
    """Return the names of the buffers that ``renew_statistics`` makes anew."""
    layers = {id(module) for module in normalized(model)}
    return {
        f"{name}.{buffer}" if name else buffer
        for name, module in model.named_modules()
        if id(module) in layers
        for buffer, _ in module.named_buffers(recurse=False)
    }
