"""Write the files of MNIST with fewer training images, drawn at random: what are images worth that somebody lacks?

From the root of the repository, for 48,000 of the images in $TAMCL_DATA_DIR::

    python analysis/fewer_images.py 48000 out/published/48000
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np

from tamcl.data.base import data_root
from tamcl.data.mnist import MNIST


def keep(count: int, folder: Path) -> None:
    """Draw training images, and write them in their order as MNIST's files below a folder."""
    data = MNIST().load(data_root(), allow_subset=True)
    chosen = np.sort(np.random.default_rng(0).permutation(len(data.train_y))[:count])
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    parts = {"train": (data.train_x[chosen], data.train_y[chosen]), "t10k": (data.test_x, data.test_y)}
    for name, (images, labels) in parts.items():
        write(raw / f"{name}-images-idx3-ubyte.gz", images[:, 0])
        write(raw / f"{name}-labels-idx1-ubyte.gz", labels)


def write(path: Path, values: np.ndarray) -> None:
    """Write bytes in the format of MNIST: two zeros, the type, the number of axes, their lengths, the bytes."""
    lengths = np.array(values.shape, ">u4").tobytes()
    path.write_bytes(gzip.compress(bytes([0, 0, 8, values.ndim]) + lengths + values.astype(np.uint8).tobytes(), 1))


if __name__ == "__main__":
    keep(int(sys.argv[1]), Path(sys.argv[2]))
