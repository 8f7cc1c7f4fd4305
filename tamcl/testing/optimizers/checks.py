"""The checks of an optimizer, one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from tamcl.optim.named import numbered
from tamcl.testing.optimizers import groups, options, parameters, state, step
from tamcl.testing.optimizers.tools import Make, has_option, settings_kept

Check = Callable[[Make], None]
"""Raises an ``AssertionError`` if what the function makes breaks a promise."""


def check_optimizer(optimizer: Make, **options: Any) -> None:
    """Run every check that applies to an optimizer; use it in the tests of one's own.

    Parameters
    ----------
    optimizer : type or callable
        Optimizer class, or a function of parameters and keyword options that returns an optimizer.
    **options
        Options to build it with; ``lr`` is 0.01 unless given.

    Raises
    ------
    AssertionError
        If a promise is broken; it names the check and says what was seen.

    Examples
    --------
    >>> import torch
    >>> check_optimizer(torch.optim.Adam, lr=0.003)
    >>> check_optimizer(torch.optim.SGD)
    Traceback (most recent call last):
    AssertionError: check_rejects_bad_options: lr=nan was accepted
    """
    for name, run in yield_checks(optimizer, **options):
        try:
            with settings_kept():
                run()
        except Exception as error:
            raise AssertionError(f"{name}: {error or type(error).__name__}") from error


def yield_checks(optimizer: Make, **options: Any) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield the name of every check that applies and a function that runs it; it raises if the promise is broken.

    Examples
    --------
    >>> import torch
    >>> [name for name, run in yield_checks(torch.optim.SGD)][:2]
    ['check_rejects_bad_options', 'check_rejects_unknown_options']
    """
    make = partial(numbered(optimizer), **{"lr": 0.01, **options})
    for check in CHECKS:
        if all(has_option(make, name) for name in NEEDS.get(check, ())):
            yield check.__name__, partial(check, make)


CHECKS: list[Check] = [
    check
    for module in (options, step, parameters, groups, state)
    for name, check in vars(module).items()
    if name.startswith("check_")
]
"""All checks, in the order in which they stand in these modules."""

NEEDS: dict[Check, tuple[str, ...]] = {
    step.check_maximize: ("maximize",),
    step.check_weight_decay_shrinks: ("weight_decay",),
}
"""Checks for optimizers that have certain options only."""
