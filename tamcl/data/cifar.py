"""CIFAR-10 and CIFAR-100 from their pickled arrays, which are read without running what a pickle may hold."""

from __future__ import annotations

import io
import pickle
import pickletools
from abc import ABC
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tamcl.data.base import DataSet, Labels, Pixels
from tamcl.data.files import FileSource, Published, check_fit
from tamcl.errors import InputError

_SITE = ("https://www.cs.toronto.edu/~kriz/",)


class _DType:
    """Stands in for ``numpy.dtype``: notes what it is made of."""

    def __init__(self, code: str, *flags: object) -> None:
        self.code, self.order = code, "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]


class _Array:
    """Stands in for ``numpy.ndarray``: notes what it is made of, so that nothing is allocated before it was checked."""

    shape: tuple[int, ...]
    dtype: _DType
    columns_first: bool
    content: str | bytes | bytearray

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.shape, self.dtype, self.columns_first, self.content = state

    def read(self) -> NDArray[Any]:
        """Return the array, if it is one of whole numbers and as long as its shape says."""
        content = self.content.encode("latin1") if isinstance(self.content, str) else self.content
        if self.dtype.code not in {"u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"} or len(self.shape) > 4:
            raise ValueError(f"an array of {self.dtype.code!r} in {len(self.shape)} dimensions")
        dtype = np.dtype(self.dtype.code).newbyteorder(">" if self.dtype.order == ">" else "<")
        flat = np.frombuffer(content, dtype)
        return flat.reshape(self.shape, order="F" if self.columns_first else "C").copy()


def _encode(text: str, encoding: str) -> bytes:
    """Stand in for ``_codecs.encode``, by which Python 3 writes bytes for Python 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"asks for the encoding {encoding!r}")
    return text.encode(encoding)


def _from_buffer(content: bytes, dtype: _DType, shape: tuple[int, ...], order: str) -> _Array:
    array = _Array()
    array.__setstate__((1, shape, dtype, order == "F", content))
    return array


_ADMITTED: dict[tuple[str, str], Callable[..., Any]] = {
    ("_codecs", "encode"): _encode,
    ("numpy", "dtype"): _DType,
    ("numpy", "ndarray"): _Array,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): lambda *made_of: _Array() for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
}
"""All that an array needs; lists, tables, text and numbers need no name."""

_CONTAINERS = {"LIST", "EMPTY_LIST", "DICT", "EMPTY_DICT", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}
_PUTS, _GETS = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}, {"GET", "BINGET", "LONG_BINGET"}
_REFUSED = {"DUP", "EMPTY_SET", "ADDITEMS", "FROZENSET"}


def _admit(content: bytes) -> None:
    """Refuse a pickle that is small and stands for something huge, before anything of it is made.

    A list that holds another one twice, which holds another one twice, takes a few bytes a level and twice the time of
    the level before to walk through or to hash; a number of a place in the memo is memory for all places below it.
    """
    held, places, last = set[int](), 0, ""
    for operation, argument, _ in pickletools.genops(content):
        name = operation.name
        if name in _PUTS:
            place = places if argument is None else int(argument)
            if place > len(content):
                raise pickle.UnpicklingError(f"notes something at place {place}")
            places += 1
            if last in _CONTAINERS:
                held.add(place)
        if name in _REFUSED or (name in _GETS and argument in held):
            raise pickle.UnpicklingError("holds the same list, tuple or table twice")
        last = name


class ArrayUnpickler(pickle.Unpickler):
    """An unpickler of arrays and plain values that calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what a pickle names, if it is part of an array."""
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"asks for {module}.{name}, which no array needs")
        stand_in = _ADMITTED[module, name]
        return lambda *arguments: stand_in(*arguments)  # a pickle may set attributes of what it gets


def unpickle(where: str, content: bytes) -> Any:
    """Read arrays and plain values.

    Raises
    ------
    InputError
        If the pickle is damaged or asks for anything else.
    """
    try:
        _admit(content)
        found = ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
        if isinstance(found, dict):
            return {key: value.read() if isinstance(value, _Array) else value for key, value in found.items()}
        return found
    except Exception as error:  # a damaged pickle may raise anything
        raise InputError(f"'{where}' is no pickle of arrays: {' '.join(str(error).split())[:300]}") from error


class _CIFAR(FileSource, ABC):
    """Colour 32x32 images in pickles of rows, the channels one after the other."""

    decoder = 2
    labels: ClassVar[str]

    def decode(self, paths: tuple[Path, ...]) -> DataSet:
        """Read images and labels; the last file is the test set."""
        *train, test = (self._pair(where, content) for where, content in self.contents(paths))
        images, labels = zip(*train, strict=True)
        return self.dataset((np.concatenate(images), np.concatenate(labels)), test)

    def tally_files(self, paths: tuple[Path, ...]) -> tuple[int, int]:
        """Count the labels."""
        *train, test = (len(self._pair(where, content)[1]) for where, content in self.contents(paths))
        return sum(train), test

    def _pair(self, where: str, content: bytes) -> tuple[Pixels, Labels]:
        batch = unpickle(where, content)
        try:
            images, given = batch["data"], batch[self.labels]
            if not isinstance(images, np.ndarray):
                raise TypeError("'data' is no array")
            images = images.reshape(-1, 3, 32, 32)
            if not isinstance(given, np.ndarray) and not (
                isinstance(given, list) and all(type(label) is int and abs(label) < 2**31 for label in given)
            ):
                raise TypeError(f"'{self.labels}' is no list of classes")
            labels = np.asarray(given, np.int64)
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
