"""What a diagnostic is: one quantity, measured around an update."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from tamcl.diagnostics.update import Update

Row = tuple[str, float | Tensor]
"""What a value is about, and the value, a number or a tensor of one: "" for the whole, or the name of a part."""


class Diagnostic(ABC):
    """One quantity that is measured around an update, without changing anything.

    Only ``measure`` has to be written. A model or an optimizer that lacks what is measured gives no rows. Options are
    arguments of ``__init__``.

    Examples
    --------
    The largest weight, in the whole model and in each tensor:

    >>> class LargestWeight(Diagnostic):
    ...     def measure(self, update):
    ...         rows = [(name, weight.abs().max()) for name, weight in update.model.named_parameters()]
    ...         return [("", max(value for _, value in rows)), *rows]
    """

    def observe(self, strategy: Any) -> None:  # noqa: B027 - most diagnostics need not look at every update
        """Look at the strategy after an update; called after every one, measured or not."""

    def prepare(self, update: Update) -> None:  # noqa: B027 - most diagnostics need nothing from before
        """Keep what is gone after the update; called before one that is measured."""

    def state_dict(self) -> dict[str, Any]:
        """Return all that it has, between two updates: its attributes, which tensors and plain values can be."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what ``state_dict`` of another one returned."""
        vars(self).update(state)

    @abstractmethod
    def measure(self, update: Update) -> Iterable[Row]:
        """Return the values after an update, none twice under the same name."""


def mean_first(values: Mapping[str, Any]) -> Iterator[Row]:
    """Yield the mean over tensors as the value of the whole, and then each; a value of the whole stands alone.

    Examples
    --------
    >>> list(mean_first({"weight": 1.0, "bias": 3.0}))
    [('', 2.0), ('weight', 1.0), ('bias', 3.0)]
    >>> list(mean_first({"": 2.0}))
    [('', 2.0)]
    """
    if values and "" not in values:
        yield "", sum(values.values()) / len(values)
    yield from values.items()


def norms(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the L2 norm of all tensors together, under "", and of each, in float64."""
    each = {name: torch.linalg.vector_norm(tensor, dtype=torch.float64) for name, tensor in tensors.items()}
    return {"": torch.linalg.vector_norm(torch.stack(list(each.values()))), **each} if each else {}


def cosines(pairs: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Return the cosine of all pairs of tensors together, under "", and of each, in float64; with a zero vector 0.

    Examples
    --------
    >>> east, north = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 1.0])
    >>> found = cosines({"a": (east, east), "b": (north, -north)})
    >>> {name: round(cosine.item(), 6) for name, cosine in found.items()}
    {'': 0.6, 'a': 1.0, 'b': -1.0}
    """
    if not pairs:
        return {}
    products = torch.stack([_products(a.double().flatten(), b.double().flatten()) for a, b in pairs.values()])
    ab, aa, bb = torch.cat([products.sum(0, keepdim=True), products]).T
    lengths = aa.sqrt() * bb.sqrt()
    return dict(zip(["", *pairs], torch.where(lengths == 0, 0.0, ab / lengths), strict=True))


def _products(a: Tensor, b: Tensor) -> Tensor:
    return torch.stack([a @ b, a @ a, b @ b])
