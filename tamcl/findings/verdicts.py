"""What a comparison shows, in a sentence that does not claim more than the numbers do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import floor, log10
from typing import Literal, NamedTuple

from tamcl.metrics import Metric, find
from tamcl.metrics.oracles import ORACLES
from tamcl.stats import ALPHA, Row, is_shown, smallest_p

MARGIN = 0.01
"""A null model is said to do as well where the interval leaves its method a gain below this, in fractions. Assumption:
a point is what nobody would choose an optimizer for; in other units nothing is said to do as well."""


def verdict(
    row: Row,
    metric: Metric | None = None,
    *,
    confidence: float = 0.95,
    alpha: float = ALPHA,
    n_seeds: int | None = None,
) -> str:
    """Return what a comparison shows, as a sentence.

    One arm *beats* the other where the adjusted p is at most ``alpha``. Where it is not, the sentence says that there
    is no evidence of a difference, which is not evidence of none: the interval says what is still possible.

    Parameters
    ----------
    row : mapping or pandas.Series
        A row of the ``comparisons`` table.
    metric : Metric, optional
        What the row is about; looked up by the row's ``metric`` if absent.
    confidence : float
        The one that ``compare`` was called with.
    alpha : float
        Level of the test.
    n_seeds : int, optional
        Seeds that the study planned; it is said where fewer were paired, since an arm that diverges on a hard seed
        would look better without it.

    Examples
    --------
    >>> row = {"metric": "online_accuracy", "arm_a": "tam", "arm_b": "sgdm", "n_pairs": 10, "diff": 0.021,
    ...        "ci_low": 0.014, "ci_high": 0.028, "p_value": 0.00195, "p_adjusted": 0.00195, "prob_a_better": 1.0}
    >>> verdict(row)
    'tam beats sgdm by 2.1 points of online accuracy (95% interval 1.4 to 2.8, 10 seeds, p = 0.002).'
    """
    say = _phrases(row, metric or find(row["metric"]), confidence, alpha, n_seeds)
    return say.too_few if row["n_pairs"] < 2 else f"{_statement(row, say, alpha)}.{say.lost}"


def _statement(row: Row, say: _Phrases, alpha: float, apart: str = "") -> str:
    """Return what a comparison of two or more seeds shows, without a full stop; ``apart`` says which way, if given."""
    ahead = apart or f"{say.winner} is ahead of {say.loser} by {say.gain}"
    if is_shown(row, alpha=alpha):
        return f"{apart or f'{say.winner} beats {say.loser} by {say.gain}'} ({say.gain_sure})"
    if row["p_value"] <= alpha:
        return f"{ahead} ({say.gain_sure}): with so many comparisons this may be chance"
    if is_hint(row, alpha=alpha):
        return f"{ahead}, on every seed ({say.gain_sure}): a hint, as {say.limit}"
    return (
        f"No evidence of a difference between {row['arm_a']} and {row['arm_b']} in {say.label}: "
        f"{say.difference} ({say.difference_sure}){say.limit and ', and ' + say.limit}"
    )


def is_hint(row: Row, *, alpha: float = ALPHA) -> bool:
    """Tell whether a comparison of too few seeds for a small p-value shows all that it could.

    Every seed agrees, and the interval, which is Student's there, leaves out 0.

    Parameters
    ----------
    row : mapping or pandas.Series
        A row of the ``comparisons`` table.
    alpha : float
        Level of the test.

    Examples
    --------
    >>> row = {"n_pairs": 4, "ci_low": 0.014, "ci_high": 0.028, "prob_a_better": 1.0}
    >>> is_hint(row), is_hint(row | {"ci_low": -0.001})
    (True, False)
    """
    sure = row["ci_low"] > 0 or row["ci_high"] < 0
    return bool(smallest_p(int(row["n_pairs"])) > alpha and row["prob_a_better"] in (0, 1) and sure)


def full_verdict(
    row: Row,
    nulls: Sequence[Row],
    metric: Metric | None = None,
    *,
    words: Sequence[str] = (),
    mechanism: str = "its mechanism",
    confidence: float = 0.95,
    alpha: float = ALPHA,
    n_seeds: int | None = None,
) -> str:
    """Return what a comparison shows, with what the null models of the method do, as one sentence.

    Whoever reads that a method beats another one takes it for a merit of the method's idea. So the same sentence says
    whether the method without that idea does as well: no gain over it is shown, even before Holm, and with the
    confidence of the interval there is none of ``MARGIN`` or more. Where that is not known it *could* do as well.

    Parameters
    ----------
    row : mapping or pandas.Series
        A row of the ``comparisons`` table on a method and another arm.
    nulls : sequence of mapping or pandas.Series
        Rows on the method as ``arm_a`` and each of its null models as ``arm_b``, on the same metric; those of fewer
        than two seeds are not spoken of.
    metric, confidence, alpha, n_seeds
        As of ``verdict``.
    words : sequence of str
        What each null model is, in a few words.
    mechanism : str
        What the null models lack.

    Examples
    --------
    >>> common = {"metric": "online_accuracy", "arm_a": "tam", "n_pairs": 10}
    >>> row = {"arm_b": "sgdm", "diff": 0.021, "ci_low": 0.014, "ci_high": 0.028, "p_value": 0.00195,
    ...        "p_adjusted": 0.00195, "prob_a_better": 1.0} | common
    >>> null = {"arm_b": "tam_frozen", "diff": 0.001, "ci_low": -0.004, "ci_high": 0.006, "p_value": 0.63,
    ...         "p_adjusted": 0.63, "prob_a_better": 0.5} | common
    >>> print(full_verdict(row, [null], words=["SGDM at half the learning rate"], mechanism="the angle"))
    tam beats sgdm by 2.1 points of online accuracy (95% interval 1.4 to 2.8, 10 seeds, p = 0.002);
    tam_frozen (SGDM at half the learning rate) does as well (+0.1 points, -0.4 to +0.6): no evidence for the angle.
    """
    known = metric or find(row["metric"])
    pairs = [(null, f" ({text})" if text else "") for null, text in _zip_words(nulls, words) if null["n_pairs"] > 1]
    if row["n_pairs"] < 2 or not pairs:
        return verdict(row, known, confidence=confidence, alpha=alpha, n_seeds=n_seeds)
    say = _phrases(row, known, confidence, alpha, n_seeds)
    kinds = [_against_null(null, known, alpha) for null, _ in pairs]
    parts = []
    for kind in ("beaten", "better", "equal"):
        found = [pair for pair, known in zip(pairs, kinds, strict=True) if known == kind]
        parts += [_null_clause(kind, found, known, confidence, alpha)] if found else []
    shown = set(kinds) == {"beaten"}
    end = f"evidence for {mechanism}" if shown else f"no evidence for {mechanism}"
    return f"{_statement(row, say, alpha)}; {', '.join(parts)}: {end}.{say.lost}"


def _zip_words(nulls: Sequence[Row], words: Sequence[str]) -> list[tuple[Row, str]]:
    return list(zip(nulls, [*words, *[""] * (len(nulls) - len(words))], strict=True))


def _against_null(null: Row, metric: Metric, alpha: float) -> Literal["beaten", "better", "equal"]:
    """Return whether a null model is beaten by its method, is better, or neither was shown."""
    if not is_shown(null, alpha=alpha):
        return "equal"
    return "beaten" if metric.sign * null["diff"] > 0 else "better"


def _as_good(null: Row, metric: Metric, alpha: float) -> bool:
    """Tell whether a method's gain over its null model is not shown, and is below the margin as far as is known.

    Not shown even before Holm: with more pairs it takes a larger gain to be shown, and this claim would come easier.
    """
    gain = max(metric.sign * null["ci_low"], metric.sign * null["ci_high"])
    could_be_shown = smallest_p(int(null["n_pairs"])) <= alpha
    return bool(could_be_shown and null["p_value"] > alpha and metric.unit == "fraction" and gain < MARGIN)


def _null_clause(kind: str, nulls: list[tuple[Row, str]], metric: Metric, confidence: float, alpha: float) -> str:
    """Say what some null models of one method do, all of them the same."""
    many, method = len(nulls) > 1, nulls[0][0]["arm_a"]
    listed = []
    for null, text in nulls:
        number, unit = _format(null, metric)
        low, high = (number(null[end], "+") for end in ("ci_low", "ci_high"))
        numbers = f"{number(null['diff'], '+')}{unit}, {low} to {high}"
        listed.append((f"{null['arm_b']}{text}", numbers))
    names = " and ".join(part for part in (", ".join(name for name, _ in listed[:-1]), listed[-1][0]) if part)
    numbers = "; ".join(numbers for _, numbers in listed)
    unsure = not all(_as_good(null, metric, alpha) for null, _ in nulls)
    does = {
        "beaten": f"{method} beats {names}",
        "better": f"{names} {'do' if many else 'does'} better than {method}",
        "equal": f"{names} {'could do' if unsure else 'do' if many else 'does'} as well",
    }
    return f"{does[kind]} ({numbers})"


def change_verdict(row: Row, ends: tuple[str, str], metric: Metric | None = None, *, alpha: float = ALPHA) -> str:
    """Return whether the difference between two arms changes over what a sweep changed, as a sentence.

    Parameters
    ----------
    row : mapping or pandas.Series
        A row of ``tamcl.stats.across`` whose effect is a key.
    ends : (str, str)
        What the key is at its least and at its largest value, in words.
    metric, alpha
        As of ``verdict``.

    Examples
    --------
    >>> row = {"metric": "online_accuracy", "arm_a": "tam", "arm_b": "sgdm", "n_pairs": 10, "diff": 0.021,
    ...        "ci_low": 0.014, "ci_high": 0.028, "p_value": 0.00195, "p_adjusted": 0.00391, "prob_a_better": 1.0}
    >>> print(change_verdict(row, ("stream.fraction = 0", "stream.fraction = 1")))
    tam minus sgdm changes by +2.1 points of online accuracy from stream.fraction = 0 to stream.fraction = 1, on the
    straight line through all values (95% interval +1.4 to +2.8, 10 seeds, p = 0.002, 0.004 after Holm).
    """
    known = metric or find(row["metric"])
    say = _phrases(row, known, 0.95, alpha, None)
    if row["n_pairs"] < 2:
        return say.too_few
    number, unit = _format(row, known)
    what = f"{row['arm_a']} minus {row['arm_b']} changes"
    by = f"{number(row['diff'], '+')}{unit}"
    where = f"from {ends[0]} to {ends[1]}, on the straight line through all values ({say.difference_sure})"
    if is_shown(row, alpha=alpha):
        return f"{what} by {by} of {say.label} {where}."
    limit = say.limit and f", and {say.limit}"
    return f"No evidence that {what} in {say.label}: {by} {where}{limit}."


Held = Literal["held", "not again", "none again", "now shown"]
"""What became of a claim: shown again; not shown, or not again; again no difference shown; a difference where none was
claimed."""


def outcome(
    claim: Row, row: Row, metric: Metric | None = None, *, alpha: float = ALPHA, n_seeds: int | None = None
) -> tuple[Held, str]:
    """Return what became of a claim on fresh seeds, and a sentence that says so.

    Parameters
    ----------
    claim : mapping or pandas.Series
        The row of the ``comparisons`` table that was declared, with its ``strength``: "shown", "hint" or "open".
    row : mapping or pandas.Series
        The same pair and metric on fresh seeds; its ``p_adjusted`` is by Holm over all claims.
    metric, alpha, n_seeds
        As of ``verdict``.

    Examples
    --------
    >>> row = {"metric": "online_accuracy", "arm_a": "tam", "arm_b": "sgdm", "n_pairs": 10, "diff": 0.021,
    ...        "ci_low": 0.014, "ci_high": 0.028, "p_value": 0.00195, "p_adjusted": 0.00195, "prob_a_better": 1.0}
    >>> kind, sentence = outcome(row | {"strength": "shown"}, row | {"diff": 0.018})
    >>> print(sentence)
    Held on fresh seeds: tam beats sgdm by 1.8 points of online accuracy
    (95% interval 1.4 to 2.8, 10 seeds, p = 0.002).
    """
    said = verdict(row, metric, alpha=alpha, n_seeds=n_seeds)
    said = said.replace("No evidence", "no evidence", 1)
    shown = is_shown(row, alpha=alpha)
    if claim["strength"] == "open":
        if shown:
            return "now shown", f"No difference was claimed, and one is shown on fresh seeds: {said}"
        return "none again", f"No difference was claimed, and none is shown on fresh seeds: {said}"
    if shown and claim["diff"] * row["diff"] > 0:
        return "held", f"Held on fresh seeds: {said}"
    if shown:
        return "not again", f"Turned round on fresh seeds: {said}"
    again = "again on fresh seeds" if claim["strength"] == "shown" else "on fresh seeds either"
    return "not again", f"Not shown {again}: {said}"


def null_verdict(
    row: Row,
    metric: Metric | None = None,
    *,
    confidence: float = 0.95,
    alpha: float = ALPHA,
    n_seeds: int | None = None,
) -> str:
    """Return whether a method does better than its null model, as a sentence.

    A null model is the method without the mechanism that is said to help, such as ``tam_frozen`` for ``tam``. Where it
    does as well, a gain of the method over others is no evidence for the mechanism.

    Parameters
    ----------
    row : mapping or pandas.Series
        A row of the ``comparisons`` table, with the method as ``arm_a`` and its null model as ``arm_b``.
    metric, confidence, alpha, n_seeds
        As of ``verdict``.

    Examples
    --------
    >>> row = {"metric": "online_accuracy", "arm_a": "tam", "arm_b": "tam_frozen", "n_pairs": 10, "diff": 0.001,
    ...        "ci_low": -0.004, "ci_high": 0.006, "p_value": 0.63, "p_adjusted": 0.63, "prob_a_better": 0.5}
    >>> print(null_verdict(row))
    tam_frozen, the null model of tam, does as well in online accuracy: tam minus tam_frozen is +0.1 points
    (95% interval -0.4 to +0.6, 10 seeds, p = 0.63).
    """
    say = _phrases(row, metric or find(row["metric"]), confidence, alpha, n_seeds)
    method, null = row["arm_a"], row["arm_b"]
    if row["n_pairs"] < 2:
        return say.too_few
    if is_shown(row, alpha=alpha) and say.winner == method:
        return f"{method} beats {null}, its null model, by {say.gain} ({say.gain_sure}).{say.lost}"
    if is_shown(row, alpha=alpha):
        return f"{null}, the null model of {method}, beats it by {say.gain} ({say.gain_sure}).{say.lost}"
    good = _as_good(row, metric or find(row["metric"]), alpha)
    equal = "does as well" if good else "could do as well: a gain was not shown"
    return (
        f"{null}, the null model of {method}, {equal} in {say.label}: "
        f"{say.difference} ({say.difference_sure}){say.limit and ', and ' + say.limit}.{say.lost}"
    )


ORACLE_MEANS = {
    ("restart", "below"): "starting anew at each shift would have done better",
    ("restart", "above"): "what it carried over a shift helped",
    ("no_shift", "below"): "that is what the shifts cost",
    ("no_shift", "above"): "it does better with the shifts than without them",
}
"""What it means that an arm is below or above an oracle."""


def oracle_verdict(
    row: Row,
    kind: str,
    metric: Metric | None = None,
    *,
    confidence: float = 0.95,
    alpha: float = ALPHA,
    n_seeds: int | None = None,
) -> str:
    """Return how far an arm is from its oracle and what that means, as a sentence.

    Parameters
    ----------
    row : mapping or pandas.Series
        A row of the ``comparisons`` table, with the arm as ``arm_a`` and the same arm as the oracle as ``arm_b``.
    kind : {"restart", "no_shift"}
        Which oracle.
    metric, confidence, alpha, n_seeds
        As of ``verdict``.

    Examples
    --------
    >>> row = {"metric": "online_accuracy", "arm_a": "sgdm", "n_pairs": 10, "diff": -0.031, "ci_low": -0.04,
    ...        "ci_high": -0.022, "p_value": 0.00195, "p_adjusted": 0.00195, "prob_a_better": 0.0}
    >>> print(oracle_verdict(row, "restart"))
    sgdm is 3.1 points of online accuracy below its restart oracle (95% interval 2.2 to 4.0, 10 seeds, p = 0.002):
    at its learning rate, starting anew at each shift would have done better.
    """
    oracle = f"its {ORACLES[kind]}"
    row = {**dict(row), "arm_b": oracle}
    say = _phrases(row, metric or find(row["metric"]), confidence, alpha, n_seeds)
    if row["n_pairs"] < 2:
        return say.too_few
    side = "below" if say.winner == oracle else "above"
    said = _statement(row, say, alpha, f"{row['arm_a']} is {say.gain} {side} {oracle}")
    shown = is_shown(row, alpha=alpha)
    return f"{said}{f': at its learning rate, {ORACLE_MEANS[kind, side]}' if shown else ''}.{say.lost}"


class _Phrases(NamedTuple):
    """Parts of a sentence on a comparison; ``gain`` is what the better arm has over the other, so never negative."""

    label: str
    winner: str
    loser: str
    gain: str
    gain_sure: str
    difference: str
    difference_sure: str
    limit: str
    lost: str
    too_few: str


def _phrases(row: Row, metric: Metric, confidence: float, alpha: float, n_seeds: int | None) -> _Phrases:
    a, b, n, label = row["arm_a"], row["arm_b"], int(row["n_pairs"]), metric.label.lower()
    a_wins = metric.sign * row["diff"] >= 0
    low, high = row["ci_low"], row["ci_high"]
    gains = sorted((metric.sign if a_wins else -metric.sign) * end for end in (low, high))
    number, unit = _format(row, metric)
    p, adjusted = _p(row["p_value"]), _p(row["p_adjusted"])
    seeds = f"{n} seeds, p {p}" + ("" if adjusted == p else f", {adjusted.removeprefix('= ')} after Holm")
    difference = f"{a} minus {b} is {number(row['diff'], '+')}{unit}"
    missing = 0 if n_seeds is None else n_seeds - n
    lost = f" {missing} of {n_seeds} seeds are missing, where not both arms finished." if missing else ""
    few = f"{difference} of {label} on the one seed they share: one seed says nothing of the next."
    return _Phrases(
        label=label,
        winner=a if a_wins else b,
        loser=b if a_wins else a,
        gain=f"{number(abs(row['diff']))}{unit} {'of' if metric.sign > 0 else 'less'} {label}",
        gain_sure=f"{confidence:.0%} interval {number(gains[0])} to {number(gains[1])}, {seeds}",
        difference=difference,
        difference_sure=f"{confidence:.0%} interval {number(low, '+')} to {number(high, '+')}, {seeds}",
        limit=f"{n} seeds cannot give a p below {smallest_p(n):.2g}" if smallest_p(n) > alpha else "",
        lost=lost,
        too_few=(few if n else f"{a} and {b} share no seed with a value of {label}.") + lost,
    )


def _format(row: Row, metric: Metric) -> tuple[Callable[..., str], str]:
    """Return how to write values of the metric, precise enough for the interval's width, and what unit follows."""
    scale, unit = (100, " points") if metric.unit == "fraction" else (1, f" {metric.unit}")
    unit = "" if metric.unit in metric.label.lower() else unit  # the loss of an online loss
    width = scale * (row["ci_high"] - row["ci_low"]) or scale * abs(row["diff"])
    digits = 1 if not width > 0 else min(4, max(1, 1 - floor(log10(width))))
    return lambda value, sign="": f"{round(scale * value, digits) + 0.0:{sign}.{digits}f}", unit


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.{1 if value < 0.01 else 2}g}"
