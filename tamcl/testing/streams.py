"""Checks that every stream has to pass: ``check_stream`` for people who add their own."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from tamcl.data import DataSet
from tamcl.errors import InputError
from tamcl.strategies.loader import BatchLoader
from tamcl.streams import Segment, Stream
from tamcl.streams.base import fingerprint
from tamcl.streams.benchmark import build_benchmark

IMAGES = 64
"""Training images, and test images; image i has the value i in its first pixel. Or tokens of a text, 0, 1, 2, ..."""

Check = Callable[[Stream], None]


def made_up_data(stream: Stream) -> DataSet:
    """Return 64 training and 64 test images, 3x8x8, of 4 classes; of one class for a stream whose target is a number.

    As 64 is a power of two, they also are as many as there are patterns of 6 bits. For a stream of text there are 64
    tokens, all different, in 4 domains.
    """
    if stream.target == "token":
        tokens, domains = np.arange(IMAGES, dtype=np.int32), np.arange(IMAGES, dtype=np.int64) // (IMAGES // 4)
        parts = tokens, domains, tokens.copy(), domains.copy()
        return DataSet("made_up", *parts, 4, (IMAGES, IMAGES), vocabulary=tuple(map(str, range(IMAGES))))
    classes = 4 if stream.target == "class" else 1
    pixels = np.random.default_rng(0).integers(0, 256, (2, IMAGES, 3, 8, 8), dtype=np.uint8)
    pixels[:, :, 0, 0, 0] = np.arange(IMAGES)
    labels = np.arange(IMAGES, dtype=np.int64) % classes
    return DataSet("made_up", pixels[0], labels, pixels[1], labels.copy(), classes, (IMAGES, IMAGES))


def check_same_seed_same_stream(stream: Stream) -> None:
    """Equal seeds give equal experiences, another seed gives others, and the fingerprint tells."""
    prints = [fingerprint(_segments(stream, seed), "data") for seed in (0, 0, 1)]
    assert prints[0] == prints[1], "two calls with one seed differ"
    assert prints[0] != prints[2], "the seed makes no difference"


def check_interleaved_passes(stream: Stream) -> None:
    """Two passes over the same stream that take turns see the same mini-batches."""
    for one, other in zip_longest(_batches(stream), _batches(stream)):
        assert one is not None, "one pass is shorter than the other"
        assert other is not None, "one pass is shorter than the other"
        for ours, theirs in zip(one, other, strict=True):
            assert torch.equal(ours, theirs), "two passes that take turns differ"


def check_global_generators(stream: Stream) -> None:
    """The global generators of Python, NumPy and torch are neither drawn from nor seeded."""
    before = _global_states()
    for _ in _batches(stream):
        pass
    assert before == _global_states(), "a global generator was used"


def check_data_untouched(stream: Stream) -> None:
    """The data set's labels and images are not written to."""
    data, kept = made_up_data(stream), made_up_data(stream)
    for _ in _batches(stream, data):
        pass
    assert np.array_equal(data.train_y, kept.train_y), "training labels were changed in place"
    assert np.array_equal(data.test_y, kept.test_y), "test labels were changed in place"
    assert np.array_equal(data.train_x, kept.train_x), "training images were changed in place"
    assert np.array_equal(data.test_x, kept.test_x), "test images were changed in place"


def check_lengths(stream: Stream) -> None:
    """There are as many experiences, and in each as many images, as were asked for; none comes twice in one."""
    segments = _segments(stream)
    assert len(segments) == stream.experiences
    for segment in segments:
        assert len(segment.train_index) == len(segment.train_labels) == (stream.samples or len(segment.train_index))
        assert len(segment.test_index) == len(segment.test_labels)
        assert len(segment.train_index) > 0, "an experience has no training image"
        assert len(segment.test_index) > 0, "an experience has no test image"
        assert len(np.unique(segment.test_index)) == len(segment.test_index), "a test image comes twice"
        if segment.validation_index is not None:
            assert segment.validation_labels is not None, "images that are held out have no labels"
            assert len(segment.validation_index) == len(segment.validation_labels) > 0
            both = np.intersect1d(segment.train_index, segment.validation_index)
            assert not len(both), "an image that is held out is trained on"
        if not stream.repeats:
            assert len(np.unique(segment.train_index)) == len(segment.train_index), "an image comes twice"


def check_ranges(stream: Stream) -> None:
    """Indices point at images, labels are among the classes that the task may answer with, or finite numbers."""
    data = made_up_data(stream)
    for segment in _segments(stream):
        for index, labels in (
            (segment.train_index, segment.train_labels),
            (segment.test_index, segment.test_labels),
            (segment.validation_index, segment.validation_labels),
        ):
            if index is None or labels is None:
                continue
            assert index.dtype == np.int64
            assert index.min() >= 0
            assert index.max() < IMAGES
            if stream.target == "number":
                assert labels.dtype == np.float32
                assert np.isfinite(labels).all(), "a target is not finite"
            else:
                assert labels.dtype == np.int64
                assert set(labels.tolist()) <= set(segment.classes), "a label is not among the task's classes"
        assert set(segment.classes) <= set(range(data.classes))


def check_task_labels(stream: Stream) -> None:
    """Tasks are told apart only by a stream that says so, and a task always has the same classes."""
    segments = _segments(stream)
    if not stream.tells_task:
        assert {segment.task for segment in segments} == {0}, "a boundary shows in the task label"
    classes: dict[int, tuple[int, ...]] = {}
    for segment in segments:
        assert classes.setdefault(segment.task, segment.classes) == segment.classes


def check_batches(stream: Stream) -> None:
    """Mini-batches are full but for the last, and give every example of an experience once a pass, with its label."""
    data = made_up_data(stream)
    plain = [replace(segment, transform=None) for segment in _segments(stream)]  # so that a pixel tells the image
    for position, segment in enumerate(plain):
        batches = list(_loader(stream, data, plain, position))
        sizes = [len(y) for _, y, _ in batches]
        assert all(size == stream.batch_size for size in sizes[:-1]), "a mini-batch that is not the last is not full"
        assert 0 < sizes[-1] <= stream.batch_size
        x, y = (torch.cat(column) for column in list(zip(*batches, strict=True))[:2])
        if data.is_text:
            assert torch.equal(x + 1, y), "what is to be learnt of a token is not the one after it"
            images, y = x[:, 0], torch.from_numpy(data.train_y)[x[:, 0]]
        else:
            images = x[:, 0, 0, 0].mul(255).round().long()
        seen = list(zip(images.tolist(), y.tolist(), strict=True))
        given = list(zip(segment.train_index.tolist(), segment.train_labels.tolist(), strict=True))
        assert Counter(seen) == Counter(given), "an example is lost, doubled or has another label"
        if segment.ordered:
            assert seen == given, "the order is not the one that the stream drew"


def check_order(stream: Stream) -> None:
    """An order drawn by the stream is for a single pass."""
    if any(segment.ordered for segment in _segments(stream)):
        assert stream.epochs == 1, "an ordered experience would be seen twice"


def check_inputs(stream: Stream) -> None:
    """A transform keeps shape and type, gives finite values, and changes an image in the same way whenever it comes."""
    data, segments = made_up_data(stream), _segments(stream)
    benchmark = build_benchmark(data, segments, stream.normalization)
    shape, dtype = ((segments[0].context,), torch.int64) if data.is_text else (data.train_x.shape[1:], torch.float32)
    for experience in [*benchmark.train_stream, *benchmark.test_stream]:
        rows = torch.arange(len(experience.labels))
        batch = experience.batch(rows)
        assert batch.dtype == dtype
        assert batch.shape == (len(rows), *shape), "a transform changes the images' shape"
        assert batch.isfinite().all(), "an input is not finite"
        alone = torch.cat([experience.batch(row) for row in rows.flip(0).split(1)]).flip(0)
        torch.testing.assert_close(alone, batch, rtol=1e-5, atol=1e-5, msg="an image depends on those it comes with")


def check_transforms_described(stream: Stream) -> None:
    """Transforms that do different things say so."""
    described: dict[str, Tensor] = {}
    for segment in _segments(stream):
        if segment.transform is not None:
            pixels = torch.arange(2 * 3 * 64.0).view(2, 3, 8, 8) % 256
            done = segment.transform(pixels, torch.arange(2))
            assert torch.equal(described.setdefault(segment.transform.describe(), done), done), "describe() leaves out"


def check_oracles(stream: Stream) -> None:
    """Starting over changes no data, and without a shift there are as many experiences and examples."""
    plain, still, restart = (_with(stream, oracle=oracle) for oracle in ("none", "no_shift", "restart"))
    assert fingerprint(_segments(plain), "data") == fingerprint(_segments(restart), "data")
    assert _sizes(_segments(plain)) == _sizes(_segments(still)), "the oracle has another number of examples"
    assert not any(segment.transform for segment in _segments(still)), "the oracle without a shift changes images"


def check_written_and_read(stream: Stream) -> None:
    """A stream is the same after it was written to a file and read again."""
    assert type(stream).model_validate(stream.model_dump(mode="json")) == stream


def check_limits(stream: Stream) -> None:
    """Every setting runs at its limits, or is refused with one line."""
    for setting, value in _limits(stream):
        try:
            segments = _segments(_with(stream, **{setting: value}))
        except (InputError, ValidationError) as error:
            lines = str(error).splitlines() if isinstance(error, InputError) else error.errors()
            assert len(lines) == 1, f"{setting} = {value!r} is refused with {len(lines)} lines"
            continue
        except Exception as error:
            raise AssertionError(f"{setting} = {value!r} fails: {error!r}") from error
        assert segments, f"{setting} = {value!r} gives no experience"


def check_one_experience(stream: Stream) -> None:
    """A stream of one experience runs, in mini-batches of one too."""
    single = _with(stream, experiences=1, batch_size=1)
    try:
        assert len(_segments(single)) == 1
    except InputError:
        return  # an order of two tasks, say, does not fit one experience
    assert all(len(y) == 1 for _, y, _ in _batches(single))


def _segments(stream: Stream, seed: int = 0) -> list[Segment]:
    data = made_up_data(stream)
    return stream.segments(data.train_y, data.test_y, data.classes, seed)


def _with(stream: Stream, **changes: Any) -> Stream:
    return type(stream).model_validate(stream.model_dump() | changes)


def _batches(stream: Stream, data: DataSet | None = None) -> Iterator[list[Tensor]]:
    data = data or made_up_data(stream)
    segments = stream.segments(data.train_y, data.test_y, data.classes, 0)
    for position in range(len(segments)):
        yield from _loader(stream, data, segments, position, normalization=stream.normalization)


def _loader(
    stream: Stream, data: DataSet, segments: Sequence[Segment], position: int, normalization: Any = "none"
) -> BatchLoader:
    experience = build_benchmark(data, segments, normalization).train_stream[position]
    return BatchLoader(experience, stream.batch_size, 0, position, torch.device("cpu"))


def _sizes(segments: Sequence[Segment]) -> list[tuple[int, int]]:
    return [(len(segment.train_index), len(segment.test_index)) for segment in segments]


def _limits(stream: Stream) -> Iterator[tuple[str, Any]]:
    """Yield every setting with the ends of its range, or all the words that it may be."""
    yield from [("samples", 1), ("samples", IMAGES), ("batch_size", IMAGES + 1)]
    for setting, schema in type(stream).model_json_schema()["properties"].items():
        for form in schema.get("anyOf", [schema]):
            words = form.get("enum", [False, True] if form.get("type") == "boolean" else [])
            ends = [form[end] for end in ("minimum", "maximum") if end in form]
            yield from ((setting, value) for value in [*words, *ends])


def _global_states() -> list[object]:
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002 - the global generator is what is watched
    return [random.getstate(), str(numpy_state), torch.get_rng_state().tolist()]


CHECKS: tuple[Check, ...] = (
    check_same_seed_same_stream,
    check_interleaved_passes,
    check_global_generators,
    check_data_untouched,
    check_lengths,
    check_ranges,
    check_task_labels,
    check_batches,
    check_order,
    check_inputs,
    check_transforms_described,
    check_oracles,
    check_written_and_read,
    check_limits,
    check_one_experience,
)


def yield_checks() -> Iterator[Check]:
    """Yield every check."""
    yield from CHECKS


def check_stream(stream: Stream) -> None:
    """Run every check on a stream over made-up data: 64 training and 64 test images of 4 classes, 3x8x8, or tokens.

    Parameters
    ----------
    stream : Stream
        ``dataset`` is not looked at. At least two experiences, so that there is a shift, and something that depends on
        the seed: fewer ``samples`` than there are, if nothing else does. A stream whose target is a number gets one
        class, and may take image i for the pattern of 6 bits of the number i. A stream of text gets 64 tokens in 4
        domains of 16, so that its windows have to be short.

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
