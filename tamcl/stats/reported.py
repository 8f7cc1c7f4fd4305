"""Which values are compared: those of finished reported runs, one learning rate an arm; what is asked is checked."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

import pandas as pd

from tamcl.errors import InputError, unknown_name
from tamcl.results import CELL, with_options

Pair = tuple[str, str]


def values_and_pairs(
    metrics: pd.DataFrame, runs: pd.DataFrame | None, pairs: Iterable[Pair] | None, confidence: float = 0.95
) -> tuple[pd.DataFrame, list[Pair]]:
    """Return the values to compare and the pairs, after checking what was asked for."""
    if not 0 < confidence < 1:
        raise InputError(f"confidence = {confidence}: a share between 0 and 1 is needed")
    reported = metrics if runs is None else _reported(metrics, runs)
    _one_lr_an_arm(reported)
    arms = set(metrics["arm"]) | set(() if runs is None else runs["arm"])
    return reported, list(combinations(sorted(set(reported["arm"])), 2)) if pairs is None else _checked(pairs, arms)


def _reported(metrics: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the values of finished runs of the phase "report", with the fingerprint of their stream."""
    known = with_options(runs)[[*CELL, "phase", "status", "fingerprint"]]
    rows = with_options(metrics).merge(known, on=list(CELL), how="left")
    orphans = rows[rows["phase"].isna()]
    if len(orphans):
        first = orphans.iloc[0][list(CELL)]
        names = ", ".join(f"{name} {value}" for name, value in first.items() if value != "")
        raise InputError(f"metrics has values of a run that runs does not have: {names}")
    return rows[(rows["phase"] == "report") & (rows["status"] == "ok")]


def _one_lr_an_arm(metrics: pd.DataFrame) -> None:
    trials = with_options(metrics)[["scenario", "arm", "lr", "options"]].drop_duplicates()
    for (scenario, arm), rows in trials.groupby(["scenario", "arm"]):
        several = sorted(rows["lr"].unique())
        if len(several) > 1:
            listed = ", ".join(f"{lr:g}" for lr in several)
            raise InputError(f"arm '{arm}' of {scenario} has several learning rates ({listed}): compare one an arm")
        if len(rows) > 1:
            listed = "; ".join(sorted(rows["options"]))
            raise InputError(f"arm '{arm}' of {scenario} has several values of options ({listed}): compare one an arm")


def _checked(pairs: Iterable[Pair], arms: set[str]) -> list[Pair]:
    chosen = [(a, b) for a, b in pairs]
    for a, b in chosen:
        for arm in (a, b):
            if arm not in arms:
                raise unknown_name("arm", arm, arms)
        if a == b or chosen.count((a, b)) + chosen.count((b, a)) > 1:
            raise InputError(f"pair ('{a}', '{b}'): two different arms are needed, each two of them once")
    return chosen


def require_same_streams(rows: pd.DataFrame, pairs: list[Pair]) -> None:
    """Refuse pairs of runs of one seed that saw different streams."""
    for scenario, of_scenario in rows.drop_duplicates(["scenario", "arm", "seed"]).groupby("scenario"):
        prints = of_scenario.pivot(index="seed", columns="arm", values="fingerprint")
        for a, b in pairs:
            both = prints.reindex(columns=[a, b]).dropna()
            for seed, first, second in both[both[a] != both[b]].itertuples():
                raise InputError(
                    f"'{a}' and '{b}' cannot be paired on seed {seed} of {scenario}: "
                    f"their streams differ (fingerprints {first} and {second})"
                )
