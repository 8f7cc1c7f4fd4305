"""What the entries of an optimizer's state are, so that a part can begin anew: at a shift, or of single weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adagrad, Adam, AdamW, NAdam, Optimizer, RAdam, RMSprop

from tamcl.optim.base import TABLES, BaseOptimizer
from tamcl.optim.wrapper import Wrapper, underneath

CLOCKS: dict[type[Optimizer], tuple[str, ...]] = {
    SGD: (),
    Adam: ("step",),
    AdamW: ("step",),
    NAdam: ("step", "mu_product"),
    RAdam: ("step",),
    RMSprop: (),  # it counts, and does not use it
    Adagrad: ("step",),
}
"""torch's optimizers whose state is known, and what of it counts steps, where updates depend on the number."""

COUNTS = ("step", "draws")
"""Entries that count whatever the optimizer."""

WEIGHTS = frozenset({"slow", "z"})
"""Entries that are weights themselves: Lookahead's, and those of the averages that are tested."""


def why_not_known(optimizer: Optimizer) -> str:
    """Return, in a phrase, why it is not known what an optimizer's state means; nothing if it is.

    Examples
    --------
    >>> weights = [torch.nn.Parameter(torch.zeros(2))]
    >>> why_not_known(SGD(weights)), why_not_known(torch.optim.Adamax(weights))
    ('', 'it is not known what the state of Adamax means')
    """
    for each in underneath([optimizer]):
        is_ours = isinstance(each, BaseOptimizer | Wrapper) and type(each).__module__.startswith("tamcl.optim.")
        if type(each) not in CLOCKS and not is_ours:
            return f"it is not known what the state of {type(each).__name__} means"
    return ""


def why_no_clock(optimizer: Optimizer) -> str:
    """Return, in a phrase, why an optimizer's count of steps cannot begin anew; nothing if it can.

    Examples
    --------
    >>> why_no_clock(SGD([torch.nn.Parameter(torch.zeros(2))]))
    'SGD has no count of steps that its updates depend on; "keep" is the same'
    """
    if why := why_not_known(optimizer):
        return why
    if any(_clock(each) for each in underneath([optimizer])):
        return ""
    return f'{type(_stepping(optimizer)).__name__} has no count of steps that its updates depend on; "keep" is the same'


def why_no_moments(optimizer: Optimizer) -> str:
    """Return, in a phrase, why an optimizer's running averages cannot begin anew; nothing if they can.

    Examples
    --------
    >>> why_no_moments(SGD([torch.nn.Parameter(torch.zeros(2))]))
    'SGD without momentum keeps nothing; "keep" is the same'
    """
    if why := why_not_known(optimizer):
        return why
    if all(type(each) is SGD and not each.defaults["momentum"] for each in _leaves(optimizer)):
        return 'SGD without momentum keeps nothing; "keep" is the same'
    return ""


@torch.no_grad()
def reset_moments(optimizer: Optimizer) -> None:
    """Let what an optimizer has averaged over gradients be as before its first step, but for the counts of steps.

    Weights in its state, what it has learnt of weights, and what optimizers over others add, stay.

    Examples
    --------
    >>> weight = torch.nn.Parameter(torch.zeros(1))
    >>> optimizer = Adam([weight])
    >>> weight.grad = torch.ones(1)
    >>> optimizer.step()
    >>> reset_moments(optimizer)
    >>> {key: value.item() for key, value in optimizer.state[weight].items()}
    {'step': 1.0, 'exp_avg': 0.0, 'exp_avg_sq': 0.0}
    """
    base = _stepping(optimizer)
    kept = {*_clock(base), *_kept_by(optimizer), *COUNTS}
    for group, param in _params(optimizer):
        state = optimizer.state.get(param, {})
        for key in [key for key in state if key not in kept]:
            if isinstance(base, BaseOptimizer) or type(base) is SGD:
                del state[key]  # each makes what it lacks
            elif isinstance(state[key], Tensor):  # another one: whoever holds the state of before keeps it
                state[key] = torch.full_like(state[key], _initial(key, group))


@torch.no_grad()
def reset_clock(optimizer: Optimizer) -> None:
    """Let an optimizer's counts of steps be as before its first step; all else stays.

    Examples
    --------
    >>> weight = torch.nn.Parameter(torch.zeros(1))
    >>> optimizer = Adam([weight])
    >>> weight.grad = torch.ones(1)
    >>> optimizer.step()
    >>> reset_clock(optimizer)
    >>> optimizer.state[weight]["step"].item(), round(optimizer.state[weight]["exp_avg"].item(), 3)
    (0.0, 0.1)
    """
    clock = _clock(_stepping(optimizer))
    for _, param in _params(optimizer):
        state = optimizer.state.get(param, {})
        for key in clock:
            begin = 1 if key == "mu_product" else 0
            if key in state:
                value = state[key]
                state[key] = torch.full_like(value, begin) if isinstance(value, Tensor) else type(value)(begin)


@torch.no_grad()
def forget(optimizer: Optimizer, param: Tensor, where: Any) -> None:
    """Let an optimizer know of some numbers of a parameter, which were given new values, no more than of new ones.

    What it has of each of them is as before the first step; weights in its state become the new values. What it has of
    the whole tensor, such as its count of steps, stays.

    Parameters
    ----------
    optimizer : Optimizer
        One of which ``why_not_known`` says nothing.
    param : Tensor
    where : index
        As in ``param[where]``.

    Examples
    --------
    >>> weight = torch.nn.Parameter(torch.zeros(2, 2))
    >>> optimizer = SGD([weight], momentum=0.9)
    >>> weight.grad = torch.ones(2, 2)
    >>> optimizer.step()
    >>> forget(optimizer, weight, (slice(None), 0))
    >>> optimizer.state[weight]["momentum_buffer"]
    tensor([[0., 1.],
            [0., 1.]])
    """
    group = next(group for group, each in _params(optimizer) if each is param)
    index = where if isinstance(where, tuple) else (where,)
    for key, value in optimizer.state.get(param, {}).items():
        is_of_each = isinstance(value, Tensor) and key not in TABLES and value.shape[-param.dim() :] == param.shape
        if is_of_each:
            new = param.detach()[index].to(value.dtype) if key in WEIGHTS else _initial(key, group)
            value[index if value.dim() == param.dim() else (slice(None), *index)] = new  # a buffer has slots first


def _initial(key: str, group: dict[str, Any]) -> float:
    """Return what an entry of a state starts from."""
    return float(group.get({"sum": "initial_accumulator_value", "log_decay": "initial_log_decay"}.get(key, ""), 0.0))


def _stepping(optimizer: Any) -> Optimizer:
    """Return the optimizer whose state it is."""
    while isinstance(optimizer, Wrapper):
        optimizer = optimizer.base
    return optimizer  # type: ignore[no-any-return]


def _leaves(optimizer: Optimizer) -> list[Optimizer]:
    return [each for each in underneath([optimizer]) if not isinstance(each, Wrapper)]


def _clock(optimizer: Optimizer) -> tuple[str, ...]:
    if isinstance(optimizer, Adagrad):
        return CLOCKS[Adagrad] if optimizer.defaults["lr_decay"] else ()
    return optimizer.clock if isinstance(optimizer, BaseOptimizer) else CLOCKS.get(type(optimizer), ())


def _kept_by(optimizer: Any) -> Iterator[str]:
    """Yield the entries that are no running averages: what wrappers add, and what an optimizer has learnt."""
    yield from WEIGHTS
    for each in underneath([optimizer]):
        yield from getattr(each, "own_state", ()) if isinstance(each, Wrapper) else getattr(each, "learnt", ())


def _params(optimizer: Optimizer) -> Iterator[tuple[dict[str, Any], Tensor]]:
    for group in optimizer.param_groups:
        for param in group["params"]:
            yield group, param
