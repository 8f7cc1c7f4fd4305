"""Defaults that were others once: a run notes those that it was made with, so that runs from before count as others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tamcl.optim import OPTIMIZERS

_TORQUE = {"start": "gradient", "granularity": "group"}

CHANGED: dict[str, dict[str, Any]] = {
    "tam": _TORQUE | {"cosine_on": "raw"},
    "adatam": _TORQUE | {"cosine_on": "raw"},
    "adatamw": _TORQUE,
    "switch": {"first": "tam", "carry": "nothing"},
}
"""As they are now, by the name of the optimizer; and options without a change that name an optimizer of this table."""


def changed_defaults(optimizer: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changed defaults of an arm's optimizers, those that others wrap included, that were not given.

    Examples
    --------
    >>> changed_defaults("sam", {"base": "tam", "granularity": "tensor"})
    {'start': 'gradient', 'cosine_on': 'raw'}
    >>> changed_defaults("adam", {})
    {}
    """
    own = CHANGED.get(_name(optimizer), {})
    wrapped = [CHANGED.get(_name(value), {}) for value in {**own, **options}.values() if isinstance(value, str)]
    found = {key: value for each in (own, *wrapped) for key, value in each.items()}
    return {key: value for key, value in found.items() if key not in options}


def _name(optimizer: str) -> str:
    """Return the short name of an optimizer of ours that is named by its place, and any other as it is."""
    module, _, name = optimizer.partition(":")
    names = {path.partition(":")[2]: short for short, path in OPTIMIZERS.items()}
    return names.get(name, optimizer) if module.startswith("tamcl.optim") else optimizer
