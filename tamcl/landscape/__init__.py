"""The loss around the ends of training: on lines between them, on a plane through three, and how it is curved there.

``tamcl landscape DIR`` measures it for the runs of a study that kept their final weights. ``read_landscape`` opens what
it leaves; ``Surface`` is the loss of a model at any weights.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tamcl.landscape.sentences import sentences, stale
from tamcl.landscape.tables import Landscape, read_landscape

if TYPE_CHECKING:
    from tamcl.landscape.line import between
    from tamcl.landscape.normalization import renew_statistics
    from tamcl.landscape.plane import Plane
    from tamcl.landscape.surface import Surface

__all__ = ["Landscape", "Plane", "Surface", "between", "read_landscape", "renew_statistics", "sentences", "stale"]

_WITH_TORCH = {"Plane": "plane", "Surface": "surface", "between": "line", "renew_statistics": "normalization"}


def __getattr__(name: str) -> Any:
    # What a landscape says can be read without torch.
    if name in _WITH_TORCH:
        return getattr(import_module(f"tamcl.landscape.{_WITH_TORCH[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
