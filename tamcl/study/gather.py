"""A study's tables, put together from those of its cells a part at a time: all at once they may not fit the memory."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from pathlib import Path

import pandas as pd

from tamcl import stats
from tamcl.errors import AllFailed, Damaged
from tamcl.metrics import METRICS, Metric
from tamcl.metrics.own import own_names, use
from tamcl.metrics.tables import Measuring
from tamcl.results import OPTIONAL, ROWS, TABLES, ArrowTables, Tables, TableWriter, check_table, empty, joined, rows_in
from tamcl.scenario import Scenario
from tamcl.study.folder import find_cell, read_arrow_cell
from tamcl.trial import Trial


def metrics_of(scenario: Scenario) -> list[Metric]:
    """Return what is measured of a scenario's runs: all of ``METRICS``, and those of its own."""
    return [*METRICS.values(), *map(use, own_names(scenario.dump()))]


def write_results(
    directory: Path, cells: Iterable[Path], pairs: Iterable[tuple[str, str]], metrics: Iterable[Metric] | None = None
) -> None:
    """Gather, measure and compare what was trained, and write all tables.

    Parameters
    ----------
    directory : Path
        The study's folder.
    cells : iterable of Path
        The cells' folders, in any order.
    pairs : iterable of (str, str)
        The arms to compare; each two arms if there are none.
    metrics : iterable of Metric, optional
        What is measured, as ``metrics_of`` returns it; all of ``METRICS`` if absent.

    Raises
    ------
    AllFailed
        If nothing was trained.
    Damaged, FileNotFoundError
        If a cell was damaged or removed since it was found finished.
    """
    folders = sorted(cells, key=partial(find_cell, dispensable=OPTIONAL))
    measuring, found = Measuring(metrics), [empty("runs")]
    with TableWriter(directory) as writer:
        for tables in in_parts(folders):
            measuring.add(tables["online"], tables["eval"], tables["runs"], continual=tables["continual"])
            found.append(tables.pop("runs"))
            writer.write(tables)
        runs = pd.concat(found, ignore_index=True)
        _check_trained(runs)
        measured = measuring.table()
        comparisons = stats.compare(measured, runs=runs, pairs=pairs)
        writer.write({"runs": runs, "metrics": measured, "comparisons": comparisons})
        _say_damaged(directory)
        described = runs[[*TABLES["runs"].keys, "config", "status"]].to_csv(index=False)
        writer.finish(blake2b(described.encode(), digest_size=8).hexdigest())


def _check_trained(runs: pd.DataFrame) -> None:
    if len(runs) and (runs["status"] == "failed").all():
        first = runs.iloc[0]
        raise AllFailed(
            f"all {len(runs)} runs failed, the first of them ({first['arm']} "
            f"{Trial(first['lr'], first['options'])} seed {first['seed']}) by {first['error']}"
        )


def measure_cells(cells: Sequence[Path], metrics: Iterable[Metric] | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the ``runs`` and ``metrics`` of cells; all of ``METRICS`` are measured if none are named."""
    measuring, found = Measuring(metrics), [empty("runs")]
    for tables in in_parts(cells):
        measuring.add(tables["online"], tables["eval"], tables["runs"], continual=tables["continual"])
        found.append(tables["runs"])
    return pd.concat(found, ignore_index=True), measuring.table()


def in_parts(cells: Sequence[Path]) -> Iterator[Tables]:
    """Yield the tables of as many cells as are to be in memory at once, and then of the next.

    Raises
    ------
    Damaged
        If one was damaged, or two have the same rows.
    """
    found: list[ArrowTables] = []
    rows = start = 0
    for place, cell in enumerate(cells):
        found.append(read_arrow_cell(cell, dispensable=OPTIONAL))
        rows += rows_in(found[-1])
        if rows >= ROWS or place == len(cells) - 1:
            try:
                tables = joined(found)
            except ValueError as error:
                raise Damaged(f"'{cells[start]}' or one of the {place - start} after it is damaged: {error}") from error
            found, rows, start = [], 0, place + 1
            yield tables


def _say_damaged(directory: Path) -> None:
    """Say which of the tables that are about to be replaced were damaged."""
    for name in TABLES:
        try:
            with suppress(FileNotFoundError):
                check_table(directory, name)
        except Damaged as error:
            print(f"tamcl: {error}; it is gathered again from the cells", file=sys.stderr)
