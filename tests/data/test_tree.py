"""Folders, zips and tars give the same names and contents; an archive that tries to harm is refused."""

from __future__ import annotations

import io
import stat
import struct
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


def test_what_systems_leave_beside_the_data_is_not_seen(folder: Path, tmp_path: Path) -> None:
    (folder / "b" / "._one.txt").write_text("litter")
    (folder / ".DS_Store").write_text("litter")
    for name in ("__MACOSX", ".git"):
        (folder / name).mkdir()
        (folder / name / "one.txt").write_text("litter")
    for path in (folder, pack_zip(tmp_path / "x.zip", folder, "top"), pack_tar(tmp_path / "x.tar", folder, "top")):
        with open_tree(path) as found:
            assert found.names == ["top/a.txt", "top/b/one.txt", "top/b/two.txt", "top/c/d/e.txt"]


@pytest.mark.parametrize("prefix", [".", "./", ".\\", "./."])
def test_members_may_be_written_in_other_ways(prefix: str, folder: Path, tmp_path: Path) -> None:
    tar = pack_tar(tmp_path / "x.tar", folder, f"{prefix}/top")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(f"{prefix}\\top\\b\\one.txt", "b/one.txt")
    for path in (tar, tmp_path / "x.zip"):
        with open_tree(path) as found:
            assert "top/b/one.txt" in found.names
            assert found.read("top/b/one.txt") == b"b/one.txt"


@pytest.mark.filterwarnings("ignore:Duplicate name")  # that is what is tried
def test_of_two_members_of_a_name_the_last_counts_once(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for content in ("first", "last"):
            archive.writestr("top/a.txt", content)
    tar = write_tar(tmp_path / "x.tar.gz", (member("top/a.txt"), b"first"), (member("./top/a.txt"), b"last"))
    for path in (tmp_path / "x.zip", tar):
        with open_tree(path) as found:
            assert found.names == ["top/a.txt"]
            assert found.read("top/a.txt") == b"last"


@pytest.mark.parametrize("large", [False, True], ids=["zip", "zip64"])
def test_a_zip_of_too_many_members_is_refused_before_they_are_listed(
    large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, path = 1000, tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(count):
            archive.writestr(str(number), "")
    if large:  # with the record that more than 65,535 members would have
        content = path.read_bytes()
        end = content.rindex(b"PK\5\6")
        size, start = struct.unpack("<2L", content[end + 12 : end + 20])
        record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
        where = struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
        none = b"\xff" * 4
        path.write_bytes(content[:end] + record + where + content[end : end + 12] + none + content[end + 16 :])
    monkeypatch.setattr(tree, "MAX_FILES", count)
    with open_tree(tmp_path / "x.zip") as found:
        assert len(found.names) == count
    monkeypatch.setattr(zipfile, "ZipFile", lambda path: pytest.fail("listed"))
    monkeypatch.setattr(tree, "MAX_FILES", count - 1)
    with pytest.raises(InputError, match=f"more than {count - 1} files"), open_tree(tmp_path / "x.zip"):
        pass
    monkeypatch.setattr(tree, "_MAX_DIRECTORY", 46 * count)
    with pytest.raises(InputError, match=f"more than {count - 1} files"), open_tree(tmp_path / "x.zip"):
        pass


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED])
def test_a_member_damaged_in_any_packing_is_named(method: int, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", method) as archive:
        archive.writestr("top/a.txt", bytes(range(256)) * 40)
    whole = (tmp_path / "x.zip").read_bytes()
    at = whole.index(b"top/a.txt") + 20
    (tmp_path / "x.zip").write_bytes(whole[:at] + bytes(255 - byte for byte in whole[at : at + 40]) + whole[at + 40 :])
    with open_tree(tmp_path / "x.zip") as found, pytest.raises(InputError, match="is damaged at 'top/a.txt': "):
        found.read("top/a.txt")


def test_a_sparse_member_counts_as_what_it_unpacks_to(tmp_path: Path) -> None:
    """A file of GNU's that says it is 8 GB of holes."""
    info = member("hole")
    info.type, info.pax_headers = tarfile.REGTYPE, {"GNU.sparse.map": "0,0", "GNU.sparse.size": str(2**33)}
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info)
    with pytest.raises(InputError, match="is refused: it holds more than"), open_tree(tmp_path / "x.tar"):
        pass


@pytest.mark.parametrize("target", ["itself", "nothing", "one/../itself"])
def test_a_link_that_leads_to_no_file_is_named(target: str, folder: Path) -> None:
    (folder / "b" / "itself").symlink_to(target)
    with pytest.raises(InputError, match="itself' is a link that leads to no file$"):
        list(tree.walk(folder))


def test_a_link_to_a_folder_around_it_is_not_followed(folder: Path) -> None:
    (folder / "b" / "around").symlink_to(folder)
    with open_tree(folder) as found:
        assert found.names == ["top/a.txt", "top/b/one.txt", "top/b/two.txt", "top/c/d/e.txt"]


def test_a_folder_that_cannot_be_listed_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(tree.os, "scandir", refuse)
    with pytest.raises(InputError, match=f"^'{folder}' cannot be read: Permission denied$"):
        list(tree.walk(folder))


def test_a_file_that_cannot_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_tree(folder) as found:
        (folder / "a.txt").unlink()
        with pytest.raises(InputError, match=r"a\.txt' cannot be read: No such file or directory$"):
            found.read("top/a.txt")
        monkeypatch.setattr(tree, "MAX_BYTES", 8)
        with pytest.raises(InputError, match=r"one\.txt' is refused: it has 9 bytes, more than 8$"):
            found.read("top/b/one.txt")
