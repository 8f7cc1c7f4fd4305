"""All there is to say about an optimizer at a glance: every check with its outcome, the cost of a step, its state."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from tamcl.optim.closures import needs_closure
from tamcl.testing.optimizers import Make, settings_kept, yield_checks

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
    outcomes = []
    for name, run in yield_checks(optimizer, **options):
        promise = (run.func.__doc__ or "").strip().split("\n")[0]  # type: ignore[attr-defined]
        outcomes.append(_outcome(name, promise, run))
    options = {"lr": 0.01, **options}
    try:
        with settings_kept():
            return Examination(outcomes, *_cost(optimizer, options), *_size(optimizer, options))
    except Exception as error:
        return Examination(outcomes, math.nan, math.nan, 0, math.nan, unmeasured=_said(error))


def _outcome(name: str, promise: str, run: Any) -> Outcome:
    try:
        with settings_kept():
            run()
    except Exception as error:  # whatever somebody's optimizer raises is its answer to the check
        return Outcome(name, promise, False, _said(error))
    return Outcome(name, promise, True, "")


def _said(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


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
