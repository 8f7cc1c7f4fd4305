"""The arms of a study against themselves as oracles, which ``tamcl regret`` trains."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tamcl import stats
from tamcl.errors import InputError
from tamcl.findings.study import Study, records
from tamcl.findings.verdicts import oracle_verdict
from tamcl.metrics import intransigences, regrets
from tamcl.metrics.oracles import ORACLES
from tamcl.results import CELL, Results, as_results, empty, load_results


@dataclass(frozen=True)
class OracleComparison:
    """Arms against one oracle, on the seeds on which both ended well.

    Attributes
    ----------
    kind : {"restart", "no_shift"}
    comparisons : DataFrame
        A row an arm that the study reports: the columns of the ``comparisons`` table on online accuracy, with the
        oracle as the second arm; p adjusted by Holm over the arms.
    trained : dict of str to int
        Runs of each arm that have a counterpart, however the two ended.
    regrets, intransigences : DataFrame
        What the functions of ``tamcl.metrics`` return.
    cautions : list of str
        What to know before relying on them.
    """

    kind: str
    comparisons: pd.DataFrame
    trained: dict[str, int]
    regrets: pd.DataFrame
    intransigences: pd.DataFrame
    cautions: list[str]

    @property
    def name(self) -> str:
        """What the oracle is called."""
        return ORACLES[self.kind]


def oracle_comparisons(study: Study) -> list[OracleComparison]:
    """Return the study's arms against each oracle that was trained for it."""
    found = []
    for kind, name in ORACLES.items():
        folder = study.results.directory / "oracles" / kind
        if (folder / "comparisons.parquet").is_file():  # what is written last
            found.append(_comparison(study, load_results(folder), kind))
        elif (folder / "study.json").is_file():
            found.append(_nothing(kind, [f"The {name} was asked for and not trained to its end: see tamcl regret."]))
    return found


def oracle_verdicts(results: Results | str | Path) -> list[str]:
    """Return a sentence for every arm and oracle that was trained for the study: how far apart the two are."""
    found = oracle_comparisons(Study(as_results(results)))
    return [sentence for each in found for sentence in (*each.cautions, *sentences(each))]


def sentences(found: OracleComparison) -> list[str]:
    """Return a sentence for every arm against one oracle."""
    return [
        oracle_verdict(row, found.kind, n_seeds=found.trained[row["arm_a"]])
        for row in records(found.comparisons)
        if found.trained.get(row["arm_a"])
    ]


def _comparison(study: Study, oracle: Results, kind: str) -> OracleComparison:
    runs = study.runs.merge(oracle.runs, on=[*CELL, "optimizer"], suffixes=("", "_there"))
    ok = (runs["status"] == "ok") & (runs["status_there"] == "ok")
    is_same = runs["fingerprint"] == runs["fingerprint_there"]
    strange = ok & (is_same if kind == "no_shift" else ~is_same)
    ended = runs.loc[ok & ~strange, list(CELL)]
    cautions = list(_cautions(study, oracle, kind, trained=len(runs), strange=int(strange.sum())))
    try:
        behind = regrets(study.online.merge(ended), oracle.online.merge(ended))
        left = intransigences(study.evaluated.merge(ended), oracle.eval.merge(ended))
    except InputError as error:  # where a stream of the user's gives the oracle other mini-batches
        return _nothing(kind, [*cautions, f"{error}."])
    trained = {str(arm): int(count) for arm, count in runs["arm"].value_counts().items()}
    compared = _compare(study, study.metrics.merge(ended), oracle.metrics.merge(ended))
    return OracleComparison(kind, compared, trained, behind, left, cautions)


def _nothing(kind: str, cautions: list[str]) -> OracleComparison:
    """Return what is known where nothing can be compared: why."""
    none = empty("online"), empty("eval")
    tables = regrets(none[0], none[0]), intransigences(none[1], none[1])
    return OracleComparison(kind, empty("comparisons"), {}, *tables, cautions)


def _compare(study: Study, metrics: pd.DataFrame, oracle: pd.DataFrame) -> pd.DataFrame:
    """Compare the arms with their oracles on online accuracy, in the order of the study."""
    both = pd.concat([metrics, oracle.assign(arm=oracle["arm"] + " oracle")])  # no arm's label has a space
    both = both[both["metric"] == "online_accuracy"]
    paired = set(metrics["arm"])
    table = stats.compare(both, pairs=[(arm, f"{arm} oracle") for arm in study.arms if arm in paired])
    rows = table.set_index("arm_a").reindex([arm for arm in study.arms if arm in study.rates]).rename_axis("arm_a")
    return rows.fillna({"n_pairs": 0, "metric": "online_accuracy"}).reset_index()


def _cautions(study: Study, oracle: Results, kind: str, *, trained: int, strange: int) -> Iterator[str]:
    name, total = ORACLES[kind], len(study.runs)
    if trained < total:
        yield (
            f"{total - trained} of {total} reported runs have no counterpart in the {name}, since the study has more"
            " seeds, or other learning rates or optimizers, by now: see tamcl regret."
        )
    if strange:
        saw = {
            "restart": "another stream than the study's",
            "no_shift": "the study's own stream, which has no shifts or takes no notice of oracle = 'no_shift',",
        }
        yield f"{strange} of {total} runs of the {name} saw {saw[kind]} and are left out."
    there = Study(oracle).versions
    for package, versions in study.versions.items():
        if versions != there.get(package, versions):
            yield (
                f"The {name} was trained with other versions of {package} than the study:"
                f" {' and '.join(there[package])}, not {' and '.join(versions)}."
            )
