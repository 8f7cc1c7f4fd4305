"""Checks that every data set has to pass: ``check_dataset`` for people who add their own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from tamcl.data import DataSet
from tamcl.data.checked import count_faults, description_faults, input_faults, label_faults

Check = Callable[[DataSet], None]


def check_images(data: DataSet) -> None:
    """Images are bytes, (n, channels, height, width), of one shape in training and test; there are some.

    Numbers are finite, in a table or in images. Of text, the tokens are places in the vocabulary, and a domain is in
    one piece.
    """
    _assert_none(input_faults(data))


def check_labels(data: DataSet) -> None:
    """There is a label for each image, an int64 in 0 to ``classes - 1``."""
    _assert_none(label_faults(data))


def check_memory(data: DataSet) -> None:
    """Arrays are contiguous and may be written to, as torch wants memory that it shares."""
    for array in (data.train_x, data.train_y, data.test_x, data.test_y):
        assert array.flags.c_contiguous, "an array is not contiguous"
        assert array.flags.writeable, "an array is read-only"


def check_moments(data: DataSet) -> None:
    """Mean and deviation are those of the training images, a number a channel; text has none."""
    if data.is_text or data.is_numeric:
        return
    channels = data.train_x.shape[1]
    for moment, expected in zip(
        data.mean_std,
        ([float(of(data.train_x[:, c])) for c in range(channels)] for of in (np.mean, np.std)),
        strict=True,
    ):
        assert moment.shape == (channels,), f"a moment has shape {moment.shape}"
        assert np.allclose(moment, expected, rtol=1e-3, atol=1e-3), f"a moment is {moment}, not {expected}"


def check_checksum(data: DataSet) -> None:
    """The checksum is that of the arrays as they are, and another one if a pixel or a label changes."""
    again = replace(data)
    assert again.checksum == data.checksum, "the checksum is not that of the arrays"
    pixels, labels = data.test_x.copy(), data.test_y.copy()
    pixels.reshape(-1)[-1] = pixels.reshape(-1)[-1] == 0
    labels[-1] += 1
    assert replace(data, test_x=pixels).checksum != data.checksum, "the checksum misses a pixel"
    assert replace(data, test_y=labels).checksum != data.checksum, "the checksum misses a label"


def check_description(data: DataSet) -> None:
    """What a result records is plain JSON and has counts, checksum and every difference from what was published."""
    _assert_none(description_faults(data))
    _assert_none(count_faults(data))
    described = json.loads(json.dumps(data.describe()))
    assert (described["train"], described["test"]) == (len(data.train_x), len(data.test_x))
    assert described["checksum"] == data.checksum
    assert described["official"] == list(data.official)


def _assert_none(faults: Iterator[str]) -> None:
    fault = next(faults, None)
    assert fault is None, fault


def yield_checks() -> Iterator[Check]:
    """Yield every check."""
    yield check_images
    yield check_labels
    yield check_memory
    yield check_moments
    yield check_checksum
    yield check_description


def check_dataset(data: DataSet) -> None:
    """Run every check on a loaded data set.

    Raises
    ------
    AssertionError
        Saying what is wrong.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tamcl.data import Digits
    >>> check_dataset(Digits().load(Path()))
    """
    for check in yield_checks():
        check(data)
