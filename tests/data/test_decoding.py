"""Loaded images are what torchvision and Pillow decode, image by image, from small files and from the real ones."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision.datasets as theirs
from PIL import Image
from torchvision.transforms import Resize

from tamcl.data import DATASETS, DataSet, data_root
from tamcl.data.cifar import unpickle
from tamcl.data.tree import walk
from tamcl.errors import InputError
from tamcl.registry import lookup
from tests.data.layouts import (
    LAYOUTS,
    OF_TEXT,
    TINY,
    pack_tar,
    pack_zip,
    png,
    write_cifar10,
    write_emnist,
    write_notmnist,
)

Pairs = list[tuple[Any, int]] | Any
"""Something with a length whose items are an image of Pillow and a label."""


class CIFAR10(theirs.CIFAR10):
    """Torchvision's, without the checksums that no small copy has."""

    def _check_integrity(self) -> bool:
        return True

    def _load_meta(self) -> None:
        pass


class CIFAR100(CIFAR10):
    base_folder, train_list, test_list = "cifar-100-python", [["train", ""]], [["test", ""]]


class SVHN(theirs.SVHN):
    def _check_integrity(self) -> bool:
        return True


class notMNIST(theirs.MNIST):
    pass


def unpacked(root: Path, scratch: Path, folder: str) -> Path:
    """A root in which the idx files of a folder are unpacked, as torchvision wants them."""
    raw = scratch / folder / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for path in (root / folder / "raw").iterdir():
        content = path.read_bytes()
        (raw / path.name.removesuffix(".gz")).write_bytes(gzip.decompress(content) if path.suffix == ".gz" else content)
    return scratch


def tiny(root: Path, part: str) -> Pairs:
    """Images in the order of sorted names, from the zip or the folder, by Pillow alone."""
    if (root / f"{TINY}.zip").is_file():
        archive = zipfile.ZipFile(root / f"{TINY}.zip")
        names, read = archive.namelist(), archive.read
    else:
        names = [str(path.relative_to(root)) for path in (root / TINY).rglob("*")]
        read = lambda name: (root / name).read_bytes()  # noqa: E731
    kinds = sorted(read(f"{TINY}/wnids.txt").decode().split())
    lines = (line.split("\t") for line in read(f"{TINY}/val/val_annotations.txt").decode().splitlines())
    kind_of = {line[0]: line[1] for line in lines}
    names = sorted(name for name in names if f"/{part}/" in name and name.endswith(".JPEG"))

    class Images:
        def __len__(self) -> int:
            return len(names)

        def __getitem__(self, row: int) -> tuple[Any, int]:
            file = names[row].rpartition("/")[2]
            label = kinds.index(kind_of.get(file, file.partition("_")[0]))
            return Image.open(io.BytesIO(read(names[row]))).convert("RGB"), label

    return Images()


def notmnist(root: Path, scratch: Path, train: bool) -> Pairs:
    if (root / "notMNIST" / "raw").is_dir():
        return notMNIST(unpacked(root, scratch, "notMNIST"), train=train)
    pairs = []
    for path in sorted((root / "notMNIST" / "notMNIST_small").glob("*/*.png")):
        try:
            pairs.append((Image.open(io.BytesIO(path.read_bytes())).convert("L"), "ABCDEFGHIJ".index(path.parent.name)))
        except OSError:
            continue
    shuffled = [pairs[row] for row in np.random.default_rng(0).permutation(len(pairs))]
    return shuffled[len(pairs) // 10 :] if train else shuffled[: len(pairs) // 10]


def emnist(root: Path, scratch: Path, train: bool) -> Pairs:
    return theirs.EMNIST(unpacked(root, scratch, "EMNIST"), split="balanced", train=train)


REFERENCES: dict[str, Callable[[Path, Path, bool], Pairs]] = {
    "mnist": lambda root, scratch, train: theirs.MNIST(unpacked(root, scratch, "MNIST"), train=train),
    "fashion_mnist": lambda r, scratch, train: theirs.FashionMNIST(unpacked(r, scratch, "FashionMNIST"), train=train),
    "emnist": emnist,
    "notmnist": notmnist,
    "cifar10": lambda root, scratch, train: CIFAR10(root, train=train),
    "cifar100": lambda root, scratch, train: CIFAR100(root, train=train),
    "svhn": lambda root, scratch, train: SVHN(root / "svhn", split="train" if train else "test"),
    "tinyimagenet": lambda root, scratch, train: tiny(root, "train" if train else "val"),
}
FIVE = ("cifar10", "mnist", "svhn", "notmnist", "fashion_mnist")


def resized(image: Any) -> Any:
    return Resize(32)(image).convert("RGB")


def padded(image: Any) -> Any:
    large = Image.new(image.mode, (32, 32))
    large.paste(image, ((32 - image.width) // 2, (32 - image.height) // 2))
    return large.convert("RGB")


def references(name: str, root: Path, scratch: Path, train: bool) -> list[tuple[Pairs, int, Callable[[Any], Any]]]:
    """What a data set is made of: others' images, what their labels start from, and what is done to an image."""
    if name in REFERENCES:
        return [(REFERENCES[name](root, scratch, train), 0, lambda image: image)]
    change = resized if name == "five_datasets" else padded
    return [(REFERENCES[part](root, scratch, train), 10 * number, change) for number, part in enumerate(FIVE)]


def assert_equal(data: DataSet, root: Path, scratch: Path, samples: int = 100) -> None:
    rng = np.random.default_rng(1)
    for train, images, labels in ((True, data.train_x, data.train_y), (False, data.test_x, data.test_y)):
        start = 0
        parts = references(data.name, root, scratch, train)
        for pairs, offset, change in parts:
            for row in rng.permutation(len(pairs))[: samples // len(parts)].tolist():
                image, label = pairs[row]
                expected = np.atleast_3d(np.asarray(change(image))).transpose(2, 0, 1)
                assert np.array_equal(images[start + row], expected)
                assert labels[start + row] == label + offset
            start += len(pairs)
        assert start == len(images)


NAMES = [name for name in DATASETS if name not in {"digits", "bit_patterns"} | OF_TEXT]


@pytest.mark.parametrize("name", NAMES)
def test_images_are_what_others_decode(name: str, tmp_path: Path) -> None:
    LAYOUTS[name](tmp_path)
    assert_equal(lookup(DATASETS, name)().load(tmp_path, allow_subset=True), tmp_path, tmp_path / "scratch")


@pytest.mark.skipif("TAMCL_DATA_DIR" not in os.environ, reason="needs real images: set TAMCL_DATA_DIR to their folder")
@pytest.mark.parametrize("name", [name for name in NAMES if name != "five_datasets_padded"])
def test_real_images_are_what_others_decode(name: str, tmp_path: Path) -> None:
    source = lookup(DATASETS, name)()
    try:
        source.check(data_root())
    except InputError as error:
        pytest.skip(str(error))
    assert_equal(source.load(data_root(), allow_subset=True), data_root(), tmp_path / "scratch")


def test_tinyimagenet_is_the_same_from_its_zip(tmp_path: Path) -> None:
    source = lookup(DATASETS, "tinyimagenet")()
    LAYOUTS["tinyimagenet"](tmp_path)
    folder = source.load(tmp_path, allow_subset=True)
    assert folder.train_y.tolist() == [0] * 11 + [1] * 11 + [2] * 11
    pack_zip(tmp_path / f"{TINY}.zip", tmp_path / TINY, TINY)
    shutil.rmtree(tmp_path / TINY)
    assert source.load(tmp_path, allow_subset=True).checksum == folder.checksum


@pytest.mark.parametrize("archive", ["notMNIST_small.tar.gz", "notMNIST_small.tar"])
def test_notmnist_is_the_same_from_its_archive_and_loose_folders(archive: str, tmp_path: Path) -> None:
    source = lookup(DATASETS, "notmnist")()
    write_notmnist(tmp_path)
    small = tmp_path / "notMNIST" / "notMNIST_small"
    first = source.load(tmp_path, allow_subset=True)
    assert (first.counts, first.skipped, first.describe()["skipped"]) == ((27, 3), 2, 2)
    pack_tar(tmp_path / archive, small, "notMNIST_small")
    for folder in small.iterdir():
        folder.rename(tmp_path / "notMNIST" / folder.name)
    small.rmdir()
    assert source.load(tmp_path, allow_subset=True).checksum == first.checksum
    shutil.rmtree(tmp_path / "notMNIST")
    assert source.find(tmp_path) == (tmp_path / archive,)
    assert source.load(tmp_path, allow_subset=True).checksum == first.checksum


def test_notmnist_skips_an_image_of_another_size(tmp_path: Path) -> None:
    write_notmnist(tmp_path)
    (tmp_path / "notMNIST" / "notMNIST_small" / "J" / "large.png").write_bytes(png(np.zeros((5000, 5000), np.uint8)))
    assert lookup(DATASETS, "notmnist")().load(tmp_path, allow_subset=True).skipped == 3


def test_archives_of_emnist_and_cifar_are_read_where_they_are(tmp_path: Path) -> None:
    write_emnist(tmp_path)
    write_cifar10(tmp_path)
    raw, batches = tmp_path / "EMNIST" / "raw", tmp_path / "cifar-10-batches-py"
    sources = [lookup(DATASETS, name)() for name in ("emnist", "cifar10")]
    before = [source.load(tmp_path, allow_subset=True).checksum for source in sources]
    for path in list(raw.iterdir()):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    archive = pack_zip(tmp_path / "gzip.zip", raw, "gzip")
    pack_tar(tmp_path / "cifar-10-python.tar.gz", batches, "cifar-10-batches-py")
    shutil.rmtree(raw)
    shutil.rmtree(batches)
    raw.mkdir()
    archive.rename(raw / "gzip.zip")
    assert [source.load(tmp_path, allow_subset=True).checksum for source in sources] == before


@pytest.mark.parametrize("name", ["tinyimagenet", "notmnist"])
def test_the_file_systems_order_makes_no_difference(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    LAYOUTS[name](tmp_path)
    source = lookup(DATASETS, name)()
    place, before = source.place(tmp_path), source.read(tmp_path).checksum

    def backwards(folder: Path) -> Iterator[os.DirEntry[str]]:
        return reversed(list(walk(folder)))

    monkeypatch.setattr("tamcl.data.tree.walk", backwards)
    monkeypatch.setattr("tamcl.data.cache.walk", backwards)
    assert source.read(tmp_path).checksum == before
    assert source.place(tmp_path) == place


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda top: (top / "wnids.txt").unlink(), "has no file 'tiny-imagenet-200/wnids.txt'"),
        (lambda top: (top / "wnids.txt").write_text("n01\nn02\n"), "has images of 'n10', which no list names"),
        (lambda top: (top / "val" / "images" / "val_99.JPEG").write_bytes(b""), "'val_99.JPEG', which no list names"),
        (lambda top: (top / "train" / "n01" / "images" / "n01_0.JPEG").write_bytes(b"\xff\xd8"), "n01_0.JPEG' is no"),
        (lambda top: Image.new("RGB", (32, 32)).save(top / "train/n01/images/n01_0.JPEG"), "n01_0.JPEG' is no"),
    ],
)  # fmt: skip
def test_damaged_tinyimagenet_is_named(damage: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    LAYOUTS["tinyimagenet"](tmp_path)
    damage(tmp_path / TINY)
    with pytest.raises(InputError) as caught:
        lookup(DATASETS, "tinyimagenet")().load(tmp_path, allow_subset=True)
    assert message in str(caught.value)


def test_damaged_svhn_is_named(tmp_path: Path) -> None:
    LAYOUTS["svhn"](tmp_path)
    path = tmp_path / "svhn" / "test_32x32.mat"
    for content in (b"", b"MATLAB 5.0", path.read_bytes()[:2000]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"test_32x32\.mat' is no file of SVHN"):
            lookup(DATASETS, "svhn")().load(tmp_path, allow_subset=True)


class Harmful:
    def __init__(self, function: object, argument: str) -> None:
        self.call = function, (argument,)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("function", [os.system, eval, __import__, np.load])
def test_pickles_run_nothing(function: object, tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    touched = tmp_path / "touched"
    batch = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    for protocol in (0, 2, 4):
        batch.write_bytes(pickle.dumps({"data": Harmful(function, f"touch {touched}"), "labels": []}, protocol))
        with pytest.raises(InputError, match=r"data_batch_3' is no pickle of arrays: asks for \w+\.\w+"):
            lookup(DATASETS, "cifar10")().load(tmp_path, allow_subset=True)
    assert not touched.exists()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_of_arrays_are_read(protocol: int) -> None:
    batch = {"data": np.arange(12, dtype=np.uint8).reshape(2, 6), "labels": [1, 2], "names": ["a", "b"]}
    read = unpickle("here", pickle.dumps(batch, protocol))
    assert np.array_equal(read.pop("data"), batch.pop("data"))
    assert read == batch


@pytest.mark.parametrize("content", [{"labels": [1]}, {"data": np.zeros((1, 5), np.uint8), "labels": [1]}, [], 3])
def test_pickles_of_something_else_are_named(content: object, tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(pickle.dumps(content, 2))
    with pytest.raises(InputError, match=r"test_batch' is no batch of CIFAR"):
        lookup(DATASETS, "cifar10")().load(tmp_path, allow_subset=True)


def test_five_datasets_stand_in_tags_order_ten_classes_each(tmp_path: Path) -> None:
    LAYOUTS["five_datasets"](tmp_path)
    data = lookup(DATASETS, "five_datasets")().load(tmp_path, allow_subset=True)
    assert (np.diff(data.train_y // 10) >= 0).all()
    assert np.bincount(data.train_y // 10).tolist() == [30, 30, 22, 27, 30]
    assert np.bincount(data.test_y // 10).tolist() == [6, 20, 11, 3, 20]
    assert data.skipped == 2
    assert [difference.partition(":")[0] for difference in data.differences] == list(FIVE)
    grey = data.train_x[data.train_y // 10 == 1]
    assert (grey == grey[:, :1]).all()


def litter(folder: Path) -> None:
    """What file systems and programs leave: hidden files and folders beside the data."""
    for name in ("._n01_0.JPEG", "._a.png", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (folder / name).write_bytes(b"\x00\x05\x16\x07")
    for name in (".ipynb_checkpoints", "__MACOSX", ".AppleDouble"):
        (folder / name).mkdir()
        (folder / name / "n01_0.JPEG").write_bytes(b"\x00\x05\x16\x07")
        (folder / name / "a.png").write_bytes(png(np.zeros((28, 28), np.uint8)))


def renamed(top: Path, old: str, new: str) -> None:
    for path in list(top.rglob(f"*{old}")):
        path.rename(path.with_name(path.name.removesuffix(old) + new))


def val_by_class(top: Path, below: str = "images", keep_list: bool = True) -> None:
    """Move validation images to a folder for each class, as a common script does."""
    for line in (top / "val" / "val_annotations.txt").read_text().splitlines():
        name, kind = line.split("\t")[:2]
        folder = top / "val" / kind / below
        folder.mkdir(parents=True, exist_ok=True)
        (top / "val" / "images" / name).rename(folder / name)
    (top / "val" / "images").rmdir()
    if not keep_list:
        (top / "val" / "val_annotations.txt").unlink()


def with_mark(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))


SAME_TINY: dict[str, Callable[[Path], object]] = {
    "litter in every folder": lambda top: [litter(path) for path in [top, *top.rglob("*")] if path.is_dir()],
    ".jpeg": lambda top: renamed(top, ".JPEG", ".jpeg"),
    ".jpg": lambda top: renamed(top / "val", ".JPEG", ".jpg"),
    ".JPG": lambda top: renamed(top / "train", ".JPEG", ".JPG"),
    "validation images by class": val_by_class,
    "the same without the list": lambda top: val_by_class(top, keep_list=False),
    "no folder of images within": lambda top: val_by_class(top, below="", keep_list=False),
    "by class, .jpeg": lambda top: (val_by_class(top), renamed(top, ".JPEG", ".jpeg")),
    "lists of another system": lambda top: [with_mark(top / name) for name in ("wnids.txt", "val/val_annotations.txt")],
}


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("case", SAME_TINY)
def test_the_same_images_are_the_same_tinyimagenet(case: str, packed: bool, tmp_path: Path) -> None:
    source = lookup(DATASETS, "tinyimagenet")()
    LAYOUTS["tinyimagenet"](tmp_path)
    before = source.read(tmp_path)
    SAME_TINY[case](tmp_path / TINY)
    if packed:
        pack_zip(tmp_path / f"{TINY}.zip", tmp_path / TINY, TINY)
        shutil.rmtree(tmp_path / TINY)
    after = source.read(tmp_path)
    assert after.checksum == before.checksum
    assert after.counts == before.counts == source.tally(tmp_path)


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "tar"])
def test_the_same_images_are_the_same_notmnist(packed: bool, tmp_path: Path) -> None:
    source = lookup(DATASETS, "notmnist")()
    write_notmnist(tmp_path)
    before, small = source.read(tmp_path), tmp_path / "notMNIST" / "notMNIST_small"
    for folder in list(small.iterdir()):
        litter(folder)
    renamed(small / "C", ".png", ".PNG")
    (small / "AB").mkdir()
    (small / "AB" / "z.png").write_bytes(png(np.zeros((28, 28), np.uint8)))
    if packed:
        pack_tar(tmp_path / "notMNIST_small.tar.gz", small, "./notMNIST_small")
        shutil.rmtree(tmp_path / "notMNIST")
    after = source.read(tmp_path)
    assert (after.checksum, after.skipped) == (before.checksum, before.skipped)
    assert source.tally(tmp_path) == before.counts


def test_litter_neither_changes_what_is_kept_nor_is_imported(tmp_path: Path) -> None:
    source = lookup(DATASETS, "tinyimagenet")()
    LAYOUTS["tinyimagenet"](tmp_path / "from")
    place = source.place(tmp_path / "from")
    litter(tmp_path / "from" / TINY / "val")
    assert source.place(tmp_path / "from").name.partition("-")[0] == "tinyimagenet"
    source.import_from(tmp_path / "from", tmp_path / "root", allow_subset=True)
    left = {path.name for path in (tmp_path / "root").rglob("*")}
    assert not left & {"._a.png", ".DS_Store", "__MACOSX", ".ipynb_checkpoints"}
    for name in ("Thumbs.db", "desktop.ini"):
        (tmp_path / "from" / TINY / "val" / name).unlink()
    assert source.place(tmp_path / "from") == place


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda top: shutil.copy(top / "val/images/val_0.JPEG", top / "val/images/val_0.jpg"),
            "/val_0.JPEG' and 'tiny-imagenet-200/val/images/val_0.jpg' are the same image twice; remove one of them",
        ),
        (
            lambda top: shutil.copytree(top / "val/images", top / "val/n01/images"),
            "val/n01/images/val_0.JPEG' are the same image twice; remove one of them",
        ),
        (
            lambda top: (
                val_by_class(top), (top / "val/n10").rename(top / "n"), (top / "val/n01").rename(top / "val/n10"),
            ),
            "/val_12.JPEG' is in a folder of 'n10', but 'tiny-imagenet-200/val/val_annotations.txt' says 'n01'",
        ),
        (lambda top: (top / "val/val_annotations.txt").unlink(), "has no file 'tiny-imagenet-200/val/val_annotations."),
        (lambda top: (top / "wnids.txt").write_bytes(b"\xff\xfen\x000\x00"), "wnids.txt' is no text: "),
        (lambda top: shutil.rmtree(top / "train"), "data set 'tinyimagenet': its files have no training images"),
        (lambda top: shutil.rmtree(top / "val/images"), "data set 'tinyimagenet': its files have no test images"),
        (lambda top: Image.new("RGB", (1, 1)).save(top / "train/n01/images/n01_0.JPEG"), "it has 1x1 pixels"),
        (lambda top: Image.new("RGB", (64, 1)).save(top / "val/images/val_0.JPEG"), "it has 64x1 pixels"),
    ],
)  # fmt: skip
def test_what_would_count_twice_or_wrongly_is_named(
    damage: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    LAYOUTS["tinyimagenet"](tmp_path)
    damage(tmp_path / TINY)
    with pytest.raises(InputError) as caught:
        lookup(DATASETS, "tinyimagenet")().load(tmp_path, allow_subset=True)
    assert message in str(caught.value)


def test_an_image_of_16_bits_is_not_cut_off_to_8(tmp_path: Path) -> None:
    write_notmnist(tmp_path)
    deep = Image.fromarray(np.full((28, 28), 40_000, np.uint16))
    deep.save(tmp_path / "notMNIST" / "notMNIST_small" / "A" / "a.png")
    assert lookup(DATASETS, "notmnist")().load(tmp_path, allow_subset=True).skipped == 3
