"""Steps of optimizers for several runs at once, of which a graph is compiled: one file each, and a line in the table.

A step is the same as that of the optimizer's class, up to rounding, for runs that differ in the learning rate alone.
Nothing heavy is imported from here: which arms can be compiled is asked before anything is trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from tamcl.optim.stacked.base import StackedStep


class Known(NamedTuple):
    """The step of an optimizer, and the options that it knows."""

    path: str
    options: frozenset[str]


_TORQUE = frozenset(
    {"gamma", "eps", "weight_decay", "start", "cosine_on", "granularity", "damping", "damping_function"}
)
_MOMENTA = frozenset({"capacity", "decay", "betas", "eps", "weight_decay", "variant"})

STEPS = {
    "sgd": Known("sgd:StackedSGD", frozenset({"momentum", "nesterov", "weight_decay"})),
    "adam": Known("adam:StackedAdam", frozenset({"betas", "eps", "weight_decay"})),
    "adamw": Known("adam:StackedAdam", frozenset({"betas", "eps", "weight_decay"})),
    "rmsprop": Known("rmsprop:StackedRMSprop", frozenset({"alpha", "eps", "weight_decay", "momentum"})),
    "tam": Known("tam:StackedTAM", _TORQUE | {"momentum", "decoupled_weight_decay"}),
    "adatam": Known("adatam:StackedAdaTAM", _TORQUE | {"betas", "bias_correction"}),
    "adatamw": Known("adatam:StackedAdaTAM", (_TORQUE - {"cosine_on"}) | {"betas", "bias_correction"}),
    "adam_cm": Known("adam_cm:StackedAdamCM", _MOMENTA),
    "adamw_cm": Known("adam_cm:StackedAdamCM", _MOMENTA),
}
"""By the short name of the optimizer."""


def why_no_step(optimizer: str, options: Mapping[str, Any]) -> str:
    """Return, in a phrase, why there is no step of an optimizer with these options; nothing if there is one.

    Examples
    --------
    >>> why_no_step("tam", {"momentum": 0.5, "damping": "shuffled"})
    "the option damping = 'shuffled' of tam is not compiled"
    >>> why_no_step("tam", {"momentum": 0.5})
    ''
    """
    if optimizer not in STEPS:
        return f"the optimizer {optimizer} is not compiled"
    for key, value in options.items():
        if key not in STEPS[optimizer].options or value in ("shuffled", "tensor"):
            return f"the option {key} = {value!r} of {optimizer} is not compiled"
    return ""


def make_step(optimizer: str, group: Mapping[str, Any]) -> StackedStep:
    """Return the step of an optimizer for the options of its parameter group.

    Parameters
    ----------
    optimizer : str
        A name in ``STEPS``.
    group : dict
        Of any of the runs; their learning rates do not count.
    """
    module, _, name = STEPS[optimizer].path.partition(":")
    step: StackedStep = getattr(import_module(f"{__name__}.{module}"), name)(group)
    return step
