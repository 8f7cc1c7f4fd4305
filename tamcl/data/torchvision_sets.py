"""A data set of torchvision, from files that are there."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np

from tamcl.data.arrays import dataset, split
from tamcl.data.base import DataSet, Labels, Pixels
from tamcl.errors import InputError, reason, shown, unknown_name


def from_torchvision(name: str, root: str | Path, *, resize: tuple[int, int] | None = None, **options: Any) -> DataSet:
    """Return a data set for classification of ``torchvision.datasets``; nothing is downloaded.

    Parameters
    ----------
    name : str
        The class's name, as "KMNIST". Its training and test part are read; of one without, a fifth of each class is for
        tests.
    root : str or Path
        The folder that torchvision has put the files below.
    resize : tuple of int, (height, width), optional
        What each image is resized to; as they are if absent, which must be of one size then.
    **options
        Further arguments of the class.

    Raises
    ------
    InputError
        If there is none of that name, its files are not there, or it is none of images and classes.

    Examples
    --------
    >>> data = from_torchvision("FakeData", ".", size=20, image_size=(3, 8, 8), num_classes=2)
    >>> data.train_x.shape, data.counts
    ((16, 3, 8, 8), (16, 4))
    """
    from torchvision import datasets

    cls = vars(datasets).get(name)
    known = [key for key, each in vars(datasets).items() if isinstance(each, type)]
    if not isinstance(cls, type) or not issubclass(cls, datasets.VisionDataset):
        raise unknown_name("data set of torchvision", name, known)
    asked = inspect.signature(cls).parameters
    given: dict[str, Any] = {key: value for key, value in (("root", str(root)), ("download", False)) if key in asked}
    parts: list[dict[str, Any]] = [{}]
    if "train" in asked:
        parts = [{"train": True}, {"train": False}]
    elif "split" in asked and "split" not in options:
        parts = [{"split": "train"}, {"split": "test"}]
    read = [_read(name, cls, {**given, **part, **options}, resize) for part in parts]
    train, test = read if len(read) == 2 else split(read[0], share=0.2, seed=0)
    return dataset(name, train, test, classes=int(max(train[1].max(), test[1].max())) + 1)


def _read(name: str, cls: Any, options: dict[str, Any], resize: tuple[int, int] | None) -> tuple[Pixels, Labels]:
    try:
        images = cls(**options)
    except Exception as error:  # torchvision's classes raise several kinds where files are missing or damaged
        call = f"torchvision.datasets.{name}({options.get('root', '')!r}, ..., download=True)"
        raise InputError(
            f"torchvision's {name} cannot be read with {shown(options)}: {reason(error)} (nothing is downloaded here; "
            f"where files are missing, {call} gets them)"
        ) from error
    pixels, labels = [], []
    for image, label in images:
        if not hasattr(image, "convert") or not isinstance(label, int | np.integer):
            what = f"{type(image).__name__} with {type(label).__name__}"
            raise InputError(f"torchvision's {name}: gives {what}; must be images with the number of a class")
        plain = image if image.mode == "L" else image.convert("RGB")
        pixels.append(np.asarray(plain if resize is None else plain.resize(resize[::-1], 2)))  # 2 is bilinear
        labels.append(int(label))
    if len(shapes := {each.shape for each in pixels}) != 1:
        raise InputError(f"torchvision's {name}: has images of {len(shapes)} shapes; resize=(height, width) makes one")
    stacked = np.stack(pixels)
    x = stacked[:, None] if stacked.ndim == 3 else np.ascontiguousarray(stacked.transpose(0, 3, 1, 2))
    return x, np.array(labels, dtype=np.int64)
