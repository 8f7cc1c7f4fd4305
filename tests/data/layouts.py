"""Small data sets of noise in the very layout in which the real ones are published."""

from __future__ import annotations

import io
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

rng = np.random.default_rng(0)

KINDS = ("n02", "n10", "n01")  # not in order, and n10 before n02 would be wrong, too
TINY = "tiny-imagenet-200"


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


def write_idx(raw: Path, train: str = "train", test: str = "t10k", classes: int = 10) -> None:
    raw.mkdir(parents=True, exist_ok=True)
    for part, count in ((train, 30), (test, 20)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(rng.integers(0, classes, count, dtype=np.uint8)))


def write_mnist(root: Path) -> None:
    write_idx(root / "MNIST" / "raw")


def write_fashion(root: Path) -> None:
    write_idx(root / "FashionMNIST" / "raw")


def write_emnist(root: Path) -> None:
    write_idx(root / "EMNIST" / "raw", "emnist-balanced-train", "emnist-balanced-test", classes=47)


def write_cifar(folder: Path, names: list[str], key: str, classes: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        rows = rng.integers(0, 256, (6, 3 * 32 * 32), dtype=np.uint8)
        batch = {"data": rows, key: rng.integers(0, classes, 6).tolist(), "filenames": [f"{i}.png" for i in range(6)]}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))


def write_cifar10(root: Path) -> None:
    names = [f"data_batch_{batch}" for batch in range(1, 6)]
    write_cifar(root / "cifar-10-batches-py", [*names, "test_batch"], "labels", 10)


def write_cifar100(root: Path) -> None:
    write_cifar(root / "cifar-100-python", ["train", "test"], "fine_labels", 100)


def write_svhn(root: Path) -> None:
    (root / "svhn").mkdir(parents=True, exist_ok=True)
    for part, count in (("train", 22), ("test", 11)):
        images = rng.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        labels = (np.arange(count, dtype=np.uint8) % 10 + 1)[:, None]
        savemat(root / "svhn" / f"{part}_32x32.mat", {"X": images, "y": labels})


def png(grey: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG")
    return file.getvalue()


def write_notmnist(root: Path) -> None:
    """The folders of PNGs, 3 images a letter; two files are no image."""
    top = root / "notMNIST" / "notMNIST_small"
    for letter in "ABCDEFGHIJ":
        (top / letter).mkdir(parents=True, exist_ok=True)
        for name in ("b", "a", "c"):
            (top / letter / f"{name}.png").write_bytes(png(rng.integers(0, 256, (28, 28), dtype=np.uint8)))
    (top / "A" / "RGVtb2.png").write_bytes(b"")
    (top / "F" / "Q3Jvc3.png").write_bytes(png(rng.integers(0, 256, (28, 28), dtype=np.uint8))[:200])


def jpeg(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def write_tiny(root: Path) -> None:
    """The extracted folder: 3 kinds of 11 training and 2 validation images each, some of them grey."""
    top = root / TINY
    lines = []
    for number, kind in enumerate(KINDS):
        (top / "train" / kind / "images").mkdir(parents=True)
        for image in range(11):
            shape = (64, 64) if image == 3 else (64, 64, 3)
            content = jpeg(rng.integers(0, 256, shape, dtype=np.uint8))
            (top / "train" / kind / "images" / f"{kind}_{image}.JPEG").write_bytes(content)
        (top / "train" / kind / f"{kind}_boxes.txt").write_text("")
        lines += [f"val_{10 * image + number}.JPEG\t{kind}\t0\t0\t9\t9\n" for image in range(2)]
    (top / "val" / "images").mkdir(parents=True)
    for line in lines:
        content = jpeg(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
        (top / "val" / "images" / line.split("\t")[0]).write_bytes(content)
    (top / "wnids.txt").write_text("\n".join(KINDS) + "\n")
    (top / "val" / "val_annotations.txt").write_text("".join(lines))
    (top / "test" / "images").mkdir(parents=True)
    (top / "test" / "images" / "test_0.JPEG").write_bytes(content)


def write_five(root: Path) -> None:
    for write in (write_cifar10, write_mnist, write_svhn, write_notmnist, write_fashion):
        write(root)


def write_nothing(root: Path) -> None:
    """For data sets without files."""


TRAINING = " the cat sat on the mat \n\n the <unk> sat \n"
VALIDATION = " the dog sat \n"


def write_words(folder: Path, training: str, validation: str) -> None:
    folder.mkdir(parents=True)
    (folder / training).write_bytes(TRAINING.encode())
    (folder / validation).write_bytes(VALIDATION.encode())


def write_ptb(root: Path) -> None:
    write_words(root / "simple-examples" / "data", "ptb.train.txt", "ptb.valid.txt")


def write_wikitext2(root: Path) -> None:
    write_words(root / "wikitext-2", "wiki.train.tokens", "wiki.valid.tokens")


def write_wikitext103(root: Path) -> None:
    write_words(root / "wikitext-103", "wiki.train.tokens", "wiki.valid.tokens")


def write_texts(root: Path) -> None:
    """A text in one piece, and one that comes with its split."""
    write_words(root / "texts", "wiki.train.raw", "wiki.valid.raw")
    (root / "texts" / "wiki.test.raw").write_text("unseen")
    (root / "texts" / "alice.txt").write_text("Alice was beginning to get very tired")


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "digits": write_nothing,
    "mnist": write_mnist,
    "fashion_mnist": write_fashion,
    "emnist": write_emnist,
    "notmnist": write_notmnist,
    "cifar10": write_cifar10,
    "cifar100": write_cifar100,
    "svhn": write_svhn,
    "tinyimagenet": write_tiny,
    "five_datasets": write_five,
    "five_datasets_padded": write_five,
    "bit_patterns": write_nothing,
    "books": write_nothing,
    "text_files": write_texts,
    "ptb": write_ptb,
    "wikitext2": write_wikitext2,
    "wikitext103": write_wikitext103,
}
"""How to write a small copy of each registered data set."""

OF_TEXT = {"books", "text_files", "ptb", "wikitext2", "wikitext103"}
"""Those that are tokens rather than images."""


def pack_zip(archive: Path, folder: Path, top: str) -> Path:
    """Zip a folder; names begin with ``top``."""
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*"), reverse=True):
            file.write(path, f"{top}/{path.relative_to(folder)}")
    return archive


def pack_tar(archive: Path, folder: Path, top: str) -> Path:
    """Tar a folder, packed if the name ends with ``gz``; names begin with ``top``."""
    with tarfile.open(archive, "w:gz" if archive.suffix == ".gz" else "w") as file:
        for path in sorted(folder.rglob("*"), reverse=True):
            file.add(path, f"{top}/{path.relative_to(folder)}", recursive=False)
    return archive
