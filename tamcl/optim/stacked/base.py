"""What the steps of stacked runs have in common: what they keep, and where the optimizers of the runs keep it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from tamcl.optim.base import TABLES

Rates = Mapping[str, Any]
"""Numbers of each run that follow from its learning rate and the number of the step alone."""


@dataclass
class StackedState:
    """All that an optimizer of R runs knows between two steps."""

    tensors: dict[str, list[Tensor]]
    """What belongs to the numbers of each parameter: (R, n), or (R, slots, n)."""
    numbers: dict[str, Tensor]
    """In float64 or int64, (R, k)."""
    steps: list[int] = field(default_factory=list)
    """How many steps each run has done; one that has not begun has no state."""

    def rows(self, row: int) -> list[Tensor]:
        """Return views of all that there is of a run, but for how many steps it has done."""
        return [each[row] for column in (*self.tensors.values(), [*self.numbers.values()]) for each in column]


class StackedStep(ABC):
    """One step of an optimizer for R runs, as a graph is made of.

    A subclass names what it keeps and does the step on flat tensors (R, n) of each parameter; numbers are (R, 1).

    Parameters
    ----------
    group : dict
        Options of the optimizer, which all runs share.
    """

    tensors: ClassVar[tuple[str, ...]] = ()
    """Entries of the state that are like a parameter; they start from zeros."""

    each: ClassVar[tuple[str, ...]] = ()
    """Numbers that every parameter's state has."""

    shared: tuple[str, ...] = ()
    """Numbers that the state of the first parameter has for all of them."""

    counts: ClassVar[Literal["no", "number", "tensor"]] = "no"
    """As what every parameter's state has the number of steps."""

    def __init__(self, group: Mapping[str, Any]) -> None:
        own = {"params", "lr", "seed"}  # of each run; nothing is drawn
        self.group = {key: value for key, value in group.items() if key not in own}

    @abstractmethod
    def rates(self, steps: Tensor, lr: Tensor) -> dict[str, Tensor]:
        """Return the rates of all steps of a pass at once.

        Parameters
        ----------
        steps : Tensor, (T, R)
            The number of each step of each run, from 1, in float64.
        lr : Tensor, (R,) or (T, R)
            In float64, as what is returned.
        """

    @abstractmethod
    def update(
        self,
        params: list[Tensor],
        grads: list[Tensor],
        state: Mapping[str, list[Tensor]],
        numbers: Mapping[str, Tensor],
        rates: Mapping[str, Tensor],
    ) -> Tensor | None:
        """Do the step, inside of the graph; what is returned comes out of it, for ``after``."""

    def after(self, state: StackedState, found: Tensor, is_first: Tensor) -> None:
        """Do what is better done outside of the graph, with what ``update`` found.

        Parameters
        ----------
        state : StackedState
        found : Tensor
        is_first : Tensor of bool, (R,)
            Whose first step it was.
        """
        raise NotImplementedError  # by a subclass whose update finds anything

    def start(self, params: Sequence[Tensor]) -> StackedState:
        """Return the state of runs that have not begun.

        Parameters
        ----------
        params : sequence of Tensor, (R, n)
        """
        runs, device = len(params[0]), params[0].device
        tensors = {key: [torch.zeros_like(param) for param in params] for key in self.tensors}
        names = *self.each, *self.shared
        numbers = {key: torch.zeros(runs, 1, dtype=torch.float64, device=device) for key in names}
        return StackedState(tensors, numbers, [0] * runs)

    def load(self, state: StackedState, row: int, optimizer: Optimizer) -> None:
        """Put what an optimizer knows in a run's row."""
        params = optimizer.param_groups[0]["params"]
        own = [optimizer.state.get(param, {}) for param in params]
        for view in state.rows(row):
            view.zero_()
        for key in state.tensors:
            for column, entries in zip(state.tensors[key], own, strict=True):
                if entries.get(key) is not None:
                    column[row].copy_(entries[key].reshape(column[row].shape))
        for key, number in state.numbers.items():
            if key in own[0]:
                number[row].copy_(torch.as_tensor(own[0][key], dtype=number.dtype))
        has_begun = any(isinstance(value, Tensor) for value in own[0].values())
        state.steps[row] = int(own[0].get("step", has_begun))

    def show(self, state: StackedState, row: int, optimizer: Optimizer) -> None:
        """Let an optimizer's state say what is in a run's row: tensors are views of it."""
        if not state.steps[row]:
            return
        numbers = {key: _plain(key, number[row]) for key, number in state.numbers.items()}
        for place, param in enumerate(optimizer.param_groups[0]["params"]):
            own = optimizer.state[param]
            for key, columns in state.tensors.items():
                column = columns[place][row]
                own[key] = column.view(*column.shape[:-1], *param.shape)
            own.update({key: numbers[key] for key in (*self.each, *(self.shared if place == 0 else ()))})
            if self.counts != "no":
                own["step"] = _count(state.steps[row], own.get("step"), self.counts == "tensor")


def _plain(key: str, number: Tensor) -> Any:
    """Return a number as Python's, and a table as a tensor of its own on the CPU."""
    return number.to("cpu", copy=True) if key in TABLES else number.item()


def _count(steps: int, before: Any, is_tensor: bool) -> Any:
    if not is_tensor:
        return steps
    return torch.full_like(before, steps) if isinstance(before, Tensor) else torch.tensor(float(steps))


def decayed(params: list[Tensor], grads: list[Tensor], weight_decay: float) -> list[Tensor]:
    """Return gradients with coupled weight decay."""
    if not weight_decay:
        return grads
    return [grad + weight_decay * param for param, grad in zip(params, grads, strict=True)]


def shrink(params: list[Tensor], rates: Mapping[str, Tensor]) -> None:
    """Apply decoupled weight decay, if there is a rate of it."""
    if "kept" in rates:
        for param in params:
            param.mul_(rates["kept"])
