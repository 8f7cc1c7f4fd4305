"""The cosine of momentum and gradient, and the damping that follows from it: what TAM and AdaTAM share."""

from __future__ import annotations

import math
from collections.abc import Collection
from itertools import islice
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch._utils import _flatten_dense_tensors as joined

from tamcl.optim.base import (
    SAFE,
    BaseOptimizer,
    Batch,
    check_choice,
    check_number,
    is_fast,
    largest_entry,
    set_scalar,
    to_python,
    vectors,
)
from tamcl.optim.damping import NUMBERS as DAMPING_NUMBERS
from tamcl.optim.damping import check_damping
from tamcl.optim.damping import damping as damping_of
from tamcl.optim.sharing import Ranks, local

Granularity = Literal["global", "tensor"]

TORQUE_OPTIONS = ("gamma", "granularity", "damping", "damping_function", "seed")
"""Options of the cosine and the damping, which are those of the whole optimizer."""

LARGE = 2**14
"""Entries from which on a tensor is measured by itself, not joined to others."""

AT_ONCE = 2**24
"""Entries of which copies are made in float64 at a time."""


class Row(NamedTuple):
    """A gradient and a momentum, which is a moment times a weight."""

    grad: Tensor
    moment: Tensor
    weight: Any = 1.0


class Products(NamedTuple):
    """Scalar products of a gradient g and a momentum m."""

    gg: Any
    mg: Any
    mm: Any


def check_torque(group: dict[str, Any]) -> None:
    """Raise ValueError if an option of the cosine or the damping is out of range."""
    check_number(group, "gamma", high=1)
    check_choice(group, "granularity", get_args(Granularity))
    check_damping(group)


def is_held(group: dict[str, Any]) -> bool:
    """Whether the damping is held at a number, so that nothing is measured."""
    return isinstance(group["damping"], (int, float))


class TorqueOptimizer(BaseOptimizer):
    """An optimizer that damps by a cosine: what follows from the options of the cosine and the damping."""

    shared_options = TORQUE_OPTIONS

    @property
    def shared_numbers(self) -> Collection[str]:
        """The entries of the state that are about the whole optimizer."""
        is_of_all = self.param_groups[0]["granularity"] == "global" and self.measures()
        return ("cosine", "smoothed_cosine", "damping", *DAMPING_NUMBERS) if is_of_all else ()

    @property
    def can_be_joined(self) -> bool:
        """Whether a step is the same if all parameters are one vector: the cosine is of all, or there is none."""
        return self.param_groups[0]["granularity"] == "global" or not self.measures()

    def measures(self) -> bool:
        """Whether a step depends on anything that is measured over all parameters: not if the damping is held."""
        return not is_held(self.param_groups[0])


def torque(
    batches: list[Batch],
    shared_state: dict[str, Any],
    group: dict[str, Any],
    ranks: Ranks | None,
    moment: str = "momentum_buffer",
) -> list[list[Any]]:
    """Return the damping of every tensor of every batch; cosines and dampings are left in the state.

    Parameters
    ----------
    batches : list of Batch
        Gradients and states.
    shared_state : dict
        State of the whole optimizer.
    group : dict
        Options of the whole optimizer.
    ranks : Ranks or None
        The ranks among which the parameters are divided.
    moment : str
        The tensor of the state that is the momentum, or would be if it were multiplied by the state's ``weight``.
    """
    if is_held(group):
        return [[group["damping"]] * len(batch.params) for batch in batches]
    together = group["granularity"] == "global"
    if ranks is not None:
        return _torque_over_ranks(batches, shared_state, group, ranks, moment)
    rows = _rows(batches, moment, join_small=together and is_fast(group))
    products = (measure_on_device if group["capturable"] else measure)(rows)
    if together:
        damping = _note(cosine(products, rows), shared_state, group)
        return [[damping] * len(batch.params) for batch in batches]
    states = (state for batch in batches for state in batch.states)
    own = (_note(cosine([each], [row]), state, group) for row, each, state in zip(rows, products, states, strict=True))
    return [list(islice(own, len(batch.params))) for batch in batches]


def _torque_over_ranks(
    batches: list[Batch], shared_state: dict[str, Any], group: dict[str, Any], ranks: Ranks, moment: str
) -> list[list[Any]]:
    """Do the same where each rank has but a share of the parameters."""
    together = group["granularity"] == "global"
    states = [state for batch in batches for state in batch.states]
    grads = [grad for batch in batches for grad in batch.grads]
    rows = [
        Row(grad, local(state[moment]), state.get("weight", 1.0)) for grad, state in zip(grads, states, strict=True)
    ]
    measured = cosines_over_ranks(rows, ranks, together=together, is_known="smoothed_cosine" in shared_state)
    if not measured:
        return []
    if together:
        damping = _note(measured[0], shared_state, group)
        return [[damping] * len(batch.params) for batch in batches]
    dampings = iter([_note(each, state, group) for each, state in zip(measured, states, strict=True)])
    return [list(islice(dampings, len(batch.params))) for batch in batches]


def cosines_over_ranks(rows: list[Row], ranks: Ranks, *, together: bool, is_known: bool) -> list[float]:
    """Return the cosine of each row, or the one of all, where each rank has but a share of the parameters.

    Parameters
    ----------
    rows : list of Row
        Those of this rank.
    ranks : Ranks
    together : bool
        Whether there is one cosine, of all rows; else no tensor may be divided.
    is_known : bool
        Whether this rank knows the numbers that the steps so far have left to the whole optimizer.

    Returns
    -------
    list of float
        Nothing if no rank has a gradient.
    """
    if not together:
        ranks.check_tensors("granularity='tensor'", "granularity='global'")
    own = [exact_products(*row) for row in rows]
    table = torch.stack([row.to(own[0].device) for row in own]) if own else torch.zeros(0, 3, dtype=torch.float64)
    found = ranks.add_up(table, is_known=together and is_known)
    if not found.gradients:
        return []
    sums = [found.of_all] if together else found.of_each
    return [float(cosine([Products(*each)], [])) for each in sums]


def exact_products(grad: Tensor, moment: Tensor, weight: float) -> Tensor:
    """Return the products of a gradient and a weighted moment, (3,), in float64: it holds the square of any float32."""
    m, g = vectors(moment, grad)
    total = torch.zeros(3, dtype=torch.float64, device=g.device)
    for some, others in zip(m.split(AT_ONCE), g.split(AT_ONCE), strict=True):
        a, b = weight * some.double(), others.double()
        total += torch.stack([torch.dot(b, b), torch.dot(a, b), torch.dot(a, a)])
    return total


def _rows(batches: list[Batch], moment: str, join_small: bool) -> list[Row]:
    """Return all rows; those of small tensors may be joined, since their number costs more than their entries."""
    rows, grads, moments = [], [], []
    device, common = batches[0].grads[0].get_device(), batches[0].states[0].get("weight", 1.0)
    for batch in batches:
        for grad, state in zip(batch.grads, batch.states, strict=True):
            weight = state.get("weight", 1.0)
            if join_small and grad.numel() < LARGE and weight == common and grad.get_device() == device:
                grads.append(grad)
                moments.append(state[moment])
            else:
                rows.append(Row(grad, state[moment], weight))
    if grads:
        rows.append(Row(joined(grads), joined(moments), common))
    return rows


def measure(rows: list[Row]) -> list[Products]:
    """Return the products of each row, with one read of the device."""
    found: list[Tensor] = []
    for row in rows:
        m, g = vectors(row.moment, row.grad)
        found += (torch.dot(g, g), torch.dot(m, g), torch.dot(m, m))
    numbers = iter(to_python(found))
    return [Products(next(numbers), row.weight * next(numbers), row.weight**2 * next(numbers)) for row in rows]


def measure_on_device(rows: list[Row]) -> list[Products]:
    """Return the products without a read of the device; in float64, which holds the square of any float32."""
    pairs = [vectors(row.weight * row.moment.double(), row.grad.double()) for row in rows]
    return [Products(torch.dot(g, g), torch.dot(m, g), torch.dot(m, m)) for m, g in pairs]


def cosine(products: list[Products], rows: list[Row]) -> Any:
    """Return the cosine of the momenta and gradients of some rows together; 0 where either is 0."""
    totals: list[Any] = [sum(each) for each in zip(*products, strict=True)]
    gg, mg, mm = totals
    if isinstance(mg, Tensor):
        lengths = mm.sqrt() * gg.sqrt()
        return torch.where(lengths == 0, 0.0, mg / lengths).clamp(-1, 1)
    m, g = math.sqrt(mm), math.sqrt(gg)
    if SAFE[0] < m < SAFE[1] and SAFE[0] < g < SAFE[1]:
        return min(max(mg / (m * g), -1.0), 1.0)
    return _scaled_cosine(rows)


def _scaled_cosine(rows: list[Row]) -> float:
    """Take a cosine whose norms float32 cannot hold; it does not change when either side is scaled."""
    momenta, grads = [row.weight * row.moment for row in rows], [row.grad for row in rows]
    m_scale, g_scale = largest_entry(momenta), largest_entry(grads)
    if 0 in (m_scale, g_scale):
        return 0.0
    if not math.isfinite(m_scale) or not math.isfinite(g_scale):
        return math.nan
    scaled = [Row(g.double() / g_scale, m.double() / m_scale) for g, m in zip(grads, momenta, strict=True)]
    return float(cosine(measure(scaled), scaled))


def _note(measured: Any, state: dict[str, Any], group: dict[str, Any]) -> Any:
    """Return the damping that follows from a cosine; both are left in a state."""
    smoothed = group["gamma"] * state.get("smoothed_cosine", 0.0) + (1 - group["gamma"]) * measured
    damping = damping_of(state, smoothed, group)
    set_scalar(state, cosine=measured, smoothed_cosine=smoothed, damping=damping)
    return damping
