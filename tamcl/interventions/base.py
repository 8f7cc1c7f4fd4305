"""What an intervention is, and what several of them need to know of layers."""

from __future__ import annotations

from copy import deepcopy
from math import inf, isfinite, prod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import Optimizer

from tamcl.errors import InputError
from tamcl.optim.wrapper import underneath
from tamcl.seeding import derive_seed


class Intervention:
    """Something that is done to a network in training beside the optimizer's steps, the same with any optimizer.

    A strategy calls ``begin`` with the initial weights, ``change_gradients`` after every backward pass, of which some
    optimizers make several a step, ``before_step`` and ``after_step`` around every step, and ``at_shift`` at every
    boundary of the stream; a subclass writes those that it needs. Options are arguments of ``__init__``. What is drawn
    at random comes from ``self.seed`` alone. A parameter without a gradient, as that of another task's head, takes no
    part in a step.

    Attributes
    ----------
    model : torch.nn.Module
    seed : int
        For what it draws; another one for each intervention of a run.

    Examples
    --------
    Biases that stay where they are:

    >>> from tamcl.interventions import Intervention
    >>> class FixedBiases(Intervention):
    ...     kept = ()
    ...
    ...     def change_gradients(self) -> None:
    ...         for name, param in self.model.named_parameters():
    ...             if name.endswith("bias") and param.grad is not None:
    ...                 param.grad.zero_()
    """

    changes_weights: ClassVar[bool] = True
    """Whether it changes weights, and not gradients alone: not to be done with an optimizer whose parameters are not
    the weights that are tested."""

    kept: ClassVar[tuple[str, ...]] = ()
    """Attributes that change in training, as tensors and plain values. One of your own says it, be it that there are
    none, or its runs are trained without checkpoints."""

    model: nn.Module
    seed: int

    def begin(self, model: nn.Module, optimizer: Optimizer, seed: int) -> None:
        """Look at the model, which has its initial weights, and be as if nothing had been trained.

        Raises
        ------
        InputError
            If it has no meaning for this model or this optimizer.
        """
        if self.changes_weights and (name := _tests_other_weights(optimizer)):
            why = "are not those that are tested, and to change them would change the two by different amounts"
            raise InputError(f"{type(self).__name__} changes weights, and the weights that {name} trains {why}")
        self.model, self.seed = model, seed

    def change_gradients(self) -> None:
        """Change the gradients of a mini-batch, in place."""

    def before_step(self, optimizer: Optimizer) -> None:
        """Change the weights before a step, whose gradients are there already, in place."""

    def after_step(self, optimizer: Optimizer) -> None:
        """Change the weights after a step, in place."""

    def at_shift(self, optimizer: Optimizer) -> None:
        """Do what is to be done when the data shift, before the first step on those that come."""

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes in training, as tensors and plain values."""
        return {name: getattr(self, name) for name in self.kept}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what ``state_dict`` of another one returned, of a model like this."""
        for name in self.kept:
            setattr(self, name, deepcopy(state[name]))


def noise_like(tensor: Tensor, seed: int, *place: int) -> Tensor:
    """Return standard normal numbers that follow from a seed and a place: of a tensor's shape, type and device.

    Examples
    --------
    >>> import torch
    >>> noise = noise_like(torch.zeros(3), 0, 1)
    >>> bool((noise == noise_like(torch.zeros(3), 0, 1)).all()), bool((noise == noise_like(torch.zeros(3), 0, 2)).any())
    (True, False)
    """
    generator = torch.Generator(tensor.device).manual_seed(derive_seed(seed, "intervention", *place))
    return torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype, device=tensor.device)


def _tests_other_weights(optimizer: Optimizer) -> str:
    """Return the class of an optimizer, or of one underneath, that has ``train`` and ``eval``; nothing if none has."""
    for each in underneath([optimizer]):
        if all(callable(getattr(each, name, None)) for name in ("train", "eval")):
            return type(each).__name__
    return ""


NORMALISATIONS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
"""Layers whose parameters multiply or shift single features: they have no inputs to be added up."""


def without_normalisations(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that are trained, but for gains and biases of normalisations.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))
    >>> [tuple(param.shape) for param in without_normalisations(model)]
    [(3, 2), (3,)]
    """
    modules = (module for module in model.modules() if not isinstance(module, NORMALISATIONS))
    params = (param for module in modules for param in module.parameters(recurse=False))
    return [param for param in dict.fromkeys(params) if param.requires_grad]


def fan_ins(model: nn.Module) -> list[tuple[nn.Parameter, int]]:
    """Return every weight and bias of a model's layers with the number of inputs that a unit of the layer adds up.

    Those of normalisations are left out.

    Raises
    ------
    InputError
        If a trained parameter is of another kind, such as an embedding of positions.

    Examples
    --------
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 5), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(32, 10))
    >>> [(tuple(param.shape), inputs) for param, inputs in fan_ins(model)]
    [((8, 3, 5, 5), 75), ((8,), 75), ((10, 32), 32), ((10,), 32)]
    """
    found = []
    for name, module in model.named_modules():
        own = [(key, param) for key, param in module.named_parameters(recurse=False) if param.requires_grad]
        if isinstance(module, NORMALISATIONS):
            continue
        for key, param in own:
            inputs = _fan_in(module, key)
            if not inputs:
                where = f"{name}.{key}" if name else key
                raise InputError(f"{where} is a parameter of {type(module).__name__}, which has no fan_in")
            found.append((param, inputs))
    return found


def _fan_in(module: nn.Module, key: str) -> int:
    """Return how many inputs a unit of a layer adds up; 0 if it is not known to add up any."""
    weight: Any = getattr(module, "weight", None)
    if isinstance(module, nn.MultiheadAttention):
        weight = module.in_proj_weight if key.startswith("in_proj") else None
    elif not isinstance(module, nn.Linear | nn.modules.conv._ConvNd) or getattr(module, "transposed", False):
        weight = None
    return prod(weight.shape[1:]) if isinstance(weight, Tensor) else 0


def check_number(
    name: str, value: Any, low: float = 0.0, high: float = inf, *, above: bool = False, below: bool = False
) -> float:
    """Return a number of an option that must be in [low, high], or above low, or below high.

    Raises
    ------
    InputError
        If it is none.

    Examples
    --------
    >>> check_number("kappa", -1)
    Traceback (most recent call last):
    ...
    tamcl.errors.InputError: kappa = -1: must be a number, at least 0
    """
    is_number = not isinstance(value, bool) and isinstance(value, int | float) and isfinite(value)
    if not is_number or not low <= value <= high or (above and value == low) or (below and value == high):
        least = f"above {low:g}" if above else f"at least {low:g}"
        most = "" if high == inf else f" and below {high:g}" if below else f" and at most {high:g}"
        raise InputError(f"{name} = {value!r}: must be a number, {least}{most}")
    return float(value)


def check_count(name: str, value: Any, least: int = 1) -> int:
    """Return a whole number of an option that must be at least so large.

    Raises
    ------
    InputError
        If it is none.

    Examples
    --------
    >>> check_count("every", 0)
    Traceback (most recent call last):
    ...
    tamcl.errors.InputError: every = 0: must be a whole number, at least 1
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{name} = {value!r}: must be a whole number, at least {least}")
    return value
