"""Which trial each arm is reported at: the best mean over tuning seeds, which no result is reported on.

A trial is a learning rate, with values of the options that are tuned together with it, if there are any.

Beside the choice stands what it rests on: how good the best of fewer trials would have been (``expected_best``), how
wide the range of good learning rates is (``plateau``), where a grid has to grow (``extended``), what arms look like at
the same learning rate instead of at their own (``same_lr``), every other metric over the learning rate (``by_lr``), and
the score over the learning rate and one option (``by_option``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from math import log10, nan

import pandas as pd

from tamcl.metrics import find
from tamcl.results import CELL, with_options
from tamcl.trial import is_number, text_of, values_of

COLUMNS = {
    **{"scenario": "str", "arm": "str", "lr": "float64", "options": "str", "score": "float64"},
    **{"n_seeds": "int64", "n_diverged": "int64", "eligible": "bool", "chosen": "bool", "on_edge": "bool"},
    "options_on_edge": "str",
}

_ARM = ["scenario", "arm"]


def select(metrics: pd.DataFrame, runs: pd.DataFrame, tune_by: str) -> pd.DataFrame:
    """Return the score of every trial, and which one each arm gets.

    The best mean of ``tune_by``, in the metric's direction, is chosen; of equal ones the smaller learning rate, and
    then the options that come first by their text. A trial that diverged or failed on a single tuning seed, or left one
    without a value, is not eligible: its mean over the seeds that survived would be too good. An arm without an
    eligible trial gets none.

    Parameters
    ----------
    metrics, runs : pandas.DataFrame
        Tables of ``tamcl.results``; only runs of the phase "tune" count.
    tune_by : str
        Name of a metric.

    Returns
    -------
    pandas.DataFrame
        A row for each scenario, arm, lr and options: score (mean over the tuning seeds that have a value, nan if none
        has), n_seeds (tuning seeds run), n_diverged (those that diverged or failed), eligible (a value on every one of
        them), chosen, on_edge: whether it is chosen and the smallest or largest of several rates, so that a better one
        may lie outside the grid, and options_on_edge: of a chosen one the names of the options whose number is the
        smallest or largest that was tried, but for a 0, below which there mostly is nothing. In a grid the rates are
        those that were tried at the same options; where a search has drawn rates and options together, all.

    Raises
    ------
    InputError
        If there is no metric of that name.

    Examples
    --------
    >>> cells = pd.DataFrame({"scenario": "flips", "arm": "sgd", "lr": [0.01, 0.1, 1.0], "seed": 1000})
    >>> runs = cells.assign(phase="tune", status=["ok", "ok", "diverged"])
    >>> metrics = cells[:2].assign(metric="online_accuracy", value=[0.5, 0.75])
    >>> select(metrics, runs, "online_accuracy").drop(columns=["options", "options_on_edge"])
      scenario  arm    lr  score  n_seeds  n_diverged  eligible  chosen  on_edge
    0    flips  sgd  0.01   0.50        1           0      True   False    False
    1    flips  sgd  0.10   0.75        1           0      True    True    False
    2    flips  sgd  1.00    NaN        1           1     False   False    False
    """
    metric = find(tune_by)
    seeds = _tuned(metrics, runs, metric.name)
    table = seeds.groupby([*_ARM, "lr", "options"], as_index=False).agg(
        score=("value", "mean"), n_seeds=("seed", "size"), n_diverged=("diverged", "sum"), n_values=("value", "count")
    )
    table["eligible"] = table["n_values"] == table["n_seeds"]
    chosen = _best_of(table[table["eligible"]], _ARM, tune_by).index
    # A grid has each rate at several options, a search draws each once.
    in_grid = table.duplicated([*_ARM, "lr"], keep=False).groupby(_arms(table)).transform("any")
    together = table["options"].where(in_grid, "").rename("together")
    grid = table.groupby([*_ARM, together])["lr"]
    end = (table["lr"] == grid.transform("min")) | (table["lr"] == grid.transform("max"))
    table["chosen"] = table.index.isin(chosen)
    table["on_edge"] = table["chosen"] & end & (grid.transform("size") > 1)
    table["options_on_edge"] = ""
    for place in table.index[table["chosen"]]:
        of_arm = table[_arms(table) == _arms(table)[place]]
        table.loc[place, "options_on_edge"] = ", ".join(_ends(table.loc[place, "options"], of_arm["options"]))
    return table[list(COLUMNS)].astype(COLUMNS)


def _ends(chosen: str, tried: Iterable[str]) -> Iterator[str]:
    """Yield the options whose number is the least or the greatest of several that were tried, and not a least 0."""
    numbers = numbers_tried(tried)
    for name, value in values_of(chosen).items():
        of_name = numbers.get(name, [])
        if is_number(value) and len(set(of_name)) > 1 and (value == max(of_name) or value == min(of_name) != 0):
            yield name


def numbers_tried(tried: Iterable[str]) -> dict[str, list[float]]:
    """Return the numbers among the values that were tried of each option, by the texts of trials.

    Examples
    --------
    >>> numbers_tried(["base=sgd, momentum=0", "base=sgd, momentum=0.9"])
    {'momentum': [0, 0.9]}
    """
    found: dict[str, list[float]] = {}
    for options in tried:
        for name, value in values_of(options).items():
            if is_number(value):
                found.setdefault(name, []).append(value)
    return found


def at_chosen(tuning: pd.DataFrame) -> pd.DataFrame:
    """Return the trials of each arm at its chosen options, at which it has a curve over the learning rate.

    Those of an arm without a chosen one are at the options that were tried first by their text. An arm whose options a
    search has drawn has a single one.

    Parameters
    ----------
    tuning : pandas.DataFrame
        What ``select`` returns.

    Examples
    --------
    >>> tuning = pd.DataFrame({"scenario": "flips", "arm": "sgd", "lr": [0.1, 0.2, 0.1, 0.2]})
    >>> tuning = tuning.assign(options=["momentum=0"] * 2 + ["momentum=0.9"] * 2, chosen=[False, False, True, False])
    >>> at_chosen(tuning)[["lr", "options"]]
        lr       options
    2  0.1  momentum=0.9
    3  0.2  momentum=0.9
    """
    table = with_options(tuning)
    first = table.sort_values("chosen", ascending=False, kind="stable").groupby(_ARM)["options"].first()
    return table[table["options"] == table[_ARM].merge(first.reset_index(), on=_ARM, how="left")["options"].to_numpy()]


def rates_around(tuning: pd.DataFrame) -> pd.Series:
    """Return the learning rates of one arm that its chosen one may be an end of.

    They are those that were tried at the chosen options, or all where a search has drawn the two together.
    """
    rates = at_chosen(tuning)["lr"]
    return rates if len(rates) > 1 else tuning["lr"]


def expected_best(tuning: pd.DataFrame, tune_by: str) -> pd.DataFrame:
    r"""Return how good the best of n trials is on average, for every n: was an arm better, or only tried more often?

    .. math:: E[V^*_n] = \sum_{i=1}^{N} v_{(i)} \left( \Big( \frac{i}{N} \Big)^n - \Big( \frac{i-1}{N} \Big)^n \right)

    with :math:`v_{(1)}, \dots, v_{(N)}` the scores of an arm's N trials, the worst first: the mean of the best of n of
    them, drawn with replacement. It ends below the best score, as n draws miss some trials. Arms are to be compared at
    the same n.

    Assumptions: a trial is a learning rate, with its options, and all of its tuning seeds. One that is not eligible
    counts as a trial with the worst score that an eligible one of any arm of the scenario has.

    Parameters
    ----------
    tuning : pandas.DataFrame
        What ``select`` returns.
    tune_by : str
        The metric that ``score`` holds.

    Returns
    -------
    pandas.DataFrame
        Columns scenario, arm, trials (1 to N) and expected; no rows for an arm without an eligible rate.

    References
    ----------
    Show Your Work: Improved Reporting of Experimental Results, 2019, https://arxiv.org/abs/1909.03004

    Examples
    --------
    Of two draws of two rates one in four hits the worse rate twice.

    >>> tuning = pd.DataFrame({"scenario": "flips", "arm": "tam", "lr": [0.1, 0.2], "score": [0.5, 0.7]})
    >>> expected_best(tuning.assign(eligible=True), "online_accuracy")
      scenario  arm  trials  expected
    0    flips  tam       1      0.60
    1    flips  tam       2      0.65
    """
    sign = find(tune_by).sign
    rows = []
    for scenario, all_arms in tuning.groupby("scenario"):
        worst = (sign * all_arms["score"].where(all_arms["eligible"])).min()
        for arm, rates in all_arms.groupby("arm"):
            if not rates["eligible"].any():
                continue
            values = sorted((sign * rates["score"]).where(rates["eligible"], worst))
            size = len(values)
            for n in range(1, size + 1):
                chances = [(i / size) ** n - ((i - 1) / size) ** n for i in range(1, size + 1)]
                expected = sum(value * chance for value, chance in zip(values, chances, strict=True))
                rows.append((scenario, arm, n, sign * expected))
    return pd.DataFrame(rows, columns=["scenario", "arm", "trials", "expected"])


def plateau(tuning: pd.DataFrame, tune_by: str, *, share: float = 0.95) -> pd.DataFrame:
    """Return the range of learning rates around the chosen one that are nearly as good: how much tuning an arm needs.

    Nearly as good is a score of at least ``share`` of the best one, or, where lower is better, of at most the best one
    divided by ``share``. A rate that is not eligible ends the range. Where options were tuned too, the rates are those
    that were tried at the chosen ones.

    Parameters
    ----------
    tuning : pandas.DataFrame
        What ``select`` returns.
    tune_by : str
        The metric that ``score`` holds.
    share : float
        In (0, 1].

    Returns
    -------
    pandas.DataFrame
        A row for each scenario and arm with a chosen rate: lr_low, lr_high (of the rates tried, with no worse one
        between), n_rates, decades (log10 of their ratio), and open: whether the range reaches an end of the grid, so
        that it may be wider. Where the best score is not above 0, shares have no meaning: nan. Nan, too, where a
        search has drawn options with the rates, as each is tried at one rate.

    Examples
    --------
    >>> tuning = pd.DataFrame({"scenario": "flips", "arm": "tam", "lr": [0.001, 0.01, 0.1, 1.0], "eligible": True})
    >>> tuning = tuning.assign(score=[0.5, 0.78, 0.8, 0.3], chosen=[False, False, True, False])
    >>> plateau(tuning, "online_accuracy").drop(columns="scenario")
       arm  lr_low  lr_high  n_rates  decades   open
    0  tam    0.01      0.1        2      1.0  False
    """
    if not 0 < share <= 1:
        raise ValueError(f"{share=}: needed is 0 < share <= 1")
    sign = find(tune_by).sign
    rows = []
    several = {key: rates.nunique() > 1 for key, rates in tuning.groupby(_ARM)["lr"]}
    for (scenario, arm), tried in at_chosen(tuning).sort_values("lr").groupby(_ARM):
        if not tried["chosen"].any():
            continue
        best, place = float(tried.loc[tried["chosen"], "score"].iloc[0]), int(tried["chosen"].to_numpy().argmax())
        if best <= 0 or (len(tried) == 1 and several[scenario, arm]):
            rows.append((scenario, arm, float("nan"), float("nan"), 0, float("nan"), False))
            continue
        limit = best * share if sign > 0 else best / share
        good = (tried["eligible"] & (sign * tried["score"] >= sign * limit)).tolist()
        low = high = place
        while low > 0 and good[low - 1]:
            low -= 1
        while high < len(good) - 1 and good[high + 1]:
            high += 1
        rates = tried["lr"].iloc[[low, high]].tolist()
        reaches = len(good) > 1 and (low == 0 or high == len(good) - 1)
        rows.append((scenario, arm, *rates, high - low + 1, log10(rates[1] / rates[0]), reaches))
    return pd.DataFrame(rows, columns=["scenario", "arm", "lr_low", "lr_high", "n_rates", "decades", "open"])


def extended(grid: Iterable[float], best: float, *, steps: int = 1) -> list[float]:
    """Return the next learning rates to try where the best one is an end of the grid; none where it lies inside.

    The grid goes on as it ended, by the ratio of its last two rates. A grid of a single rate goes on in both directions
    by factors of 2.

    Parameters
    ----------
    grid : iterable of float
        The rates that were tried.
    best : float
        The best of them.
    steps : int
        How many rates to add at an end.

    Examples
    --------
    >>> extended([0.01, 0.02, 0.04], best=0.04, steps=2)
    [0.08, 0.16]
    >>> extended([0.01, 0.03, 0.1], best=0.01)
    [0.00333333]
    >>> extended([0.01, 0.03, 0.1], best=0.03)
    []
    """
    rates = sorted(set(grid))
    if best not in rates or rates[0] <= 0 or steps < 1:
        raise ValueError(f"{best=}, {steps=}: needed are a rate of the grid {rates}, all above 0, and steps >= 1")
    ends = []
    if best == rates[0]:
        ends.append((rates[0], rates[0] / rates[1] if len(rates) > 1 else 0.5))
    if best == rates[-1]:
        ends.append((rates[-1], rates[-1] / rates[-2] if len(rates) > 1 else 2.0))
    return sorted(float(f"{end * ratio**step:.6g}") for end, ratio in ends for step in range(1, steps + 1))


def same_lr(
    metrics: pd.DataFrame, runs: pd.DataFrame, tune_by: str, *, pairs: Iterable[tuple[str, str]] | None = None
) -> pd.DataFrame:
    """Return how two arms compare at every learning rate that both tried, beside each at its own.

    Where options were tuned too, each arm has the best of its own at that rate, and at its own rate the chosen ones.

    Two arms need different learning rates, so that at a shared one the difference between them is mostly that between a
    good rate and a bad one: a gap at a shared rate that is gone at the tuned ones is no merit of the arm.

    Parameters
    ----------
    metrics, runs : pandas.DataFrame
        Tables of ``tamcl.results``; only runs of the phase "tune" count, as only they cover every rate. A seed on which
        one of the two diverged or has no value is left out.
    tune_by : str
        Name of the metric that was tuned for and is compared.
    pairs : iterable of (str, str), optional
        The arms to compare; each two once if absent.

    Returns
    -------
    pandas.DataFrame
        Columns scenario, arm_a, arm_b, tuned, lr_a, lr_b, n_pairs, mean_a, mean_b and diff (mean_a - mean_b); for each
        pair first the row with each arm at its own rate, where it has one, then one for each shared rate.

    Examples
    --------
    >>> rows = [("a", 0.1, 0.8), ("a", 0.2, 0.4), ("b", 0.1, 0.6), ("b", 0.2, 0.8)]
    >>> metrics = pd.DataFrame(rows, columns=["arm", "lr", "value"]).assign(scenario="flips", seed=1000)
    >>> runs = metrics.drop(columns="value").assign(phase="tune", status="ok")
    >>> table = same_lr(metrics.assign(metric="online_accuracy"), runs, "online_accuracy")
    >>> table[["arm_a", "arm_b", "tuned", "lr_a", "lr_b", "diff"]].round(2)
      arm_a arm_b  tuned  lr_a  lr_b  diff
    0     a     b   True   0.1   0.2   0.0
    1     a     b  False   0.1   0.1   0.2
    2     a     b  False   0.2   0.2  -0.4
    """
    table = select(metrics, runs, tune_by)
    chosen = table[table["chosen"]].set_index(_ARM)["lr"].to_dict()
    seeds = _tuned(metrics, runs, tune_by).dropna(subset="value")
    seeds = seeds.merge(_best_of(table, [*_ARM, "lr"], tune_by)[[*_ARM, "lr", "options"]])
    values = {key: of_rate.set_index("seed")["value"] for key, of_rate in seeds.groupby([*_ARM, "lr"])}
    rows = []
    for scenario, of_scenario in table.groupby("scenario"):
        grids: dict[str, set[float]] = of_scenario.groupby("arm")["lr"].apply(set).to_dict()  # type: ignore[assignment]
        for a, b in combinations(sorted(grids), 2) if pairs is None else pairs:
            shared = sorted(grids.get(a, set()) & grids.get(b, set()))
            tuned = (
                [(chosen[scenario, a], chosen[scenario, b])] if {(scenario, a), (scenario, b)} <= set(chosen) else []
            )
            for place, (lr_a, lr_b) in enumerate([*tuned, *((lr, lr) for lr in shared)]):
                both = [values.get((scenario, a, lr_a)), values.get((scenario, b, lr_b))]
                found = pd.concat([each for each in both if each is not None] or [pd.Series(dtype=float)], axis=1)
                found = found.dropna() if found.shape[1] == 2 else found.iloc[:0].reindex(columns=range(2))
                mean_a, mean_b = (float(mean) for mean in found.mean())
                is_tuned = place < len(tuned)
                rows.append((scenario, a, b, is_tuned, lr_a, lr_b, len(found), mean_a, mean_b, mean_a - mean_b))
    names = ["scenario", "arm_a", "arm_b", "tuned", "lr_a", "lr_b", "n_pairs", "mean_a", "mean_b", "diff"]
    return pd.DataFrame(rows, columns=names)


def by_lr(
    metrics: pd.DataFrame, runs: pd.DataFrame, tune_by: str, *, names: Sequence[str] | None = None
) -> pd.DataFrame:
    """Return every metric over the learning rate: at a single rate a metric of adaptation mostly reads out that rate.

    Parameters
    ----------
    metrics, runs : pandas.DataFrame
        Tables of ``tamcl.results``; only runs of the phase "tune" count.
    tune_by : str
        Name of the metric by which the rates were chosen.
    names : sequence of str, optional
        The metrics to show; all in the table if absent.

    Returns
    -------
    pandas.DataFrame
        Column metric, then those of ``select``, with eligible, chosen and on_edge by ``tune_by`` in every metric. The
        rows of one metric are what ``tamcl.plots.lr_sensitivity`` draws.

    Examples
    --------
    >>> cells = pd.DataFrame({"scenario": "flips", "arm": "sgd", "lr": [0.01, 0.1], "seed": 1000})
    >>> metrics = pd.concat([cells.assign(metric="online_accuracy", value=[0.5, 0.75]),
    ...                      cells.assign(metric="drop", value=[0.1, 0.3])])
    >>> by_lr(metrics, cells.assign(phase="tune", status="ok"), "online_accuracy")[["metric", "lr", "score", "chosen"]]
                metric    lr  score  chosen
    0  online_accuracy  0.01   0.50   False
    1  online_accuracy  0.10   0.75    True
    2             drop  0.01   0.10   False
    3             drop  0.10   0.30    True
    """
    by = select(metrics, runs, tune_by)
    shown = list(dict.fromkeys(metrics["metric"])) if names is None else list(names)
    marks = {name: by[name] for name in ("eligible", "chosen", "on_edge")}
    tables = [select(metrics, runs, name).assign(**marks) for name in shown]
    table = pd.concat(tables, keys=shown, names=["metric"]) if tables else by.iloc[:0].assign(metric="")
    return table.reset_index("metric").reset_index(drop=True) if tables else table[["metric", *COLUMNS]]


def by_option(tuning: pd.DataFrame, tune_by: str) -> pd.DataFrame:
    """Return the score over the learning rate and one option, for every option of which several values were tried.

    Parameters
    ----------
    tuning : pandas.DataFrame
        What ``select`` returns.
    tune_by : str
        The metric that ``score`` holds.

    Returns
    -------
    pandas.DataFrame
        Columns scenario, arm, option (its name), value (its value as text), number (nan of a value that is none), and
        those of ``select`` of the best trial with that learning rate and value: the best values of other options.

    Examples
    --------
    >>> tuning = pd.DataFrame({"scenario": "flips", "arm": "sgd", "lr": [0.1, 0.2], "score": [0.5, 0.7]})
    >>> tuning = tuning.assign(options=["momentum=0", "momentum=0.9"], eligible=True)
    >>> by_option(tuning, "online_accuracy")[["option", "value", "lr", "score"]]
         option value   lr  score
    0  momentum     0  0.1    0.5
    1  momentum   0.9  0.2    0.7
    """
    rows = tuning[tuning["options"] != ""].to_dict("records")
    names = {"option": "str", "value": "str", "number": "float64"}
    every = [
        {"option": name, "value": text_of(value), "number": float(value) if is_number(value) else nan} | row
        for row in rows
        for name, value in values_of(row["options"]).items()
    ]
    table = pd.DataFrame(every, columns=[*names, *tuning.columns])
    several = table.groupby([*_ARM, "option"])["value"].transform("nunique") > 1
    best = _best_of(table[several], [*_ARM, "option", "value", "lr"], tune_by)
    return best.sort_values([*_ARM, "option", "number", "value", "lr"], ignore_index=True)


def _best_of(tuning: pd.DataFrame, keys: Sequence[str], tune_by: str) -> pd.DataFrame:
    """Return the best row of those that have the same keys: eligible ones first, the first of equal ones.

    Scores are rounded, so that equal ones summed in another order are ties, where a stable sort leaves the smaller lr
    first.
    """
    ranked = tuning.assign(rank=find(tune_by).sign * tuning["score"].round(12))
    ordered = ranked.sort_values(["eligible", "rank"], ascending=False, kind="stable")
    return ordered.drop_duplicates(keys).drop(columns="rank")


def _arms(table: pd.DataFrame) -> pd.Series:
    """Return a number for each row that those of one scenario and arm share."""
    return table.groupby(_ARM).ngroup()


def _tuned(metrics: pd.DataFrame, runs: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return a metric on every tuning run: the columns of ``CELL``, diverged, and value (nan where there is none)."""
    metrics, runs = with_options(metrics), with_options(runs)
    tuned = runs.loc[runs["phase"] == "tune", [*CELL, "status"]]
    seeds = tuned.merge(metrics.loc[metrics["metric"] == metric, [*CELL, "value"]], on=list(CELL), how="left")
    seeds["diverged"] = seeds["status"] != "ok"
    seeds["value"] = seeds["value"].where(~seeds["diverged"])
    return seeds
