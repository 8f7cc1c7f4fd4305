"""Several models of one architecture trained as one: every weight [R, ...], every mini-batch [R, B, ...].

Most of the time of a small model goes into starting kernels. One batched product does the work of R models in hardly
more of them, and gives each model, bit by bit, what it would get beside any others, or alone in a stack of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from itertools import pairwise
from math import gcd, lcm
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu_

from tamcl.errors import InputError
from tamcl.models.classifier import Classifier
from tamcl.models.heads import MaskedHead, MultiHead
from tamcl.models.inputs import InputNormalization
from tamcl.models.mlp import MLP

ALIGNMENT = 64
"""Bytes. Where vectors and matrices start at multiples of them, products do not depend on where that is: elsewhere the
kernels of MKL sum in another order, and a model's last bits would tell its place in the stack."""

ROW_ALIGNMENT = 16
"""Bytes. What was enough for mini-batches, whose rows would have to be many for more."""


class StackedMLP:
    """Classifiers with an ``MLP`` as body, whose weights and gradients become parts of common tensors.

    The models stay what they are: their parameters are views, so that an optimizer that steps one of them, or a test
    of it, works on the stack. Forward and backward pass are written out, which spares the bookkeeping of autograd.

    Parameters
    ----------
    models : sequence of Classifier
        R models that differ in the values of their weights alone, on one device.

    Attributes
    ----------
    values, gradients : Tensor, (R, P)
        All parameters of each model in a row, with some zeros between them, and their gradients.
    slices : list of slice
        Where each parameter stands in the row, in the order of ``named_parameters``.

    Examples
    --------
    >>> from tamcl.models.classifier import build_classifier
    >>> sizes = dict(shape=(1, 8, 8), classes=10, tasks={0: tuple(range(10))})
    >>> models = [build_classifier("mlp", "single", {}, seed=seed, **sizes) for seed in range(3)]
    >>> images = torch.rand(3, 5, 1, 8, 8)
    >>> logits = StackedMLP(models).forward(images, 0)
    >>> logits.shape
    torch.Size([3, 5, 10])
    >>> torch.allclose(logits[2], models[2](images[2]), atol=1e-6)
    True
    """

    def __init__(self, models: Sequence[Classifier]) -> None:
        if any(isinstance(module, nn.LayerNorm | InputNormalization) for module in models[0].modules()):
            raise InputError("models with layer norm or normalised inputs cannot be stacked")
        self._models, self._slope = models, cast(MLP, models[0].body).slope
        named = dict(models[0].named_parameters())
        like = next(iter(named.values())).data
        self.slices, size = _places(named.values())
        self.values, self.gradients = (like.new_zeros(len(models), size) for _ in range(2))
        self._parameters = {
            name: _StackedParameter(
                [model.get_parameter(name) for model in models], name, self.values[:, place], self.gradients[:, place]
            )
            for name, place in zip(named, self.slices, strict=True)
        }
        layers = [name for name, module in models[0].named_modules() if isinstance(module, nn.Linear)]
        self._layers = [self._layer(name) for name in layers if name.startswith("body.")]
        self._heads = {name: self._layer(name) for name in layers if name.startswith("head.")}

    @property
    def is_complete(self) -> bool:
        """Whether every pass gives all parameters a gradient: not if tasks have heads of their own."""
        return not isinstance(self._models[0].head, MultiHead)

    def _layer(self, name: str) -> _StackedLinear:
        return _StackedLinear(self._parameters[f"{name}.weight"], self._parameters[f"{name}.bias"])

    def forward(self, images: Tensor, task: int) -> Tensor:
        """Map images (R, B, channels, height, width) of one task to logits (R, B, classes)."""
        head = self._models[0].head
        self._output = self._heads[f"head.linears.{task}" if isinstance(head, MultiHead) else "head.linear"]
        for unused in self._heads.values():
            if unused is not self._output:
                unused.drop_gradient()
        features = images.flatten(2)
        for layer in self._layers:
            features = _activate(layer.forward(features), self._slope)
        logits = self._output.forward(features)
        if isinstance(head, MaskedHead):
            outside = torch.stack([model.head.get_buffer("outside")[task] for model in self._models])
            return logits.masked_fill_(outside[:, None], -torch.inf)
        if isinstance(head, MultiHead):
            classes = torch.stack([model.head.get_buffer(f"own_{task}") for model in self._models])
            self._classes = classes[:, None].expand_as(logits)
            full = logits.new_full((*logits.shape[:2], head.classes), -torch.inf)
            return full.scatter_(2, self._classes, logits)
        return logits

    def backward(self, gradient: Tensor) -> None:
        """Give every parameter that took part its gradient, from that of the logits (R, B, classes)."""
        if isinstance(self._models[0].head, MultiHead):
            gradient = gradient.gather(2, self._classes)
        self._output.backward(gradient)
        for layer, after in reversed([*pairwise([*self._layers, self._output])]):
            # the inputs of what comes after are the outputs of this layer's activation
            gradient = torch.bmm(gradient, after.weight.stacked)
            gradient = _before_activation(gradient, after.inputs, self._slope)
            layer.backward(gradient)

    def take_back(self) -> None:
        """Take over the weights of optimizers that have put other tensors in place of their parameters' own."""
        for parameter in self._parameters.values():
            parameter.take_back()

    def take_apart(self) -> None:
        """Give every model weights of its own again."""
        for parameter in self._parameters.values():
            parameter.take_apart()


def rows_for(model: Classifier, batch_size: int) -> int:
    """Return the rows that a mini-batch must have, at least its size, for all matrices to be aligned."""
    weights = [module.weight for module in model.modules() if isinstance(module, nn.Linear)]
    widths, size = {width for weight in weights for width in weight.shape}, weights[0].element_size()
    step = lcm(*(ROW_ALIGNMENT // size // gcd(ROW_ALIGNMENT // size, width) for width in widths))
    return -(-batch_size // step) * step


def is_same_alone(model: Classifier, images: Tensor, task: int) -> bool:
    """Whether this machine gives a model the same bits alone and in stacks, tried with one forward and backward pass.

    Parameters
    ----------
    model : Classifier
        Not stacked; it is left as it is.
    images : Tensor, (B, channels, height, width)
    task : int
    """

    def results(count: int) -> list[list[Tensor]]:
        models = [deepcopy(model) for _ in range(count)]
        stack = StackedMLP(models)
        logits = stack.forward(images.expand(count, *images.shape).contiguous(), task)
        stack.backward(logits.softmax(-1))
        grads = [[param.grad for param in each.parameters() if param.grad is not None] for each in models]
        return [[each, *own] for each, own in zip(logits, grads, strict=True)]

    with torch.no_grad():
        (alone,) = results(1)
        stacks = [each for count in (2, 3, 8) for each in results(count)]
    return all(torch.equal(a, b) for each in stacks for a, b in zip(each, alone, strict=True))


class _StackedParameter:
    """One parameter of R models: values and gradients are parts of common tensors, of which the models have views."""

    def __init__(self, params: Sequence[nn.Parameter], name: str, values: Tensor, gradients: Tensor) -> None:
        self.name, self.params = name, params
        shape = params[0].shape
        self.stacked, self.gradient = values.unflatten(1, shape), gradients.unflatten(1, shape)
        self._views, self._gradients = self.stacked.unbind(), self.gradient.unbind()
        for param, view in zip(params, self._views, strict=True):
            param.data, param.grad = view.copy_(param.data), None
        self._places = [view.data_ptr() for view in self._views]

    def hand_out(self) -> None:
        """Let the gradient of each model's parameter be its part of the common one."""
        for param, gradient in zip(self.params, self._gradients, strict=True):
            if param.grad is not gradient:
                _refuse_hooks(param, self.name)
                param.grad = gradient

    def drop_gradient(self) -> None:
        for param in self.params:
            param.grad = None

    def take_back(self) -> None:
        for param, view, place in zip(self.params, self._views, self._places, strict=True):
            if param.data_ptr() != place:
                view.copy_(param.data)
                param.data = view

    def take_apart(self) -> None:
        for param in self.params:
            param.data, param.grad = param.data.clone(), None


class _StackedLinear:
    """One fully connected layer of R models, with the gradients of its last pass."""

    def __init__(self, weight: _StackedParameter, bias: _StackedParameter) -> None:
        self.weight, self.bias = weight, bias

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (R, B, in) to (R, B, out)."""
        self.inputs = inputs
        return torch.baddbmm(self.bias.stacked[:, None], inputs, self.weight.stacked.mT)

    def backward(self, gradient: Tensor) -> None:
        """Compute the gradients of weight and bias from that of the outputs."""
        if len(gradient) == 1:  # bmm would go another way for a single matrix than for several in rows
            torch.mm(gradient[0].T, self.inputs[0], out=self.weight.gradient[0])
        else:
            torch.bmm(gradient.mT, self.inputs, out=self.weight.gradient)
        torch.sum(gradient, 1, out=self.bias.gradient)
        self.weight.hand_out()
        self.bias.hand_out()

    def drop_gradient(self) -> None:
        """Leave weight and bias without gradient, as a task does whose mini-batch this is not."""
        self.weight.drop_gradient()
        self.bias.drop_gradient()


def _activate(features: Tensor, slope: float) -> Tensor:
    """Multiply the negative numbers in a tensor by the slope, in place."""
    return leaky_relu_(features, slope) if slope else features.relu_()


def _before_activation(gradient: Tensor, outputs: Tensor, slope: float) -> Tensor:
    """Return the gradient of what an activation was given, from that of its outputs, as autograd does."""
    if slope:
        return torch.ops.aten.leaky_relu_backward(gradient, outputs, slope, True)  # type: ignore[no-any-return]
    return torch.ops.aten.threshold_backward(gradient, outputs, 0)  # type: ignore[no-any-return]


def _places(params: Iterable[Tensor]) -> tuple[list[slice], int]:
    """Return where parameters stand in a row of all numbers, each at an aligned place, and how long the row is."""
    places, end = [], 0
    for param in params:
        step = ALIGNMENT // param.element_size()
        places.append(slice(end, end + param.numel()))
        end += -(-param.numel() // step) * step
    return places, end


def _refuse_hooks(param: nn.Parameter, name: str) -> None:
    """Refuse what waits for autograd to compute the gradient, which it does not do here."""
    if param._backward_hooks or param._post_accumulate_grad_hooks:
        raise InputError(f"the optimizer has a hook on the gradient of {name}, which is not called in a stack of runs")
