"""A figure drawn once, in the colours of a light page and of a dark one: to lay it out and draw it takes most time."""

from __future__ import annotations

from collections.abc import Callable
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
    canvas = _Canvas(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    both = canvas.get_renderer()._renderer
    return np.asarray(both.light), np.asarray(both.dark)


def darkened(value: Any) -> Any:
    """Return a colour, or an array of colours, as on a dark page, and anything else as it is."""
    if isinstance(value, tuple) and len(value) in (3, 4):
        return (*_CHANGES.get(value[:3], value[:3]), *value[3:])
    if isinstance(value, np.ndarray) and value.dtype == np.float64 and value.ndim == 2 and value.shape[1] == 4:
        changed = value.copy()
        for old, new in _CHANGES.items():
            changed[(value[:, :3] == old).all(1), :3] = new
        return changed
    return value


class _Canvas(FigureCanvasAgg):
    """A canvas that measures text with the renderer that draws it, so that each is measured once."""

    _drawing: _Renderer | None = None

    def get_renderer(self) -> _Renderer:
        if self._drawing is None:
            self._drawing = _Renderer(*self.get_width_height(), self.figure.dpi)
        return self._drawing


class _Renderer(RendererAgg):
    """Lays everything out once, and puts it on two bitmaps."""

    def __init__(self, width: int, height: int, dpi: float) -> None:
        super().__init__(width, height, dpi)  # type: ignore[no-untyped-call]
        dark = RendererAgg(width, height, dpi)._renderer  # type: ignore[no-untyped-call]
        self._renderer = _Both(self._renderer, dark)
        self._update_methods()  # type: ignore[no-untyped-call]


class _Both:
    """Two bitmaps: what is drawn on the first one is drawn on the second in the colours of a dark page."""

    def __init__(self, light: Any, dark: Any) -> None:
        self.light, self.dark = light, dark

    def __getattr__(self, name: str) -> Callable[..., None]:
        light, dark = getattr(self.light, name), getattr(self.dark, name)

        def draw(*arguments: Any) -> None:
            light(*arguments)
            context = next((each for each in arguments if isinstance(each, GraphicsContextBase)), None)
            if context is None:
                dark(*arguments)
                return
            color = context.get_rgb()
            if name != "draw_text_image" or color[:3] != _WHITE:  # white text stands on a field, not on the page
                context.set_foreground(darkened(color), isRGBA=True)
            dark(*map(darkened, arguments))
            context.set_foreground(color, isRGBA=True)

        setattr(self, name, draw)
        return draw
