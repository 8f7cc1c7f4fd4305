"""Loaded images equal what scikit-learn and torchvision read; damaged and missing files are named."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import torchvision
from sklearn.datasets import load_digits

from tamcl.data import DATASETS, DataSet, Digits, FashionMNIST, Source, data_root
from tamcl.data.mnist import read_idx
from tamcl.errors import InputError
from tamcl.registry import lookup

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small MNIST and Fashion-MNIST in the layout that torchvision downloads to."""
    rng = np.random.default_rng(0)
    for folder in ("MNIST", "FashionMNIST"):
        raw = tmp_path / folder / "raw"
        raw.mkdir(parents=True)
        for name, count in zip(NAMES, (30, 30, 20, 20), strict=True):
            shape = (count, 28, 28) if "images" in name else (count,)
            (raw / name).write_bytes(idx(rng.integers(0, 10, shape, dtype=np.uint8)))
    return tmp_path


def check_dataset(data: DataSet) -> None:
    """Shapes, types and labels are what every user of a data set relies on."""
    for images, labels in ((data.train_x, data.train_y), (data.test_x, data.test_y)):
        assert images.dtype == np.uint8
        assert images.ndim == 4
        assert images.flags.writeable  # torch shares the memory and warns about read-only arrays
        assert labels.dtype == np.int64
        assert len(images) == len(labels)
        assert labels.min() >= 0
        assert labels.max() < data.classes
    assert data.train_x.shape[1:] == data.test_x.shape[1:]


@pytest.mark.parametrize("name", DATASETS)
def test_conformance(name: str, root: Path) -> None:
    source: Source = lookup(DATASETS, name)()
    data = source.load(root)
    check_dataset(data)
    assert data.name == name
    assert data.checksum == source.load(root).checksum
    assert set(data.describe()) == {"name", "train", "test", "classes", "official", "checksum"}


def test_digits_are_all_of_scikit_learns_each_once_and_every_fifth_of_a_class_is_for_the_test() -> None:
    data = Digits().load(Path())
    images, target = load_digits().images, load_digits().target
    ours = np.concatenate([data.train_x, data.test_x])[:, 0] / (255 / 16)
    assert np.abs(np.sort(ours, axis=None) - np.sort(images, axis=None)).max() < 0.04
    assert (len(data.train_y), len(data.test_y)) == data.official
    for label in range(10):
        expected = [image for count, image in enumerate(images[target == label]) if count % 5 == 4]
        assert np.allclose(data.test_x[data.test_y == label, 0] / (255 / 16), expected, atol=0.04)


@pytest.mark.parametrize("folder", ["MNIST", "FashionMNIST"])
def test_idx_sets_equal_torchvisions(root: Path, folder: str) -> None:
    data = lookup(DATASETS, {"MNIST": "mnist", "FashionMNIST": "fashion_mnist"}[folder])().load(root)
    for train, images, labels in ((True, data.train_x, data.train_y), (False, data.test_x, data.test_y)):
        theirs = getattr(torchvision.datasets, folder)(root, train=train)
        assert np.array_equal(images[:, 0], theirs.data.numpy())
        assert np.array_equal(labels, theirs.targets.numpy())


def test_packed_files_read_like_unpacked_ones(root: Path) -> None:
    before = FashionMNIST().load(root).checksum
    for path in (root / "FashionMNIST" / "raw").iterdir():
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert FashionMNIST().load(root).checksum == before


def test_missing_file_says_which_where_and_how(root: Path) -> None:
    missing = root / "MNIST" / "raw" / NAMES[2]
    missing.unlink()
    with pytest.raises(InputError) as caught:
        lookup(DATASETS, "mnist")().check(root)
    message = str(caught.value)
    assert "\n" not in message
    assert f"'{missing}' or '{NAMES[2]}.gz'" in message
    assert "--data-dir" in message
    assert "tamcl data fetch mnist" in message


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:100], "is damaged: 84 bytes of data, its header says 30x28x28"),
        (lambda content: content + b"0", "is damaged: 23521 bytes of data, its header says 30x28x28"),
        (lambda content: b"\x89PNG" + content[4:], "is no idx file: it begins with 89 50 4e 47, not 00 00 08"),
        (lambda content: b"", "is no idx file: it begins with nothing"),
        (lambda content: content[:6], "is damaged"),
        (lambda content: idx(np.zeros((29, 28, 28), np.uint8)), "does not fit its labels: images (29, 28, 28)"),
    ],
)  # fmt: skip
def test_damaged_file_is_named(root: Path, damage: object, message: str) -> None:
    path = root / "MNIST" / "raw" / NAMES[0]
    assert callable(damage)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError) as caught:
        lookup(DATASETS, "mnist")().load(root)
    assert f"'{path}' {message}" in str(caught.value)


def test_truncated_gz_is_named(tmp_path: Path) -> None:
    path = tmp_path / "labels.gz"
    for content in (gzip.compress(idx(np.arange(200, dtype=np.uint8)))[:-20], b"not packed at all"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"labels\.gz' is damaged"):
            read_idx(path)


def test_mean_and_deviation_are_those_of_the_training_images() -> None:
    data = Digits().load(Path())
    mean, std = data.mean_std
    assert mean == pytest.approx([data.train_x.astype(float).mean()])
    assert std == pytest.approx([data.train_x.astype(float).std()])


def test_checksum_sees_one_pixel_and_one_label(root: Path) -> None:
    source = lookup(DATASETS, "mnist")()
    first, second = source.load(root), source.load(root)
    second.test_x[0, 0, 0, 0] ^= 1
    third = source.load(root)
    third.train_y[0] = (third.train_y[0] + 1) % 10
    assert len({data.checksum for data in (first, second, third)}) == 3


def test_data_root_prefers_what_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TAMCL_DATA_DIR", raising=False)
    assert data_root().name == "data"
    monkeypatch.setenv("TAMCL_DATA_DIR", "/elsewhere")
    assert data_root() == Path("/elsewhere")
    assert data_root(tmp_path) == tmp_path


@pytest.mark.skipif("TAMCL_DATA_DIR" not in os.environ, reason="needs real images: set TAMCL_DATA_DIR to their folder")
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_real_images(name: str) -> None:
    """A fifth of nearest class means is wrong on MNIST, a third on Fashion-MNIST: labels belong to their images."""
    source: Source = lookup(DATASETS, name)()
    try:
        source.check(data_root())
    except InputError as error:
        pytest.skip(str(error))
    data = source.load(data_root())
    check_dataset(data)
    flat = data.train_x.reshape(len(data.train_x), -1).astype(np.float32)
    means = np.stack([flat[data.train_y == label].mean(0) for label in range(10)])
    tests = data.test_x[:2000].reshape(2000, -1).astype(np.float32)
    nearest = ((tests[:, None] - means[None]) ** 2).sum(2).argmin(1)
    assert (nearest == data.test_y[:2000]).mean() > 0.6
