"""A data set from a folder of image files, in which each class has a folder of its own."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from tamcl.data.arrays import dataset, split
from tamcl.data.base import DataSet, Labels, Pixels
from tamcl.data.tree import is_litter, walk
from tamcl.errors import InputError, reason

ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp"})
"""Of files that are read; others in the folders are not."""

TESTS = ("test", "val", "valid", "validation")
"""Folders beside ``train`` that the test images may be in, the first that is there."""


def from_folder(
    folder: str | Path,
    *,
    size: int | tuple[int, int],
    mode: Literal["RGB", "L"] = "RGB",
    test: float = 0.2,
    seed: int = 0,
    name: str = "",
) -> DataSet:
    """Return a data set of the image files of a folder, which has a folder for each class.

    The classes are numbered in the order of their folders' names. Where there are folders ``train`` and ``test`` (or
    ``val``, ``valid``, ``validation``), those have the classes' folders.

    Parameters
    ----------
    folder : str or Path
    size : int, or tuple of int, (height, width)
        What each image is resized to, bilinearly and whatever its proportions, as files of one folder may differ.
    mode : {"RGB", "L"}
        Colour, or grey.
    test : float
        The share of each class that is for tests, drawn at random, where there is no folder of tests.
    seed : int
        Decides which are for tests.
    name : str
        What results call it; the folder's name if empty.

    Raises
    ------
    InputError
        If the folder is not there or an image cannot be read, with its file.
    """
    folder = Path(folder)
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise InputError(f"size = {size!r}: must be at least 1")
    if mode not in ("RGB", "L"):
        raise InputError(f"mode = {mode!r}: must be 'RGB' or 'L'")
    if not folder.is_dir():
        raise InputError(f"no folder '{folder}', which is to have a folder of images for each class")
    tests = next((folder / part for part in TESTS if (folder / part).is_dir()), None)
    is_split = (folder / "train").is_dir() and tests is not None
    names = _classes(folder / "train" if is_split else folder)
    if is_split and tests is not None:
        if (there := _classes(tests)) != names:
            raise InputError(f"'{tests}' has the classes {', '.join(there)}, '{folder / 'train'}' {', '.join(names)}")
        parts = _read(folder / "train", names, (height, width), mode), _read(tests, names, (height, width), mode)
    else:
        parts = split(_read(folder, names, (height, width), mode), share=test, seed=seed)  # type: ignore[assignment]
    return dataset(name or folder.name, *parts, classes=len(names))


def _classes(folder: Path) -> list[str]:
    names = sorted(each.name for each in folder.iterdir() if each.is_dir() and not is_litter(each.name))
    if not names:
        raise InputError(f"'{folder}' has no folders, of which each is to hold the images of a class")
    return names


def _read(folder: Path, names: list[str], size: tuple[int, int], mode: str) -> tuple[Pixels, Labels]:
    images, labels = [], []
    for label, name in enumerate(names):
        files = sorted(Path(each.path) for each in walk(folder / name) if Path(each.path).suffix.lower() in ENDINGS)
        if not files:
            raise InputError(f"'{folder / name}' has no images ({', '.join(sorted(ENDINGS))})")
        images += [_decode(file, size, mode) for file in files]
        labels += [label] * len(files)
    pixels = np.stack(images)
    return pixels[:, None] if mode == "L" else np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)), np.array(labels)


def _decode(file: Path, size: tuple[int, int], mode: str) -> Pixels:
    """Return the pixels of an image of 8 bits a channel, resized."""
    height, width = size
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(file) as image:
                if image.mode[:1] in {"I", "F"}:  # 16 or 32 bits, which Pillow would cut off rather than scale
                    raise ValueError(f"its pixels are {image.mode}, not of 8 bits")
                plain = image.convert(mode)
        except Exception as error:  # a damaged image may raise anything
            raise InputError(f"'{file}' is no image that can be read: {reason(error)}") from error
    if plain.size != (width, height):
        plain = plain.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(plain)
