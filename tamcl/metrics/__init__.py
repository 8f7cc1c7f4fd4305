"""Metrics of retention and of adaptation: array functions, the table of what is known of each, and tables of them."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from tamcl.errors import unknown_name
from tamcl.metrics.adaptation import area_lost, drop, online_accuracy, online_loss, recovered, recovery_steps
from tamcl.metrics.metric import Metric
from tamcl.metrics.retention import average_accuracy, backward_transfer, forgetting, learning_accuracy

if TYPE_CHECKING:
    from tamcl.metrics.tables import accuracy_matrix, measure, recovery_curves, shifts

__all__ = [
    "METRICS",
    "Metric",
    "accuracy_matrix",
    "area_lost",
    "average_accuracy",
    "backward_transfer",
    "drop",
    "find",
    "forgetting",
    "learning_accuracy",
    "measure",
    "online_accuracy",
    "online_loss",
    "recovered",
    "recovery_curves",
    "recovery_steps",
    "shifts",
]

_GEM = "Gradient Episodic Memory for Continual Learning, 2017, https://arxiv.org/abs/1706.08840"
_RWALK = "Riemannian Walk for Incremental Learning, 2018, eq. 3, https://arxiv.org/abs/1801.10112"
_MER = "Learning to Learn without Forgetting, 2019, https://arxiv.org/abs/1810.11910"
_GAMA = "On evaluating stream learning algorithms, 2013, https://doi.org/10.1007/s10994-012-5320-9"
_OWN = "tamcl's own definition: see tamcl.metrics.adaptation"

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "online_accuracy", online_accuracy, "online", "higher", 0, 1, "fraction", "Online accuracy",
            "sum_t c_t / sum_t n_t", _GAMA,
        ),
        Metric(
            "online_loss", online_loss, "loss", "lower", 0, inf, "loss", "Online loss",
            "sum_t n_t l_t / sum_t n_t", _GAMA,
        ),
        Metric(
            "drop", drop, "online", "lower", -1, 1, "fraction", "Drop at a shift",
            "mean_e (b_e - a_e0)", _OWN,
        ),
        Metric(
            "recovery_steps", recovery_steps, "online", "lower", 0, inf, "mini-batches", "Time to recover",
            "mean_e min {k: a_ek >= 0.95 b_e}", _OWN,
        ),
        Metric(
            "recovered", recovered, "online", "higher", 0, 1, "fraction", "Shifts recovered from",
            "mean_e [max_k a_ek >= 0.95 b_e]", _OWN,
        ),
        Metric(
            "area_lost", area_lost, "online", "lower", 0, inf, "accuracy-steps", "Area lost after a shift",
            "mean_e sum_{k < r_e} (b_e - a_ek)", _OWN,
        ),
        Metric(
            "average_accuracy", average_accuracy, "matrix", "higher", 0, 1, "fraction", "Average accuracy",
            "mean_j R[T-1, j]", _GEM,
        ),
        Metric(
            "learning_accuracy", learning_accuracy, "matrix", "higher", 0, 1, "fraction", "Learning accuracy",
            "mean_j R[j, j]", _MER,
        ),
        Metric(
            "forgetting", forgetting, "matrix", "lower", -1, 1, "fraction", "Forgetting",
            "mean_{j < T-1} (max_{j <= l < T-1} R[l, j] - R[T-1, j])", _RWALK,
        ),
        Metric(
            "backward_transfer", backward_transfer, "matrix", "higher", -1, 1, "fraction", "Backward transfer",
            "mean_{j < T-1} (R[T-1, j] - R[j, j])", _GEM,
        ),
    )
}  # fmt: skip
"""Every metric by name, in the order in which reports show them."""


def find(name: str) -> Metric:
    """Return the metric of that name.

    Raises
    ------
    InputError
        If there is none; the nearest name is offered.

    Examples
    --------
    >>> find("forgetting").better
    'lower'
    """
    if name not in METRICS:
        raise unknown_name("metric", name, METRICS)
    return METRICS[name]


def __getattr__(name: str) -> Any:
    # The tables need pandas, which a list of the metrics should not wait for.
    if name in {"accuracy_matrix", "measure", "recovery_curves", "shifts"}:
        from tamcl.metrics import tables

        return getattr(tables, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
