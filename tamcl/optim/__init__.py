"""Optimizers for training under distribution shift; they need torch alone and work in any training loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tamcl.registry import Table

if TYPE_CHECKING:
    from tamcl.optim.adam_cm import AdamCM
    from tamcl.optim.adatam import AdaTAM
    from tamcl.optim.adatamw import AdaTAMW
    from tamcl.optim.tam import TAM

__all__ = ["OPTIMIZERS", "TAM", "AdaTAM", "AdaTAMW", "AdamCM"]

OPTIMIZERS = Table(
    "optimizer",
    {
        "tam": "tamcl.optim.tam:TAM",
        "adatam": "tamcl.optim.adatam:AdaTAM",
        "adatamw": "tamcl.optim.adatamw:AdaTAMW",
        "adam_cm": "tamcl.optim.adam_cm:AdamCM",
        "sgd": "torch.optim.sgd:SGD",
        "adam": "torch.optim.adam:Adam",
        "adamw": "torch.optim.adamw:AdamW",
        "rmsprop": "torch.optim.rmsprop:RMSprop",
        "adagrad": "torch.optim.adagrad:Adagrad",
        "nadam": "torch.optim.nadam:NAdam",
        "radam": "torch.optim.radam:RAdam",
    },
)
"""Name of every optimizer and where it is; ``package.module:Class`` names any other."""

__getattr__ = OPTIMIZERS.exports()
