"""The part of Avalanche that tamcl uses, imported in one place and without what its import does to the user.

Importing Avalanche warns about solvers and other packages that tamcl does not use, and writes a file into the home
folder, without which it cannot be imported at all.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path


def _has_writable_home() -> bool:
    try:
        tempfile.TemporaryDirectory(dir=Path.home()).cleanup()
    except OSError:
        return False
    return True


_home = os.environ.get("HOME")
with warnings.catch_warnings(), tempfile.TemporaryDirectory() as _scratch:
    warnings.simplefilter("ignore")
    if not _has_writable_home():
        os.environ["HOME"] = _scratch
    try:
        from avalanche.benchmarks import CLScenario, DatasetExperience, SequenceCLStream
        from avalanche.benchmarks.utils import AvalancheDataset, DataAttribute, TaskLabels
        from avalanche.benchmarks.utils.flat_data import ConstantSequence
        from avalanche.core import SupervisedPlugin
        from avalanche.evaluation.metric_definitions import PluginMetric
        from avalanche.evaluation.metric_results import MetricValue
        from avalanche.evaluation.metrics import accuracy_metrics, loss_metrics
        from avalanche.logging import BaseLogger, CSVLogger, TensorboardLogger, WandBLogger
        from avalanche.training.plugins import EvaluationPlugin
        from avalanche.training.templates import SupervisedTemplate
    finally:
        if _home is not None:
            os.environ["HOME"] = _home

__all__ = [
    "AvalancheDataset",
    "BaseLogger",
    "CLScenario",
    "CSVLogger",
    "ConstantSequence",
    "DataAttribute",
    "DatasetExperience",
    "EvaluationPlugin",
    "MetricValue",
    "PluginMetric",
    "SequenceCLStream",
    "SupervisedPlugin",
    "SupervisedTemplate",
    "TaskLabels",
    "TensorboardLogger",
    "WandBLogger",
    "accuracy_metrics",
    "loss_metrics",
]
