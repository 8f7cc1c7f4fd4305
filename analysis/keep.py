"""Keep the tables of a study, or of a sweep, beside the notebooks, small. From the root of the repository::

    python analysis/keep.py out/task_shift_five analysis/results/task_shift_five
    python analysis/keep.py out/gamma analysis/results/gamma online_accuracy forgetting

The first keeps a study's tables without the mini-batches and tests of its tuning seeds, whose scores stay in the table
of metrics. The second keeps, of a study or a sweep, the metrics that are named and their comparisons alone.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pandas as pd

from tamcl.results import TABLES, load_results


def keep(study: Path, folder: Path) -> None:
    """Write the tables of a finished study to a folder."""
    results = load_results(study)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(study / "study.json", folder)
    for name in TABLES:
        table = getattr(results, name)
        table = results.phase(table) if name in {"online", "eval", "diagnostics"} else table
        if not table.empty:
            _write(table, folder / f"{name}.parquet")


def keep_metrics(source: Path, folder: Path, metrics: list[str]) -> None:
    """Write some metrics of a finished study or sweep, and their comparisons, to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(next(source / name for name in ("sweep.json", "study.json") if (source / name).exists()), folder)
    for name in ("metrics", "comparisons"):
        table = pd.read_parquet(source / f"{name}.parquet")
        _write(table[table["metric"].isin(metrics)], folder / f"{name}.parquet")


def _write(table: pd.DataFrame, path: Path) -> None:
    table.to_parquet(path, index=False, compression="zstd", compression_level=19)


if __name__ == "__main__":
    source, folder, *metrics = sys.argv[1:]
    if metrics:
        keep_metrics(Path(source), Path(folder), metrics)
    else:
        keep(Path(source), Path(folder))
