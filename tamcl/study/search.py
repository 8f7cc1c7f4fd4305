"""Which trials an arm makes: those of its grid, what widens it, or what a search draws between its ends.

Every arm makes equally many. What is tried next depends on the scores before it and on nothing else, so that a study
that was stopped goes on as it would have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod, sqrt
from typing import Any

import pandas as pd

from tamcl.errors import InputError
from tamcl.metrics import find
from tamcl.scenario.schema import MOST_SEEDS, Arm, Scenario
from tamcl.seeding import derive_seed
from tamcl.stats.tuning import at_chosen, extended
from tamcl.trial import Trial, is_number

Trials = dict[str, list[Trial]]
"""Trials of every arm that is tuned, in the order of making them."""

Scores = Mapping[Trial, float]
"""The score of each trial; nan where it is not eligible."""


def first_trials(scenario: Scenario) -> Trials:
    """Return what is tried before any score is known; an arm with a single trial is not tuned."""
    tuned = {arm: list(config.trials) for arm, config in scenario.arms.items() if config.size > 1}
    if scenario.protocol.search == "grid":
        return tuned
    _check_enough(scenario)
    return {arm: [_drawn(scenario, arm, {})] for arm in tuned}


def next_trials(scenario: Scenario, tried: Trials, scores: pd.DataFrame) -> Trials:
    """Return one more trial for every arm, or nothing where the search is over.

    Parameters
    ----------
    scenario : Scenario
    tried : dict of str to list of Trial
        What was tried.
    scores : pandas.DataFrame
        What ``tamcl.stats.tuning.select`` returns of it.
    """
    protocol = scenario.protocol
    if protocol.search != "grid":
        more = any(len(trials) < (protocol.trials or 0) for trials in tried.values())
        return {arm: [_drawn(scenario, arm, _known(scores, arm))] for arm in tried if more}
    added = max(len(trials) - scenario.arms[arm].size for arm, trials in tried.items())
    open_ended = scores["on_edge"].any() or not set(tried) <= set(scores.loc[scores["chosen"], "arm"])
    if added >= protocol.extend or not open_ended:
        return {}
    return {arm: [widened(scores[scores["arm"] == arm], protocol.tune_by)] for arm in tried}


def widened(scores: pd.DataFrame, tune_by: str) -> Trial:
    """Return the next trial of an arm: a learning rate on the better side of its best one, at the best options.

    Beyond the grid where the best one is its end; else halfway, by ratio, to the better one of its two neighbours, so
    that an arm whose grid was right gets a trial of the same use. Below the grid where no trial is eligible.

    Parameters
    ----------
    scores : pandas.DataFrame
        Rows of one arm of what ``tamcl.stats.tuning.select`` returns, with two learning rates or more.
    tune_by : str
        The metric that ``score`` holds.

    Examples
    --------
    >>> scores = pd.DataFrame({"lr": [0.01, 0.04, 0.16], "options": "", "score": [0.5, 0.7, 0.6], "eligible": True})
    >>> scores = scores.assign(scenario="flips", arm="tam")
    >>> widened(scores.assign(chosen=[False, True, False]), "online_accuracy").lr
    0.08
    >>> widened(scores.assign(chosen=[False, False, True]), "online_accuracy").lr
    0.64
    """
    by_rate = at_chosen(scores).sort_values("lr", ignore_index=True)
    rates, options = [float(lr) for lr in by_rate["lr"]], str(by_rate["options"].iloc[0])
    if not by_rate["chosen"].any():
        return Trial(extended(rates, rates[0])[0], options)
    place = int(by_rate["chosen"].to_numpy().argmax())
    if place in (0, len(rates) - 1):
        return Trial(extended(rates, rates[place])[0], options)
    eligible = find(tune_by).sign * by_rate["score"].where(by_rate["eligible"])
    neighbour = max((place - 1, place + 1), key=lambda i: eligible.fillna(float("-inf")).iloc[i])
    return Trial(float(f"{sqrt(rates[place] * rates[neighbour]):.6g}"), options)


def _known(scores: pd.DataFrame, arm: str) -> Scores:
    """Return the scores of what an arm has tried."""
    of_arm = scores[scores["arm"] == arm]
    known = of_arm["score"].where(of_arm["eligible"])
    rows = zip(of_arm["lr"], of_arm["options"], known, strict=True)
    return {Trial(float(lr), options): float(score) for lr, options, score in rows}


def _check_enough(scenario: Scenario) -> None:
    """Refuse a search of more trials than an arm has, whose values are all of a few."""
    for arm, config in scenario.arms.items():
        counts = [_count(values) for values in ((*map(float, config.lr),), *config.grids.values())]
        size, trials = prod(each or 0 for each in counts), scenario.protocol.trials or 0
        if None not in counts and 1 < size < trials:
            raise InputError(f"arms.{arm}: has {size} different trials, fewer than protocol.trials = {trials}")


def _drawn(scenario: Scenario, arm: str, known: Scores) -> Trial:
    """Return the next trial of a search, by Optuna: the same whenever the scores before are the same.

    All arms draw from the same seed, so that a random search tries the same places of the ranges of arms that tune as
    many options. The search "tpe" draws at random, too, until a third of the trials, at least 2 and at most 10, ended
    well: by Optuna's own 10 a search of 10 trials would never look at a score. A trial that is drawn again, as may be
    where all values are of a few, is told its score again and not made again.
    """
    optuna = _optuna()
    protocol, config = scenario.protocol, scenario.arms[arm]
    seed = derive_seed(MOST_SEEDS, "resampling") % 2**32
    if protocol.search == "tpe":
        first = max(2, min(10, (protocol.trials or 0) // 3))
        sampler = optuna.samplers.TPESampler(n_startup_trials=first, seed=seed)
    else:
        sampler = optuna.samplers.RandomSampler(seed=seed)
    direction = "maximize" if find(protocol.tune_by).sign > 0 else "minimize"
    study = optuna.create_study(direction=direction, sampler=sampler)
    space = _space(optuna, config)
    for _ in range(200 + 20 * (protocol.trials or 0)):
        trial = study.ask(space)  # what was drawn before is asked for again, so that the sampler is where it was
        drawn = _trial(config, trial.params)
        if drawn not in known:
            return drawn
        score = known[drawn]
        study.tell(trial, None if score != score else score, state=_state(optuna, score))
    raise InputError(
        f"arms.{arm}: after {len(known)} trials the search draws nothing new: between the ends of its learning rates "
        "and options lie hardly any numbers of six digits; set the ends further apart"
    )


def _space(optuna: Any, config: Arm) -> dict[str, Any]:
    """Return what is drawn from: the learning rate, and each option that has several values."""
    floats = optuna.distributions.FloatDistribution
    space = {"lr": floats(min(config.lr), max(config.lr), log=True)}
    for name, values in config.grids.items():
        if len(values) == 1:
            continue
        if not _is_range(values):
            space[name] = optuna.distributions.CategoricalDistribution(range(len(values)))
            continue
        low, high = min(values), max(values)
        kind = optuna.distributions.IntDistribution if _count(values) else floats
        space[name] = kind(low, high, log=low > 0 and high >= 10 * low)
    return space


def _trial(config: Arm, drawn: Mapping[str, Any]) -> Trial:
    """Return the trial of what was drawn, to six digits."""
    chosen = {}
    for name, values in config.grids.items():
        found = drawn.get(name, 0)
        chosen[name] = _rounded(found, values) if len(values) > 1 and _is_range(values) else values[found]
    return Trial.of(_rounded(drawn["lr"], config.lr), chosen)


def _rounded(value: float, ends: Sequence[float]) -> float:
    """Return a number to six digits, and not beyond the ends of what it was drawn from."""
    return value if isinstance(value, int) else min(max(float(f"{value:.6g}"), min(ends)), max(ends))


def _is_range(values: tuple[Any, ...]) -> bool:
    """Whether values are numbers, of which a search draws what lies between."""
    return all(map(is_number, values))


def _count(values: tuple[Any, ...]) -> int | None:
    """Return how many values a search may draw from some; None if it draws any number between."""
    if len(values) == 1 or not _is_range(values):
        return len(values)
    return max(values) - min(values) + 1 if all(isinstance(value, int) for value in values) else None


def _state(optuna: Any, score: float) -> Any:
    return optuna.trial.TrialState.FAIL if score != score else optuna.trial.TrialState.COMPLETE


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise InputError(
            "protocol.search: needs Optuna, which is not installed: pip install 'tamcl[search]', or search = 'grid'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
