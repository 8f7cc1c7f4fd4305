"""Every stream passes the common checks; what each promises is counted from its segments."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tamcl.errors import InputError
from tamcl.streams import STREAMS, LabelFlip, Stream, TaskShift
from tamcl.streams.base import fingerprint
from tamcl.testing.streams import Check, yield_checks

CASES: dict[str, Stream] = {
    "label_flip": LabelFlip(name="label_flip", dataset="any", experiences=4, fraction=0.5),
    "label_flip-all-classes": LabelFlip(name="label_flip", dataset="any", experiences=4, fraction=1, samples=20),
    "label_flip-none": LabelFlip(name="label_flip", dataset="any", experiences=3, fraction=0, samples=11),
    "label_flip-examples": LabelFlip(name="label_flip", dataset="any", experiences=4, fraction=0.5, unit="example"),
    "label_flip-few-examples": LabelFlip(
        name="label_flip", dataset="any", experiences=3, fraction=1, unit="example", samples=7
    ),
    "task_shift": TaskShift(name="task_shift", dataset="any", experiences=2, setting="task_incremental"),
    "task_shift-class": TaskShift(
        name="task_shift", dataset="any", experiences=4, setting="class_incremental", samples=5
    ),
    "task_shift-fixed": TaskShift(
        name="task_shift", dataset="any", experiences=2, setting="task_incremental", class_order="fixed", samples=9
    ),
}


@pytest.mark.parametrize("check", list(yield_checks()), ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES)
def test_conformance(case: str, check: Check) -> None:
    check(CASES[case])


def test_every_stream_has_a_case() -> None:
    assert {case.partition("-")[0] for case in CASES} == set(STREAMS)


LABELS = np.arange(200, dtype=np.int64) % 10


@pytest.mark.parametrize("fraction", [0, 0.2, 0.4, 0.8, 1])
def test_class_flip_changes_exactly_that_many_classes_by_a_permutation(fraction: float) -> None:
    stream = LabelFlip(name="label_flip", dataset="any", experiences=8, fraction=fraction, samples=60)
    segments = stream.segments(LABELS, LABELS, 10, seed=3)
    concepts = [dict(zip(LABELS.tolist(), segment.test_labels.tolist(), strict=True)) for segment in segments]
    assert concepts[0] == {label: label for label in range(10)}
    for concept in concepts:
        assert sorted(concept.values()) == list(range(10))
    for before, after in pairwise(concepts):
        assert sum(before[label] != after[label] for label in range(10)) == round(10 * fraction)
    for concept, segment in zip(concepts, segments, strict=True):
        assert segment.train_labels.tolist() == [concept[label] for label in LABELS[segment.train_index].tolist()]


def test_class_flips_compose_rather_than_start_over() -> None:
    stream = LabelFlip(name="label_flip", dataset="any", experiences=6, fraction=0.2)
    concepts = [segment.test_labels[:10] for segment in stream.segments(LABELS, LABELS, 10, seed=0)]
    assert (concepts[-1] != concepts[0]).sum() > 2


def test_class_flip_takes_fresh_images_until_they_are_used_up() -> None:
    stream = LabelFlip(name="label_flip", dataset="any", experiences=6, fraction=1, samples=60)
    drawn = [set(segment.train_index.tolist()) for segment in stream.segments(LABELS, LABELS, 10, seed=0)]
    assert len(set.union(*drawn[:3])) == len(set.union(*drawn[3:])) == 180
    assert drawn[0] != drawn[3]


def test_the_images_do_not_depend_on_the_fraction() -> None:
    drawn = [
        LabelFlip(name="label_flip", dataset="any", experiences=4, fraction=fraction, samples=50)
        .segments(LABELS, LABELS, 10, seed=0)[3].train_index.tolist()
        for fraction in (0, 0.5, 1)
    ]  # fmt: skip
    assert drawn[0] == drawn[1] == drawn[2]


@pytest.mark.parametrize("fraction", [0, 0.2, 0.8, 1])
def test_example_flip_changes_exactly_that_many_examples(fraction: float) -> None:
    stream = LabelFlip(name="label_flip", dataset="any", experiences=5, fraction=fraction, unit="example", samples=50)
    segments = stream.segments(LABELS, LABELS, 10, seed=1)
    assert segments[0].train_labels.tolist() == LABELS[segments[0].train_index].tolist()
    for before, after in pairwise(segments):
        assert before.train_index.tolist() == after.train_index.tolist()
        assert (before.train_labels != after.train_labels).sum() == round(50 * fraction)
        assert (before.test_labels != after.test_labels).sum() == round(200 * fraction)


def test_example_flip_reaches_every_other_class() -> None:
    stream = LabelFlip(name="label_flip", dataset="any", experiences=2, fraction=1, unit="example")
    labels = np.zeros(2000, dtype=np.int64)
    flipped = stream.segments(labels, labels, 10, seed=0)[1].train_labels
    counts = np.bincount(flipped, minlength=10)
    assert counts[0] == 0
    assert counts[1:].min() > 150


@pytest.mark.parametrize("setting", ["task_incremental", "class_incremental"])
def test_task_shift_shows_every_class_once_and_keeps_labels(setting: str) -> None:
    stream = TaskShift(name="task_shift", dataset="any", experiences=5, setting=setting)
    segments = stream.segments(LABELS, LABELS, 10, seed=0)
    seen = [set(segment.train_labels.tolist()) for segment in segments]
    assert [len(labels) for labels in seen] == [2] * 5
    assert set.union(*seen) == set(range(10))
    for segment, labels in zip(segments, seen, strict=True):
        assert segment.train_labels.tolist() == LABELS[segment.train_index].tolist()
        assert set(segment.test_labels.tolist()) == labels
        assert len(segment.train_index) == 40
    told = setting == "task_incremental"
    assert [segment.task for segment in segments] == ([0, 1, 2, 3, 4] if told else [0] * 5)
    assert [set(segment.classes) for segment in segments] == (seen if told else [set(range(10))] * 5)


def test_fixed_class_order() -> None:
    stream = TaskShift(name="task_shift", dataset="any", experiences=5, setting="task_incremental", class_order="fixed")
    for seed in (0, 1):
        classes = [segment.classes for segment in stream.segments(LABELS, LABELS, 10, seed)]
        assert classes == [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]


def test_parameters_that_do_not_fit_the_data_are_refused() -> None:
    flip = LabelFlip(name="label_flip", dataset="any", experiences=2, fraction=0.1)
    with pytest.raises(InputError, match=r"stream.fraction = 0.1: of 10 classes that is 1; .* \(fraction >= 0.2\)"):
        flip.segments(LABELS, LABELS, 10, 0)
    many = LabelFlip(name="label_flip", dataset="any", experiences=2, fraction=0.2, samples=201)
    with pytest.raises(InputError, match="stream.samples = 201: the training set has 200 images"):
        many.segments(LABELS, LABELS, 10, 0)
    uneven = TaskShift(name="task_shift", dataset="any", experiences=3, setting="task_incremental")
    with pytest.raises(InputError, match="stream.experiences = 3: does not divide the 10 classes evenly"):
        uneven.segments(LABELS, LABELS, 10, 0)
    few = TaskShift(name="task_shift", dataset="any", experiences=5, setting="task_incremental", samples=41)
    with pytest.raises(InputError, match="stream.samples = 41: classes .* have 40 training images"):
        few.segments(LABELS, LABELS, 10, 0)


def test_fingerprint_tells_data_order_and_labels_apart() -> None:
    stream = LabelFlip(name="label_flip", dataset="any", experiences=3, fraction=0.5)
    segments = stream.segments(LABELS, LABELS, 10, 0)
    base = fingerprint(segments, "data", 1, 10, 1)
    assert base == fingerprint(stream.segments(LABELS, LABELS, 10, 0), "data", 1, 10, 1)
    assert base != fingerprint(segments, "other data", 1, 10, 1)
    assert base != fingerprint(segments, "data", 2, 10, 1)
    assert base != fingerprint(segments[:2], "data", 1, 10, 1)
    segments[2].train_labels[0] += 1
    assert base != fingerprint(segments, "data", 1, 10, 1)


def test_golden_fingerprints() -> None:
    """What anybody's machine must find: a change of these numbers changes every published result."""
    found = {case: fingerprint(stream.segments(LABELS, LABELS, 10, 7), "data") for case, stream in GOLDEN.items()}
    assert found == {
        "class": "1ff7b0d95f629ee95ebea6a59325d03b",
        "example": "0cc6b0b416241e804bcbd393c4707f49",
        "tasks": "893888403397e3e9e3041af0206cbd1e",
    }


GOLDEN: dict[str, Stream] = {
    "class": LabelFlip(name="label_flip", dataset="any", experiences=5, fraction=0.8, samples=30),
    "example": LabelFlip(name="label_flip", dataset="any", experiences=5, fraction=0.8, unit="example", samples=30),
    "tasks": TaskShift(name="task_shift", dataset="any", experiences=5, setting="task_incremental"),
}
