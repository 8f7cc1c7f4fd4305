"""Batches: normalised as asked for, from memory that is neither copied nor written to."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tamcl.data import DataSet
from tamcl.streams import Segment
from tamcl.streams.benchmark import Experience, build_benchmark
from tamcl.streams.transforms import Permutation
from tests.streams.helpers import stream

RNG = np.random.default_rng(0)
TRAIN, TEST = (RNG.integers(low, 256, (n, 3, 5, 4), dtype=np.uint8) for low, n in ((0, 60), (100, 30)))
LABELS = np.arange(60) % 6
DATA = DataSet("noise", TRAIN, LABELS, TEST, LABELS[:30], 6, (60, 30))
TASKS = stream("task_shift", experiences=3, setting="class_incremental", samples=15)


def benchmark(normalization: str, data: DataSet = DATA, **changes):
    made = TASKS.model_copy(update=changes)
    return build_benchmark(data, made.segments(LABELS, LABELS[:30], 6, 0), normalization)


def everything(experience: Experience) -> np.ndarray:
    return experience.batch(torch.arange(len(experience.labels))).double().numpy()


def normalised(pixels: np.ndarray, like: np.ndarray) -> np.ndarray:
    like = like.astype(np.float64)
    return (pixels - like.mean((0, 2, 3))[:, None, None]) / like.std((0, 2, 3))[:, None, None]


def test_channel_task_signed_and_no_normalization() -> None:
    for kind in ("channel", "task", "signed", "none"):
        made = benchmark(kind)
        for train, test in zip(made.train_stream, made.test_stream, strict=True):
            for experience, pixels in ((train, TRAIN), (test, TEST)):
                own = pixels[experience.index.numpy()]
                like = TRAIN if kind == "channel" else TRAIN[train.index.numpy()]
                plain = {"none": own / 255, "signed": (own / 255 - 0.5) / 0.5}
                expected = plain[kind] if kind in plain else normalised(own, like)
                assert everything(experience) == pytest.approx(expected, abs=1e-5)
                if kind == "task" and experience is train:
                    assert everything(experience).mean((0, 2, 3)) == pytest.approx(0, abs=1e-5)
                    assert everything(experience).std((0, 2, 3)) == pytest.approx(1, abs=1e-5)


def test_channel_is_what_build_benchmark_does_unasked() -> None:
    segments = TASKS.segments(LABELS, LABELS[:30], 6, 0)
    for one, other in zip(build_benchmark(DATA, segments).train_stream, benchmark("channel").train_stream, strict=True):
        assert torch.equal(one.batch(torch.arange(15)), other.batch(torch.arange(15)))


def test_a_channel_that_does_not_vary_is_only_centred() -> None:
    flat = TRAIN.copy()
    flat[:, 1] = 9
    data = DataSet("flat", flat, LABELS, TEST, LABELS[:30], 6, (60, 30))
    for kind in ("channel", "task"):
        assert (everything(benchmark(kind, data).train_stream[0])[:, 1] == 0).all()


def test_the_moments_are_those_before_the_transform() -> None:
    segments = stream("corrupted_inputs", experiences=2, corruptions=["contrast"], severity=5).segments(
        LABELS, LABELS[:30], 6, 0
    )
    for kind in ("channel", "task"):
        changed = everything(build_benchmark(DATA, segments, kind).train_stream[1])
        assert changed.std() < 0.5  # a contrast of 0.15, still measured against the images as they are


def test_experiences_share_their_inputs_only_where_an_image_gives_the_same_input() -> None:
    same = benchmark("channel")
    assert len({id(experience.inputs) for experience in same.test_stream}) == 1
    assert len({id(experience.inputs) for experience in benchmark("task").test_stream}) == 3
    parts = stream("permuted_inputs").segments(LABELS, LABELS[:30], 6, 0)
    assert len({id(experience.inputs) for experience in build_benchmark(DATA, parts).test_stream}) == 4
    still = stream("permuted_inputs", oracle="no_shift").segments(LABELS, LABELS[:30], 6, 0)
    assert len({id(experience.inputs) for experience in build_benchmark(DATA, still).test_stream}) == 1


def test_one_example_at_a_time_is_the_same() -> None:
    parts = stream("permuted_inputs", experiences=2).segments(LABELS, LABELS[:30], 6, 0)
    experience = build_benchmark(DATA, parts, "task").train_stream[1]
    whole = experience.batch(torch.arange(60))
    for position in (0, 7, 59):
        x, y, task = experience.dataset[position]
        assert torch.equal(x, whole[position])
        assert (y, task) == (int(experience.labels[position]), 0)
    assert experience.classes_in_this_experience == [0, 1, 2, 3, 4, 5]


def mapped(path: Path, mode: str) -> np.ndarray:
    np.save(path, TRAIN)
    return np.load(path, mmap_mode=mode)


@pytest.mark.parametrize("mode", ["c", "r"])
@pytest.mark.parametrize("kind", ["channel", "task", "none"])
def test_mapped_files_are_read_in_place_without_a_warning_and_stay_as_they_are(
    tmp_path: Path, mode: str, kind: str
) -> None:
    pixels = mapped(tmp_path / "x.npy", mode)
    kept = (tmp_path / "x.npy").read_bytes()
    data = DataSet("mapped", pixels, LABELS, pixels[:30], LABELS[:30], 6, (60, 30))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = benchmark(kind, data)
        found = [everything(experience) for experience in made.train_stream]
    assert made.train_stream[0].inputs.pixels.data_ptr() == pixels.ctypes.data
    for ours, theirs in zip(found, benchmark(kind).train_stream, strict=True):
        assert np.array_equal(ours, everything(theirs))
    del made
    assert np.array_equal(pixels, TRAIN)
    assert (tmp_path / "x.npy").read_bytes() == kept


def test_big_data_are_not_made_float_at_once(tmp_path: Path) -> None:
    """A sparse file of 20,000 images, 246 MB of zeros: no tensor that is made is larger than a few hundred images."""
    pixels = np.lib.format.open_memmap(tmp_path / "big.npy", "w+", np.uint8, (20_000, 3, 64, 64))
    labels = np.arange(20_000) % 200
    data = DataSet("big", np.load(tmp_path / "big.npy", mmap_mode="c"), labels, pixels[:200], labels[:200], 200, (1, 1))
    parts = stream("task_shift", experiences=40, setting="task_incremental").segments(labels, labels[:200], 200, 0)
    made = build_benchmark(data, parts, "task")
    with Largest() as largest:
        for experience in made.train_stream:
            assert experience.batch(torch.arange(10)).shape == (10, 3, 64, 64)
    assert 10 * 3 * 64 * 64 * 4 <= largest.bytes < 4 * 2**20


class Largest(TorchDispatchMode):
    """Watches the size of every tensor that an operation returns."""

    bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.bytes = max(self.bytes, result.numel() * result.element_size())
        return result


def test_one_experience_is_alive_at_a_time() -> None:
    made = benchmark("channel").train_stream
    assert made[0] is not made[0]
    assert made[-1].current_experience == 2
    segment = Segment(np.arange(3), LABELS[:3], np.arange(2), LABELS[:2], 0, (0, 1, 2), Permutation(0), True)
    train, test = (getattr(build_benchmark(DATA, [segment]), name)[0] for name in ("train_stream", "test_stream"))
    assert (train.ordered, test.ordered) == (True, False)
    assert train.inputs.transform is test.inputs.transform is segment.transform
