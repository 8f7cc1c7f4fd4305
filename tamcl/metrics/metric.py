"""What tamcl knows about a metric beside its function: direction, range, unit, equation and source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """A number for one run of one optimizer, and how to read it.

    Attributes
    ----------
    name : str
        Its name in the ``metrics`` table.
    function : callable
        Returns a float, nan where the metric has no value, such as forgetting after a single experience. It takes what
        ``on`` says: ``function(R)``, ``function(R, start)``, ``function(R, lowest)``, ``function(L)``,
        ``function(accuracy, experience)``, ``function(correct, n, experience)`` or ``function(loss, n, experience)``.
    on : {"matrix", "matrix_and_start", "matrix_and_lowest", "inside", "text_loss", "online", "loss"}
        What it is computed from: the accuracy matrix; the matrix and the accuracies of the untrained model; the matrix
        and the lowest accuracies inside experiences, where these were tested; the accuracies on an experience at the
        tests inside it; the loss matrix, of text alone; or right answers or losses of the online (prequential) rows.
    better : {"higher", "lower"}
        Its direction.
    low, high : float
        Its range, bounds included; infinite where it has none.
    unit : str
        Unit of the value; a "fraction" is spoken of in points, hundredths of it.
    label : str
        How figures and sentences call it.
    equation : str
        Its definition in symbols.
    reference : str
        Where the definition comes from: title, year, link; or that it is tamcl's own.
    core : bool
        Whether it belongs to the few that a report shows first; the others say more of the same or of special cases.
    per_batch : bool
        Whether it counts single mini-batches, so that it has no value where a row of the online table is a block of
        them (``evaluation.batches`` above 1).
    """

    name: str
    function: Callable[..., float]
    on: Literal["matrix", "matrix_and_start", "matrix_and_lowest", "inside", "text_loss", "online", "loss"]
    better: Literal["higher", "lower"]
    low: float
    high: float
    unit: str
    label: str
    equation: str
    reference: str
    core: bool = False
    per_batch: bool = False

    @property
    def sign(self) -> int:
        """Return 1 where higher is better and -1 where lower is, so that ``sign * value`` is always to be raised."""
        return 1 if self.better == "higher" else -1

    @property
    def axis(self) -> str:
        """Return the label of an axis: what is shown, its unit and its direction."""
        return f"{self.label} ({self.unit}, {self.better} is better)"

    @property
    def summary(self) -> str:
        """Return the first sentence of the function's docstring."""
        return (self.function.__doc__ or "").strip().split("\n")[0]
