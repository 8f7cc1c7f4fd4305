"""A study that was read: its tables as its answers are made from them."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from tamcl import stats
from tamcl.errors import Damaged
from tamcl.files.records import read_claims
from tamcl.metrics import METRICS, find
from tamcl.metrics.own import recall
from tamcl.optim.transfer import transfer_lr
from tamcl.results import CELL, Results, read_table
from tamcl.stats import tuning
from tamcl.trial import Trial


@dataclass(frozen=True)
class Study:
    """A study's results, as the report looks at them."""

    results: Results

    def __post_init__(self) -> None:
        recall(self.results.study.get("metrics", ()))

    @property
    def scenario(self) -> dict[str, Any]:
        """What was run."""
        found: dict[str, Any] = self.results.study.get("scenario", {})
        return found

    @property
    def protocol(self) -> dict[str, Any]:
        """Seeds, tuning and pairs."""
        found: dict[str, Any] = self.scenario.get("protocol", {})
        return {"tune_by": "online_accuracy", "pairs": []} | found

    @property
    def primary(self) -> str:
        """The metric that the learning rates were chosen by, and that the answer is about."""
        return str(self.protocol["tune_by"])

    @cached_property
    def arms(self) -> list[str]:
        """All arms in the order of the scenario."""
        return self.results.arms

    @cached_property
    def pairs(self) -> list[tuple[str, str]]:
        """The comparisons that the answer is about: those of the scenario, else every arm against the first."""
        named = [(str(a), str(b)) for a, b in self.protocol["pairs"]]
        return named or [(arm, self.arms[0]) for arm in self.arms[1:]]

    @cached_property
    def nulls(self) -> set[tuple[str, str]]:
        """Pairs of a method and its null model."""
        arms = self.scenario.get("arms", {})
        return {(arm["null_of"], name) for name, arm in arms.items() if arm.get("null_of")}

    @cached_property
    def runs(self) -> pd.DataFrame:
        """Runs of the reported seeds."""
        return self.results.runs[self.results.runs["phase"] == "report"]

    @cached_property
    def online(self) -> pd.DataFrame:
        """Online rows of the reported runs that ended well; what is left of the others is no result."""
        return self._reported("online")

    @cached_property
    def evaluated(self) -> pd.DataFrame:
        """Evaluations of the reported runs that ended well."""
        return self._reported("eval")

    @cached_property
    def diagnostics(self) -> pd.DataFrame:
        """Diagnostics of the reported runs that ended well."""
        return self._reported("diagnostics")

    @cached_property
    def continual(self) -> pd.DataFrame:
        """Tests inside experiences of the reported runs that ended well."""
        return self._reported("continual")

    @property
    def is_tested_by_epoch(self) -> bool:
        """Whether classes were tested after every epoch."""
        every = self.scenario.get("evaluation", {}).get("every")
        return every == "epoch" and bool(self.continual["accuracy"].notna().any())

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Metrics of the reported runs that ended well."""
        return self._reported("metrics")

    def _reported(self, name: str) -> pd.DataFrame:
        return self.results.rows_of(name, self.runs.loc[self.runs["status"] == "ok", list(CELL)])

    @property
    def shown_metrics(self) -> list[str]:
        """Metrics that have a value, the one that was tuned for first."""
        present = set(self.metrics.dropna(subset="value")["metric"])
        return sorted(present, key=lambda name: (name != self.primary, [*METRICS, name].index(name), name))

    @property
    def core_metrics(self) -> list[str]:
        """Metrics that are shown first: those that say most, and the one that was tuned for."""
        return [name for name in self.shown_metrics if name == self.primary or find(name).core]

    @property
    def more_metrics(self) -> list[str]:
        """Metrics that say more of the same or of special cases."""
        return [name for name in self.shown_metrics if name not in self.core_metrics]

    @property
    def has_accuracy(self) -> bool:
        """Whether classes were learnt; where numbers are, there is a loss alone."""
        return bool(self.online["correct"].notna().any())

    @property
    def is_text(self) -> bool:
        """Whether the data are text, of which results count tokens."""
        return "vocabulary" in self.data

    @cached_property
    def differences(self) -> pd.DataFrame:
        """Paired differences of the answer's pairs, a row a seed and metric."""
        known = set(self.metrics["arm"])
        return stats.differences(self.metrics, pairs=[pair for pair in self.pairs if set(pair) <= known])

    @cached_property
    def comparisons(self) -> pd.DataFrame:
        """The comparisons of the answer, turned as the scenario names them and in its order."""
        rows = [stats.between(self.results.comparisons, a, b) for a, b in self.pairs]
        table = pd.concat([self.results.comparisons.iloc[:0], *rows], ignore_index=True)
        return table[table["diff"].notna()].reset_index(drop=True)

    @cached_property
    def tuning(self) -> pd.DataFrame:
        """Score of every trial that was made."""
        return tuning.select(self.results.metrics, self.results.runs, self.primary)

    @cached_property
    def same_lr(self) -> pd.DataFrame:
        """The answer's pairs at every learning rate that both tried, and each arm at its own, on the tuning seeds."""
        table = tuning.same_lr(self.results.metrics, self.results.runs, self.primary, pairs=self.pairs)
        return table.astype({"tuned": bool})  # which an empty table has not

    @cached_property
    def added(self) -> dict[str, list[Trial]]:
        """Trials that were made beyond each arm's grid; empty where no grid was widened."""
        tried, arms = self.results.study.get("tried", {}), self.scenario.get("arms", {})
        if self.protocol.get("search", "grid") != "grid":
            return {}
        grids = {arm: arms.get(arm, {}).get("lr", []) for arm in tried}
        made = {arm: [*map(Trial.read, noted)] for arm, noted in tried.items()}
        more = {arm: [trial for trial in trials if trial.lr not in grids[arm]] for arm, trials in made.items()}
        return {arm: trials for arm, trials in more.items() if trials}

    @cached_property
    def rules(self) -> dict[str, float]:
        """The learning rate at which TAM with a cosine near 0 takes the steps of tuned SGD with momentum, by arm.

        There is none where the momentum of one of the two was tuned, too, and so may differ.
        """
        arms = self.scenario.get("arms", {})
        momenta = [
            arm for arm, options in arms.items() if options.get("optimizer") == "sgd" and options.get("momentum")
        ]
        chosen = self.tuning.loc[self.tuning["chosen"]].set_index("arm")["lr"]
        tuned = [arm for arm, options in arms.items() if isinstance(options.get("momentum"), list)]
        if len(momenta) != 1 or momenta[0] not in chosen.index or momenta[0] in tuned:
            return {}
        rule = transfer_lr(float(chosen[momenta[0]]))
        return {arm: rule for arm, options in arms.items() if options.get("optimizer") == "tam" and arm not in tuned}

    @cached_property
    def confirmation(self) -> Confirmation | None:
        """What was declared and what became of it, if ``tamcl confirm`` was asked for."""
        folder = self.results.directory / "confirm"
        if not (folder / "claims.json").is_file():
            return None
        declared = read_claims(folder / "claims.json")
        claims, seeds = list(declared["claims"]), len(declared["seeds"])
        was = {(row["arm_a"], row["arm_b"]): row["diff"] for row in claims}
        primary = records(self.comparisons[self.comparisons["metric"] == self.primary])
        now = {(row["arm_a"], row["arm_b"]): row["diff"] for row in primary}
        found = _finished(folder)
        table = self.results.comparisons.iloc[:0] if found is None else found
        done, declared_on = found is not None, str(declared.get("declared", ""))
        return Confirmation(declared_on, seeds, claims, table, done, current=was == now)

    @cached_property
    def trials(self) -> dict[str, Trial]:
        """The learning rate, with the options tuned with it, each arm was reported at; without one it is absent."""
        found = self.runs.groupby("arm")[["lr", "options"]].first()
        return {str(arm): Trial(float(lr), options) for arm, lr, options in found.itertuples()}

    @property
    def rates(self) -> dict[str, float]:
        """The learning rate each arm was reported at; an arm that none was left for is absent."""
        return {arm: trial.lr for arm, trial in self.trials.items()}

    @property
    def tunes_options(self) -> bool:
        """Whether any arm had values of options to choose from beside learning rates."""
        return bool((self.tuning["options"] != "").any())

    @cached_property
    def data(self) -> dict[str, Any]:
        """What the runs recorded about their data set."""
        return next((found for text in self.results.runs["data"] if (found := json.loads(text or "{}"))), {})

    @cached_property
    def versions(self) -> dict[str, list[str]]:
        """Versions that the runs recorded; a study that was continued elsewhere has several of a package."""
        found: dict[str, list[str]] = {}
        for text in self.results.runs["versions"].unique():
            for name, version in json.loads(text or "{}").items():
                found.setdefault(name, []).append(str(version))
        return {name: list(dict.fromkeys(versions)) for name, versions in found.items()}

    def finished(self, arm: str) -> bool:
        """Tell whether any reported run of an arm ended well."""
        return bool(((self.runs["arm"] == arm) & (self.runs["status"] == "ok")).any())

    @property
    def n_seeds(self) -> int:
        """Reported seeds that were planned."""
        return int(self.protocol.get("seeds", self.runs["seed"].nunique()))


def _finished(folder: Path) -> pd.DataFrame | None:
    """Return the comparisons of a confirmation; None if there are none that can be used, as before its end."""
    try:
        return read_table(folder, "comparisons")
    except FileNotFoundError:
        return None
    except Damaged as error:
        print(f"tamcl: {error}; tamcl confirm makes it again", file=sys.stderr)
        return None


class Confirmation(NamedTuple):
    """Claims that were declared and then repeated on fresh seeds."""

    declared: str
    """When."""
    n_seeds: int
    claims: list[dict[str, Any]]
    comparisons: pd.DataFrame
    """The same pairs on the fresh seeds."""
    done: bool
    """Whether they were run to the end."""
    current: bool
    """Whether the study still says what was claimed."""


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table's rows by the names of their columns."""
    return [{str(column): value for column, value in row.items()} for row in table.to_dict("records")]
