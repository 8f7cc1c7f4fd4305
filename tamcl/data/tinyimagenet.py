"""TinyImageNet straight from its zip, or from the folder that is in it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tamcl.data.base import DataSet, Labels, Pixels
from tamcl.data.files import FileSource, Published
from tamcl.data.tree import Read, open_tree
from tamcl.errors import InputError

_TOP = "tiny-imagenet-200"


class TinyImageNet(FileSource):
    """110,000 colour 64x64 images of 200 kinds of things.

    The labelled validation images are the test set, as everywhere in the field. Classes are numbered by the sorted
    names of their folders, and images come sorted by name, whatever the file system's order. The few grey JPEGs become
    colour images of three equal channels.

    References
    ----------
    Stanford's course CS231n, "Tiny ImageNet Challenge", http://cs231n.stanford.edu/tiny-imagenet-200.zip. J. Deng et
    al., "ImageNet: a large-scale hierarchical image database", 2009, https://doi.org/10.1109/CVPR.2009.5206848
    """

    name = "tinyimagenet"
    classes = 200
    official = (100_000, 10_000)
    places = ("",)
    forms = (((f"{_TOP}.zip",),), ((f"{_TOP}/",),))
    size = 248_100_043
    published = (Published(f"{_TOP}.zip", "90528d7ca1a48142e341f4ef8d21d0de", ("http://cs231n.stanford.edu/",)),)

    def decode(self, paths: tuple[Path, ...]) -> DataSet:
        """Read images and labels."""
        with open_tree(*paths) as tree:
            kinds = sorted(tree.read(f"{_TOP}/wnids.txt").decode().split())
            number = {kind: label for label, kind in enumerate(kinds[: self.classes])}
            annotations = tree.read(f"{_TOP}/val/val_annotations.txt").decode().splitlines()
            kind_of_test = dict(line.split("\t")[:2] for line in annotations if "\t" in line)
            train, test = (
                [name for name in tree.names if name.startswith(f"{_TOP}/{part}/") and name.endswith(".JPEG")]
                for part in ("train", "val")
            )
            try:
                train_y = [number[name.split("/")[2]] for name in train]
                test_y = [number[kind_of_test[name.rpartition("/")[2]]] for name in test]
            except KeyError as error:
                raise InputError(f"'{paths[0]}' has images of {error}, which no list names") from error
            return self.dataset(_decode(train, train_y, tree.read), _decode(test, test_y, tree.read))


def _decode(names: Sequence[str], labels: Sequence[int], read: Read) -> tuple[Pixels, Labels]:
    images = np.empty((len(names), 3, 64, 64), np.uint8)
    for row, name in enumerate(names):
        try:
            with Image.open(io.BytesIO(read(name)), formats=["JPEG"]) as image:
                images[row] = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
        except (OSError, SyntaxError, ValueError) as error:
            raise InputError(f"'{name}' is no readable image of 64x64 pixels: {error}") from error
    return images, np.array(labels, np.int64)
