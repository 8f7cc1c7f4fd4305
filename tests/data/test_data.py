"""Every data set keeps what all rely on, from small files in the published layout; bad files are named."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from tamcl.data import DATASETS, DataSet, Digits, FashionMNIST, Source, cache_root, data_root
from tamcl.data.mnist import read_idx
from tamcl.errors import InputError
from tamcl.registry import lookup
from tamcl.testing import check_dataset
from tamcl.testing.datasets import yield_checks
from tests.data.layouts import LAYOUTS, OF_TEXT, idx, write_fashion, write_mnist

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small MNIST and Fashion-MNIST in the layout that torchvision downloads to."""
    write_mnist(tmp_path)
    write_fashion(tmp_path)
    return tmp_path


def test_every_data_set_has_a_layout() -> None:
    assert set(LAYOUTS) == set(DATASETS)


@pytest.mark.parametrize("name", DATASETS)
def test_conformance(name: str, tmp_path: Path) -> None:
    LAYOUTS[name](tmp_path)
    source: Source = lookup(DATASETS, name)()
    source.check(tmp_path)
    data = source.load(tmp_path, allow_subset=True)
    check_dataset(data)
    assert data.name == name
    of_files = {"text_files": (2, data.counts)}  # whatever they are
    assert (data.classes, data.official) == of_files.get(name, (source.classes, source.official))
    assert data.checksum == source.load(tmp_path, allow_subset=True).checksum
    assert source.verify(tmp_path, allow_subset=True).checksum == data.checksum
    if name not in {"digits", "bit_patterns", "books", "text_files"}:
        with pytest.raises(InputError, match=rf"data set '{name}'.*published are .*; --allow-subset takes it as it is"):
            source.load(tmp_path)


@pytest.mark.parametrize("name", [name for name in DATASETS if name not in {"digits", "bit_patterns", "books"}])
def test_missing_files_are_named_with_what_to_do(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        lookup(DATASETS, name)().check(tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert f"no file '{tmp_path}" in message
    assert "--data-dir" in message
    assert ("tamcl data fetch" in message) == (name not in OF_TEXT)


def noise(**changes: object) -> DataSet:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, 3, 5, 5), dtype=np.uint8)
    labels = np.arange(20) % 4
    parts = {"train_x": images[:12], "train_y": labels[:12], "test_x": images[12:], "test_y": labels[12:]}
    return DataSet("noise", **{**parts, "classes": 4, "official": (12, 8), **changes})  # type: ignore[arg-type]


BROKEN = {
    "check_images": noise(train_x=np.zeros((12, 3, 5, 4), np.uint8)),
    "check_labels": noise(classes=3),
    "check_memory": noise(train_x=noise().train_x[:, :, ::-1]),
    "check_moments": noise(),
    "check_checksum": noise(),
    "check_description": noise(official=(12, 9)),
}
vars(BROKEN["check_moments"])["mean_std"] = noise(train_x=noise().train_x // 2).mean_std
vars(BROKEN["check_checksum"])["checksum"] = "0"


@pytest.mark.parametrize("check", list(yield_checks()), ids=lambda check: check.__name__)
def test_each_check_fails_on_data_made_to_fail_it(check) -> None:  # type: ignore[no-untyped-def]
    check(noise())
    with pytest.raises(AssertionError):
        check(BROKEN[check.__name__])


def test_digits_are_all_of_scikit_learns_each_once_and_every_fifth_of_a_class_is_for_the_test() -> None:
    data = Digits().load(Path())
    images, target = load_digits().images, load_digits().target
    ours = np.concatenate([data.train_x, data.test_x])[:, 0] / (255 / 16)
    assert np.abs(np.sort(ours, axis=None) - np.sort(images, axis=None)).max() < 0.04
    assert (len(data.train_y), len(data.test_y)) == data.official
    for label in range(10):
        expected = [image for count, image in enumerate(images[target == label]) if count % 5 == 4]
        assert np.allclose(data.test_x[data.test_y == label, 0] / (255 / 16), expected, atol=0.04)


def test_bit_patterns_are_the_numbers_in_binary() -> None:
    data = lookup(DATASETS, "bit_patterns")().load(Path())
    assert data.train_x is data.test_x
    assert not data.train_y.any()
    for number in (0, 1, 5, 699_050, 2**20 - 1):
        assert "".join("01"[pixel // 255] for pixel in data.train_x[number].reshape(-1)) == f"{number:020b}"


def test_packed_files_read_like_unpacked_ones(root: Path) -> None:
    before = FashionMNIST().load(root, allow_subset=True).checksum
    for path in (root / "FashionMNIST" / "raw").iterdir():
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert FashionMNIST().load(root, allow_subset=True).checksum == before


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
        (lambda content: idx(np.zeros((29, 28, 28), np.uint8)), "does not fit its labels: images (29, 1, 28, 28)"),
        (lambda content: idx(np.zeros((30, 28, 27), np.uint8)), "does not fit its labels: images (30, 1, 28, 27)"),
        (lambda content: idx(np.zeros(30, np.uint8)), "does not fit its labels"),
    ],
)  # fmt: skip
def test_damaged_file_is_named(root: Path, damage: object, message: str) -> None:
    path = root / "MNIST" / "raw" / NAMES[0]
    assert callable(damage)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError) as caught:
        lookup(DATASETS, "mnist")().load(root)
    assert f"'{path}' {message}" in str(caught.value)


def test_label_beyond_the_classes_is_named(root: Path) -> None:
    path = root / "MNIST" / "raw" / NAMES[1]
    path.write_bytes(idx(np.full(30, 10, np.uint8)))
    with pytest.raises(InputError, match=r"does not fit its labels: they are 10 to 10"):
        lookup(DATASETS, "mnist")().load(root)


def test_truncated_gz_is_named(tmp_path: Path) -> None:
    path = tmp_path / "labels.gz"
    for content in (gzip.compress(idx(np.arange(200, dtype=np.uint8)))[:-20], b"not packed at all"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"labels\.gz' is damaged"):
            read_idx(path)


def test_mean_and_deviation_are_those_of_the_training_images() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2500, 3, 2, 2), dtype=np.uint8)  # more than are read at once
    mean, std = noise(train_x=images, train_y=np.zeros(2500, np.int64)).mean_std
    assert mean == pytest.approx(images.astype(float).mean((0, 2, 3)), rel=1e-6)
    assert std == pytest.approx(images.astype(float).std((0, 2, 3)), rel=1e-6)


def test_folders_prefer_what_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TAMCL_DATA_DIR", raising=False)
    assert data_root() == tmp_path / "cache" / "data"
    monkeypatch.setenv("TAMCL_DATA_DIR", "/elsewhere")
    assert data_root() == Path("/elsewhere")
    assert data_root(tmp_path) == tmp_path
    monkeypatch.delenv("TAMCL_CACHE_DIR")
    assert cache_root().name == "tamcl"


@pytest.mark.skipif("TAMCL_DATA_DIR" not in os.environ, reason="needs real images: set TAMCL_DATA_DIR to their folder")
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "notmnist"])
def test_labels_belong_to_their_images(name: str) -> None:
    """A fifth of nearest class means is wrong on MNIST, a third on Fashion-MNIST."""
    source: Source = lookup(DATASETS, name)()
    try:
        source.check(data_root())
    except InputError as error:
        pytest.skip(str(error))
    data = source.load(data_root(), allow_subset=True)
    flat = data.train_x.reshape(len(data.train_x), -1).astype(np.float32)
    means = np.stack([flat[data.train_y == label].mean(0) for label in range(10)])
    tests = data.test_x[:2000].reshape(2000, -1).astype(np.float32)
    nearest = ((tests[:, None] - means[None]) ** 2).sum(2).argmin(1)
    assert (nearest == data.test_y[:2000]).mean() > 0.6
