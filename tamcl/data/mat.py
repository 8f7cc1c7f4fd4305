"""Numeric arrays from MATLAB 5 files. scipy's reader trusts what a file declares: a damaged one ends the process."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamcl.data.tree import read_file

MAX_BYTES = 2**28
"""What a file may hold unpacked: the published training images of SVHN have 225 MB."""

_MATRIX, _PACKED, _MOST_VARIABLES = 14, 15, 100
_COMPLEX = 0x800
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_NUMERIC_CLASSES = range(6, 16)


def read_mat(path: Path) -> dict[str, NDArray[Any]]:
    """Return the real numeric arrays of a file by their names; tables, texts and the like are left out.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        If the file cannot be read.
    ValueError
        If it is no such file, or a damaged one, or holds more than ``MAX_BYTES``.

    References
    ----------
    MathWorks, "MAT-File Format", https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf
    """
    content = memoryview(read_file(path))
    order = {b"IM": "<", b"MI": ">"}.get(bytes(content[126:128]))
    if order is None or not bytes(content[:10]) == b"MATLAB 5.0":
        raise ValueError("it does not begin as a MATLAB 5.0 file does")
    arrays: dict[str, NDArray[Any]] = {}
    at, room = 128, MAX_BYTES
    while at < len(content):
        kind, part, at = _element(content, at, order)
        if kind == _PACKED:
            unpacked = zlib.decompressobj().decompress(part, room + 1)
            kind, part, _ = _element(memoryview(unpacked), 0, order) if len(unpacked) <= room else (kind, part, at)
        room -= len(part)
        if room < 0 or kind == _PACKED or len(arrays) == _MOST_VARIABLES:
            raise ValueError(f"it holds more than {MAX_BYTES} bytes or {_MOST_VARIABLES} variables")
        if kind != _MATRIX:
            raise ValueError(f"it holds something of kind {kind}, where a variable is expected")
        arrays |= _matrix(part, order)
    return arrays


def _element(content: memoryview, at: int, order: str) -> tuple[int, memoryview, int]:
    """Return an element's kind, what is in it, and where the next one begins."""
    kind, length = (int(number) for number in np.frombuffer(content[at : at + 8], f"{order}u4"))
    if kind >> 16:  # four bytes or fewer, in place of their number
        kind, length, start, end = kind & 0xFFFF, kind >> 16, at + 4, at + 8
    else:
        start = at + 8
        end = start + (length if kind == _PACKED else -(-length // 8) * 8)
    if length > len(content) - start:
        raise ValueError(f"it is cut short: {length} bytes are promised, {len(content) - start} are there")
    return kind, content[start : start + length], end


def _matrix(content: memoryview, order: str) -> dict[str, NDArray[Any]]:
    """Return an array by its name, or nothing if it is not one of real numbers."""
    parts, at = [], 0
    for _ in range(4):  # flags, shape, name, values
        kind, part, at = _element(content, at, order)
        parts.append((kind, part))
        if len(parts) == 1:
            flags = int(np.frombuffer(part, f"{order}u4")[0])
            if flags & 0xFF not in _NUMERIC_CLASSES or flags & _COMPLEX:
                return {}
    (_, shape), (_, name), (kind, values) = parts[1:]
    sizes = np.frombuffer(shape, f"{order}i4").tolist()
    if len(sizes) > 8 or min(sizes) < 0:
        raise ValueError(f"an array has shape {sizes[:8]}")
    array = np.frombuffer(values, f"{order}{_TYPES[kind]}").reshape(sizes, order="F")
    return {bytes(name).decode("latin1"): array}
