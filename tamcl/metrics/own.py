"""Metrics of one's own, by ``package.module:name``: beside those of the table in every study that names them.

Their code is imported where they are computed. Who reads a study has what it says of them, and needs no code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from math import inf, isinf
from typing import Any, NoReturn

from tamcl.errors import InputError, shown
from tamcl.metrics.metric import Metric
from tamcl.registry import load
from tamcl.user_code import module_of, user_code

OWN: dict[str, Metric] = {}
"""Those that this process has computed or read of, by their paths, which are their names in the tables."""


def own_names(scenario: Mapping[str, Any]) -> list[str]:
    """Return the own metrics of a scenario, as ``Scenario.dump`` gives it.

    Examples
    --------
    >>> own_names({"metrics": ["mine:worst"], "protocol": {"tune_by": "mine:best"}})
    ['mine:worst', 'mine:best']
    """
    named = [*scenario.get("metrics", ()), scenario.get("protocol", {}).get("tune_by", "")]
    return [name for name in dict.fromkeys(named) if module_of(name) is not None]


def use(name: str) -> Metric:
    """Import a metric and return it under its path.

    Raises
    ------
    InputError
        If there is none, or it is no ``tamcl.metrics.Metric``.
    """
    found = load(name, noun="metric")
    if not isinstance(found, Metric):
        raise InputError(
            f"metric {shown(name)}: is a {type(found).__name__}, and must be a tamcl.metrics.Metric, which says beside "
            "the function what it is computed from and which direction is better"
        )
    OWN[name] = replace(found, name=name)
    return OWN[name]


def described(names: Iterable[str]) -> list[dict[str, Any]]:
    """Return what a study keeps of own metrics, the digests of their code included; an infinite bound is None."""
    kept = [each.name for each in fields(Metric) if each.name != "function"]
    found = []
    for name in names:
        values = {key: getattr(use(name), key) for key in kept}
        bounds = {key: None if isinf(values[key]) else values[key] for key in ("low", "high")}
        found.append({**values, **bounds, "code": dict(user_code(name))})
    return found


def recall(descriptions: Iterable[Mapping[str, Any]]) -> None:
    """Know own metrics again by what a study says of them."""
    for each in descriptions:
        values = {key: value for key, value in each.items() if key != "code"}
        values["low"] = -inf if values["low"] is None else values["low"]
        values["high"] = inf if values["high"] is None else values["high"]
        OWN.setdefault(each["name"], Metric(function=_not_here, **values))


def _not_here(*_: Any) -> NoReturn:
    raise InputError("this metric was read of, and is computed where its scenario is trained")
