"""How far two runs of one cell agree: bit by bit, or by how much what they came to differs."""

from __future__ import annotations

from math import inf, isfinite, isnan

from tamcl.results import Tables


def is_same(one: Tables, other: Tables) -> bool:
    """Whether all that was measured in two runs is the same, bit by bit."""
    return all(one[name].equals(other[name]) for name in ("online", "eval", "continual"))


def means(tables: Tables, target: str) -> list[float]:
    """Return a run's mean over the stream, and that of every test: accuracies, or losses where numbers are learnt."""
    column, rows = ("loss", "loss") if target == "number" else ("correct", "accuracy")
    online = tables["online"]
    total = (online[column] * (online["n"] if column == "loss" else 1)).sum(skipna=False)
    return [float(total / max(1, online["n"].sum())), *tables["eval"][rows].astype(float)]


def apart(one: float, other: float, *, relative: bool = False) -> float:
    """Return by how much two numbers differ, or by which part of the larger; infinitely if one of them is no number.

    Examples
    --------
    >>> apart(0.5, 0.75), apart(2.0, 4.0, relative=True), apart(inf, 1.0), apart(inf, inf)
    (0.25, 0.5, inf, 0.0)
    """
    if one == other or (isnan(one) and isnan(other)):
        return 0.0
    if not (isfinite(one) and isfinite(other)):
        return inf
    return abs(one - other) / (max(abs(one), abs(other)) if relative else 1)
