"""CIFAR-10 and CIFAR-100 from their pickled arrays, which are read without running what a pickle may hold."""

from __future__ import annotations

import io
import pickle
from abc import ABC
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tamcl.data.base import DataSet, Labels, Pixels
from tamcl.data.files import FileSource, Published, check_fit
from tamcl.errors import InputError

_SITE = ("https://www.cs.toronto.edu/~kriz/",)


def _encode(text: str, encoding: str) -> bytes:
    """Stand in for ``_codecs.encode``, by which Python 3 writes bytes for Python 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"asks for the encoding {encoding!r}")
    return text.encode(encoding)


_RECONSTRUCT = np.empty(0).__reduce__()[0]
_FROM_BUFFER = np.empty(0).__reduce_ex__(5)[0]
_ADMITTED = {
    ("_codecs", "encode"): _encode,
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _RECONSTRUCT for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _FROM_BUFFER for core in ("core", "_core")},
}
"""All that an array needs; lists, tables, text and numbers need no name."""


class ArrayUnpickler(pickle.Unpickler):
    """An unpickler of arrays and plain values that calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what a pickle names, if it is part of an array."""
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"asks for {module}.{name}, which no array needs")
        return _ADMITTED[module, name]


def unpickle(where: str, content: bytes) -> Any:
    """Read arrays and plain values.

    Raises
    ------
    InputError
        If the pickle is damaged or asks for anything else.
    """
    try:
        return ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
    except Exception as error:  # a damaged pickle may raise anything
        raise InputError(f"'{where}' is no pickle of arrays: {' '.join(str(error).split())}") from error


class _CIFAR(FileSource, ABC):
    """Colour 32x32 images in pickles of rows, the channels one after the other."""

    labels: ClassVar[str]

    def decode(self, paths: tuple[Path, ...]) -> DataSet:
        """Read images and labels; the last file is the test set."""
        *train, test = (self._pair(where, content) for where, content in self.contents(paths))
        images, labels = zip(*train, strict=True)
        return self.dataset((np.concatenate(images), np.concatenate(labels)), test)

    def _pair(self, where: str, content: bytes) -> tuple[Pixels, Labels]:
        batch = unpickle(where, content)
        try:
            images = np.asarray(batch["data"]).reshape(-1, 3, 32, 32)
            labels = np.array(batch[self.labels], np.int64)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"'{where}' is no batch of CIFAR: {error!r}") from error
        check_fit(where, images, labels, (3, 32, 32), self.classes)
        return images, labels


class CIFAR10(_CIFAR):
    """60,000 colour 32x32 images of ten kinds of animals and vehicles.

    References
    ----------
    A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009,
    https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf
    """

    name = "cifar10"
    classes = 10
    official = (50_000, 10_000)
    places = ("cifar-10-batches-py", "")
    archive = "cifar-10-python.tar.gz"
    forms = ((*((f"data_batch_{batch}",) for batch in range(1, 6)), ("test_batch",)), ((archive,),))
    labels = "labels"
    size = 170_498_071
    published = (
        Published(archive, "c58f30108f718f92721af3b95e74349a", _SITE),
        Published("data_batch_1", "c99cafc152244af753f735de768cd75f"),
        Published("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
        Published("data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
        Published("data_batch_4", "634d18415352ddfa80567beed471001a"),
        Published("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
        Published("test_batch", "40351d587109b95175f43aff81a1287e"),
    )


class CIFAR100(_CIFAR):
    """60,000 colour 32x32 images of 100 kinds of things, the fine labels.

    References
    ----------
    A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009,
    https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf
    """

    name = "cifar100"
    classes = 100
    official = (50_000, 10_000)
    places = ("cifar-100-python", "")
    archive = "cifar-100-python.tar.gz"
    forms = ((("train",), ("test",)), ((archive,),))
    labels = "fine_labels"
    size = 169_001_437
    published = (
        Published(archive, "eb9058c3a382ffc7106e4002c42a8d85", _SITE),
        Published("train", "16019d7e3df5f24257cddd939b257f8d"),
        Published("test", "f0ef6b0ae62326f3e7ffdfab6717acfc"),
    )
