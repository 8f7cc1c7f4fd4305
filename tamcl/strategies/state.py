"""What changes in a model and in an optimizer as they train, as tensors and plain values, and how it is taken over.

*Plain* are None, numbers, texts, bytes, and lists, tuples, sets and dicts of plain values, tensors and arrays. Whoever
takes a state over was made in the same way as whom it is of, so what never changes need not be in it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tamcl.optim.wrapper import underneath

State = dict[str, Any]


class NotSaved(TypeError):
    """Something is no tensor and not plain, or would not be the same when it is taken over."""


def model_state(model: nn.Module) -> State:
    """Return ``state_dict`` of a model, the buffers that this leaves out, and the numbers and texts of its modules.

    Raises
    ------
    NotSaved
        If a module keeps a tensor that is neither a parameter nor a buffer.
    """
    saved, plain = dict(model.state_dict()), {}
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            if key not in ("_parameters", "_buffers") and any(type(each) is Tensor for each in _members(value)):
                raise NotSaved(f"{type(module).__name__}.{key} holds a tensor that is no buffer")
        plain[name] = {key: value for key, value in vars(module).items() if type(value) in _CONSTANT}
    buffers = {name: buffer for name, buffer in model.named_buffers() if name not in saved}
    return {"saved": saved, "buffers": buffers, "plain": plain}


_CONSTANT = {bool, int, float, str, type(None)}


@torch.no_grad()
def load_model_state(model: nn.Module, state: State) -> None:
    """Take over what ``model_state`` returned of a model of the same kind."""
    model.load_state_dict(state["saved"])
    for name, buffer in state["buffers"].items():
        model.get_buffer(name).copy_(buffer)
    for name, module in model.named_modules():
        vars(module).update(state["plain"][name])


def optimizer_state(optimizer: Optimizer) -> State:
    """Return ``state_dict`` of an optimizer and, of somebody's own, its attributes.

    An attribute may be a plain value, a parameter or a list of some, or a generator.

    Raises
    ------
    NotSaved
        If it keeps addresses of parameters, or tensors that share memory: they would be others, or by themselves, in
        the one that takes them over.
    """
    owns = own_parts(optimizer)
    state = optimizer.state_dict()
    attributes = [_attributes(each) for each in owns]
    if owns:
        params = _params(optimizer)
        if _mentions([*optimizer.state, attributes], {id(param) for param in params}):
            raise NotSaved(f"{type(optimizer).__name__} keeps addresses of parameters")
        check_apart([state["state"], attributes], params)
    return {"saved": state, "attributes": attributes}


def load_optimizer_state(optimizer: Optimizer, state: State) -> None:
    """Take over what ``optimizer_state`` returned of an optimizer of the same kind."""
    optimizer.load_state_dict(state["saved"])
    owns = own_parts(optimizer)
    if owns:
        _undo_casts(optimizer, state["saved"])
    for each, attributes in zip(owns, state["attributes"], strict=True):
        _load_attributes(each, attributes)


def intervention_state(intervention: Any) -> State:
    """Return ``state_dict`` of an intervention.

    Raises
    ------
    NotSaved
        If it is somebody's own and does not say what it keeps.
    """
    cls = type(intervention)
    if not cls.__module__.startswith("tamcl.") and vars(cls).keys().isdisjoint({"kept", "state_dict"}):
        raise NotSaved(f"{cls.__name__} has no attribute 'kept', which says what changes in it")
    return dict(intervention.state_dict())


def own_parts(optimizer: Optimizer) -> list[Optimizer]:
    """Return what is somebody's own of an optimizer and those that it goes over: neither torch's nor tamcl's."""
    known = ("tamcl.optim.", "torch.optim.")
    return [each for each in underneath([optimizer]) if not type(each).__module__.startswith(known)]


def check_apart(state: Any, others: Any, *, also_within: bool = True) -> None:
    """Raise ``NotSaved`` if tensors of a state share memory with others, or with each other."""
    own, theirs = _memory(state), _memory(others)
    if not {*theirs}.isdisjoint(own) or (also_within and len({*own}) < len(own)):
        raise NotSaved("it keeps tensors that share memory")


def _memory(values: Any) -> list[int]:
    return [tensor.untyped_storage().data_ptr() for tensor in tensors_in(values) if tensor.numel()]


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield every tensor in nested plain values."""
    if isinstance(value, Tensor):
        yield value
    else:
        yield from chain.from_iterable(map(tensors_in, _members(value)))


def _members(value: Any) -> Iterable[Any]:
    """Return what a container holds, keys included; a tensor holds itself."""
    if isinstance(value, Mapping):
        return chain(value.keys(), value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return value
    return [value] if isinstance(value, Tensor) else []


def _mentions(value: Any, numbers: Collection[int]) -> bool:
    """Whether one of some whole numbers is anywhere in nested plain values."""
    if isinstance(value, int):
        return value in numbers
    return not isinstance(value, Tensor) and any(_mentions(each, numbers) for each in _members(value))


def _params(optimizer: Optimizer) -> list[Tensor]:
    return [param for group in optimizer.param_groups for param in group["params"]]


@cache
def _standard() -> Collection[str]:
    """Return the attributes that every optimizer has, and that of a wrapper, whose parts are asked by themselves."""
    return {*vars(Optimizer([nn.Parameter(torch.zeros(()))], {})), "optimizers"}


def _attributes(optimizer: Optimizer) -> State:
    if any(vars(cls).get("__slots__") for cls in type(optimizer).__mro__):
        raise NotSaved(f"{type(optimizer).__name__} has slots")
    places = {id(param): place for place, param in enumerate(_params(optimizer))}
    own = {name: value for name, value in vars(optimizer).items() if name not in _standard()}
    return {name: _attribute(own[name], places) for name in sorted(own)}


def _attribute(value: Any, places: Mapping[int, int]) -> State:
    """Return an attribute with its kind: of parameters, which the other optimizer has its own of, their places."""
    if isinstance(value, torch.Generator):
        return {"generator": value.get_state()}
    if isinstance(value, np.random.Generator):
        return {"numpy": value.bit_generator.state}
    if id(value) in places:
        return {"parameter": places[id(value)]}
    if isinstance(value, list) and value and all(id(each) in places for each in value):
        return {"parameters": [places[id(each)] for each in value]}
    return {"value": value}


def _load_attributes(optimizer: Optimizer, attributes: State) -> None:
    params = _params(optimizer)
    for name, held in attributes.items():
        ((kind, value),) = held.items()
        if kind == "generator":
            getattr(optimizer, name).set_state(value)
        elif kind == "numpy":
            getattr(optimizer, name).bit_generator.state = value
        elif kind == "parameter":
            setattr(optimizer, name, params[value])
        elif kind == "parameters":
            setattr(optimizer, name, [params[place] for place in value])
        else:
            setattr(optimizer, name, value)


def _undo_casts(optimizer: Optimizer, saved: Mapping[str, Any]) -> None:
    """Give tensors of the state their own precision again, where torch has rounded them to the parameter's."""
    places = chain.from_iterable(group["params"] for group in saved["param_groups"])
    for place, param in zip(places, _params(optimizer), strict=True):
        state = optimizer.state.get(param, {})
        for key, value in saved["state"].get(place, {}).items():
            if isinstance(value, Tensor) and isinstance(state.get(key), Tensor) and state[key].dtype != value.dtype:
                state[key] = value.to(state[key].device, copy=True)


@torch.no_grad()
def copy_each(tensors: Iterable[Tensor], values: Iterable[Tensor]) -> None:
    """Copy values into tensors, of the same shapes."""
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)
