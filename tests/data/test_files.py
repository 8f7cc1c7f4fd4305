"""Subsets are taken only when asked for; fetch and import put files where they are looked for, or change nothing."""

from __future__ import annotations

import gzip
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import md5
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from avalanche.benchmarks.datasets import TinyImagenet
from torchvision.datasets import cifar, mnist, svhn

from tamcl.data import CIFAR10, DATASETS, EMNIST, MNIST, SVHN, TinyImageNet
from tamcl.data import download as download_module
from tamcl.data.files import FileSource, Published
from tamcl.errors import InputError
from tamcl.registry import lookup
from tests.data.layouts import LAYOUTS, TINY, pack_tar, pack_zip, write_cifar10, write_emnist, write_mnist, write_tiny

FILES = [name for name in DATASETS if issubclass(lookup(DATASETS, name), FileSource)]


def packed(raw: Path) -> list[Path]:
    """Pack the idx files of a folder in place."""
    for path in list(raw.iterdir()):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    return sorted(raw.iterdir())


def publish(monkeypatch: pytest.MonkeyPatch, source: type[FileSource], root: Path, *mirrors: str) -> None:
    """Make the small files below a root the published ones."""
    data = source().read(root)
    paths = source().find(root)
    files = tuple(Published(path.name, md5(path.read_bytes()).hexdigest(), mirrors) for path in paths if path.is_file())
    monkeypatch.setattr(source, "official", data.counts)
    monkeypatch.setattr(source, "published", files)
    monkeypatch.setattr(source, "size", 10**7)


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_published_files_have_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path)
    packed(tmp_path / "MNIST" / "raw")
    publish(monkeypatch, MNIST, tmp_path)
    assert MNIST().load(tmp_path).differences == ()
    assert MNIST().verify(tmp_path).counts == (30, 20)


def test_another_checksum_is_an_error_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path)
    path = packed(tmp_path / "MNIST" / "raw")[0]
    publish(monkeypatch, MNIST, tmp_path)
    expected = md5(path.read_bytes()).hexdigest()
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), 1))
    found = md5(path.read_bytes()).hexdigest()
    for read in (MNIST().load, MNIST().load, MNIST().verify):
        with pytest.raises(InputError) as caught:
            read(tmp_path)
        assert str(caught.value) == (
            f"data set 'mnist' in '{tmp_path}': MNIST/raw/{path.name} has md5 {found}, published is {expected}; "
            "--allow-subset takes it as it is"
        )
    data = MNIST().load(tmp_path, allow_subset=True)
    assert data.describe()["differences"] == [f"MNIST/raw/{path.name} has md5 {found}, published is {expected}"]


def test_checksums_are_not_taken_at_each_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path)
    packed(tmp_path / "MNIST" / "raw")
    publish(monkeypatch, MNIST, tmp_path)
    MNIST().load(tmp_path)
    monkeypatch.setattr("tamcl.data.files.md5", lambda path: pytest.fail("hashed again"))
    MNIST().load(tmp_path)


def test_a_subset_says_its_counts(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    difference = "MNIST/raw has 30 training and 20 test images, published are 60000 training and 10000 test images"
    with pytest.raises(InputError) as caught:
        MNIST().load(tmp_path)
    assert str(caught.value) == f"data set 'mnist' in '{tmp_path}': {difference}; --allow-subset takes it as it is"
    described = MNIST().load(tmp_path, allow_subset=True).describe()
    assert (described["train"], described["test"], described["official"]) == (30, 20, [60_000, 10_000])
    assert described["differences"] == [difference]


@pytest.mark.parametrize("folder", ["svhn", "SVHN", ""])
def test_svhn_may_lie_in_three_places(folder: str, tmp_path: Path) -> None:
    LAYOUTS["svhn"](tmp_path)
    before = SVHN().load(tmp_path, allow_subset=True).checksum
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "svhn").rename(tmp_path / "elsewhere" / folder if folder else tmp_path / "elsewhere" / "all")
    root = tmp_path / "elsewhere" / ("" if folder else "all")
    assert SVHN().load(root, allow_subset=True).checksum == before


@pytest.mark.parametrize("name", FILES)
def test_import_copies_to_where_files_are_looked_for(name: str, tmp_path: Path) -> None:
    source = lookup(DATASETS, name)()
    LAYOUTS[name](tmp_path / "from")
    before = snapshot(tmp_path / "from")
    expected = source.load(tmp_path / "from", allow_subset=True)
    data = source.import_from(tmp_path / "from", tmp_path / "root", allow_subset=True)
    assert data.checksum == expected.checksum
    assert source.find(tmp_path / "root")
    assert snapshot(tmp_path / "from") == before
    assert not list((tmp_path / "root").glob(".*"))
    with pytest.raises(InputError, match=f"holds '{name}' already; move it away first"):
        source.import_from(tmp_path / "from", tmp_path / "root", allow_subset=True)


Prepare = Callable[[Path], Path]


def archive_of_cifar(folder: Path) -> Path:
    write_cifar10(folder)
    path = pack_tar(folder / "cifar-10-python.tar.gz", folder / "cifar-10-batches-py", "cifar-10-batches-py")
    shutil.rmtree(folder / "cifar-10-batches-py")
    return path


def archive_of_emnist(folder: Path) -> Path:
    write_emnist(folder)
    packed(folder / "EMNIST" / "raw")
    (folder / "EMNIST" / "raw" / "emnist-letters-train-images-idx3-ubyte.gz").write_bytes(b"not wanted")
    return pack_zip(folder / "gzip.zip", folder / "EMNIST" / "raw", "gzip")


def zip_of_tiny(folder: Path) -> Path:
    write_tiny(folder)
    path = pack_zip(folder / f"{TINY}.zip", folder / TINY, TINY)
    shutil.rmtree(folder / TINY)
    return path


def of(name: str, below: str) -> Prepare:
    def prepare(folder: Path) -> Path:
        LAYOUTS[name](folder)
        return folder / below

    return prepare


@pytest.mark.parametrize(
    ("name", "prepare", "there"),
    [
        ("mnist", of("mnist", "MNIST"), "MNIST/raw/train-images-idx3-ubyte"),
        ("mnist", of("mnist", "MNIST/raw"), "MNIST/raw/train-images-idx3-ubyte"),
        ("svhn", of("svhn", "svhn"), "svhn/train_32x32.mat"),
        ("cifar10", archive_of_cifar, "cifar-10-batches-py/data_batch_1"),
        ("cifar10", of("cifar10", "cifar-10-batches-py"), "cifar-10-batches-py/data_batch_1"),
        ("emnist", archive_of_emnist, "EMNIST/raw/emnist-balanced-train-images-idx3-ubyte.gz"),
        ("tinyimagenet", zip_of_tiny, f"{TINY}.zip"),
        ("tinyimagenet", of("tinyimagenet", TINY), f"{TINY}/wnids.txt"),
        ("notmnist", of("notmnist", "notMNIST/notMNIST_small"), "notMNIST/raw/A/a.png"),
        ("notmnist", of("notmnist", "notMNIST"), "notMNIST/raw/notMNIST_small/A/a.png"),
    ],
)
def test_import_takes_every_form(name: str, prepare: Prepare, there: str, tmp_path: Path) -> None:
    path = prepare(tmp_path / "from")
    for source in path.rglob("*") if path.is_dir() else [path]:
        source.chmod(0o500 if source.is_dir() else 0o400)
    data = lookup(DATASETS, name)().import_from(path, tmp_path / "root", allow_subset=True)
    assert (tmp_path / "root" / there).is_file()
    assert data.checksum == lookup(DATASETS, name)().load(tmp_path / "root", allow_subset=True).checksum
    assert not [file for file in snapshot(tmp_path / "root") if file.endswith((".tar.gz", "gzip.zip", ".part"))]
    for source in path.rglob("*") if path.is_dir() else [path]:
        source.chmod(0o700)


def test_import_refuses_what_it_would_not_load_and_changes_nothing(tmp_path: Path) -> None:
    write_mnist(tmp_path / "from")
    root = tmp_path / "root"
    with pytest.raises(InputError, match="30 training and 20 test images, published are"):
        MNIST().import_from(tmp_path / "from", root)
    assert snapshot(root) == {}
    (tmp_path / "from" / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").write_bytes(b"damaged")
    with pytest.raises(InputError, match="t10k-labels-idx1-ubyte' is no idx file"):
        MNIST().import_from(tmp_path / "from", root, allow_subset=True)
    assert snapshot(root) == {}
    assert list(root.iterdir()) == []


def test_import_overwrites_nothing(tmp_path: Path) -> None:
    write_mnist(tmp_path / "from")
    mine = tmp_path / "root" / "MNIST" / "raw" / "train-images-idx3-ubyte"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte' is there already; move it away first"):
        MNIST().import_from(tmp_path / "from", tmp_path / "root", allow_subset=True)
    assert snapshot(tmp_path / "root") == {"MNIST/raw/train-images-idx3-ubyte": b"mine"}


@pytest.mark.parametrize(
    ("name", "path", "message"),
    [
        ("mnist", "none", "none': no such file or folder"),
        ("mnist", "", "holds no data set 'mnist', which is: train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz"),
        ("tinyimagenet", "tiny.zip", "holds no data set 'tinyimagenet', which is: tiny-imagenet-200.zip; or tiny-"),
        ("digits", "", "this data set needs no files"),
        ("five_datasets", "", "'five_datasets' is made of others; import each of cifar10, mnist, svhn, notmnist"),
    ],
)
def test_import_of_something_else_says_what_is_wanted(name: str, path: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "tiny.zip").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        lookup(DATASETS, name)().import_from(tmp_path / "from" / path, tmp_path / "root")
    assert message in str(caught.value)
    assert not (tmp_path / "root").exists()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server of the files in tmp_path/site."""
    (tmp_path / "site").mkdir()
    monkeypatch.setattr(download_module, "PAUSE", 0.0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "site"))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_fetch_puts_files_where_they_are_looked_for(site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path / "from")
    paths = packed(tmp_path / "from" / "MNIST" / "raw")
    publish(monkeypatch, MNIST, tmp_path / "from", f"{site}gone/", site)
    for path in paths:
        shutil.copy(path, tmp_path / "site")
    MNIST().fetch(tmp_path / "root")
    assert snapshot(tmp_path / "root") == snapshot(tmp_path / "from")
    assert MNIST().load(tmp_path / "root").counts == (30, 20)
    shutil.rmtree(tmp_path / "site")
    MNIST().fetch(tmp_path / "root")  # is there already


@pytest.mark.parametrize(("source", "prepare"), [(CIFAR10, archive_of_cifar), (EMNIST, archive_of_emnist)])
def test_fetched_archive_gives_way_to_its_files(
    source: type[FileSource], prepare: Prepare, site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = prepare(tmp_path / "from")
    shutil.copy(path, tmp_path / "site")
    file = Published(path.name, md5(path.read_bytes()).hexdigest(), (site,))
    monkeypatch.setattr(source, "published", (file,))
    source().fetch(tmp_path / "root")
    names = sorted(Path(name).name for name in snapshot(tmp_path / "root"))
    assert names == sorted(alternatives[-1] for alternatives in source.forms[0])
    assert all(str(Path(name).parent) == source.places[0] for name in snapshot(tmp_path / "root"))
    assert source().load(tmp_path / "root", allow_subset=True).counts


def test_fetch_does_not_replace_a_subset(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    before = snapshot(tmp_path)
    with pytest.raises(InputError, match=r"holds another 'mnist': MNIST/raw has 30 training .*; move it away first"):
        MNIST().fetch(tmp_path)
    assert {name: content for name, content in snapshot(tmp_path).items() if name in before} == before


def test_harmful_archive_is_not_unpacked(site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar10(tmp_path / "from")
    batches = tmp_path / "from" / "cifar-10-batches-py"
    path = pack_tar(tmp_path / "site" / "cifar-10-python.tar.gz", batches, "../../cifar-10-batches-py")
    monkeypatch.setattr(CIFAR10, "published", (Published(path.name, md5(path.read_bytes()).hexdigest(), (site,)),))
    with pytest.raises(InputError, match="leads out of it"):
        CIFAR10().fetch(tmp_path / "root" / "deep")
    assert list(snapshot(tmp_path / "root")) == ["deep/cifar-10-batches-py/cifar-10-python.tar.gz"]
    with pytest.raises(InputError, match="leads out of it"):
        CIFAR10().import_from(path, tmp_path / "other", allow_subset=True)
    assert snapshot(tmp_path / "other") == {}


def test_unpacking_overwrites_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    archive_of_cifar(tmp_path / "from").rename(folder / "cifar-10-python.tar.gz")
    (folder / "data_batch_2").write_bytes(b"mine")
    with pytest.raises(InputError, match="data_batch_2' is there already and is not what '.*' holds"):
        CIFAR10()._unpack(folder)
    assert (folder / "data_batch_2").read_bytes() == b"mine"
    assert (folder / "cifar-10-python.tar.gz").is_file()


def test_published_addresses_and_checksums_are_torchvisions() -> None:
    for ours, theirs in ((MNIST, mnist.MNIST), (lookup(DATASETS, "fashion_mnist"), mnist.FashionMNIST)):
        assert [(file.name, file.md5) for file in ours.published] == list(theirs.resources)
        assert set(theirs.mirrors) == {mirror for file in ours.published for mirror in file.mirrors}
    assert EMNIST.published == (Published("gzip.zip", mnist.EMNIST.md5, (mnist.EMNIST.url.removesuffix("gzip.zip"),)),)
    for name, their in (("cifar10", cifar.CIFAR10), ("cifar100", cifar.CIFAR100)):
        archive, *batches = lookup(DATASETS, name).published
        assert (archive.name, archive.md5, archive.addresses) == (their.filename, their.tgz_md5, (their.url,))
        assert [[file.name, file.md5] for file in batches] == their.train_list + their.test_list
    parts = [svhn.SVHN.split_list[part] for part in ("train", "test")]
    assert [[file.addresses[0], file.name, file.md5] for file in SVHN.published] == parts
    (file,) = TinyImageNet.published
    assert file.md5 == TinyImagenet.md5
    assert file.name in str(TinyImagenet.filename)
