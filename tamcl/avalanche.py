"""The part of Avalanche that tamcl uses, imported in one place and without what its import does to the user.

Importing Avalanche warns about solvers and other packages that tamcl does not use, writes a file into the home folder,
without which it cannot be imported at all, and imports Weights & Biases, which makes two temporary folders that stay
when the process is killed. None of that happens here; whoever needs more of these packages than tamcl still gets it.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any


@contextmanager
def _replaced(name: str, module: ModuleType | None) -> Iterator[None]:
    """Let a module be imported as another one inside the ``with`` block, unless it was imported before."""
    if module is None or name in sys.modules:
        yield
        return
    sys.modules[name] = module
    try:
        yield
    finally:
        del sys.modules[name]


def _imported_when_used(name: str) -> ModuleType:
    def look_up(attribute: str) -> Any:
        if attribute.startswith("__"):  # what inspect asks of every module
            raise AttributeError(attribute)
        return getattr(importlib.import_module(name), attribute)

    module = ModuleType(name)
    vars(module)["__getattr__"] = look_up
    return module


def _places() -> ModuleType | None:
    """Return Avalanche's module of where data sets are downloaded to, without its file; None if the user has the file.

    tamcl has data sets of its own; those of Avalanche go where they would.
    """
    if Path(os.path.expanduser("~/.avalanche/config.json")).exists():
        return None
    module = ModuleType(_PLACES)
    vars(module).update(default_dataset_location=_default_place, __all__=["default_dataset_location"])
    return module


def _default_place(dataset_name: str) -> Path:
    return Path(os.path.expanduser("~/.avalanche/data")) / dataset_name


def _is_writable(folder: str) -> bool:
    return os.path.isdir(folder) and os.access(folder, os.W_OK)


@contextmanager
def _home_for_matplotlib() -> Iterator[None]:
    """Give matplotlib, which Avalanche imports, a folder to write to where the home folder is none, and remove it."""
    if _is_writable(os.path.expanduser("~")) or "MPLCONFIGDIR" in os.environ or "matplotlib" in sys.modules:
        yield
        return
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["MPLCONFIGDIR"] = scratch
        try:
            yield
        finally:
            del os.environ["MPLCONFIGDIR"]


_PLACES = "avalanche.benchmarks.datasets.dataset_utils"

with (
    warnings.catch_warnings(),
    _home_for_matplotlib(),
    _replaced("wandb", _imported_when_used("wandb")),
    _replaced(_PLACES, _places()),
):
    warnings.simplefilter("ignore")
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
