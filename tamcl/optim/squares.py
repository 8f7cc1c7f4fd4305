"""Squares of momenta that are kept from one step to the next, and whether they still hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

MOMENTA = "momentum_buffer", "exp_avg"
"""Tensors of the state that may be a momentum."""

VERSIONS: Any = WeakTensorKeyDictionary()
"""Of every momentum whose square is kept, its version when the square was right.

A change in place raises the version, but for that of a fused kernel, and a momentum that was put in place of another is
not known here.
"""


def trust(states: Mapping[Any, dict[str, Any]] | Iterable[dict[str, Any]]) -> None:
    """Take the squares that are kept in some states for those of the momenta beside them."""
    for state in states.values() if isinstance(states, Mapping) else states:
        if "momentum_square" in state:
            momentum = momentum_of(state)
            VERSIONS[momentum] = momentum._version


def forget_changed(states: Mapping[Any, dict[str, Any]]) -> None:
    """Drop the squares of momenta that were changed since the last step, before they are saved or copied."""
    for state in states.values():
        if "momentum_square" in state and is_changed(momentum_of(state)):
            state["momentum_square"] = torch.zeros_like(state["momentum_square"])


def is_changed(momentum: Tensor) -> bool:
    """Whether somebody else wrote to a momentum since its square was kept, or put it there."""
    return bool(VERSIONS.get(momentum) != momentum._version)


def momentum_of(state: dict[str, Any]) -> Tensor:
    """Return the momentum of a state."""
    momentum: Tensor = next(state[key] for key in MOMENTA if key in state)
    return momentum
