"""Learning-rate schedules: which share of its learning rate an update has, by the number of the update alone."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from tamcl.errors import shown, unknown_name
from tamcl.streams.fields import Fraction, not_empty, unfit

ScheduleName = Literal["constant", "cosine", "step", "warmup"]

_NAMES = get_args(ScheduleName)

WARMUP = 0.05
"""Share of the updates over which the schedule "warmup" rises, if it does not say otherwise."""

DROPS, FACTOR = (0.5, 0.75), 0.1
"""Where the schedule "step" drops, and to what, if it does not say otherwise."""


class Schedule(BaseModel):
    r"""How the learning rate goes on within an experience, or over the whole stream; a name alone gives the defaults.

    Of ``T`` updates the first ``W = round(warmup * T)`` rise in a line. Update ``t``, from 0, has this share:

    ============  ==============================================================
    warming up    ``(t + 1) / (W + 1)``
    ``warmup``    1
    ``cosine``    ``(1 + cos(pi (t - W) / (T - W))) / 2``
    ``step``      ``factor`` to the power of how many ``round(at * T)`` are passed
    ============  ==============================================================

    These are the numbers of torch's ``LinearLR``, ``CosineAnnealingLR`` and ``MultiStepLR``, one after the other. Those
    count by themselves and go around ``step``: a share that follows from the number of the update alone is the same in
    a stack of runs, in a compiled step, and in a run that goes on in the middle of a pass.

    Parameters
    ----------
    name : {"constant", "cosine", "step", "warmup"}
        No schedule; half a cosine down to 0; a drop at some places; a rise and then no change.
    over : {"experience", "stream"}
        Whether the updates are those of an experience, so that every experience begins anew, or those of the stream.
    warmup : float
        In [0, 1]; 0 if absent, and 0.05 for ``name = "warmup"``.
    at : tuple of float
        Rising shares of the updates after which the rate drops, for "step"; 0.5 and 0.75 if absent.
    factor : float
        What it is multiplied by there, in (0, 1), for "step"; 0.1 if absent.

    Examples
    --------
    >>> Schedule(name="cosine").shares(range(4), 4).round(3).tolist()
    [1.0, 0.854, 0.5, 0.146]
    >>> Schedule(name="warmup", warmup=0.5).shares(range(4), 4).round(3).tolist()
    [0.333, 0.667, 1.0, 1.0]
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ScheduleName
    over: Literal["experience", "stream"] = "experience"
    warmup: Fraction | None = None
    at: Annotated[tuple[Fraction, ...], AfterValidator(not_empty)] | None = None
    factor: Annotated[float, Field(strict=True, gt=0, lt=1)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        values = {"name": value} if isinstance(value, str) else value
        if not isinstance(values, dict | Schedule):
            example = "{ name = 'cosine', warmup = 0.05 }"
            raise unfit("", f"must be a name, or a table such as {example}, got {shown(value)}")
        if isinstance(values, dict) and isinstance(name := values.get("name"), str) and name not in _NAMES:
            raise unfit("name", unknown_name("schedule", name, _NAMES))
        return values

    @model_validator(mode="after")
    def _fits(self) -> Schedule:
        if self.name == "constant" and self.warmup is not None:
            raise unfit("warmup", "is for the schedules 'warmup', 'cosine' and 'step'")
        for key in ("at", "factor"):
            if self.name != "step" and getattr(self, key) is not None:
                raise unfit(key, f"is for the schedule 'step', not '{self.name}'")
        if self.at and list(self.at) != sorted({*self.at}):
            raise unfit("at", f"{list(self.at)} must rise from each to the next, for each is where the rate drops once")
        return self

    def shares(self, updates: range, total: int) -> NDArray[np.float64]:
        """Return the shares of some of ``total`` updates.

        Parameters
        ----------
        updates : range
            Their numbers, from 0.
        total : int
            Updates of the experience, or of the stream.
        """
        t = np.asarray(updates, dtype=np.float64)
        share = self.warmup if self.warmup is not None else WARMUP if self.name == "warmup" else 0.0
        warmup = round(share * total)
        if self.name == "cosine":
            falling = (1 + np.cos(np.pi * (t - warmup) / max(1, total - warmup))) / 2
        elif self.name == "step":
            places = np.array([round(each * total) for each in self.at or DROPS])
            falling = (self.factor or FACTOR) ** (t[:, None] >= places).sum(1)
        else:
            falling = np.ones_like(t)
        return np.where(t < warmup, (t + 1) / (warmup + 1), falling)
