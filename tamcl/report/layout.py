"""The layout of a report's figures: matplotlib's constrained one in half the time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.transforms import Bbox


class Layout(ConstrainedLayoutEngine):
    """Constrained layout that measures what stands around each axes once.

    Matplotlib does so twice, as axes that were moved may have other ticks, with other room for their labels. Here
    labels are short, and axes stand nearly in their place from the start.
    """

    def execute(self, fig: Figure) -> None:
        """Place the axes of a figure."""
        axes = [ax for ax in fig.axes if ax.get_subplotspec()]  # a scale beside them is not of the grid, and changes
        for ax in axes:
            vars(ax)["get_tightbbox"] = _measured_once(ax)
        super().execute(fig)
        for ax in axes:
            del vars(ax)["get_tightbbox"]


def _measured_once(ax: Axes) -> Callable[..., Bbox | None]:
    """Return the method that says how much room an axes takes, which remembers how much that is around it."""
    measure, around = ax.get_tightbbox, list[Any]()

    def get_tightbbox(*arguments: Any, **options: Any) -> Bbox | None:
        if not around:
            box = measure(*arguments, **options)
            around.append(None if box is None else np.subtract(box.extents, ax.bbox.extents))
        return None if around[0] is None else Bbox.from_extents(np.add(ax.bbox.extents, around[0]))

    return get_tightbbox
