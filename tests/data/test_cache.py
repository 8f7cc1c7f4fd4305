"""What is kept of decoded images equals them, is made again when it is damaged, and is never in the way."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tamcl.data import DATASETS, MNIST, DataSet
from tamcl.errors import InputError
from tamcl.registry import lookup
from tests.data.layouts import LAYOUTS, write_mnist

HERE = Path(__file__)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_mnist(tmp_path / "root")
    return tmp_path / "root"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Grows by one each time MNIST's files are decoded."""
    calls: list[Path] = []
    decode = MNIST.decode

    def counted(self: MNIST, paths: tuple[Path, ...]) -> DataSet:
        calls.append(paths[0])
        return decode(self, paths)

    monkeypatch.setattr(MNIST, "decode", counted)
    return calls


def load(root: Path) -> DataSet:
    return MNIST().load(root, allow_subset=True)


def assert_same(first: DataSet, second: DataSet) -> None:
    for name in ("train_x", "train_y", "test_x", "test_y"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
    assert np.array_equal(first.mean_std, second.mean_std)
    assert first.describe() == second.describe()


def test_second_load_is_mapped_and_equals_the_first(root: Path, cache_dir: Path, decoded: list[Path]) -> None:
    fresh = MNIST().read(root)
    first, second = load(root), load(root)
    assert len(decoded) == 2
    assert_same(first, fresh)
    assert_same(second, fresh)
    assert isinstance(second.train_x.base, np.memmap)
    assert [path.name for path in (cache_dir / "decoded").iterdir() if path.is_dir()] == [MNIST().place(root).name]


def test_writing_to_an_image_changes_no_file(root: Path) -> None:
    load(root).train_x[0] ^= 255
    assert_same(load(root), MNIST().read(root))


def test_changed_files_are_decoded_again(root: Path, decoded: list[Path]) -> None:
    before = load(root).checksum
    labels = root / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    content = bytearray(labels.read_bytes())
    content[-1] = (content[-1] + 1) % 10
    labels.write_bytes(content)
    os.utime(labels, ns=(0, time.time_ns()))
    assert load(root).checksum != before
    assert len(decoded) == 2


def test_a_newer_decoder_decodes_again(root: Path, decoded: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    load(root)
    monkeypatch.setattr(MNIST, "decoder", 2)
    load(root)
    assert len(decoded) == 2


@pytest.mark.parametrize("name", ["mnist", "tinyimagenet"])
def test_where_the_files_lie_makes_no_difference(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    LAYOUTS[name](tmp_path / "root")
    source = lookup(DATASETS, name)()
    monkeypatch.chdir(tmp_path / "root")
    place = source.place(tmp_path / "root")
    assert source.place(Path()) == place
    (tmp_path / "root").rename(tmp_path / "moved")
    assert source.place(tmp_path / "moved") == place


DAMAGES: list[Callable[[Path], object]] = [
    lambda place: (place / "meta.json").unlink(),
    lambda place: (place / "meta.json").write_text("{}"),
    lambda place: (place / "meta.json").write_text('{"name": "mn'),
    lambda place: (place / "train_x.npy").unlink(),
    lambda place: (place / "train_x.npy").write_bytes(b""),
    lambda place: (place / "train_x.npy").write_bytes((place / "train_x.npy").read_bytes()[:-1]),
    lambda place: (place / "test_y.npy").write_bytes(b"not an array"),
    lambda place: np.save(place / "test_x.npy", np.zeros((20, 1, 28, 27), np.uint8)),
]


@pytest.mark.parametrize("name", ["meta.json", "train_x.npy", "train_y.npy", "test_x.npy", "test_y.npy"])
def test_a_flipped_bit_of_the_copy_changes_nothing(
    name: str, root: Path, decoded: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    load(root)
    path, fresh = MNIST().place(root) / name, MNIST().read(root)
    whole = path.read_bytes()
    for turn in range(12):
        content, before = bytearray(whole), len(decoded)
        content[turn * (len(whole) - 1) // 11] ^= 1 << turn % 8
        path.write_bytes(content)
        assert_same(load(root), fresh)
        assert len(decoded) == before + 1
        assert capsys.readouterr().err == (
            f"tamcl: '{path.parent}' is damaged, or of an older version; the images are decoded again\n"
        )


def test_a_copy_without_digests_is_made_again(root: Path, decoded: list[Path]) -> None:
    load(root)
    path = MNIST().place(root) / "meta.json"
    meta = json.loads(path.read_text())
    meta.pop("digest")
    path.write_text(json.dumps(meta, indent=1))
    load(root)
    assert len(decoded) == 2


def test_a_disk_without_locks_has_a_copy_as_well(
    root: Path, decoded: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)
    other = MNIST().place(root).with_name(f".{MNIST().place(root).name}.another-process")
    other.mkdir(parents=True)
    assert_same(load(root), load(root))
    assert len(decoded) == 1
    assert other.is_dir()  # it may be at work
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_copy_is_made_again(damage: Callable[[Path], object], root: Path, decoded: list[Path]) -> None:
    load(root)
    fresh = MNIST().read(root)
    damage(MNIST().place(root))
    assert_same(load(root), fresh)
    assert_same(load(root), fresh)
    assert len(decoded) == 3


def test_what_a_killed_process_left_is_removed(root: Path) -> None:
    place = MNIST().place(root)
    left = place.with_name(f".{place.name}.killed")
    left.mkdir(parents=True)
    (left / "train_x.npy").write_bytes(b"half")
    load(root)
    assert not left.exists()


def test_without_a_cache_images_are_decoded_each_time(
    root: Path, tmp_path: Path, decoded: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TAMCL_CACHE_DIR", str(tmp_path / "file" / "below"))
    assert_same(load(root), load(root))
    assert len(decoded) == 2


def test_full_disk_is_no_failure_and_leaves_nothing(
    root: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    assert_same(load(root), MNIST().read(root))
    assert [path for path in (cache_dir / "decoded").iterdir() if path.is_dir()] == []


def test_verify_sees_a_pixel_of_the_copy(root: Path) -> None:
    load(root)
    path = MNIST().place(root) / "train_x.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"'train_x\.npy' of the decoded images has digest .*; remove the folder '.*'"):
        MNIST().verify(root, allow_subset=True)


def test_verify_sees_a_change_that_kept_size_and_time(root: Path) -> None:
    load(root)
    labels = root / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    found, content = labels.stat(), bytearray(labels.read_bytes())
    content[-1] = (content[-1] + 1) % 10
    labels.write_bytes(content)
    os.utime(labels, ns=(found.st_atime_ns, found.st_mtime_ns))
    with pytest.raises(InputError, match=r"the decoded images have checksum \w+, the files \w+; remove"):
        MNIST().verify(root, allow_subset=True)


def test_verify_sees_a_copy_that_is_not_whole(root: Path) -> None:
    load(root)
    (MNIST().place(root) / "meta.json").unlink()
    with pytest.raises(InputError, match="the decoded images are not whole; remove the folder"):
        MNIST().verify(root, allow_subset=True)


TOGETHER = """
import sys, time
from pathlib import Path
from tamcl.data import MNIST
root, log = Path(sys.argv[1]), Path(sys.argv[2])
decode = MNIST.decode

def slow(self, paths):
    with open(log, "a") as file:
        file.write("decoded\\n")
    time.sleep(1)
    return decode(self, paths)

MNIST.decode = slow
print("ready", flush=True)
sys.stdin.readline()
print(MNIST().load(root, allow_subset=True).checksum)
"""


def test_of_two_processes_one_decodes(root: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    start = partial(subprocess.Popen, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE.parents[2])
    both = [start([sys.executable, "-c", TOGETHER, str(root), str(log)]) for _ in range(2)]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    answers = []
    for process in both:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in both:
        answers.append(process.communicate(timeout=60)[0].strip())
        assert process.returncode == 0
    assert answers == [MNIST().read(root).checksum] * 2
    assert log.read_text() == "decoded\n"


def test_a_race_without_a_lock_is_harmless(
    root: Path, cache_dir: Path, decoded: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the system has no file locks: the other process finishes while this one decodes."""
    monkeypatch.setattr("tamcl.files.lock.KNOWN", False)
    read = MNIST.read

    def overtaken(self: MNIST, root: Path) -> DataSet:
        monkeypatch.setattr(MNIST, "read", read)
        load(root)
        return read(self, root)

    monkeypatch.setattr(MNIST, "read", overtaken)
    assert_same(load(root), load(root))
    assert len(decoded) == 2
    assert [path.name for path in (cache_dir / "decoded").iterdir() if path.is_dir()] == [MNIST().place(root).name]


def test_meta_says_what_is_kept(root: Path) -> None:
    data = load(root)
    meta = json.loads((MNIST().place(root) / "meta.json").read_text())
    assert meta["checksum"] == data.checksum
    assert meta["shapes"]["train_x"] == [30, 1, 28, 28]
    assert meta["skipped"] == 0
    assert set(meta["digests"]) == {"train_x.npy", "train_y.npy", "test_x.npy", "test_y.npy"}
