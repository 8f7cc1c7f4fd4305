"""Checks for objects that others add: does an optimizer keep every promise that training with it relies on?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tamcl.registry import Table

if TYPE_CHECKING:
    from tamcl.testing.optimizers import check_optimizer

__all__ = ["check_optimizer"]

__getattr__ = Table("check", {"check_optimizer": "tamcl.testing.optimizers:check_optimizer"}).exports()
