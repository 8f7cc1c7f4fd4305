"""MNIST and Fashion-MNIST from their idx files, packed (.gz, as published) or unpacked."""

from __future__ import annotations

import gzip
import zlib
from abc import ABC
from math import prod
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tamcl.data.base import DataSet, Source
from tamcl.errors import InputError

_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read an idx file of bytes.

    Torchvision's reader takes only unpacked files and names neither file nor fault when one is damaged.

    Raises
    ------
    InputError
        If the file is no idx file of bytes, is cut short, or is too long.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(f"'{path}' is damaged: {error}") from error
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise InputError(f"'{path}' is no idx file: it begins with {content[:4].hex(' ') or 'nothing'}, not 00 00 08")
    dimensions = content[3]
    start = 4 + 4 * dimensions
    shape = tuple(int(size) for size in np.frombuffer(content[4:start].ljust(start - 4), ">i4"))
    if len(content) != start + prod(shape):
        promised = "x".join(map(str, shape))
        raise InputError(f"'{path}' is damaged: {len(content) - start} bytes of data, its header says {promised}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()  # torch wants writable memory


class _IdxSource(Source, ABC):
    """Four idx files in ``ROOT/<folder>/raw``, the layout of torchvision."""

    name: ClassVar[str]
    folder: ClassVar[str]
    classes = 10
    official = (60_000, 10_000)

    def _path(self, root: Path, file: str) -> Path | None:
        raw = root / self.folder / "raw"
        return next((path for path in (raw / file, raw / f"{file}.gz") if path.is_file()), None)

    def check(self, root: Path) -> None:
        for file in _FILES:
            if self._path(root, file) is None:
                place = root / self.folder / "raw" / file
                raise InputError(
                    f"data set '{self.name}': no file '{place}' or '{place.name}.gz'; name the folder that holds "
                    f"{self.folder}/raw with --data-dir or $TAMCL_DATA_DIR, or run: tamcl data fetch {self.name}"
                )

    def load(self, root: Path) -> DataSet:
        self.check(root)
        paths = [path for file in _FILES if (path := self._path(root, file))]
        train_x, train_y, test_x, test_y = (read_idx(path) for path in paths)
        for images, labels, path in ((train_x, train_y, paths[0]), (test_x, test_y, paths[2])):
            if images.ndim != 3 or len(images) != len(labels) or labels.max(initial=0) >= self.classes:
                raise InputError(f"'{path}' does not fit its labels: images {images.shape}, labels {labels.shape}")
        return DataSet(
            self.name,
            train_x[:, None],
            train_y.astype(np.int64),
            test_x[:, None],
            test_y.astype(np.int64),
            self.classes,
            self.official,
        )

    def fetch(self, root: Path) -> None:
        import torchvision.datasets

        getattr(torchvision.datasets, self.folder)(root, download=True)


class MNIST(_IdxSource):
    """70,000 grey 28x28 images of handwritten digits.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition",
    Proceedings of the IEEE, 1998, https://doi.org/10.1109/5.726791
    """

    name = "mnist"
    folder = "MNIST"


class FashionMNIST(_IdxSource):
    """70,000 grey 28x28 images of ten kinds of clothing.

    References
    ----------
    H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
    Algorithms", 2017, https://arxiv.org/abs/1708.07747
    """

    name = "fashion_mnist"
    folder = "FashionMNIST"
