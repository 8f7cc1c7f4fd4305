"""The plugin that measures diagnostics as training goes on."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tamcl.avalanche import SupervisedPlugin
from tamcl.diagnostics import DIAGNOSTICS
from tamcl.diagnostics.diagnostic import Diagnostic
from tamcl.diagnostics.update import Update
from tamcl.errors import InputError, reason
from tamcl.registry import lookup


class DiagnosticsCollector(SupervisedPlugin, supports_distributed=False):  # type: ignore[misc,call-arg]
    """Rows of diagnostics of every k-th update, counted anew from the first of each experience.

    So the update that meets a shift is always measured, and all experiences are measured at the same places. Nothing in
    training changes: not the weights, not the optimizer, not the model's mode, not torch's generators.

    What it costs depends on what is asked for. An MLP of 100-100 hidden units was trained so many times as long, with
    all diagnostics of a kind on (500 samples, mini-batches of 10, 144 updates an experience, one CPU thread; from SGD
    with momentum to critical momenta, on digits and on MNIST):

    ==================================  ==============  ===========  ===========
    diagnostics                         ms each time    every 10     every 100
    ==================================  ==============  ===========  ===========
    torque, movement, buffer (14)       1 to 3          1.2 to 1.3   1.03 to 1.08
    units (3)                           2 to 4          1.3 to 1.8   1.04 to 1.2
    sample plasticity                   less than units
    SAM sharpness                       3 to 7          1.4 to 2.3   1.05 to 1.2
    ranks (3)                           6 to 8          1.9 to 3.0   1.10 to 1.3
    top eigenvalue of the Hessian       20 to 50        4 to 11      1.5 to 2.6
    ==================================  ==============  ===========  ===========

    An optimizer that does something else every few steps, as Lookahead does, is seen doing it only if ``every`` is not
    a multiple of that number.

    Parameters
    ----------
    names : sequence of str
        Names in ``DIAGNOSTICS``, or ``package.module:Class`` of a ``Diagnostic``.
    every : int
        k, at least 1.
    samples : int
        Training examples of the current experience that losses and activations are measured on.
    options : dict of str to dict
        Arguments of diagnostics, by name.

    Attributes
    ----------
    seconds : float
        Time spent so far on measured updates.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        every: int = 100,
        samples: int = 500,
        options: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__()
        for key, value in (("every", every), ("samples", samples)):
            if value < 1:
                raise InputError(f"diagnostics.{key} = {value}: must be at least 1")
        self.every = every
        self.samples = samples
        self.seconds = 0.0
        self._diagnostics = {name: _build(name, (options or {}).get(name, {})) for name in names}
        # a call for every update is for those alone that need it
        self._observing = [d for d in self._diagnostics.values() if type(d).observe is not Diagnostic.observe]
        self._rows: list[tuple[int, int, str, str, float]] = []
        self._update: Update | None = None
        self._step = 0
        self._in_experience = 0

    def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Count anew."""
        self._in_experience = 0

    def before_update(self, strategy: Any, **kwargs: Any) -> None:
        """Look at what the update will change, if it is measured."""
        if self._in_experience % self.every == 0:
            before = time.perf_counter()
            self._update = Update(strategy, self.samples)
            for diagnostic in self._diagnostics.values():
                diagnostic.prepare(self._update)
            self.seconds += time.perf_counter() - before

    def after_update(self, strategy: Any, **kwargs: Any) -> None:
        """Measure the update, if it is its turn."""
        for diagnostic in self._observing:
            diagnostic.observe(strategy)
        if self._update is not None:
            before = time.perf_counter()
            self._measure(self._update)
            self._update = None
            self.seconds += time.perf_counter() - before
        self._step += 1
        self._in_experience += 1

    def _measure(self, update: Update) -> None:
        found = [
            (name, tensor, value)
            for name, diagnostic in self._diagnostics.items()
            for tensor, value in diagnostic.measure(update)
        ]
        position = update.strategy.experience.current_experience
        values = _read([value for *_, value in found])
        for (name, tensor, _), value in zip(found, values, strict=True):
            self._rows.append((position, self._step, name, tensor, value))

    def state_dict(self) -> dict[str, Any]:
        """Return the rows so far, what is counted, and what the diagnostics have."""
        diagnostics = {name: diagnostic.state_dict() for name, diagnostic in self._diagnostics.items()}
        counts = {"step": self._step, "in_experience": self._in_experience, "seconds": self.seconds}
        return {"rows": columns_of(self._rows), "diagnostics": diagnostics, **counts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what ``state_dict`` returned."""
        self._rows = rows_of(state["rows"])
        self._step, self._in_experience, self.seconds = state["step"], state["in_experience"], state["seconds"]
        for name, diagnostic in self._diagnostics.items():
            diagnostic.load_state_dict(state["diagnostics"][name])

    def rows(self) -> pd.DataFrame:
        """Return experience, step, diagnostic, tensor, value."""
        return pd.DataFrame(self._rows, columns=["experience", "step", "diagnostic", "tensor", "value"])


def columns_of(rows: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Return rows as a list for each column: an array, or a list of texts.

    Examples
    --------
    >>> rows_of(columns_of([(0, "norm", 0.5), (1, "norm", 0.25)]))
    [(0, 'norm', 0.5), (1, 'norm', 0.25)]
    """
    columns = map(list, zip(*rows, strict=True))
    return [column if isinstance(column[0], str) else np.array(column) for column in columns]


def rows_of(columns: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Return what ``columns_of`` was given."""
    return [*zip(*(column if isinstance(column, list) else column.tolist() for column in columns), strict=True)]


def _build(name: str, options: Mapping[str, Any]) -> Diagnostic:
    cls: type[Diagnostic] = lookup(DIAGNOSTICS, name)
    try:
        return cls(**options)
    except Exception as error:  # somebody's diagnostic may raise anything
        raise InputError(f"diagnostics.options.{name}: {reason(error)}") from error


def _read(values: Sequence[float | Tensor]) -> list[float]:
    """Bring values to Python with one read of the device."""
    tensors = [value.double().reshape(()) for value in values if isinstance(value, Tensor)]
    if len({tensor.device for tensor in tensors}) > 1:
        tensors = [tensor.cpu() for tensor in tensors]
    read = iter(torch.stack(tensors).tolist() if tensors else [])
    return [next(read) if isinstance(value, Tensor) else float(value) for value in values]
