"""The handwritten digits that come with scikit-learn: real data without a download."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from tamcl.data.base import DataSet, Labels, Pixels, Source


class Digits(Source):
    """1,797 real 8x8 grey images of handwritten digits, installed with scikit-learn.

    The set has no official split: every fifth image of each class is a test image. Grey levels 0 to 16 are spread over
    0 to 255.

    Examples
    --------
    >>> digits = Digits().load(Path())
    >>> digits.train_x.shape, digits.train_x.dtype, len(digits.test_y)
    ((1442, 1, 8, 8), dtype('uint8'), 355)

    References
    ----------
    E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998,
    https://doi.org/10.24432/C50P49
    """

    classes = 10
    official = (1442, 355)

    def check(self, root: Path) -> None:
        """Do nothing: the images are part of an installed package."""

    def load(self, root: Path, allow_subset: bool = False) -> DataSet:
        """Read the images from scikit-learn."""
        levels, labels = _read()
        images = np.round(levels * (255 / 16)).astype(np.uint8)[:, None]
        test = np.zeros(len(labels), dtype=bool)
        for label in range(self.classes):
            test[np.flatnonzero(labels == label)[4::5]] = True
        return DataSet("digits", images[~test], labels[~test], images[test], labels[test], self.classes, self.official)

    def fetch(self, root: Path) -> None:
        """Do nothing: the images are part of an installed package."""


def _read() -> tuple[Pixels, Labels]:
    """Return the grey levels, (n, 8, 8), and the labels, from scikit-learn's file: to import it takes a second."""
    package = find_spec("sklearn")
    file = Path(package.origin if package and package.origin else "").parent / "datasets" / "data" / "digits.csv.gz"
    if file.is_file():
        rows = np.loadtxt(file, delimiter=",", dtype=np.uint8)
        return rows[:, :64].reshape(-1, 8, 8), rows[:, 64].astype(np.int64)
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images.astype(np.uint8), bunch.target.astype(np.int64)
