"""Data sets: images as uint8 arrays in memory, read from the user's files or from an installed package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tamcl.data.base import DataSet, Source, data_root
from tamcl.registry import Table

if TYPE_CHECKING:
    from tamcl.data.digits import Digits
    from tamcl.data.mnist import MNIST, FashionMNIST

DATASETS = Table(
    "data set",
    {
        "digits": "tamcl.data.digits:Digits",
        "mnist": "tamcl.data.mnist:MNIST",
        "fashion_mnist": "tamcl.data.mnist:FashionMNIST",
    },
)

__all__ = ["DATASETS", "MNIST", "DataSet", "Digits", "FashionMNIST", "Source", "data_root"]
__getattr__ = DATASETS.exports()
