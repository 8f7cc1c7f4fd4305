"""5-dataset: five data sets of ten classes as one of fifty, the sequence that continual learning is compared on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tamcl.data.base import DataSet, Pixels
from tamcl.data.cifar import CIFAR10
from tamcl.data.decoded import DecodedSource
from tamcl.data.files import FileSource
from tamcl.data.mnist import MNIST, FashionMNIST
from tamcl.data.notmnist import NotMNIST
from tamcl.data.svhn import SVHN
from tamcl.errors import InputError

PARTS: tuple[type[FileSource], ...] = (CIFAR10, MNIST, SVHN, NotMNIST, FashionMNIST)


class FiveDatasets(DecodedSource):
    """CIFAR-10, MNIST, SVHN, notMNIST and Fashion-MNIST, each image 32x32 in colour, in 50 classes.

    Classes 0 to 9 are CIFAR-10's, 10 to 19 MNIST's and so on, in TAG's order. Grey images are resized to 32x32
    (bilinear, by Pillow, as torchvision resizes an image) and their one channel is copied to three.

    Notes
    -----
    Departure: TAG resizes notMNIST by OpenCV, whose bilinear rounding may differ by a grey level. The order of tasks
    and the normalisation are options of a stream.

    References
    ----------
    P. Malviya, B. Ravindran, S. Chandar, "TAG: Task-based Accumulated Gradients for Lifelong learning", 2021,
    https://arxiv.org/abs/2105.05155. S. Ebrahimi et al., "Adversarial Continual Learning", 2020,
    https://arxiv.org/abs/2003.09553
    """

    name = "five_datasets"
    decoder = 2
    classes = 50
    official = (sum(part.official[0] for part in PARTS), sum(part.official[1] for part in PARTS))
    size = sum(part.size for part in PARTS)

    def find(self, root: Path) -> tuple[Path, ...]:
        """Return the files of all five."""
        return tuple(path for part in PARTS for path in part().find(root))

    def read(self, root: Path) -> DataSet:
        """Decode the five, and say in what they are not the published ones."""
        parts = [part().read(root) for part in PARTS]
        train_x, test_x = (self._together([getattr(part, name) for part in parts]) for name in ("train_x", "test_x"))
        train_y, test_y = (
            np.concatenate([getattr(part, name) + 10 * offset for offset, part in enumerate(parts)])
            for name in ("train_y", "test_y")
        )
        skipped = sum(part.skipped for part in parts)
        differences = tuple(f"{part.name}: {difference}" for part in parts for difference in part.differences)
        arrays = train_x, train_y, test_x, test_y
        return DataSet(self.name, *arrays, self.classes, self.official, skipped, differences)

    def tally(self, root: Path) -> tuple[int, int]:
        """Count the images of the five."""
        train, test = zip(*(part().count(root) for part in PARTS), strict=True)
        return sum(train), sum(test)

    def enlarge(self, images: Pixels) -> Pixels:
        """Return grey images of 28x28 pixels as 32x32."""
        large = np.empty((len(images), 1, 32, 32), np.uint8)
        for row, image in enumerate(images[:, 0]):
            large[row, 0] = np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR))
        return large

    def _together(self, parts: Sequence[Pixels]) -> Pixels:
        """Return all images as 32x32 in colour; one channel fills three."""
        images = np.empty((sum(map(len, parts)), 3, 32, 32), np.uint8)
        start = 0
        for part in parts:
            images[start : start + len(part)] = part if part.shape[1:] == (3, 32, 32) else self.enlarge(part)
            start += len(part)
        return images

    def fetch(self, root: Path) -> None:
        """Download the files of all five."""
        for part in PARTS:
            part().fetch(root)

    def import_from(self, path: Path, root: Path, allow_subset: bool = False) -> DataSet:
        """Refuse: each of the five is imported by its own name."""
        names = ", ".join(part.name for part in PARTS)
        raise InputError(f"data set '{self.name}' is made of others; import each of {names}")


class FiveDatasetsPadded(FiveDatasets):
    """CIFAR-10, MNIST, SVHN, notMNIST and Fashion-MNIST in 50 classes, grey images padded by 2 rather than resized.

    Assumption: the code of GPM pads MNIST and Fashion-MNIST; notMNIST is treated alike. The five stand in TAG's order
    here, too; the order of tasks is an option of a stream.

    References
    ----------
    G. Saha, I. Garg, K. Roy, "Gradient Projection Memory for Continual Learning", 2021,
    https://arxiv.org/abs/2103.09762
    """

    name = "five_datasets_padded"

    def enlarge(self, images: Pixels) -> Pixels:
        """Return grey images of 28x28 pixels as 32x32."""
        return np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)))
