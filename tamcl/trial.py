"""A trial: the learning rate that an arm is tried with, and the values of the options that are tuned with it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

LONGEST = 60
"""Letters of the options in the name of a run's folder."""

_BARE = r"[^\s,\[\](){}\"'=]+"
_NAME, _WORD = re.compile(r"(\w+)="), re.compile(rf"{_BARE}(?=, |$)")


class Trial(NamedTuple):
    """What an arm is tried with, as the columns ``lr`` and ``options`` of the tables say.

    The options are a text, so that a trial is the same in a table, a record and a dict; ``arguments`` reads it.

    Examples
    --------
    >>> trial = Trial.of(0.1, {"weight_decay": 1e-3, "betas": (0.9, 0.99)})
    >>> trial.options
    'betas=[0.9, 0.99], weight_decay=0.001'
    >>> trial.arguments
    {'betas': (0.9, 0.99), 'weight_decay': 0.001}
    >>> print(Trial(0.1), "or", Trial(0.1, "weight_decay=0"))
    lr 0.1 or lr 0.1, weight_decay=0
    """

    lr: float
    options: str = ""
    """``name=value`` of every option that is tuned, sorted by name; empty where the learning rate alone is."""

    @classmethod
    def of(cls, lr: float, values: Mapping[str, Any]) -> Trial:
        """Return the trial of a learning rate and the values of options."""
        return cls(lr, ", ".join(f"{name}={text_of(values[name])}" for name in sorted(values)))

    @classmethod
    def read(cls, noted: Any) -> Trial:
        """Return the trial that ``plain`` gave."""
        return cls(noted["lr"], noted["options"]) if isinstance(noted, Mapping) else cls(noted)

    @property
    def plain(self) -> float | dict[str, Any]:
        """How a record notes it: by the learning rate alone where that is all."""
        return self._asdict() if self.options else self.lr

    @property
    def arguments(self) -> dict[str, Any]:
        """The values of the options by their names; lists become tuples, as optimizers expect."""
        return values_of(self.options)

    @property
    def folder(self) -> str:
        """How it stands in the name of a run's folder, in letters that every file system takes, and not too many."""
        plain = self.options.replace(", ", ",")
        name = re.sub(r"[^A-Za-z0-9_.+=,-]+", "_", plain)
        if name != plain or len(name) > LONGEST:
            name = f"{name[:LONGEST]}-{blake2b(plain.encode(), digest_size=4).hexdigest()}"
        return f"lr{self.lr:g}" + (f"-{name}" if name else "")

    def __str__(self) -> str:
        return f"lr {self.lr:g}" + (f", {self.options}" if self.options else "")


def text_of(value: Any) -> str:
    """Return a value as it stands in the text of a trial's options, which no other value shares.

    Examples
    --------
    >>> [text_of(value) for value in (0, 1.0, True, "keep", "1", (0.9, 0.99))]
    ['0', '1.0', 'true', 'keep', '"1"', '[0.9, 0.99]']
    """
    if isinstance(value, str) and re.fullmatch(_BARE, value) and _read(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)


def values_of(options: str) -> dict[str, Any]:
    """Return the values of the options of a trial by their names.

    Raises
    ------
    ValueError
        If the text is none of a trial's.

    Examples
    --------
    >>> values_of("base=sgd, momentum=0.9")
    {'base': 'sgd', 'momentum': 0.9}
    """
    found: dict[str, Any] = {}
    end = 0
    while end < len(options):
        name = _NAME.match(options, end)
        if name is None:
            raise ValueError(f"{options[:60]!r} are no options of a trial")
        if word := _WORD.match(options, name.end()):
            value, end = _read(word[0]), word.end()
        else:
            try:
                value, end = json.JSONDecoder().raw_decode(options, name.end())
            except RecursionError as error:
                raise ValueError(f"{options[:60]!r} are no options of a trial") from error
        found[name[1]] = tuple(value) if isinstance(value, list) else value
        if end < len(options):
            if not options.startswith(", ", end) or options.endswith(", "):
                raise ValueError(f"{options[:60]!r} are no options of a trial")
            end += 2
    return found


def is_number(value: Any) -> bool:
    """Whether a value of an option is a number, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _read(word: str) -> Any:
    try:
        return json.loads(word)
    except ValueError:
        return word
