"""A strategy from arguments in one heap, as a test has them: settings and options of the strategy's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from tamcl.models import Classifier
from tamcl.strategies import Naive, TrainingSettings

SETTINGS = {field.name for field in fields(TrainingSettings)}


def build(strategy: type[Naive], model: Classifier, make_optimizer: Callable[[Any], Any], **arguments: Any) -> Naive:
    settings = TrainingSettings(**{name: arguments.pop(name) for name in SETTINGS & set(arguments)})
    return strategy(model=model, make_optimizer=make_optimizer, settings=settings, **arguments)
