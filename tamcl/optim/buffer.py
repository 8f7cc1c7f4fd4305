"""A small buffer of past gradients or momenta, ranked by the size of the gradient that they came with."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Collection, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from tamcl.optim.base import (
    CPU,
    BaseOptimizer,
    Batch,
    at_least_float32,
    check_choice,
    check_count,
    check_number,
    norms,
    squares,
)
from tamcl.optim.draws import draw
from tamcl.optim.sharing import Ranks, local, slots_like

Variant = Literal["official", "paper"]
Replacement = Literal["priority", "fifo", "random"]


class BufferOptimizer(BaseOptimizer):
    """An optimizer that remembers a few past steps: it ranks them, and a subclass says what they do.

    There is one table of priorities for all parameters, so that a slot holds the same step everywhere. The buffer of a
    parameter starts when its first gradient comes, with zeros for the steps before; a parameter without gradient stores
    zeros in that step's slot.
    """

    shared_options = ("capacity", "decay", "variant", "replacement", "seed")

    parts: Sequence[Tensor] = ()
    """The gradients whose norms count, if several were joined in that of the one parameter that there is."""

    can_be_joined = True

    def check_options(self, group: dict[str, Any]) -> None:
        """Raise ValueError if an option of the buffer is out of range."""
        check_count(group, "capacity")
        check_number(group, "decay", high=1, closed=True)
        check_choice(group, "variant", get_args(Variant))
        check_choice(group, "replacement", get_args(Replacement))
        check_count(group, "seed")
        floating_dtype(group["buffer_dtype"], torch.float32)

    def state_dtype(self, key: str, param: Tensor, group: dict[str, Any]) -> torch.dtype:
        """Return the precision of a state tensor; the buffer has its own."""
        dtype = super().state_dtype(key, param, group)
        return floating_dtype(group["buffer_dtype"], dtype) if key == "buffer" else dtype

    def initialize(self, state: dict[str, Any], param: Tensor, group: dict[str, Any]) -> None:
        """Start from an empty buffer and from zeros in what ``zeros`` names."""
        if "step" not in state:
            state["step"] = 0
        if "buffer" not in state:
            piece, dtype = local(param), self.state_dtype("buffer", param, group)
            slots = torch.zeros((group["capacity"], *piece.shape), dtype=dtype, device=piece.device)
            state["buffer"] = slots_like(param, slots)
        for key in self.zeros(group):
            if key not in state:
                state[key] = torch.zeros_like(param, dtype=at_least_float32(param.dtype))

    @abstractmethod
    def zeros(self, group: dict[str, Any]) -> list[str]:
        """Return the names of the state tensors, besides the buffer, that start from zeros."""

    @abstractmethod
    def update_group(self, batch: Batch, filled: int, slot: int | None) -> None:
        """Do one step of a group: ``filled`` slots are full, and what is remembered goes to ``slot``, if any."""

    @property
    def shared_numbers(self) -> Collection[str]:
        """The entries of the state that are about the whole optimizer."""
        return ("priorities", "ages", "stored", "draws")

    def update(self, batches: list[Batch], ranks: Ranks | None) -> None:
        """Rank the step, do it, and note it in the table."""
        group, table = self.param_groups[0], self.shared_state
        self.check_capacity(batches)
        lengths, priority = self._measure(batches, ranks, is_known="ages" in table)
        if priority is None:
            return
        self._start_table(table, CPU)
        in_table = table["priorities"].numpy(), table["ages"].numpy()  # of one memory, and written much faster
        priorities, ages = (numbers.tolist() for numbers in in_table)
        filled = sum(age > 0 for age in ages)
        slot = self._slot(priority, priorities[:filled], ages[:filled], table)
        for batch in batches:
            for state in batch.states:
                state["step"] += 1
            self.update_group(batch, filled, slot)
        if slot is not None:
            self._store_zeros(slot)
            filled = max(filled, slot + 1)
            priorities[slot], ages[slot] = priority, 0
        self.note_lengths(batches, lengths, slot, table)
        in_table[0][:] = [group["decay"] * value for value in priorities]
        in_table[1][:filled] = [age + 1 for age in ages[:filled]]

    def _start_table(self, table: dict[str, Any], device: torch.device) -> None:
        """Make the table of all slots, of which those of age 0 are empty: it is of one size from the first step on."""
        if "ages" not in table:
            capacity = self.param_groups[0]["capacity"]
            table["priorities"] = torch.zeros(capacity, dtype=torch.float64, device=device)
            table["ages"] = torch.zeros(capacity, dtype=torch.int64, device=device)
            table["draws"] = 0

    def _measure(self, batches: list[Batch], ranks: Ranks | None, is_known: bool) -> tuple[list[float], float | None]:
        """Return the norm of each gradient and the priority of the step, or None if there is no gradient anywhere."""
        grads, is_official = [grad for batch in batches for grad in batch.grads], self._is_official
        if ranks is None:
            lengths = norms([*self.parts] or grads)
            of_parameters = [math.hypot(*lengths)] if self.parts else lengths
            return of_parameters, sum(lengths) if is_official else math.hypot(*lengths)
        if is_official:
            ranks.check_tensors("variant='official'", "variant='paper'")
        found = ranks.add_up(squares(grads), [is_known])
        if not found.gradients:
            return [], None
        return found.of_each.sqrt().flatten().tolist(), found.lengths if is_official else math.sqrt(found.of_all)

    @property
    def _is_official(self) -> bool:
        return bool(self.param_groups[0]["variant"] == "official")

    def check_capacity(self, batches: list[Batch]) -> None:
        """Raise ValueError if the capacity is no longer that of the buffer."""
        capacity = self.param_groups[0]["capacity"]
        for batch in batches[:1]:
            slots = len(batch.states[0]["buffer"])
            if slots != capacity:
                raise ValueError(
                    f"capacity cannot change while there is a buffer: it has {slots} slots, got {capacity}"
                )

    def note_lengths(self, batches: list[Batch], lengths: list[float], slot: int | None, table: dict[str, Any]) -> None:
        """Take note of the norms of all gradients, in the order of the batches, after a step that stored in a slot."""

    def _slot(self, priority: float, priorities: list[float], ages: list[int], table: dict[str, Any]) -> int | None:
        group = self.param_groups[0]
        capacity, filled = group["capacity"], len(ages)
        if filled < capacity:
            return filled
        if group["replacement"] == "priority" or not capacity:
            return replaced_slot(priorities, ages, priority, capacity)
        if group["replacement"] == "fifo":
            return int(max(range(capacity), key=ages.__getitem__))
        table["draws"] = table.get("draws", 0) + 1
        return draw(group["seed"], table["draws"], capacity)

    def _gather(self, group: dict[str, Any]) -> Batch:
        # gradients without weight decay: it is they that are ranked, and mostly they that are remembered
        return super()._gather(group | {"weight_decay": 0.0})._replace(group=group)

    def _store_zeros(self, slot: int) -> None:
        """Clear the slot of parameters without gradient, so that a slot holds one step everywhere."""
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is None and "buffer" in self.state.get(param, {}):
                    local(self.state[param]["buffer"])[slot].zero_()


def replaced_slot(priorities: list[float], ages: list[int], priority: float, capacity: int) -> int | None:
    """Return the slot that a step of this priority goes to, or None if it is not kept.

    Examples
    --------
    >>> replaced_slot([2.0, 1.0], [2, 1], 0.5, capacity=3)
    2
    >>> replaced_slot([2.0, 1.0, 1.0], [3, 1, 2], 1.5, capacity=3)
    2
    >>> replaced_slot([2.0, 1.0, 1.0], [3, 1, 2], 1.0, capacity=3) is None
    True
    """
    if len(priorities) < capacity:
        return len(priorities)
    lowest = min(range(capacity), key=lambda slot: (priorities[slot], -ages[slot]), default=None)
    return lowest if lowest is not None and priority > priorities[lowest] else None


def mean_of_slots(buffers: list[Tensor], filled: int, like: list[Tensor]) -> list[Tensor]:
    """Return the mean of the full slots of each buffer, in the precision of another list of tensors."""
    return [torch.mean(buffer[:filled], 0, dtype=x.dtype) for buffer, x in zip(buffers, like, strict=True)]


def remember(buffers: list[Tensor], slot: int | None, values: list[Tensor]) -> None:
    """Put values in a slot of each buffer, if there is one for them."""
    if slot is not None:
        torch._foreach_copy_([buffer[slot] for buffer in buffers], values)


def floating_dtype(name: str | torch.dtype | None, default: torch.dtype) -> torch.dtype:
    """Return a type of floating-point numbers by its name, or the default if there is none."""
    dtype = default if name is None else getattr(torch, name, None) if isinstance(name, str) else name
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ValueError(f"buffer_dtype must be a floating-point type such as 'bfloat16', got {name!r}")
    return dtype
