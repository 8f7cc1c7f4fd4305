"""Strategies: Avalanche's training templates over tensors in memory. The only place that subclasses them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tamcl.registry import Table

if TYPE_CHECKING:
    from tamcl.strategies.a_gem import AGEM
    from tamcl.strategies.cumulative import Cumulative
    from tamcl.strategies.ewc import EWC
    from tamcl.strategies.joint import Joint
    from tamcl.strategies.lwf import LwF
    from tamcl.strategies.mas import MAS
    from tamcl.strategies.naive import Naive
    from tamcl.strategies.replay import Replay
    from tamcl.strategies.settings import TrainingSettings
    from tamcl.strategies.si import SI

STRATEGIES = Table(
    "strategy",
    {
        "naive": "tamcl.strategies.naive:Naive",
        "replay": "tamcl.strategies.replay:Replay",
        "ewc": "tamcl.strategies.ewc:EWC",
        "si": "tamcl.strategies.si:SI",
        "mas": "tamcl.strategies.mas:MAS",
        "a_gem": "tamcl.strategies.a_gem:AGEM",
        "lwf": "tamcl.strategies.lwf:LwF",
        "joint": "tamcl.strategies.joint:Joint",
        "cumulative": "tamcl.strategies.cumulative:Cumulative",
    },
    kind="tamcl.avalanche:SupervisedTemplate",
)

_OTHERS = {"TrainingSettings": "tamcl.strategies.settings:TrainingSettings"}

__all__ = [
    "AGEM",
    "EWC",
    "MAS",
    "SI",
    "STRATEGIES",
    "Cumulative",
    "Joint",
    "LwF",
    "Naive",
    "Replay",
    "TrainingSettings",
]

__getattr__ = Table("strategy", {**STRATEGIES, **_OTHERS}).exports()
