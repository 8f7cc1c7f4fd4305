"""What is asked of a data set before anything is trained on it: for those of users."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tamcl.data.base import DataSet, Source
from tamcl.errors import InputError

_PARTS = (("training", "train_x", "train_y"), ("test", "test_x", "test_y"))


class CheckedSource(Source):
    """The user's data set: whatever its code raises is one line, and what it loads is looked at.

    Parameters
    ----------
    name : str
        The name it was asked for by, for error messages.
    make : callable
        Its class.

    Raises
    ------
    InputError
        If it cannot be made.
    """

    def __init__(self, name: str, make: Callable[[], Source]) -> None:
        self.name = name
        self._source = self._ask("making it", make)

    def check(self, root: Path) -> None:
        """Ask for the files."""
        self._ask("check", self._source.check, root)

    def load(self, root: Path, allow_subset: bool = False) -> DataSet:
        """Load the images and look at them.

        Arrays that do not lie in one piece, as a slice or a transposed array, are copied.

        Raises
        ------
        InputError
            Naming the data set and the first thing that is wrong.
        """
        return self._looked_at("load", root, allow_subset=allow_subset)

    def load_again(self, root: Path, allow_subset: bool, checksum: str) -> None:
        """Load the images once more, or raise an ``InputError`` if they are others.

        Every process loads them for itself, so that arms would be compared on different images.
        """
        if self.load(root, allow_subset).checksum != checksum:
            raise InputError(
                f"data set '{self.name}': loaded twice it gave different images or labels; what is drawn at random "
                "needs a fixed seed of its own, as numpy.random.default_rng(0)"
            )

    def fetch(self, root: Path) -> None:
        """Download the files."""
        self._ask("fetch", self._source.fetch, root)

    def import_from(self, path: Path, root: Path, allow_subset: bool = False) -> DataSet:
        """Copy local files to ``root``, load the images and look at them."""
        return self._looked_at("import_from", path, root, allow_subset=allow_subset)

    def verify(self, root: Path, allow_subset: bool = False) -> DataSet:
        """Read the files again and look at the images."""
        return self._looked_at("verify", root, allow_subset=allow_subset)

    def _looked_at(self, method: str, *arguments: Path, allow_subset: bool) -> DataSet:
        data = self._ask(method, getattr(self._source, method), *arguments, allow_subset=allow_subset)
        if not isinstance(data, DataSet):
            raise InputError(f"data set '{self.name}': {method} gave a {_kind(data)}; must be a tamcl.data.DataSet")
        for fault in faults(data):
            raise InputError(f"data set '{self.name}': {fault}")
        arrays = data.train_x, data.train_y, data.test_x, data.test_y
        if all(array.flags.c_contiguous for array in arrays):
            return data
        names = ("train_x", "train_y", "test_x", "test_y")
        pieces: dict[str, Any] = {name: np.ascontiguousarray(getattr(data, name)) for name in names}
        return replace(data, **pieces)

    def _ask(self, what: str, function: Callable[..., Any], *arguments: object, **options: object) -> Any:
        try:
            return function(*arguments, **options)
        except InputError:
            raise
        except (Exception, SystemExit) as error:  # somebody's code may raise anything
            why = " ".join(str(error).split())[:500]
            reason = f"{type(error).__name__}{why and f': {why}'}"
            raise InputError(f"data set '{self.name}': {what} raised {reason}") from error


def faults(data: DataSet) -> Iterator[str]:
    """Yield what is wrong with a data set, the first thing first; what comes later may rest on what came before."""
    yield from description_faults(data)
    yield from input_faults(data)
    yield from label_faults(data)
    yield from count_faults(data)


def description_faults(data: DataSet) -> Iterator[str]:
    """Yield what is wrong with what is said about the images: it has to be plain values, as a result records it."""
    if type(data.name) is not str:
        yield f"name is {data.name!r}; must be text"
    if type(data.classes) is not int or data.classes < 1:
        yield f"classes is {data.classes!r}; must be an int, at least 1"
    counts = data.official
    if not isinstance(counts, tuple | list) or [type(count) for count in counts] != [int, int] or min(counts) < 0:
        yield f"official is {counts!r}; must be two ints, the published numbers of training and test images"
    if type(data.skipped) is not int or data.skipped < 0:
        yield f"skipped is {data.skipped!r}; must be an int, at least 0"
    if not isinstance(data.differences, tuple | list) or not all(isinstance(each, str) for each in data.differences):
        yield f"differences is {data.differences!r}; must be a tuple of sentences"
    words = data.vocabulary
    if not isinstance(words, tuple) or len({*words}) < len(words) or not all(isinstance(word, str) for word in words):
        yield "vocabulary must be a tuple of texts, no two of them the same; empty where there are images"


def input_faults(data: DataSet) -> Iterator[str]:
    """Yield what is wrong with the images, the numbers, or the tokens where there is a vocabulary."""
    arrays = all(type(each) in {np.ndarray, np.memmap} for each in (data.train_x, data.test_x))
    is_numeric = arrays and not data.is_text and data.is_numeric
    yield from token_faults(data) if data.is_text else number_faults(data) if is_numeric else image_faults(data)


def number_faults(data: DataSet) -> Iterator[str]:
    """Yield where numbers are not finite, or neither a table nor images of one shape in training and test."""
    for _, name, _ in _PARTS:
        numbers = getattr(data, name)
        if numbers.ndim not in (2, 4) or not numbers.size:
            yield f"{name} has shape {numbers.shape}; must be (n, columns), or images, (n, channels, height, width)"
        elif numbers.ndim == 4 and _channels_last(*numbers.shape[1:]):
            yield _LAST.format(name=name, shape=numbers.shape)
        elif not np.isfinite(numbers).all():
            row = int(np.argwhere(~np.isfinite(numbers))[0][0])
            yield f"{name} has a number that is not finite as float32, the first in row {row}"
    if data.train_x.shape[1:] != data.test_x.shape[1:]:
        yield f"training {data.unit} have shape {data.train_x.shape[1:]}, those of the test {data.test_x.shape[1:]}"


_LAST = (
    "{name} has shape {shape}, the channels last; must be (n, channels, height, width), as "
    "{name}.transpose(0, 3, 1, 2) is"
)


def token_faults(data: DataSet) -> Iterator[str]:
    """Yield where tokens are not a row of places in the vocabulary, in which each domain is in one piece."""
    most = len(data.vocabulary) - 1
    for _, name, labels in _PARTS:
        tokens = getattr(data, name)
        if type(tokens) not in {np.ndarray, np.memmap}:
            yield f"{name} is a {_kind(tokens)}; must be a numpy.ndarray (numpy.asarray makes one)"
        elif tokens.dtype != np.int32:
            yield f"{name} is {tokens.dtype}; must be int32, the place of each token in the vocabulary"
        elif tokens.ndim != 1 or not tokens.size:
            yield f"{name} has shape {tokens.shape}; must be (n,), the tokens in the order of the text"
        elif tokens.min() < 0 or tokens.max() > most:
            yield f"{name} has tokens {tokens.min()} to {tokens.max()}; the vocabulary has 0 to {most}"
        elif (np.diff(getattr(data, labels)) < 0).any():
            yield f"{labels} falls; the domains of a text must come one after the other, in the order of their numbers"


def image_faults(data: DataSet) -> Iterator[str]:
    """Yield where images are not bytes, (n, channels, height, width), of one shape in training and test."""
    for _, name, _ in _PARTS:
        images = getattr(data, name)
        if type(images) not in {np.ndarray, np.memmap}:
            yield f"{name} is a {_kind(images)}; must be a numpy.ndarray (numpy.asarray makes one)"
        elif images.dtype != np.uint8:
            yield f"{name} is {images.dtype}; must be uint8, 0 to 255{_to_bytes(name, images)}"
        elif images.ndim != 4:
            yield (
                f"{name} has shape {images.shape}; must be (n, channels, height, width), with channels = 1 for grey "
                "images"
            )
        elif not images.size:
            yield f"{name} has shape {images.shape}: there are no images"
        elif _channels_last(*images.shape[1:]):
            yield _LAST.format(name=name, shape=images.shape)
        elif images.max() == 1:
            yield f"{name} holds 0 and 1 alone; pixels are 0 to 255, so multiply by 255"
    if data.train_x.shape[1:] != data.test_x.shape[1:]:
        yield f"training images have shape {data.train_x.shape[1:]}, test images {data.test_x.shape[1:]}"


def _to_bytes(name: str, images: np.ndarray[Any, Any]) -> str:
    """Say how images of another type become bytes, if their values tell."""
    if images.dtype.kind not in "buif" or not images.size or not images.min() >= 0:
        return ""
    for most, scaled in ((1, f"numpy.round(255 * {name})"), (255, f"numpy.round({name})"), (65535, f"({name} // 257)")):
        if images.max() <= most:
            return f" (of values in 0..{most}: {scaled}.astype(numpy.uint8))"
    return ""


def _channels_last(channels: int, height: int, width: int) -> bool:
    """Whether a shape is that of square or of colour images whose channels come last, and hardly another's."""
    return min(channels, height) > 4 and (width == 3 or (width in {1, 4} and channels == height))


def label_faults(data: DataSet) -> Iterator[str]:
    """Yield where there is not a label for each image, an int64 in 0 to ``classes - 1``."""
    for _, images, name in _PARTS:
        labels, count = getattr(data, name), len(getattr(data, images))
        if type(labels) not in {np.ndarray, np.memmap}:
            yield f"{name} is a {_kind(labels)}; must be a numpy.ndarray (numpy.asarray makes one)"
        elif labels.ndim != 1:
            hint = " (of one-hot rows: argmax(1))" if labels.ndim == 2 and labels.shape[1] > 1 else ""
            yield f"{name} has shape {labels.shape}; must be one number for each of the {count} {data.unit}{hint}"
        elif labels.dtype != np.int64:
            yield f"{name} is {labels.dtype}; must be int64, the number of each {data.unit.removesuffix('s')}'s class"
        elif len(labels) != count:
            yield f"{name} has {len(labels)} labels, {images} has {count} {data.unit}; must be as many"
        elif labels.min() < 0 or labels.max() >= data.classes:
            yield (
                f"{name} has labels {labels.min()} to {labels.max()}; with classes = {data.classes} they must be 0 to "
                f"{data.classes - 1}"
            )


def count_faults(data: DataSet) -> Iterator[str]:
    """Yield where there are other images than were published, or a class has none, and ``differences`` is silent."""
    if data.differences:
        return
    for part, _, name in _PARTS:
        absent = np.flatnonzero(np.bincount(getattr(data, name), minlength=data.classes) == 0)
        if len(absent):
            yield (
                f"there are no {part} {data.unit} of {some_classes(absent.tolist())}; each of the {data.classes} "
                "classes must have some, or DataSet.differences say why not"
            )
    if data.counts != tuple(data.official):
        here, published = (
            f"{train} training and {test} test {data.unit}" for train, test in (data.counts, data.official)
        )
        yield f"there are {here}, official says {published}; must be the same, or DataSet.differences say why not"


def some_classes(classes: list[int]) -> str:
    """Name classes, the first ten of many.

    Examples
    --------
    >>> some_classes([3]), some_classes([3, 5])
    ('class 3', 'classes 3 and 5')
    """
    first = [str(label) for label in classes[:10]]
    if len(classes) > len(first):
        return f"classes {', '.join(first)} and {len(classes) - len(first)} more"
    return f"class {first[0]}" if len(first) == 1 else f"classes {', '.join(first[:-1])} and {first[-1]}"


def _kind(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__name__}".removeprefix("builtins.")
