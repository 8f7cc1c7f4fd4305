"""Rules that give some of a model's parameters options of their own, such as no weight decay for biases."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from tamcl.errors import shown
from tamcl.streams.fields import not_empty, unfit

Dims = Annotated[int, Field(strict=True, ge=0)]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, int) else value


class Group(BaseModel):
    """A rule, and what the parameters have that it matches: options of the optimizer, and a share of the learning rate.

    Parameters
    ----------
    match : str, optional
        A regular expression that is searched for, in any case, in the parameter's name and in the name of its layer's
        class: ``bias|norm`` finds biases by their names, and all of a ``BatchNorm2d`` by its class.
    dims : int or tuple of int, optional
        Numbers of dimensions: 2 are the matrices, and ``[0, 1]`` all that is neither matrix nor filter.
    lr_scale : float
        What the learning rate is multiplied by, at least 0.

    Examples
    --------
    >>> decay = Group(match="bias|norm", weight_decay=0)
    >>> [decay.fits(name, layer, 1) for name, layer in [("body.0.bias", "Linear"), ("body.1.weight", "LayerNorm")]]
    [True, True]
    >>> Group(match="body", dims=2, lr_scale=0.1).fits("body.0.bias", "Linear", 1)
    False
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    match: str | None = None
    dims: Annotated[tuple[Dims, ...], AfterValidator(not_empty), BeforeValidator(_as_list)] | None = None
    lr_scale: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)] = 1.0

    @property
    def options(self) -> dict[str, Any]:
        """Options of the optimizer; lists become tuples, as optimizers expect."""
        return {key: tuple(v) if isinstance(v, list) else v for key, v in (self.model_extra or {}).items()}

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.match is None and self.dims is None:
            raise unfit("", "has no rule: 'match', a regular expression, or 'dims', a number of dimensions")
        try:
            re.compile(self.match or "")
        except re.error as error:
            raise unfit("match", f"{shown(self.match)} is no regular expression: {error}") from error
        if "lr" in self.options:
            raise unfit("lr", "is the arm's, which is tuned; 'lr_scale' multiplies it for a group")
        if not self.options and self.lr_scale == 1:
            raise unfit("", "changes nothing: it has neither an option of the optimizer nor 'lr_scale'")
        return self

    def fits(self, name: str, layer: str, dims: int) -> bool:
        """Whether the rule matches a parameter of this name and number of dimensions, in a layer of this class."""
        found = self.match is None or any(re.search(self.match, text, re.IGNORECASE) for text in (name, layer))
        return found and (self.dims is None or dims in self.dims)

    def dump(self) -> dict[str, Any]:
        """Return what was set, as plain values."""
        return self.model_dump(mode="json", exclude_defaults=True)


def listed_groups(groups: Iterable[Mapping[str, Any]]) -> str:
    """Say what groups there are, as ``Arm.model_dump`` gives them.

    Examples
    --------
    >>> listed_groups([Group(match="bias|norm", weight_decay=0).dump(), Group(dims=2, lr_scale=0.1).dump()])
    'bias|norm: weight_decay 0; dims 2: lr_scale 0.1'
    """
    return "; ".join(f"{rule_of(group)}: {_listed(group)}" for group in groups)


def rule_of(group: Mapping[str, Any]) -> str:
    """Return what a group's parameters are found by, in short."""
    dims = group.get("dims")
    parts = [group.get("match"), dims and f"dims {', '.join(map(str, dims))}"]
    return " with ".join(part for part in parts if part is not None)


def _listed(group: Mapping[str, Any]) -> str:
    values = {key: value for key, value in group.items() if key not in ("match", "dims")}
    return ", ".join(f"{key} {value}" for key, value in values.items() if (key, value) != ("lr_scale", 1.0))
