"""What the optimizers here have in common: checked options, exact state and one gathering of what a step needs."""

from __future__ import annotations

import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT, StateDict

from tamcl.optim.squares import forget_changed, trust

SAFE = (1e-15, 1e15)
"""Between these a float32 norm is exact: its squares neither underflow nor overflow."""


PATHS = {"foreach": (True, False, None), "capturable": (True, False)}
"""Options that choose how a step is computed and never what, and what each may be."""

FLAGS = ("maximize", "decoupled_weight_decay", "amsgrad", "centered")
"""Options that are True or False."""

HALF_PRECISION = {torch.float16, torch.bfloat16}

CPU = torch.device("cpu")


class Batch(NamedTuple):
    """What one parameter group brings to a step: entries of the lists belong together."""

    group: dict[str, Any]
    params: list[Tensor]
    grads: list[Tensor]
    """Direction of descent, in float32 or wider: negated under ``maximize``, with coupled weight decay added."""
    states: list[dict[str, Any]]


class BaseOptimizer(Optimizer, ABC):
    """A torch optimizer whose options are checked and whose state survives every way of saving it.

    A subclass names its ``defaults``, checks a group's options, makes the state of a parameter and does the update. All
    it knows between two steps stands in ``self.state`` and ``self.param_groups``, so that ``state_dict``, ``deepcopy``
    and clearing ``state`` mean what they say. Tensors of the state are float32 where parameters are half precision.

    Parameters
    ----------
    params : iterable
        Parameters, named parameters or parameter groups.
    defaults : dict
        Options of the groups that do not give their own; with ``lr``, ``weight_decay``, ``decoupled_weight_decay`` and
        ``maximize``, and ``foreach`` and ``capturable`` of those that offer them.
    """

    shared_options: ClassVar[tuple[str, ...]] = ()
    """Options of the whole optimizer: no group may have its own."""

    device_numbers: ClassVar[frozenset[str]] = frozenset()
    """Numbers of the state that ``capturable`` keeps on the device, in float64."""

    moment: ClassVar[str] = "momentum_buffer"
    """The tensor of the state whose precision tells that of the others."""

    def __init__(self, params: ParamsT, defaults: dict[str, Any]) -> None:
        super().__init__(params, defaults)

    @abstractmethod
    def check_options(self, group: dict[str, Any]) -> None:
        """Raise ValueError if an option of the group is out of range."""

    @abstractmethod
    def initialize(self, state: dict[str, Any], param: Tensor, group: dict[str, Any]) -> None:
        """Add what is missing to the state of a parameter that has a gradient."""

    @abstractmethod
    def update(self, batches: list[Batch]) -> None:
        """Do one step; there is at least one gradient."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Do one step and return the loss of the closure, if there is one.

        A parameter without gradient is left alone, and so is all state if no parameter has one.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        batches = [batch for group in self.param_groups if (batch := self._gather(group)).params]
        if batches:
            self._place_numbers(batches[0])
        for group, params, *_ in batches:
            if group["weight_decay"] and group["decoupled_weight_decay"]:
                torch._foreach_mul_(params, 1 - learning_rate(group) * group["weight_decay"])
        if batches:
            self.update(batches)
        return loss

    @property
    def shared_state(self) -> dict[str, Any]:
        """Numbers of the whole optimizer; they live in the first parameter's state, to be saved and cleared with it."""
        state: dict[str, Any] = self.state[next(param for group in self.param_groups for param in group["params"])]
        return state

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, at any time; its options are checked."""
        super().add_param_group(param_group)
        try:
            use_plain_numbers(self.param_groups[-1])
            self._check_group(self.param_groups[-1])
        except ValueError:
            self.param_groups.pop()
            raise

    def state_dict(self) -> StateDict:
        """Return the state, as torch's optimizers do."""
        forget_changed(self.state)
        return super().state_dict()

    def __getstate__(self) -> dict[str, Any]:
        forget_changed(self.state)
        return super().__getstate__()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        trust(self.state)

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Load a state; its tensors keep their own precision, where torch would round them to the parameter's."""
        super().load_state_dict(state_dict)
        saved = chain.from_iterable(group["params"] for group in state_dict["param_groups"])
        own = ((group, param) for group in self.param_groups for param in group["params"])
        for index, (group, param) in zip(saved, own, strict=True):
            for key, value in state_dict["state"].get(index, {}).items():
                if isinstance(value, Tensor):
                    dtype = self.state_dtype(key, param, group) if value.is_floating_point() else value.dtype
                    self.state[param][key] = value.to(device=param.device, dtype=dtype, copy=True)
        trust(self.state)

    def state_dtype(self, key: str, param: Tensor, group: dict[str, Any]) -> torch.dtype:
        """Return the precision of a state tensor: the parameter's, and at least float32."""
        return torch.float64 if key in self.device_numbers else at_least_float32(param.dtype)

    def _gather(self, group: dict[str, Any]) -> Batch:
        params, grads, states = [], [], []
        for param in group["params"]:
            grad = param.grad
            if grad is None:
                continue
            if grad.layout is not torch.strided:
                name = type(self).__name__
                raise RuntimeError(f"{name} does not support sparse gradients, got one of layout {grad.layout}")
            state = self.state[param]
            self.initialize(state, param, group)
            if self.moment in state and state[self.moment].dtype is not at_least_float32(param.dtype):
                self._convert(state, param, group)
            params.append(param)
            grads.append(grad.float() if grad.dtype in HALF_PRECISION else grad)
            states.append(state)
        if not params:
            return Batch(group, params, grads, states)
        if group["maximize"]:
            grads = list(torch._foreach_neg(grads))
        if not group["decoupled_weight_decay"]:
            grads = decayed(grads, params, group["weight_decay"])
        return Batch(group, params, grads, states)

    def _place_numbers(self, batch: Batch) -> None:
        """Bring the state's numbers to where ``capturable`` says, if it was set after some steps."""
        if torch.compiler.is_compiling():  # to which all numbers may be tensors
            return
        capturable = batch.group.get("capturable", False)
        known = [
            state[key] for state in (self.shared_state, batch.states[0]) for key in self.device_numbers & state.keys()
        ]
        if all(isinstance(number, Tensor) is capturable for number in known):
            return
        if "priorities" in self.shared_state:
            raise ValueError(f"capturable={capturable} was set after the first steps: clear the state first")
        for param, state in self.state.items():
            for key in self.device_numbers & state.keys():
                number = float(state[key])
                state[key] = zero(param, batch.group) + (int(number) if key == "step" else number)

    def _convert(self, state: dict[str, Any], param: Tensor, group: dict[str, Any]) -> None:
        """Follow a parameter whose type was changed after some steps, as by ``model.double()``."""
        for key, value in state.items():
            if isinstance(value, Tensor) and value.is_floating_point():
                state[key] = value.to(self.state_dtype(key, param, group))
        state.pop("momentum_square", None)

    def _check_group(self, group: dict[str, Any]) -> None:
        for param in group["params"]:
            if param.is_complex() or param.layout is not torch.strided:
                kind = "complex" if param.is_complex() else "sparse"
                raise ValueError(
                    f"{type(self).__name__} does not support {kind} parameters, got one of shape {tuple(param.shape)}"
                )
        check_number(group, "lr")
        check_number(group, "weight_decay")
        for name in FLAGS:
            if name in group:
                check_choice(group, name, (True, False))
        paths = [name for name in PATHS if name in group]
        for name in paths:
            check_choice(group, name, PATHS[name])
        self.check_options(group)
        first = self.param_groups[0]
        for name in (*self.shared_options, *paths):
            if group[name] != first[name]:
                raise ValueError(
                    f"{name} must be the same in all groups: {first[name]!r} in the first, got {group[name]!r}"
                )


def decayed(grads: list[Tensor], params: list[Tensor], weight_decay: float) -> list[Tensor]:
    """Return gradients with coupled weight decay: the gradients themselves if there is none."""
    return list(torch._foreach_add(grads, params, alpha=weight_decay)) if weight_decay else grads


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """Return float32 for half-precision types, and any other type as it is."""
    return torch.float32 if dtype in HALF_PRECISION else dtype


def learning_rate(group: dict[str, Any]) -> Any:
    """Return ``lr`` as a number; under ``capturable`` it may stay a tensor, so that it is not read from the device."""
    if group.get("capturable"):
        return group["lr"].reshape(()) if isinstance(group["lr"], Tensor) else group["lr"]
    return float(group["lr"])


def is_fast(group: dict[str, Any]) -> bool:
    """Whether a step goes through torch's fused kernels where they fit; torch.compile cannot take all of them."""
    return group["foreach"] is not False and not group["capturable"] and not torch.compiler.is_compiling()


def zero(param: Tensor, group: dict[str, Any]) -> Any:
    """Return the zero that a number of the state starts from."""
    return torch.zeros((), dtype=torch.float64, device=param.device) if group["capturable"] else 0


def put(state: dict[str, Any], **numbers: Any) -> None:
    """Set numbers of a state; one on the device is overwritten in place, where a captured graph will look for it."""
    for key, number in numbers.items():
        if isinstance(number, Tensor) and isinstance(state.get(key), Tensor):
            state[key].copy_(number)
        else:
            state[key] = number


def vectors(state: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Return two tensors of one shape as vectors whose entries belong together: views, where their layouts agree.

    The first is a tensor of the state: those have no gaps in memory.
    """
    if state.dim() == 1:
        return state, other
    if state.is_contiguous() and other.is_contiguous():
        return state.view(-1), other.view(-1)
    if state.stride() == other.stride():
        shape = (state.numel(),)
        return state.as_strided(shape, (1,)), other.as_strided(shape, (1,))
    return state.reshape(-1), other.reshape(-1)


def norms(tensors: list[Tensor]) -> list[float]:
    """Return the L2 norm of each tensor, exact however small or large its entries are."""
    measured = read(torch._foreach_norm(tensors))
    return [
        norm if SAFE[0] < norm < SAFE[1] else _scaled_norm(tensor)
        for norm, tensor in zip(measured, tensors, strict=True)
    ]


def _scaled_norm(tensor: Tensor) -> float:
    largest = largest_entry([tensor])
    return largest if largest in (0, math.inf) else largest * float((tensor.double() / largest).norm())


def largest_entry(tensors: list[Tensor]) -> float:
    """Return the largest absolute value in any of the tensors: nan if one is nan, 0 if there are no entries."""
    largest = read([tensor.abs().max() for tensor in tensors if tensor.numel()])
    return math.nan if any(map(math.isnan, largest)) else max(largest, default=0.0)


def read(scalars: Iterable[Tensor]) -> list[float]:
    """Bring 0-dim tensors to Python, with a single read of the device they are on."""
    values = list(scalars)
    devices = {value.device for value in values}
    if devices == {CPU}:
        return [value.item() for value in values]
    if len(devices) > 1:
        values = [value.cpu() for value in values]
    return torch.stack(values).tolist() if values else []


def use_plain_numbers(group: dict[str, Any]) -> None:
    """Turn numbers of other libraries, such as NumPy's, into Python's own, which any saved state may hold.

    Examples
    --------
    >>> import numpy as np
    >>> group = {"lr": np.float64(0.1), "betas": (np.float64(0.9), 0.5), "capacity": np.int64(5)}
    >>> use_plain_numbers(group)
    >>> group
    {'lr': 0.1, 'betas': (0.9, 0.5), 'capacity': 5}
    """
    for key, value in group.items():
        if type(value) is tuple and key != "params":
            group[key] = tuple(map(_plain, value))
        else:
            group[key] = _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return value
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def check_number(
    group: dict[str, Any], name: str, low: float = 0, high: float = math.inf, closed: bool = False
) -> None:
    """Raise ValueError unless ``low <= group[name] < high``, or ``<= high`` if closed."""
    value = group[name]
    number = value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
    if type(number) is bool or not isinstance(number, int | float) or not _within(number, low, high, closed):
        allowed = f"a number >= {low}" if high == math.inf else f"in [{low}, {high}{']' if closed else ')'}"
        raise ValueError(f"{name} must be {allowed}, got {value!r}")


def _within(number: float, low: float, high: float, closed: bool) -> bool:
    return low <= number <= high if closed else low <= number < high


def check_betas(group: dict[str, Any]) -> None:
    """Raise ValueError unless ``betas`` is two numbers in [0, 1)."""
    betas = group["betas"]
    if not isinstance(betas, (tuple, list)) or len(betas) != 2:
        raise ValueError(f"betas must be two numbers, got {betas!r}")
    for index, beta in enumerate(betas):
        check_number({f"betas[{index}]": beta}, f"betas[{index}]", high=1)


def check_count(group: dict[str, Any], name: str) -> None:
    """Raise ValueError unless ``group[name]`` is a whole number of at least 0."""
    value = group[name]
    if type(value) is not int or value < 0:
        raise ValueError(f"{name} must be a whole number >= 0, got {value!r}")


def check_choice(group: dict[str, Any], name: str, choices: tuple[Any, ...]) -> None:
    """Raise ValueError unless ``group[name]`` is one of the choices."""
    if group[name] not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {group[name]!r}")
