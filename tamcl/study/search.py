"""Which learning rates an arm tries: its grid, what widens it, or what a search draws between its ends.

Every arm tries equally many. What is tried next depends on the scores before it and on nothing else, so that a study
that was stopped goes on as it would have.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import pandas as pd

from tamcl.errors import InputError
from tamcl.metrics import find
from tamcl.scenario.schema import MOST_SEEDS, Scenario
from tamcl.seeding import derive_seed
from tamcl.stats.tuning import extended

Rates = dict[str, list[float]]
"""Learning rates of every arm that is tuned, in the order of trying them."""


def first_rates(scenario: Scenario) -> Rates:
    """Return what is tried before any score is known; an arm with a single learning rate is not tuned."""
    tuned = {arm: list(config.lr) for arm, config in scenario.arms.items() if len(config.lr) > 1}
    return tuned if scenario.protocol.search == "grid" else {arm: [_drawn(scenario, arm, [])] for arm in tuned}


def next_rates(scenario: Scenario, tried: Rates, scores: pd.DataFrame) -> Rates:
    """Return one more learning rate for every arm, or nothing where the search is over.

    Parameters
    ----------
    scenario : Scenario
    tried : dict of str to list of float
        What was tried.
    scores : pandas.DataFrame
        What ``tamcl.stats.tuning.select`` returns of it.
    """
    protocol = scenario.protocol
    if protocol.search != "grid":
        more = any(len(rates) < (protocol.trials or 0) for rates in tried.values())
        return {arm: [_drawn(scenario, arm, _history(scores, arm, rates))] for arm, rates in tried.items() if more}
    added = max(len(rates) - len(scenario.arms[arm].lr) for arm, rates in tried.items())
    open_ended = scores["on_edge"].any() or not set(tried) <= set(scores.loc[scores["chosen"], "arm"])
    if added >= protocol.extend or not open_ended:
        return {}
    return {arm: [widened(scores[scores["arm"] == arm], protocol.tune_by)] for arm in tried}


def widened(scores: pd.DataFrame, tune_by: str) -> float:
    """Return the next learning rate of an arm, on the better side of its best one.

    Beyond the grid where the best one is its end; else halfway, by ratio, to the better one of its two neighbours, so
    that an arm whose grid was right gets a trial of the same use. Below the grid where no rate is eligible.

    Parameters
    ----------
    scores : pandas.DataFrame
        Rows of one arm of what ``tamcl.stats.tuning.select`` returns, two or more.
    tune_by : str
        The metric that ``score`` holds.

    Examples
    --------
    >>> scores = pd.DataFrame({"lr": [0.01, 0.04, 0.16], "score": [0.5, 0.7, 0.6], "eligible": True})
    >>> widened(scores.assign(chosen=[False, True, False]), "online_accuracy")
    0.08
    >>> widened(scores.assign(chosen=[False, False, True]), "online_accuracy")
    0.64
    """
    by_rate = scores.sort_values("lr", ignore_index=True)
    rates = [float(lr) for lr in by_rate["lr"]]
    if not by_rate["chosen"].any():
        return extended(rates, rates[0])[0]
    place = int(by_rate["chosen"].to_numpy().argmax())
    if place in (0, len(rates) - 1):
        return extended(rates, rates[place])[0]
    eligible = find(tune_by).sign * by_rate["score"].where(by_rate["eligible"])
    neighbour = max((place - 1, place + 1), key=lambda i: eligible.fillna(float("-inf")).iloc[i])
    return float(f"{sqrt(rates[place] * rates[neighbour]):.6g}")


def _history(scores: pd.DataFrame, arm: str, rates: list[float]) -> list[tuple[float, float]]:
    """Return each learning rate and its score in the order of trying; nan where it is not eligible."""
    by_rate = scores[scores["arm"] == arm].set_index("lr")
    known = by_rate["score"].where(by_rate["eligible"])
    return [(lr, float(known[lr])) for lr in rates]


def _drawn(scenario: Scenario, arm: str, history: list[tuple[float, float]]) -> float:
    """Return the next learning rate of a search, by Optuna: the same whenever the history is the same.

    All arms draw from the same seed, so that a random search tries the same places of every arm's range. The search
    "tpe" draws at random, too, until a third of the trials, at least 2 and at most 10, ended well: by Optuna's own 10 a
    search of 10 trials would never look at a score.
    """
    optuna = _optuna()
    protocol = scenario.protocol
    seed = derive_seed(MOST_SEEDS, "resampling") % 2**32
    if protocol.search == "tpe":
        first = max(2, min(10, (protocol.trials or 0) // 3))
        sampler = optuna.samplers.TPESampler(n_startup_trials=first, seed=seed)
    else:
        sampler = optuna.samplers.RandomSampler(seed=seed)
    direction = "maximize" if find(protocol.tune_by).sign > 0 else "minimize"
    study = optuna.create_study(direction=direction, sampler=sampler)
    rates = scenario.arms[arm].lr
    space = {"lr": optuna.distributions.FloatDistribution(min(rates), max(rates), log=True)}
    for _lr, score in history:  # asked for again, so that the sampler is where it was
        trial = study.ask(space)
        study.tell(trial, None if score != score else score, state=_state(optuna, score))
    return float(f"{study.ask(space).params['lr']:.6g}")


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
