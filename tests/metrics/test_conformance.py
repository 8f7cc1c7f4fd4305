"""Every metric passes every check; a metric with a fault is caught by the check that is for it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import tamcl.metrics
from tamcl.metrics import METRICS, average_accuracy, forgetting, forward_transfer, online_accuracy
from tamcl.metrics.retention import EXAMPLE  # noqa: F401 - for the examples in the docstrings that are copied here
from tamcl.testing import metrics as checks
from tamcl.testing.metrics import check_metric, yield_checks

CASES = [
    pytest.param(metric, check, id=f"{metric.name}:{check.__name__}")
    for metric in METRICS.values()
    for check in yield_checks(metric)
]


@pytest.mark.parametrize(("metric", "check"), CASES)
def test_conformance(metric, check):
    check(metric)


def test_check_metric_runs_every_check():
    available = {name for name in vars(checks) if name.startswith("check_")} - {"check_metric"}
    assert {check.__name__ for check in yield_checks(METRICS["drop"])} == available


R_PERFECT, R_CHANCE, R_FORGOTTEN = np.ones((5, 5)), np.full((5, 5), 0.1), np.eye(5)
ONES, TENTHS = np.full(300, 10.0), np.full(300, 1.0)
CONSTANTS = {  # what is right throughout, right by chance (1 of 10), and forgotten at once, is given; five experiences
    "online_accuracy": (1, 0.1, None),
    "online_loss": (0, 0.9, None),
    "drop": (0, 0, None),
    "recovery_steps": (0, 0, None),
    "recovered": (1, 1, None),
    "area_lost": (0, 0, None),
    "recovery_auc": (1, 0.1, None),
    "learning_curve_area": (1, 0.1, None),
    "end_accuracy": (1, 0.1, None),
    "end_accuracy_slope": (0, 0, None),
    "perplexity": (1, 10, np.exp(1)),
    "validation_loss": (0, np.log(10), 1),
    "average_accuracy": (1, 0.1, 0.2),
    "average_anytime_accuracy": (1, 0.1, (1 + 1 / 2 + 1 / 3 + 1 / 4 + 1 / 5) / 5),
    "learning_accuracy": (1, 0.1, 1),
    "forgetting": (0, 0, 1),
    "forgetting_max": (0, 0, 1),
    "forgetting_first": (0, 0, 1),
    "backward_transfer": (0, 0, -1),
    "forward_transfer": (0.9, 0, -0.1),
    "retained": (1, 0.1, 0),
    "worst_case_accuracy": (1, 0.1, 0.2),
    "continual_worst_case_accuracy": (1, 0.1, 0.2),
    "stability_gap": (0, 0, 0),
    "best_accuracy": (1, 0.1, None),
}


@pytest.mark.parametrize("name", METRICS)
def test_constants(name):
    metric = METRICS[name]
    if metric.on.startswith("matrix"):
        inputs = [R_PERFECT, R_CHANCE, R_FORGOTTEN]
    elif metric.on == "inside":
        inputs = [ONES / 10, TENTHS / 10]
    elif metric.on == "text_loss":
        inputs = [np.zeros((5, 5)), np.full((5, 5), np.log(10)), 1.25 * (1 - np.eye(5))]
    else:
        inputs = [1 - ONES / 10, 1 - TENTHS / 10] if metric.on == "loss" else [ONES, TENTHS]
    own: dict[str, tuple[np.ndarray, ...]] = {"matrix": (), "text_loss": (), "matrix_and_start": (np.full(5, 0.1),)}
    own["inside"] = (np.repeat(np.arange(5), 60),)
    rest = own.get(metric.on, (ONES, np.repeat(np.arange(5), 60)))
    for first, expected in zip(inputs, CONSTANTS[name], strict=False):
        more = (first,) if metric.on == "matrix_and_lowest" else rest
        assert metric.function(first, *more) == pytest.approx(expected, abs=1e-12)


def test_the_core_comes_first():
    core = [metric.core for metric in METRICS.values()]
    assert core == sorted(core, reverse=True)
    assert 5 <= sum(core) <= 10


def documented(function, like=average_accuracy):
    function.__doc__ = like.__doc__
    return function


def zero_filled(R):
    return average_accuracy(np.nan_to_num(R))


def in_place(R):
    R[0, 0] = 0.0
    return average_accuracy(R)


def numpy_scalar(R):
    return np.float64(average_accuracy(R))


def no_one_experience(R):
    return float(np.mean(R[-1, :-1]) if len(R) > 1 else 7.0)


def upside_down(correct, n, experience):
    return 1 - online_accuracy(correct, n, experience)


def no_start(R, start):
    return forward_transfer(R, np.nan_to_num(start))


def order_of_rows(correct, n, experience):
    return float(correct[0] / n[0])


ACC, ONLINE = METRICS["average_accuracy"], METRICS["online_accuracy"]


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (replace(ACC, function=documented(zero_filled)), "fills in the missing entry"),
        (
            replace(METRICS["forward_transfer"], function=documented(no_start, forward_transfer)),
            "fills in the missing entry",
        ),
        (replace(ACC, function=documented(in_place)), "changes its input"),
        (replace(ACC, function=documented(numpy_scalar)), "returns float64, not float"),
        (replace(ACC, function=documented(no_one_experience)), "of one experience = 7.0"),
        (replace(ACC, function=documented(lambda R: 0.5)), "is always the same"),
        (replace(ACC, low=0.5), "outside 0.5 to 1"),
        (replace(METRICS["forgetting"], function=documented(forgetting, forgetting), low=0), "outside 0 to 1"),
        (replace(ACC, better="lower"), "the first line lacks the direction"),
        (replace(ONLINE, function=documented(upside_down, online_accuracy)), "improves on worse runs"),
        (replace(ONLINE, function=documented(order_of_rows, online_accuracy)), "does not tell worse runs"),
        (replace(ACC, equation=""), "equation is empty"),
        (replace(ACC, function=lambda R: average_accuracy(R)), "the first line lacks the direction"),
    ],
)  # fmt: skip
def test_faults_are_caught(metric, message):
    with pytest.raises(AssertionError, match=message):
        check_metric(metric)


def test_names_and_exports():
    assert [metric.name for metric in METRICS.values()] == list(METRICS)
    assert sorted(tamcl.metrics.__all__) == tamcl.metrics.__all__
    assert all(hasattr(tamcl.metrics, name) for name in tamcl.metrics.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        tamcl.metrics.nothing  # noqa: B018


def test_importing_the_metrics_is_cheap():
    code = "import sys, tamcl.metrics; print(*{'torch', 'avalanche', 'pandas', 'scipy'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def test_axis_and_summary():
    assert ACC.axis == "Average accuracy (fraction, higher is better)"
    assert METRICS["forgetting"].summary.startswith("Return how far earlier experiences have fallen")
    assert [METRICS[name].sign for name in ("forgetting", "drop", "online_accuracy")] == [-1, -1, 1]
