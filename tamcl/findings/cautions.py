"""What to know before relying on a study's answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tamcl import stats
from tamcl.findings.study import Study, records
from tamcl.metrics import find
from tamcl.stats import ALPHA
from tamcl.stats.tuning import numbers_tried, rates_around
from tamcl.trial import values_of


def cautions(study: Study) -> list[str]:
    """Return what a reader has to know before relying on the answers."""
    return [
        *_power(study),
        *edges(study),
        *_unfinished(study),
        *_untrained(study),
        *_unfair(study),
        *_oracle(study),
        *_same(study),
        *_unconfirmed(study),
    ]


def _unconfirmed(study: Study) -> Iterator[str]:
    found = study.confirmation
    if found and not found.done:
        yield "Claims were declared to be repeated on fresh seeds, and that was not finished: see tamcl confirm."
    if found and not found.current:
        yield (
            "The claims that were repeated on fresh seeds were declared of an earlier state of this study: its answers"
            " are others now."
        )


def _power(study: Study) -> Iterator[str]:
    """Warn where so few seeds cannot give a small p-value."""
    rows = study.results.comparisons
    rows = rows[(rows["metric"] == study.primary) & rows["p_value"].notna()]
    if rows.empty:
        return
    seeds, comparisons = int(rows["n_pairs"].max()), len(rows)
    least = stats.smallest_p(seeds, comparisons)
    if least <= ALPHA:
        return
    enough = stats.fewest_seeds(comparisons, alpha=ALPHA)
    takes = f"It takes at least {enough} seeds (--seeds {enough})."
    if stats.smallest_p(enough, comparisons) > ALPHA:
        takes = "No number of seeds gives less than 0.05: it takes fewer pairs."
    adjusted = f" and p-values adjusted for {comparisons} comparisons" if comparisons > 1 else ""
    yield (
        f"Too few seeds for p < 0.05: with {seeds} seed{'s' * (seeds != 1)}{adjusted}, even the largest effect gives"
        f" p = {least:.2g}. {takes} Read the differences as hints."
    )


def edges(study: Study) -> list[str]:
    """Return a warning for every arm whose best learning rate, or number of an option, may lie outside its grid."""
    protocol, warnings = study.protocol, []
    widens = protocol.get("search", "grid") == "grid" and not protocol.get("extend")
    cure = " (see --extend)" if widens else ""
    for row in records(study.tuning[study.tuning["on_edge"]]):
        rates = rates_around(study.tuning[study.tuning["arm"] == row["arm"]])
        warnings.append(_edge(row["arm"], "learning rate", row["lr"], rates, cure))
    for row in records(study.tuning[study.tuning["options_on_edge"] != ""]):
        numbers = numbers_tried(study.tuning.loc[study.tuning["arm"] == row["arm"], "options"])
        best = values_of(row["options"])
        warnings += [_edge(row["arm"], name, best[name], numbers[name]) for name in row["options_on_edge"].split(", ")]
    return warnings


def _edge(arm: str, what: str, best: float, tried: Iterable[float], cure: str = "") -> str:
    least, most = min(tried), max(tried)
    side = "largest" if best == most else "smallest"
    return (
        f"{arm}: the best {what}, {best:g}, is the {side} that was tried ({least:g} to {most:g}). A better one may lie"
        f" outside, so {arm} may be better than shown{cure}."
    )


def _unfinished(study: Study) -> Iterator[str]:
    for name in study.arms:
        if name not in study.rates:
            label = find(study.primary).label.lower()
            what = "combination of learning rate and options" if _tunes_options(study, name) else "learning rate"
            yield f"{name} has no result: no {what} that was tried has a value of {label} on every tuning seed."
    bad = study.runs[study.runs["status"] != "ok"]
    for arm, rows in bad.groupby("arm"):
        total = int((study.runs["arm"] == arm).sum())
        how = " and ".join(sorted(rows["status"].unique()))
        yield (
            f"{len(rows)} of {total} reported runs of {arm} {how}. Its numbers rest on the other runs and are too good"
            " if it is the hard seeds that are missing."
        )


def _tunes_options(study: Study, arm: str) -> bool:
    return bool((study.tuning.loc[study.tuning["arm"] == arm, "options"] != "").any())


def _untrained(study: Study) -> Iterator[str]:
    """Say where runs ended with the weights that they began with; buffers, as of batch normalisation, are weights."""
    ended = study.runs[(study.runs["status"] == "ok") & (study.runs["initial_weights"] != "")]
    for arm, rows in ended.groupby("arm"):
        unmoved = int((rows["initial_weights"] == rows["final_weights"]).sum())
        if unmoved:
            yield (
                f"{unmoved} of {len(rows)} reported runs of {arm} ended with the weights that they began with, to the"
                f" last bit: nothing was trained, and what is shown of {arm} is the untrained model."
            )


def _unfair(study: Study) -> Iterator[str]:
    """Warn where arms were not treated alike, or the data are not the published ones."""
    trials = study.tuning.groupby("arm").size().reindex(study.arms, fill_value=1)
    if trials.min() < trials.max():
        numbers = ", ".join(f"{arm} {number}" for arm, number in trials.items())
        what = "trials" if study.tunes_options else "learning rates"
        yield f"The arms had different numbers of {what} to choose from: {numbers}."
    known = study.runs[study.runs["fingerprint"] != ""]
    if len(known) and known.groupby("seed")["fingerprint"].nunique().max() > 1:
        yield "Arms did not all see the same stream at the same seed, so differences are not fully paired."
    for name, versions in study.versions.items():
        if len(versions) > 1:
            yield f"The runs were made with several versions of {name}: {' and '.join(versions)}."
    devices = sorted({*study.results.runs["device"]} - {""})
    if len(devices) > 1:
        yield f"The runs were trained on several devices: {' and '.join(devices)}."
    data = study.data
    official = data.get("official")
    if official and [data.get("train"), data.get("test")] != list(official):
        what, test = ("tokens", "validation") if study.is_text else ("images", "test")
        yield (
            f"The data are a part of {data.get('name')}: {data.get('train')} of {official[0]} training {what} and"
            f" {data.get('test')} of {official[1]} {test} {what}."
        )


def _oracle(study: Study) -> Iterator[str]:
    """Say where the stream was made easier, so that its results are not taken for those of the stream."""
    oracle = study.scenario.get("stream", {}).get("oracle", "none")
    if oracle == "no_shift":
        yield "This is an oracle: the same amount of data without the shifts, to hold a result against."
    if oracle == "restart":
        yield "This is an oracle: model and optimizer were made anew at every shift, to hold a result against."


def _same(study: Study) -> Iterator[str]:
    """Say which arms are one and the same thing, so that their results are not taken for two."""
    values = study.metrics.pivot_table(index="arm", columns=["metric", "seed"], values="value")
    for number, arm in enumerate(values.index):
        for other in values.index[:number]:
            if values.loc[arm].equals(values.loc[other]):
                yield (
                    f"{other} and {arm} have the same value of every metric on every seed: at their learning rates"
                    f"{' and options' * study.tunes_options} they act as one optimizer, and what is shown of both is"
                    " one result, not two."
                )
