"""A lock is held by one process at a time and goes with it; where there are none, that is not called busy."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tamcl.errors import InputError
from tamcl.files import lock as locking
from tamcl.files.lock import Busy, is_held, lock
from tamcl.study.folder import LOCK, locked
from tamcl.study.watch import is_locked

STUDY = {"command": "", "scenario": {"name": "flips"}, "data": {"checksum": "0f", "train": 1, "test": 1}}

HOLDS = """
import sys, time
from pathlib import Path
from tamcl.files.lock import lock
with lock(Path(sys.argv[1])) as held:
    print(held, flush=True)
    time.sleep(60)
"""


def test_a_killed_process_leaves_a_file_that_nobody_holds(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "True\n"
        assert is_held(path) is True
        with pytest.raises(Busy), lock(path, timeout=0):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert path.exists()
    assert is_held(path) is False
    with lock(path) as held:
        assert held
    assert not path.exists()


def test_one_that_waits_gets_the_file_that_is_there_and_not_the_one_that_was_removed(tmp_path: Path) -> None:
    path, inside, leave = tmp_path / "lock", threading.Event(), threading.Event()

    def wait() -> None:
        with lock(path, timeout=30):
            inside.set()
            leave.wait(30)

    with lock(path):
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not inside.wait(0.2)
    assert inside.wait(30)
    with pytest.raises(Busy), lock(path, timeout=0):  # a new file would be free
        pass
    leave.set()
    waiting.join()


def test_a_look_takes_nothing_and_does_not_stand_in_the_way(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert is_held(path) is False
    assert not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_SH)  # as a look does for a moment
    assert is_held(path) is False
    released = threading.Timer(0.06, os.close, [descriptor])
    released.start()
    with lock(path) as held:
        assert held
    released.join()


NONE = [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.EIO, errno.EBADF, errno.EROFS]


@pytest.mark.parametrize("number", NONE)
def test_without_locks_a_study_is_trained_and_that_is_said_once(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    left = tmp_path / ".online.parquet.99999999"
    left.write_text("another machine's")
    with locked(tmp_path, STUDY):
        assert is_locked(tmp_path) is None
    assert capsys.readouterr().err == f"tamcl: --out {tmp_path}: cannot be locked; let no other tamcl work there\n"
    assert {path.name for path in tmp_path.iterdir()} == {"study.json", left.name}
    assert is_locked(tmp_path) is False


@pytest.mark.parametrize("number", [errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES])
def test_busy_is_what_the_system_calls_so(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (
        pytest.raises(InputError, match=f"^--out {tmp_path}: another tamcl is at work there$"),
        locked(tmp_path, STUDY),
    ):
        pass
    assert is_locked(tmp_path) is True


def test_a_python_that_knows_no_locks_trains_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(locking, "KNOWN", False)
    opened = os.open

    def refuse_folders(path: str, flags: int, *rest: int) -> int:  # as Windows does
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, flags, *rest)

    monkeypatch.setattr(os, "open", refuse_folders)
    with locked(tmp_path, STUDY):
        pass
    assert capsys.readouterr().err.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *arguments: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(InputError, match=f"^--out {tmp_path}: Read-only file system$"), locked(tmp_path, STUDY):
        pass


def test_an_error_inside_is_no_error_of_the_lock_and_frees_it(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="its own"), locked(tmp_path, STUDY):
        raise OSError("its own")
    assert not (tmp_path / LOCK).exists()
