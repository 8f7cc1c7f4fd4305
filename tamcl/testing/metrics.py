"""Checks that every metric passes: run ``check_metric`` on one of your own before adding it to a comparison."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tamcl.metrics import Metric
from tamcl.results import TABLES, empty, read_table, write_table

Array = NDArray[np.float64]
Inputs = tuple[Array, ...]
Check = Callable[[Metric], None]


def check_metric(metric: Metric) -> None:
    """Run all checks on a metric; an ``AssertionError`` names the first one that fails.

    Examples
    --------
    >>> from tamcl.metrics import METRICS
    >>> check_metric(METRICS["forgetting"])
    """
    for check in yield_checks(metric):
        check(metric)


def yield_checks(metric: Metric) -> Iterator[Check]:
    """Yield the checks that apply to a metric."""
    yield check_description
    yield check_returns_a_float_in_range
    yield check_input_is_not_changed
    yield check_tells_runs_apart
    yield check_direction
    yield check_one_experience
    yield check_missing_input_is_an_error
    yield check_table_order_is_irrelevant
    yield check_a_saved_table_gives_the_same


def check_description(metric: Metric) -> None:
    """Its equation, source, label and unit are stated, and its docstring says the direction and has an example."""
    doc = metric.function.__doc__ or ""
    for field in ("name", "equation", "reference", "label", "unit"):
        assert getattr(metric, field), f"{metric.name}: {field} is empty"
    assert metric.low < metric.high, f"{metric.name}: the range {metric.low} to {metric.high} is empty"
    assert f"{metric.better} is better" in doc.split("\n")[0], f"{metric.name}: the first line lacks the direction"
    for part in (".. math::", "References", ">>>"):
        assert part in doc, f"{metric.name}: the docstring lacks {part}"


def check_returns_a_float_in_range(metric: Metric) -> None:
    """It returns a float within its range, on random runs and on runs that are all right or all wrong."""
    for inputs in _runs(metric):
        value = metric.function(*inputs)
        assert type(value) is float, f"{metric.name} returns {type(value).__name__}, not float"
        assert metric.low <= value <= metric.high, f"{metric.name} = {value}, outside {metric.low} to {metric.high}"


def check_input_is_not_changed(metric: Metric) -> None:
    """It leaves the arrays it is given as they were."""
    for inputs in _runs(metric):
        before = [array.copy() for array in inputs]
        metric.function(*inputs)
        same = all(np.array_equal(old, new) for old, new in zip(before, inputs, strict=True))
        assert same, f"{metric.name} changes its input"


def check_tells_runs_apart(metric: Metric) -> None:
    """It is no constant."""
    assert len({metric.function(*inputs) for inputs in _runs(metric)}) > 1, f"{metric.name} is always the same"


def check_direction(metric: Metric) -> None:
    """It follows its direction, and never the other one, when a run gets worse.

    Worse are: fewer right answers, or larger losses, after the last shift; a lower last accuracy on an old experience,
    or on the last one; a lower accuracy on an experience before its turn, where the untrained model counts; a lower
    lowest accuracy on an old experience inside the last one.
    """
    losses = []
    for inputs in _runs(metric):
        value = metric.function(*inputs)
        losses += [metric.sign * (value - metric.function(*worse)) for worse in _worse(metric, inputs)]
    assert min(losses) >= -1e-12, f"{metric.name} is said to be better when {metric.better}, but improves on worse runs"
    assert max(losses) > 1e-12, f"{metric.name} does not tell worse runs"


def check_one_experience(metric: Metric) -> None:
    """One experience gives a value in range, or nan where the metric has none."""
    for inputs in _runs(metric, experiences=1):
        value = metric.function(*inputs)
        assert type(value) is float, f"{metric.name} of one experience returns {type(value).__name__}, not float"
        assert np.isnan(value) or metric.low <= value <= metric.high, f"{metric.name} of one experience = {value}"


def check_missing_input_is_an_error(metric: Metric) -> None:
    """An entry that is nan is never filled in: it is not needed, or the error names it."""
    inputs = next(_runs(metric))
    errors = []
    for which, array in enumerate(inputs if metric.on.startswith(("matrix", "text")) else inputs[:1]):
        for index in np.ndindex(array.shape):
            holed = [values.copy() for values in inputs]
            holed[which][index] = np.nan
            try:
                value = metric.function(*holed)
            except ValueError as error:
                errors.append((_PLACES[metric.on][which].format(*index), str(error)))
            else:
                assert value == metric.function(*inputs), f"{metric.name} fills in the missing entry {index}"
    assert errors, f"{metric.name} never notices a missing entry"
    for place, message in errors:
        assert place in message, f"{metric.name}: the error on a missing entry does not name {place}: {message}"


def check_table_order_is_irrelevant(metric: Metric) -> None:
    """Measured from tables it does not depend on the order of their rows, nor on the other seeds in them."""
    from tamcl.metrics.tables import measure

    runs, rng = list(_runs(metric, number=3)), np.random.default_rng(0)
    found = [_tables(metric, inputs, seed) for seed, inputs in enumerate(runs)]
    rows = {name: pd.concat([tables[name] for tables in found], ignore_index=True) for name in found[0]}
    shuffled = {name: table.iloc[rng.permutation(len(table))] for name, table in rows.items()}
    values = measure(**shuffled, metrics=[metric]).set_index("seed")["value"]
    for seed, inputs in enumerate(runs):
        expected = metric.function(*inputs)
        assert values[seed] == expected, (
            f"{metric.name} of seed {seed} is {values[seed]} from the table, not {expected}"
        )


def check_a_saved_table_gives_the_same(metric: Metric) -> None:
    """It is the same, to the last bit, from tables that were written and read back."""
    from tamcl.metrics.tables import measure

    inputs = next(_runs(metric))
    tables = _tables(metric, inputs, seed=0)
    with TemporaryDirectory() as folder:
        for name, table in tables.items():
            write_table(Path(folder), name, table)
        read = {name: read_table(Path(folder), name) for name in tables}
    stored = measure(**read, metrics=[metric])["value"].item()
    expected = metric.function(*inputs)
    assert stored == expected, f"{metric.name} is {stored} from a saved table, not {expected}"


def _runs(metric: Metric, *, experiences: int = 4, number: int = 50) -> Iterator[Inputs]:
    """Yield inputs of the metric: random runs, then one that is all right and one that is all wrong."""
    rng = np.random.default_rng(0)
    for accuracy in [*rng.random(number), 1.0, 0.0]:
        if metric.on.startswith("matrix"):
            spread = 0.5 * min(accuracy, 1 - accuracy)
            R = rng.uniform(accuracy - spread, accuracy + spread, size=(experiences, experiences))
            if metric.on == "matrix":
                yield (R,)
            elif metric.on == "matrix_and_start":
                yield R, rng.uniform(0, 0.2, size=experiences)
            else:
                yield R, R * rng.random(R.shape)
        elif metric.on == "inside":
            tests = np.repeat(np.arange(experiences, dtype=np.float64), 6)
            yield accuracy * rng.random(len(tests)), tests
        elif metric.on == "text_loss":
            yield (-np.log(0.01 + 0.99 * rng.uniform(0.9, 1.0, size=(experiences, experiences)) * accuracy),)
        else:
            n = np.tile([10.0] * 29 + [6.0], experiences)
            experience = np.repeat(np.arange(experiences, dtype=np.float64), 30)
            since = np.tile(np.arange(30), experiences)
            learned = accuracy * (1 - rng.random() * np.exp(-since / 8))
            correct = rng.binomial(n.astype(int), learned).astype(np.float64)
            yield -np.log(0.1 + 0.9 * correct / n) if metric.on == "loss" else correct, n, experience


def _worse(metric: Metric, inputs: Inputs) -> Iterator[Inputs]:
    which = 1 if metric.on == "matrix_and_lowest" else 0
    places: list[Any] = [(-1, 0), (-1, -1)]
    if metric.on == "matrix_and_start":
        places += [(0, 1)]
    if metric.on in {"inside", "online", "loss"}:
        places = [inputs[-1] == inputs[-1].max()]
    for place in places:
        worse = [array.copy() for array in inputs]
        worse[which][place] = _WORSE[metric.on](worse[which][place])
        yield tuple(worse)


_WORSE: dict[str, Callable[[Any], Any]] = {
    "matrix": lambda accuracy: accuracy / 2,
    "matrix_and_start": lambda accuracy: accuracy / 2,
    "matrix_and_lowest": lambda accuracy: accuracy / 2,
    "inside": lambda accuracy: accuracy / 2,
    "online": lambda correct: np.floor(correct / 2),
    "loss": lambda loss: 2 * loss,
    "text_loss": lambda loss: 2 * loss,
}


_PLACES = {
    "matrix": ["R[{}, {}]"],
    "matrix_and_start": ["R[{}, {}]", "start[{}]"],
    "matrix_and_lowest": ["R[{}, {}]", "lowest[{}, {}]"],
    "inside": ["test {} "],
    "text_loss": ["L[{}, {}]"],
    "online": ["mini-batch {} "],
    "loss": ["mini-batch {} "],
}
"""How an error names a missing entry of each input."""


def _tables(metric: Metric, inputs: Inputs, seed: int) -> dict[str, pd.DataFrame]:
    """Return the tables that a run of these inputs leaves, as ``measure`` takes them."""
    cell = {"scenario": "random", "arm": "sgd", "lr": 0.1, "seed": seed}
    tables = {name: empty(name) for name in ("online", "eval", "continual")}
    if metric.on in {"online", "loss"}:
        values, n, experience = inputs
        online = {"correct": n, "loss": 1.0, "step": np.arange(len(n)), "n": n, "experience": experience.astype(int)}
        rows = online | {"loss" if metric.on == "loss" else "correct": values}
        return tables | {"online": pd.DataFrame(cell | rows)}
    if metric.on == "inside":
        accuracy, experience = inputs
        of = experience.astype(int)
        inside = {"experience": of, "step": np.arange(len(accuracy)), "evaluated_on": of}
        return tables | {"continual": pd.DataFrame(cell | inside | {"accuracy": accuracy, "n": 100, "loss": 1.0})}
    start = inputs[1:] if metric.on == "matrix_and_start" else ()
    accuracy = np.vstack([*start, inputs[0]])
    i, j = np.indices(accuracy.shape).reshape(2, -1)
    tested = {"trained_on": i - len(start), "evaluated_on": j, "n": 100, "accuracy": 0.5, "loss": 1.0}
    measured = "loss" if metric.on == "text_loss" else "accuracy"
    tables["eval"] = pd.DataFrame(cell | tested | {measured: accuracy.ravel()})
    if metric.on == "text_loss":
        filled = {"str": "", "int64": 1, "bool": False, "float64": 0.0}
        run = {name: filled[kind] for name, kind in TABLES["runs"].columns.items()}
        tables["runs"] = pd.DataFrame([run | cell | {"status": "ok", "data": '{"vocabulary": 2}'}])
    if metric.on == "matrix_and_lowest":
        i, j = np.indices(inputs[1].shape).reshape(2, -1)
        inside = {"experience": i, "step": i, "evaluated_on": j, "accuracy": inputs[1].ravel()}
        tables["continual"] = pd.DataFrame(cell | inside | {"n": 100, "loss": 1.0})
    return tables
