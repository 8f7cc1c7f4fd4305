"""Data sets: images as uint8 arrays, text as tokens, read from the user's files or from an installed package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tamcl.data.base import DataSet, Source, cache_root, data_root
from tamcl.registry import Table

if TYPE_CHECKING:
    from tamcl.data.arrays import from_arrays as from_arrays
    from tamcl.data.bit_patterns import BitPatterns as BitPatterns
    from tamcl.data.books import Books as Books
    from tamcl.data.cifar import CIFAR10 as CIFAR10
    from tamcl.data.cifar import CIFAR100 as CIFAR100
    from tamcl.data.digits import Digits as Digits
    from tamcl.data.five_datasets import FiveDatasets as FiveDatasets
    from tamcl.data.five_datasets import FiveDatasetsPadded as FiveDatasetsPadded
    from tamcl.data.folder import from_folder as from_folder
    from tamcl.data.mnist import EMNIST as EMNIST
    from tamcl.data.mnist import MNIST as MNIST
    from tamcl.data.mnist import FashionMNIST as FashionMNIST
    from tamcl.data.notmnist import NotMNIST as NotMNIST
    from tamcl.data.svhn import SVHN as SVHN
    from tamcl.data.text_files import TextFiles as TextFiles
    from tamcl.data.tinyimagenet import TinyImageNet as TinyImageNet
    from tamcl.data.torchvision_sets import from_torchvision as from_torchvision
    from tamcl.data.words import PTB as PTB
    from tamcl.data.words import WikiText2 as WikiText2
    from tamcl.data.words import WikiText103 as WikiText103

DATASETS = Table(
    "data set",
    {
        "digits": "tamcl.data.digits:Digits",
        "mnist": "tamcl.data.mnist:MNIST",
        "fashion_mnist": "tamcl.data.mnist:FashionMNIST",
        "emnist": "tamcl.data.mnist:EMNIST",
        "notmnist": "tamcl.data.notmnist:NotMNIST",
        "cifar10": "tamcl.data.cifar:CIFAR10",
        "cifar100": "tamcl.data.cifar:CIFAR100",
        "svhn": "tamcl.data.svhn:SVHN",
        "tinyimagenet": "tamcl.data.tinyimagenet:TinyImageNet",
        "five_datasets": "tamcl.data.five_datasets:FiveDatasets",
        "five_datasets_padded": "tamcl.data.five_datasets:FiveDatasetsPadded",
        "bit_patterns": "tamcl.data.bit_patterns:BitPatterns",
        "books": "tamcl.data.books:Books",
        "text_files": "tamcl.data.text_files:TextFiles",
        "ptb": "tamcl.data.words:PTB",
        "wikitext2": "tamcl.data.words:WikiText2",
        "wikitext103": "tamcl.data.words:WikiText103",
    },
    kind="tamcl.data:Source",
    returns=("tamcl.data:DataSet", "tamcl.avalanche:CLScenario"),
)

__all__ = [
    "DATASETS",
    "DataSet",
    "Source",
    "cache_root",
    "data_root",
    "from_arrays",
    "from_folder",
    "from_torchvision",
    *DATASETS.classes(),
]
__getattr__ = DATASETS.exports(
    from_arrays="tamcl.data.arrays:from_arrays",
    from_folder="tamcl.data.folder:from_folder",
    from_torchvision="tamcl.data.torchvision_sets:from_torchvision",
)
