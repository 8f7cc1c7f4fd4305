"""Folders, zips and tars give the same names and contents; an archive that tries to harm is refused."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from tamcl.data import tree
from tamcl.data.tree import open_tree
from tamcl.errors import InputError
from tests.data.layouts import pack_tar, pack_zip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b/two.txt", "b/one.txt", "a.txt", "c/d/e.txt"):
        path = tmp_path / "top" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "top"


def test_folder_zip_and_tar_are_alike(folder: Path, tmp_path: Path) -> None:
    archives = [pack_tar(tmp_path / name, folder, "top") for name in ("x.tar", "x.tar.gz")]
    for path in (folder, pack_zip(tmp_path / "x.zip", folder, "top"), *archives):
        with open_tree(path) as found:
            assert found.names == ["top/a.txt", "top/b/one.txt", "top/b/two.txt", "top/c/d/e.txt"]
            assert [found.read(name).decode() for name in reversed(found.names)] == [
                "c/d/e.txt", "b/two.txt", "b/one.txt", "a.txt",
            ]  # fmt: skip
            with pytest.raises(InputError, match=rf"'{path}' has no file 'top/none'"):
                found.read("top/none")


def test_folders_side_by_side(folder: Path) -> None:
    with open_tree(folder / "b", folder / "c") as found:
        assert found.names == ["b/one.txt", "b/two.txt", "c/d/e.txt"]


def write_tar(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("name", ["../evil", "top/../../evil", "/tmp/evil", "..", "C:/evil", "C:evil", "..\\evil"])
def test_members_that_lead_out_are_refused(name: str, tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "x.tar.gz", (member("good"), b"1"), (member(name), b"2"))
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("good", "1")
        archive.writestr(name, "2")
    for path in (tar, tmp_path / "x.zip"):
        with pytest.raises(InputError, match=rf"'{path}' is refused: member '.*' leads out of it"), open_tree(path):
            pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.tar.gz", "x.zip"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(kind: bytes, tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar.gz", (member("trap", kind, "/etc/passwd"), b""))
    with pytest.raises(InputError, match="member 'trap' is a link or a device"), open_tree(path):
        pass


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("trap")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(InputError, match="member 'trap' is a link or a device"), open_tree(tmp_path / "x.zip"):
        pass


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "MAX_BYTES", 1 << 20)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in "abc":
            archive.writestr(name, bytes(1 << 19))
    tar = write_tar(tmp_path / "x.tar.gz", *((member(name), bytes(1 << 19)) for name in "abc"))
    assert max(path.stat().st_size for path in tmp_path.iterdir()) < 1 << 13
    for path in (tmp_path / "x.zip", tar):
        with pytest.raises(InputError, match=r"is refused: it holds more than .*1048576 bytes"), open_tree(path):
            pass


def test_a_zip_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(1 << 20))
    path.write_bytes(path.read_bytes().replace((1 << 20).to_bytes(4, "little"), (100).to_bytes(4, "little")))
    with open_tree(path) as found, pytest.raises(InputError, match="is damaged at 'bomb'"):
        found.read("bomb")


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "MAX_FILES", 3)
    path = write_tar(tmp_path / "x.tar.gz", *((member(name), b"") for name in "abcd"))
    with pytest.raises(InputError, match="more than 3 files"), open_tree(path):
        pass


@pytest.mark.parametrize("suffix", ["zip", "tar.gz"])
def test_truncated_archives_are_named(suffix: str, folder: Path, tmp_path: Path) -> None:
    pack = pack_zip if suffix == "zip" else pack_tar
    path = pack(tmp_path / f"x.{suffix}", folder, "top")
    for length in (0, 1, 50, path.stat().st_size - 30):
        path.write_bytes(path.read_bytes()[:length])
        with pytest.raises(InputError, match=rf"x\.{suffix}' (is damaged|has no file)"), open_tree(path) as found:
            found.read("top/c/d/e.txt")
