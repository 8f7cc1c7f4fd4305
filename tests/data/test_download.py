"""Downloads from a local server: good, broken, slow, truncating and lying mirrors."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from tamcl.data import download as module
from tamcl.data.download import Download, download
from tamcl.errors import InputError

CONTENT = np.random.default_rng(0).bytes(300_000)
RUBBISH = np.random.default_rng(1).bytes(300_000)


class Mirror(BaseHTTPRequestHandler):
    """Behaves as the first part of the path says."""

    server: Server

    def do_GET(self) -> None:
        behaviour = self.path.split("/")[1]
        self.server.asked.append((behaviour, self.headers.get("Range")))
        getattr(self, behaviour)()

    def reply(self, content: bytes, ranges: bool = True, cut: int | None = None, length: bool = True) -> None:
        start = int(self.headers["Range"][6:-1]) if ranges and "Range" in self.headers else 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if length:
            self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(content[start:][:cut])

    def good(self) -> None:
        self.reply(CONTENT)

    def broken(self) -> None:
        self.send_error(500)

    def slow(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:1000])
        self.server.closing.wait(10)

    def dripping(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        for byte in CONTENT:
            if self.server.closing.wait(0.02):
                return
            self.wfile.write(bytes([byte]))

    def truncating(self) -> None:
        self.reply(CONTENT, cut=100_000)

    def truncating_without_ranges(self) -> None:
        self.reply(CONTENT, ranges=False, cut=100_000)

    def truncating_silently(self) -> None:
        self.reply(CONTENT[:100_000], length=False)

    def lying(self) -> None:
        self.reply(RUBBISH)

    def lying_and_truncating(self) -> None:
        self.reply(RUBBISH, cut=100_000)

    def endless(self) -> None:
        self.reply(RUBBISH * 20)

    def other_range(self) -> None:
        self.send_response(206)
        self.send_header("Content-Range", "bytes 0-9/10")
        self.end_headers()
        self.wfile.write(RUBBISH[:10])

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Mirrors on a free port, and what they were asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Mirror)
        self.asked: list[tuple[str, str | None]] = []
        self.closing = threading.Event()

    def handle_error(self, *arguments: object) -> None:
        """Clients hang up on bad mirrors: no news."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 0.3)
    monkeypatch.setattr(module, "PAUSE", 0.0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def wanted(server: Server, folder: Path, *mirrors: str, checksum: bool = True) -> Download:
    urls = tuple(f"http://127.0.0.1:{server.server_port}/{mirror}/file.bin" for mirror in mirrors)
    return Download(folder / "sub" / "file.bin", urls, md5(CONTENT).hexdigest() if checksum else None, len(CONTENT))


def assert_done(file: Download) -> None:
    assert file.target.read_bytes() == CONTENT
    assert [path.name for path in file.target.parent.iterdir()] == ["file.bin"]


@pytest.mark.parametrize(
    ("mirrors", "asked"),
    [
        (["good"], [("good", None)]),
        (["broken", "good"], [("broken", None), ("good", None)]),
        (["slow", "good"], [("slow", None), ("good", "bytes=1000-")]),
        (["lying", "good"], [("lying", None), ("good", None)]),
        (["endless", "good"], [("endless", None), ("good", None)]),
        (["truncating", "good"], [("truncating", None), ("good", "bytes=100000-")]),
        (["truncating"], [("truncating", None), ("truncating", "bytes=100000-"), ("truncating", "bytes=200000-")]),
        (["truncating_without_ranges", "good"], [("truncating_without_ranges", None), ("good", "bytes=100000-")]),
        # what was resumed was another mirror's rubbish: the honest mirror is asked again, from the beginning
        (["lying_and_truncating", "good"],
         [("lying_and_truncating", None), ("good", "bytes=100000-"), ("good", None)]),
        (["truncating", "other_range", "good"],
         [("truncating", None), ("other_range", "bytes=100000-"), ("good", "bytes=100000-")]),
    ],
)  # fmt: skip
def test_bad_mirrors_do_no_harm(
    mirrors: list[str], asked: list[tuple[str, str | None]], server: Server, tmp_path: Path
) -> None:
    file = wanted(server, tmp_path, *mirrors)
    seen: list[int] = []
    download(file, lambda done, total: seen.append(done))
    assert_done(file)
    assert server.asked == asked
    assert seen[-1] == len(CONTENT)


def test_dripping_mirror_is_left(server: Server, tmp_path: Path) -> None:
    file = wanted(server, tmp_path, "dripping", "good")
    started = time.monotonic()
    download(file)
    assert time.monotonic() - started < 3
    assert_done(file)


def test_a_size_is_all_that_is_known(server: Server, tmp_path: Path) -> None:
    file = wanted(server, tmp_path, "truncating_silently", "good", checksum=False)
    download(file)
    assert_done(file)


def test_interrupted_download_is_resumed_by_the_next_call(server: Server, tmp_path: Path) -> None:
    file = wanted(server, tmp_path, "good")
    part = file.target.with_name("file.bin.part")
    part.parent.mkdir()
    part.write_bytes(CONTENT[:123_456])
    download(file)
    assert_done(file)
    assert server.asked == [("good", "bytes=123456-")]


def test_complete_partial_file_needs_no_server(server: Server, tmp_path: Path) -> None:
    file = wanted(server, tmp_path, "good")
    file.target.parent.mkdir()
    file.target.with_name("file.bin.part").write_bytes(CONTENT)
    download(file)
    assert_done(file)
    assert server.asked == []


def test_partial_file_that_is_too_long_is_thrown_away(server: Server, tmp_path: Path) -> None:
    file = wanted(server, tmp_path, "good")
    file.target.parent.mkdir()
    file.target.with_name("file.bin.part").write_bytes(RUBBISH + b"more")
    download(file)
    assert_done(file)
    assert server.asked == [("good", "bytes=300004-"), ("good", None)]


def test_what_is_there_is_kept(server: Server, tmp_path: Path) -> None:
    file = wanted(server, tmp_path, "good")
    file.target.parent.mkdir()
    file.target.write_bytes(b"mine")
    with pytest.raises(InputError, match=r"file\.bin' is there already and has md5 \w+, not \w+; move it away first"):
        download(file)
    assert file.target.read_bytes() == b"mine"
    file.target.write_bytes(CONTENT)
    download(file)
    assert server.asked == []


@pytest.mark.parametrize(
    ("mirrors", "reasons", "times"),
    [
        (["broken"], ["broken/file.bin: HTTP Error 500"], module.ROUNDS),
        (["lying"], ["lying/file.bin: what it sends has md5"], 1),
        (["truncating_without_ranges"], ["broke off after 100000 of 300000 bytes"], module.ROUNDS),
        (["slow", "lying"], ["slow/file.bin: timed out", "lying/file.bin: what it sends has md5"], None),
    ],
)
def test_when_all_fail_each_mirror_is_named_with_its_reason(
    mirrors: list[str], reasons: list[str], times: int | None, server: Server, tmp_path: Path
) -> None:
    file = wanted(server, tmp_path, *mirrors)
    with pytest.raises(InputError) as caught:
        download(file)
    message = str(caught.value)
    assert message.startswith(f"download of '{file.target}' failed: ")
    assert "\n" not in message
    for reason in reasons:
        assert reason in message
    assert not file.target.exists()
    assert times in {None, len(server.asked)}


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="refused"):
        download(Download(tmp_path / "file.bin", ("http://127.0.0.1:9/file.bin",), None, 1))


def test_progress_is_told(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module.fetch([wanted(server, tmp_path, "good")])
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "file.bin" in shown.err
