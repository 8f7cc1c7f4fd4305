"""notMNIST, the small one, from its archive of PNGs, the folders in it, or idx files made of them."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np

from tamcl.data.base import DataSet
from tamcl.data.files import Published
from tamcl.data.images import decode_image
from tamcl.data.mnist import IdxSource, idx_files
from tamcl.data.tree import Tree, named_once, open_tree

LETTERS = tuple("ABCDEFGHIJ")
_SITES = ("http://yaroslavvb.com/upload/notMNIST/", "http://commondatastorage.googleapis.com/books1000/")


class NotMNIST(IdxSource):
    """18,724 grey 28x28 images of the letters A to J in many fonts.

    The small, hand-cleaned set. Files that are no image, two of the published 18,726, are left out and counted.

    Notes
    -----
    The set has no official split. The code of TAG shuffles the images and takes the first tenth for the test, but with
    no seed of its own. Assumption: the images, sorted by letter and file name, are shuffled by NumPy's
    ``default_rng(0)``. Idx files keep the split that they come with.

    References
    ----------
    Y. Bulatov, "notMNIST dataset", 2011, http://yaroslavvb.blogspot.com/2011/09/notmnist-dataset.html. P. Malviya,
    B. Ravindran, S. Chandar, "TAG: Task-based Accumulated Gradients for Lifelong learning", 2021,
    https://arxiv.org/abs/2105.05155
    """

    name = "notmnist"
    decoder = 2
    classes = 10
    official = (16_852, 1_872)
    places = ("notMNIST/raw", "notMNIST", "")
    forms = (
        idx_files(),
        (("notMNIST_small.tar.gz", "notMNIST_small.tar"),),
        (("notMNIST_small/",),),
        tuple((f"{letter}/",) for letter in LETTERS),
    )
    size = 8_458_043
    published = (Published("notMNIST_small.tar.gz", None, _SITES),)

    def decode(self, paths: tuple[Path, ...]) -> DataSet:
        """Read images and labels."""
        if len(paths) == len(idx_files()):
            return super().decode(paths)
        images, labels, skipped = [], [], 0
        with open_tree(*paths) as tree:
            for letter, name in _letters(tree):
                content = tree.read(name)
                try:
                    images.append(decode_image(content, "PNG", "L", (28, 28)))
                    labels.append(LETTERS.index(letter))
                except ValueError:
                    skipped += 1
        order = np.random.default_rng(0).permutation(len(labels))
        x, y = np.array(images, np.uint8).reshape(-1, 1, 28, 28)[order], np.array(labels, np.int64)[order]
        tests = len(labels) // 10
        return self.dataset((x[tests:], y[tests:]), (x[:tests], y[:tests]), skipped)

    def tally_files(self, paths: tuple[Path, ...]) -> tuple[int, int]:
        """Count the files of images, by decoding these small ones: some are none."""
        if len(paths) == len(idx_files()):
            return super().tally_files(paths)
        return self.decode(paths).counts


def _letters(tree: Tree) -> list[tuple[str, str]]:
    """Return the letter and the file of each image, sorted by them; an ending in capitals makes no difference."""
    paths = (PurePosixPath(name) for name in tree.names if name.lower().endswith(".png"))
    files = (path for path in paths if path.parent.name in LETTERS)
    found = named_once(((path.parent.name, f"{path.stem}.png"), str(path)) for path in files)
    return [(letter, name) for (letter, _), name in found.items()]
