"""Arms given from Python: an optimizer's class, or its name, with its learning rates and options."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from tamcl.arguments import instance
from tamcl.errors import InputError, shown
from tamcl.optim import OPTIMIZERS
from tamcl.scenario.load import put_arm
from tamcl.scenario.schema import Scenario


def with_arm(scenario: Scenario, optimizer: str | type, label: str, options: Mapping[str, Any]) -> Scenario:
    """Return the scenario with one more arm, or one of its arms changed, as ``Scenario.with_arm`` says."""
    instance("label", label, str, "a text")
    by_label = isinstance(optimizer, str) and optimizer in scenario.arms
    name = scenario.arms[str(optimizer)].optimizer if by_label else _name_of(optimizer)
    base = scenario.arms[str(optimizer)].model_dump() if by_label else {"optimizer": name}
    base |= {key: _plain(value) for key, value in options.items()}
    label = label or (optimizer if isinstance(optimizer, str) else optimizer.__name__).rpartition(":")[2]
    if label in scenario.arms and scenario.arms[label].optimizer != name:
        raise InputError(f"arm {shown(label)}: is there already, with another optimizer; give another label")
    return put_arm(scenario, label, base, f"arm {shown(label)}: needs a learning rate, as lr=0.1 or lr=[0.1, 0.03]")


def _name_of(optimizer: str | type) -> str:
    """Return the name of an optimizer in a scenario, if it is one or a class that such a name can stand for."""
    if isinstance(optimizer, str):
        OPTIMIZERS.path(optimizer)
        return optimizer
    if not isinstance(optimizer, type):
        raise InputError(f"optimizer {shown(optimizer)}: must be a class, or the name of one")
    module, name = optimizer.__module__, optimizer.__qualname__
    if "." in name or getattr(sys.modules.get(module), name, None) is not optimizer:
        why = f"'{module}' has no {name}, or another one by now"
        raise InputError(f"optimizer {name}: {why}; define it at the top of a module, a script or a notebook's cell")
    path = f"{module}:{name}"
    return next((known for known, its in OPTIMIZERS.items() if its == path), path)


def _plain(value: Any) -> Any:
    """Return a value as a scenario file can hold it: arrays and numbers of NumPy as Python's."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return value.tolist() if callable(getattr(value, "tolist", None)) else value
