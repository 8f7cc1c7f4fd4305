"""Strategies: Avalanche's training templates over tensors in memory. The only place that subclasses them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tamcl.registry import Table

if TYPE_CHECKING:
    from tamcl.strategies.naive import Naive

STRATEGIES = Table("strategy", {"naive": "tamcl.strategies.naive:Naive"})

__all__ = ["STRATEGIES", "Naive"]
__getattr__ = STRATEGIES.exports()
