"""Avalanche plugins that append rows. They count; everything computed from the rows is in ``tamcl.metrics``.

They also look whether training has diverged, and say so in ``strategy.diverged``: a status and no exception, since one
of several runs in a process may diverge while the others go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import isnan
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from tamcl.avalanche import SupervisedPlugin
from tamcl.diagnostics.collector import columns_of, rows_of

_BLOCK = 100  # rows between two reads from the device


class OnlineCollector(SupervisedPlugin, supports_distributed=False):  # type: ignore[misc,call-arg]
    """One row a mini-batch, measured before the update: test, then train (prequential).

    Training has diverged if a loss is infinite or not a number, which is seen at most 100 rows later. The rows before
    are kept, and none is added after.

    Parameters
    ----------
    batches : int
        Mini-batches that are put together in a row, for streams of very many; no row reaches over a shift.

    Attributes
    ----------
    steps_at_once : int
        Steps between two reads from the device.
    """

    def __init__(self, batches: int = 1) -> None:
        super().__init__()
        self._batches = batches
        self.steps_at_once = _BLOCK * batches
        self._blocks: list[pd.DataFrame] = []
        self._pending: list[Tensor] = []
        self._sizes: list[int] = []
        self._step = 0

    def before_backward(self, strategy: Any, **kwargs: Any) -> None:
        """Note the loss and the correct answers of the mini-batch; numbers are neither right nor wrong."""
        labels = strategy.mb_y
        right = strategy.mb_output.argmax(1) == labels
        correct = labels.new_full((), torch.nan) if labels.is_floating_point() else right.sum()
        self._pending.append(torch.stack((strategy.loss.detach().double(), correct.double())))
        self._sizes.append(len(labels))
        if len(self._pending) == self.steps_at_once:
            self._flush(strategy)

    def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Read what is left of the experience."""
        if self._pending:
            self._flush(strategy)

    def _flush(self, strategy: Any) -> None:
        loss, correct = torch.stack(self._pending, 1).cpu().numpy()
        n = np.array(self._sizes)
        self._pending, self._sizes = [], []
        self.note_steps(strategy, n, loss, correct)

    def note_steps(
        self, strategy: Any, n: NDArray[np.int64], loss: NDArray[np.float64], correct: NDArray[np.float64]
    ) -> None:
        """Note steps of one experience, of which a strategy that trains several runs gives many in one call."""
        if self._batches > 1:
            first = np.arange(0, len(n), self._batches)
            losses, n, correct = (np.add.reduceat(values, first) for values in (loss * n, n, correct))
            loss = losses / n
        position = strategy.experience.current_experience
        steps = range(self._step, self._step + len(loss))
        rows = pd.DataFrame({"experience": position, "step": steps, "n": n, "loss": loss, "correct": correct})
        self._step += len(loss)
        if strategy.diverged:
            return
        finite = np.isfinite(loss)
        self._blocks.append(rows if finite.all() else rows[: finite.argmin()])
        if not finite.all():
            bad = rows[~finite].iloc[0]
            strategy.diverged = f"the loss was {bad['loss']} at step {bad['step']:.0f}"
            strategy.stop_training()

    def state_dict(self) -> dict[str, Any]:
        """Return the rows so far, and the steps that are not in them yet."""
        rows = pd.concat(self._blocks, ignore_index=True) if self._blocks else None
        return {
            "rows": None if rows is None else {name: column.to_numpy() for name, column in rows.items()},
            "pending": self._pending,
            "sizes": self._sizes,
            "step": self._step,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what ``state_dict`` returned."""
        self._blocks = [] if state["rows"] is None else [pd.DataFrame(state["rows"])]
        self._pending, self._sizes = list(state["pending"]), list(state["sizes"])
        self._step = state["step"]

    def rows(self) -> pd.DataFrame:
        """Return experience, step, n, loss, correct."""
        columns = ["experience", "step", "n", "loss", "correct"]
        return pd.concat(self._blocks, ignore_index=True) if self._blocks else pd.DataFrame(columns=columns)


class EvaluationCollector(SupervisedPlugin, supports_distributed=False):  # type: ignore[misc,call-arg]
    """One row for each experience that the model is tested on.

    Training has diverged if a test loss is not a number: the last update of an experience may have made the weights so.
    """

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[tuple[int, int, int, float, float]] = []

    def after_eval(self, strategy: Any, **kwargs: Any) -> None:
        """Note the results; the untrained model counts as trained on experience -1."""
        trained_on = strategy.clock.train_exp_counter - 1
        self._rows += [(trained_on, *evaluation) for evaluation in strategy.evaluations]
        if any(isnan(evaluation.loss) for evaluation in strategy.evaluations):
            strategy.diverged = f"the test loss was nan after experience {trained_on}"

    def state_dict(self) -> dict[str, Any]:
        """Return the rows so far."""
        return {"rows": columns_of(self._rows)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what ``state_dict`` returned."""
        self._rows = rows_of(state["rows"])

    def rows(self) -> pd.DataFrame:
        """Return trained_on, evaluated_on, n, accuracy, loss."""
        return pd.DataFrame(self._rows, columns=["trained_on", "evaluated_on", "n", "accuracy", "loss"])


class _InsideCollector(SupervisedPlugin, supports_distributed=False):  # type: ignore[misc,call-arg]
    """One row for each experience that the model is tested on inside an experience. Nothing in training changes.

    Parameters
    ----------
    stream : ExperienceStream
        What it is tested on.
    tested : callable
        Takes the position of the experience in training, returns the experiences to test.

    Attributes
    ----------
    seconds : float
        Time spent so far on tests.
    """

    def __init__(self, stream: Any, tested: Callable[[int], range]) -> None:
        super().__init__()
        self.seconds = 0.0
        self._stream, self._tested = stream, tested
        self._rows: list[tuple[int, int, int, int, float, float]] = []

    def test(self, strategy: Any, step: int) -> None:
        """Test the model after the update of a mini-batch."""
        before = time.perf_counter()
        position = strategy.experience.current_experience
        found = strategy.test(self._stream, self._tested(position))
        self._rows += [(position, step, *evaluation) for evaluation in found]
        self.seconds += time.perf_counter() - before

    def state_dict(self) -> dict[str, Any]:
        """Return the rows so far."""
        return {"rows": columns_of(self._rows), "seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what ``state_dict`` returned."""
        self._rows, self.seconds = rows_of(state["rows"]), state["seconds"]

    def rows(self) -> pd.DataFrame:
        """Return experience, step, evaluated_on, n, accuracy, loss."""
        return pd.DataFrame(self._rows, columns=["experience", "step", "evaluated_on", "n", "accuracy", "loss"])


class ContinualCollector(_InsideCollector, supports_distributed=False):  # type: ignore[call-arg]
    """Tests inside experiences after every k-th update.

    Updates are counted anew from the first of each experience, so that the one that meets a shift is always followed by
    a test.

    Parameters
    ----------
    stream, tested
        As of ``_InsideCollector``.
    every : int
        k, at least 1.
    """

    def __init__(self, stream: Any, tested: Callable[[int], range], every: int) -> None:
        super().__init__(stream, tested)
        self._every = every
        self._step = self._in_experience = 0

    def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Count anew."""
        self._in_experience = 0

    def after_update(self, strategy: Any, **kwargs: Any) -> None:
        """Test the model, if it is the update's turn."""
        if self._in_experience % self._every == 0:
            self.test(strategy, self._step)
        self._step += 1
        self._in_experience += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the rows so far, and what is counted."""
        return super().state_dict() | {"step": self._step, "in_experience": self._in_experience}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what ``state_dict`` returned."""
        super().load_state_dict(state)
        self._step, self._in_experience = state["step"], state["in_experience"]


class EpochCollector(_InsideCollector, supports_distributed=False):  # type: ignore[call-arg]
    """Tests inside experiences after every epoch, which look into no step."""

    def after_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
        """Test the model, unless training has diverged."""
        if not strategy.diverged:
            self.test(strategy, strategy.clock.train_iterations - 1)
