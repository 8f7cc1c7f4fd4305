"""An update that is measured: what was before it, and ways to look at the model after it that leave no trace."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim import Optimizer

from tamcl.errors import InputError
from tamcl.models.plain import Logits
from tamcl.optim.sharing import is_dtensor, is_flattened

MOMENTA = ("momentum_buffer", "exp_avg")
"""Names that optimizers give their momentum in the state."""


class Activity(NamedTuple):
    """What the units of a layer put out on the examples.

    A unit is a feature, or a channel of a convolution.
    """

    mean: Tensor
    """Mean absolute output of each unit, (units,)."""
    zeros: Tensor
    """Share of all outputs that are 0."""


class Update:
    """One update that is measured. It is made just before the update, and handed to every diagnostic.

    Parameters
    ----------
    strategy : tamcl.strategies.Naive
        In the middle of its training, with the gradients of a mini-batch.
    samples : int
        How many training examples of the current experience losses and activations are measured on: evenly spread over
        all, and the same in every update of the experience.

    Attributes
    ----------
    model : torch.nn.Module
    optimizer : torch.optim.Optimizer
        The one of the strategy; it may wrap the one that steps.
    names : dict of Parameter to str
        The name in the model of each parameter that the optimizer has.
    weights : dict of str to Tensor
        Those parameters before the update.
    gradients : dict of str to Tensor
        Gradients of the mini-batch, of the parameters that have one.
    new : set of str
        Those of them that have no momentum yet.
    """

    def __init__(self, strategy: Any, samples: int) -> None:
        self.strategy = strategy
        self.samples = samples
        self.model: nn.Module = strategy.model
        self.optimizer: Optimizer = strategy.optimizer
        optimized = set(parameters(self.optimizer))
        if any(is_dtensor(param) or is_flattened(param) for param in optimized):
            raise InputError("diagnostics measure whole tensors: they cannot look at parameters that ranks share")
        self.names = {param: name for name, param in self.model.named_parameters() if param in optimized}
        self.weights = {name: param.detach().clone() for param, name in self.names.items()}
        self.gradients = {
            name: param.grad.detach().clone() for param, name in self.names.items() if param.grad is not None
        }

        states = {name: self.optimizer.state.get(param, {}) for param, name in self.names.items()}
        self.new = {name for name in self.gradients if states[name].keys().isdisjoint(MOMENTA)}

    @property
    def stepping(self) -> Optimizer:
        """The optimizer that steps: the innermost ``base`` of one that wraps others."""
        optimizer = self.optimizer
        while isinstance(base := getattr(optimizer, "base", None), Optimizer):
            optimizer = base
        return optimizer

    def tensors(self, *keys: str) -> dict[str, Tensor]:
        """Return the first of some tensors of the state that there is, for each parameter with a gradient."""
        found = {}
        for param, name in self.names.items():
            state = self.optimizer.state.get(param, {})
            held = [state[key] for key in keys if isinstance(state.get(key), Tensor)]
            if held and name in self.gradients:
                found[name] = held[0]
        return found

    def numbers(self, key: str) -> dict[str, Any]:
        """Return a number of the state for each parameter with a gradient, or under "" that of the whole optimizer.

        An entry that the optimizer's first trained parameter has alone is about the whole: that is where the
        ``shared_state`` of tamcl's optimizers lives. One of a group is that of each of its parameters with a momentum.
        """
        if key in getattr(self.stepping, "numbers_of_groups", ()):
            return self._numbers_of_groups(key)
        held = {param: state[key] for param, state in self.optimizer.state.items() if key in state}
        first = home(self.optimizer)
        if len(held) == 1 and first in held:
            return {"": held[first]}
        return {name: held[param] for param, name in self.names.items() if param in held and name in self.gradients}

    def _numbers_of_groups(self, key: str) -> dict[str, Any]:
        stepping: Any = self.stepping
        found = {}
        for group in self.optimizer.param_groups:
            numbers, params = stepping.numbers_of(group), set(group["params"])
            if key in numbers:
                own = [name for param, name in self.names.items() if param in params]
                found.update({name: numbers[key] for name in own if name in self.gradients and name not in self.new})
        return found

    @cached_property
    def examples(self) -> tuple[Tensor, Tensor]:
        """Images and labels that losses and activations are measured on; of text, windows and all their next tokens."""
        experience = self.strategy.experience
        length = len(experience.index)
        count = min(self.samples, length)
        rows = torch.arange(count) * length // count
        device = self.strategy.mb_x.device
        return experience.batch(rows).to(device), experience.targets(rows).flatten().to(device)

    def loss(self, weights: Mapping[str, Tensor]) -> Tensor:
        """Return the loss on the examples with these weights in the model; others are as they are."""
        images, labels = self.examples
        with undisturbed(self.model):
            logits = functional_call(self.model, dict(weights), (images, self.strategy.experience.task))
            return self.strategy._criterion(logits, labels)  # type: ignore[no-any-return]

    def copies(self) -> dict[str, Tensor]:
        """Return the weights after the update as leaves to take gradients at; those that are trained."""
        return {name: param.detach().requires_grad_() for param, name in self.names.items() if param.requires_grad}

    @cached_property
    def activities(self) -> dict[str, list[Activity]]:
        """What each ReLU put out on the examples, by module name; one that is called again has several entries."""
        return self._pass[0]

    @cached_property
    def features(self) -> Tensor | None:
        """What the model's ``body`` gives on the examples, or tokens, (n, features); None where those are logits."""
        return self._pass[1]

    @cached_property
    def _pass(self) -> tuple[dict[str, list[Activity]], Tensor | None]:
        activities, features = defaultdict(list), []

        images, labels = self.examples
        of_each_token = images.dim() == 2  # windows of text, where a layer puts out (windows, context, units)

        def note(name: str) -> Any:
            def append(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
                activities[name].append(_activity(output.flatten(0, -2) if of_each_token else output))

            return append

        hooks = [
            m.register_forward_hook(note(name)) for name, m in self.model.named_modules() if isinstance(m, nn.ReLU)
        ]
        body = getattr(self.model, "body", None)
        if isinstance(body, nn.Module) and not any(isinstance(module, Logits) for module in body.modules()):
            hooks.append(body.register_forward_hook(lambda _module, _inputs, output: features.append(output)))
        try:
            with undisturbed(self.model), torch.no_grad():
                self.model(images, self.strategy.experience.task)
        finally:
            for hook in hooks:
                hook.remove()
        return dict(activities), features[0].detach().reshape(len(labels), -1) if features else None


def parameters(optimizer: Optimizer) -> Iterator[Tensor]:
    """Yield the parameters of all groups."""
    return chain.from_iterable(group["params"] for group in optimizer.param_groups)


def home(optimizer: Optimizer) -> Tensor:
    """Return the parameter whose state has what is about the whole: the first that is trained, if any is."""
    first = next(parameters(optimizer))
    return next((param for param in parameters(optimizer) if param.requires_grad), first)


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Put the model in evaluation mode for a while: no running mean moves, and torch's generators are put back."""
    modes = {module: module.training for module in model.modules()}
    devices = {param.device for param in model.parameters() if param.device.type == "cuda"}
    with torch.random.fork_rng(devices=list(devices)):
        model.eval()
        try:
            yield
        finally:
            for module, training in modes.items():
                module.training = training


def _activity(output: Tensor) -> Activity:
    others = [dim for dim in range(output.dim()) if dim != 1]
    zeros = 1 - output.count_nonzero().double() / output.numel()
    return Activity(output.abs().mean(others, dtype=torch.float64), zeros)
