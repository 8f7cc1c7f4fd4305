"""Keep a study's tables beside the notebooks, small: without the mini-batches and tests of the tuning seeds.

Their scores stay, in the table of metrics. From the root of the repository::

    python analysis/keep.py out/task_shift_five analysis/results/task_shift_five
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

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
            table.to_parquet(folder / f"{name}.parquet", index=False, compression="zstd", compression_level=19)


if __name__ == "__main__":
    keep(*map(Path, sys.argv[1:]))
