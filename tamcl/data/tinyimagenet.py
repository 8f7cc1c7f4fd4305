"""TinyImageNet straight from its zip, or from the folder that is in it."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from tamcl.data.base import DataSet, Labels, Pixels
from tamcl.data.files import FileSource, Published
from tamcl.data.images import decode_image
from tamcl.data.tree import Tree, named_once, open_tree
from tamcl.errors import InputError

_TOP = "tiny-imagenet-200"


class TinyImageNet(FileSource):
    """110,000 colour 64x64 images of 200 kinds of things.

    The labelled validation images are the test set, as everywhere in the field. Classes are numbered by the sorted
    names of their folders, and images come sorted by name, whatever the file system's order. The few grey JPEGs become
    colour images of three equal channels. Validation images may lie side by side, as published, or in a folder for each
    class; an ending may be ``.JPEG``, ``.jpeg`` or ``.jpg``: the same images are the same data set.

    References
    ----------
    Stanford's course CS231n, "Tiny ImageNet Challenge", http://cs231n.stanford.edu/tiny-imagenet-200.zip. J. Deng et
    al., "ImageNet: a large-scale hierarchical image database", 2009, https://doi.org/10.1109/CVPR.2009.5206848
    """

    name = "tinyimagenet"
    decoder = 2
    classes = 200
    official = (100_000, 10_000)
    places = ("",)
    forms = (((f"{_TOP}.zip",),), ((f"{_TOP}/",),))
    size = 248_100_043
    published = (Published(f"{_TOP}.zip", "90528d7ca1a48142e341f4ef8d21d0de", ("http://cs231n.stanford.edu/",)),)

    def decode(self, paths: tuple[Path, ...]) -> DataSet:
        """Read images and labels."""
        with open_tree(*paths) as tree:
            kinds = sorted(set(_text(tree, f"{_TOP}/wnids.txt").split()))
            number = {kind: label for label, kind in enumerate(kinds[: self.classes])}
            train = named_once(((name.split("/")[2], _stem(name)), name) for name in _jpegs(tree, "train"))
            test = named_once((_stem(name), name) for name in _jpegs(tree, "val"))
            kind_of_test = _kinds_of_test(tree, test, number)
            try:
                train_y = [number[kind] for kind, _ in train]
                test_y = [number[kind_of_test[stem]] for stem in test]
            except KeyError as error:
                raise InputError(f"'{paths[0]}' has images of {error}, which no list names") from error
            return self.dataset(_decode(train.values(), train_y, tree), _decode(test.values(), test_y, tree))

    def tally_files(self, paths: tuple[Path, ...]) -> tuple[int, int]:
        """Count the files of images."""
        with open_tree(*paths) as tree:
            return len(_jpegs(tree, "train")), len(_jpegs(tree, "val"))


def _jpegs(tree: Tree, part: str) -> list[str]:
    endings = (".jpeg", ".jpg")
    return [name for name in tree.names if name.startswith(f"{_TOP}/{part}/") and name.lower().endswith(endings)]


def _stem(name: str) -> str:
    return PurePosixPath(name).stem


def _kinds_of_test(tree: Tree, test: Mapping[str, str], kinds: Container[str]) -> dict[str, str]:
    """Return the kind of each validation image, by the list of them and by the folder it is in."""
    place = f"{_TOP}/val/val_annotations.txt"
    below = {stem: name.split("/")[2] for stem, name in test.items()}
    by_folder = {stem: kind for stem, kind in below.items() if kind in kinds}
    if place not in tree.names and len(by_folder) == len(test):  # who sorts them into folders may remove the list
        return by_folder
    lines = (line.split("\t") for line in _text(tree, place).splitlines() if "\t" in line)
    listed = {_stem(line[0]): line[1] for line in lines}
    for stem, kind in by_folder.items():
        if listed.setdefault(stem, kind) != kind:
            raise InputError(f"'{test[stem]}' is in a folder of '{kind}', but '{place}' says '{listed[stem]}'")
    return {stem: listed.get(stem, PurePosixPath(name).name) for stem, name in test.items()}


def _text(tree: Tree, name: str) -> str:
    try:
        return tree.read(name).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"'{name}' is no text: {error}") from error


def _decode(names: Collection[str], labels: Sequence[int], tree: Tree) -> tuple[Pixels, Labels]:
    images = np.empty((len(names), 3, 64, 64), np.uint8)
    for row, name in enumerate(names):
        content = tree.read(name)
        try:
            images[row] = decode_image(content, "JPEG", "RGB", (64, 64)).transpose(2, 0, 1)
        except ValueError as error:
            raise InputError(f"'{name}' is no readable image of 64x64 pixels: {error}") from error
    return images, np.array(labels, np.int64)
