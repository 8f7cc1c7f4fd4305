"""Data sets from arrays, from a folder of images, from torchvision, and of functions that return them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tamcl.data import DataSet, from_arrays, from_folder, from_torchvision
from tamcl.errors import InputError
from tamcl.scenario.load import load_scenario
from tamcl.streams.benchmark import build_benchmark
from tamcl.study.checks import check_data
from tamcl.testing import check_dataset
from tamcl.training.build import find_source, plan
from tamcl.training.cell import Cell
from tamcl.training.resources import Resources
from tamcl.training.run import run_cells

RNG = np.random.default_rng(0)
LABELS = np.arange(60) % 3
TABLE = RNG.normal(5, 3, (60, 4)) + LABELS[:, None]


def table() -> DataSet:
    return from_arrays(TABLE, LABELS, name="table")


def pictures() -> DataSet:
    return from_arrays(RNG.integers(0, 256, (60, 8, 8), dtype=np.uint8), LABELS)


def below(root: Path) -> DataSet:
    return from_folder(root / "shapes", size=(6, 4), mode="L")


def silent():  # type: ignore[no-untyped-def]
    raise AssertionError("was called")


def other() -> DataSet:
    return 3  # type: ignore[return-value]


def path(function: Any) -> str:
    return f"{__name__}:{function.__name__}"


def test_a_share_of_each_class_is_for_tests_and_nothing_is_lost() -> None:
    data = from_arrays(TABLE, LABELS, test=0.25, seed=3)
    check_dataset(data)
    assert [np.bincount(y).tolist() for y in (data.train_y, data.test_y)] == [[15, 15, 15], [5, 5, 5]]
    rows = np.concatenate([data.train_x, data.test_x])
    order = np.lexsort(rows.T), np.lexsort(TABLE.astype(np.float32).T)
    assert np.array_equal(rows[order[0]], TABLE.astype(np.float32)[order[1]])
    assert np.array_equal(np.concatenate([data.train_y, data.test_y])[order[0]], LABELS[order[1]])
    assert from_arrays(TABLE, LABELS, test=0.25, seed=3).checksum == data.checksum
    assert from_arrays(TABLE, LABELS, test=0.25, seed=4).checksum != data.checksum


@pytest.mark.parametrize(
    ("x", "shape", "dtype"),
    [
        (RNG.integers(0, 256, (60, 5, 4), dtype=np.uint8), (1, 5, 4), np.uint8),
        (RNG.integers(0, 256, (60, 3, 5, 4), dtype=np.uint8), (3, 5, 4), np.uint8),
        (RNG.normal(size=(60, 5, 4)), (1, 5, 4), np.float32),
        (torch.rand(60, 3, 5, 4), (3, 5, 4), np.float32),
        (RNG.integers(0, 9, (60, 7)), (7,), np.float32),
        (TABLE.tolist(), (4,), np.float32),
    ],
)
def test_images_and_tables_keep_their_shape_and_values(x: Any, shape: tuple[int, ...], dtype: type) -> None:
    data = from_arrays(x, LABELS, test=(x, LABELS))
    assert (data.train_x.shape[1:], data.train_x.dtype) == (shape, dtype)
    assert np.array_equal(data.train_x, np.asarray(x, dtype).reshape(60, *shape))
    assert np.array_equal(data.test_x, data.train_x)


def test_classes_are_numbered_in_the_order_of_their_values() -> None:
    names = np.array(["dog", "ant", "cat"])
    data = from_arrays(TABLE, names[LABELS], test=(TABLE[:3], names))
    assert (data.test_y.tolist(), data.classes) == ([2, 0, 1], 3)
    assert from_arrays(TABLE, 10 * LABELS - 10, test=(TABLE[:3], [-10, 0, 10])).test_y.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: from_arrays(TABLE[:9], LABELS), "y has 60 labels, x has 9 rows"),
        (lambda: from_arrays(TABLE, LABELS[:9], test=(TABLE, LABELS)), "train_y has 9 labels, train_x has 60 rows"),
        (lambda: from_arrays(TABLE, LABELS * 0.5), "y is float64 of shape (60,); must be a whole number or a text"),
        (lambda: from_arrays(TABLE, np.eye(3)[LABELS]), "(of one-hot rows: argmax(1))"),
        (lambda: from_arrays(TABLE[:, 0], LABELS), "x is float64 of shape (60,); must be images"),
        (lambda: from_arrays(np.ones((60, 4, 4), int), LABELS), "give x.astype(numpy.uint8)"),
        (lambda: from_arrays(np.ones((60, 8, 8, 3)), LABELS), "the channels last"),
        (lambda: from_arrays(np.where(TABLE > 5, np.nan, TABLE), LABELS), "is not finite as float32, the first in row"),
        (lambda: from_arrays(TABLE * 1e40, LABELS), "is not finite as float32, the first in row 0"),
        (lambda: from_arrays(TABLE, LABELS, test=1.5), "test = 1.5: must be a share above 0 and below 1"),
        (lambda: from_arrays(TABLE, [*LABELS[:-1], 7]), "class 3 has 1 example"),
        (
            lambda: from_arrays(TABLE, LABELS, test=(TABLE[:, :3], LABELS)),
            "training rows have shape (4,), those of the",
        ),
        (lambda: from_arrays(TABLE, LABELS, test=(TABLE, LABELS.astype(str))), "must be of one type"),
        (lambda: from_arrays(TABLE, LABELS, test=(TABLE[:2], LABELS[:2])), "there are no test rows of class 2"),
    ],
)
def test_what_does_not_fit_is_one_line(make: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def scenario(function: Any, *settings: str) -> Any:
    small = ("stream.experiences=2", "stream.batch_size=8")
    return load_scenario("label_flip_digits", [f"stream.dataset={path(function)}", *small, *settings])


@pytest.mark.parametrize(
    ("normalization", "expected"),
    [
        ("channel", lambda x, train, _: (x - train.mean(0)) / train.std(0)),
        ("none", lambda x, _train, _own: x),
        ("task", lambda x, _, own: (x - own.mean(0)) / own.std(0)),
    ],
)
def test_columns_of_a_table_are_normalised_as_channels_are(normalization: str, expected: Any) -> None:
    data, setting = table(), scenario(table, f"stream.normalization={normalization}", "stream.samples=20")
    benchmark = build_benchmark(data, plan(setting, data, seed=0), setting.stream.normalization)
    for experience in benchmark.test_stream:
        own = data.train_x[benchmark.train_stream[experience.current_experience].index.numpy()].astype(float)
        given = experience.batch(torch.arange(len(experience.labels))).numpy()
        x: NDArray[Any] = data.test_x[experience.index.numpy()].astype(float)
        np.testing.assert_allclose(given, expected(x, data.train_x.astype(float), own), rtol=1e-4, atol=1e-5)
    assert np.array_equal(data.train_x, table().train_x), "the table was written to"


def test_a_model_learns_from_a_table(tmp_path: Path) -> None:
    setting = scenario(table, "stream.epochs=20", "stream.oracle=no_shift")
    (outcome,) = run_cells((Cell(setting, "sgdm", 0.05, 0, "report"),), Resources())
    online: pd.DataFrame = outcome.tables["online"]
    last = online[online["step"] > online["step"].max() - 30]
    assert last["correct"].sum() / last["n"].sum() > 0.6  # a third by chance


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["stream.augmentation=crop_flip"], "stream.augmentation = 'crop_flip' is for pixels from 0 to 255"),
        (["stream.normalization=signed"], "stream.normalization = 'signed' is for pixels from 0 to 255"),
        (
            [f"stream={{name='rotated_inputs', dataset='{path(table)}', experiences=3}}"],
            "the stream 'rotated_inputs' changes pixels from 0 to 255",
        ),
    ],
)
def test_what_is_done_to_bytes_is_refused_for_numbers(settings: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan(load_scenario("label_flip_digits", [f"stream.dataset={path(table)}", *settings]), table(), seed=0)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (silent, "does not say that it returns a tamcl.data.DataSet; write def silent"),
        (other, "load gave a int; must be a tamcl.data.DataSet"),
        (pictures, "loaded twice it gave different images or labels"),
        (below, "no folder '.*shapes', which is to have a folder of images for each class"),
    ],
)
def test_a_function_that_gives_no_data_set_is_one_line(function: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        check_data(scenario(function), Resources(data_dir=tmp_path))


def draw(file: Path, grey: int, size: tuple[int, int] = (8, 12)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, grey).save(file)


def test_classes_of_a_folder_are_its_folders_and_images_are_resized(tmp_path: Path) -> None:
    for number in range(4):
        draw(tmp_path / "shapes" / "square" / f"{number}.png", 200 + number)
        draw(tmp_path / "shapes" / "circle" / f"{number}.png", number, size=(30, 5 + number))
    (tmp_path / "shapes" / "circle" / "notes.txt").write_text("no image")
    (tmp_path / "shapes" / ".hidden").mkdir()
    data = find_source(path(below)).load(tmp_path)
    assert (data.train_x.shape, data.test_x.shape, data.classes) == ((6, 1, 6, 4), (2, 1, 6, 4), 2)
    for x, y in ((data.train_x, data.train_y), (data.test_x, data.test_y)):
        assert np.array_equal(x.min((1, 2, 3)), x.max((1, 2, 3)))
        assert np.array_equal(x[:, 0, 0, 0] >= 200, y == 1)
    assert {*data.train_x[:, 0, 0, 0], *data.test_x[:, 0, 0, 0]} == {*range(4), *range(200, 204)}


def test_a_folder_with_train_and_test_is_split_as_it_is(tmp_path: Path) -> None:
    for part, count in (("train", 3), ("val", 2)):
        for name in ("a", "b"):
            for number in range(count):
                draw(tmp_path / part / name / f"{number}.png", 10 * number + 100 * (name == "b"))
    data = from_folder(tmp_path, size=2)
    assert (data.counts, data.train_x.shape[1:], data.train_y.tolist()) == ((6, 4), (3, 2, 2), [0, 0, 0, 1, 1, 1])
    assert data.test_x[:, 2, 1, 1].tolist() == [0, 10, 100, 110]
    draw(tmp_path / "val" / "c" / "0.png", 0)
    with pytest.raises(InputError, match=r"has the classes a, b, c, '.*train' a, b"):
        from_folder(tmp_path, size=2)


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    draw(tmp_path / "a" / "0.png", 1)
    (tmp_path / "b").mkdir()
    with pytest.raises(InputError, match="b' has no images"):
        from_folder(tmp_path, size=2)
    (tmp_path / "b" / "1.png").write_bytes(b"none")
    with pytest.raises(InputError, match=r"1\.png' is no image that can be read"):
        from_folder(tmp_path, size=2)
    Image.fromarray(np.full((2, 2), 4000, np.uint16)).save(tmp_path / "b" / "1.png")
    with pytest.raises(InputError, match=r"1\.png' is no image that can be read: its pixels are I;16, not of 8 bits"):
        from_folder(tmp_path, size=2)


def test_a_data_set_of_torchvision_has_its_images(tmp_path: Path) -> None:
    from torchvision.datasets import FakeData

    data = from_torchvision("FakeData", tmp_path, size=30, image_size=(3, 6, 5), num_classes=2)
    check_dataset(data)
    there = [(np.asarray(image).transpose(2, 0, 1), int(label)) for image, label in FakeData(30, (3, 6, 5), 2)]
    parts = ((data.train_x, data.train_y), (data.test_x, data.test_y))
    found = {(image.tobytes(), int(label)) for x, y in parts for image, label in zip(x, y, strict=True)}
    assert found == {(image.tobytes(), label) for image, label in there}
    assert from_torchvision("FakeData", tmp_path, size=9, num_classes=2, resize=(4, 7)).train_x.shape[1:] == (3, 4, 7)


def test_nothing_of_torchvision_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("it downloads")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(InputError, match=r"torchvision's KMNIST cannot be read .* Dataset not found.*nothing is downl"):
        find_source("torchvision.datasets:KMNIST").load(tmp_path)
    with pytest.raises(InputError, match=r"unknown data set of torchvision 'KNIST': did you mean 'KMNIST'"):
        find_source("torchvision:KNIST").load(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        from_torchvision("CIFAR10", tmp_path)
