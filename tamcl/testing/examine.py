"""All there is to say about an optimizer at a glance: every check with its outcome, the cost of a step, its state."""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from tamcl.engines.local import is_user_code
from tamcl.engines.processes import CAN_FORK, Raised, WorkerDied, check_answer, run_calls
from tamcl.errors import InputError, said
from tamcl.optim import OPTIMIZERS
from tamcl.optim.closures import needs_closure
from tamcl.optim.named import numbered, wants_names
from tamcl.registry import lookup
from tamcl.testing.optimizers import CHECKS, Make, settings_kept, yield_checks
from tamcl.training.build import make_optimizer

SHAPES = ((100, 784), (100,), (100, 100), (100,), (10, 100), (10,))
"""The network that the cost is measured on: an MLP 784-100-100-10."""

ROUNDS = 15
STEPS = 20


class Outcome(NamedTuple):
    """One check: its name, what it promises, whether that holds, and what was seen where it does not."""

    check: str
    promise: str
    passed: bool
    why: str


@dataclass(frozen=True)
class Examination:
    """What was found.

    Attributes
    ----------
    outcomes : list of Outcome
    ms_per_step : float
        Median time of a step for an MLP 784-100-100-10 on one thread, in milliseconds; nan where it cannot do one.
    sgd_ratio : float
        That time divided by what torch's SGD with momentum takes, measured in turn with it.
    state_bytes : int
        Bytes of the tensors in the state.
    state_copies : float
        The same in units of the parameters' own bytes.
    unmeasured : str
        Why cost and state could not be measured; empty if they were.
    """

    outcomes: list[Outcome]
    ms_per_step: float
    sgd_ratio: float
    state_bytes: int
    state_copies: float
    unmeasured: str = ""

    @property
    def passed(self) -> bool:
        """Whether every promise holds, and cost and state could be measured."""
        return not self.unmeasured and all(outcome.passed for outcome in self.outcomes)


def examine_optimizer(optimizer: Make, **options: Any) -> Examination:
    """Run every check that applies to an optimizer, and measure what it costs.

    Parameters
    ----------
    optimizer : type or callable
        Optimizer class, or a function of parameters and keyword options that returns an optimizer.
    **options
        Options to build it with; ``lr`` is 0.01 unless given.

    Examples
    --------
    >>> found = examine_optimizer(torch.optim.SGD)
    >>> [(outcome.check, outcome.why) for outcome in found.outcomes if not outcome.passed]
    [('check_rejects_bad_options', 'lr=nan was accepted')]
    >>> found.state_copies
    0.0
    """
    outcomes = [_outcome(name, run) for name, run in yield_checks(optimizer, **options)]
    return Examination(outcomes, *_measure(optimizer, {"lr": 0.01, **options}))


def examine_named(name: str, options: Mapping[str, Any]) -> Examination:
    """Examine the optimizer that a name stands for; the user's has a process of its own for every check.

    So a check fails that ends its process, and none sees what another has changed.

    Parameters
    ----------
    name : str
        As in a scenario.
    options : mapping
        Options to build it with.

    Raises
    ------
    InputError
        If it cannot be built.
    """
    if not (CAN_FORK and is_user_code([name, options])):
        _build(name, options)
        return examine_optimizer(lookup(OPTIMIZERS, name), **options)
    checks = [check.__name__ for check in CHECKS]
    calls: list[Callable[[], Any]] = [partial(_build, name, options)]
    calls += [partial(_examine, check, name, options) for check in checks]
    calls.append(partial(_measure_named, name, options))
    warm_up = partial(importlib.import_module, __name__)
    answers = (answer for _, answer in run_calls(calls, apart=range(len(calls)), warm_up=warm_up))
    check_answer("check", next(answers))
    outcomes = []
    for check, answer in zip(CHECKS, answers):  # noqa: B905 - what is left is the measurement
        if isinstance(answer, WorkerDied | Raised):
            answer = Outcome(check.__name__, _promise(check), False, str(answer))
        if answer is not None:
            outcomes.append(answer)
    (measured,) = answers
    if isinstance(measured, WorkerDied | Raised):
        measured = _unmeasured(str(measured))
    return Examination(outcomes, *measured)


def _build(name: str, options: Mapping[str, Any]) -> None:
    param: Any = Parameter(torch.zeros(2, 2))
    with suppress(InputError):  # which is said below
        param = ("parameter.0", param) if wants_names(lookup(OPTIMIZERS, name)) else param
    make_optimizer(name, [param], {"lr": 0.01, **options}, where="check")


def _examine(check: str, name: str, options: Mapping[str, Any]) -> Outcome | None:
    """Return the outcome of a check, or None if it does not apply."""
    for other, run in yield_checks(lookup(OPTIMIZERS, name), **options):
        if other == check:
            return _outcome(check, run)
    return None


def _outcome(name: str, run: Any) -> Outcome:
    try:
        with settings_kept():
            run()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever somebody's optimizer raises is its answer to the check
        return Outcome(name, _promise(run.func), False, _words(error))
    return Outcome(name, _promise(run.func), True, "")


def _promise(check: Any) -> str:
    return str(check.__doc__ or "").strip().split("\n")[0]


def _words(error: BaseException) -> str:
    """Return what an exception says, or what it is if it says nothing or was to leave Python."""
    return said(error).removeprefix(f"{type(error).__name__}: " if isinstance(error, Exception) else "")


_Measured = tuple[float, float, int, float, str]


def _measure_named(name: str, options: Mapping[str, Any]) -> _Measured:
    return _measure(lookup(OPTIMIZERS, name), {"lr": 0.01, **options})


def _measure(optimizer: Make, options: dict[str, Any]) -> _Measured:
    """Return what stands in an ``Examination`` after the outcomes."""
    optimizer = numbered(optimizer)
    try:
        with settings_kept():
            return *_cost(optimizer, options), *_size(optimizer, options), ""
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return _unmeasured(_words(error))


def _unmeasured(why: str) -> _Measured:
    return math.nan, math.nan, 0, math.nan, why


def _size(optimizer: Make, options: dict[str, Any]) -> tuple[int, float]:
    params = _parameters()
    candidate = optimizer(params, **options)
    _steps(candidate, 3)
    size = sum(_bytes(value) for state in candidate.state.values() for value in state.values())
    return size, size / sum(map(_bytes, params))


def _cost(optimizer: Make, options: dict[str, Any]) -> tuple[float, float]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        pair = optimizer(_parameters(), **options), torch.optim.SGD(_parameters(), lr=0.01, momentum=0.9)
        times = [[_steps(candidate, STEPS) for candidate in pair] for _ in range(ROUNDS)]
    finally:
        torch.set_num_threads(threads)
    return 1000 * median(a for a, _ in times) / STEPS, median(a / b for a, b in times)


def _parameters() -> list[Parameter]:
    draw = torch.Generator().manual_seed(0)
    params = [Parameter(torch.randn(shape, generator=draw)) for shape in SHAPES]
    for param in params:
        param.grad = torch.randn(param.shape, generator=draw)
    return params


def _steps(optimizer: Optimizer, steps: int) -> float:
    """Do some steps with the gradients as they are, and return the seconds they took."""
    closure = (lambda: 0.0) if needs_closure(optimizer) else None
    start = time.perf_counter()
    for _ in range(steps):
        optimizer.step(closure)
    return time.perf_counter() - start


def _bytes(value: object) -> int:
    return value.numel() * value.element_size() if isinstance(value, Tensor) else 0
