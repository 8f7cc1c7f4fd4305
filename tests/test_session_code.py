"""A class that stands in no file is known by what it does: the same in every process, another after any change."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tamcl.errors import InputError
from tamcl.session_code import code_of_session, session_class
from tamcl.user_code import check_code, user_code

MAIN = sys.modules["__main__"]

SOURCE = """
import math
import torch
SCALE = 0.5
TABLE = {"a": [1, 2.5], "b": (None, "x")}
NAMES = {"one", "two", "three"}

class Settings:
    def __init__(self):
        self.rate = 0.1

SETTINGS = Settings()

def helper(x):
    return inner(x) if x in {"p", "q", "r"} else SETTINGS.rate

def inner(x):
    return math.sin(x)

class Base(torch.optim.SGD):
    limit = 3

class Mine(Base):
    '''What it is.'''
    def __init__(self, params, lr=0.1, *, more=SCALE):
        super().__init__(params, lr=lr)

    @torch.no_grad()
    def step(self, closure=None):
        # a comment
        return [helper(each) for each in TABLE], NAMES, (lambda: SCALE)(), type(self) is Mine
"""


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    before = dict(vars(MAIN))
    yield
    for name in set(vars(MAIN)) - set(before):
        delattr(MAIN, name)


def type_in(source: str) -> None:
    """Do as a notebook does with a cell."""
    exec(compile(source, "<cell>", "exec", dont_inherit=True), vars(MAIN))


def digest(source: str = SOURCE) -> str:
    type_in(source)
    return code_of_session("__main__:Mine").digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SCALE = 0.5", "SCALE = 0.25"),
        ("self.rate = 0.1", "self.rate = 0.2"),
        ("[1, 2.5]", "[1, 2.75]"),
        ('"three"}', '"four"}'),
        ("math.sin", "math.cos"),
        ("limit = 3", "limit = 4"),
        ("torch.optim.SGD", "torch.optim.Adam"),
        ("@torch.no_grad()", "@torch.enable_grad()"),
        ("    @torch.no_grad()\n", ""),
        ("lr=0.1,", "lr=0.3,"),
        ('"p", "q"', '"p", "z"'),
        ("type(self) is Mine", "type(self) is Base"),
        ("(lambda: SCALE)()", "(lambda: 2 * SCALE)()"),
    ],
)
def test_whatever_changes_what_it_does_changes_its_digest(old: str, new: str) -> None:
    assert SOURCE.count(old) == 1
    assert digest(SOURCE.replace(old, new)) != digest()


def test_its_place_its_comments_and_what_torch_does_to_it_change_nothing() -> None:
    before = digest()
    assert digest("\n\nimport json\nUNUSED = 1\n" + SOURCE.replace("# a comment", "# another")) == before
    made = vars(MAIN)["Mine"]([vars(MAIN)["torch"].nn.Parameter(vars(MAIN)["torch"].zeros(1))])
    assert made.step.__func__ is vars(vars(MAIN)["Mine"])["step"]
    assert hasattr(vars(vars(MAIN)["Mine"])["step"], "hooked"), "torch has put its hook around the method"
    assert code_of_session("__main__:Mine").digest == before


def test_it_is_the_same_in_another_process_with_other_hashes() -> None:
    code = f"exec(compile({SOURCE!r}, '<cell>', 'exec'))\nfrom tamcl.session_code import code_of_session\n"
    code += "print(code_of_session('__main__:Mine').digest)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest()


def test_a_class_of_a_script_is_known_by_its_file_and_an_imported_one_by_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(MAIN, "__file__", __file__, raising=False)  # a worker of the tests has none
    assert session_class("tamcl.optim:TAM") is None
    assert session_class("__main__:NoSuch") is None
    exec(compile("class InFile: x = 1", __file__, "exec"), vars(MAIN))
    assert session_class("__main__:InFile") is None
    type_in("class Typed:\n    def f(self): pass")
    assert session_class("__main__:Typed") is vars(MAIN)["Typed"]


def test_modules_that_it_uses_count_by_their_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "part_of_mine.py").write_text("FACTOR = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    type_in("import part_of_mine\nclass Mine:\n    def step(self): return part_of_mine.FACTOR\n")
    before = user_code({"optimizer": "__main__:Mine"})
    assert before.keys() == {"__main__:Mine", "part_of_mine"}
    (tmp_path / "part_of_mine.py").write_text("FACTOR = 2\n")
    after = user_code({"optimizer": "__main__:Mine"})
    assert [name for name in before if before[name] != after[name]] == ["part_of_mine"]
    monkeypatch.delitem(sys.modules, "part_of_mine")


def test_what_a_run_changes_of_the_session_is_refused() -> None:
    type_in("SEEN = []\nclass Mine:\n    def step(self): SEEN.append(1)\n")
    code = user_code("__main__:Mine")
    check_code(code)
    vars(MAIN)["Mine"]().step()
    with pytest.raises(InputError, match="^'__main__:Mine' or what it uses of the session changed after the run was"):
        check_code(code)


def test_what_cannot_be_told_is_refused_by_its_name() -> None:
    type_in("import logging\nlog = logging.getLogger('x')\nclass Mine:\n    def step(self): log.info('x')\n")
    with pytest.raises(InputError, match="^'__main__:Mine': uses log, of type Logger, of which it cannot be told"):
        user_code("__main__:Mine")


STALE = """
import functools
import torch
RATE = 0.5
def helper(x, y=2):
    return x + RATE
class Opt(torch.optim.SGD):
    kept = [1, {2, 3}]
    @torch.no_grad()
    def step(self, closure=None):
        return [helper(each) for each in self.param_groups] and {"a", "b"}
    @property
    def rate(self):
        return 1
    @functools.cache
    def cached(self):
        return 3
RATES = RATE
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [("", ""), ("RATE = 0.5", "RATE = 0.6"), ("x + RATE", "x - RATE"), ('{"a", "b"}', '{"a", "c"}'), ("return 3", "")],
)
def test_a_module_that_a_notebook_imported_before_its_file_changed_is_refused(
    old: str, new: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / f"stale_{abs(hash(old))}.py"
    file.write_text(STALE)
    name = file.stem
    __import__(name)
    file.write_text("# the place counts for nothing\n" + STALE.replace(old, new))
    code = user_code(f"{name}:Opt")
    if old:
        with pytest.raises(InputError, match=f"^the code of '{name}' changed after the run was planned, or after"):
            check_code(code)
    else:
        check_code(code)
    monkeypatch.delitem(sys.modules, name)
