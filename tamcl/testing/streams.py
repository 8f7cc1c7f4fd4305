"""Checks that every stream has to pass: ``check_stream`` for people who add their own."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import numpy as np
import torch

from tamcl.streams import Segment, Stream
from tamcl.streams.base import fingerprint

CLASSES = 4
TRAIN = np.arange(48, dtype=np.int64) % CLASSES
TEST = np.arange(24, dtype=np.int64) % CLASSES

Check = Callable[[Stream], None]


def check_same_seed_same_stream(stream: Stream) -> None:
    """Equal seeds give equal experiences, another seed gives others, and the fingerprint tells."""
    prints = [fingerprint(_segments(stream, seed), "data") for seed in (0, 0, 1)]
    assert prints[0] == prints[1], "two calls with one seed differ"
    assert prints[0] != prints[2], "the seed makes no difference"


def check_global_generators(stream: Stream) -> None:
    """The global generators of Python, NumPy and torch are neither drawn from nor seeded."""
    before = _global_states()
    _segments(stream)
    after = _global_states()
    assert before == after, "a global generator was used"


def check_labels_untouched(stream: Stream) -> None:
    """The data set's labels are not written to."""
    train, test = TRAIN.copy(), TEST.copy()
    stream.segments(train, test, CLASSES, 0)
    assert np.array_equal(train, TRAIN), "training labels were changed in place"
    assert np.array_equal(test, TEST), "test labels were changed in place"


def check_lengths(stream: Stream) -> None:
    """There are as many experiences, and in each as many images, as were asked for; none comes twice in one."""
    segments = _segments(stream)
    assert len(segments) == stream.experiences
    for segment in segments:
        assert len(segment.train_index) == len(segment.train_labels) == (stream.samples or len(segment.train_index))
        assert len(segment.test_index) == len(segment.test_labels)
        assert len(segment.train_index) > 0, "an experience has no training image"
        assert len(segment.test_index) > 0, "an experience has no test image"
        assert len(np.unique(segment.train_index)) == len(segment.train_index), "an image comes twice"


def check_ranges(stream: Stream) -> None:
    """Indices point at images, labels are among the classes that the task may answer with, all as int64."""
    for segment in _segments(stream):
        for index, labels, available in (
            (segment.train_index, segment.train_labels, TRAIN),
            (segment.test_index, segment.test_labels, TEST),
        ):
            assert index.dtype == labels.dtype == np.int64
            assert index.min() >= 0
            assert index.max() < len(available)
            assert set(labels.tolist()) <= set(segment.classes), "a label is not among the task's classes"
        assert set(segment.classes) <= set(range(CLASSES))


def check_task_labels(stream: Stream) -> None:
    """Tasks are told apart only by a stream that says so, and a task always has the same classes."""
    segments = _segments(stream)
    if not stream.tells_task:
        assert {segment.task for segment in segments} == {0}, "a boundary shows in the task label"
    classes: dict[int, tuple[int, ...]] = {}
    for segment in segments:
        assert classes.setdefault(segment.task, segment.classes) == segment.classes


def check_one_experience(stream: Stream) -> None:
    """A stream of one experience runs."""
    assert len(_segments(stream.model_copy(update={"experiences": 1}))) == 1


def _segments(stream: Stream, seed: int = 0) -> list[Segment]:
    return stream.segments(TRAIN.copy(), TEST.copy(), CLASSES, seed)


def _global_states() -> list[object]:
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002 - the global generator is what is watched
    return [random.getstate(), str(numpy_state), torch.get_rng_state().tolist()]


def yield_checks() -> Iterator[Check]:
    """Yield every check."""
    yield check_same_seed_same_stream
    yield check_global_generators
    yield check_labels_untouched
    yield check_lengths
    yield check_ranges
    yield check_task_labels
    yield check_one_experience


def check_stream(stream: Stream) -> None:
    """Run every check on a stream over a made-up data set of 4 classes, 48 training and 24 test images.

    Parameters
    ----------
    stream : Stream
        ``dataset`` is not looked at. At least two experiences, so that there is a shift.

    Raises
    ------
    AssertionError
        Saying what is wrong.

    Examples
    --------
    >>> from tamcl.streams import LabelFlip
    >>> check_stream(LabelFlip(name="label_flip", dataset="any", experiences=3, fraction=0.5))
    """
    for check in yield_checks():
        check(stream)
