"""MNIST and its likes from their idx files, packed (.gz, as published) or unpacked."""

from __future__ import annotations

import gzip
import io
import zlib
from abc import ABC
from math import prod
from pathlib import Path
from typing import ClassVar

import numpy as np

from tamcl.data.base import DataSet, Labels, Pixels
from tamcl.data.files import FileSource, Form, Published, check_fit
from tamcl.data.tree import read_file, unpack
from tamcl.errors import InputError

_MNIST = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/")
_FASHION = ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",)


MAX_IDX_BYTES = 2**28
"""What an idx file may hold unpacked: EMNIST's training images have 88 MB."""


def idx_files(train: str = "train", test: str = "t10k") -> Form:
    """Return the names of the four idx files of a data set."""
    kinds = ("images-idx3-ubyte", "labels-idx1-ubyte")
    return tuple((f"{part}-{kind}", f"{part}-{kind}.gz") for part in (train, test) for kind in kinds)


def read_idx(path: Path) -> Pixels:
    """Read an idx file of bytes, packed or not.

    Torchvision's reader takes only unpacked files and names neither file nor fault when one is damaged.

    Raises
    ------
    InputError
        If the file is no idx file of bytes, is cut short, or is too long.
    """
    return parse_idx(str(path), read_file(path))


def parse_idx(where: str, content: bytes) -> Pixels:
    """Read the content of an idx file; errors say where it was."""
    if where.endswith(".gz"):
        content = bytes(unpack(where, io.BytesIO(content), MAX_IDX_BYTES))
    if len(content) > MAX_IDX_BYTES:
        raise InputError(f"'{where}' is refused: it holds more than {MAX_IDX_BYTES} bytes")
    shape = idx_shape(where, content)
    start = 4 + 4 * len(shape)
    if len(content) != start + prod(shape):
        promised = "x".join(map(str, shape))
        raise InputError(f"'{where}' is damaged: {len(content) - start} bytes of data, its header says {promised}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()  # torch wants writable memory


def idx_shape(where: str, content: bytes) -> tuple[int, ...]:
    """Return the shape that the header of an idx file promises, from the file's first bytes."""
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise InputError(f"'{where}' is no idx file: it begins with {content[:4].hex(' ') or 'nothing'}, not 00 00 08")
    dimensions = content[3]
    if dimensions not in {1, 3}:
        raise InputError(f"'{where}' is damaged: its header says {dimensions} dimensions, images have 3 and labels 1")
    shape = tuple(np.frombuffer(content[4 : 4 + 4 * dimensions].ljust(4 * dimensions), ">i4").tolist())
    if min(shape) < 0:
        raise InputError(f"'{where}' is damaged: its header says {'x'.join(map(str, shape))}")
    return shape


def _header(where: str, content: bytes) -> bytes:
    try:
        with gzip.open(io.BytesIO(content)) if where.endswith(".gz") else io.BytesIO(content) as file:
            return file.read(16)
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(f"'{where}' is damaged: {error}") from error


class IdxSource(FileSource, ABC):
    """Grey 28x28 images in four idx files."""

    forms: ClassVar[tuple[Form, ...]] = (idx_files(),)

    def decode(self, paths: tuple[Path, ...]) -> DataSet:
        """Read images and labels."""
        (where, train_x), (_, train_y), (where_test, test_x), (_, test_y) = (
            (name, parse_idx(name, content)) for name, content in self.contents(paths)
        )
        return self.dataset(self._pair(where, train_x, train_y), self._pair(where_test, test_x, test_y))

    def tally_files(self, paths: tuple[Path, ...]) -> tuple[int, int]:
        """Count the labels that headers promise."""
        _, train, _, test = (idx_shape(where, _header(where, content)) for where, content in self.contents(paths))
        return train[0], test[0]

    def _pair(self, where: str, images: Pixels, labels: Pixels) -> tuple[Pixels, Labels]:
        pair = images[:, None], labels.astype(np.int64)
        check_fit(where, *pair, (1, 28, 28), self.classes)
        return pair


class MNIST(IdxSource):
    """70,000 grey 28x28 images of handwritten digits.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition",
    Proceedings of the IEEE, 1998, https://doi.org/10.1109/5.726791
    """

    name = "mnist"
    classes = 10
    official = (60_000, 10_000)
    places = ("MNIST/raw",)
    size = 11_594_722
    published = (
        Published("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873", _MNIST),
        Published("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432", _MNIST),
        Published("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3", _MNIST),
        Published("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c", _MNIST),
    )


class FashionMNIST(IdxSource):
    """70,000 grey 28x28 images of ten kinds of clothing.

    References
    ----------
    H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
    Algorithms", 2017, https://arxiv.org/abs/1708.07747
    """

    name = "fashion_mnist"
    classes = 10
    official = (60_000, 10_000)
    places = ("FashionMNIST/raw",)
    size = 30_878_645
    published = (
        Published("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d", _FASHION),
        Published("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe", _FASHION),
        Published("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79", _FASHION),
        Published("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310", _FASHION),
    )


class EMNIST(IdxSource):
    """131,600 grey 28x28 images of handwritten digits and letters in 47 classes.

    The balanced split. Images are stored with rows and columns exchanged; they are left so, as torchvision leaves
    them. The archive of all splits is read as it is, too.

    References
    ----------
    G. Cohen, S. Afshar, J. Tapson, A. van Schaik, "EMNIST: an extension of MNIST to handwritten letters", 2017,
    https://arxiv.org/abs/1702.05373
    """

    name = "emnist"
    classes = 47
    official = (112_800, 18_800)
    places = ("EMNIST/raw",)
    archive = "gzip.zip"
    forms = (idx_files("emnist-balanced-train", "emnist-balanced-test"), ((archive,),))
    size = 561_753_746
    published = (
        Published(archive, "58c8d27c78d21e728a6bc7b3cc06412e", ("https://biometrics.nist.gov/cs_links/EMNIST/",)),
    )
