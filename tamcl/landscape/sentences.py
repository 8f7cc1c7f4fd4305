"""What a landscape shows, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from tamcl import stats
from tamcl.findings.study import Study
from tamcl.landscape.tables import Landscape
from tamcl.metrics import barriers
from tamcl.results import CELL

_CURVATURES = {"hessian_top": "the largest eigenvalue of the Hessian", "sam_sharpness": "SAM's sharpness"}


def sentences(found: Landscape) -> list[str]:
    """Return a sentence for every pair of ends, and for every arm on the curvature where its runs ended."""
    pairs = found.lines[["arm_a", "arm_b"]].drop_duplicates().itertuples(index=False, name=None)
    apart = [(str(a), str(b)) for a, b in pairs if a != b]
    return [*_of_lines(barriers(found.lines)), *_of_ends(found.ends, apart)]


def stale(study: Study, found: Landscape | None) -> list[str]:
    """Return a sentence if runs of a landscape are no longer what the study reports, or others have come since."""
    if found is None:
        return []
    runs = study.runs[study.runs["status"] == "ok"]
    both = runs.merge(found.ends[[*CELL, "final_weights"]], on=[*CELL, "final_weights"])
    gone, more = len(found.ends) - len(both), len(runs[runs["arm"].isin(found.ends["arm"])]) - len(both)
    if not (gone or more):
        return []
    return [
        f"The landscape is of {len(found.ends)} runs, of which {gone} are not the study's any more, and {more} reported"
        " runs of its arms are not in it: see tamcl landscape."
    ]


def _of_lines(table: pd.DataFrame) -> Iterator[str]:
    for (arm_a, arm_b), rows in table.groupby(["arm_a", "arm_b"], sort=False):
        who = f"two seeds of {arm_a}" if arm_a == arm_b else f"{arm_a} and {arm_b}"
        said = []
        for part in ("test", "train"):
            of_part = rows[rows["part"] == part]
            words = f"{_mean(of_part['loss_barrier'], '.3f')} in {part} loss"
            if of_part["accuracy_barrier"].notna().any():
                words += f" and {_mean(100 * of_part['accuracy_barrier'], '.1f')} points of {part} accuracy"
            said.append(words)
        yield f"On the straight line between the ends of {who} the barrier is {'; '.join(said)} ({_count(rows)})."


def _of_ends(table: pd.DataFrame, pairs: list[tuple[str, str]]) -> Iterator[str]:
    for column, name in _CURVATURES.items() if len(table) else ():
        values = table.pivot(index="seed", columns="arm", values=column)
        arms = [f"{_mean(values[arm].dropna(), '.3g')} of {arm}" for arm in dict.fromkeys(table["arm"])]
        apart = [f"{a} minus {b} {_mean((values[a] - values[b]).dropna(), '+.3g')}" for a, b in pairs]
        seeds = f"{len(values)} seed{'s' * (len(values) != 1)}"
        yield f"At the end of training {name} is {', '.join(arms)}; {', '.join([*apart, ''])}mean over {seeds}."


def _mean(values: pd.Series, form: str) -> str:
    """Say the mean over seeds with its 95 % interval, which two seeds at least have."""
    low, high = stats.interval(values)
    mean = format(values.mean(), form)
    return f"{mean} ({low:{form}} to {high:{form}})" if np.isfinite(low) else mean


def _count(rows: pd.DataFrame) -> str:
    lines = rows.drop_duplicates(["seed_a", "seed_b"])
    noun = "pair" if (lines["seed_a"] != lines["seed_b"]).any() else "seed"
    return f"{len(lines)} {noun}{'s' * (len(lines) != 1)}"
