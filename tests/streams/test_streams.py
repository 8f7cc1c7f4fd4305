"""Every stream passes the common checks, keeps its fingerprints, and is refused with one line where it does not fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tamcl.streams import STREAMS, LabelFlip, Stream
from tamcl.streams.base import fingerprint
from tamcl.streams.transforms import Permutation, Rotation
from tamcl.testing.streams import CHECKS, Check, check_stream
from tests.streams.helpers import LABELS, stream

CASES: dict[str, Stream] = {
    "label_flip": stream("label_flip", fraction=0.5),
    "label_flip-all-classes": stream("label_flip", fraction=1, samples=20),
    "label_flip-none": stream("label_flip", experiences=3, fraction=0, samples=11),
    "label_flip-examples": stream("label_flip", fraction=0.5, unit="example"),
    "label_flip-few-examples": stream("label_flip", experiences=3, fraction=1, unit="example", samples=7),
    "label_flip-shuffled-examples": stream("label_flip", fraction=0.5, unit="example", kind="permutation", samples=9),
    "label_flip-gradual": stream("label_flip", fraction=[0.5, 1], samples=33, width=3),
    "label_flip-gradual-examples": stream("label_flip", fraction=1, unit="example", samples=20, width=20, batch_size=1),
    "label_flip-not-cumulative": stream("label_flip", fraction=1, kind="symmetric", samples=20, cumulative=False),
    "label_flip-partial": stream(
        "label_flip", fraction=1, kind="permutation", samples=20, compose=False, stable_classes=2
    ),
    "label_flip-recurring": stream("label_flip", fraction=1, kind="recurring", samples=20, epochs=2),
    "label_permuted": stream("label_permuted", samples=20, batch_size=1),
    "random_labels": stream("random_labels", samples=20, epochs=3, batch_size=16),
    "task_shift": stream("task_shift", experiences=2, setting="task_incremental", samples=10),
    "task_shift-class": stream("task_shift", setting="class_incremental", samples=5),
    "task_shift-domain": stream("task_shift", experiences=2, setting="domain_incremental", normalization="task"),
    "task_shift-fixed": stream("task_shift", setting="task_incremental", class_order="fixed", samples=9),
    "task_shift-given": stream(
        "task_shift",
        experiences=2,
        setting="class_incremental",
        class_order=[3, 0, 1, 2],
        task_order="random",
        samples=7,
    ),
    "blurred": stream("blurred", samples=11),
    "blurred-wide": stream("blurred", experiences=2, width=1, batch_size=1),
    "permuted_inputs": stream("permuted_inputs", samples=20, batch_size=1),
    "permuted_inputs-all": stream("permuted_inputs", normalization="task", epochs=2),
    "rotated_inputs": stream("rotated_inputs", samples=20),
    "rotated_inputs-random": stream("rotated_inputs", angles="random", degrees=360),
    "corrupted_inputs": stream("corrupted_inputs", experiences=8, samples=20, severity=[5, 1]),
    "classification": stream("classification", experiences=1, validation=20),
    "classification-few": stream("classification", experiences=1, validation=1, samples=20, epochs=3),
    "text": stream("text", experiences=2, context=3, samples=7, batch_size=4, epochs=2),
    "text-random": stream("text", context=4, domain_order="random", batch_size=1),
    "slowly_changing_regression": stream("slowly_changing_regression", samples=70, flipping_bits=4, batch_size=8),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES)
def test_conformance(case: str, check: Check) -> None:
    check(CASES[case])


def test_every_stream_has_a_case() -> None:
    assert {case.partition("-")[0] for case in CASES} == set(STREAMS)


# Checks can fail: streams that are wrong in one way, and the check that has to notice.


class Wrong(LabelFlip):
    """A stream with a fault."""

    def segments(self, train_y, test_y, classes, seed):
        return [self.spoil(segment, train_y) for segment in super().segments(train_y, test_y, classes, seed)]

    def spoil(self, segment, train_y):
        return segment


class SeedIsIgnored(Wrong):
    def segments(self, train_y, test_y, classes, seed):
        return super().segments(train_y, test_y, classes, 0)


class DrawsGlobally(Wrong):
    def spoil(self, segment, train_y):
        np.random.rand()  # noqa: NPY002
        return segment


class WritesToTheData(Wrong):
    def spoil(self, segment, train_y):
        train_y[0] = 3
        return segment


class RepeatsAnImage(Wrong):
    def spoil(self, segment, train_y):
        segment.train_index[0] = segment.train_index[1]
        return segment


class TellsTheBoundary(Wrong):
    def spoil(self, segment, train_y):
        return replace(segment, task=1)


class TrainsOnWhatIsHeldOut(Wrong):
    def spoil(self, segment, train_y):
        return replace(segment, validation_index=segment.train_index[:3], validation_labels=segment.train_labels[:3])


class ShowsOrderedTwice(Wrong):
    def spoil(self, segment, train_y):
        return replace(segment, ordered=True)


class FailsForOneImage(Wrong):
    def segments(self, train_y, test_y, classes, seed):
        return super().segments(train_y, test_y, classes, seed) if self.samples != 1 else 1 / 0


class ShiftsAsLittleAsItLikes(Wrong):
    def segments(self, train_y, test_y, classes, seed):
        made = super().segments(train_y, test_y, classes, seed)
        return made if self.shifts else made[:1]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (SeedIsIgnored, "the seed makes no difference"),
        (DrawsGlobally, "a global generator was used"),
        (WritesToTheData, "training labels were changed in place"),
        (RepeatsAnImage, "an image comes twice"),
        (TellsTheBoundary, "a boundary shows in the task label"),
        (TrainsOnWhatIsHeldOut, "an image that is held out is trained on"),
        (ShowsOrderedTwice, "an ordered experience would be seen twice"),
        (FailsForOneImage, "samples = 1 fails: ZeroDivisionError"),
        (ShiftsAsLittleAsItLikes, "the oracle has another number of examples"),
    ],
)
def test_a_wrong_stream_is_found_out(wrong: type[Wrong], message: str) -> None:
    made = wrong(name="label_flip", dataset="any", experiences=3, fraction=1, samples=20, epochs=2)
    with pytest.raises(AssertionError, match=message):
        check_stream(made)


# Fingerprints: what anybody's machine must find. A change of a number changes every published result.

FIRST = {
    "class": stream("label_flip", experiences=5, fraction=0.8, samples=30),
    "class-all": stream("label_flip", experiences=10, fraction=0.8),
    "class-0.2": stream("label_flip", experiences=10, fraction=0.2, samples=60),
    "class-1": stream("label_flip", experiences=3, fraction=1, samples=60),
    "class-0": stream("label_flip", experiences=5, fraction=0),
    "class-one": stream("label_flip", experiences=1, fraction=0.8),
    "example": stream("label_flip", experiences=5, fraction=0.8, unit="example", samples=30),
    "example-all": stream("label_flip", experiences=5, fraction=1, unit="example"),
    "example-0": stream("label_flip", experiences=5, fraction=0, unit="example", samples=7),
    "tasks": stream("task_shift", experiences=5, setting="task_incremental"),
    "tasks-class": stream("task_shift", experiences=5, setting="class_incremental"),
    "tasks-samples": stream("task_shift", experiences=5, setting="task_incremental", samples=15),
    "tasks-fixed": stream("task_shift", experiences=5, setting="task_incremental", class_order="fixed", samples=9),
    "tasks-ten": stream("task_shift", experiences=10, setting="class_incremental"),
}
FIRST_DIGESTS = {
    "class": ("1ff7b0d95f629ee95ebea6a59325d03b", "c794ed5cd0b904c3259239471aafd8bb"),
    "class-all": ("5feaeb2c6096ecd1d972c71cb9eeef48", "11eb3d377b5db4ebf9951561856c57ff"),
    "class-0.2": ("b291f6195213ed28035806e08c634c3c", "156b9318c707d0bcd4b8fbd0cda664b0"),
    "class-1": ("b123f2c4bf81f970480b02a1a060b1c5", "ed8544668d85b72d6f33c017e5216e05"),
    "class-0": ("d766fdb8d3895daa22437aea212fcc74", "aacaa77d772b8dd51c9f0799fbe103cd"),
    "class-one": ("8d08709f43331665a38ea21099ce9c19", "111b4d7ff88855dcf910d1724d202760"),
    "example": ("0cc6b0b416241e804bcbd393c4707f49", "10cb2edfbd83b76ffb1b52a69af0b681"),
    "example-all": ("069d2c650e63393cc362e6e1849c14da", "b13b4bd9458006e125cc7f78616725ac"),
    "example-0": ("b71f3245b9e3a19504eb812aea1b2a4d", "3d17034da8cb35c4d9c705338974c448"),
    "tasks": ("893888403397e3e9e3041af0206cbd1e", "d037ddb96c4c92610b7a1947090f77a2"),
    "tasks-class": ("c751afc5211d9f0fb8db5c7eacd33dff", "e25ceeedace7555a1b931678ab0b8407"),
    "tasks-samples": ("1b3202779b7f3421984917a65046c46b", "11f309a0c9d7ea50e2f27cbef42bd4fd"),
    "tasks-fixed": ("f1b25cea4e5c3bc6b4b465c1989f2ba5", "48ae91fb025dcac3b636f6e9d2a97726"),
    "tasks-ten": ("9a268b54576ceb64dd0603d238509f09", "ca4c1880647034d59a7de9e19343b32e"),
}
"""Of the first release: for seed 7, and for seed 0 with an order of mini-batches."""


@pytest.mark.parametrize("case", FIRST)
def test_streams_of_the_first_release_keep_their_fingerprints(case: str) -> None:
    made, (seven, zero) = FIRST[case], FIRST_DIGESTS[case]
    assert fingerprint(made.segments(LABELS, LABELS, 10, 7), "data") == seven
    assert fingerprint(made.segments(LABELS, LABELS, 10, 0), "data", 5, 10, 1) == zero
    assert fingerprint(made.segments(LABELS, LABELS, 10, 7), "data", normalization="channel") == seven


GOLDEN = {
    "cycle": stream("label_flip", fraction=[0.2, 1], samples=30),
    "permutation": stream("label_flip", fraction=1, kind="permutation", samples=30),
    "derangement": stream("label_flip", fraction=1, kind="derangement", samples=30),
    "swap": stream("label_flip", fraction=1, kind="swap", samples=30),
    "symmetric": stream("label_flip", fraction=1, kind="symmetric", samples=30),
    "recurring": stream("label_flip", fraction=1, kind="recurring", samples=30),
    "not cumulative": stream("label_flip", fraction=1, cumulative=False, samples=30),
    "gradual": stream("label_flip", fraction=1, width=2, samples=30),
    "shuffled examples": stream("label_flip", fraction=1, unit="example", kind="permutation", samples=30),
    "label_permuted": stream("label_permuted", samples=30),
    "random_labels": stream("random_labels", samples=30),
    "domain": stream("task_shift", experiences=5, setting="domain_incremental", task_order="random"),
    "no shift": stream("task_shift", experiences=5, setting="class_incremental", oracle="no_shift"),
    "blurred": stream("blurred", experiences=5, samples=30),
    "permuted_inputs": stream("permuted_inputs", samples=30),
    "rotated_inputs": stream("rotated_inputs", samples=30),
    "corrupted_inputs": stream("corrupted_inputs", samples=30),
    "corrupted_inputs by task": stream("corrupted_inputs", samples=30, normalization="task"),
    "classification": stream("classification", experiences=1, samples=30, validation=40),
    "slowly_changing_regression": stream("slowly_changing_regression", samples=30, flipping_bits=5),
    "text": stream("text", samples=3, context=5, domain_order="random"),
}
DIGESTS = {
    "cycle": "37db809cf9005c129cb0902f3d9fbf67",
    "permutation": "441f2217b808024a2c14f8d507ccac05",
    "derangement": "ffcfc8abbfe9123836beb3d046b4dc56",
    "swap": "094f66c074700c1b29104bd12cf09030",
    "symmetric": "e3454fea94e540588943e64aa6fe896b",
    "recurring": "505601688eb0fdd8deb4ac0fbc2793d2",
    "not cumulative": "1a33d9a0fb99984adcec75b344b87238",
    "gradual": "e02453709be5333fd0b12b79da7a5ea8",
    "shuffled examples": "708d6a08aae94dd80ea5b20ec44a10f1",
    "label_permuted": "81c3461ea82359833e6ca7677312a739",
    "random_labels": "9b44f7f3af1f6178e7706d558c21079c",
    "domain": "900f366fe6f1e98196572e83eb994e83",
    "no shift": "e5cd838db28ec34076c37200f6ca2c1a",
    "blurred": "ba0cd06c18b66d7da1b49481e00b4bb8",
    "permuted_inputs": "3bb4ee350ee8f3df4dd12d709edbbc6f",
    "rotated_inputs": "ce9f10db29de022f987ea4dd41256a63",
    "corrupted_inputs": "3fba88e924a2c7b976c355f5fe819d5c",
    "corrupted_inputs by task": "3d3a9b221bbaf66fe433fc77cd8dafcf",
    "classification": "f368eef14dd5e1a2492f82bbb431b5e2",
    "slowly_changing_regression": "dcf20e5ab9e8d26a1c9be314ee8f7044",
    "text": "c92d741df1a19ad1ccb200ec595b2a25",
}


@pytest.mark.parametrize("case", GOLDEN)
def test_golden_fingerprints(case: str) -> None:
    assert digest(GOLDEN[case], 7) == DIGESTS[case]
    assert digest(GOLDEN[case], 8) != DIGESTS[case]


def digest(made: Stream, seed: int) -> str:
    labels = np.zeros(128, dtype=np.int64) if made.target == "number" else LABELS
    labels = np.sort(labels) if made.target == "token" else labels
    segments = made.segments(labels, labels, 1 if made.target == "number" else 10, seed)
    return fingerprint(segments, "data", normalization=made.normalization, augmentation=made.augmentation)


def test_golden_fingerprints_are_of_all_streams_and_differ() -> None:
    assert {made.name for made in GOLDEN.values()} == set(STREAMS)
    assert len(set(DIGESTS.values())) == len(GOLDEN)


def test_fingerprint_tells_everything_apart_that_decides_what_is_seen() -> None:
    made = stream("label_flip", experiences=3, fraction=0.5)
    segments = made.segments(LABELS, LABELS, 10, 0)
    base = fingerprint(segments, "data", 1, 10, 1)
    assert base == fingerprint(made.segments(LABELS, LABELS, 10, 0), "data", 1, 10, 1)
    others = [
        fingerprint(segments, "other data", 1, 10, 1),
        fingerprint(segments, "data", 2, 10, 1),
        fingerprint(segments[:2], "data", 1, 10, 1),
        fingerprint(segments, "data", 1, 10, 1, normalization="task"),
        fingerprint(segments, "data", 1, 10, 1, augmentation="crop_flip"),
        *(
            fingerprint([*segments[:2], replace(segments[2], **change)], "data", 1, 10, 1)
            for change in (
                {"ordered": True},
                {"transform": Permutation(0)},
                {"transform": Permutation(1)},
                {"transform": Rotation(1.0)},
                {"task": 1},
                {"classes": (0, 1)},
                {"context": 8},
                {"context": 9},
                {"train_labels": segments[2].train_labels + 1},
                {"test_labels": segments[2].test_labels.astype(np.float32)},
                {"test_labels": segments[2].test_labels.astype(np.float32) + np.float32(0.25)},
            )
        ),
    ]
    assert len({base, *others}) == 1 + len(others)
