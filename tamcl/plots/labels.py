"""What a picture says of a metric, its name, unit and better side, and how it calls an arm."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from tamcl.metrics import METRICS, find
from tamcl.metrics.own import OWN


def metric_axis(metric: str) -> tuple[str, str, float]:
    """Return how a metric is shown: its label, its unit, and the factor from stored values to that unit.

    Examples
    --------
    >>> metric_axis("online_accuracy")
    ('Online accuracy', '%', 100.0)
    """
    if metric not in METRICS and metric not in OWN:
        return metric.replace("_", " "), "", 1.0
    known = find(metric)
    return (known.label, "%", 100.0) if known.unit == "fraction" else (known.label, known.unit, 1.0)


def bounds(metric: str) -> tuple[float, float]:
    """Return the least and the largest value that a metric can have, as it is shown.

    Examples
    --------
    >>> bounds("forgetting"), bounds("online_loss")
    ((-100.0, 100.0), (0.0, inf))
    """
    if metric not in METRICS and metric not in OWN:
        return -inf, inf
    factor = metric_axis(metric)[2]
    return factor * find(metric).low, factor * find(metric).high


def with_direction(metric: str, label: str, unit: str) -> str:
    """Return a label with its unit and the metric's direction.

    Examples
    --------
    >>> with_direction("drop", "Drop", "%")
    'Drop (%, lower is better)'
    """
    better = f"{find(metric).better} is better" if metric in METRICS or metric in OWN else ""
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
    return f"{side[find(metric).better]} 0: the first is better" if metric in METRICS or metric in OWN else ""


LONGEST = 20
"""Letters of an arm's name that find room in a picture, on a phone too."""


def short_names(arms: Iterable[str]) -> dict[str, str]:
    """Return how each arm is called in a picture: a long name without its middle, and no two of them the same.

    Examples
    --------
    >>> short_names(["tam", "momentum_of_a_half_and_decay"])
    {'tam': 'tam', 'momentum_of_a_half_and_decay': 'momentum_o…and_decay'}
    """
    arms = list(dict.fromkeys(arms))
    kept = LONGEST - 1
    middle = (kept + 1) // 2
    for head in sorted(range(2, kept - 1), key=lambda head: abs(head - middle)):  # both ends alike, else what differs
        names = [arm if len(arm) <= LONGEST else f"{arm[:head]}…{arm[head - kept :]}" for arm in arms]
        if len(set(names)) == len(arms):
            return dict(zip(arms, names, strict=True))
    return {arm: arm if len(arm) <= LONGEST else f"{arm[: kept - 4]}… {i}" for i, arm in enumerate(arms, start=1)}
