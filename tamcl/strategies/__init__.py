"""Strategies: Avalanche's training templates over tensors in memory. The only place that subclasses them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tamcl.registry import Table

if TYPE_CHECKING:
    from tamcl.strategies.a_gem import AGEM as AGEM
    from tamcl.strategies.cumulative import Cumulative as Cumulative
    from tamcl.strategies.ewc import EWC as EWC
    from tamcl.strategies.joint import Joint as Joint
    from tamcl.strategies.lwf import LwF as LwF
    from tamcl.strategies.mas import MAS as MAS
    from tamcl.strategies.naive import Naive as Naive
    from tamcl.strategies.replay import Replay as Replay
    from tamcl.strategies.settings import TrainingSettings as TrainingSettings
    from tamcl.strategies.si import SI as SI

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

__all__ = ["STRATEGIES", "TrainingSettings", *STRATEGIES.classes()]
__getattr__ = STRATEGIES.exports(TrainingSettings="tamcl.strategies.settings:TrainingSettings")
