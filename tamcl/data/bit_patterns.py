"""All patterns of twenty bits: inputs of a regression whose target is a fixed network's output."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tamcl.data.base import DataSet, Source

_BITS = 20


class BitPatterns(Source):
    """All 1,048,576 patterns of 20 bits as images of one row, 0 or 255 a pixel; made, not read.

    Image ``i`` is the number ``i`` in binary, the highest bit first. Training and test images are the same and all
    have label 0: a stream gives them targets.

    Examples
    --------
    >>> patterns = BitPatterns().load(Path())
    >>> patterns.train_x.shape, patterns.train_x[5].reshape(-1)[-4:]
    ((1048576, 1, 1, 20), array([  0, 255,   0, 255], dtype=uint8))

    References
    ----------
    S. Dohare et al., "Loss of plasticity in deep continual learning", Nature, 2024,
    https://doi.org/10.1038/s41586-024-07711-7
    """

    classes = 1
    official = (2**_BITS, 2**_BITS)

    def check(self, root: Path) -> None:
        """Do nothing: no file is needed."""

    def load(self, root: Path, allow_subset: bool = False) -> DataSet:
        """Make the patterns."""
        numbers = np.arange(2**_BITS, dtype=">u4")
        bits = np.unpackbits(numbers.view(np.uint8).reshape(-1, 4), axis=1)[:, -_BITS:]
        images = (bits * np.uint8(255)).reshape(-1, 1, 1, _BITS)
        labels = np.zeros(len(images), np.int64)
        return DataSet("bit_patterns", images, labels, images, labels, self.classes, self.official)

    def fetch(self, root: Path) -> None:
        """Do nothing: no file is needed."""
