"""Metrics of retention, adaptation and plasticity: array functions, the table of what is known of each, and tables."""

from __future__ import annotations

from importlib import import_module
from math import inf
from typing import TYPE_CHECKING, Any

from tamcl.errors import unknown_name
from tamcl.metrics.adaptation import (
    accuracy_at,
    area_lost,
    drop,
    learning_curve_area,
    online_accuracy,
    online_loss,
    recovered,
    recovery_auc,
    recovery_steps,
)
from tamcl.metrics.connectivity import barrier
from tamcl.metrics.metric import Metric
from tamcl.metrics.oracles import intransigence, regret
from tamcl.metrics.own import OWN
from tamcl.metrics.plasticity import best_accuracy, end_accuracy, end_accuracy_slope
from tamcl.metrics.retention import (
    average_accuracy,
    average_anytime_accuracy,
    backward_transfer,
    continual_worst_case_accuracy,
    forgetting,
    forgetting_first,
    forgetting_max,
    forward_transfer,
    learning_accuracy,
    retained,
    stability_gap,
    worst_case_accuracy,
)
from tamcl.metrics.text import perplexity, validation_loss

if TYPE_CHECKING:
    from tamcl.metrics.cells import accuracy_matrix
    from tamcl.metrics.connectivity import barriers
    from tamcl.metrics.oracles import intransigences, regrets
    from tamcl.metrics.tables import (
        by_epoch,
        by_experience,
        diagnostic_curves,
        measure,
        recovery_curves,
        shifts,
        stability_curves,
    )

__all__ = [
    "METRICS",
    "Metric",
    "accuracy_at",
    "accuracy_matrix",
    "area_lost",
    "average_accuracy",
    "average_anytime_accuracy",
    "backward_transfer",
    "barrier",
    "barriers",
    "best_accuracy",
    "by_epoch",
    "by_experience",
    "continual_worst_case_accuracy",
    "diagnostic_curves",
    "drop",
    "end_accuracy",
    "end_accuracy_slope",
    "find",
    "forgetting",
    "forgetting_first",
    "forgetting_max",
    "forward_transfer",
    "intransigence",
    "intransigences",
    "learning_accuracy",
    "learning_curve_area",
    "measure",
    "online_accuracy",
    "online_loss",
    "perplexity",
    "recovered",
    "recovery_auc",
    "recovery_curves",
    "recovery_steps",
    "regret",
    "regrets",
    "retained",
    "shifts",
    "stability_curves",
    "stability_gap",
    "validation_loss",
    "worst_case_accuracy",
]

_GEM = "Gradient Episodic Memory for Continual Learning, 2017, https://arxiv.org/abs/1706.08840"
_RWALK = (
    "Riemannian Walk for Incremental Learning: Understanding Forgetting and Intransigence, 2018, eq. 3, "
    "https://arxiv.org/abs/1801.10112"
)
_MER = (
    "Learning to Learn without Forgetting by Maximizing Transfer and Minimizing Interference, 2018, "
    "https://arxiv.org/abs/1810.11910"
)
_GAMA = "On evaluating stream learning algorithms, 2013, https://doi.org/10.1007/s10994-012-5320-9"
_TAG = "Code of TAG: Task-based Accumulated Gradients for Lifelong learning, 2021, https://arxiv.org/abs/2105.05155"
_AVALANCHE = "Avalanche: an End-to-End Library for Continual Learning, 2021, https://arxiv.org/abs/2104.00405"
_SURVEY = "A Comprehensive Empirical Evaluation on Online Continual Learning, 2023, https://arxiv.org/abs/2308.10328"
_GAP = (
    "Continual evaluation for lifelong learning: Identifying the stability gap, 2022, its WC-ACC, "
    "https://arxiv.org/abs/2205.13452"
)
_AGEM = "Efficient Lifelong Learning with A-GEM, 2018, eq. 5, https://arxiv.org/abs/1812.00420"
_PRECHELT = "Early Stopping - But When?, 1998, https://doi.org/10.1007/3-540-49430-8_3"
_MIKOLOV = "Recurrent neural network based language model, 2010, https://doi.org/10.21437/Interspeech.2010-343"
_OURS = "tamcl's own definition: see tamcl.metrics."

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "online_accuracy", online_accuracy, "online", "higher", 0, 1, "fraction", "Online accuracy",
            "sum_t c_t / sum_t n_t", _GAMA, core=True,
        ),
        Metric(
            "online_loss", online_loss, "loss", "lower", 0, inf, "loss", "Online loss",
            "sum_t n_t l_t / sum_t n_t", _GAMA, core=True,
        ),
        Metric(
            "drop", drop, "online", "lower", -1, 1, "fraction", "Drop at a shift",
            "mean_e (b_e - a_e0)", _OURS + "adaptation", core=True, per_batch=True,
        ),
        Metric(
            "recovery_steps", recovery_steps, "online", "lower", 0, inf, "mini-batches", "Time to recover",
            "mean_e min {k: a_ek >= 0.95 b_e}", _OURS + "adaptation", core=True, per_batch=True,
        ),
        Metric(
            "recovered", recovered, "online", "higher", 0, 1, "fraction", "Shifts recovered from",
            "mean_e [max_k a_ek >= 0.95 b_e]", _OURS + "adaptation", core=True, per_batch=True,
        ),
        Metric(
            "end_accuracy", end_accuracy, "online", "higher", 0, 1, "fraction", "Accuracy at the end of an experience",
            "mean_e b_e", _OURS + "plasticity", core=True,
        ),
        Metric(
            "perplexity", perplexity, "text_loss", "lower", 1, inf, "tokens", "Perplexity",
            "exp(mean_j L[T-1, j])", _MIKOLOV, core=True,
        ),
        Metric(
            "average_accuracy", average_accuracy, "matrix", "higher", 0, 1, "fraction", "Average accuracy",
            "mean_j R[T-1, j]", _GEM, core=True,
        ),
        Metric(
            "learning_accuracy", learning_accuracy, "matrix", "higher", 0, 1, "fraction", "Learning accuracy",
            "mean_j R[j, j]", _MER, core=True,
        ),
        Metric(
            "forgetting", forgetting, "matrix", "lower", -1, 1, "fraction", "Forgetting",
            "mean_{j < T-1} (max_{j <= l < T-1} R[l, j] - R[T-1, j])", _RWALK, core=True,
        ),
        Metric(
            "area_lost", area_lost, "online", "lower", 0, inf, "accuracy-steps", "Area lost after a shift",
            "mean_e sum_{k < r_e} (b_e - a_ek)", _OURS + "adaptation", per_batch=True,
        ),
        Metric(
            "recovery_auc", recovery_auc, "online", "higher", 0, 1, "fraction", "Accuracy right after a shift",
            "mean_e (sum_{k < 50} c_ek / sum_{k < 50} n_ek)", _OURS + "adaptation", per_batch=True,
        ),
        Metric(
            "learning_curve_area", learning_curve_area, "online", "higher", 0, 1, "fraction", "Learning curve area",
            "mean_{b <= 10} mean_e (c_eb / n_eb)", _AGEM, per_batch=True,
        ),
        Metric(
            "end_accuracy_slope", end_accuracy_slope, "online", "higher", -1, 1, "per experience",
            "Trend of the accuracy at the end", "slope of b_e over e, least squares", _OURS + "plasticity",
        ),
        Metric(
            "validation_loss", validation_loss, "text_loss", "lower", 0, inf, "nats a token", "Validation loss",
            "mean_j L[T-1, j]", _MIKOLOV,
        ),
        Metric(
            "backward_transfer", backward_transfer, "matrix", "higher", -1, 1, "fraction", "Backward transfer",
            "mean_{j < T-1} (R[T-1, j] - R[j, j])", _GEM,
        ),
        Metric(
            "forward_transfer", forward_transfer, "matrix_and_start", "higher", -1, 1, "fraction", "Forward transfer",
            "mean_{j > 0} (R[j-1, j] - R[-1, j])", _GEM,
        ),
        Metric(
            "forgetting_max", forgetting_max, "matrix", "lower", 0, 1, "fraction", "Forgetting, last row included",
            "mean_{j < T-1} (max_{j <= l <= T-1} R[l, j] - R[T-1, j])", _TAG,
        ),
        Metric(
            "forgetting_first", forgetting_first, "matrix", "lower", -1, 1, "fraction", "Forgetting, first minus last",
            "mean_{j < T-1} (R[j, j] - R[T-1, j])", _AVALANCHE,
        ),
        Metric(
            "retained", retained, "matrix", "higher", 0, 1, "fraction", "Accuracy on earlier experiences",
            "mean_{j < T-1} R[T-1, j]", _OURS + "retention",
        ),
        Metric(
            "average_anytime_accuracy", average_anytime_accuracy, "matrix", "higher", 0, 1, "fraction",
            "Average anytime accuracy", "mean_i mean_{j <= i} R[i, j]", _SURVEY,
        ),
        Metric(
            "worst_case_accuracy", worst_case_accuracy, "matrix", "higher", 0, 1, "fraction", "Worst-case accuracy",
            "(R[T-1, T-1] + sum_{j < T-1} min_{l > j} R[l, j]) / T", _GAP,
        ),
        Metric(
            "continual_worst_case_accuracy", continual_worst_case_accuracy, "matrix_and_lowest", "higher", 0, 1,
            "fraction", "Worst-case accuracy, inside experiences too",
            "(R[T-1, T-1] + sum_{j < T-1} min_{i > j} L[i, j]) / T", _GAP,
        ),
        Metric(
            "stability_gap", stability_gap, "matrix_and_lowest", "lower", 0, 1, "fraction", "Stability gap",
            "mean_{i > 0} mean_{j < i} (min(R[i-1, j], R[i, j]) - min(R[i-1, j], L[i, j]))", _OURS + "retention",
        ),
        Metric(
            "best_accuracy", best_accuracy, "inside", "higher", 0, 1, "fraction",
            "Best accuracy at the tests inside an experience", "mean_e max_t A[e, t]", _PRECHELT,
        ),
    )
}  # fmt: skip
"""Every metric by name, in the order in which reports show them: the core ones first, in each group those of the online
rows before those of the accuracy matrix. In an equation R[-1, j] is the untrained model,
L[i, j] the lowest accuracy on experience j inside experience i, and A[e, t] the accuracy on experience e at a test t
inside it; in those of text, L[i, j] is the loss on j after i."""


def find(name: str) -> Metric:
    """Return the metric of that name, or of that path where a scenario or study that was read names it.

    Raises
    ------
    InputError
        If there is none; the nearest name is offered.

    Examples
    --------
    >>> find("forgetting").better
    'lower'
    """
    if name not in METRICS and name not in OWN:
        raise unknown_name("metric", name, [*METRICS, *OWN])
    return METRICS[name] if name in METRICS else OWN[name]


_TABLES = {
    **dict.fromkeys(("by_epoch", "by_experience", "diagnostic_curves", "measure"), "tables"),
    **dict.fromkeys(("recovery_curves", "shifts", "stability_curves"), "tables"),
    **dict.fromkeys(("intransigences", "regrets"), "oracles"),
    "accuracy_matrix": "cells",
    "barriers": "connectivity",
}


def __getattr__(name: str) -> Any:
    # The tables need pandas, which a list of the metrics should not wait for.
    if name in _TABLES:
        return getattr(import_module(f"tamcl.metrics.{_TABLES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
