"""A data set from arrays: images, or tables of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tamcl.data.base import DataSet, Labels, Numbers, Pixels
from tamcl.data.checked import faults
from tamcl.errors import InputError
from tamcl.seeding import derive_seed


def from_arrays(
    x: ArrayLike,
    y: ArrayLike,
    *,
    test: float | tuple[ArrayLike, ArrayLike] = 0.2,
    seed: int = 0,
    name: str = "arrays",
) -> DataSet:
    """Return a data set of arrays or tensors: images as bytes or floats, or a table of numbers.

    Parameters
    ----------
    x : array, (n, channels, height, width), (n, height, width), or (n, columns)
        Images as uint8 from 0 to 255, or as floats of any range; or a table of numbers, of which each column is
        normalised by itself where images are a channel. Floats are kept as float32.
    y : array of int or str, (n,)
        The class of each; the classes are numbered in the order of their values.
    test : float, or tuple of two arrays
        The share of each class that is for tests, drawn at random; or the test's own ``(x, y)``.
    seed : int
        Decides which are for tests.
    name : str
        What results call it.

    Raises
    ------
    InputError
        If the arrays do not fit each other.

    Examples
    --------
    >>> data = from_arrays([[0.5, 1], [0.7, 3], [0.1, 5], [0.2, 9]], ["a", "a", "b", "b"], test=0.5)
    >>> data.counts, data.classes, data.train_x.shape
    ((2, 2), 2, (2, 2))
    """
    inputs, classes = as_inputs(x, "x"), _as_classes(y, "y")
    if isinstance(test, tuple):
        if len(test) != 2:
            raise InputError(f"test has {len(test)} parts; must be (x, y), or the share of each class")
        test_x, test_y = as_inputs(test[0], "test x"), _as_classes(test[1], "test y")
        if classes.dtype.kind != test_y.dtype.kind:
            raise InputError(f"test y is of {test_y.dtype}, y of {classes.dtype}: must be of one type")
        values, labels = np.unique(np.concatenate([classes, test_y]), return_inverse=True)
        train, tests = (inputs, labels[: len(classes)]), (test_x, labels[len(classes) :])
    else:
        values, labels = np.unique(classes, return_inverse=True)
        if len(labels) != len(inputs):
            raise InputError(f"y has {len(labels)} labels, x has {len(inputs)} rows; must be as many")
        train, tests = split((inputs, labels.astype(np.int64)), share=test, seed=seed)
    return dataset(name, train, tests, classes=len(values))


def as_inputs(x: ArrayLike, what: str) -> Pixels | Numbers:
    """Return what may stand for inputs as a data set holds it, or raise an ``InputError``."""
    array = np.asarray(x)
    is_table, is_float = array.ndim == 2, array.dtype.kind == "f"
    if array.ndim == 3:
        array = array[:, None]
    if not is_table and array.ndim == 4 and array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if (is_table and array.dtype.kind in "biuf") or (array.ndim == 4 and is_float):
        with np.errstate(over="ignore"):  # what is no float32 is infinite then, which is refused
            return np.ascontiguousarray(array, dtype=np.float32)
    cure = f"; where pixels are 0 to 255, give {what}.astype(numpy.uint8)" if array.dtype.kind in "iu" else ""
    raise InputError(
        f"{what} is {array.dtype} of shape {array.shape}; must be images, (n, channels, height, width) or (n, height, "
        f"width), of uint8 or floats, or a table of numbers, (n, columns){cure}"
    )


def _as_classes(y: ArrayLike, what: str) -> NDArray[Any]:
    classes = np.asarray(y)
    if classes.ndim != 1 or classes.dtype.kind not in "biuUS":
        hint = " (of one-hot rows: argmax(1))" if classes.ndim == 2 else ""
        raise InputError(
            f"{what} is {classes.dtype} of shape {classes.shape}; must be a whole number or a text for each input, its "
            f"class{hint}"
        )
    return classes


def split(
    data: tuple[Pixels | Numbers, Labels], *, share: float, seed: int
) -> tuple[tuple[Pixels | Numbers, Labels], tuple[Pixels | Numbers, Labels]]:
    """Return a training and a test part, with a share of each class in the test, at least one of each in both.

    Raises
    ------
    InputError
        If a class has but one, or the share is none.
    """
    if not 0 < share < 1:
        raise InputError(f"test = {share!r}: must be a share above 0 and below 1, or the test's own (x, y)")
    x, y = data
    rng = np.random.default_rng(derive_seed(seed, "split"))
    is_test = np.zeros(len(y), dtype=bool)
    for label, count in zip(*np.unique(y, return_counts=True), strict=True):
        if count < 2:
            raise InputError(f"class {label} has 1 example, which cannot be in training and test: give test=(x, y)")
        few = min(max(round(share * count), 1), count - 1)
        is_test[rng.permutation(np.flatnonzero(y == label))[:few]] = True
    return (x[~is_test], y[~is_test]), (x[is_test], y[is_test])


def dataset(
    name: str, train: tuple[Pixels | Numbers, Labels], test: tuple[Pixels | Numbers, Labels], *, classes: int
) -> DataSet:
    """Return the data set of two parts, or raise an ``InputError`` with the first thing that is wrong."""
    (train_x, train_y), (test_x, test_y) = ((x, y.astype(np.int64)) for x, y in (train, test))
    data = DataSet(name, train_x, train_y, test_x, test_y, classes, (len(train_y), len(test_y)))
    for fault in faults(data):
        raise InputError(f"data set '{name}': {fault}")
    return data
