"""A study to hold against its oracles, and what pandas says of the two."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from tamcl.report import oracle_verdicts
from tamcl.results import load_results
from tamcl.scenario.load import load_scenario
from tamcl.scenario.schema import Scenario

ARMS = ["sgdm", "tam"]
RATES = {"sgdm": 0.02, "tam": 0.04}
"""The better ones of two each; both are the upper ends of their grids, and beyond them it is better still."""
KINDS = ["restart", "no_shift"]
SETTINGS = [
    *("stream.experiences=3", "protocol.seeds=2", "protocol.tune_seeds=1", "evaluation.every=5"),
    *("arms.sgdm.lr=[0.01, 0.02]", "arms.tam.lr=[0.04, 0.02]"),
]


def scenario_of(tiny: Path, *settings: str) -> Scenario:
    return load_scenario(str(tiny), [*SETTINGS, *settings], ARMS)


def tables(folder: Path, name: str, kind: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A table of the study on its reported seeds, and the same of an oracle."""
    own = pd.read_parquet(folder / f"{name}.parquet").query("seed < 1000")
    return own, pd.read_parquet(folder / "oracles" / kind / f"{name}.parquet")


def said(folder: Path, kind: str) -> list[str]:
    """The sentences on one oracle."""
    return [words for words in oracle_verdicts(load_results(folder)) if f"{kind.replace('_', '-')} oracle" in words]


def by_hand(folder: Path, kind: str) -> pd.DataFrame:
    """Regret in points, a row a seed and a column an arm."""
    share = [
        table.groupby(["seed", "arm"])["correct"].sum() / table.groupby(["seed", "arm"])["n"].sum()
        for table in tables(folder, "online", kind)
    ]
    return 100 * (share[1] - share[0]).unstack("arm")
