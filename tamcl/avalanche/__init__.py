"""The part of Avalanche that tamcl uses, imported in one place and without what its import does to the user.

Importing Avalanche warns about solvers and other packages that tamcl does not use, writes a file into the home folder,
without which it cannot be imported at all, and imports Weights & Biases, which makes two temporary folders that stay
when the process is killed. None of that happens here. Nor is everything imported that Avalanche has, which takes more
than twice the time that torch takes, in every worker process: ``tamcl.avalanche.light`` says how. Whoever needs more of
it, or of these packages, still gets it.
"""

from __future__ import annotations

from typing import Any

from tamcl.avalanche.light import import_what_is_wanted

import_what_is_wanted()

from avalanche.benchmarks import CLScenario, DatasetExperience, SequenceCLStream  # noqa: E402
from avalanche.benchmarks.utils import AvalancheDataset, DataAttribute, TaskLabels  # noqa: E402
from avalanche.benchmarks.utils.flat_data import ConstantSequence  # noqa: E402
from avalanche.core import SupervisedPlugin  # noqa: E402
from avalanche.evaluation.metric_definitions import PluginMetric  # noqa: E402
from avalanche.evaluation.metric_results import MetricValue  # noqa: E402
from avalanche.evaluation.metrics import accuracy_metrics, loss_metrics  # noqa: E402
from avalanche.training.plugins import EvaluationPlugin  # noqa: E402
from avalanche.training.templates import SupervisedTemplate  # noqa: E402
from avalanche.training.templates.base_sgd import PeriodicEval  # noqa: E402


def __getattr__(name: str) -> Any:
    """Import a logger when it is asked for: most runs have none."""
    if name not in {"BaseLogger", "CSVLogger", "TensorboardLogger", "WandBLogger"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import avalanche.logging

    return getattr(avalanche.logging, name)


__all__ = [
    "AvalancheDataset",
    "CLScenario",
    "ConstantSequence",
    "DataAttribute",
    "DatasetExperience",
    "EvaluationPlugin",
    "MetricValue",
    "PeriodicEval",
    "PluginMetric",
    "SequenceCLStream",
    "SupervisedPlugin",
    "SupervisedTemplate",
    "TaskLabels",
    "accuracy_metrics",
    "loss_metrics",
]
