"""Which runs are trained stacked, and compiled: scenario and arm alone decide it, since the last bits depend on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tamcl.interventions import INTERVENTIONS
from tamcl.models import HEADS
from tamcl.optim import OPTIMIZERS
from tamcl.optim.stacked import why_no_step
from tamcl.scenario.grids import covering, flat, grids
from tamcl.scenario.schema import OF_ARMS, Scenario, of_arm

MODELS = frozenset({"mlp"})
"""Models that are faster stacked. Convolutions are not, on CPUs: one of them keeps a core busy by itself."""

STRATEGIES = frozenset({"naive"})
"""Strategies that can be stacked: the others add to the loss, or bring back earlier examples."""

ALONE = {"sam": "needs a closure", "fade": "looks at what the last layer is given in a forward pass of its own"}
"""Optimizers that cannot be stepped in a stack, and why."""

UNITS = frozenset({"continual_backprop", "redo", "self_normalized_resets"})
"""Interventions that look at what units give out, which a stack does not show."""


def is_stacked(scenario: Scenario, arm: str) -> bool:
    """Whether an arm's runs are trained stacked."""
    return not why_alone(_plain(scenario, arm), arm)


def is_compiled(scenario: Scenario, arm: str) -> bool:
    """Whether each step of an arm's runs is one compiled graph."""
    return bool(scenario.strategy.compiled) and not why_not_compiled(_plain(scenario, arm), arm)


def _plain(scenario: Scenario, arm: str) -> dict[str, Any]:
    """Return as plain values what decides how an arm is trained."""
    parts = {"model", "strategy", "evaluation", "diagnostics", "interventions"}
    values = scenario.model_dump(mode="json", include=parts, serialize_as_any=True)
    return values | {"arms": {arm: scenario.arms[arm].model_dump(mode="json")}}


def why_alone(scenario: Mapping[str, Any], arm: str) -> str:
    """Return, in a phrase, why an arm's runs are trained one by one; nothing if they are stacked.

    Parameters
    ----------
    scenario : dict
        As ``Scenario.dump`` gives it: nothing that it names is imported.
    arm : str
    """
    model, strategy, options = scenario["model"], scenario["strategy"], scenario["arms"][arm]
    optimizer, stacked = options["optimizer"], strategy.get("stacked")
    if stacked is False:
        return "strategy.stacked is false"
    if strategy["name"] not in STRATEGIES:
        return f"the strategy {strategy['name']} cannot be stacked"
    if strategy.get("plugins"):
        return "plugins of one's own look inside of steps"
    if model["name"] not in MODELS:
        return f"the model {model['name']} is not faster stacked"
    if model.get("layer_norm"):
        return "layer norm cannot be stacked"
    if model.get("normalize_inputs") is not None:
        return "the normalisation of inputs cannot be stacked"
    if model.get("head", "single") not in HEADS:
        return f"the head {model['head']} is not one of tamcl's"
    for name in sorted(ALONE.keys() & _names(options)):
        return f"the optimizer {optimizer} {ALONE[name]}"
    if not is_known(options) and not stacked:
        return f"the optimizer {optimizer} is not one of tamcl's, and strategy.stacked = true was not set"
    for name in (each["name"] for each in of_arm(scenario, arm)):
        if name in UNITS:
            return f"the intervention {name} looks at what units give out in a forward pass"
        if name not in INTERVENTIONS and not stacked:
            return f"the intervention {name} is not one of tamcl's, and strategy.stacked = true was not set"
    return ""


def why_not_compiled(scenario: Mapping[str, Any], arm: str) -> str:
    """Return, in a phrase, why an arm's runs cannot be compiled; nothing if they can.

    The parameters are those of ``why_alone``.
    """
    options = scenario["arms"][arm]
    if why := why_alone(scenario, arm):
        return f"not stacked, since {why}"
    state = options.get("optimizer_state") or scenario["strategy"].get("optimizer_state")
    if state in ("reset_moments", "reset_clock"):
        return f"optimizer_state = '{state}': a graph knows a first step by its count"
    if interventions := of_arm(scenario, arm):
        return f"the intervention {interventions[0]['name']} acts between steps"
    if options.get("groups"):
        return "its parameters are in groups, and a graph has one"
    if scenario["model"].get("head") == "multi":
        return "the head multi leaves weights without a gradient"
    if scenario["strategy"].get("clip"):
        return "strategy.clip looks inside of steps"
    if scenario.get("diagnostics"):
        return "diagnostics look inside of steps"
    if scenario.get("evaluation", {}).get("every") not in (None, "epoch"):
        return "evaluation.every tests inside of experiences"
    given = {key: value for key, value in options.items() if key not in OF_ARMS}
    tuned = grids(options["optimizer"], given)
    every = (given | values for values in covering(tuned))
    return next((why for chosen in every if (why := why_no_step(options["optimizer"], chosen))), "")


def is_known(arm: Mapping[str, Any]) -> bool:
    """Whether all optimizers of an arm, those that others wrap included, are of the table."""
    return arm["optimizer"] in OPTIMIZERS and not any(":" in name for name in _names(arm))


def _names(arm: Mapping[str, Any]) -> set[str]:
    """Return the words that name an arm's optimizers, those to choose from included, and perhaps others."""
    return {value for value in flat(arm.values()) if isinstance(value, str)}
