"""Checks for objects that others add: does an optimizer, stream or metric keep what the rest relies on?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tamcl.registry import Table

if TYPE_CHECKING:
    from tamcl.testing.datasets import check_dataset
    from tamcl.testing.examine import examine_optimizer
    from tamcl.testing.interventions import check_intervention
    from tamcl.testing.metrics import check_metric
    from tamcl.testing.optimizers import check_optimizer
    from tamcl.testing.streams import check_stream

__all__ = [
    "check_dataset",
    "check_intervention",
    "check_metric",
    "check_optimizer",
    "check_stream",
    "examine_optimizer",
]

__getattr__ = Table(
    "check",
    {
        "dataset": "tamcl.testing.datasets:check_dataset",
        "examine": "tamcl.testing.examine:examine_optimizer",
        "intervention": "tamcl.testing.interventions:check_intervention",
        "metric": "tamcl.testing.metrics:check_metric",
        "optimizer": "tamcl.testing.optimizers:check_optimizer",
        "stream": "tamcl.testing.streams:check_stream",
    },
).exports()
