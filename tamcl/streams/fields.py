"""Types of settings that several streams have, and how a setting that does not fit another is refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field, TypeAdapter, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError

Number = TypeVar("Number", int, float)


def _by_form(one: Any, many: Any) -> WrapValidator:
    """Check a list as a list and anything else as one value, so that a mistake is one message rather than two."""
    single, several = TypeAdapter(one), TypeAdapter(many)

    def check(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        return (several if isinstance(value, list | tuple) else single).validate_python(value)

    return WrapValidator(check)


def not_empty(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse a list without values."""
    if not values:
        raise PydanticCustomError("unfit", "is an empty list")
    return values


Fraction = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]

_Fractions = Annotated[tuple[Fraction, ...], AfterValidator(not_empty)]
Fractions = Annotated[Fraction | _Fractions, _by_form(Fraction, _Fractions)]
"""One number in [0, 1], or a list: one for each boundary in turn, from the first again when it is used up."""

_Severity = Annotated[int, Field(strict=True, ge=1, le=5)]
_Severities = Annotated[tuple[_Severity, ...], AfterValidator(not_empty)]
Severities = Annotated[_Severity | _Severities, _by_form(_Severity, _Severities)]
"""An integer from 1 to 5, or a list: one for each boundary in turn."""

CorruptionName = Literal[
    "gaussian_noise", "shot_noise", "impulse_noise", "gaussian_blur", "contrast", "brightness", "pixelate"
]

_Numbers = tuple[Annotated[int, Field(strict=True, ge=0)], ...]
_Rule = Literal["random", "fixed"]
Order = Annotated[_Rule | _Numbers, _by_form(_Rule, _Numbers)]
"""Drawn from the seed, as they are numbered, or the numbers in the order wanted."""


def in_turn(values: Number | tuple[Number, ...], boundary: int) -> Number:
    """Return the value for a boundary, counted from 0.

    Examples
    --------
    >>> [in_turn((0.2, 0.4), boundary) for boundary in range(3)], in_turn(0.5, 7)
    ([0.2, 0.4, 0.2], 0.5)
    """
    return values[boundary % len(values)] if isinstance(values, tuple) else values


def unfit(path: str, why: object) -> PydanticCustomError:
    """Return an error about one setting, for pydantic to collect: what is raised by a validator of all settings."""
    return PydanticCustomError("unfit", "{why}", {"path": path, "why": str(why)})
