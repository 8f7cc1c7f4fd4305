"""One image from the bytes of its file."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image

from tamcl.data.base import Pixels


def decode_image(content: bytes, form: str, mode: str, size: tuple[int, int]) -> Pixels:
    """Return the pixels of an image of 8 bits a channel.

    An image of another size is refused by its header, before any pixel is decoded: a file of a few kilobytes may
    declare gigabytes.

    Parameters
    ----------
    content : bytes
    form : {"JPEG", "PNG"}
    mode : {"L", "RGB"}
        What it is converted to.
    size : tuple of int
        Width and height that it must have.

    Raises
    ------
    ValueError
        Saying what is wrong with it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of what is refused here, and of odd metadata, which is not used
        try:
            with Image.open(io.BytesIO(content), formats=[form]) as image:
                if image.size != size:
                    raise ValueError(f"it has {image.width}x{image.height} pixels")
                if image.mode[:1] in {"I", "F"}:  # 16 or 32 bits, which Pillow would cut off rather than scale
                    raise ValueError(f"its pixels are {image.mode}, not of 8 bits")
                return np.asarray(image.convert(mode))
        except Exception as error:  # a damaged image may raise anything
            raise ValueError(" ".join(str(error).split())[:300] or type(error).__name__) from error
