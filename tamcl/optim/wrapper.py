"""What the optimizers over other optimizers have in common: one set of groups, one state, one way of saving both."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from functools import partial
from itertools import chain
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT, StateDict

from tamcl.errors import unknown_name
from tamcl.optim import OPTIMIZERS
from tamcl.optim.base import (
    BaseOptimizer,
    at_least_float32,
    check_can_be_copied,
    check_number,
    shared_state,
    use_plain_numbers,
    with_numbers,
    with_past_options,
)
from tamcl.optim.closures import needs_closure
from tamcl.optim.sharing import check_process_group, has_gradient_anywhere, zero_redundancy_group
from tamcl.registry import lookup

Base = str | Callable[..., Optimizer]
"""An optimizer to step with: a registered name, ``package.module:Class``, a class, or a ``functools.partial``."""


class Wrapper(Optimizer, ABC):
    """An optimizer that steps with others, over the same parameters and the same state.

    The dicts in ``param_groups`` and ``state`` are those of the optimizers underneath. So learning-rate schedulers,
    ``state_dict``, ``deepcopy``, ``add_param_group`` and clearing ``state`` act on all of them at once. What the
    wrapper itself adds to the state stands under names of its own and is out of sight while the others step: torch's
    optimizers take a state that is not empty for their own.

    Parameters
    ----------
    optimizers : sequence of Optimizer
        The optimizers underneath, over the same parameters; the groups are those of the first.
    own : dict
        Options of the wrapper, as they stand in the groups.
    process_group : ProcessGroup, optional
        The ranks among which plain parameters are divided, for the wrapper and all that it goes over; see
        ``BaseOptimizer``.
    """

    own_state: ClassVar[tuple[str, ...]] = ()
    """Entries that the wrapper adds to the state of parameters."""

    own_options: ClassVar[tuple[str, ...]] = ()
    """Entries that the wrapper adds to the groups."""

    shared_options: ClassVar[tuple[str, ...]] = ()
    """Options of the wrapper that no group may have its own of."""

    shared_numbers: ClassVar[tuple[str, ...]] = ()
    """Entries of the state that are about the whole optimizer."""

    optimizers: list[Optimizer]
    """The optimizers underneath."""

    process_group: Any = None

    def __init__(self, optimizers: Sequence[Optimizer], own: dict[str, Any], process_group: Any = None) -> None:
        check_process_group(process_group)
        self.process_group = zero_redundancy_group() or process_group
        if process_group is not None:
            for each in underneath(optimizers):
                if isinstance(each, BaseOptimizer | Wrapper):
                    each.process_group = each.process_group or process_group
        if any(isinstance(each, type(self)) for each in underneath(optimizers)):
            name = type(self).__name__
            raise TypeError(f"{name} cannot go over another {name}: their options have the same names")
        first, *others = optimizers
        defaults = {key: value for each in (*others, first) for key, value in each.defaults.items()} | own
        self.__setstate__({"defaults": defaults, "optimizers": [first, *others]})
        self.param_groups, self.state = first.param_groups, first.state
        for group in self.param_groups:
            group.update({key: value for key, value in own.items() if key not in group})
            self._check_group(group)

    @abstractmethod
    def check_options(self, group: dict[str, Any]) -> None:
        """Raise ValueError if an option of the wrapper is out of range."""

    @property
    def needs_closure(self) -> bool:
        """Whether ``step`` must be given a closure."""
        return any(needs_closure(each) for each in self.optimizers)

    @property
    def base(self) -> Optimizer:
        """The optimizer that does the steps."""
        return self.optimizers[0]

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups: the same dicts in all optimizers underneath."""
        return self.optimizers[0].param_groups

    @param_groups.setter
    def param_groups(self, groups: list[dict[str, Any]]) -> None:
        for optimizer in self.optimizers:
            optimizer.param_groups = list(groups)

    @property
    def state(self) -> Any:
        """The state: the same dict in all optimizers underneath."""
        return self.optimizers[0].state

    @state.setter
    def state(self, state: Any) -> None:
        for optimizer in self.optimizers:
            optimizer.state = state

    @property
    def shared_state(self) -> dict[str, Any]:
        """Numbers of the whole optimizer; see ``BaseOptimizer.shared_state``."""
        return shared_state(self, self.shared_numbers)

    def has_gradient(self) -> bool:
        """Whether any parameter has a gradient, on any rank: without, this is no step."""
        return has_gradient_anywhere(self, self.process_group)

    @contextmanager
    def own_state_aside(self) -> Iterator[None]:
        """Take the wrapper's own entries out of the state, and put them back."""
        aside = {
            param: {key: state.pop(key) for key in self.own_state if key in state}
            for param, state in self.state.items()
        }
        try:
            yield
        finally:
            for param, entries in aside.items():
                self.state[param].update(entries)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters to all optimizers underneath, each of which checks it."""
        before = self.param_groups
        group = self.defaults | param_group
        self.param_groups = before
        try:
            for optimizer in self.optimizers:
                optimizer.add_param_group(group)
            self._check_group(group)
        except (TypeError, ValueError):
            self.param_groups = before
            raise

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Load a state into all optimizers underneath; the wrapper's own tensors keep their precision."""
        for pre_hook in self._optimizer_load_state_dict_pre_hooks.values():
            state_dict = pre_hook(self, state_dict) or state_dict
        state_dict = with_past_options(with_numbers(state_dict))
        groups = state_dict["param_groups"]
        if any(group.keys().isdisjoint(self.own_options) for group in groups):
            raise ValueError(
                f"the state is not one of {type(self).__name__}: its groups have no '{next(iter(self.own_options))}'"
            )
        if len(groups) == len(self.param_groups):  # options that an older state has not stay as they are
            pairs = zip(groups, self.param_groups, strict=True)
            kept = [
                {key: value for key, value in own.items() if key not in ("params", "param_names")} for _, own in pairs
            ]
            groups = [own | group for own, group in zip(kept, groups, strict=True)]
            state_dict = state_dict | {"param_groups": groups}
        saved = state_dict["state"]
        loader = self.loader(saved)
        groups = self.groups_of(loader, state_dict["param_groups"])
        state = {index: entries for index in saved if (entries := self._without_own(saved[index]))}
        loader.load_state_dict(state_dict | {"param_groups": groups, "state": state})
        self.param_groups, self.state = loader.param_groups, loader.state
        indices = chain.from_iterable(group["params"] for group in state_dict["param_groups"])
        for index, param in zip(indices, self._params(), strict=True):
            for key in self.own_state:
                if key in saved.get(index, {}):
                    self.state[param][key] = _placed(saved[index][key], param)
        for post_hook in self._optimizer_load_state_dict_post_hooks.values():
            post_hook(self)

    def loader(self, state: Mapping[Any, dict[str, Any]]) -> Optimizer:
        """Return the optimizer underneath whose state it is."""
        return self.optimizers[0]

    def groups_of(self, loader: Optimizer, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return saved groups as an optimizer underneath sees them."""
        return groups

    def __getstate__(self) -> dict[str, Any]:
        check_can_be_copied(self)
        # without state underneath, since torch's optimizers look for their own entries in it when they are unpickled
        whole = super().__getstate__()
        self.state = defaultdict(dict)
        try:
            return whole | {"optimizers": [copy(optimizer) for optimizer in self.optimizers]}
        finally:
            self.state = whole["state"]

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({key: state[key] for key in ("defaults", "optimizers") if key in state})
        for key in state.keys() & {"param_groups", "state"}:
            setattr(self, key, state[key])

    def __repr__(self) -> str:
        names = ", ".join(type(optimizer).__name__ for optimizer in self.optimizers)
        return super().__repr__().replace(" (", f" over {names} (", 1)

    def _without_own(self, state: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in state.items() if key not in self.own_state}

    def _params(self) -> Iterator[Tensor]:
        return chain.from_iterable(group["params"] for group in self.param_groups)

    def _check_group(self, group: dict[str, Any]) -> None:
        use_plain_numbers(group)
        check_number(group, "lr")
        self.check_options(group)
        first = self.param_groups[0]
        for name in self.shared_options:
            if group[name] != first[name]:
                raise ValueError(
                    f"{name} must be the same in all groups: {first[name]!r} in the first, got {group[name]!r}"
                )


def maker(base: Base, lr: float | Tensor | None, options: dict[str, Any]) -> Callable[[ParamsT], Optimizer]:
    """Return a function that makes an optimizer from parameters; one that is not given ``lr`` takes its own default.

    Raises
    ------
    InputError
        If a name is unknown.
    TypeError
        If the optimizer has no option of a name.
    """
    cls = find(base)
    known = option_names(cls)
    if known is not None:
        check_known(base_name(base), options, known)
    make = partial(cls, **options) if lr is None else partial(cls, lr=lr, **options)
    is_class = isinstance(cls.func if isinstance(cls, partial) else cls, type)
    return make if is_class else partial(_made, make, base)


def _made(make: Callable[[ParamsT], Optimizer], base: Base, params: ParamsT) -> Optimizer:
    """Return what a function makes, which must be an optimizer."""
    try:
        made = make(params)
    except TypeError as error:
        raise TypeError(f"base must be the name or the class of an optimizer: {base!r} makes none: {error}") from error
    if not isinstance(made, Optimizer):
        raise TypeError(f"base must be the name or the class of an optimizer: {base!r} makes none")
    return made


def underneath(optimizers: Iterable[Optimizer]) -> Iterator[Optimizer]:
    """Yield some optimizers and all that they go over."""
    for optimizer in optimizers:
        yield optimizer
        yield from underneath(getattr(optimizer, "optimizers", ()))


def check_known(name: str, options: Iterable[str], known: set[str]) -> None:
    """Raise TypeError if an option is not known, with the nearest that is."""
    for option in options:
        if option not in known:
            raise TypeError(str(unknown_name(f"option of {name}", option, known)))


def find(base: Base) -> Callable[..., Optimizer]:
    """Return the class behind a name; anything else is returned as it is."""
    found: Callable[..., Optimizer] = lookup(OPTIMIZERS, base) if isinstance(base, str) else base
    is_other = not issubclass(found, Optimizer) if isinstance(found, type) else not callable(found)
    if is_other:
        shown = f"an object of {type(base).__name__}" if isinstance(base, Optimizer) else repr(base)
        raise TypeError(f"base must be the name or the class of an optimizer, got {shown}")
    return found


def base_name(base: Base) -> str:
    """Return what to call a base in a message."""
    if isinstance(base, str):
        return f"'{base}'"
    return getattr(base.func if isinstance(base, partial) else base, "__name__", repr(base))


def option_names(cls: Callable[..., Optimizer]) -> set[str] | None:
    """Return the names of an optimizer's options besides params and lr, or None if it takes any."""
    parameters = inspect.signature(cls).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return None
    return set(parameters) - {"params", "lr"}


def _placed(value: Any, param: Tensor) -> Any:
    """Return a value to keep for a parameter: a tensor as a copy where the parameter is, at least in float32."""
    if not isinstance(value, Tensor):
        return value
    return value.to(device=param.device, dtype=at_least_float32(param.dtype), copy=True)


def check_steps(name: str, value: Any) -> None:
    """Raise ValueError unless a value is a whole number of at least 1."""
    if type(value) is not int or value < 1:
        raise ValueError(f"{name} must be a whole number >= 1, got {value!r}")


def with_grad(closure: Callable[[], float]) -> Callable[[], float]:
    """Return the closure with gradients enabled: ``step`` itself runs without."""
    enabled: Callable[[], float] = torch.enable_grad()(closure)
    return enabled
