"""How a strategy trains: what each of them is told beside the model, the optimizer and its own options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from numbers import Integral
from typing import TYPE_CHECKING, Literal, get_args

from tamcl.errors import InputError
from tamcl.strategies.schedule import Schedule
from tamcl.streams.base import Augmentation, Target

if TYPE_CHECKING:
    import torch

    from tamcl.avalanche import EvaluationPlugin, SupervisedPlugin
    from tamcl.interventions import Intervention

OptimizerState = Literal["keep", "reset", "reset_moments", "reset_clock"]


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How a strategy trains, the same for all of them.

    Attributes
    ----------
    optimizer_state : {"keep", "reset", "reset_moments", "reset_clock"}
        What happens to the optimizer at a boundary: it goes on; it is made anew; what it has averaged over gradients
        begins anew, and its counts of steps go on; or the counts begin anew, and the averages go on.
    schedule : Schedule, optional
        What the learning rates of all groups are multiplied by in each update; nothing if absent.
    clip : float, optional
        Norm, above 0, that the gradient of all parameters together is scaled down to where it is larger; none if
        absent.
    batch_size, epochs : int
        At least 1.
    drop_last : bool
        Whether a last mini-batch of a pass that is smaller is left out.
    seed : int
        Seed of the run; decides the order of mini-batches.
    device : torch.device or str
    target : {"class", "number", "token"}
        What is learnt: to choose a class, by cross entropy; to give a number, by the mean squared error of the first
        output; or to choose each token of a text from those before it, by cross entropy.
    restart : bool
        Whether model and optimizer are made anew at each boundary, with the weights of the start.
    augmentation : {"none", "crop_flip"}
        What is done to training images on the batch.
    interventions : sequence of Intervention
        What is done to the network beside the optimizer's steps, one after the other.
    plugins : sequence of SupervisedPlugin
    evaluator : EvaluationPlugin, optional
        Avalanche's metrics and loggers, called at every event that the template has, and for each experience that
        ``eval`` tests as if it were tested by itself. None, and no calls, if absent.

    Raises
    ------
    InputError
        If a value is none of those allowed.

    Examples
    --------
    >>> TrainingSettings(optimizer_state="rest")
    Traceback (most recent call last):
    tamcl.errors.InputError: optimizer_state = 'rest': must be 'keep' or 'reset' or 'reset_moments' or 'reset_clock'
    """

    optimizer_state: OptimizerState = "keep"
    schedule: Schedule | None = None
    clip: float | None = None
    batch_size: int = 10
    epochs: int = 1
    drop_last: bool = False
    seed: int = 0
    device: torch.device | str = "cpu"
    target: Target = "class"
    restart: bool = False
    augmentation: Augmentation = "none"
    interventions: Sequence[Intervention] = ()
    plugins: Sequence[SupervisedPlugin] = ()
    evaluator: EvaluationPlugin | None = None

    def __post_init__(self) -> None:
        choices = {"optimizer_state": OptimizerState, "target": Target, "augmentation": Augmentation}
        for name, allowed in choices.items():
            if getattr(self, name) not in get_args(allowed):
                raise _wrong(name, getattr(self, name), " or ".join(map(repr, get_args(allowed))))
        for name, least in {"batch_size": 1, "epochs": 1, "seed": 0}.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
                raise _wrong(name, value, f"a whole number, at least {least}")
        if not isinstance(self.schedule, Schedule | None):
            raise _wrong("schedule", self.schedule, "a Schedule or None")
        if self.clip is not None and not (type(self.clip) in (int, float) and 0 < self.clip < inf):
            raise _wrong("clip", self.clip, "a finite number above 0, or None")
        for name in ("restart", "drop_last"):
            if not isinstance(getattr(self, name), bool):
                raise _wrong(name, getattr(self, name), "True or False")


def _wrong(name: str, value: object, allowed: str) -> InputError:
    return InputError(f"{name} = {value!r}: must be {allowed}")
