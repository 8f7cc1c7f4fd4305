"""Files that are small and declare something huge, or that were made to harm: one line, little memory, little time."""

from __future__ import annotations

import gzip
import json
import pickle
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.layouts import (
    LAYOUTS,
    TINY,
    jpeg,
)

GIGABYTES = 2**32


def header(*shape: int, kind: int = 8, dimensions: int | None = None) -> bytes:
    return bytes([0, 0, kind, len(shape) if dimensions is None else dimensions]) + struct.pack(
        f">{len(shape)}i", *shape
    )


def packed_zeros(size: int, before: bytes = b"") -> bytes:
    """A gz file of that many zeros, packed a part at a time."""
    return gzip.compress(before) + gzip.compress(bytes(2**24)) * (size // 2**24)


def deflated_zeros(size: int, before: bytes = b"") -> bytes:
    """The same as one zlib stream."""
    packer = zlib.compressobj()
    start = packer.compress(before) + packer.flush(zlib.Z_FULL_FLUSH)
    part = packer.compress(bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + part * (size // 2**24) + packer.flush()


def large_png(width: int, height: int) -> bytes:
    """A grey PNG that has no more than a header."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + b"\0" * 9


def large_jpeg(width: int, height: int) -> bytes:
    content = bytearray(jpeg(np.zeros((64, 64, 3), np.uint8)))
    at = content.index(b"\xff\xc0")  # start of frame: length, bits, height, width
    content[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def laughs(levels: int = 40, kind: type = list) -> Any:
    """Something that holds itself two to the power of its levels times."""
    value: Any = kind()
    for _ in range(levels):
        value = kind((value, value))
    return value


def mat(name: str, values: bytes, shape: tuple[int, ...], *, promised: int | None = None, flags: int = 9) -> bytes:
    """A variable of bytes, in a file of MATLAB 5; its values may be fewer than it promises."""

    def element(kind: int, content: bytes, length: int | None = None) -> bytes:
        start = struct.pack("<II", kind, len(content) if length is None else length)
        return start + content + b"\0" * (-len(content) % 8)

    parts = [element(6, struct.pack("<II", flags, 0)), element(5, struct.pack(f"<{len(shape)}i", *shape))]
    parts += [element(1, name.encode()), element(2, values, promised)]
    return element(14, b"".join(parts))


MAT = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"

IMAGES, LABELS = "MNIST/raw/train-images-idx3-ubyte", "MNIST/raw/train-labels-idx1-ubyte"
BATCH, HOUSES = "cifar-10-batches-py/data_batch_3", "svhn/test_32x32.mat"
LETTER, THING = "notMNIST/notMNIST_small/A/a.png", f"{TINY}/train/n01/images/n01_0.JPEG"
ROWS = np.zeros((6, 3072), np.uint8)


def batch(**parts: Any) -> bytes:
    return pickle.dumps({"data": ROWS, "labels": [0] * 6} | parts, protocol=2)


HOSTILE: dict[str, tuple[str, str, Callable[[], bytes], str]] = {
    "idx of no dimensions": ("mnist", IMAGES, lambda: header(), "its header says 0 dimensions, images have 3 and"),
    "idx of 255 dimensions": ("mnist", LABELS, lambda: header(*[0] * 255), "its header says 255 dimensions"),
    "idx of 2 dimensions": ("mnist", IMAGES, lambda: header(30, 784) + bytes(30 * 784), "header says 2 dimensions"),
    "idx of negative sizes": (
        "mnist",
        IMAGES,
        lambda: header(-30, -28, 28) + bytes(23520),
        "its header says -30x-28x28",
    ),
    "idx cut in its header": ("mnist", IMAGES, lambda: header(30, 28), "is damaged"),
    "idx without images": ("mnist", IMAGES, lambda: header(0, 28, 28), "does not fit its labels"),
    "idx that declares much": ("mnist", IMAGES, lambda: header(2**31 - 1, 28, 28), "its header says 2147483647x28x28"),
    "idx of floats": ("mnist", IMAGES, lambda: header(30, 28, 28, kind=13) + bytes(94080), "begins with 00 00 0d 03"),
    "idx packed": (
        "mnist",
        f"{IMAGES}.gz",
        lambda: packed_zeros(GIGABYTES, header(5478275, 28, 28)),
        "is refused: it h",
    ),
    "labels packed": (
        "mnist",
        f"{LABELS}.gz",
        lambda: packed_zeros(GIGABYTES, header(2**31 - 1)),
        "is refused: it hol",
    ),
    "png of gigabytes": ("notmnist", LETTER, lambda: large_png(60_000, 60_000), ""),
    "png of megabytes": ("notmnist", LETTER, lambda: large_png(12_000, 12_000), ""),
    "jpeg of gigabytes": (
        "tinyimagenet",
        THING,
        lambda: large_jpeg(65_000, 65_000),
        "n01_0.JPEG' is no readable image",
    ),
    "jpeg of megabytes": ("tinyimagenet", THING, lambda: large_jpeg(12_000, 9_000), "it has 12000x9000 pixels"),
    "a label of 100,000 digits": (
        "cifar10",
        BATCH,
        lambda: batch(labels=[10**100_000] * 6),
        "'labels' is no list of c",
    ),
    "the same as text": (
        "cifar10",
        BATCH,
        lambda: b"(dS'data'\nNsS'labels'\n(lI" + b"9" * 100_000 + b"\nas.",
        "is no pickle of arrays: ",
    ),
    "labels that hold themselves": ("cifar10", BATCH, lambda: batch(labels=laughs()), "holds the same list, tuple or"),
    "images that hold themselves": (
        "cifar10",
        BATCH,
        lambda: batch(data=laughs()),
        "holds the same list, tuple or tabl",
    ),
    "a name that holds itself": (
        "cifar10",
        BATCH,
        lambda: b"\x80\x02}" + pickle.dumps(laughs(kind=tuple), 2)[2:-1] + b"K\x01s.",
        "holds the same",
    ),
    "a list doubled on the stack": (
        "cifar10",
        BATCH,
        lambda: b"\x80\x02](" + b"20" * 9 + b"e.",
        "is no pickle of arra",
    ),
    "a place in the memo": (
        "cifar10",
        BATCH,
        lambda: b"\x80\x02]r\xff\xff\xff\x7f.",
        "notes something at place 21474836",
    ),
    "labels of floats": ("cifar10", BATCH, lambda: batch(labels=[0.7] * 6), "'labels' is no list of classes"),
    "labels of truth": ("cifar10", BATCH, lambda: batch(labels=[True] * 6), "'labels' is no list of classes"),
    "labels of an array of floats": ("cifar10", BATCH, lambda: batch(labels=np.ones(6)), "an array of 'f8' in 1 dim"),
    "images of a list": ("cifar10", BATCH, lambda: batch(data=ROWS.tolist()), "'data' is no array"),
    "images of objects": ("cifar10", BATCH, lambda: batch(data=np.full((6, 3072), None)), "an array of 'O8' in 2 dim"),
    "an array of nothing": (
        "cifar10",
        BATCH,
        lambda: batch(data=Made(np.ndarray, ((10**9, 3072), "u1"))),
        "is no pickle of arrays: ",
    ),
    "an array that lies": (
        "cifar10",
        BATCH,
        lambda: batch().replace(pickle.dumps((6, 3072), 2)[2:-3], pickle.dumps((10**9, 3072), 2)[2:-3]),
        "cannot reshape array of size 18432 into shape (1000000000,3072)",
    ),
    "mat packed": (
        "svhn",
        HOUSES,
        lambda: (
            MAT
            + (lambda z: struct.pack("<II", 15, len(z)) + z)(
                deflated_zeros(GIGABYTES, mat("X", b"", (32, 32, 3, 2**20), promised=2**31))
            )
        ),
        "it holds more than 268435456 bytes",
    ),
    "mat that declares much": (
        "svhn",
        HOUSES,
        lambda: MAT + mat("X", bytes(8), (32, 32, 3, 10**6), promised=2**32 - 1),
        "it is cut short: ",
    ),
    "mat whose shape lies": ("svhn", HOUSES, lambda: MAT + mat("X", bytes(8), (32, 32, 3, 10**6)), "cannot reshape"),
    "mat of negative sizes": (
        "svhn",
        HOUSES,
        lambda: MAT + mat("X", bytes(8), (-4, -2)),
        "an array has shape [-4, -2]",
    ),
    "mat packed twice": (
        "svhn",
        HOUSES,
        lambda: MAT + (lambda z: struct.pack("<II", 15, len(z)) + z)(zlib.compress(struct.pack("<II", 15, 0))),
        "it holds more than",
    ),
    "mat of many variables": (
        "svhn",
        HOUSES,
        lambda: MAT + b"".join(mat(f"x{i}", b"", (0, 0)) for i in range(500)),
        "or 100 variables",
    ),
    "mat of nothing": ("svhn", HOUSES, lambda: MAT + bytes(2**20), "it holds something of kind 0, where a variable is"),
    "mat without labels": ("svhn", HOUSES, lambda: MAT + mat("X", bytes(3072), (32, 32, 3, 1)), "KeyError('y')"),
    "mat of another version": (
        "svhn",
        HOUSES,
        lambda: b"\x89HDF\r\n\x1a\n".ljust(600),
        "it does not begin as a MATLAB",
    ),
}
"""A data set, the file of it that is replaced, by what, and what is said; nothing is said of an image left out."""


class Made:
    """Pickles as a call."""

    def __init__(self, function: object, arguments: tuple[object, ...]) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


CHECK = """
import json, resource, sys, time, warnings
from pathlib import Path
warnings.simplefilter("error")
from tamcl.data import DATASETS
from tamcl.registry import lookup
sources = {name: lookup(DATASETS, name)() for name in ("mnist", "cifar10", "svhn", "notmnist", "tinyimagenet")}
most = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + 2**30
resource.setrlimit(resource.RLIMIT_AS, (most, most))
for case, name, root in json.loads(sys.argv[1]):
    started = time.process_time()
    try:
        said = f"left out {sources[name].read(Path(root)).skipped}"
    except ValueError as error:
        said = f"{type(error).__name__}: {error}"
    print(json.dumps([case, said, time.process_time() - started]), flush=True)
"""
"""Read each in turn, in a process that can have no more than 1 GB in addition."""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in kilobytes, and limited, on Linux alone")
def test_hostile_files_are_refused_in_little_memory_and_time(tmp_path: Path) -> None:
    calls = []
    for number, (case, (name, place, make, _)) in enumerate(HOSTILE.items()):
        root = tmp_path / str(number)
        LAYOUTS[name](root)
        (root / place.removesuffix(".gz")).unlink()
        (root / place).write_bytes(make())
        calls.append((case, name, str(root)))
    done = subprocess.run([sys.executable, "-c", CHECK, json.dumps(calls)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = {case: said for case, *said in map(json.loads, done.stdout.splitlines())}
    assert list(found) == list(HOSTILE)
    for case, (name, place, _, message) in HOSTILE.items():
        said, seconds = found[case]
        assert "\n" not in said, case
        assert len(said) < 600, case
        assert seconds < 5, case
        if message:
            assert said.startswith("InputError: "), f"{case}: {said}"
            assert Path(place).name in said, f"{case}: {said}"
            assert message in said, f"{case}: {said}"
        else:
            assert (name, said) == ("notmnist", "left out 3"), case
