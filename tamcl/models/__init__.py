"""Models: a body that turns images into features, and a head that turns features into one logit a class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tamcl.registry import Table

if TYPE_CHECKING:
    from tamcl.models.classifier import Classifier
    from tamcl.models.mlp import MLP

MODELS = Table("model", {"mlp": "tamcl.models.mlp:MLP"})

HEADS = Table(
    "head",
    {
        "single": "tamcl.models.heads:SingleHead",
        "masked": "tamcl.models.heads:MaskedHead",
        "multi": "tamcl.models.heads:MultiHead",
    },
)

__all__ = ["HEADS", "MLP", "MODELS", "Classifier"]


def __getattr__(name: str) -> object:
    if name == "Classifier":
        from tamcl.models.classifier import Classifier

        return Classifier
    return MODELS.exports()(name)
