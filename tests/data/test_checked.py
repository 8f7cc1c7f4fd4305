"""A data set of one's own that is not what it has to be is one line before anything is trained; a good one is not."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from tamcl.data import DataSet, Source
from tamcl.data.checked import CheckedSource
from tamcl.errors import InputError
from tamcl.scenario.load import load_scenario
from tamcl.study.checks import check_data
from tamcl.training.build import find_source, plan
from tamcl.training.resources import Resources
from tests.helpers import noise_data, refusal

GOOD = noise_data(samples=80, shape=(1, 8, 8), classes=4)
NAME = f"{__name__}:Own"


class Own(Source):
    """What the test at hand gives."""

    given: ClassVar[Any] = GOOD

    def check(self, root: Path) -> None:
        """Need nothing."""

    def fetch(self, root: Path) -> None:
        """Need nothing."""

    def load(self, root: Path, allow_subset: bool = False) -> DataSet:
        """Return what is given, or call it."""
        return self.given() if callable(self.given) else self.given  # type: ignore[no-any-return]


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that sets what the data set gives and returns the source of it."""

    def give(data: object) -> Source:
        monkeypatch.setattr(Own, "given", staticmethod(data) if callable(data) else data)
        return find_source(NAME)

    return give


X, Y = GOOD.train_x, GOOD.train_y
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "labels from 1": (
        {"train_y": Y + 1},
        "train_y has labels 1 to 4; with classes = 4 they must be 0 to 3",
    ),
    "a negative label": ({"test_y": GOOD.test_y - 1}, "test_y has labels -1 to 2; with classes = 4 they must be 0 to"),
    "labels of floats": ({"train_y": Y + 0.7}, "train_y is float64; must be int64, the number of each image's class"),
    "labels of bytes": ({"test_y": GOOD.test_y.astype(np.uint8)}, "test_y is uint8; must be int64"),
    "labels without a sign": ({"train_y": Y.astype(np.uint64)}, "train_y is uint64; must be int64"),
    "labels of the other byte order": ({"train_y": Y.astype(">i8")}, "train_y is >i8; must be int64"),
    "labels of truth": ({"train_y": Y > 1}, "train_y is bool; must be int64"),
    "labels of text": ({"train_y": Y.astype(str)}, "train_y is <U21; must be int64"),
    "labels of objects": ({"train_y": Y.astype(object)}, "train_y is object; must be int64"),
    "one-hot labels": (
        {"train_y": np.eye(4, dtype=np.int64)[Y]},
        "train_y has shape (80, 4); must be one number for each of the 80 images (of one-hot rows: argmax(1))",
    ),
    "labels in a column": ({"train_y": Y[:, None]}, "train_y has shape (80, 1); must be one number for each of the 80"),
    "a list of labels": ({"train_y": Y.tolist()}, "train_y is a list; must be a numpy.ndarray"),
    "too few labels": ({"train_y": Y[:-20]}, "train_y has 60 labels, train_x has 80 images; must be as many"),
    "too many labels": ({"test_x": GOOD.test_x[1:]}, "test_y has 40 labels, test_x has 39 images; must be as many"),
    "images in 0..1": (
        {"train_x": X / np.float32(255)},
        "train_x is float32; must be uint8, 0 to 255 (of values in 0..1: numpy.round(255 * train_x)",
    ),
    "images in 0..1 that were cut to bytes": ({"train_x": X // 255}, "train_x holds 0 and 1 alone; pixels are 0 to"),
    "images in 0..255 of floats": (
        {"train_x": X.astype(np.float32)},
        "train_x is float32; must be uint8, 0 to 255 (of values in 0..255: numpy.round(train_x).astype(numpy.uint8))",
    ),
    "images in 0..255 of whole numbers": (
        {"test_x": GOOD.test_x.astype(np.uint16)},
        "test_x is uint16; must be uint8, 0 to 255 (of values in 0..255: numpy.round(test_x).astype(numpy.uint8))",
    ),
    "images of two bytes": (
        {"train_x": X.astype(np.uint16) * 257},
        "train_x is uint16; must be uint8, 0 to 255 (of values in 0..65535: (train_x // 257).astype(numpy.uint8))",
    ),
    "images that are not finite": ({"test_x": np.full(GOOD.test_x.shape, np.nan)}, "test_x is float64; must be uint8"),
    "signed images": ({"train_x": X.astype(np.int16)}, "train_x is int16; must be uint8"),
    "images without channels": (
        {"train_x": X[:, 0]},
        "train_x has shape (80, 8, 8); must be (n, channels, height, width), with channels = 1 for grey images",
    ),
    "flat images": ({"test_x": GOOD.test_x.reshape(40, 64)}, "test_x has shape (40, 64); must be (n, channels, height"),
    "grey channels last": ({"train_x": X.transpose(0, 2, 3, 1)}, "train_x has shape (80, 8, 8, 1), the channels last"),
    "colour channels last": (
        {"train_x": np.ones((80, 6, 9, 3), np.uint8)},
        "train_x has shape (80, 6, 9, 3), the chan",
    ),
    "tensors": ({"train_x": torch.from_numpy(X)}, "train_x is a torch.Tensor; must be a numpy.ndarray"),
    "a tensor of labels": ({"test_y": torch.from_numpy(GOOD.test_y)}, "test_y is a torch.Tensor; must be a numpy.nda"),
    "masked images": ({"train_x": np.ma.masked_less(X, 9)}, ".MaskedArray; must be a numpy.ndarray"),
    "two shapes": ({"test_x": GOOD.test_x[..., 1:]}, "training images have shape (1, 8, 8), test images (1, 8, 7)"),
    "no test images": (
        {"test_x": GOOD.test_x[:0], "test_y": GOOD.test_y[:0]},
        "test_x has shape (0, 1, 8, 8): there a",
    ),
    "no training images": ({"train_x": X[:0], "train_y": Y[:0]}, "train_x has shape (0, 1, 8, 8): there are no images"),
    "images of nothing": (
        {"train_x": X[..., :0], "test_x": GOOD.test_x[..., :0]},
        "train_x has shape (80, 1, 8, 0): th",
    ),
    "classes by NumPy": ({"classes": np.int64(4)}, "classes is "),
    "classes by a float": ({"classes": 4.0}, "classes is 4.0; must be an int, at least 1"),
    "no classes": ({"classes": 0}, "classes is 0; must be an int, at least 1"),
    "official of one": ({"official": (80,)}, "official is (80,); must be two ints"),
    "official of none": ({"official": None}, "official is None; must be two ints"),
    "official by NumPy": ({"official": (np.int64(80), 40)}, "; must be two ints"),
    "other counts": (
        {"official": (90, 40)},
        "there are 80 training and 40 test images, official says 90 training and 40 test images; must be the same",
    ),
    "a sentence in place of some": ({"differences": "none"}, "differences is 'none'; must be a tuple of sentences"),
    "a name that is none": ({"name": None}, "name is None; must be text"),
    "a class without training images": (
        {"train_x": X[(Y != 1) & (Y != 3)], "train_y": Y[(Y != 1) & (Y != 3)], "official": (40, 40)},
        "there are no training images of classes 1 and 3; each of the 4 classes must have some",
    ),
    "a class without test images": (
        {"test_x": GOOD.test_x[GOOD.test_y > 0], "test_y": GOOD.test_y[GOOD.test_y > 0], "official": (80, 30)},
        "there are no test images of class 0; each of the 4 classes must have some",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named(case: str, own: Any) -> None:
    changes, message = WRONG[case]
    source = own(replace(GOOD, **changes))
    for ask in (source.load, source.verify):
        with pytest.raises(InputError) as caught:
            ask(Path())
        assert str(caught.value).startswith(f"data set '{NAME}': ")
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def exits() -> DataSet:
    sys.exit()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "load gave a NoneType; must be a tamcl.data.DataSet"),
        ((X, Y), "load gave a tuple; must be a tamcl.data.DataSet"),
        (lambda: np.load("none.npy"), "load raised FileNotFoundError: [Errno 2] No such file or directory: 'none.npy'"),
        (lambda: 1 / 0, "load raised ZeroDivisionError: division by zero"),
        (lambda: DataSet("mine", X, Y, X, Y, 4), "load raised TypeError: "),  # type: ignore[call-arg]
        (lambda: Own.official, "load raised AttributeError: "),
        (exits, "load raised SystemExit"),
    ],
)
def test_whatever_its_code_does_is_one_line(given: object, message: str, own: Any) -> None:
    with pytest.raises(InputError) as caught:
        own(given).load(Path())
    assert f"data set '{NAME}': {message}" in str(caught.value)
    assert "\n" not in str(caught.value)


class Unfinished(Own):
    """It refuses to be made."""

    def __init__(self) -> None:
        raise RuntimeError("not\nyet")


class Lost(Own):
    """It looks for its files in its own way."""

    def check(self, root: Path) -> None:
        """Look for a key that is not there."""
        {}["files"]


def test_making_it_and_asking_for_its_files_may_fail_too() -> None:
    with pytest.raises(InputError, match=r"Unfinished': cannot be made: not yet$"):
        find_source(f"{__name__}:Unfinished")
    with pytest.raises(InputError, match=r"Lost': check raised KeyError: 'files'$"):
        find_source(f"{__name__}:Lost").check(Path())


def test_its_own_refusal_is_kept(own: Any) -> None:
    def refuse() -> DataSet:
        raise InputError("buy it first")

    with pytest.raises(InputError, match=r"^buy it first$"):
        own(refuse).load(Path())


def test_good_ones_are_taken_as_they_are(own: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    fixed = Y.copy()
    fixed.setflags(write=False)
    last = np.ascontiguousarray(X.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    odd = np.stack([X, X], 1)[:, 0]
    reversed_twice = np.ascontiguousarray(X[:, :, ::-1])[:, :, ::-1]
    for changes in (
        {},
        {"train_x": np.load(tmp_path / "x.npy", mmap_mode="r"), "train_y": fixed},
        *({"train_x": images} for images in (last, odd, reversed_twice)),
    ):
        data = own(replace(GOOD, **changes)).load(Path())
        assert data.checksum == GOOD.checksum
        assert all(array.flags.c_contiguous for array in (data.train_x, data.train_y, data.test_x, data.test_y))


def test_a_subset_that_says_so_may_lack_classes(own: Any) -> None:
    few = replace(GOOD, train_x=X[Y < 3], train_y=Y[Y < 3], differences=("class 3 is left out",))
    assert own(few).load(Path()).counts == (60, 40)


@pytest.mark.parametrize("shape", [(64, 1, 1), (1, 1, 64), (6, 128, 1), (3, 8, 8), (1, 5, 3)])
def test_tables_and_series_are_no_images_with_their_channels_last(shape: tuple[int, int, int], own: Any) -> None:
    assert own(noise_data(samples=40, shape=shape, classes=4)).load(Path()).counts == (40, 20)


def test_built_in_sets_are_the_same_by_their_path() -> None:
    source = find_source("tamcl.data.digits:Digits")
    assert isinstance(source, CheckedSource)
    assert source.load(Path()).checksum == find_source("digits").load(Path()).checksum


SCENARIO = """
title = "One's own data"
stream = { name = "label_flip", dataset = "%s", experiences = 2, fraction = 1.0, normalization = "none" }
model = { name = "mlp", hidden = [8] }
protocol = { seeds = 2, pairs = [["tam", "sgd"]] }
arms = { sgd = { optimizer = "sgd", lr = [0.1] }, tam = { optimizer = "tam", lr = [0.1] } }
"""


FROM_ONE = """
from dataclasses import replace
from tests.data.test_checked import GOOD, Own

class FromOne(Own):
    given = replace(GOOD, train_y=GOOD.train_y + 1)
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(SCENARIO % NAME)
    return path


@pytest.mark.parametrize("command", [["run", "--arm", "tam"], ["compare"]])
def test_a_command_refuses_it_before_training(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "labels_from_one.py").write_text(FROM_ONE)
    (tmp_path / "mine.toml").write_text(SCENARIO % "labels_from_one:FromOne")
    monkeypatch.chdir(tmp_path)
    said = refusal([command[0], "mine.toml", *command[1:], "--out", "out"], capsys)
    assert said == f"tamcl: data set 'labels_from_one:FromOne': {WRONG['labels from 1'][1]}\n"
    assert not list((tmp_path / "out").rglob("*"))


def test_data_verify_looks_at_it_too(own: Any, capsys: pytest.CaptureFixture[str]) -> None:
    own(replace(GOOD, train_y=Y + 1))
    assert "train_y has labels 1 to 4" in refusal(["data", "verify", NAME], capsys)


def test_one_that_gives_other_images_each_time_is_refused(scenario: Path, own: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    own(lambda: replace(GOOD, train_x=rng.integers(0, 256, X.shape, dtype=np.uint8)))
    with pytest.raises(InputError, match=rf"^data set '{NAME}': loaded twice it gave different images or labels; what"):
        check_data(load_scenario(str(scenario)), Resources(tmp_path))
    own(GOOD)
    assert check_data(load_scenario(str(scenario)), Resources(tmp_path / "same")).checksum == GOOD.checksum


def test_a_stream_of_classes_needs_two(scenario: Path) -> None:
    one = replace(GOOD, train_y=Y * 0, test_y=GOOD.test_y * 0, classes=1)
    with pytest.raises(InputError, match=r"has 1 class, a stream of classes needs at least 2$"):
        plan(load_scenario(str(scenario)), one, seed=0)
