"""What is asked of the experiences that a stream gives before anything is trained on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np

from tamcl.data import DataSet
from tamcl.errors import InputError
from tamcl.streams import STREAMS
from tamcl.streams.base import Segment, Stream


def check_segments(stream: Stream, segments: Sequence[Segment], data: DataSet) -> None:
    """Look at the experiences of a stream; at each image and label only where the stream is the user's.

    Raises
    ------
    InputError
        Naming the first thing that is wrong.
    """
    if not isinstance(segments, list | tuple) or not all(isinstance(segment, Segment) for segment in segments):
        raise InputError(f"stream.name = '{stream.name}': gives no list of tamcl.streams.Segment")
    if len(segments) != stream.experiences:
        raise InputError(f"stream.name = '{stream.name}': gives {len(segments)} of {stream.experiences} experiences")
    held_out = [segment for segment in segments if segment.validation_index is not None]
    if held_out and len(segments) > 1:
        raise InputError(
            f"stream.name = '{stream.name}': holds out images, which a stream of one experience alone can do"
        )
    for experience, segment in enumerate(segments):
        found = _empty(segment)
        if stream.drop_last and 0 < len(segment.train_index) < stream.batch_size:
            raise InputError(
                f"stream.drop_last = true: experience {experience} has {len(segment.train_index)} training examples, "
                f"none of which would be left in mini-batches of {stream.batch_size}"
            )
        if stream.name not in STREAMS:
            found = chain(found, _faults(segment, data, stream.target == "number"))
        for fault in found:
            raise InputError(
                f"stream.name = '{stream.name}', stream.dataset = '{stream.dataset}': experience {experience} {fault}"
            )


def _empty(segment: Segment) -> Iterator[str]:
    parts = ("training", segment.train_index), ("test", segment.test_index), ("validation", segment.validation_index)
    for part, index in parts:
        if index is not None and not len(index):
            yield f"has no {part} images"


def _faults(segment: Segment, data: DataSet, numbers: bool) -> Iterator[str]:
    """Yield where indices do not point at images, or labels are none of the task's classes or no finite numbers."""
    if not set(segment.classes) <= set(range(data.classes)):
        yield f"has classes {segment.classes}, the data set has {data.classes}"
    parts = [
        ("train", segment.train_index, segment.train_labels, len(data.train_y)),
        ("test", segment.test_index, segment.test_labels, len(data.test_y)),
    ]
    if segment.validation_index is not None and segment.validation_labels is not None:
        parts.append(("validation", segment.validation_index, segment.validation_labels, len(data.train_y)))
    for part, index, labels, images in parts:
        wanted = np.float32 if numbers else np.int64
        if index.dtype != np.int64 or labels.dtype != wanted:
            yield (
                f"has {part}_index of {index.dtype}, {part}_labels of {labels.dtype}; must be int64 and "
                f"{wanted.__name__}"
            )
        elif index.ndim != 1 or index.shape != labels.shape:
            yield f"has {part}_index of shape {index.shape}, {part}_labels of shape {labels.shape}; must be as many"
        elif index.min() < 0 or index.max() >= images:
            yield f"has {part}_index {index.min()} to {index.max()}; must be 0 to {images - 1}"
        elif numbers and not np.isfinite(labels).all():
            yield f"has {part}_labels that are not finite"
        elif not numbers and not np.isin(labels, segment.classes).all():
            strange = labels[~np.isin(labels, segment.classes)][0]
            yield f"has label {strange} in {part}_labels, which is not among its classes {segment.classes}"
