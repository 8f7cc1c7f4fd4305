"""The cosine of momentum and gradient, and the share of a gradient that follows from it: what TAM and AdaTAM share."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from itertools import chain, islice
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch._utils import _flatten_dense_tensors as joined

from tamcl.optim.base import (
    SAFE,
    BaseOptimizer,
    Batch,
    at_least_float32,
    check_choice,
    check_number,
    decayed,
    is_fast,
    largest_entry,
    set_scalar,
    shared_state,
    to_python,
    vectors,
    zero,
)
from tamcl.optim.damping import NUMBERS as DAMPING_NUMBERS
from tamcl.optim.damping import begin_damping, check_damping
from tamcl.optim.damping import damping as damping_of
from tamcl.optim.sharing import Ranks, local

Granularity = Literal["group", "global", "tensor"]
Start = Literal["gradient", "zero"]
CosineOn = Literal["raw", "decayed"]

TORQUE_OPTIONS = ("gamma", "start", "cosine_on", "granularity", "damping", "damping_function", "seed")
"""Options of the cosine and the damping, which are those of the whole optimizer."""

TORQUE_NUMBERS = ("cosine", "smoothed_cosine", "damping", *DAMPING_NUMBERS)
"""What a cosine leaves in a state."""

IS_NEW = "is_new"
"""In the state of a parameter from when its momentum was made until its first gradient enters, which is in one step."""

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
    check_choice(group, "start", get_args(Start))
    check_choice(group, "cosine_on", get_args(CosineOn))
    check_choice(group, "granularity", get_args(Granularity))
    check_damping(group)


def is_held(group: dict[str, Any]) -> bool:
    """Whether the damping is held at a number, so that nothing is measured."""
    return isinstance(group["damping"], (int, float))


class TorqueOptimizer(BaseOptimizer):
    """An optimizer that damps by a cosine: what follows from the options of the cosine and the damping.

    A parameter without a momentum is one whose first gradient is still to come; so one that loads the momentum of
    another optimizer goes on with that.
    """

    shared_options = TORQUE_OPTIONS

    @property
    def shared_numbers(self) -> Collection[str]:
        """The entries of the state that are about the whole optimizer."""
        return TORQUE_NUMBERS if self.measures() and self.is_of_all else ()

    @property
    def numbers_of_groups(self) -> Collection[str]:
        """The entries of the state that are about a group, if there are several: see ``numbers_of``."""
        return TORQUE_NUMBERS if self.measures() and not self.is_of_all and not self._is_of_each else ()

    @property
    def can_be_joined(self) -> bool:
        """Whether a step is the same if all parameters are one vector: one cosine, or none, and one first step."""
        params = [param for group in self.param_groups for param in group["params"]]
        have_begun = {self.moment in self.state[param] for param in params if param in self.state}
        is_even = not have_begun or (len(have_begun) == 1 and all(param in self.state for param in params))
        return is_even and (not self._is_of_each or not self.measures())

    @property
    def _is_of_each(self) -> bool:
        return bool(self.param_groups[0]["granularity"] == "tensor")

    @property
    def is_of_all(self) -> bool:
        """Whether there is one cosine, of all parameters."""
        granularity = self.param_groups[0]["granularity"]
        return granularity == "global" or (granularity == "group" and len(self.param_groups) == 1)

    def measures(self) -> bool:
        """Whether a step depends on anything that is measured over all parameters: not if the damping is held."""
        return not is_held(self.param_groups[0])

    def numbers_of(self, group: dict[str, Any]) -> dict[str, Any]:
        """Return the state with the numbers of a group: that of its first parameter that is trained."""
        return shared_state(self, TORQUE_NUMBERS, [group])

    def initialize(self, state: dict[str, Any], param: Tensor, group: dict[str, Any]) -> None:
        """Start from a momentum of zero, which the first gradient takes the place of."""
        if self.moment not in state:
            state[self.moment] = torch.zeros_like(param, dtype=at_least_float32(param.dtype))
            if group["start"] == "gradient":
                state[IS_NEW] = True

    def damped(self, batches: list[Batch], ranks: Ranks | None) -> Iterable[tuple[Batch, list[Any]]]:
        """Return what was gathered, with coupled weight decay in it, and the share of each gradient that enters."""
        raw, batches = batches, [_with_decay(batch) for batch in batches]
        is_raw = self.param_groups[0]["cosine_on"] == "raw"
        return zip(batches, shares(self, raw if is_raw else batches, ranks), strict=True)

    def _gather(self, group: dict[str, Any]) -> Batch:
        # gradients without weight decay: the cosine may be theirs
        return super()._gather(group | {"weight_decay": 0.0})._replace(group=group)


def _with_decay(batch: Batch) -> Batch:
    """Return what was gathered with coupled weight decay in its gradients."""
    group = batch.group
    if group["decoupled_weight_decay"] or not group["weight_decay"]:
        return batch
    return batch._replace(grads=decayed(batch.grads, batch.params, group["weight_decay"]))


def shares(optimizer: TorqueOptimizer, batches: list[Batch], ranks: Ranks | None) -> list[list[Any]]:
    """Return the share of every gradient of every batch that enters its momentum: eps + damping, or 1 of a first one.

    Cosines and dampings are left in the state. A first gradient has no momentum to have an angle with.

    Parameters
    ----------
    optimizer : TorqueOptimizer
    batches : list of Batch
        Gradients that cosines are measured on, and states.
    ranks : Ranks or None
        The ranks among which the parameters are divided.
    """
    group = optimizer.param_groups[0]
    have_begun = [IS_NEW not in state for batch in batches for state in batch.states]
    if ranks is None and all(have_begun) and optimizer.is_of_all and not is_held(group):  # the usual case, in short
        rows = _rows(batches, optimizer.moment, join_small=is_fast(group))
        damping = _note(cosine(_measured(rows, group), rows), shared_state(optimizer, TORQUE_NUMBERS), group)
        return [[batch.group["eps"] + damping] * len(batch.params) for batch in batches]
    are_new = [[state.pop(IS_NEW, False) for state in batch.states] for batch in batches]
    if is_held(group):
        dampings = [[group["damping"]] * len(batch.params) for batch in batches]
    elif group["granularity"] == "tensor":
        dampings = _dampings_of_each(optimizer, batches, are_new, ranks)
    elif ranks is not None:
        dampings = _over_ranks(optimizer, batches, are_new, ranks)
    else:
        dampings = _dampings_of_sections(optimizer, batches, are_new)
    return [
        [1.0 if is_new else batch.group["eps"] + damping for is_new, damping in zip(*columns, strict=True)]
        for batch, *columns in zip(batches, are_new, dampings, strict=True)
    ]


def _dampings_of_each(
    optimizer: TorqueOptimizer, batches: list[Batch], are_new: list[list[bool]], ranks: Ranks | None
) -> list[list[Any]]:
    """Return the damping of every tensor by its own cosine."""
    group, moment = optimizer.param_groups[0], optimizer.moment
    news = list(chain(*are_new))
    if ranks is None:
        known = _known(batches, are_new)
        rows = _rows(known, moment, join_small=False)
        found = [cosine([each], [row]) for each, row in zip(_measured(rows, group), rows, strict=True)]
    else:
        ranks.check_tensors("granularity='tensor'", "granularity='group'")
        of_all = cosines_of_each([_row(*each, moment) for each in _gradients(batches)], ranks)
        found = [each for each, is_new in zip(of_all, news, strict=True) if not is_new]
    cosines = iter(found)
    columns = [(param, state) for batch in batches for param, state in zip(batch.params, batch.states, strict=True)]
    dampings = iter(
        [
            _begin(state, zero(param, group), group) if is_new else _note(next(cosines), state, group)
            for (param, state), is_new in zip(columns, news, strict=True)
        ]
    )
    return [list(islice(dampings, len(batch.params))) for batch in batches]


def _dampings_of_sections(
    optimizer: TorqueOptimizer, batches: list[Batch], are_new: list[list[bool]]
) -> list[list[Any]]:
    """Return the damping of every tensor by the cosine of its group, or of all."""
    group, is_one = optimizer.param_groups[0], optimizer.is_of_all
    known = _known(batches, are_new)
    sections = [known] if is_one else [[batch] for batch in known]
    rows = [_rows(section, optimizer.moment, join_small=is_fast(group)) for section in sections]
    products = _measured(rows[0] if is_one else list(chain(*rows)), group)
    dampings, start = [], 0
    for place, own in enumerate(rows):
        state = optimizer.shared_state if is_one else optimizer.numbers_of(batches[place].group)
        if own:
            end = start + len(own)
            dampings.append(_note(cosine(products[start:end], own), state, group))
            start = end
        else:
            dampings.append(_begin(state, zero(batches[place].params[0], group), group))
    return [[dampings[0 if is_one else place]] * len(batch.params) for place, batch in enumerate(batches)]


def _over_ranks(
    optimizer: TorqueOptimizer, batches: list[Batch], are_new: list[list[bool]], ranks: Ranks
) -> list[list[Any]]:
    """Do the same where each rank has but a share of the parameters, or none of a group."""
    group, groups = optimizer.param_groups[0], optimizer.param_groups
    if group["granularity"] == "global":
        places, sections = {id(each): 0 for each in groups}, [groups]
        states = [optimizer.shared_state]
    else:
        places, sections = {id(each): place for place, each in enumerate(groups)}, [[each] for each in groups]
        states = [optimizer.numbers_of(each) for each in groups]
    rows = [
        None if is_new else _row(*each, optimizer.moment)
        for each, is_new in zip(_gradients(batches), chain(*are_new), strict=True)
    ]
    of_rows = [places[id(batch.group)] for batch in batches for _ in batch.params]
    holds = [any(each["params"] for each in section) for section in sections]
    known = ["smoothed_cosine" in state if held else None for state, held in zip(states, holds, strict=True)]
    dampings: list[Any] = []
    for found, state, held in zip(cosines_of_sections(rows, of_rows, ranks, known), states, holds, strict=True):
        if not held or not found.gradients:
            dampings.append(None)
        elif found.measured:
            dampings.append(_note(found.cosine, state, group))
        else:
            dampings.append(_begin(state, 0, group))
    return [[dampings[places[id(batch.group)]]] * len(batch.params) for batch in batches]


class Section(NamedTuple):
    """What ranks found of the parameters that share a cosine."""

    gradients: int
    """Pieces with a gradient."""
    measured: int
    """Those of them that had a momentum; 0 means that there is no cosine."""
    cosine: float


def cosines_of_sections(
    rows: Sequence[Row | None], sections: Sequence[int], ranks: Ranks, known: Sequence[bool | None]
) -> list[Section]:
    """Return the cosines of rows that belong together, where each rank has but a share of the parameters.

    Parameters
    ----------
    rows : sequence of Row or None
        Of each gradient on this rank; None if it has no momentum to be compared with.
    sections : sequence of int
        To which of the cosines each belongs.
    ranks : Ranks
    known : sequence of bool or None
        For each cosine whether this rank knows what the steps so far have left of it; None if it has no parameter.
    """
    own = [None if row is None else exact_products(*row) for row in rows]
    device = next((each.device for each in own if each is not None), None)
    table = torch.zeros(len(own), len(known), 5, dtype=torch.float64, device=device)
    for place, (section, each) in enumerate(zip(sections, own, strict=True)):
        table[place, section, 3] = 1
        if each is not None:
            table[place, section, :3], table[place, section, 4] = each, 1
    found = ranks.add_up(table.flatten(1), known).of_all.reshape(len(known), 5)
    return [Section(int(each[3]), int(each[4]), float(cosine([Products(*each[:3])], []))) for each in found]


def cosines_of_each(rows: Sequence[Row], ranks: Ranks) -> list[float]:
    """Return the cosine of each row, of a tensor that other ranks may have other pieces of."""
    own = [exact_products(*row) for row in rows]
    table = torch.stack([each.to(own[0].device) for each in own]) if own else torch.zeros(0, 3, dtype=torch.float64)
    return [float(cosine([Products(*each)], [])) for each in ranks.add_up(table).of_each]


def _known(batches: list[Batch], are_new: list[list[bool]]) -> list[Batch]:
    """Return what was gathered of parameters that have a momentum."""
    if not any(True in news for news in are_new):
        return batches
    return [_without(*each) for each in zip(batches, are_new, strict=True)]


def _without(batch: Batch, are_new: list[bool]) -> Batch:
    kept = [place for place, is_new in enumerate(are_new) if not is_new]
    group, params, grads, states = batch
    return Batch(group, [params[i] for i in kept], [grads[i] for i in kept], [states[i] for i in kept])


def _gradients(batches: list[Batch]) -> Iterable[tuple[Tensor, dict[str, Any]]]:
    return ((grad, state) for batch in batches for grad, state in zip(batch.grads, batch.states, strict=True))


def _row(grad: Tensor, state: dict[str, Any], moment: str) -> Row:
    return Row(grad, local(state[moment]), state.get("weight", 1.0))


def _measured(rows: list[Row], group: dict[str, Any]) -> list[Products]:
    return (measure_on_device if group["capturable"] else measure)(rows) if rows else []


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
    rows: list[Row] = []
    grads, moments = [], []
    batches = [batch for batch in batches if batch.states]
    if not batches:
        return rows
    device, common = batches[0].grads[0].get_device(), batches[0].states[0].get("weight", 1.0)
    for batch in batches:
        for grad, state in zip(batch.grads, batch.states, strict=True):
            weight = state.get("weight", 1.0)
            if join_small and grad.numel() < LARGE and weight == common and grad.get_device() == device:
                grads.append(grad)
                moments.append(state[moment])
            else:
                rows.append(Row(grad, state[moment], weight))
    if len(grads) == 1:
        rows.append(Row(grads[0], moments[0], common))
    elif grads:
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
    if isinstance(measured, Tensor):
        set_scalar(state, cosine=measured, smoothed_cosine=smoothed, damping=damping)
    else:
        state.update(cosine=measured, smoothed_cosine=smoothed, damping=damping)
    return damping


def _begin(state: dict[str, Any], nothing: Any, group: dict[str, Any]) -> float:
    """Note that first gradients alone have come, if nothing is known yet; the smoothed cosine stays as it is."""
    if "smoothed_cosine" not in state:
        set_scalar(state, cosine=nothing + 0.0, smoothed_cosine=nothing + 0.0, damping=nothing + 1.0)
        begin_damping(state, group)
    return 1.0
