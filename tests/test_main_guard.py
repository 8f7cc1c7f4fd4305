"""A script that trains when a worker imports it is noticed, and a guarded one is left alone."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest

from tamcl.errors import InputError
from tamcl.main_guard import check_main_guard
from tamcl.study import check_workers
from tests.helpers import train_here


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("check()", True),
        ("def go():\n    check()\n\nfor _ in range(1):\n    go()", True),
        ("try:\n    check()\nfinally:\n    pass", True),
        ("if __name__ == '__main__':\n    check()", False),
        ("for _ in range(1):\n    if __name__ == '__main__':\n        check()", False),
        ("__name__ == '__main__' and check()", False),
        ("print(__name__, file=__import__('sys').stderr)\ncheck()", True),
        ("def go():\n    check()\n\nif '__main__' == __name__: go()", False),
        ("if __name__ != '__main__':\n    raise SystemExit\ncheck()", False),
        ("import multiprocessing as m\nif m.parent_process() is None:\n    check()", False),
        ("import sys\nif len(sys.argv) == 1:\n    check()", False),
    ],
)
def test_a_call_that_workers_would_come_to_is_refused(tmp_path: Path, text: str, refused: bool) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"from tamcl.main_guard import check_main_guard as check\n{text}\nprint('done')\n")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert (done.stdout == "") == refused
    assert (done.returncode != 0) == refused
    if refused:
        last = done.stderr.splitlines()[-1]
        assert last.startswith(f"tamcl.errors.InputError: '{script}': worker processes import the script that was")
        assert last.endswith('put the call below `if __name__ == "__main__":`')


def test_a_worker_that_comes_to_the_call_leaves_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(SystemExit, match="^tamcl: worker processes import the script that was started, and this one"):
        check_main_guard()


def test_a_study_checks_it_before_anything_else(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tamcl.config import load_scenario
    from tamcl.study import compare

    def refuse() -> None:
        raise InputError("no guard")

    monkeypatch.setattr("tamcl.study.check_main_guard", refuse)
    monkeypatch.setattr("tamcl.study.train_cells", train_here)
    with pytest.raises(InputError, match="no guard"):
        compare(load_scenario(str(tiny)), tmp_path / "out")
    with pytest.raises(InputError, match="no guard"):
        check_workers(load_scenario(str(tiny)), 1)
    assert not (tmp_path / "out").exists()
