"""A sweep's folder: a study for each value of a key of its scenario, and tables of all, read with ``load_sweep``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from tamcl.errors import InputError
from tamcl.files.paths import user_path
from tamcl.files.records import read_sweep
from tamcl.metrics.own import recall
from tamcl.results import CELL, TABLES, Results, empty, load_results
from tamcl.scenario.labels import labels, names
from tamcl.scenario.settings import value_text
from tamcl.stats.swept import across, over_all

SWEEP = "sweep.json"
"""The file that says which studies a sweep has."""

STUDIES = "studies"
"""The folder that has theirs."""


class SweptStudy(NamedTuple):
    """One study of a sweep."""

    name: str
    """Its values in words."""
    settings: dict[str, Any]
    """Its values by key."""
    directory: Path
    results: Results | None
    """None where it was not finished."""
    why: str = ""
    """Why there are no results."""


@dataclass(frozen=True)
class Sweep:
    """Studies that differ in the values of some keys.

    Attributes
    ----------
    directory : Path
        The sweep's folder.
    sweep : dict
        ``scenario`` (as it was before a key was changed) and ``command``.
    studies : tuple of SweptStudy
        All that were asked for, finished or not, by their values.
    """

    directory: Path
    sweep: dict[str, Any]
    studies: tuple[SweptStudy, ...]

    @property
    def keys(self) -> list[str]:
        """The keys whose values differ."""
        return list(self.studies[0].settings)

    @property
    def arms(self) -> list[str]:
        """All arms in the order of the scenario."""
        return list(dict.fromkeys(arm for _, results in self.finished for arm in results.arms))

    @property
    def finished(self) -> list[tuple[SweptStudy, Results]]:
        """The studies that have results, with these."""
        return [(study, study.results) for study in self.studies if study.results is not None]

    @property
    def primary(self) -> str:
        """The metric that learning rates were chosen by, and that the answer is about."""
        return str(self.sweep["scenario"].get("protocol", {}).get("tune_by") or "online_accuracy")

    @cached_property
    def labels(self) -> dict[str, dict[str, str]]:
        """How each value is called where there is little room: by its key, and its text in full."""
        return {key: labels(study.settings[key] for study in self.studies) for key in self.keys}

    def table(self, name: str) -> pd.DataFrame:
        """Return a table of all finished studies, its first columns the swept keys.

        Values that are no numbers, or not all of them, are text as in ``--over``; tables are called as in ``labels``.

        Parameters
        ----------
        name : str
            One of ``tamcl.results.TABLES``.
        """
        return self._joined([results.tables[name] for _, results in self.finished], empty(name))

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Every metric of the reported runs that ended well."""
        tables = []
        for _, results in self.finished:
            runs = results.runs
            cells = runs.loc[(runs["phase"] == "report") & (runs["status"] == "ok"), list(CELL)]
            tables.append(results.metrics.merge(cells, on=list(CELL)))
        return self._joined(tables, empty("metrics"))

    @cached_property
    def comparisons(self) -> pd.DataFrame:
        """The comparisons of all studies; ``p_adjusted`` is by Holm over all pairs and values on a metric."""
        return over_all(self.table("comparisons"))

    @cached_property
    def across(self) -> pd.DataFrame:
        """Each pair over all values, as ``tamcl.stats.across`` says it."""
        return across(self.metrics, self.comparisons, self.keys)

    def _joined(self, tables: Sequence[pd.DataFrame], none: pd.DataFrame) -> pd.DataFrame:
        columns = {key: self._column(key) for key in self.keys}
        parts = [
            pd.DataFrame({key: [columns[key][place]] * len(table) for key in self.keys}).join(table)
            for place, table in enumerate(tables)
        ]
        if not parts:
            return none.assign(**dict.fromkeys(self.keys, pd.Series(dtype="float64")))[[*self.keys, *none.columns]]
        return pd.concat(parts, ignore_index=True)

    def _column(self, key: str) -> list[Any]:
        """Return the value of a key in each finished study: numbers, or text if one of all is none."""
        values = [study.settings[key] for study, _ in self.finished]
        numbers = all(_is_number(study.settings[key]) for study in self.studies)
        return [float(value) if numbers else self.labels[key][value_text(value)] for value in values]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def row_name(values: Mapping[Any, Any]) -> str:
    """Return in words which study a row of a sweep's tables is of, by its swept keys.

    Examples
    --------
    >>> row_name({"stream.fraction": 0.2, "model.hidden": "[100, 100]"})
    'stream.fraction = 0.2, model.hidden = [100, 100]'
    """
    return ", ".join(
        f"{key} = {value if isinstance(value, str) else value_text(value)}" for key, value in values.items()
    )


def is_sweep(directory: str | Path) -> bool:
    """Tell whether a folder holds a sweep."""
    return (user_path(directory) / SWEEP).is_file()


def load_sweep(directory: str | Path) -> Sweep:
    """Open the folder that ``tamcl sweep`` wrote.

    Studies that are not finished, or cannot be read, are there with the reason in place of results.

    Raises
    ------
    InputError
        If the folder holds no sweep.
    Damaged
        If ``sweep.json`` was damaged.

    Examples
    --------
    ::

        sweep = load_sweep("out/fractions")
        sweep.metrics.groupby(["stream.fraction", "arm", "metric"])["value"].mean()
        sweep.table("runs")
        sweep.studies[0].results.online
    """
    directory = user_path(directory)
    if not is_sweep(directory):
        raise InputError(f"'{directory}' holds no sweep: {SWEEP} not found")
    sweep = read_sweep(directory / SWEEP)
    held = ordered(sweep["studies"])
    called = names([each["values"] for each in held])
    studies = [_study(directory, each, name) for each, name in zip(held, called, strict=True)]
    return Sweep(directory, sweep, tuple(studies))


def _study(directory: Path, held: dict[str, Any], name: str) -> SweptStudy:
    folder = directory / STUDIES / held["folder"]
    results, why = None, held.get("error", "")
    if not why and not (folder / "study.json").is_file():
        why = "was not begun"
    if not why and not any((folder / f"{name}.parquet").is_file() for name in TABLES):
        why = "was not finished"
    if not why:
        try:
            results = load_results(folder)
            recall(results.study.get("metrics", ()))
        except InputError as error:
            why = str(error)
    return SweptStudy(name, held["values"], folder, results, why)


def ordered(studies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return studies by their values: numbers from the least on, others as they came."""
    places = {}
    for key in studies[0]["values"]:
        values = [study["values"][key] for study in studies]
        texts = list(dict.fromkeys(map(value_text, values)))
        numbers = all(map(_is_number, values))
        places[key] = {text: float(text) if numbers else float(place) for place, text in enumerate(texts)}
    return sorted(studies, key=lambda study: [places[key][value_text(study["values"][key])] for key in places])
