"""One optimizer for the first steps and another from then on, such as TAM as a warm-up of SGD with momentum."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT, StateDict

from tamcl.errors import InputError
from tamcl.optim.base import BaseOptimizer, at_least_float32, check_choice, check_is_whole, check_number
from tamcl.optim.damping import FUNCTIONS
from tamcl.optim.sharing import largest_anywhere
from tamcl.optim.tam import TAM
from tamcl.optim.transfer import transfer_lr
from tamcl.optim.wrapper import (
    Base,
    Wrapper,
    base_name,
    check_known,
    check_steps,
    find,
    maker,
    option_names,
)

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

Carry = Literal["nothing", "velocity", "buffer"]

HEAVY_BALL = (TAM, torch.optim.SGD)
"""Optimizers that step by the learning rate times ``momentum_buffer``."""

SMALLEST_DAMPING = 1e-3
"""What a measured damping counts as at least, so that the second optimizer moves."""


class Switch(Wrapper):
    r"""One optimizer for the first k steps, another from then on; by default TAM as a warm-up of SGD with momentum.

    Use it to find out whether an optimizer helps early on alone. Where a stream goes on shifting after step k, the
    shifts are met by the second optimizer.

    At the switch the first is thrown away with all that it knows, and the second begins anew, at a learning rate of its
    own. If none is given, it steps with the first's; but between TAM and SGD with momentum as the rule of
    ``transfer_lr`` says, so that both take steps of one size:

    .. math::
        \eta \leftarrow \eta \, \frac{1 + \hat s}{2} \quad \text{from TAM to SGD}

    Parameters
    ----------
    params : iterable
        Parameters or parameter groups.
    lr : float or Tensor of one element, optional
        :math:`\eta` of the first; its own default if None. The groups and what schedulers set keep speaking of the
        first: the second steps with a multiple of it.
    first, then : str, type or callable
        The two optimizers: a registered name, ``package.module:Class``, a class, or a ``functools.partial``.
    at : int
        k, at least 1: steps of the first. Steps in which no parameter has a gradient do not count.
    lr_then : float, optional
        :math:`\eta` of the second, greater than 0, at the first's ``lr``: where a scheduler or a group has a part of
        that, the second steps with the same part of this. In a study an arm's ``lr`` is the first's, and a list of
        them tunes the first alone; this stays, where the rule above follows. None: by the rule above.
    s : float, optional
        :math:`\hat s` in (-1, 1]: the smoothed cosine that TAM counts as having settled at. None: the one of step k
        (its mean over groups or tensors, where each has its own).
    carry : {"nothing", "velocity", "buffer"}
        What becomes of the momentum between TAM and SGD with momentum: it is started anew; taken over so that the
        parameters keep their velocity :math:`\eta m`, divided by what the learning rate is multiplied by; or taken
        over as it is.
    process_group : ProcessGroup, optional
        The ranks among which ``FullyShardedDataParallel`` divides the parameters; see ``tamcl.optim.sharing``.
    **options
        Options of the optimizers. One that both have and that is given here, or in a group, has that value in both.
        Else each has its own default, but for SGD after TAM, which takes over TAM's momentum. Where they differ, the
        groups show the first's and hold the second's in ``switch_then``.

    Attributes
    ----------
    state : dict
        That of the optimizer in use; and, of every parameter, ``switch_step`` (steps so far) and ``switch_factor``
        (what the second's learning rate is multiplied by, 0 before the switch).

    Notes
    -----
    Source: ``train.py`` of the first author's precursor code (see ``TAM``), which warms a language model up with it or
    with SGD and then builds a new AdamW at a learning rate of its own, with no state carried over. That the paper's
    warm-up of SGD with momentum does the same is an assumption, since its text is not at hand; so are the rule for the
    learning rate and :math:`\hat s = 0`, where TAM settles away from turns.

    A TAM whose damping is held counts with that damping. In the other direction, from SGD to TAM, everything is turned
    round. Between any other optimizers the learning rate stays as it is, unless ``lr_then`` says another, since no rule
    says what compares with TAM's, and nothing is carried over.

    References
    ----------
    Torque-Aware Momentum, 2024, https://arxiv.org/abs/2412.18790

    Examples
    --------
    >>> weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = Switch([weight], lr=0.1, first="tam", then="sgd", at=20)
    >>> for _ in range(100):
    ...     optimizer.zero_grad()
    ...     loss = (weight**2).sum()
    ...     loss.backward()
    ...     optimizer.step()
    >>> bool(loss < 0.01), type(optimizer.base).__name__, optimizer.state[weight]["switch_factor"]
    (True, 'SGD', 0.5)
    """

    own_state = ("switch_step", "switch_factor")
    own_options = ("switch_at", "switch_s", "switch_carry", "switch_lr_ratio", "switch_then")
    shared_options = ("switch_at", "switch_s", "switch_carry", "switch_lr_ratio")

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor | None = None,
        *,
        first: Base = "tam",
        then: Base = "sgd",
        at: int = 1000,
        lr_then: float | None = None,
        s: float | None = 0.0,
        carry: Carry = "nothing",
        process_group: ProcessGroup | None = None,
        **options: Any,
    ) -> None:
        names = option_names(find(first)), option_names(find(then))
        if None not in names:
            check_known(f"{base_name(first)} and {base_name(then)}", options, set().union(*filter(None, names)))

        given: Any = params if isinstance(params, Tensor) else list(params)
        keys = [set(group) if isinstance(group, dict) else {"params"} for group in given]
        one = maker(first, lr, _chosen(options, *names))(given)
        theirs = _chosen(options, *names[::-1])
        if isinstance(one, TAM) and find(then) is torch.optim.SGD:
            theirs = {"momentum": one.defaults["momentum"]} | theirs
        other = maker(then, lr, theirs)([_part(*each) for each in zip(one.param_groups, keys, strict=False)])
        for group, others in zip(one.param_groups, other.param_groups, strict=True):
            _join(group, others)
        own = {"switch_at": at, "switch_s": s, "switch_carry": carry, "switch_lr_ratio": _ratio(one, lr_then)}
        super().__init__([one, other], own, process_group)
        granularity = one.param_groups[0].get("granularity")
        has_several = granularity == "tensor" or (granularity == "group" and len(one.param_groups) > 1)
        if self.process_group is not None and s is None and has_several:
            raise InputError(
                f"s=None takes the mean of the smoothed cosines of all {granularity}s, of which each rank knows its "
                "own alone: set s, or granularity='global'"
            )

    def check_options(self, group: dict[str, Any]) -> None:
        """Raise ValueError if an option of the group is out of range."""
        check_steps("at", group["switch_at"])
        check_choice({"carry": group["switch_carry"]}, "carry", get_args(Carry))
        if group["switch_s"] is not None:
            transfer_lr(0.0, group["switch_s"])

    @property
    def base(self) -> Optimizer:
        """The optimizer that does the steps now."""
        return self.loader(self.state)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters to both optimizers, each of which checks it."""
        one, other = self.optimizers
        before = self.param_groups
        self.param_groups = before
        own = {key: self.defaults[key] for key in self.shared_options}
        try:
            one.add_param_group(own | param_group | {"switch_then": {}})
            group = one.param_groups[-1]
            with self._seen_by_second():
                other.add_param_group(_part(group, set(param_group)))
            _join(group, other.param_groups[-1])
            self._check_group(group)
            other.param_groups = [*before, group]
        except (TypeError, ValueError):
            self.param_groups = before
            raise

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Load a state into the optimizer whose it is, with its own options."""
        check_is_whole(state_dict)
        super().load_state_dict(state_dict)
        for group in self.param_groups:
            group.update(group.pop("switch_first", {}))

    def groups_of(self, loader: Optimizer, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return saved groups as an optimizer underneath sees them."""
        if loader is self.optimizers[0]:
            return groups
        firsts = [{key: group[key] for key in group["switch_then"]} for group in groups]
        return [
            group | group["switch_then"] | {"switch_first": first} for group, first in zip(groups, firsts, strict=True)
        ]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Do one step of the optimizer in use and return the loss of the closure; switch after the k-th step."""
        step, factor = self._progress()
        base = self.optimizers[1 if factor else 0]
        seen = self._seen_by_second(factor) if factor else nullcontext()
        with seen, self.own_state_aside():
            loss = base.step(closure)
        if self.has_gradient():
            step += 1
            if step == self.param_groups[0]["switch_at"]:
                factor = self._switch()
            notes = {"switch_step": step, "switch_factor": factor}
            for param in self._params():
                if param.grad is not None or self.state.get(param):
                    self.state[param].update(notes)
        return loss

    def loader(self, state: Mapping[Any, dict[str, Any]]) -> Optimizer:
        """Return the optimizer underneath whose state it is."""
        first, then = self.optimizers
        return then if any(entries.get("switch_factor") for entries in state.values()) else first

    def _progress(self) -> tuple[int, float]:
        """Return the steps so far, and the factor of the second's learning rate: 0 if it is not in use yet.

        All parameters with a state have noted them, but for those whose state was made anew. A rank without parameters
        hears of them from the others.
        """
        noted = [[state.get(key, 0) for key in ("switch_step", "switch_factor")] for state in self.state.values()]
        step, factor = largest_anywhere([max(each) for each in zip([0, 0.0], *noted, strict=True)], self.process_group)
        return int(step), factor

    @contextmanager
    def _seen_by_second(self, factor: float = 1.0) -> Iterator[None]:
        """Let the groups show the second optimizer its own options and its share of the learning rate."""
        firsts = [(group, {key: group[key] for key in ("lr", *group["switch_then"])}) for group in self.param_groups]
        for group, first in firsts:
            group.update(group["switch_then"], lr=first["lr"] * factor)
        try:
            yield
        finally:
            for group, first in firsts:
                group["switch_then"] = {key: group[key] for key in group["switch_then"]}
                group.update(first)

    def _switch(self) -> float:
        """Leave the second optimizer what is carried over, and return the factor of its learning rate."""
        first, then = self.optimizers
        comparable = isinstance(first, HEAVY_BALL) and isinstance(then, HEAVY_BALL)
        factor: float | None = self.param_groups[0]["switch_lr_ratio"]
        if factor is None:
            factor = self._damping(first) / self._damping(then) if comparable else 1.0
        carry = self.param_groups[0]["switch_carry"]
        carried = carry != "nothing" and comparable
        for param, state in self.state.items():
            momentum = state.get("momentum_buffer")
            state.clear()
            if carried and momentum is not None:
                dtype = at_least_float32(param.dtype) if isinstance(then, BaseOptimizer) else param.dtype
                state["momentum_buffer"] = (momentum / factor if carry == "velocity" else momentum).to(dtype)
        return factor

    def _damping(self, optimizer: Optimizer) -> float:
        """Return the share of a gradient that is taken to enter an optimizer's momentum."""
        if not isinstance(optimizer, TAM):
            return 1.0
        [group, *_] = self.groups_of(optimizer, self.param_groups)
        held, s = group["damping"], group["switch_s"]
        if s is None:
            measured = [float(state["smoothed_cosine"]) for state in self.state.values() if "smoothed_cosine" in state]
            s = sum(measured) / len(measured) if measured else 0.0
        damping = held if isinstance(held, float | int) else FUNCTIONS[group.get("damping_function", "linear")](s)
        return max(damping, SMALLEST_DAMPING)


def _ratio(first: Optimizer, lr_then: float | None) -> float | None:
    """Return the second's learning rate as a multiple of the first's, if it was given."""
    if lr_then is None:
        return None
    check_number({"lr_then": lr_then}, "lr_then")
    lr = float(first.defaults["lr"])
    if lr_then == 0 or lr == 0:
        name, value = ("lr_then", lr_then) if lr_then == 0 else ("lr, of which lr_then is a multiple,", lr)
        raise ValueError(f"{name} must be greater than 0, got {value!r}")
    return float(lr_then) / lr


def _part(group: dict[str, Any], keys: set[str]) -> dict[str, Any]:
    """Return what was given of a group."""
    names = group.get("param_names")
    params = group["params"] if names is None else list(zip(names, group["params"], strict=True))
    return {key: group[key] for key in group if key in keys} | {"params": params}


def _join(group: dict[str, Any], others: dict[str, Any]) -> None:
    """Show the options of the second optimizer in a group of the first, but for those that differ."""
    differing = {key: value for key, value in others.items() if key in group and not _same(group[key], value)}
    for key in ("params", "param_names", "lr"):
        differing.pop(key, None)
    group.update({key: value for key, value in others.items() if key not in group}, switch_then=differing)


def _same(one: Any, other: Any) -> bool:
    return one is other or (not isinstance(one, Tensor) and not isinstance(other, Tensor) and bool(one == other))


def _chosen(options: dict[str, Any], mine: set[str] | None, others: set[str] | None) -> dict[str, Any]:
    """Return the options that one of the two optimizers has; one that takes any has those that the other has not."""
    if mine is None:
        return {key: value for key, value in options.items() if key not in (others or ())}
    return {key: value for key, value in options.items() if key in mine}
