"""Which arm does best over many studies: average ranks, and which of them are told apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib import rc_context

from tamcl import plots, stats
from tamcl.errors import InputError
from tamcl.files.atomic import write_atomic
from tamcl.files.paths import user_path
from tamcl.metrics import find
from tamcl.results import load_results


def rank_studies(directories: Sequence[str | Path], metric: str = "online_accuracy") -> pd.DataFrame:
    """Return the average rank of each arm over several studies, as ``tamcl.stats.average_ranks`` does.

    Each folder counts as a scenario of its own, under its path, whatever the scenario's name in its tables: the same
    scenario with other settings is another one here. Arms that not every study has are left out.

    Parameters
    ----------
    directories : sequence of path
        Folders of finished studies, at least two.
    metric : str
        The metric to rank by, in its direction.

    Raises
    ------
    InputError
        If a folder holds no study or is given twice, the metric is unknown, or fewer than two arms are in every study.
    """
    names = [str(directory) for directory in directories]
    if len(names) < 2:
        raise InputError(f"DIR = {', '.join(names) or 'none'}: ranks need at least two studies")
    if twice := [name for name in names if [*map(_place, names)].count(_place(name)) > 1]:
        raise InputError(f"DIR = {twice[-1]}: is given twice")
    tables = []
    for name in names:
        results = load_results(name)
        tables.append(results.phase(results.metrics).assign(scenario=name))
    find(metric)  # one of somebody's own is known by its studies
    common = set.intersection(*(_with_value(table, metric) for table in tables))
    if len(common) < 2:
        found = ", ".join(sorted(common)) or "none"
        raise InputError(f"'{metric}': two arms must have a value in every study, and here have {found}")
    rows = pd.concat(tables)
    return stats.average_ranks(rows[rows["arm"].isin(common)], metric)


def _place(name: str) -> Path:
    return user_path(name).resolve()


def _with_value(table: pd.DataFrame, metric: str) -> set[str]:
    return set(table.loc[(table["metric"] == metric) & table["value"].notna(), "arm"])


def write_ranks(ranks: pd.DataFrame, directory: str | Path, arms: Sequence[str] | None = None) -> Path:
    """Write ``ranks.parquet`` and the critical-difference diagram, and return where the picture is.

    ``arms`` are all arms of a study in their order, such as the first: they are drawn as in its report.
    """
    directory = user_path(directory)
    write_atomic(directory / "ranks.parquet", lambda path: ranks.to_parquet(path, index=False))
    picture = directory / "critical_differences.png"
    with rc_context(plots.theme()):  # type: ignore[arg-type]
        figure = plots.critical_differences(ranks, arms=arms).get_figure(root=True)
        assert figure is not None
        write_atomic(picture, lambda path: figure.savefig(path, dpi=200, format="png"))
    return picture
