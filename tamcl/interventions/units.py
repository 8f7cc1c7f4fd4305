"""Units of a network, and what it is to begin one anew: for the interventions that reset those that are of no use."""

from __future__ import annotations

from functools import partial
from math import sqrt
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tamcl.errors import InputError
from tamcl.interventions.base import Intervention
from tamcl.optim.entries import forget, why_not_known
from tamcl.seeding import derive_seed

ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh)

PASSING = (
    nn.Flatten,
    nn.Identity,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
)
"""Layers behind which units are still by themselves and in order."""


class Units(NamedTuple):
    """The units of a hidden layer: outputs of a fully connected layer, or channels of a convolution."""

    layer: nn.Linear | nn.Conv2d
    """What makes them."""
    activation: nn.Module
    """What gives them out."""
    takers: list[nn.Linear | nn.Conv2d]
    """What takes them in: one layer, or the layers of all tasks."""

    @property
    def width(self) -> int:
        """How many there are."""
        return len(self.layer.weight)

    def columns(self, taker: nn.Linear | nn.Conv2d, units: Tensor) -> Tensor:
        """Return where units stand among the inputs of a taker: several times, if it takes places of channels."""
        each = taker.weight.shape[1] // self.width
        return (units[:, None] * each + torch.arange(each, device=units.device)).flatten()

    def outgoing(self, taker: nn.Linear | nn.Conv2d) -> Tensor:
        """Return the weights by which a taker takes units in, (outputs, units, whatever belongs to a unit)."""
        weight: Tensor = taker.weight.detach()
        return weight.reshape(len(weight), self.width, -1)


def units_of(model: Any) -> list[Units]:
    """Return the hidden layers with an activation of a model that is a chain of layers, from its input on.

    Parameters
    ----------
    model : Classifier

    Raises
    ------
    InputError
        If it is no such chain, so that it is not known which weights are those of a unit.

    Examples
    --------
    >>> from tamcl.models.classifier import build_classifier
    >>> sizes = dict(shape=(1, 28, 28), classes=10, tasks={0: tuple(range(10))}, seed=0)
    >>> model = build_classifier("mlp", "single", {"hidden": [30, 20]}, **sizes)
    >>> [units.width for units in units_of(model)]
    [30, 20]
    """
    chain = [module for module in model.body.modules() if not [*module.children()]]
    found: list[tuple[Any, nn.Module, list[Any]]] = []
    layer, activation = None, None
    takers = [module for module in model.head.modules() if isinstance(module, nn.Linear)]
    for module in chain:
        if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1):
            if activation is not None:
                found.append((layer, activation, [module]))
            layer, activation = module, None
        elif isinstance(module, ACTIVATIONS):
            activation = module if layer is not None else None
        elif not isinstance(module, PASSING) and not getattr(module, "keeps_units", False):
            raise InputError(f"the model has a layer of {type(module).__name__}, in which units are not by themselves")
    if activation is not None:
        found.append((layer, activation, takers))
    if not found:
        raise InputError("the model has no hidden layer whose units an activation gives out")
    for layer, _, takers in found:
        if not takers or any(taker.weight.shape[1] % len(layer.weight) for taker in takers):
            raise InputError("the layers of the model's body do not follow each other as they stand in it")
    return [Units(*each) for each in found]


class UnitResets(Intervention):
    """An intervention that looks at what units give out in training, and begins some of them anew after steps.

    A unit that begins anew gets new incoming weights, uniform in :math:`\\pm 1 / \\sqrt{n}` for :math:`n` inputs as
    torch draws those of a new layer, a bias of zero, and outgoing weights of zero, in the layers of all tasks. What the
    optimizer has of each of these weights, such as their moments, is as before the first step; what it has of a whole
    tensor, such as Adam's count of steps, goes on.

    A subclass writes ``look``. In a step that makes several forward passes, the first counts, which is that of the
    mini-batch.
    """

    layers: list[Units]
    resets: int
    """How many units have begun anew so far."""
    steps: int

    def begin(self, model: nn.Module, optimizer: Optimizer, seed: int) -> None:
        """Find the units, and begin to look at them."""
        super().begin(model, optimizer, seed)
        name = type(self).__name__
        if why := why_not_known(optimizer):
            raise InputError(f"{name} has to begin the optimizer's state of single weights anew, and {why}")
        try:
            self.layers = units_of(model)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
        self.steps = self.resets = 0
        for handle in getattr(self, "_handles", ()):
            handle.remove()
        self._outputs: dict[int, Tensor] = {}
        self._is_chain = False
        hooks = [
            layer.activation.register_forward_hook(partial(self._keep, number))
            for number, layer in enumerate(self.layers)
        ]
        body: Any = model.body
        self._handles = [*hooks, body.register_forward_hook(self._check)]

    def look(self, number: int, outputs: Tensor, optimizer: Optimizer) -> None:
        """Look at what a layer's units gave out, (examples, units, places), and begin some anew by ``reset``."""
        raise NotImplementedError

    @torch.no_grad()
    def after_step(self, optimizer: Optimizer) -> None:
        """Look at all layers, from the input on."""
        outputs, self._outputs = self._outputs, {}
        if len(outputs) < len(self.layers):
            raise InputError(f"{type(self).__name__}: units gave nothing out in a step of training")
        self.steps += 1
        for number in range(len(self.layers)):
            given = outputs[number]
            self.look(number, given.flatten(2) if given.dim() > 2 else given[..., None], optimizer)

    def reset(self, number: int, units: Tensor, optimizer: Optimizer) -> None:
        """Begin some units of a layer anew, given their numbers."""
        if not len(units):
            return
        layer = self.layers[number]
        weight, bias = layer.layer.weight, layer.layer.bias
        generator = torch.Generator(weight.device)
        generator.manual_seed(derive_seed(self.seed, "intervention", self.steps, number))
        fresh = torch.empty((len(units), *weight.shape[1:]), dtype=weight.dtype, device=weight.device)
        bound = 1 / sqrt(weight[0].numel())
        weight[units] = fresh.uniform_(-bound, bound, generator=generator)
        forget(optimizer, weight, units)
        if bias is not None:
            bias[units] = 0.0
            forget(optimizer, bias, units)
        for taker in layer.takers:
            columns = slice(None), layer.columns(taker, units)
            taker.weight[columns] = 0.0
            forget(optimizer, taker.weight, columns)
        self.resets += len(units)

    def _keep(self, number: int, module: nn.Module, inputs: Any, outputs: Tensor) -> None:
        if module.training:
            self._outputs.setdefault(number, outputs.detach())

    @torch.no_grad()
    def _check(self, body: nn.Module, inputs: tuple[Tensor], outputs: Tensor) -> None:
        """Check once that the layers do follow each other: what a forward pass does beside them would not be seen."""
        if self._is_chain:
            return
        self._is_chain, features = True, inputs[0]
        for module in [module for module in body.modules() if not [*module.children()]]:
            mode, module.training = module.training, False  # what it measures it has measured
            try:
                features = module.forward(features)  # past hooks, for whom this is no pass
            except RuntimeError:
                break
            finally:
                module.training = mode
        if features.shape != outputs.shape or not torch.equal(features, outputs):
            why = "its forward pass does more than to pass the image through its layers, one after the other"
            raise InputError(f"{type(self).__name__} cannot tell which weights are those of a unit of the model: {why}")
