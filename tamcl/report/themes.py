"""A figure drawn once, in the colours of a light page and of a dark one: to lay it out and draw it takes most time."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.backend_bases import GraphicsContextBase
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tamcl import plots

Pixels = NDArray[np.uint8]
"""(height, width, 4): red, green, blue and 255."""

_LIGHT, _DARK = plots.theme(), plots.theme(dark=True)
_CHANGES = {to_rgb(_LIGHT[name]): to_rgb(_DARK[name]) for name in ("text.color", "axes.facecolor", "grid.color")}
"""The theme's own colours, from a light page to a dark one. Those of arms are the same on both."""
_WHITE = to_rgb("white")


def draw_light_and_dark(figure: Figure, dpi: float) -> tuple[Pixels, Pixels]:
    """Draw a figure that was made in the light theme, and what it would be in the dark one."""
    figure.set_dpi(dpi)
    renderer = _Twice(*FigureCanvasAgg(figure).get_width_height(), dpi)
    figure.draw(renderer)
    return np.asarray(renderer.buffer_rgba()), np.asarray(renderer.dark.buffer_rgba())  # type: ignore[no-untyped-call]


def darkened(value: Any) -> Any:
    """Return a colour, or an array of colours, as on a dark page, and anything else as it is."""
    if isinstance(value, tuple) and len(value) in (3, 4):
        return (*_CHANGES.get(value[:3], value[:3]), *value[3:])
    if isinstance(value, np.ndarray) and value.ndim == 2 and value.shape[1] == 4:
        changed = value.copy()
        for old, new in _CHANGES.items():
            changed[(value[:, :3] == old).all(1), :3] = new
        return changed
    return value


class _Twice(RendererAgg):
    """Draws everything on two canvases, on the second one in the colours of a dark page.

    Their methods are replaced in the instance, as those of ``RendererAgg`` are.
    """

    def __init__(self, width: int, height: int, dpi: float) -> None:
        super().__init__(width, height, dpi)  # type: ignore[no-untyped-call]
        self.dark = RendererAgg(width, height, dpi)  # type: ignore[no-untyped-call]
        for name in ("path", "markers", "path_collection", "quad_mesh", "gouraud_triangles", "image", "text"):
            self._draw_twice(f"draw_{name}")

    def _draw_twice(self, name: str) -> None:
        light, dark = getattr(self, name), getattr(self.dark, name)

        def draw(gc: GraphicsContextBase, *arguments: Any, **options: Any) -> None:
            light(gc, *arguments, **options)
            context = self.dark.new_gc()
            context.copy_properties(gc)
            if name != "draw_text" or gc.get_rgb()[:3] != _WHITE:  # white text stands on a field, not on the page
                context.set_foreground(darkened(gc.get_rgb()), isRGBA=True)
            dark(context, *map(darkened, arguments), **{key: darkened(value) for key, value in options.items()})

        setattr(self, name, draw)
