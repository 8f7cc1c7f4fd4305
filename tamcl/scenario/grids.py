"""Options of an optimizer that have several values to choose from, and are tuned together with the learning rate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any

from tamcl.errors import InputError
from tamcl.optim import OPTIMIZERS
from tamcl.registry import signature
from tamcl.streams.fields import unfit
from tamcl.trial import Trial, text_of

Grids = Mapping[str, tuple[Any, ...]]
"""Values by the names of options."""


def grids(optimizer: str, options: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Return the options that have several values, with these; nothing is imported for that.

    Parameters
    ----------
    optimizer : str
    options : mapping of str to Any
        What a scenario says of an arm beside what every arm has.

    Examples
    --------
    >>> grids("adamw", {"weight_decay": [0, 0.01], "betas": [0.9, 0.99], "eps": 1e-8})
    {'weight_decay': (0, 0.01)}
    >>> grids("adamw", {"betas": [[0.9, 0.99], [0.9, 0.999]]})
    {'betas': ([0.9, 0.99], [0.9, 0.999])}
    """
    lists = {name: tuple(value) for name, value in options.items() if isinstance(value, list | tuple)}
    if not lists:
        return {}
    sequences = _sequences(optimizer)
    return {
        name: values
        for name, values in lists.items()
        if name not in sequences or any(isinstance(value, list | tuple) for value in values)
    }


def _sequences(optimizer: str) -> frozenset[str]:
    """Return the options of an optimizer that are sequences; of a class that does not say so, the pairs of torch's."""
    try:
        found = signature(OPTIMIZERS.path(optimizer))
    except InputError:  # which is said where the optimizer is looked at
        return frozenset()
    return frozenset({"betas"}) if found.parameters is None else found.sequences


def check_grids(found: Grids) -> None:
    """Refuse an option without a value, with the same one twice, or with lists among single values."""
    for name, values in found.items():
        if not name.isidentifier():
            raise unfit(name, "is no name of an argument, and has several values")
        if not values:
            raise unfit(name, "names no value")
        if len({isinstance(value, list | tuple) for value in values}) > 1:
            raise unfit(
                name, "has lists among single values: several values are a list, and several lists one of lists"
            )
        texts = [text_of(value) for value in values]
        same = [text for text, value in zip(texts, values, strict=True) if values.count(value) > 1]
        if same:
            raise unfit(name, f"names the value {same[0]} twice")


def combined(rates: Iterable[float], found: Grids) -> list[Trial]:
    """Return a trial for every learning rate with every combination of values.

    Examples
    --------
    >>> [str(trial) for trial in combined([0.1, 0.2], {"weight_decay": (0,)})]
    ['lr 0.1, weight_decay=0', 'lr 0.2, weight_decay=0']
    """
    return [Trial.of(lr, dict(zip(found, values, strict=True))) for lr, *values in product(rates, *found.values())]


def flat(values: Iterable[Any]) -> Iterator[Any]:
    """Yield values, and those to choose from of which a list has several.

    Examples
    --------
    >>> list(flat(["sam", ["sgd", "adam"]]))
    ['sam', 'sgd', 'adam']
    """
    for value in values:
        yield from value if isinstance(value, list | tuple) else [value]


def covering(found: Grids) -> Iterator[dict[str, Any]]:
    """Yield as few combinations of values as have every value of every option in one of them.

    Examples
    --------
    >>> list(covering({"momentum": (0.8, 0.9), "weight_decay": (0, 0.01, 0.1)}))[1:]
    [{'momentum': 0.9, 'weight_decay': 0.01}, {'momentum': 0.9, 'weight_decay': 0.1}]
    """
    for place in range(max(map(len, found.values()), default=1)):
        yield {name: values[min(place, len(values) - 1)] for name, values in found.items()}
