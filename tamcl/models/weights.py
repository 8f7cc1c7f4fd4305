"""The weights of several models of one architecture in common tensors, as a compiled graph takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu

from tamcl.models.classifier import Classifier
from tamcl.models.heads import MaskedHead
from tamcl.models.mlp import MLP
from tamcl.models.stacked import ALIGNMENT


class Shape(NamedTuple):
    """A parameter's name and shape."""

    name: str
    size: tuple[int, ...]


class StackedWeights:
    """The parameters of R models as views of common tensors, one for each parameter, with rows to spare.

    A graph that writes to its inputs wants each of them in memory of its own, which sets it apart from ``StackedMLP``.

    Parameters
    ----------
    models : sequence of Classifier
        With an ``MLP`` as body and a head for all tasks; they differ in the values of their weights alone.
    rows : int
        Models that there is place for; the rows without one are zeros at first.

    Attributes
    ----------
    flat : list of Tensor, (rows, n)
        Each row starts at an aligned place, since products may depend on it.
    shapes : list of Shape
    slope : float
        Of the body's activation.
    """

    def __init__(self, models: Sequence[Classifier], rows: int) -> None:
        self._models, self.slope = models, cast(MLP, models[0].body).slope
        named = dict(models[0].named_parameters())
        self.shapes = [Shape(name, tuple(param.shape)) for name, param in named.items()]
        self.flat = [self._gather(param, name, rows) for name, param in named.items()]

    def _gather(self, like: Tensor, name: str, rows: int) -> Tensor:
        step = ALIGNMENT // like.element_size()
        whole = like.data.new_zeros(rows, -(-like.numel() // step) * step)
        flat = whole[:, : like.numel()]
        for row, model in zip(flat, self._models, strict=False):
            param = model.get_parameter(name)
            param.data, param.grad = row.copy_(param.data.reshape(-1)).view(param.shape), None
        return flat

    def outside(self, task: int) -> Tensor | None:
        """Return a mask of the classes that are not of a task, (rows, 1, classes), if the head has one."""
        if not isinstance(self._models[0].head, MaskedHead):
            return None
        masks = torch.stack([model.head.get_buffer("outside")[task] for model in self._models])
        spare = masks.new_zeros(len(self.flat[0]) - len(masks), masks.shape[1])
        return torch.cat([masks, spare])[:, None]

    def take_apart(self) -> None:
        """Give every model weights of its own again."""
        for model in self._models:
            for param in model.parameters():
                param.data, param.grad = param.data.clone(), None


Measure = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]
"""From logits (R, B, classes) to loss (R,), right answers (R,) and the gradient of the losses."""


def passes(
    flat: Sequence[Tensor],
    shapes: Sequence[Shape],
    images: Tensor,
    outside: Tensor | None,
    measure: Measure,
    slope: float = 0.0,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Do a forward and a backward pass of R models, and return loss, right answers and flat gradients (R, n).

    Nothing of it is done in place, as a compiler likes it best; else it is what ``StackedMLP`` does.

    Parameters
    ----------
    flat, shapes
        As ``StackedWeights`` has them.
    images : Tensor, (R, B, channels, height, width)
    outside : Tensor, optional
        What is masked of the logits.
    measure : callable
    slope : float
        Of the body's activation.

    Examples
    --------
    >>> from tamcl.models.classifier import build_classifier
    >>> sizes = dict(shape=(1, 8, 8), classes=10, tasks={0: tuple(range(10))})
    >>> models = [build_classifier("mlp", "single", {}, seed=seed, **sizes) for seed in range(3)]
    >>> weights = StackedWeights(models, rows=4)
    >>> images = torch.rand(4, 5, 1, 8, 8)
    >>> measure = lambda logits: (logits.square().sum((1, 2)) / 2, logits.argmax(2).sum(1), logits)
    >>> loss, _, gradients = passes(weights.flat, weights.shapes, images, None, measure)
    >>> (models[2](images[2]).square().sum() / 2).backward()
    >>> torch.allclose(gradients[0][2], models[2].get_parameter(weights.shapes[0].name).grad.flatten(), atol=1e-6)
    True
    """
    stacked = {shape.name: values.unflatten(1, shape.size) for values, shape in zip(flat, shapes, strict=True)}
    layers = [name.removesuffix(".weight") for name in stacked if name.endswith(".weight")]
    inputs = [images.flatten(2)]
    for name in layers[:-1]:
        values = _linear(stacked, name, inputs[-1])
        inputs.append(leaky_relu(values, slope) if slope else values.relu())
    logits = _linear(stacked, layers[-1], inputs[-1])
    if outside is not None:
        logits = logits.masked_fill(outside, -torch.inf)
    loss, correct, gradient = measure(logits)
    found: dict[str, Tensor] = {}
    for name, below, values in reversed([*zip(layers, [None, *layers[:-1]], inputs, strict=True)]):
        found[f"{name}.weight"] = torch.bmm(gradient.mT, values).flatten(1)
        found[f"{name}.bias"] = gradient.sum(1)
        if below is not None:  # what comes in is what an activation has let through
            gradient = torch.bmm(gradient, stacked[f"{name}.weight"])
            gradient = torch.where(values <= 0, slope * gradient if slope else 0, gradient)
    return loss, correct, [found[shape.name] for shape in shapes]


def _linear(stacked: Mapping[str, Tensor], name: str, inputs: Tensor) -> Tensor:
    return torch.baddbmm(stacked[f"{name}.bias"][:, None], inputs, stacked[f"{name}.weight"].mT)
