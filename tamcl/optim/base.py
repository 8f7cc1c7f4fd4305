"""What the optimizers here have in common: checked options, exact state and one gathering of what a step needs."""

from __future__ import annotations

import inspect
import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT, StateDict

from tamcl.errors import InputError
from tamcl.optim.sharing import (
    Ranks,
    check_process_group,
    is_dtensor,
    local,
    local_gradient,
    ranks_of,
    zero_redundancy_group,
)

SAFE = (1e-15, 1e15)
"""Between these a float32 norm is exact: its squares neither underflow nor overflow."""


PATHS = {"foreach": (True, False, None), "capturable": (True, False)}
"""Options that choose how a step is computed and never what, and what each may be."""

FLAGS = ("maximize", "decoupled_weight_decay", "amsgrad", "centered")
"""Options that are True or False."""

TABLES = {
    "priorities": torch.float64,
    "ages": torch.int64,
    "sizes": torch.float64,
    "past_dampings": torch.float64,
}
"""Numbers of the state that stand together in a tensor, whose entries are read by the host, and its type."""

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
    process_group : ProcessGroup, optional
        The ranks among which plain parameters are divided, over which everything measured is summed: needed under
        ``FullyShardedDataParallel``, known under ``ZeroRedundancyOptimizer``. A ``DTensor``, as ``fully_shard`` makes
        them, says by itself where it lies; and where each rank has all parameters, as under
        ``DistributedDataParallel``, there is none.
    """

    shared_options: ClassVar[tuple[str, ...]] = ()
    """Options of the whole optimizer: no group may have its own."""

    device_numbers: ClassVar[frozenset[str]] = frozenset()
    """Numbers of the state that ``capturable`` keeps on the device, in float64."""

    moment: ClassVar[str] = "momentum_buffer"
    """The tensor of the state whose precision tells that of the others."""

    decays_by_itself: ClassVar[bool] = False
    """Whether weight decay is left to ``update``: neither parameters nor gradients are changed for it before."""

    clock: ClassVar[tuple[str, ...]] = ()
    """Entries of the state that count steps, where updates depend on the number, and which may begin anew."""

    learnt: ClassVar[tuple[str, ...]] = ()
    """Entries of the state that are neither counts nor averages over gradients, but were learnt."""

    process_group: Any = None
    has_whole_tensors = False

    def __init__(self, params: ParamsT, defaults: dict[str, Any], process_group: Any = None) -> None:
        check_process_group(process_group)
        zero_group = zero_redundancy_group()
        self.process_group = process_group if zero_group is None else zero_group
        self.has_whole_tensors = zero_group is not None
        super().__init__(params, defaults)

    @abstractmethod
    def check_options(self, group: dict[str, Any]) -> None:
        """Raise ValueError if an option of the group is out of range."""

    @abstractmethod
    def initialize(self, state: dict[str, Any], param: Tensor, group: dict[str, Any]) -> None:
        """Add what is missing to the state of a parameter that has a gradient."""

    @abstractmethod
    def update(self, batches: list[Batch], ranks: Ranks | None) -> None:
        """Do one step; there is at least one gradient, here or on another of the ranks, if there are others."""

    @property
    def shared_numbers(self) -> Collection[str]:
        """The entries of the state that are about the whole optimizer."""
        return ()

    @property
    def can_be_joined(self) -> bool:
        """Whether a step is the same if all parameters are one vector: nothing is about a tensor by itself."""
        return False

    def measures(self) -> bool:
        """Whether a step depends on anything that is measured over all parameters."""
        return True

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Do one step and return the loss of the closure, if there is one.

        A parameter without gradient is left alone, and so is all state if no parameter has one.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        ranks = ranks_of(self, self.process_group, self.has_whole_tensors) if self.measures() else None
        self.apply(self.gather(), ranks)
        return loss

    def gather(self) -> list[Batch]:
        """Return what the groups that have gradients bring to a step."""
        batches = [batch for group in self.param_groups if (batch := self._gather(group)).params]
        if batches:
            self._place_numbers(batches[0])
        return batches

    def apply(self, batches: list[Batch], ranks: Ranks | None) -> None:
        """Do a step with what was gathered for it; autograd must not look on."""
        for group, params, *_ in batches:
            if group["weight_decay"] and group["decoupled_weight_decay"] and not self.decays_by_itself:
                torch._foreach_mul_(params, 1 - learning_rate(group) * group["weight_decay"])
        if batches or ranks is not None:
            self.update(batches, ranks)

    @property
    def shared_state(self) -> dict[str, Any]:
        """Numbers of the whole optimizer; they live in a parameter's state, to be saved and cleared with it.

        It is the first parameter that is trained: of others, torch's checkpoints save no state. A rank without
        parameters has none.
        """
        return shared_state(self, self.shared_numbers)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, at any time; its options are checked."""
        super().add_param_group(param_group)
        try:
            use_plain_numbers(self.param_groups[-1])
            self._check_group(self.param_groups[-1])
        except ValueError:
            self.param_groups.pop()
            raise

    def __getstate__(self) -> dict[str, Any]:
        check_can_be_copied(self)
        return super().__getstate__()

    def __setstate__(self, state: dict[str, Any]) -> None:
        own = self.__dict__.get("param_groups", [])  # none yet, if this is a copy
        super().__setstate__(state)
        chosen = inspect.signature(type(self)).parameters
        for index, group in enumerate(self.param_groups):
            is_loaded = index < len(own)
            present = own[index] if is_loaded else self.defaults
            for key in self.defaults.keys() & present.keys():
                if key not in group or (is_loaded and key == "decoupled_weight_decay" and key not in chosen):
                    group[key] = present[key]
            for param in group["params"]:
                if param in self.state:
                    self._renew(self.state[param], param, group)

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Load a state; its tensors keep their own precision, where torch would round them to the parameter's.

        Options that the state does not have, as an older one or that of another optimizer may not, stay as they are.
        """
        for pre_hook in self._optimizer_load_state_dict_pre_hooks.values():
            state_dict = pre_hook(self, state_dict) or state_dict
        state_dict = with_past_options(with_numbers(state_dict))
        check_is_whole(state_dict)
        with without_hooks(self._optimizer_load_state_dict_pre_hooks):
            super().load_state_dict(state_dict)
        saved = chain.from_iterable(group["params"] for group in state_dict["param_groups"])
        own = ((group, param) for group in self.param_groups for param in group["params"])
        for index, (group, param) in zip(saved, own, strict=True):
            for key, value in state_dict["state"].get(index, {}).items():
                if isinstance(value, Tensor):
                    dtype = self.state_dtype(key, param, group) if value.is_floating_point() else value.dtype
                    self.state[param][key] = value.to(device=param.device, dtype=dtype, copy=True)
            if param in self.state:
                self._renew(self.state[param], param, group)

    def state_dtype(self, key: str, param: Tensor, group: dict[str, Any]) -> torch.dtype:
        """Return the precision of a state tensor: the parameter's, and at least float32."""
        if key in TABLES:
            return TABLES[key]
        return torch.float64 if key in self.device_numbers else at_least_float32(param.dtype)

    def _renew(self, state: dict[str, Any], param: Tensor, group: dict[str, Any]) -> None:
        """Bring a loaded state to the present form, whatever saved it.

        States of before had lists in place of tables, of the filled slots alone, and squares of momenta; torch's
        optimizers may have None for a momentum, and have the step in a tensor.
        """
        for key, value in list(state.items()):
            if value is None or key == "momentum_square":
                del state[key]
            elif key in TABLES:
                table = value if isinstance(value, Tensor) else torch.tensor(value, dtype=TABLES[key])
                if key in ("priorities", "ages", "sizes") and len(table) < group["capacity"]:
                    table = torch.cat([table, table.new_zeros(group["capacity"] - len(table))])
                state[key] = table.to(param.device if group.get("capturable") else CPU)
            elif isinstance(value, Tensor) and key in {"step", *self.device_numbers} and not group.get("capturable"):
                state[key] = int(value) if key == "step" else float(value)

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
            if is_dtensor(param):
                param, grad = local(param), local_gradient(param)
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
        if "ages" in self.shared_state:
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


def shared_state(
    optimizer: Optimizer, numbers: Collection[str], groups: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Return the state of an optimizer's first parameter that is trained, with some numbers of the whole in it.

    They stand elsewhere if another was the first before: one that is frozen now, or in an older state. Numbers of some
    groups stand with the first of theirs.
    """
    groups = optimizer.param_groups if groups is None else groups
    first = next((param for group in groups for param in group["params"] if param.requires_grad), None)
    if first is None:
        first = next((param for group in groups for param in group["params"]), None)
    if first is None:
        return {}
    home: dict[str, Any] = optimizer.state[first]
    if numbers and home.keys().isdisjoint(numbers):
        for param in (param for group in groups for param in group["params"] if param in optimizer.state):
            state = optimizer.state[param]
            home.update({key: state.pop(key) for key in numbers if key in state})
    return home


def check_is_whole(state_dict: StateDict) -> None:
    """Raise InputError if torch's unflattening has put empty dicts where it found nothing."""
    for entries in state_dict["state"].values():
        for key, value in entries.items():
            if isinstance(value, dict) and not value:
                raise InputError(
                    f"the state has no '{key}', as if it were of another optimizer or of other options; a Switch that "
                    "has switched is loaded by load_state_dict(state_dict()), not from a flat state"
                )


def with_numbers(state_dict: StateDict) -> StateDict:
    """Return a saved state in which each parameter has its numbers too.

    ``torch.distributed.checkpoint`` loads tensors in place, and numbers of a parameter 0 to a parameter "0" beside it.
    """
    ids = set(chain.from_iterable(group["params"] for group in state_dict["param_groups"]))
    state: dict[Any, dict[str, Any]] = {}
    for key, entries in state_dict["state"].items():
        index = int(key) if isinstance(key, str) and key not in ids and key.isdigit() else key
        state[index] = state.get(index, {}) | entries if isinstance(entries, dict) else entries
    return state_dict | {"state": state}


PAST_OPTIONS = {"start": "zero", "cosine_on": "decayed"}
"""What TAM and AdaTAM did before these were options."""


def with_past_options(state_dict: StateDict) -> StateDict:
    """Return a saved state whose groups say what was not said when they were saved, so that it goes on as it began."""
    groups = [
        PAST_OPTIONS | group if "damping" in group and PAST_OPTIONS.keys().isdisjoint(group) else group
        for group in state_dict["param_groups"]
    ]
    return state_dict | {"param_groups": groups}


@contextmanager
def without_hooks(hooks: dict[int, Any]) -> Iterator[None]:
    """Take hooks that were called already away for a while."""
    called = dict(hooks)
    hooks.clear()
    try:
        yield
    finally:
        hooks.update(called)


def check_can_be_copied(optimizer: Any) -> None:
    """Raise InputError if a copy would forget among which ranks parameters are divided."""
    if optimizer.process_group is not None:
        raise InputError(
            f"{type(optimizer).__name__} with a process_group cannot be copied or pickled, as a group of processes "
            "cannot: make another and give it the state_dict"
        )


def column(states: Iterable[dict[str, Any]], key: str) -> list[Tensor]:
    """Return one entry of each state: what of it is on this rank."""
    return [value if type(value := state[key]) is Tensor else local(value) for state in states]


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


def set_scalar(state: dict[str, Any], **numbers: Any) -> None:
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
    measured = to_python(torch._foreach_norm(tensors))
    return [
        norm if SAFE[0] < norm < SAFE[1] else _scaled_norm(tensor)
        for norm, tensor in zip(measured, tensors, strict=True)
    ]


def _scaled_norm(tensor: Tensor) -> float:
    largest = largest_entry([tensor])
    return largest if largest in (0, math.inf) else largest * float((tensor.double() / largest).norm())


def squares(tensors: list[Tensor]) -> Tensor:
    """Return the square of each tensor's L2 norm, (tensors, 1), in float64: it holds the square of any float32."""
    found = [torch.linalg.vector_norm(tensor, dtype=torch.float64) for tensor in tensors]
    device = found[0].device if found else CPU
    return torch.stack([norm.to(device) for norm in found]).square()[:, None] if found else torch.zeros(0, 1).double()


def largest_entry(tensors: list[Tensor]) -> float:
    """Return the largest absolute value in any of the tensors: nan if one is nan, 0 if there are no entries."""
    largest = to_python([tensor.abs().max() for tensor in tensors if tensor.numel()])
    return math.nan if any(map(math.isnan, largest)) else max(largest, default=0.0)


def to_python(scalars: Iterable[Tensor]) -> list[float]:
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
