"""What is in a buffer of critical momenta or gradients.

Read from the optimizer's state: ``ages`` (in steps, 1 for what this update put in) and ``priorities`` of the slots,
which stand in the state of the first trained parameter and are about the whole optimizer; and ``buffer`` of every
parameter, slots along its first axis and the filled ones first. ``capacity`` is an option. A slot of age 0 is empty.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from tamcl.diagnostics.diagnostic import Diagnostic, Row, cosines
from tamcl.diagnostics.update import MOMENTA, Update, home


class BufferOccupancy(Diagnostic):
    """Share of the buffer's slots that are filled."""

    def measure(self, update: Update) -> Iterable[Row]:
        """Return the share."""
        capacity = update.optimizer.param_groups[0].get("capacity")
        ages = filled_slots(update.optimizer, "ages")
        return [("", len(ages) / capacity)] if ages is not None and capacity else []


class BufferAge(Diagnostic):
    """Mean age of what is in the buffer, in steps; 1 is what this update put in."""

    def measure(self, update: Update) -> Iterable[Row]:
        """Return the mean."""
        return _mean(update, "ages")


class BufferPriority(Diagnostic):
    """Mean priority of what is in the buffer, decayed as it is after the update."""

    def measure(self, update: Update) -> Iterable[Row]:
        """Return the mean."""
        return _mean(update, "priorities")


class BufferAccepted(Diagnostic):
    """Share of the updates since the last measurement, this one included, that put something in the buffer.

    The only diagnostic that looks at every update, measured or not.
    """

    def __init__(self) -> None:
        self._accepted: Any = 0
        self._updates = 0

    def observe(self, strategy: Any) -> None:
        """Count an update: it put something in if that is 1 step old."""
        ages = _entry(strategy.optimizer, "ages")
        if ages is not None:
            self._accepted += (ages == 1).any() if isinstance(ages, Tensor) else 1 in ages
            self._updates += 1

    def measure(self, update: Update) -> Iterable[Row]:
        """Return the share and count anew."""
        rows = [("", self._accepted / self._updates)] if self._updates else []
        self._accepted = self._updates = 0
        return rows


class BufferCosine(Diagnostic):
    """Cosine of the buffer's mean before the update and the momentum after it.

    These are the two that critical momenta add up: at 1 the buffer adds only length, and below it turns the update. Of
    all tensors together and of each.
    """

    def prepare(self, update: Update) -> None:
        """Take the mean: the update may put something in."""
        ages = filled_slots(update.optimizer, "ages")
        filled = 0 if ages is None else len(ages)
        buffers = update.tensors("buffer") if filled else {}
        self._means = {name: buffer[:filled].mean(0, dtype=torch.float64) for name, buffer in buffers.items()}

    def measure(self, update: Update) -> Iterable[Row]:
        """Return the cosines."""
        momenta = update.tensors(*MOMENTA)
        return cosines({name: (mean, momenta[name]) for name, mean in self._means.items() if name in momenta}).items()


def filled_slots(optimizer: Any, key: str) -> Tensor | None:
    """Return a number for each filled slot, or None for an optimizer without a buffer; a slot of age 0 is empty."""
    found, ages = _entry(optimizer, key), _entry(optimizer, "ages")
    if found is None or ages is None:
        return None
    return torch.as_tensor(found, dtype=torch.float64)[torch.as_tensor(ages, dtype=torch.float64) > 0]


def _mean(update: Update, key: str) -> Iterable[Row]:
    numbers = filled_slots(update.optimizer, key)
    return [("", numbers.mean())] if numbers is not None and len(numbers) else []


def _entry(optimizer: Any, key: str) -> Any:
    return optimizer.state.get(home(optimizer), {}).get(key)
