"""SVHN from its MATLAB files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tamcl.data.base import DataSet, Labels, Pixels
from tamcl.data.files import FileSource, Published, check_fit
from tamcl.data.mat import read_mat
from tamcl.errors import InputError

_SITE = ("http://ufldl.stanford.edu/housenumbers/",)


class SVHN(FileSource):
    """99,289 colour 32x32 images of the digits of house numbers.

    The training and the test part; the 531,131 extra images are not used. The digit 0, labelled 10 in the files, has
    label 0.

    References
    ----------
    Y. Netzer et al., "Reading digits in natural images with unsupervised feature learning", 2011,
    http://ufldl.stanford.edu/housenumbers/nips2011_housenumbers.pdf
    """

    name = "svhn"
    decoder = 2
    classes = 10
    official = (73_257, 26_032)
    places = ("svhn", "SVHN", "")
    forms = ((("train_32x32.mat",), ("test_32x32.mat",)),)
    size = 182_040_794 + 64_275_384
    published = (
        Published("train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373", _SITE),
        Published("test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3", _SITE),
    )

    def decode(self, paths: tuple[Path, ...]) -> DataSet:
        """Read images and labels."""
        train, test = (self._pair(path) for path in paths)
        return self.dataset(train, test)

    def tally_files(self, paths: tuple[Path, ...]) -> tuple[int, int]:
        """Count the labels."""
        train, test = (len(self._pair(path)[1]) for path in paths)
        return train, test

    def _pair(self, path: Path) -> tuple[Pixels, Labels]:
        try:
            arrays = read_mat(path)
            images = np.ascontiguousarray(arrays["X"].transpose(3, 2, 0, 1))
            given = arrays["y"].reshape(-1)
        except InputError:
            raise
        except Exception as error:  # a damaged file may raise anything
            raise InputError(f"'{path}' is no file of SVHN: {' '.join(repr(error).split())[:300]}") from error
        with np.errstate(invalid="ignore"):
            labels = given.astype(np.int64)
        if (labels != given).any():
            raise InputError(f"'{path}' does not fit its labels: some are no whole numbers")
        labels[labels == 10] = 0
        check_fit(str(path), images, labels, (3, 32, 32), self.classes)
        return images, labels
