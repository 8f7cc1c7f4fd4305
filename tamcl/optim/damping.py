"""From the cosine to the damping: the paper's function, others to compare with, and null models of its timing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from tamcl.optim.base import check_choice, check_count
from tamcl.optim.draws import draw

DampingFunction = Literal["linear", "quadratic", "reversed"]
Timing = Literal["average", "shuffled"]

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "linear": lambda s: (1 + s) / 2,
    "quadratic": lambda s: ((1 + s) / 2) ** 2,
    "reversed": lambda s: (1 - s) / 2,
}
"""The damping of a smoothed cosine, of a number or a tensor."""

NUMBERS = ("damping_step", "past_dampings")
"""What the null models keep in a state."""

MEMORY = 1000
"""From how many of the last dampings ``"shuffled"`` draws."""


def damping(state: dict[str, Any], smoothed_cosine: Any, group: dict[str, Any]) -> Any:
    """Return the damping that follows from a smoothed cosine, by a group's options.

    Parameters
    ----------
    state : dict
        Where the null models keep what they need: ``damping`` and ``damping_step``, and ``past_dampings``.
    smoothed_cosine : float or Tensor
    group : dict
        Options ``damping``, ``damping_function`` and ``seed``; those that are missing count as the paper's.

    Examples
    --------
    >>> damping({}, 0.5, {"damping_function": "quadratic"})
    0.5625
    >>> state = {}
    >>> for s in (0.0, 1.0, -1.0):
    ...     state["damping"] = damping(state, s, {"damping": "average"})
    ...     print(state["damping"], end=" ")
    0.5 0.75 0.5
    """
    present = FUNCTIONS[group.get("damping_function", "linear")](smoothed_cosine)
    timing = group.get("damping")
    if timing is None:
        return present
    step = state["damping_step"] = state.get("damping_step", 0) + 1
    if timing == "average":
        average = state.get("damping", 0.0)
        return average + (present - average) / step
    past = state.setdefault("past_dampings", no_dampings())
    past[(step - 1) % MEMORY] = present
    return float(past[draw(group["seed"], step, min(step, MEMORY))])


def begin_damping(state: dict[str, Any], group: dict[str, Any]) -> None:
    """Make what the null models keep, of no step so far: a checkpoint loads what is there."""
    if isinstance(group.get("damping"), str):
        state["damping_step"] = 0
    if group.get("damping") == "shuffled":
        state["past_dampings"] = no_dampings()


def no_dampings() -> Tensor:
    """Return room for the last dampings."""
    return torch.zeros(MEMORY, dtype=torch.float64)


def check_damping(group: dict[str, Any]) -> None:
    """Raise ValueError if an option of the damping is out of range."""
    held = group["damping"]
    is_number = isinstance(held, float | int) and not isinstance(held, bool) and 0 <= held <= 1
    if held is not None and not is_number and held not in get_args(Timing):
        raise ValueError(f"damping must be a number in [0, 1], 'average' or 'shuffled', got {held!r}")
    if isinstance(held, str) and group.get("capturable"):
        raise ValueError(f"damping={held!r} is not capturable: it counts steps outside the graph")
    check_choice(group, "damping_function", get_args(DampingFunction))
    check_count(group, "seed")
