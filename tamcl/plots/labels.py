"""What an axis says of a metric: its name, its unit, and which way is better."""

from __future__ import annotations

from tamcl.metrics import METRICS


def metric_axis(metric: str) -> tuple[str, str, float]:
    """Return how a metric is shown: its label, its unit, and the factor from stored values to that unit.

    Examples
    --------
    >>> metric_axis("online_accuracy")
    ('Online accuracy', '%', 100.0)
    """
    if metric not in METRICS:
        return metric.replace("_", " "), "", 1.0
    known = METRICS[metric]
    return (known.label, "%", 100.0) if known.unit == "fraction" else (known.label, known.unit, 1.0)


def with_direction(metric: str, label: str, unit: str) -> str:
    """Return a label with its unit and the metric's direction.

    Examples
    --------
    >>> with_direction("drop", "Drop", "%")
    'Drop (%, lower is better)'
    """
    better = f"{METRICS[metric].better} is better" if metric in METRICS else ""
    inside = ", ".join(part for part in (unit, better) if part)
    return f"{label} ({inside})" if inside else label


def better_side(metric: str) -> str:
    """Return which side of 0 a difference lies on when the first of two arms is better.

    Examples
    --------
    >>> better_side("forgetting")
    'below 0: the first is better'
    """
    side = {"higher": "above", "lower": "below"}
    return f"{side[METRICS[metric].better]} 0: the first is better" if metric in METRICS else ""
